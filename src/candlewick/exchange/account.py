"""`SimulatedExchange`: one account on a simulated exchange of perpetual contracts.

It takes orders and prices and answers with reports: `OrderUpdate`, `Fill`, `Funding`. It knows no
clock and no other account; the market is what its caller tells it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from candlewick.errors import ValidationError
from candlewick.exchange.admission import lacks_margin, refusal
from candlewick.exchange.book import AWAKE, Resting, SymbolBook, Walk
from candlewick.exchange.holding import Holding
from candlewick.exchange.liquidation import (
    deleverage_order,
    expire_closers,
    liquidation_order,
)
from candlewick.exchange.margin import slack
from candlewick.exchange.margin_account import MarginAccount
from candlewick.exchange.rules import as_order, parts_of, reduces, report_of, takes
from candlewick.exchange.settings import ExchangeSettings
from candlewick.models import (
    Candle,
    Fill,
    Funding,
    Instrument,
    Order,
    OrderUpdate,
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


class SimulatedExchange(MarginAccount):
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
        super().__init__(instruments, balance, settings or ExchangeSettings(), funding)
        self._slippage = self.settings.slippage_bps / 10_000.0
        self._orders_made = 0

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
            resting.lean(book.basis, book.instrument)
            if resting.trails and not order.trigger_price and book.last:
                resting.follow(book.last, book.instrument)
            self._rest(book, resting)
        return reports

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Orders that rest or wait for the next price, oldest first."""
        books = self._books.values() if symbol is None else [self.book(symbol)]
        waiting = [r for book in books for r in (*book.resting.values(), *book.arrivals)]
        waiting.sort(key=lambda resting: resting.sequence)
        return [as_order(resting) for resting in waiting]

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

    def set_basis(self, symbol: str, basis: float) -> None:
        """Let the mark price be that much above the last price from now on; whole ticks.

        Orders that wait for the mark price, margins and liquidations go by it; what is reached is
        set off by the next price.
        """
        book = self.book(symbol)
        book.basis = book.instrument.nearest_price(abs(basis)) * (1.0 if basis > 0.0 else -1.0)
        for resting in book.resting.values():
            resting.lean(book.basis, book.instrument)
        self._wallet_moved()
        book.lower = AWAKE

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
            self._set_shared_liquidation()
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

    # -- what the exchange does by itself ----------------------------------------------------------

    def _liquidate(self, book: SymbolBook, side: PositionSide, walk: Walk) -> list[Report]:
        """Close a position whose margin is used up, one tier at a time while that is enough."""
        held = book.holdings[side]
        instrument = book.instrument
        if (
            book.open_positions > 1
            and not book.isolated
            and self._slack() > (instrument.tick * abs(held.quantity))
        ):
            book.margin_changed = True  # the other side has gained meanwhile
            return []
        reports = self._cancel_entries(book, walk.time)
        self._orders_made += 1
        order = liquidation_order(
            instrument, held, walk.price + book.basis, walk.time, self._orders_made
        )
        return reports + self._close(book, held, order, walk.price, instrument.liquidation_fee)

    def _cancel_entries(self, book: SymbolBook, time: int) -> list[Report]:
        """Before a liquidation all limit orders that lean on the same margin are cancelled."""
        reports: list[Report] = []
        for other in (book,) if book.isolated else self._books.values():
            if other.isolated is not book.isolated:
                continue
            over = [r for r in other.resting.values() if r.order.type is LIMIT]
            for resting in over:
                del other.resting[resting.order.client_id]
                reports.append(report_of(resting, CANCELED, time))
        return reports

    def _slack(self) -> float:
        """What cross positions may still lose together."""
        cross = [book for book in self._books.values() if not book.isolated]
        return slack(self._cross_wallet(), cross)

    def deleverage(
        self, symbol: str, side: PositionSide, quantity: float, price: float, time: int
    ) -> list[Report]:
        """Take a position, or a part of it, over at a price, as another's bankruptcy makes needed.

        Args:
            quantity: base units; 0.0, or more than is held, is all of it.
            price: what the bankrupt position is worth, quote currency.
            time: UTC ms.

        Raises:
            ValidationError: no position is held there, or the quantity is no whole step.
        """
        book = self.book(symbol)
        held = book.holding(side)
        if not held.quantity:
            raise ValidationError(f"there is no {side} position in {symbol} to deleverage")
        if quantity < 0.0 or not book.instrument.is_quantity(quantity):
            raise ValidationError(
                f"quantity {quantity!r} must be 0 or more whole steps of {book.instrument.step:g}"
            )
        self._orders_made += 1
        order = deleverage_order(book.instrument, held, quantity, time, self._orders_made)
        reports = self._close(book, held, order, price, book.instrument.fee_taker)
        book.lower = AWAKE
        return reports

    def _close(
        self, book: SymbolBook, held: Holding, order: Order, price: float, fee_rate: float
    ) -> list[Report]:
        """Carry out an order that the exchange has made; what it lost too much is insured."""
        time = order.created_time
        resting = Resting(order, self._orders_made)
        balance, margin = self.balance, held.isolated_margin
        fill = self._trade(book, held, resting, order.quantity, price, time, False, fee_rate)
        self._insure(book, balance - self.balance, margin - held.isolated_margin)
        reports: list[Report] = [fill, report_of(resting, FILLED, time, order=order)]
        if not held.quantity:
            reports += expire_closers(book, held, time)
        return reports

    def _pay_funding(self, book: SymbolBook, candle: Candle) -> list[Report]:
        """Pay what is due up to the candle's open."""
        schedule = self._funding[candle.symbol]
        due = schedule.due(candle.open_time)
        book.next_funding = schedule.next_time
        return [
            self.pay_funding(candle.symbol, side, candle.open + book.basis, rate, time)
            for time, rate in due
            for side, held in book.holdings.items()
            if held.quantity
        ]
