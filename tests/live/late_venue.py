"""`LateVenue`: a simulated exchange whose answers take their time, and can be made to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from candlewick.audit import AuditLogger
from candlewick.backtesting import Account, Run
from candlewick.data import Market
from candlewick.engine import Memory, StopPolicy, TradingEngine
from candlewick.errors import VenueError
from candlewick.exchange import Report, SimulatedExchange
from candlewick.live import Outcome, SystemSettings, TradingSystem
from candlewick.live.cleanup import CleanupSettings
from candlewick.live.network import NetworkDriver, NetworkSettings
from candlewick.models import (
    AccountSnapshot,
    Candle,
    CandleTable,
    Event,
    EventKind,
    Fill,
    Instrument,
    Order,
    OrderUpdate,
    StreamKind,
    StreamState,
    StreamStatus,
    TriggerPrice,
    utc_now_ms,
)
from candlewick.risk import RiskSettings
from candlewick.strategies import Strategy
from candlewick.venues import Publish

SYMBOL = "BTCUSDT"


INSTRUMENTS = {SYMBOL: Instrument(SYMBOL, 0.1, 0.001)}


class LateVenue:
    """A simulated exchange whose answers take their time, and can be made to fail.

    Every answer goes through the event loop's clock, as it would over a network. ``lose`` names
    calls whose answer is lost although the exchange has carried them out.
    """

    name = "late"

    def __init__(self, delay_s: float = 0.002) -> None:
        self.exchange = SimulatedExchange(INSTRUMENTS, 10_000.0)
        self.delay_s = delay_s
        self.price = 100.0
        self.minute = 0
        self.sent: list[Order] = []
        self.known: dict[str, OrderUpdate] = {}
        self.fills: list[Fill] = []
        self.refuse_to_connect = False
        self.snapshots_fail = 0
        self.lose_answer_to = ""
        self.silent_stops = False
        self.heard_prices: dict[TriggerPrice, float] = {}
        self._publish: Publish | None = None

    async def connect(self, publish: Publish, symbols: Sequence[str], interval: str) -> None:
        if self.refuse_to_connect:
            raise VenueError("invalid API key; make a new one", -2015)
        self._publish = publish

    async def instruments(self, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        return INSTRUMENTS

    async def submit(self, order: Order) -> None:
        await asyncio.sleep(self.delay_s)
        self.sent.append(order)
        reports = self.exchange.submit(order, utc_now_ms())
        if self.silent_stops and "stop" in order.client_id:
            self._note(reports)
            return
        if self.lose_answer_to and self.lose_answer_to in order.client_id:
            self.lose_answer_to = ""
            self._note(reports)
            self._trade_soon()
            raise ConnectionResetError("the answer was lost")
        self._tell(reports)
        self._trade_soon()

    def _trade_soon(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(
            self.delay_s, lambda: self._tell(self.exchange.tick(SYMBOL, self.price, utc_now_ms()))
        )

    async def cancel(self, order: Order, time: int) -> None:
        await asyncio.sleep(self.delay_s)
        self._tell(self.exchange.cancel(order.client_id, order.symbol, utc_now_ms()))

    async def query(self, order: Order) -> OrderUpdate | None:
        await asyncio.sleep(self.delay_s)
        return self.known.get(order.client_id)

    async def snapshot(self, since: int = 0) -> AccountSnapshot:
        await asyncio.sleep(self.delay_s)
        if self.snapshots_fail > 0:
            self.snapshots_fail -= 1
            raise TimeoutError("no answer")
        return AccountSnapshot(
            utc_now_ms(), self.exchange.balance, tuple(self.exchange.positions()),
            tuple(self.exchange.open_orders()), tuple(f for f in self.fills if f.time >= since),
        )  # fmt: skip

    def price_of(self, symbol: str, by: TriggerPrice) -> float:
        return self.heard_prices.get(by, 0.0)

    async def close(self) -> None:
        self._publish = None

    def candle(self, price: float) -> None:
        """Close one more candle at ``price``."""
        self.price = price
        self.minute += 1
        start = self.minute * 60_000
        candle = Candle(SYMBOL, "1m", start, price, price, price, price, 1.0, utc_now_ms(), True)
        assert self._publish is not None
        self._publish(Event(EventKind.CANDLE_CLOSED, candle))
        self._tell(self.exchange.tick(SYMBOL, price, utc_now_ms()))

    def stream(self, state: StreamState) -> None:
        assert self._publish is not None
        status = StreamStatus(StreamKind.ACCOUNT, state, utc_now_ms(), "test")
        self._publish(Event(EventKind.STREAM_CHANGED, status))

    def _note(self, reports: Sequence[Report]) -> None:
        for report in reports:
            if isinstance(report, OrderUpdate):
                self.known[report.client_id] = report
            elif isinstance(report, Fill):
                self.fills.append(report)

    def _tell(self, reports: Sequence[Report]) -> None:
        self._note(reports)
        for report in reports:
            kind = (
                EventKind.ORDER_UPDATED
                if isinstance(report, OrderUpdate)
                else EventKind.FILL_RECEIVED
            )
            if self._publish is not None:
                self._publish(Event(kind, report, report.time))


class BuysAtOnce(Strategy):
    """Buys at its first candle, once in its life."""

    done = False

    def save_state(self) -> Mapping[str, Any]:
        return {"done": self.done}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.done = state["done"]

    def on_candle(self, candle: Candle) -> None:
        if not self.done:
            self.done = True
            self.buy(size=1.0, stop=candle.close * 0.9)


def system_on(
    venue: LateVenue,
    directory: Path,
    strategy: Strategy,
    policy: StopPolicy,
    memory: Memory | None = None,
    reconcile_every_s: float = 5.0,
    **risk: Any,
) -> TradingSystem:
    strategy_name = type(strategy).__name__
    nothing = np.array([])
    tables = (CandleTable(SYMBOL, "1m", nothing, nothing, nothing, nothing, nothing, nothing),)
    market = Market(tables, dict(INSTRUMENTS), "late venue")
    run = Run(strategy, strategy_name, {}, market, dict(INSTRUMENTS), tables, Account())
    engine = TradingEngine(
        strategy, INSTRUMENTS, balance=10_000.0, risk=RiskSettings(**risk),
        run_id="net2" if memory else "net",
        awaits_snapshot=True,
    )  # fmt: skip
    patience = CleanupSettings(timeout_s=3.0, settle_s=2.0)
    settings = SystemSettings(run_id="net", on_stop=policy, drain_timeout_s=2.0, cleanup=patience)
    return TradingSystem(
        run, AuditLogger(directory), engine, venue,
        lambda stopping: NetworkDriver(
            venue, [SYMBOL], "1m",
            NetworkSettings(reconcile_every_s=reconcile_every_s, retry_s=0.01), stopping,
            since=memory.last_time if memory else 0,
        ),
        settings, over_network=True, memory=memory,
    )  # fmt: skip


async def until(system: TradingSystem, reached: Callable[[], bool]) -> None:
    """Wait until the engine has taken events that make ``reached`` true."""
    async with asyncio.timeout(20):
        while not reached():
            await system.shell.progress()


def play(
    directory: Path,
    script: Callable[[TradingSystem, LateVenue], Any],
    *,
    venue: LateVenue | None = None,
    policy: StopPolicy = StopPolicy.FLATTEN,
    strategy: Strategy | None = None,
    memory: Memory | None = None,
    **risk: Any,
) -> tuple[Outcome, LateVenue]:
    """Run a system on a late venue while ``script`` plays the market, then stop it."""

    async def main() -> tuple[Outcome, LateVenue]:
        late = venue or LateVenue()
        system = system_on(late, directory, strategy or BuysAtOnce(), policy, memory, **risk)
        running = asyncio.create_task(system.run())
        await until(system, lambda: not system.engine.symbols[SYMBOL].unknown)
        try:
            await script(system, late)
        finally:
            system.request_stop("the test is over")
        return await running, late

    return asyncio.run(main())


def is_protected(system: TradingSystem) -> bool:
    state = system.engine.symbols[SYMBOL]
    stop = state.orders.get(next(iter(state.stop_ids), ""))
    return stop is not None and stop.status.is_working and not state.position.is_flat
