"""What monitoring costs: the live path with all metrics on, a scrape, the collector's pauses."""

from __future__ import annotations

import asyncio
import gc
import gzip
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from benchmarks.rows import Row
from benchmarks.timing import median, percentile, progress
from candlewick.audit import AuditLogger
from candlewick.backtesting import prepare
from candlewick.bus import Watchdog
from candlewick.data import load_market
from candlewick.engine import TradingEngine
from candlewick.exchange import SimulatedExchange
from candlewick.live import SystemSettings, TradingSystem, observed
from candlewick.live.observation import observe
from candlewick.live.shell import EngineShell
from candlewick.models import AccountSnapshot, Candle, Event, EventKind
from candlewick.models.price import PriceUpdate
from candlewick.monitoring import Metrics, MonitoringSettings, tuned_collector
from candlewick.monitoring.collectors import collectors_of
from candlewick.monitoring.exposition import Exposition
from candlewick.venues import SimulatedVenue

_CANDLES = 30_000  # about a second
_TURNS = 20
_SCRAPE_S = 1.0  # Prometheus' own default is a minute


def run() -> list[Row]:
    return [*_throughput(), _scrape(), *_pauses(), _survivors()]


# -- what the live path loses ----------------------------------------------------------------------


def _throughput() -> Iterator[Row]:
    """Run the whole live system, journal included, with and without metrics.

    What it takes to set up the server, once, is no throughput and does not count.
    """
    progress(f"the live system over {_CANDLES:,} candles, with and without metrics")
    market = load_market([], candles=_CANDLES, seed=11)

    async def live(directory: str, settings: MonitoringSettings) -> float:
        system = TradingSystem.simulated(
            prepare("sma_cross", market), AuditLogger(directory), settings=SystemSettings()
        )
        async with observed(system, settings) as server:
            scraper = asyncio.create_task(_scraped(server.url)) if server is not None else None
            before = time.process_time()
            await system.run()
            taken = time.process_time() - before
            if scraper is not None:
                scraper.cancel()
        return taken

    def processor_s(settings: MonitoringSettings) -> float:
        gc.collect()
        with tempfile.TemporaryDirectory() as directory:
            return uvloop.run(live(directory, settings))

    on, off = MonitoringSettings(), MonitoringSettings(enabled=False)
    taken: dict[str, list[float]] = {"on": [], "off": []}
    for turn in range(-1, _TURNS):
        found = {"off": processor_s(off), "on": processor_s(on)}
        if turn >= 0:
            for name, seconds in found.items():
                taken[name].append(seconds)
    pairs = [b / a for a, b in zip(taken["on"], taken["off"], strict=True)]
    yield Row(
        area="monitoring", name="live throughput, all metrics on, scraped every second",
        value=_CANDLES / min(taken["on"]), unit="candles/CPU s", peer="metrics off",
        peer_value=_CANDLES / min(taken["off"]), target_ratio=0.97,
        note=f"least processor time of {_TURNS} in turns, threads included;"
        f" median of the pairs {median(pairs):.3f}x",
    )  # fmt: skip


async def _scraped(url: str) -> None:
    """Fetch the metrics again and again; by hand, so that the client costs next to nothing."""
    host, _, port = url.removeprefix("http://").partition(":")
    request = f"GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    await asyncio.sleep(_SCRAPE_S / 2)
    while True:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        await reader.read(-1)
        writer.close()
        await asyncio.sleep(_SCRAPE_S)


# -- what a scrape takes ---------------------------------------------------------------------------


def _scrape() -> Row:
    """Render all metrics of a system with ten subscribers, and note the longest slice."""
    progress("a scrape of a system with ten subscribers")

    async def measure() -> tuple[list[float], list[float], int]:
        with tempfile.TemporaryDirectory() as directory:
            market = load_market([], candles=1_000, seed=11)
            system = TradingSystem.simulated(
                prepare("sma_cross", market), AuditLogger(directory), settings=SystemSettings()
            )
            for number in range(9):
                system.bus.subscribe(EventKind.PRICE_UPDATED, _ignore, name=f"watcher {number}")
            with Metrics() as metrics:
                exposition = Exposition(
                    collectors_of(observe(system, metrics, Watchdog(system.bus)), metrics)
                )
                await system.run()
                return await _renderings(exposition)

    whole, slices, lines = uvloop.run(measure())
    return Row(
        area="monitoring", name="a scrape: the longest that the loop does not turn, median",
        value=percentile(slices, 0.5) * 1e3, unit="ms", better="lower", limit=1.0,
        note=f"p99 {percentile(slices, 0.99) * 1e3:.2f} ms; {lines} lines take"
        f" {percentile(whole, 0.5) * 1e3:.1f} ms in all",
    )  # fmt: skip


