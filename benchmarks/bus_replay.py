"""A recorded market through the bus: ten subscribers, one that sleeps, one that always raises."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from candlewick.bus import EventBus, HandlerInfo, ReportKind
from candlewick.data import load_capture
from candlewick.models import Candle, Event, EventKind, PriceUpdate

CAPTURE = "btcusdt-usdm-raw-2024-08-08.jsonl.gz"
CANDLE, ORDER, PRICE = (
    EventKind.CANDLE_CLOSED,
    EventKind.ORDER_UPDATED,
    EventKind.PRICE_UPDATED,
)
SECOND_NS = 1_000_000_000

__all__ = ["CANDLE", "CAPTURE", "ORDER", "PRICE", "Replay", "capture", "events"]


def capture() -> Path | None:
    """The recorded market, where there is one."""
    for folder in (os.environ.get("CANDLEWICK_SHARED", ""), Path(__file__).parents[2] / "shared"):
        path = Path(folder) / "data" / CAPTURE
        if path.is_file():
            return path
    return None


def events(path: Path, first_s: float = 0.0, last_s: float = 1e9) -> Iterator[tuple[int, Event]]:
    """Yield what was received from ``first_s`` to ``last_s`` of the capture: offset in ns, event.

    Best bids are prices. Each trade stands for an order update, as if it were our own, and each
    second of trades closes a candle: so the queues that must not lose anything have bursts, too.
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
            if trades and offset // SECOND_NS != second:
                candle = _candle(update.symbol, second, trades)
                yield offset, Event(CANDLE, candle, candle.close_time, next(sequence))
                trades.clear()
            second = offset // SECOND_NS
            trades.append(update.price)
            yield offset, Event(ORDER, update, update.time, next(sequence))


def _candle(symbol: str, second: int, prices: list[float]) -> Candle:
    time = second * 1_000
    return Candle(
        symbol, "1s", time, prices[0], max(prices), min(prices), prices[-1], float(len(prices)),
        time + 999, True,
    )  # fmt: skip


class Replay:
    """The bus, its ten subscribers, and what each of them saw."""

    def __init__(self) -> None:
        self.reports: list[ReportKind] = []
        self.bus = EventBus(on_report=lambda report: self.reports.append(report.kind))
        self.seen: dict[str, list[int]] = {}
        self.published: dict[EventKind, list[int]] = {kind: [] for kind in EventKind}
        self._pause = threading.Event()
        every, kept = [CANDLE, ORDER, PRICE], [CANDLE, ORDER]
        self._add("engine", kept, self._suspends)
        self._add("journal", every, self._awaited)
        self._add("metrics", every, self._called, mode="inline")
        self._add("candles in a thread", [CANDLE], self._called)
        self._add("orders in a thread", [ORDER], self._called)
        self._add("newest price", [PRICE], self._awaited, overflow="conflate")
        self._add("newest price, slow", [PRICE], self._sleeps, overflow="conflate")
        self._add("last prices", [PRICE], self._suspends, overflow="drop_oldest", queue_size=50)
        self._add("raises", every, self._raises)
        self._add("candles", [CANDLE], self._awaited, overflow="fail")

    def _add(
        self, name: str, kinds: list[EventKind], make: Callable[[list[int]], Any], **options: Any
    ) -> None:
        self.seen[name] = []
        options = {"queue_size": 200_000} | options
        self.bus.subscribe(kinds, make(self.seen[name]), name=name, **options)

    def _awaited(self, seen: list[int]) -> Any:
        async def handler(event: Event) -> None:
            seen.append(event.sequence)

        return handler

    def _suspends(self, seen: list[int]) -> Any:
        async def handler(event: Event) -> None:
            await asyncio.sleep(0)
            seen.append(event.sequence)

        return handler

    def _called(self, seen: list[int]) -> Any:
        def handler(event: Event) -> None:
            seen.append(event.sequence)

        return handler

    def _sleeps(self, seen: list[int]) -> Any:
        def handler(event: Event) -> None:
            self._pause.wait(0.1)
            seen.append(event.sequence)

        return handler

    def _raises(self, seen: list[int]) -> Any:
        async def handler(event: Event) -> None:
            seen.append(event.sequence)
            raise ZeroDivisionError(event.sequence)

        return handler

    async def run(self, messages: list[tuple[int, Event]], speed: float) -> dict[str, HandlerInfo]:
        """Publish each event when it is due, then drain.

        What is due is published at once, as a socket gives it: up to 50 messages at a read.
        """
        self.bus.start()
        began, first = time.perf_counter_ns(), messages[0][0]
        at_once = 0
        for offset, event in messages:
            ahead = (offset - first) / speed - (time.perf_counter_ns() - began)
            at_once += 1
            if ahead > 1_000_000 or at_once == 50:
                await asyncio.sleep(max(ahead / SECOND_NS, 0.0))
                at_once = 0
            assert self.bus.publish(event)
            self.published[event.kind].append(event.sequence)
        assert await self.bus.drain(timeout=60.0) == {}
        infos = {info.name: info for info in self.bus.handlers()}
        assert await self.bus.stop() == {}
        return infos
