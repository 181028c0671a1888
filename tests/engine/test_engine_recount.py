"""Any sequence of news, reordered and repeated: the books stay right, and decisions repeat."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlewick.engine import Cancel, Decision, StopPolicy, Submit, TradingEngine
from candlewick.models import (
    Candle,
    Fill,
    Funding,
    Instrument,
    Order,
    OrderPurpose,
    OrderStatus,
    OrderUpdate,
    Signal,
    SignalAction,
)
from candlewick.risk import RiskSettings
from candlewick.strategies import Strategy

SYMBOLS = ("AAA", "BBB")
INSTRUMENTS = {name: Instrument(name, 0.1, 0.001) for name in SYMBOLS}
MINUTE = 60_000
ACTIONS = [action for action in SignalAction if action is not SignalAction.MOVE_STOP]
GENEROUS = RiskSettings(max_leverage=0.0, daily_loss=0.0, max_orders_per_minute=0)


class Market:
    """Answers orders as an exchange may: in parts, in any order, some news more than once."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.engine = TradingEngine(
            Strategy(), INSTRUMENTS, balance=10_000.0, risk=GENEROUS, run_id="r"
        )
        self.orders: dict[str, Order] = {}
        self.news: list[Fill | OrderUpdate] = []
        self.trades: list[Fill] = []
        self.held = dict.fromkeys(SYMBOLS, 0.0)
        self.told: set[int] = set()
        self.now = 0

    def act(self, decisions: Any) -> None:
        for decision in decisions:
            if isinstance(decision, Submit):
                assert decision.order.client_id not in self.orders, "a client id was used twice"
                self._answer(decision.order)
            elif isinstance(decision, Cancel):
                self._cancel(decision.order)
            elif isinstance(decision, Signal):
                self.act(self.engine.on_signal(decision))

    def _answer(self, order: Order) -> None:
        self.orders[order.client_id] = order
        kind = self.draw(st.integers(0, 9))
        if kind == 9:
            self._tell(order, OrderStatus.REJECTED, 0.0)
            return
        if kind == 8:
            self._tell(order, OrderStatus.UNKNOWN, 0.0)
        self._tell(order, OrderStatus.ACKNOWLEDGED, 0.0)
        rests = order.type.is_conditional
        if not rests or self.draw(st.integers(0, 4)) == 4:
            self._fill(order)

    def _fill(self, order: Order) -> None:
        """Trade an order in one to three parts; a reduce-only one no more than is held."""
        instrument = INSTRUMENTS[order.symbol]
        quantity = order.quantity
        del self.orders[order.client_id]
        if order.reduce_only:
            room = max(0.0, -order.side.sign * self.held[order.symbol])
            quantity = min(quantity, room)
        if quantity <= 0.0:
            self._tell(order, OrderStatus.EXPIRED, 0.0)
            return
        parts = self.draw(st.integers(1, 3))
        part = instrument.round_quantity(quantity / parts)
        sizes = [part] * (parts - 1) if part > 0.0 else []
        sizes.append(instrument.nearest_quantity(quantity - sum(sizes)))
        filled = 0.0
        for size in sizes:
            price = instrument.nearest_price(100.0 + self.draw(st.integers(-50, 50)) / 10.0)
            trade = Fill(
                len(self.trades) + 1, order.client_id, order.symbol, order.side, price, size,
                round(size * price * 0.0005, 8), self.now,
            )  # fmt: skip
            self.trades.append(trade)
            self.news.append(trade)
            filled = instrument.nearest_quantity(filled + size)
            held = self.held[order.symbol] + order.side.sign * size
            self.held[order.symbol] = instrument.nearest_quantity(held)
            done = filled == quantity
            self._tell(order, OrderStatus.FILLED if done else OrderStatus.PARTIALLY_FILLED, filled)

    def _cancel(self, order: Order) -> None:
        if self.orders.pop(order.client_id, None) is None:
            self._tell(order, OrderStatus.REJECTED, 0.0, code=-2011)
        else:
            self._tell(order, OrderStatus.CANCELED, 0.0)

    def _tell(self, order: Order, status: OrderStatus, filled: float, code: int = 0) -> None:
        if status is OrderStatus.REJECTED and not code:
            self.orders.pop(order.client_id, None)
        self.news.append(
            OrderUpdate(
                order.client_id, order.symbol, status, self.now, "v", filled, 100.0, code=code
            )
        )

    def deliver(self) -> None:
        """Hand one piece of news to the engine, not always the oldest, and some of it twice."""
        window = min(len(self.news), self.draw(st.sampled_from([1, 1, 3, 6])))
        item = self.news.pop(self.draw(st.integers(0, window - 1)))
        if self.draw(st.integers(0, 5)) == 5:
            self.news.insert(self.draw(st.integers(0, len(self.news))), item)
        if isinstance(item, Fill):
            self.told.add(item.trade_id)
            self.act(self.engine.on_fill(item))
        else:
            self.act(self.engine.on_order_update(item))
        self.check()

    def check(self) -> None:
        """What the engine holds is the sum of the fills it has been told of."""
        balance = 10_000.0
        for symbol in SYMBOLS:
            mine = [t for t in self.trades if t.trade_id in self.told and t.symbol == symbol]
            expected = sum(t.side.sign * t.quantity for t in mine)
            held = self.engine.position_of(symbol)
            assert held.quantity == INSTRUMENTS[symbol].nearest_quantity(expected)
            paid = -sum(t.side.sign * t.quantity * t.price + t.fee for t in mine)
            balance += paid + held.quantity * held.entry_price
        assert self.engine.balance == pytest.approx(balance, rel=1e-9)
        marked = sum(
            self.engine.position_of(s).unrealized(self.engine.symbols[s].price) for s in SYMBOLS
        )
        assert self.engine.equity == pytest.approx(self.engine.balance + marked, rel=1e-9)

    def quiet(self) -> None:
        """Deliver everything; the exchange fills market orders until nothing moves."""
        for _ in range(2_000):
            if not self.news:
                return
            self.deliver()
        pytest.fail("the engine and the exchange never come to rest")


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_reordered_and_repeated_news_end_in_the_right_books(data: st.DataObject) -> None:
    market = Market(data.draw)
    engine = market.engine
    market.act(engine.start(0))
    for number in range(data.draw(st.integers(1, 8))):
        for symbol in SYMBOLS:
            market.now = number * MINUTE + MINUTE - 1
            candle = Candle(
                symbol, "1m", number * MINUTE, 100.0, 100.0, 100.0, 100.0, 1.0, market.now, True
            )
            market.act(engine.on_candle(candle))
        wish = Signal(
            data.draw(st.sampled_from(SYMBOLS)),
            data.draw(st.sampled_from(ACTIONS)),
            market.now,
            size=data.draw(st.sampled_from([0.0, 0.5, 2.0])),
            target=0.0,
        )  # fmt: skip
        market.act(engine.on_signal(wish))
        for _ in range(data.draw(st.integers(0, 12))):
            if market.news:
                market.deliver()
    market.quiet()
    assert {s: engine.position_of(s).quantity for s in SYMBOLS} == market.held
    for symbol in SYMBOLS:
        known = {order.client_id for order in engine.orders_of(symbol)}
        resting = {o.client_id for o in market.orders.values() if o.symbol == symbol}
        assert known == resting, "what rests at the exchange is what the engine knows"
    market.act(engine.begin_stop(StopPolicy.FLATTEN, "the end"))
    market.quiet()
    stuck = [s for s in SYMBOLS if engine.symbols[s].unknown]
    assert all(market.held[s] == 0.0 for s in SYMBOLS if s not in stuck)