async def _ignore(event: Event) -> None:
    """Take an event."""


async def _renderings(exposition: Exposition) -> tuple[list[float], list[float], int]:
    whole: list[float] = []
    longest: list[float] = []
    body = b""
    for _ in range(200):
        turns: list[float] = []
        watching = asyncio.create_task(_turns(turns))
        await asyncio.sleep(0)
        began = time.perf_counter()
        body = await exposition.render()
        whole.append(time.perf_counter() - began)
        await asyncio.sleep(0)
        watching.cancel()
        longest.append(max(after - before for before, after in pairwise(turns)))
    return whole, longest, body.count(b"\n")


async def _turns(times: list[float]) -> None:
    """Note every turn of the loop, in processor time: what the loop itself took."""
    while True:
        times.append(time.thread_time())
        await asyncio.sleep(0)


# -- what the garbage collector takes --------------------------------------------------------------


def _capture() -> Path | None:
    for folder in (os.environ.get("CANDLEWICK_SHARED", ""), Path(__file__).parents[2] / "shared"):
        path = Path(folder) / "data" / "btcusdt-usdm-raw-2024-08-08.jsonl.gz"
        if path.is_file():
            return path
    return None


def _pauses() -> Iterator[Row]:
    """Replay raw market messages through decoder, bus, exchange and engine; time collections."""
    path = _capture()
    if path is None:
        progress("no recorded capture: the collector's pauses are left out")
        return
    progress("the raw capture through the live system, with Python's thresholds and with ours")
    with gzip.open(path, "rb") as file:
        messages = [line.split(b" ", 1)[1] for line in file]
    found = {}
    for name, tuned in (("default", nullcontext()), ("tuned", tuned_collector())):
        found[name] = uvloop.run(_replay(messages, tuned))
    default, ours = found["default"], found["tuned"]
    yield Row(
        area="monitoring", name="garbage collection pauses under the raw capture, p99",
        value=_p99_ms(ours), unit="ms", peer="Python's thresholds", peer_value=_p99_ms(default),
        better="lower", limit=1.0, note=f"{_told(ours)}; with Python's {_told(default)}",
    )  # fmt: skip


def _p99_ms(pauses: list[int]) -> float:
    """The quantile, ms; no pause is the shortest one."""
    return percentile(pauses, 0.99) / 1e6 if pauses else 0.0


def _told(pauses: list[int]) -> str:
    worst = max(pauses, default=0) / 1e6
    return f"{len(pauses)} pauses, worst {worst:.2f} ms, in all {sum(pauses) / 1e6:.0f} ms"


async def _replay(messages: list[bytes], tuned: AbstractContextManager[None]) -> list[int]:
    """Run the live system on the captured market; return the pauses of the collector, ns."""
    pauses: list[int] = []
    with tempfile.TemporaryDirectory() as directory:
        market = load_market([], candles=10, interval="1s")
        parts = prepare("sma_cross", market)
        account = parts.account
        exchange = SimulatedExchange(parts.instruments, account.cash, account.exchange)
        venue = SimulatedVenue(exchange, parts.instruments)
        settings = SystemSettings()
        engine = TradingEngine(
            parts.strategy, parts.instruments, balance=account.cash, interval="1s"
        )
        driver = _CaptureDriver(messages, venue)
        system = TradingSystem(
            parts, AuditLogger(directory), engine, venue, lambda _: driver, settings
        )
        for number in range(10):
            system.bus.subscribe(
                EventKind.PRICE_UPDATED, _ignore, name=f"watcher {number}", overflow="conflate"
            )
        driver.around = _timed_collections(pauses, tuned)
        async with observed(system, MonitoringSettings()):
            await system.run()
    return pauses


