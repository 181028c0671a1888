"""Whatever is ordered and whatever the market does: no money appears and none is lost."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from candlewick.exchange import ExchangeSettings, MarginType, SimulatedExchange
from candlewick.models import (
    Candle,
    Fill,
    Funding,
    Instrument,
    MarginBracket,
    Order,
    OrderStatus,
    OrderType,
    OrderUpdate,
    PositionSide,
    Side,
    TimeInForce,
)

MINUTE = 60_000
INSTRUMENTS = {
    "AAA": Instrument("AAA", 0.1, 0.003, min_quantity=0.003, fee_maker=-0.0001, brackets=(
        MarginBracket(0.0, 5_000.0, 0.004, 0.0, 125),
        MarginBracket(5_000.0, 40_000.0, 0.01, 30.0, 125),
        MarginBracket(40_000.0, math.inf, 0.05, 1_630.0, 125),
    )),
    "BBB": Instrument("BBB", 0.05, 0.1, min_notional=5.0, liquidation_fee=0.005),
}  # fmt: skip


class Books:
    """Keeps an independent account of what the exchange reports."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.cash = start  # what has been paid and received, positions as goods
        self.flows = start  # the size of all that was moved, for the relative error
        self.held: dict[tuple[str, PositionSide], float] = {}
        self.final: dict[str, OrderStatus] = {}
        self.filled: dict[str, float] = {}
        self.quantities: dict[str, float] = {}
        self.trade_ids: set[int] = set()

    def take(self, reports: Any) -> None:
        for report in reports:
            if isinstance(report, Fill):
                self._fill(report)
            elif isinstance(report, Funding):
                self.cash += report.amount
                self.flows += abs(report.amount)
            else:
                self._update(report)

    def _fill(self, fill: Fill) -> None:
        assert fill.trade_id not in self.trade_ids
        self.trade_ids.add(fill.trade_id)
        assert fill.client_id not in self.final, "a fill after the end"
        worth = fill.side.sign * fill.quantity * fill.price
        self.cash -= worth + fill.fee
        self.flows += abs(worth)
        key = (fill.symbol, fill.position_side)
        self.held[key] = self.held.get(key, 0.0) + fill.side.sign * fill.quantity
        self.filled[fill.client_id] = self.filled.get(fill.client_id, 0.0) + fill.quantity

    def _update(self, update: OrderUpdate) -> None:
        if update.code == -2011:
            return  # a cancel that came too late says nothing about the order
        assert update.client_id not in self.final, f"{update.status} after the end"
        known = self.filled.get(update.client_id, 0.0)
        assert math.isclose(update.filled, known, abs_tol=1e-9)
        if update.status.is_final:
            self.final[update.client_id] = update.status
        if update.status is OrderStatus.FILLED and update.order is None:
            assert update.filled <= self.quantities[update.client_id] or (
                self.quantities[update.client_id] == 0.0
            )


def check(exchange: SimulatedExchange, books: Books, prices: dict[str, float]) -> None:
    """The exchange's figures follow from the reports alone."""
    tolerance = 1e-9 * books.flows
    goods = sum(
        books.held.get((position.symbol, position.side), 0.0) * prices[position.symbol]
        for position in exchange.positions()
    )
    open_profit = sum(p.unrealized(prices[p.symbol]) for p in exchange.positions())
    assert abs(books.cash + exchange.insurance + goods - exchange.equity()) <= tolerance
    booked = books.start + exchange.realized - exchange.fees_paid + exchange.funding_received
    assert abs(booked + exchange.insurance - exchange.balance) <= tolerance
    assert abs(exchange.balance + open_profit - exchange.equity()) <= tolerance
    held = {key for key, quantity in books.held.items() if abs(quantity) > 1e-7}
    assert held == {(position.symbol, position.side) for position in exchange.positions()}
    for position in exchange.positions():
        instrument = INSTRUMENTS[position.symbol]
        assert instrument.is_quantity(abs(position.quantity))
        counted = books.held[position.symbol, position.side]
        assert math.isclose(counted, position.quantity, abs_tol=1e-7)
        if position.side is not PositionSide.BOTH:
            assert (position.quantity > 0.0) is (position.side is PositionSide.LONG)
    open_ = [order.client_id for order in exchange.open_orders()]
    assert len(set(open_)) == len(open_)
    assert not set(open_) & set(books.final), "an order rests after its end"