# -- determinism ----------------------------------------------------------------------------------


class Busy(Strategy):
    """Does a little of everything, by the last digits of the price."""

    def on_candle(self, candle: Candle) -> None:
        digit = round(candle.close * 10.0) % 7
        if digit == 0:
            self.buy(risk=0.01, stop=candle.close * 0.97, target=candle.close * 1.05)
        elif digit == 1:
            self.sell(risk=0.02, trail=0.02)
        elif digit == 2:
            self.close(size=0.3)
        elif digit == 3 and not self.position.is_flat:
            away = 0.98 if self.position.is_long else 1.02
            self.move_stop(candle.close * away)
        elif digit == 4:
            self.buy(self.symbols[-1], price=candle.close * 0.999, stop=candle.close * 0.9)
        elif digit == 5:
            self.cancel_entries()


def decided() -> Iterator[Decision]:
    """All decisions of a run on the simulated exchange, with funding between."""
    from candlewick.exchange import ExchangeSettings, SimulatedExchange

    engine = TradingEngine(Busy(), INSTRUMENTS, balance=10_000.0, run_id="same")
    exchange = SimulatedExchange(INSTRUMENTS, 10_000.0, ExchangeSettings(fill_parts=2))
    queue: list[Any] = list(engine.start(0))
    price = 1_000
    for number in range(4_000):
        for symbol in SYMBOLS:
            price += (number * 7 + len(symbol) * 13 + price * 31) % 23 - 11
            close = max(price, 200) / 10.0
            start = number * MINUTE
            candle = Candle(
                symbol, "1m", start, close, close + 0.4, close - 0.3, close, 1.0,
                start + MINUTE - 1, True,
            )  # fmt: skip
            while reports := exchange.advance(candle):
                queue += reports
                yield from _drain(queue, engine, exchange)
            queue += engine.on_candle(candle)
            yield from _drain(queue, engine, exchange)
        if number % 500 == 0:
            engine.on_funding(Funding("AAA", -0.5, 0.0001, engine.now))


