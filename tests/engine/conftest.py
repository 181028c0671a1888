"""An engine, and an exchange played by hand: each test says what it answers, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from candlewick.engine import Decision, PositionChanged, Submit, Trade, TradingEngine
from candlewick.models import (
    Candle,
    Fill,
    Instrument,
    Order,
    OrderPurpose,
    OrderStatus,
    OrderUpdate,
    Signal,
    SignalAction,
)
from candlewick.risk import Denial, RiskSettings
from candlewick.strategies import Strategy
from tests.engine.picking import cancels_in, of, orders_in

SYMBOL = "BTCUSDT"
MINUTE = 60_000


class Played:
    """A running engine; what it has decided so far is in ``log``."""

    def __init__(self, engine: TradingEngine) -> None:
        self.engine = engine
        self.log: list[Decision] = []
        self.trades = 0
        self.candles = 0

    # -- what happens ----------------------------------------------------------------------------

    def take(self, decisions: Sequence[Decision]) -> list[Decision]:
        self.log += decisions
        return list(decisions)

    def candle(self, price: float, symbol: str = SYMBOL) -> list[Decision]:
        start = self.candles * MINUTE
        self.candles += 1
        candle = Candle(
            symbol, "1m", start, price, price, price, price, 1.0, start + MINUTE - 1, True
        )
        return self.take(self.engine.on_candle(candle))

    def signal(
        self, action: SignalAction = SignalAction.BUY, symbol: str = SYMBOL, **wishes: Any
    ) -> list[Decision]:
        signal = Signal(symbol, action, self.engine.now, **wishes)
        return self.take(self.engine.on_signal(signal))

    def update(
        self,
        order: Order,
        status: OrderStatus,
        filled: float = 0.0,
        *,
        code: int = 0,
        message: str = "",
    ) -> list[Decision]:
        update = OrderUpdate(
            order.client_id, order.symbol, status, self.engine.now, "7", filled, 100.0, code,
            message,
        )  # fmt: skip
        return self.take(self.engine.on_order_update(update))

    def acknowledge(self, *orders: Order) -> list[Decision]:
        return [d for o in orders for d in self.update(o, OrderStatus.ACKNOWLEDGED)]

    def reject(self, order: Order, code: int = -1000, message: str = "no") -> list[Decision]:
        return self.update(order, OrderStatus.REJECTED, code=code, message=message)

    def canceled(self, order: Order, filled: float = 0.0) -> list[Decision]:
        return self.update(order, OrderStatus.CANCELED, filled)

    def fill(
        self,
        order: Order,
        quantity: float = 0.0,
        price: float = 100.0,
        *,
        trade_id: int = 0,
        fee: float = 0.0,
    ) -> list[Decision]:
        """Tell of a trade of the order, of all of it when no quantity is given."""
        if not trade_id:
            self.trades += 1
            trade_id = self.trades
        fill = Fill(
            trade_id, order.client_id, order.symbol, order.side, price, quantity or order.quantity,
            fee, self.engine.now,
        )  # fmt: skip
        return self.take(self.engine.on_fill(fill))

    def fill_all(self, order: Order, price: float = 100.0) -> list[Decision]:
        """Tell of the trade, then of the end of the order."""
        decisions = self.fill(order, price=price)
        return decisions + self.update(order, OrderStatus.FILLED, order.quantity)

    # -- what it decided -------------------------------------------------------------------------

    def enter(self, action: SignalAction = SignalAction.BUY, **wishes: Any) -> Order:
        """Signal an entry of 1.0 (unless said otherwise) with a stop; returns its order."""
        if "size" not in wishes and "risk" not in wishes:
            wishes["size"] = 1.0
        if "stop" not in wishes and "trail" not in wishes:
            wishes["stop"] = 90.0 if action is SignalAction.BUY else 110.0
        (submit,) = of(Submit, self.signal(action, **wishes))
        return submit.order

    def hold(self, action: SignalAction = SignalAction.BUY, **wishes: Any) -> Order:
        """Enter and have all exits confirmed; returns the stop."""
        entry = self.enter(action, **wishes)
        self.acknowledge(entry)
        self.fill_all(entry)
        stop = self.only(OrderPurpose.STOP)
        self.acknowledge(stop)
        for target in self.open(OrderPurpose.TARGET):
            self.acknowledge(target)
        return stop

    def open(self, purpose: OrderPurpose) -> list[Order]:
        """Orders of a purpose that the engine counts as open."""
        return [o for o in self.engine.orders_of(SYMBOL) if o.purpose is purpose]

    def only(self, purpose: OrderPurpose) -> Order:
        (order,) = self.open(purpose)
        return order

    @property
    def quantity(self) -> float:
        return self.engine.position_of(SYMBOL).quantity

    @property
    def denials(self) -> list[Denial]:
        return of(Denial, self.log)

    @property
    def trades_made(self) -> list[Trade]:
        return of(Trade, self.log)


def positions_in(decisions: Sequence[Decision]) -> list[float]:
    return [change.after.quantity for change in of(PositionChanged, decisions)]


Play = Callable[..., Played]


@pytest.fixture
def play() -> Play:
    """Starts an engine at a price of 100; keyword arguments are limits of risk."""

    def start(
        strategy: Strategy | None = None,
        *,
        balance: float = 10_000.0,
        price: float = 100.0,
        instrument: Instrument | None = None,
        symbols: Sequence[str] = (SYMBOL,),
        **limits: Any,
    ) -> Played:
        listed = {name: instrument or Instrument(name, 0.1, 0.001) for name in symbols}
        engine = TradingEngine(
            strategy or Strategy(), listed, balance=balance, risk=RiskSettings(**limits),
            run_id="test",
        )  # fmt: skip
        played = Played(engine)
        played.take(engine.start(0))
        if price:
            for symbol in symbols:
                played.candle(price, symbol)
        return played

    return start


@pytest.fixture
def sent() -> Callable[[Sequence[Decision]], list[Order]]:
    return orders_in


@pytest.fixture
def cancelled() -> Callable[[Sequence[Decision]], list[str]]:
    return cancels_in