@st.composite
def orders(draw: st.DrawFn, number: int, prices: dict[str, float], hedge: bool) -> Order:
    symbol = draw(st.sampled_from(sorted(INSTRUMENTS)))
    instrument = INSTRUMENTS[symbol]
    price = prices[symbol]
    type_ = draw(st.sampled_from(list(OrderType)))
    near = instrument.nearest_price(price * draw(st.floats(0.9, 1.1)))
    worth = draw(st.sampled_from([50.0, 700.0, 9_000.0, 60_000.0]))
    quantity = instrument.round_quantity(worth / price)
    conditional = type_.is_conditional
    trails = type_ is OrderType.TRAILING_STOP_MARKET
    close = conditional and draw(st.integers(0, 4)) == 0
    sides = [PositionSide.LONG, PositionSide.SHORT] if hedge else [PositionSide.BOTH]
    return Order(
        f"o{number}", symbol, draw(st.sampled_from(list(Side))), type_, 0.0 if close else quantity,
        price=near if type_ is OrderType.LIMIT else 0.0,
        trigger_price=near if conditional and (not trails or draw(st.booleans())) else 0.0,
        callback_rate=draw(st.sampled_from([0.001, 0.01, 0.05])) if trails else 0.0,
        time_in_force=draw(st.sampled_from(list(TimeInForce))),
        reduce_only=not close and draw(st.booleans()), close_position=close,
        position_side=draw(st.sampled_from(sides)),
    )  # fmt: skip


@st.composite
def candles(draw: st.DrawFn, symbol: str, number: int, last: float) -> Candle:
    instrument = INSTRUMENTS[symbol]
    moves = [draw(st.floats(-0.05, 0.05)) for _ in range(4)]
    if draw(st.integers(0, 9)) == 0:
        moves[0] *= 6.0  # a gap
    steps = [last]
    for move in moves:
        steps.append(max(instrument.nearest_price(steps[-1] * (1.0 + move)), instrument.tick))
    _, open_, one, two, close = steps
    start = number * MINUTE
    high, low = max(steps[1:]), min(steps[1:])
    assert low <= min(one, two)
    return Candle(symbol, "1m", start, open_, high, low, close, 1.0, start + MINUTE - 1, True)


@given(data=st.data())
@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_money_is_conserved(data: st.DataObject) -> None:
    hedge = data.draw(st.booleans())
    rules = ExchangeSettings(
        slippage_bps=data.draw(st.sampled_from([0.0, 3.0])),
        leverage=data.draw(st.sampled_from([1, 10, 100])),
        margin_type=data.draw(st.sampled_from(list(MarginType))),
        hedge_mode=hedge,
        funding_rate=data.draw(st.sampled_from([0.0, 0.01, -0.01])),
        fill_parts=data.draw(st.sampled_from([1, 3])),
    )
    recorded = {"BBB": [(MINUTE * n, 0.002 * (-1) ** n) for n in range(3, 40, 5)]}
    exchange = SimulatedExchange(
        INSTRUMENTS, 10_000.0, rules, recorded if data.draw(st.booleans()) else None
    )
    books = Books(10_000.0)
    prices = dict.fromkeys(INSTRUMENTS, 100.0)
    sent: list[Order] = []

    def act(now: int) -> None:
        """Send or cancel something, or do nothing."""
        choice = data.draw(st.integers(0, 5))
        if choice == 0 and sent:
            order = data.draw(st.sampled_from(sent))
            books.take(exchange.cancel(order.client_id, order.symbol, now))
        elif choice <= 3:
            order = data.draw(orders(len(sent), prices, hedge))
            sent.append(order)
            books.quantities[order.client_id] = order.quantity
            books.take(exchange.submit(order, now))

    for number in range(data.draw(st.integers(4, 25))):
        act(number * MINUTE)
        for symbol in INSTRUMENTS:
            # a longer step now and then, so that flat funding comes due
            candle = data.draw(candles(symbol, number, prices[symbol]))
            if number % 5 == 4:
                later = candle.open_time + 500 * MINUTE * (number // 5 + 1)
                candle = msgspec.structs.replace(
                    candle, open_time=later, close_time=later + MINUTE - 1
                )
            for _ in range(200):
                reports = exchange.advance(candle)
                if not reports:
                    break
                books.take(reports)
                prices[symbol] = exchange.book(symbol).last
                check(exchange, books, prices)
                act(candle.close_time)
            else:
                raise AssertionError("the candle never ended")
            prices[symbol] = candle.close
            check(exchange, books, prices)
    if books.trade_ids:
        event("traded")
    if any(name.startswith("autoclose") for name in books.filled):
        event("liquidated")
    if exchange.insurance:
        event("insured")
    assert exchange.balance >= -1e-6 or exchange.positions(), "a wallet below zero was left"