def _drain(queue: list[Any], engine: TradingEngine, exchange: Any) -> Iterator[Decision]:
    while queue:
        item = queue.pop(0)
        if isinstance(item, Fill):
            queue += engine.on_fill(item)
        elif isinstance(item, OrderUpdate):
            queue += engine.on_order_update(item)
        elif isinstance(item, Signal):
            yield item
            queue += engine.on_signal(item)
        else:
            yield item
            if isinstance(item, Submit):
                queue += exchange.submit(item.order, item.order.created_time)
            elif isinstance(item, Cancel):
                queue += exchange.cancel(item.order.client_id, item.order.symbol, item.time)


def fingerprint() -> dict[str, Any]:
    digest = hashlib.sha256()
    count = 0
    for decision in decided():
        digest.update(type(decision).__name__.encode() + msgspec.json.encode(decision))
        count += 1
    return {"count": count, "digest": digest.hexdigest()}


def test_the_same_events_make_the_same_decisions_in_any_process() -> None:
    """Byte by byte, whatever the hash seed, which would show any order taken from a set."""
    program = (
        "import importlib.util, json, sys;"
        "spec = importlib.util.spec_from_file_location('this', sys.argv[1]);"
        "this = importlib.util.module_from_spec(spec); sys.modules['this'] = this;"
        "spec.loader.exec_module(this);"
        "print(json.dumps(this.fingerprint()))"
    )
    found = []
    for seed in ("1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", program, str(Path(__file__))],
            capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed},
        )  # fmt: skip
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]
    assert found[0]["count"] > 5_000


def test_the_busy_strategy_reaches_every_kind_of_order() -> None:
    """Without this the test above could agree about nothing."""
    orders = [decision.order for decision in decided() if isinstance(decision, Submit)]
    assert {order.purpose for order in orders} == set(OrderPurpose)
    assert {order.symbol for order in orders} == set(SYMBOLS)
    assert len({order.type for order in orders}) == 5
