"""`MarginAccount`: the money of a simulated account: wallet, positions, and what backs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from candlewick.errors import ValidationError
from candlewick.exchange.book import AWAKE, Resting, SymbolBook
from candlewick.exchange.funding import FundingSchedule
from candlewick.exchange.holding import Holding
from candlewick.exchange.margin import (
    initial_margin,
    removable,
    set_isolated_liquidation,
    set_shared_liquidation,
    set_sole_liquidation,
)
from candlewick.exchange.rules import Refusal
from candlewick.exchange.settings import ExchangeSettings, MarginType
from candlewick.models import Fill, Funding, Instrument, Position, PositionSide

__all__ = ["MarginAccount"]


class MarginAccount:
    """Wallet, positions and margin of one account; trades and transfers move them.

    Each symbol has a margin type of its own: positions in cross margin lean on the wallet
    together, an isolated one on what has been set apart for it.
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        balance: float,
        settings: ExchangeSettings,
        funding: Mapping[str, Sequence[tuple[int, float]]] | None,
    ) -> None:
        self.settings = settings
        self.balance = balance
        self.fees_paid = 0.0
        self.funding_received = 0.0
        self.realized = 0.0
        self.insurance = 0.0  # what bankruptcies cost others; added so that no wallet is negative
        self._books: dict[str, SymbolBook] = {}
        self._funding: dict[str, FundingSchedule] = {}
        for symbol, instrument in instruments.items():
            book = SymbolBook(instrument, settings.leverage, settings.margin_type)
            schedule = FundingSchedule(
                settings.funding_rate,
                settings.funding_interval_h,
                funding.get(symbol) if funding else None,
            )
            book.next_funding = schedule.next_time
            self._books[symbol], self._funding[symbol] = book, schedule
        self._open_positions = 0
        self._trades_made = 0

    # -- what the caller may ask ---------------------------------------------------------------

    def book(self, symbol: str) -> SymbolBook:
        """The book of one symbol; raises ValidationError for an unknown one."""
        try:
            return self._books[symbol]
        except KeyError:
            raise ValidationError(f"the exchange has no symbol {symbol!r}") from None

    def equity(self) -> float:
        """Wallet plus open profit at the mark prices, in quote currency."""
        if not self._open_positions:
            return self.balance
        return self.balance + sum(
            held.unrealized(book.mark)
            for book in self._books.values()
            for held in book.holdings.values()
            if held.quantity
        )

    def available(self) -> float:
        """What new entries may bind: wallet and open profit in cross margin, less what is bound."""
        bound = profit = 0.0
        for book in self._books.values():
            if book.open_positions or book.resting or book.arrivals:
                bound += initial_margin(book)
                if book.open_positions and not book.isolated:
                    for held in book.holdings.values():
                        if held.quantity:
                            profit += held.unrealized(book.mark)
        return self.balance + profit - bound

    def positions(self) -> list[Position]:
        """All positions that are not flat."""
        if self._open_positions > 1:
            self._set_shared_liquidation()
        return [
            held.as_position(book.liquidation.get(side, 0.0))
            for book in self._books.values()
            for side, held in book.holdings.items()
            if held.quantity
        ]

    def liquidation_price(self, symbol: str, side: PositionSide) -> float:
        """Mark price at which a position is liquidated if no other moves, by all that is known now.

        0.0 when there is none.
        """
        book = self.book(symbol)
        if book.margin_changed or self._shares_wallet(book):
            self._set_liquidation(book)
            book.lower = AWAKE
        return book.liquidation.get(side, 0.0)

    # -- what the caller may change --------------------------------------------------------------

    def change_margin_type(self, margin_type: MarginType, symbol: str = "") -> None:
        """Back a symbol's positions in another way from now on; without a symbol all of them.

        Raises:
            ValidationError: a position is held there.
        """
        books = [self.book(symbol)] if symbol else list(self._books.values())
        if any(book.open_positions for book in books):
            raise ValidationError("the margin type cannot change while a position is held")
        for book in books:
            book.margin_type = margin_type

    def change_leverage(self, symbol: str, leverage: int) -> None:
        """Set a symbol's leverage; what backs an isolated position stays with it."""
        book = self.book(symbol)
        book.leverage = leverage
        if book.isolated:
            for held in book.holdings.values():
                if held.quantity:
                    held.added_margin = held.isolated_margin - held.initial_margin(leverage)

    def transfer(self, amount: float) -> None:
        """Add to the wallet, or take from it, quote currency."""
        self.balance += amount
        self._wallet_moved()

    def add_margin(self, symbol: str, side: PositionSide, amount: float) -> Refusal | None:
        """Set wallet apart for an isolated position; a negative ``amount`` gives back.

        Returns None when done, or the exchange's code and words: no more can be set apart than
        is available, nor given back than the position can spare at the mark price.
        """
        book = self.book(symbol)
        held = book.holdings.get(side)
        if not book.isolated:
            return -4049, "Add margin only support for isolated position."
        if held is None or not held.quantity:
            return -4054, "Cannot add position margin: position is 0."
        if amount > max(self.available(), 0.0):
            return -4050, "Cross balance insufficient."
        if -amount > removable(book, held):
            return -4051, "Isolated balance insufficient."
        held.added_margin += amount
        held.isolated_margin += amount
        self._wallet_moved()
        return None

    # -- what moves it ---------------------------------------------------------------------------

    def _wallet_moved(self) -> None:
        """Liquidation prices have to be computed afresh, before the next price is passed over."""
        for book in self._books.values():
            if book.open_positions:
                book.margin_changed = True
                book.lower = AWAKE

    def _trade(
        self,
        book: SymbolBook,
        held: Holding,
        resting: Resting,
        quantity: float,
        price: float,
        time: int,
        maker: bool,
        fee_rate: float,
    ) -> Fill:
        order, instrument = resting.order, book.instrument
        before = held.quantity
        realized = held.change(order.side.sign * quantity, price, time)
        if not before or not held.quantity:
            opened = bool(held.quantity) - bool(before)
            book.open_positions += opened
            self._open_positions += opened
        fee = fee_rate * quantity * price
        self.balance += realized - fee
        self.realized += realized
        self.fees_paid += fee
        held.fees += fee
        if book.isolated:
            held.set_apart(book.leverage, before)
            if self._open_positions > 1:
                self._wallet_moved()
        filled = resting.filled
        resting.filled = instrument.nearest_quantity(filled + quantity) if filled else quantity
        resting.cost += price * quantity
        book.margin_changed = True
        number = self._trades_made = self._trades_made + 1
        return Fill(
            number, order.client_id, order.symbol, order.side, price, quantity, fee,
            time, instrument.quote, maker, realized, resting.venue_id, order.position_side,
        )  # fmt: skip

    def _insure(self, book: SymbolBook, loss: float, isolated_margin: float) -> None:
        """The insurance fund takes what a liquidation lost beyond the margin behind it."""
        if book.isolated:
            covered = max(0.0, loss - isolated_margin)
        elif any(other.open_positions and not other.isolated for other in self._books.values()):
            covered = 0.0
        else:
            covered = max(0.0, -self._cross_wallet())
        self.insurance += covered
        self.balance += covered

    def pay_funding(
        self, symbol: str, side: PositionSide, mark_price: float, rate: float, time: int
    ) -> Funding:
        """Pay one position's funding: ``-quantity * mark_price * rate``."""
        book = self.book(symbol)
        amount = -book.holding(side).quantity * mark_price * rate
        self.balance += amount
        self.funding_received += amount
        book.margin_changed = True
        book.lower = AWAKE
        return Funding(symbol, amount, rate, time)

    # -- liquidation prices ------------------------------------------------------------------------

    def _shares_wallet(self, book: SymbolBook) -> bool:
        """True when positions of other symbols move what backs this book's."""
        own = 1 if book.open_positions else 0
        return self._open_positions > own and not book.isolated

    def _cross_wallet(self) -> float:
        """The wallet without what is set apart for isolated positions."""
        return self.balance - sum(
            held.isolated_margin
            for book in self._books.values()
            if book.isolated
            for held in book.holdings.values()
            if held.quantity
        )

    def _set_shared_liquidation(self) -> None:
        cross = [book for book in self._books.values() if not book.isolated]
        if cross:
            set_shared_liquidation(self._cross_wallet(), cross)

    def _set_liquidation(self, book: SymbolBook) -> None:
        """Compute what may have changed of the book's liquidation prices."""
        book.margin_changed = False
        if not self._open_positions:
            book.liquidation = book.watch = {}
        elif book.isolated:
            set_isolated_liquidation(book)
        elif self._shares_wallet(book):
            self._set_shared_liquidation()
        else:
            set_sole_liquidation(book, self.balance)
