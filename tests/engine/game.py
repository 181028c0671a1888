"""An engine as it runs over a network, and what the exchange tells it, by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

from candlewick.engine import Decision, Memory, TradingEngine
from candlewick.models import (
    AccountSnapshot,
    Candle,
    Fill,
    Instrument,
    Order,
    OrderStatus,
    OrderType,
    OrderUpdate,
    Position,
    Side,
    Signal,
    SignalAction,
)
from candlewick.risk import RiskSettings
from candlewick.strategies import Strategy
from tests.engine.picking import orders_in

SYMBOL = "BTCUSDT"


class Game:
    """An engine as it runs over a network, at a price of 100, with the account known.

    ``largest`` is what the exchange takes in one market order, and in one stop.
    """

    def __init__(
        self,
        memory: Memory | None = None,
        largest: float = math.inf,
        run_id: str = "now",
        **limits: object,
    ) -> None:
        instrument = Instrument(SYMBOL, 0.1, 0.001, market_max_quantity=largest)
        self.engine = TradingEngine(
            Strategy(), {SYMBOL: instrument}, balance=1_000.0, run_id=run_id,
            risk=RiskSettings(**limits), awaits_snapshot=True,  # type: ignore[arg-type]
        )  # fmt: skip
        if memory is not None:
            self.engine.restore(memory)
        self.engine.start(0)
        candle = Candle(SYMBOL, "1m", 0, 100.0, 100.0, 100.0, 100.0, 1.0, 59_999, True)
        self.engine.on_candle(candle)
        if memory is None:
            self.engine.on_snapshot(self.snapshot())
        self.trades = 0

    @property
    def now(self) -> int:
        return self.engine.now

    @property
    def quantity(self) -> float:
        return self.engine.position_of(SYMBOL).quantity

    @property
    def unknown(self) -> str:
        return self.engine.symbols[SYMBOL].unknown

    def snapshot(
        self,
        quantity: float = 0.0,
        orders: Sequence[Order] = (),
        fills: Sequence[Fill] = (),
        *,
        later: int = 1,
        known: int | None = None,
    ) -> AccountSnapshot:
        time = self.now + later
        held = (Position(SYMBOL, quantity, 100.0, updated_time=time),) if quantity else ()
        known = self.engine.fills_booked if known is None else known
        return AccountSnapshot(time, 1_000.0, held, tuple(orders), tuple(fills), known)

    def tell(self, *args: object, **more: object) -> list[Decision]:
        return list(self.engine.on_snapshot(self.snapshot(*args, **more)))  # type: ignore[arg-type]

    def update(self, order: Order, status: OrderStatus, code: int = 0) -> list[Decision]:
        filled = order.quantity if status is OrderStatus.FILLED else 0.0
        update = OrderUpdate(
            order.client_id, SYMBOL, status, self.now + 1, "7", filled, 100.0, code, "no"
        )
        return list(self.engine.on_order_update(update))

    def acknowledge(self, order: Order) -> list[Decision]:
        return self.update(order, OrderStatus.ACKNOWLEDGED)

    def fill_of(self, order: Order, quantity: float = 0.0, later: int = 1) -> Fill:
        self.trades += 1
        return Fill(
            self.trades, order.client_id, SYMBOL, order.side, 100.0, quantity or order.quantity,
            0.0, self.now + later,
        )  # fmt: skip

    def enter(self, **wishes: float) -> Order:
        signal = Signal(
            SYMBOL, SignalAction.BUY, self.now, **({"size": 1.0, "stop": 90.0} | wishes)
        )  # type: ignore[arg-type]
        (order,) = orders_in(self.engine.on_signal(signal))
        return order

    def hold(self, **wishes: float) -> Order:
        """Enter, with all exits confirmed; returns the stop."""
        entry = self.enter(**wishes)
        self.acknowledge(entry)
        (stop,) = orders_in(self.engine.on_fill(self.fill_of(entry)))
        self.update(entry, OrderStatus.FILLED)
        for target in orders_in(self.acknowledge(stop)):
            self.acknowledge(target)
        return stop

    def close(self) -> list[Decision]:
        return list(self.engine.on_signal(Signal(SYMBOL, SignalAction.CLOSE, self.now)))

    def move(self, stop: float) -> Order:
        (order,) = orders_in(
            self.engine.on_signal(Signal(SYMBOL, SignalAction.MOVE_STOP, self.now, stop=stop))
        )
        return order


def by_hand(side: Side = Side.BUY, quantity: float = 1.0, client_id: str = "web_1") -> Order:
    return Order(client_id, SYMBOL, side, OrderType.MARKET, quantity)


def resting(order: Order) -> Order:
    """The order as the exchange lists it."""
    return Order(
        order.client_id, SYMBOL, order.side, order.type, order.quantity,
        trigger_price=order.trigger_price, reduce_only=order.reduce_only,
        status=OrderStatus.ACKNOWLEDGED, venue_id="77",
    )  # fmt: skip