@contextmanager
def _timed_collections(pauses: list[int], tuned: AbstractContextManager[None]) -> Iterator[None]:
    began = 0

    def on_collection(phase: str, info: dict[str, Any]) -> None:
        nonlocal began
        if phase == "start":
            began = time.thread_time_ns()
        else:
            pauses.append(time.thread_time_ns() - began)

    with tuned:  # the one collection at the start is not of the replay
        gc.callbacks.append(on_collection)
        try:
            yield
        finally:
            gc.callbacks.remove(on_collection)


class _CaptureDriver:
    """Plays captured messages: trades move the exchange and become candles of a second.

    The decoder makes plain dicts and lists, all of them the collector's: the worst case.
    """

    progress = 0.0

    def __init__(self, messages: list[bytes], venue: SimulatedVenue) -> None:
        self._messages = messages
        self._venue = venue
        self._symbol = ""
        self._open: list[float] = []
        self.around: AbstractContextManager[None] = nullcontext()

    async def prepare(self, shell: EngineShell) -> int:
        self._shell = shell
        (self._symbol,) = shell.engine.symbols
        await self._venue.connect(shell.publish, [self._symbol], "1s")
        return 1

    async def feed(self) -> None:
        decode, bus = msgspec.json.decode, self._shell.bus
        with self.around:
            for number, message in enumerate(self._messages):
                data = decode(message)["data"]
                if data["e"] == "trade":
                    self._trade(float(data["p"]), float(data["q"]), data["T"])
                elif data["e"] == "bookTicker":
                    self._price(float(data["b"]), 0.0, data["T"])
                if not number & 15:
                    await bus.drain()

    def _price(self, price: float, quantity: float, when: int) -> None:
        update = PriceUpdate(self._symbol, price, quantity, when)
        self._shell.bus.publish(Event(EventKind.PRICE_UPDATED, update, when))

    def _trade(self, price: float, quantity: float, when: int) -> None:
        self._price(price, quantity, when)
        self._venue.tick(self._symbol, price, when)
        second = when // 1_000 * 1_000
        if self._open and self._open[0] != second:
            began, first, high, low, last, volume = self._open
            start = int(began)
            candle = Candle(
                self._symbol, "1s", start, first, high, low, last, volume, start + 999, True
            )
            self._shell.publish(Event(EventKind.CANDLE_CLOSED, candle, candle.close_time))
            self._open = []
        if not self._open:
            self._open = [second, price, price, price, price, quantity]
            return
        self._open[2] = max(self._open[2], price)
        self._open[3] = min(self._open[3], price)
        self._open[4] = price
        self._open[5] += quantity

    async def settle(self, timeout_s: float) -> None:
        await self._shell.bus.drain()
        for symbol, state in self._shell.engine.symbols.items():
            while state.orders and self._venue.tick(symbol, state.price, self._shell.engine.now):
                await self._shell.bus.drain()

    async def snapshot(self) -> AccountSnapshot:
        return await self._venue.snapshot()

    async def learn(self, snapshot: AccountSnapshot, timeout_s: float) -> None:
        """The engine has been told all that happened."""

    async def close(self) -> None:
        await self._venue.close()


def _survivors() -> Row:
    """Make objects that all stay alive: what the young generations cost at the worst."""
    progress("collections that find nothing to free")
    worst = {}
    for name, around in (("default", nullcontext()), ("tuned", tuned_collector())):
        pauses: list[int] = []
        with _timed_collections(pauses, around):
            alive = [{"level": [number]} for number in range(200_000)]
        del alive
        worst[name] = pauses
    return Row(
        area="monitoring", name="the longest pause while 400,000 objects are made and kept",
        value=max(worst["tuned"]) / 1e6, unit="ms", peer="Python's thresholds",
        peer_value=max(worst["default"]) / 1e6, better="lower", limit=1.0,
        note=f"{_told(worst['tuned'])}; with Python's {_told(worst['default'])}",
    )  # fmt: skip
