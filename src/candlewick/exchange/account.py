"""`SimulatedExchange`: one account on a simulated exchange of perpetual contracts.

It takes orders and prices and answers with reports: `OrderUpdate`, `Fill`, `Funding`. It knows no
clock and no other account; the market is what its caller tells it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from candlewick.errors import ValidationError
from candlewick.exchange.admission import refusal
from candlewick.exchange.book import Resting, SymbolBook, Walk
from candlewick.exchange.holding import Holding
from candlewick.exchange.margin import liquidation_price
from candlewick.exchange.rules import (
    as_order,
    parts_of,
    path_inside,
    resting_update,
    start_extreme,
    takes,
    update_of,
)
from candlewick.exchange.settings import ExchangeSettings, MarginType
from candlewick.models import (
    Candle,
    Fill,
    Funding,
    Instrument,
    Order,
    OrderStatus,
    OrderType,
    OrderUpdate,
    Position,
    PositionSide,
    Side,
    TimeInForce,
)

__all__ = ["Report", "SimulatedExchange"]

Report = OrderUpdate | Fill | Funding
_NOTHING: tuple[Report, ...] = ()
_HOUR_MS = 3_600_000
_NEVER = 1 << 62


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
        self._funding = {symbol: list(rates) for symbol, rates in (funding or {}).items()}
        self._books = {
            symbol: SymbolBook(instrument, self.settings.leverage, self.settings.margin_type)
            for symbol, instrument in instruments.items()
        }
        self._open_positions = 0
        self._orders_made = 0
        self._trades_made = 0
        for symbol, book in self._books.items():
            book.next_funding = 0 if self._funds(symbol) else _NEVER

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
        """Equity less the initial margin of positions and resting entries, quote currency."""
        used = 0.0
        for book in self._books.values():
            if not book.holdings and not book.resting and not book.arrivals:
                continue
            used += sum(h.notional(h.entry_price) for h in book.holdings.values()) / book.leverage
            waiting = [*book.resting.values(), *book.arrivals]
            used += (
                sum(
                    (r.order.price or book.last) * (r.order.quantity - r.filled)
                    for r in waiting
                    if not (
                        r.order.reduce_only or r.order.close_position or r.order.type.is_conditional
                    )
                )
                / book.leverage
            )
        return self.equity() - used

    def positions(self) -> list[Position]:
        """All positions that are not flat."""
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
            return [update_of(order, OrderStatus.REJECTED, time, code=code, message=message)]
        self._orders_made += 1
        venue_id = str(self._orders_made)
        resting = Resting(order, self._orders_made, start_extreme(order, book.last), 0)
        reports: list[Report] = [
            update_of(order, OrderStatus.ACKNOWLEDGED, time, venue_id=venue_id)
        ]
        if order.type.is_conditional or (
            order.type is OrderType.LIMIT and not takes(order, book.last)
        ):
            if order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
                reports.append(update_of(order, OrderStatus.EXPIRED, time, venue_id=venue_id))
                return reports
            self._rest(book, resting)
        else:
            book.arrivals.append(resting)
            book.lower = math.inf  # the next price is not a quiet one
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
                        client_id, symbol, OrderStatus.REJECTED, time,
                        code=-2011, message="Unknown order sent.",
                    )
                ]  # fmt: skip
            book.arrivals.remove(resting)
        book.set_band()
        return [resting_update(resting, OrderStatus.CANCELED, time)]

    def _rest(self, book: SymbolBook, resting: Resting) -> None:
        """Put an order on the book.

        One that waits for a better price and comes in the middle of a candle can fill from the
        next candle on: whether the price came back after that moment cannot be known.
        """
        walk = book.walk
        patient = resting.order.type in (OrderType.LIMIT, OrderType.TAKE_PROFIT_MARKET)
        if walk is not None and walk.legs is not None and patient:
            resting.not_before = book.candles + 1
        book.resting[resting.order.client_id] = resting
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

    def _advance(self, book: SymbolBook, candle: Candle) -> list[Report]:
        walk = book.walk
        if walk is None:
            walk = book.walk = Walk(candle.open, candle.open_time)
            book.candles += 1
            if book.next_funding <= candle.open_time:
                reports = self._pay_funding(book, candle)
                if reports:
                    return reports
        if walk.legs is None and not book.arrivals and self._rest_is_quiet(book, walk, candle):
            return []
        reports = self._walk(book, walk, candle)
        if not reports:
            book.walk = None
            book.last = candle.close
            if self._open_positions > 1:
                self._set_liquidation()
            book.set_band()
        return reports

    def _rest_is_quiet(self, book: SymbolBook, walk: Walk, candle: Candle) -> bool:
        """End a candle in which nothing more can happen once its open is over."""
        book.walk = None
        book.set_band()
        if candle.low > book.lower and candle.high < book.upper:
            book.last = candle.close
            if self._open_positions > 1:
                self._set_liquidation()
            return True
        book.walk = walk
        book.set_band()
        return False

    def _walk(self, book: SymbolBook, walk: Walk, candle: Candle) -> list[Report]:
        """Go on until something happens, or the candle ends (an empty list)."""
        while True:
            book.last = walk.price
            target = walk.legs[0] if walk.legs else walk.price
            event = book.next_event(target)
            # what arrived waits for the present price, unless a resting order was there first
            if book.arrivals and (event is None or event[0] != walk.price):
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
                walk.legs = path_inside(book, candle)
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
            if order.type is OrderType.LIMIT and not takes(order, walk.price):
                if order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTX):
                    reports.append(resting_update(resting, OrderStatus.EXPIRED, walk.time))
                else:
                    self._rest(book, resting)
                continue
            price = self._taker_price(book, order.side, walk.price)
            if order.type is OrderType.LIMIT:
                price = (
                    min(price, order.price) if order.side is Side.BUY else max(price, order.price)
                )
            reports += self._fill(book, resting, price, walk.time, maker=False)
        return reports

    def _fire(self, book: SymbolBook, resting: Resting, walk: Walk) -> list[Report]:
        order = resting.order
        del book.resting[order.client_id]
        if order.type is OrderType.LIMIT:
            return self._fill(book, resting, order.price, walk.time, maker=True)
        price = self._taker_price(book, order.side, walk.price)
        return self._fill(book, resting, price, walk.time, maker=False)

    def _taker_price(self, book: SymbolBook, side: Side, price: float) -> float:
        return book.instrument.slip(price, side, self.settings.slippage_bps / 10_000.0)

    # -- what changes the account ------------------------------------------------------------------

    def _fill(
        self, book: SymbolBook, resting: Resting, price: float, time: int, *, maker: bool
    ) -> list[Report]:
        """Trade an order in full, or as much of it as there is position to reduce."""
        order = resting.order
        held = book.holding(order.position_side)
        quantity = order.quantity - resting.filled
        if order.reduce_only or order.close_position:
            reducible = -order.side.sign * held.quantity
            quantity = reducible if order.close_position else min(quantity, reducible)
            if quantity <= 0.0:
                return [resting_update(resting, OrderStatus.EXPIRED, time)]
        reports: list[Report] = []
        count = self.settings.fill_parts
        for part in (quantity,) if count == 1 else parts_of(book.instrument, quantity, count):
            reports.append(self._trade(book, held, resting, part, price, time, maker))
            done = resting.filled >= quantity
            status = OrderStatus.FILLED if done else OrderStatus.PARTIALLY_FILLED
            reports.append(resting_update(resting, status, time))
        if not held.quantity and book.resting:
            reports += self._expire_closers(book, held, time)
        self._after_change(book)
        return reports

    def _expire_closers(self, book: SymbolBook, held: Holding, time: int) -> list[Report]:
        """Orders that close a position, whatever its size, end when it does."""
        over = [
            resting
            for resting in book.resting.values()
            if resting.order.close_position and resting.order.position_side is held.side
        ]
        for resting in over:
            del book.resting[resting.order.client_id]
        return [resting_update(resting, OrderStatus.EXPIRED, time) for resting in over]

    def _trade(
        self,
        book: SymbolBook,
        held: Holding,
        resting: Resting,
        quantity: float,
        price: float,
        time: int,
        maker: bool,
        fee_rate: float | None = None,
    ) -> Fill:
        order = resting.order
        before = held.quantity
        realized = held.change(order.side.sign * quantity, price, time)
        self._open_positions += (held.quantity != 0.0) - (before != 0.0)
        rate = book.instrument.fee_maker if maker else book.instrument.fee_taker
        fee = (rate if fee_rate is None else fee_rate) * quantity * price
        self.balance += realized - fee
        self.realized += realized
        self.fees_paid += fee
        held.fees += fee
        if book.margin_type is MarginType.ISOLATED:
            held.isolated_margin = held.notional(held.entry_price) / book.leverage
        filled = resting.filled
        resting.filled = book.instrument.nearest_quantity(filled + quantity) if filled else quantity
        resting.cost += price * quantity
        self._trades_made += 1
        return Fill(
            self._trades_made, order.client_id, order.symbol, order.side, price, quantity, fee,
            time, book.instrument.quote, maker, realized, str(resting.sequence),
            order.position_side,
        )  # fmt: skip

    def _after_change(self, book: SymbolBook) -> None:
        if book.margin_type is MarginType.CROSS and self._open_positions > 1:
            self._set_liquidation()
        else:
            self._set_liquidation_of(book)
        book.set_band()

    def _liquidate(self, book: SymbolBook, side: PositionSide, walk: Walk) -> list[Report]:
        """Close a position whose margin is used up, one tier at a time while that is enough."""
        held = book.holdings[side]
        instrument = book.instrument
        notional = held.notional(walk.price)
        floor = instrument.bracket(notional).floor
        quantity = abs(held.quantity)
        if floor > 0.0:
            kept = instrument.round_quantity(floor / walk.price)
            quantity = instrument.nearest_quantity(quantity - kept)
        direction = Side.SELL if held.quantity > 0.0 else Side.BUY
        self._orders_made += 1
        order = Order(
            f"autoclose-{self._orders_made}", instrument.symbol, direction, OrderType.MARKET,
            quantity, reduce_only=True, position_side=side, created_time=walk.time,
            reason="liquidation",
        )  # fmt: skip
        resting = Resting(order, self._orders_made, 0.0, 0)
        before, margin = self.balance, held.isolated_margin
        fill = self._trade(
            book, held, resting, quantity, walk.price, walk.time, False, instrument.liquidation_fee
        )
        self._insure(before - self.balance, margin if not held.quantity else 0.0)
        reports: list[Report] = [
            fill, resting_update(resting, OrderStatus.FILLED, walk.time, order=order)
        ]  # fmt: skip
        if not held.quantity:
            reports += self._expire_closers(book, held, walk.time)
        self._after_change(book)
        return reports

    def _insure(self, loss: float, isolated_margin: float) -> None:
        """The insurance fund takes what a liquidation lost beyond the margin behind it."""
        covered = 0.0
        if isolated_margin > 0.0:
            covered = max(0.0, loss - isolated_margin)
        elif self.balance < 0.0 and not self._open_positions:
            covered = -self.balance
        self.insurance += covered
        self.balance += covered

    def _set_liquidation(self) -> None:
        for book in self._books.values():
            if book.holdings:
                self._set_liquidation_of(book)
                book.set_band()

    def _set_liquidation_of(self, book: SymbolBook) -> None:
        book.liquidation = {}
        for side, held in book.holdings.items():
            if not held.quantity:
                continue
            if book.margin_type is MarginType.ISOLATED:
                collateral = held.isolated_margin
            else:
                collateral = self.balance + self._cushion_of_others(held)
            price = liquidation_price(book.instrument, held.quantity, held.entry_price, collateral)
            if price > 0.0:
                book.liquidation[side] = price

    def _cushion_of_others(self, own: Holding) -> float:
        """Other positions' open profit less their maintenance margin, at the last prices."""
        if self._open_positions <= 1:
            return 0.0
        cushion = 0.0
        for book in self._books.values():
            for held in book.holdings.values():
                if held is own or not held.quantity:
                    continue
                if book.margin_type is MarginType.ISOLATED:
                    cushion -= held.isolated_margin
                else:
                    cushion += held.unrealized(book.last)
                    cushion -= book.instrument.maintenance_margin(held.notional(book.last))
        return cushion

    # -- funding ---------------------------------------------------------------------------------

    def _funds(self, symbol: str) -> bool:
        return symbol in self._funding or self.settings.funding_rate != 0.0

    def _pay_funding(self, book: SymbolBook, candle: Candle) -> list[Report]:
        """Pay what is due up to the candle's open; the first candle only sets the schedule."""
        symbol, now = candle.symbol, candle.open_time
        recorded = self._funding.get(symbol)
        due: list[tuple[int, float]] = []
        if recorded is not None:
            while recorded and recorded[0][0] <= now:
                due.append(recorded.pop(0))
            following = recorded[0][0] if recorded else _NEVER
        else:
            period = self.settings.funding_interval_h * _HOUR_MS
            following = (now // period + 1) * period
            due = [(time, self.settings.funding_rate)
                   for time in range(book.next_funding or following, now + 1, period)]  # fmt: skip
        book.next_funding = following
        return [
            self.pay_funding(symbol, side, candle.open, rate, time)
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
        self._after_change(book)
        return Funding(symbol, amount, rate, time)
