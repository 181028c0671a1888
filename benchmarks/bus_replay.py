"""A recorded market through the bus: an engine that trades it, and ten subscribers beside it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from candlewick import Strategy
from candlewick.audit import AuditLogger
from candlewick.backtesting import prepare
from candlewick.bus import EventBus, HandlerInfo, ReportKind
from candlewick.data import load_capture, load_market
from candlewick.engine import TradingEngine
from candlewick.exchange import SimulatedExchange
from candlewick.live.recording import Recorder
from candlewick.live.shell import EngineShell
from candlewick.live.tally import Tally
from candlewick.models import Candle, Event, EventKind, PriceUpdate
from candlewick.risk import RiskSettings
from candlewick.venues import SimulatedVenue

CAPTURE = "btcusdt-usdm-raw-2024-08-08.jsonl.gz"
CANDLE, ORDER, FILL, PRICE = (
    EventKind.CANDLE_CLOSED,
    EventKind.ORDER_UPDATED,
    EventKind.FILL_RECEIVED,
    EventKind.PRICE_UPDATED,
)
SECOND_NS = 1_000_000_000
SYMBOL = "BTCUSDT"

__all__ = ["CANDLE", "CAPTURE", "FILL", "ORDER", "PRICE", "Replay", "capture", "events"]


def capture() -> Path | None:
    """The recorded market, where there is one."""
    for folder in (os.environ.get("CANDLEWICK_SHARED", ""), Path(__file__).parents[2] / "shared"):
        path = Path(folder) / "data" / CAPTURE
        if path.is_file():
            return path
    return None


def events(path: Path, first_s: float = 0.0, last_s: float = 1e9) -> Iterator[tuple[int, Event]]:
    """Yield what was received from ``first_s`` to ``last_s`` of the capture: offset in ns, event.

    Best bids and trades are prices, a trade's with its quantity. Each second of trades closes a
    candle.
    """
    sequence = count(1)
    trades: list[float] = []
    second = -1
    began = 0
    for record in load_capture(path):
        began = began or record.received_ns
        offset = record.received_ns - began
        if not first_s * SECOND_NS <= offset < last_s * SECOND_NS:
            continue
        if record.event == "bookTicker":
            data = record.decode()["data"]
            update = PriceUpdate(data["s"], float(data["b"]), 0.0, data["T"])
            yield offset, Event(PRICE, update, update.time, next(sequence))
        elif record.event == "trade":
            data = record.decode()["data"]
            update = PriceUpdate(data["s"], float(data["p"]), float(data["q"]), data["T"])
            if trades and update.time // 1_000 != second:
                candle = _candle(update.symbol, second, trades)
                yield offset, Event(CANDLE, candle, candle.close_time, next(sequence))
                trades.clear()
            second = update.time // 1_000
            trades.append(update.price)
            yield offset, Event(PRICE, update, update.time, next(sequence))


def _candle(symbol: str, second: int, prices: list[float]) -> Candle:
    time = second * 1_000
    return Candle(
        symbol, "1s", time, prices[0], max(prices), min(prices), prices[-1], float(len(prices)),
        time + 999, True,
    )  # fmt: skip


class InAndOut(Strategy):
    """Opens a position at one candle and closes it at the next: as many orders as there can be."""

    def on_candle(self, candle: Candle) -> None:
        if self.position.is_flat:
            self.buy(stop=candle.close * 0.99, target=candle.close * 1.01)
        else:
            self.close()


class Replay:
    """The bus, an engine with venue and journal, ten subscribers, and what each of them saw.

    Trades move the simulated exchange, on which the engine's orders are filled: so the queues
    that must not lose anything have real orders in them. ``seen`` has the identities of events,
    which ``published`` keeps alive.
    """

    def __init__(self, directory: Path) -> None:
        self.reports: list[ReportKind] = []
        self.fatal: list[BaseException] = []
        self.bus = EventBus(on_report=lambda report: self.reports.append(report.kind))
        self.seen: dict[str, list[int]] = {}
        self.published: list[Event] = []
        self._pause = threading.Event()
        self.journal = AuditLogger(directory)
        self.engine, self.venue = _trading()
        self.shell = EngineShell(
            self.engine, self.venue, self.bus, Recorder(self.journal),
            Tally(self.engine.balance), self.fatal.append,
        )  # fmt: skip
        every, kept = [CANDLE, ORDER, FILL, PRICE], [CANDLE, ORDER, FILL]
        self._add("portfolio", kept, self._suspends)
        self._add("recorder", every, self._awaited)
        self._add("metrics", every, self._called, mode="inline")
        self._add("candles in a thread", [CANDLE], self._called)
        self._add("orders in a thread", [ORDER], self._called)
        self._add("newest price", [PRICE], self._awaited, overflow="conflate")
        self._add("newest price, slow", [PRICE], self._sleeps, overflow="conflate")
        self._add("last prices", [PRICE], self._suspends, overflow="drop_oldest", queue_size=50)
        self._add("raises", every, self._raises)
        self._add("candles", [CANDLE], self._awaited, overflow="fail")
        self._count_published()

    def _count_published(self) -> None:
        publish = self.bus.publish

        def counted(event: Event) -> bool:
            self.published.append(event)
            return publish(event)

        self.bus.publish = counted  # type: ignore[method-assign]

    def _add(
        self, name: str, kinds: list[EventKind], make: Callable[[list[int]], Any], **options: Any
    ) -> None:
        self.seen[name] = []
        options = {"queue_size": 200_000} | options
        self.bus.subscribe(kinds, make(self.seen[name]), name=name, **options)

    def _awaited(self, seen: list[int]) -> Any:
        async def handler(event: Event) -> None:
            seen.append(id(event))

        return handler

    def _suspends(self, seen: list[int]) -> Any:
        async def handler(event: Event) -> None:
            await asyncio.sleep(0)
            seen.append(id(event))

        return handler

    def _called(self, seen: list[int]) -> Any:
        def handler(event: Event) -> None:
            seen.append(id(event))

        return handler

    def _sleeps(self, seen: list[int]) -> Any:
        def handler(event: Event) -> None:
            self._pause.wait(0.1)
            seen.append(id(event))

        return handler

    def _raises(self, seen: list[int]) -> Any:
        async def handler(event: Event) -> None:
            seen.append(id(event))
            raise ZeroDivisionError(event.kind)

        return handler

    async def run(self, messages: list[tuple[int, Event]], speed: float) -> dict[str, HandlerInfo]:
        """Publish each event when it is due, then drain.

        What is due is published at once, as a socket gives it: up to 50 messages at a read.
        """
        self.bus.start()
        await self.venue.connect(self.shell.publish, [SYMBOL], "1s")
        await self.shell.act(self.engine.start(messages[0][1].time))
        began, first = time.perf_counter_ns(), messages[0][0]
        at_once = 0
        for offset, event in messages:
            ahead = (offset - first) / speed - (time.perf_counter_ns() - began)
            at_once += 1
            if ahead > 1_000_000 or at_once == 50:
                await asyncio.sleep(max(ahead / SECOND_NS, 0.0))
                at_once = 0
            assert self.bus.publish(event)
            if event.kind is PRICE and event.payload.quantity:
                self.venue.tick(SYMBOL, event.payload.price, event.time)
        assert await self.bus.drain(timeout=60.0) == {}
        infos = {info.name: info for info in self.bus.handlers()}
        assert await self.bus.stop() == {}
        await self.shell.close()
        self.journal.stop()
        return infos


def _trading() -> tuple[TradingEngine, SimulatedVenue]:
    parts = prepare(InAndOut, load_market([], candles=10, interval="1s", symbols=[SYMBOL]))
    exchange = SimulatedExchange(parts.instruments, 1e6, parts.account.exchange)
    engine = TradingEngine(
        parts.strategy, parts.instruments, balance=1e6, interval="1s", run_id="replay",
        risk=RiskSettings(daily_loss=0.0, max_orders_per_minute=0),
    )  # fmt: skip
    return engine, SimulatedVenue(exchange, parts.instruments)
