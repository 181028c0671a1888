"""`SimulatedExchange`: one account on a simulated exchange of perpetual contracts.

It takes orders and prices and answers with reports: `OrderUpdate`, `Fill`, `Funding`. It knows no
clock and no other account; the market is what its caller tells it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from candlewick.errors import ValidationError
from candlewick.exchange.admission import lacks_margin, refusal
from candlewick.exchange.book import AWAKE, Resting, SymbolBook, Walk
from candlewick.exchange.funding import FundingSchedule
from candlewick.exchange.holding import Holding
from candlewick.exchange.liquidation import expire_closers, liquidation_order
from candlewick.exchange.margin import (
    initial_margin,
    set_isolated_liquidation,
    set_shared_liquidation,
    set_sole_liquidation,
    slack,
)
from candlewick.exchange.rules import as_order, parts_of, reduces, report_of, takes
from candlewick.exchange.settings import ExchangeSettings, MarginType
from candlewick.models import (
    Candle,
    Fill,
    Funding,
    Instrument,
    Order,
    OrderUpdate,
    Position,
    PositionSide,
)
from candlewick.models.members import (
    ACKNOWLEDGED,
    BUY,
    CANCELED,
    EXPIRED,
    FILLED,
    FOK,
    GTX,
    IOC,
    LIMIT,
    MARKET,
    PARTIALLY_FILLED,
    REJECTED,
)

__all__ = ["Report", "SimulatedExchange"]

Report = OrderUpdate | Fill | Funding
_NOTHING: tuple[Report, ...] = ()
_AT_ONCE = (IOC, FOK)


class SimulatedExchange:
    """One account: wallet, positions, orders, and the rules that move them.

    Args:
        instruments: what can be traded, by symbol.
        balance: the wallet at the start, in quote currency.
        settings: slippage, leverage, margin type, funding.
        funding: recorded (time, rate) pairs by symbol, oldest first; replaces the flat rate.

    `advance` moves the market through one candle and stops wherever something happened, so that
    the caller can react in the middle of the candle; call it until it returns nothing.
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        balance: float,
        settings: ExchangeSettings | None = None,
        funding: Mapping[str, Sequence[tuple[int, float]]] | None = None,
    ) -> None:
        self.settings = settings or ExchangeSettings()
        self.balance = balance
        self.fees_paid = 0.0
        self.funding_received = 0.0
        self.realized = 0.0
        self.insurance = 0.0  # what bankruptcies cost others; added so that no wallet is negative
        self._isolated = self.settings.margin_type is MarginType.ISOLATED
        self._slippage = self.settings.slippage_bps / 10_000.0
        self._books: dict[str, SymbolBook] = {}
        self._funding: dict[str, FundingSchedule] = {}
        for symbol, instrument in instruments.items():
            book = SymbolBook(instrument, self.settings.leverage, self.settings.margin_type)
            schedule = FundingSchedule(
                self.settings.funding_rate,
                self.settings.funding_interval_h,
                funding.get(symbol) if funding else None,
            )
            book.next_funding = schedule.next_time
            self._books[symbol], self._funding[symbol] = book, schedule
        self._open_positions = 0
        self._orders_made = 0
        self._trades_made = 0

    # -- what the caller may ask ---------------------------------------------------------------

    def book(self, symbol: str) -> SymbolBook:
        """The book of one symbol; raises ValidationError for an unknown one."""
        try:
            return self._books[symbol]
        except KeyError:
            raise ValidationError(f"the exchange has no symbol {symbol!r}") from None

    def equity(self) -> float:
        """Wallet plus open profit at the last prices, in quote currency."""
        if not self._open_positions:
            return self.balance
        return self.balance + sum(
            held.unrealized(book.last)
            for book in self._books.values()
            for held in book.holdings.values()
            if held.quantity
        )

    def available(self) -> float:
        """What new entries may bind: equity (in isolated margin the wallet) less what is bound."""
        bound = 0.0
        for book in self._books.values():
            if book.open_positions or book.resting or book.arrivals:
                bound += initial_margin(book)
        return (self.balance if self._isolated else self.equity()) - bound

    def positions(self) -> list[Position]:
        """All positions that are not flat."""
        if self._open_positions > 1 and not self._isolated:
            set_shared_liquidation(self.balance, self._books.values())
        return [
            held.as_position(book.liquidation.get(side, 0.0))
            for book in self._books.values()
            for side, held in book.holdings.items()
            if held.quantity
        ]

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Orders that rest or wait for the next price, oldest first."""
        books = self._books.values() if symbol is None else [self.book(symbol)]
        waiting = [r for book in books for r in (*book.resting.values(), *book.arrivals)]
        waiting.sort(key=lambda resting: resting.sequence)
        return [as_order(resting) for resting in waiting]

    def change_margin_type(self, margin_type: MarginType) -> None:
        """Back positions in another way from now on; raises ValidationError while one is held."""
        if self._open_positions:
            raise ValidationError("the margin type cannot change while a position is held")
        self._isolated = margin_type is MarginType.ISOLATED
        for book in self._books.values():
            book.margin_type = margin_type

    # -- orders ----------------------------------------------------------------------------------

    def submit(self, order: Order, time: int) -> list[Report]:
        """Accept an order or reject it; a fill never comes before the next price.

        The reports hold one OrderUpdate: ACKNOWLEDGED, or REJECTED with the exchange's error
        code; a limit order that must trade at once and cannot is acknowledged and EXPIRED.
        """
        book = self._books.get(order.symbol)
        reason = refusal(self, book, order)
        if book is None or reason is not None:
            code, message = reason or (-1121, "Invalid symbol.")
            return [
                OrderUpdate(
                    order.client_id, order.symbol, REJECTED, time, "", 0.0, 0.0, code,
                    message,
                )
            ]  # fmt: skip
        number = self._orders_made = self._orders_made + 1
        resting = Resting(order, number)
        reports: list[Report] = [
            OrderUpdate(order.client_id, order.symbol, ACKNOWLEDGED, time, resting.venue_id)
        ]
        type = order.type
        if type is MARKET or (type is LIMIT and (not book.last or takes(order, book.last))):
            book.arrivals.append(resting)
            book.lower = AWAKE
        elif type is LIMIT and order.time_in_force in _AT_ONCE:
            reports.append(report_of(resting, EXPIRED, time))
        else:
            if resting.trails and not order.trigger_price and book.last:
                resting.follow(book.last, book.instrument)
            self._rest(book, resting)
        return reports

    def cancel(self, client_id: str, symbol: str, time: int) -> list[Report]:
        """Take an order off the book; REJECTED with code -2011 when it is not there."""
        book = self.book(symbol)
        resting = book.resting.pop(client_id, None)
        if resting is None:
            resting = next((r for r in book.arrivals if r.order.client_id == client_id), None)
            if resting is None:
                return [
                    OrderUpdate(
                        client_id, symbol, REJECTED, time,
                        code=-2011, message="Unknown order sent.",
                    )
                ]  # fmt: skip
            book.arrivals.remove(resting)
        if book.walk is None:
            book.set_band()
        return [report_of(resting, CANCELED, time)]

    def _rest(self, book: SymbolBook, resting: Resting) -> None:
        """Put an order on the book.

        One that waits for a better price and comes in the middle of a candle can fill from the
        next candle on: whether the price came back after that moment cannot be known.
        """
        walk = book.walk
        if walk is not None and walk.legs is not None and resting.patient:
            resting.not_before = book.candles + 1
        book.resting[resting.order.client_id] = resting
        if walk is None:
            book.set_band()

    # -- prices ----------------------------------------------------------------------------------

    def advance(self, candle: Candle) -> Sequence[Report]:
        """Move the market into ``candle``, up to the first thing that happens in it.

        Call it again with the same candle, after reacting, until it returns nothing: then the
        candle is over and its close is the last price.
        """
        book = self._books[candle.symbol]
        if (
            candle.low > book.lower
            and candle.high < book.upper
            and candle.open_time < book.next_funding
        ):
            book.last = candle.close
            return _NOTHING
        return self._advance(book, candle)

    def tick(self, symbol: str, price: float, time: int) -> list[Report]:
        """Move the market to one price, and return all that it set off."""
        candle = Candle(symbol, "", time, price, price, price, price, 0.0, time, True)
        reports: list[Report] = []
        while step := self.advance(candle):
            reports += step
        return reports

    def _advance(self, book: SymbolBook, candle: Candle) -> Sequence[Report]:
        walk = book.walk
        if walk is None:
            walk = book.walk = Walk(candle.open, candle.open_time)
            book.candles += 1
            book.lower = AWAKE
            book.margin_changed = book.margin_changed or self._shares_wallet(book)
            if book.next_funding <= candle.open_time and (
                reports := self._pay_funding(book, candle)
            ):
                return reports
        if walk.legs is None and not book.arrivals and self._rest_is_quiet(book, candle):
            return _NOTHING
        if reports := self._walk(book, walk, candle):
            return reports
        self._end(book, candle)
        return _NOTHING

    def _rest_is_quiet(self, book: SymbolBook, candle: Candle) -> bool:
        """End a candle in which nothing can happen any more, once its open is over."""
        if book.margin_changed:
            self._set_liquidation(book)
        book.set_band()
        if candle.low > book.lower and candle.high < book.upper:
            if self._shares_wallet(book):
                self._end(book, candle)
            else:
                book.walk = None
                book.last = candle.close
            return True
        book.lower = AWAKE
        return False

    def _end(self, book: SymbolBook, candle: Candle) -> None:
        """The candle is over: from now on only prices outside of the band matter."""
        book.walk = None
        book.last = candle.close
        if self._shares_wallet(book):
            set_shared_liquidation(self.balance, self._books.values())
            for other in self._books.values():
                if other.holdings and other.walk is None:
                    other.set_band()
        elif book.margin_changed:
            self._set_liquidation(book)
        book.set_band()

    def _walk(self, book: SymbolBook, walk: Walk, candle: Candle) -> list[Report]:
        """Go on until something happens, or the candle ends (an empty list)."""
        while True:
            book.last = price = walk.price
            target = walk.legs[0] if walk.legs else price
            if book.margin_changed:
                self._set_liquidation(book)
            event = None
            if book.resting or book.liquidation:
                event = book.next_event(price, target)
            # what arrived waits for the present price, unless a resting order was there first
            if book.arrivals and (event is None or event[0] != price):
                return self._execute_arrivals(book, walk)
            if event is not None:
                walk.price = book.last = event[0]
                book.follow(walk.price)
                what = event[1]
                if isinstance(what, Resting):
                    reports = self._fire(book, what, walk)
                else:
                    reports = self._liquidate(book, what, walk)
                if reports:
                    return reports
                continue
            walk.price = book.last = target
            book.follow(target)
            if walk.legs is None:
                walk.legs = book.path_inside(candle.open, candle.high, candle.low, candle.close)
                walk.time = candle.close_time
            else:
                walk.legs.pop(0)
            if not walk.legs:
                return []

    def _execute_arrivals(self, book: SymbolBook, walk: Walk) -> list[Report]:
        arrivals, book.arrivals = book.arrivals, []
        reports: list[Report] = []
        for resting in arrivals:
            order = resting.order
            price = walk.price
            if self._slippage:
                price = book.instrument.slip(price, order.side, self._slippage)
            if order.type is LIMIT:
                if not takes(order, walk.price):
                    if order.time_in_force in _AT_ONCE:
                        reports.append(report_of(resting, EXPIRED, walk.time))
                    else:
                        self._rest(book, resting)
                    continue
                if order.time_in_force is GTX:
                    reports.append(report_of(resting, EXPIRED, walk.time))
                    continue
                worst = min if order.side is BUY else max
                price = worst(price, order.price)
            reports += self._fill(book, resting, price, walk.time, False)
        return reports

    def _fire(self, book: SymbolBook, resting: Resting, walk: Walk) -> list[Report]:
        order = resting.order
        del book.resting[order.client_id]
        if order.type is LIMIT:
            return self._fill(book, resting, order.price, walk.time, True)
        if not reduces(order) and (reason := lacks_margin(self, book, order)):
            return [report_of(resting, EXPIRED, walk.time, *reason)]
        price = book.instrument.slip(walk.price, order.side, self._slippage)
        return self._fill(book, resting, price, walk.time, False)

    # -- what changes the account ------------------------------------------------------------------

    def _fill(
        self, book: SymbolBook, resting: Resting, price: float, time: int, maker: bool
    ) -> list[Report]:
        """Trade an order in full, or as much of it as there is position to reduce."""
        order = resting.order
        held = book.holding(order.position_side)
        quantity = order.quantity
        if order.reduce_only or reduces(order):
            reducible = -order.side.sign * held.quantity
            quantity = reducible if order.close_position else min(quantity, reducible)
            if quantity <= 0.0:
                return [report_of(resting, EXPIRED, time)]
        rate = book.instrument.fee_maker if maker else book.instrument.fee_taker
        reports: list[Report] = []
        parts = self.settings.fill_parts
        for part in (quantity,) if parts == 1 else parts_of(book.instrument, quantity, parts):
            reports.append(self._trade(book, held, resting, part, price, time, maker, rate))
            filled = resting.filled
            reports.append(
                OrderUpdate(
                    order.client_id, order.symbol,
                    FILLED if filled >= quantity else PARTIALLY_FILLED,
                    time, resting.venue_id, filled, resting.cost / filled,
                )
            )  # fmt: skip
        if not held.quantity and book.resting:
            reports += expire_closers(book, held, time)
        return reports

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
        if self._isolated:
            held.isolated_margin = held.notional(held.entry_price) / book.leverage
        filled = resting.filled
        resting.filled = instrument.nearest_quantity(filled + quantity) if filled else quantity
        resting.cost += price * quantity
        book.margin_changed = True
        number = self._trades_made = self._trades_made + 1
        return Fill(
            number, order.client_id, order.symbol, order.side, price, quantity, fee,
            time, instrument.quote, maker, realized, resting.venue_id, order.position_side,
        )  # fmt: skip

    # -- liquidation -------------------------------------------------------------------------------

    def _shares_wallet(self, book: SymbolBook) -> bool:
        """True when other positions than the book's only one lean on the wallet."""
        own = 1 if book.open_positions else 0
        return self._open_positions > own and not self._isolated

    def _set_liquidation(self, book: SymbolBook) -> None:
        """Compute what may have changed of the book's liquidation prices."""
        book.margin_changed = False
        if not self._open_positions:
            book.liquidation = book.watch = {}
        elif self._isolated:
            set_isolated_liquidation(book)
        elif self._shares_wallet(book):
            set_shared_liquidation(self.balance, self._books.values())
        else:
            set_sole_liquidation(book, self.balance)

    def _liquidate(self, book: SymbolBook, side: PositionSide, walk: Walk) -> list[Report]:
        """Close a position whose margin is used up, one tier at a time while that is enough."""
        held = book.holdings[side]
        instrument = book.instrument
        if (
            book.open_positions > 1
            and not self._isolated
            and slack(self.balance, self._books.values()) > (instrument.tick * abs(held.quantity))
        ):
            book.margin_changed = True  # the other side has gained meanwhile
            return []
        self._orders_made += 1
        order = liquidation_order(instrument, held, walk.price, walk.time, self._orders_made)
        resting = Resting(order, self._orders_made)
        balance, margin = self.balance, held.isolated_margin
        rate = instrument.liquidation_fee
        fill = self._trade(book, held, resting, order.quantity, walk.price, walk.time, False, rate)
        self._insure(balance - self.balance, margin - held.isolated_margin)
        reports: list[Report] = [fill, report_of(resting, FILLED, walk.time, order=order)]
        if not held.quantity:
            reports += expire_closers(book, held, walk.time)
        return reports

    def _insure(self, loss: float, isolated_margin: float) -> None:
        """The insurance fund takes what a liquidation lost beyond the margin behind it."""
        if self._isolated:
            covered = max(0.0, loss - isolated_margin)
        else:
            covered = 0.0 if self._open_positions else max(0.0, -self.balance)
        self.insurance += covered
        self.balance += covered

    # -- funding ---------------------------------------------------------------------------------

    def _pay_funding(self, book: SymbolBook, candle: Candle) -> list[Report]:
        """Pay what is due up to the candle's open."""
        schedule = self._funding[candle.symbol]
        due = schedule.due(candle.open_time)
        book.next_funding = schedule.next_time
        return [
            self.pay_funding(candle.symbol, side, candle.open, rate, time)
            for time, rate in due
            for side, held in book.holdings.items()
            if held.quantity
        ]

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
