"""The watchdog catches what stalls the loop, names it, and costs nothing where nothing happens."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest

from candlewick.bus import (
    BusReport,
    EventBus,
    LoopStalledError,
    ReportKind,
    SystemClock,
    Timers,
    Watchdog,
)
from candlewick.models import Event, EventKind

Make = Callable[..., Event]
CANDLE, PRICE = EventKind.CANDLE_CLOSED, EventKind.PRICE_UPDATED


def a_blocking_call(seconds: float) -> None:
    time.sleep(seconds)


async def turned(watchdog: Watchdog, times: int = 1) -> None:
    """Wait until the loop has answered so many more questions."""
    answered = sum(watchdog.lag_ns) + times
    while sum(watchdog.lag_ns) < answered:  # noqa: ASYNC110 - it has no event of its own
        await asyncio.sleep(0.005)


@pytest.fixture
async def watchdog(bus: EventBus) -> AsyncIterator[Watchdog]:
    watchdog = Watchdog(bus)
    watchdog.start()
    yield watchdog
    watchdog.stop()


async def test_it_catches_an_async_handler_that_blocks(
    bus: EventBus, watchdog: Watchdog, numbered: Make, reports: list[BusReport]
) -> None:
    async def innocent(event: Event) -> None:
        await asyncio.sleep(0)

    async def blocks(event: Event) -> None:
        await asyncio.sleep(0)
        a_blocking_call(0.2)

    bus.subscribe(CANDLE, innocent, name="innocent")
    bus.subscribe(CANDLE, blocks, name="culprit")
    bus.start()
    bus.publish(numbered())
    await bus.drain()
    await turned(watchdog)
    # the machine may have made the loop stand still elsewhere, too
    (stall,) = (stall for stall in watchdog.stalls if stall.handler == "culprit")
    assert stall.duration_ms >= 50.0
    assert stall.stack[-1].endswith(" a_blocking_call")
    assert stall.stack[0].endswith(".blocks"), "from the handler inwards, nothing around it"
    assert len(stall.stack) == 2
    assert watchdog.worst_ns >= stall.duration_ms * 1e6
    (report,) = (report for report in reports if report.handler == "culprit")
    assert report.kind is ReportKind.LOOP_STALLED
    assert "a_blocking_call" in str(report.context["stack"])
    assert report.context["duration_ms"] == stall.duration_ms


async def test_it_catches_an_inline_handler(
    bus: EventBus, watchdog: Watchdog, numbered: Make
) -> None:
    bus.subscribe(CANDLE, lambda event: a_blocking_call(0.2), name="plain", mode="inline")
    bus.start()
    bus.publish(numbered())
    await bus.drain()
    await turned(watchdog)
    assert watchdog.by_handler["plain"] == 1


async def test_a_blocking_handler_in_a_thread_is_no_stall(
    bus: EventBus, watchdog: Watchdog, numbered: Make
) -> None:
    bus.subscribe(CANDLE, lambda event: a_blocking_call(0.2), name="thread")
    bus.start()
    bus.publish(numbered())
    await bus.drain()
    await turned(watchdog)
    assert "thread" not in watchdog.by_handler
    assert not any("a_blocking_call" in line for stall in watchdog.stalls for line in stall.stack)


async def test_it_names_a_task_that_is_none_of_the_bus(bus: EventBus, watchdog: Watchdog) -> None:
    async def feed() -> None:
        await turned(watchdog)  # it may doze: only a long stall is certain to be seen
        a_blocking_call(0.6)

    bus.start()
    await asyncio.create_task(feed(), name="feed")
    await turned(watchdog)
    assert any(
        stall.handler == "task feed" and stall.stack[-1].endswith(" a_blocking_call")
        for stall in watchdog.stalls
    )


async def test_it_names_a_callback(bus: EventBus, watchdog: Watchdog) -> None:
    loop = asyncio.get_running_loop()
    await turned(watchdog)
    loop.call_soon(a_blocking_call, 0.6)
    await asyncio.sleep(0)
    await turned(watchdog)
    assert any(
        stall.handler == "a callback" and stall.stack[-1].endswith(" a_blocking_call")
        for stall in watchdog.stalls
    )


async def test_reports_of_one_handler_thin_out(
    bus: EventBus, numbered: Make, reports: list[BusReport]
) -> None:
    async def blocks(event: Event) -> None:
        a_blocking_call(0.04)

    bus.subscribe(CANDLE, blocks, name="culprit")
    bus.start()
    async with Watchdog(bus, threshold_ms=10.0) as watchdog:
        for _ in range(6):
            bus.publish(numbered())
            await bus.drain()
            await turned(watchdog)
        times = watchdog.by_handler["culprit"]
    assert times >= 4
    counts = [report.context["count"] for report in reports if report.handler == "culprit"]
    assert counts == [1, 2, 4]


async def watch_one_event(bus: EventBus, event: Event, error: Exception | None = None) -> None:
    """Publish the event under a strict watchdog."""
    async with Watchdog(bus, strict=True) as watchdog:
        bus.publish(event)
        await bus.drain()
        await turned(watchdog)
        if error is not None:
            raise error


async def test_strict_mode_makes_a_stall_an_error(bus: EventBus, numbered: Make) -> None:
    async def blocks(event: Event) -> None:
        a_blocking_call(0.2)

    bus.subscribe(CANDLE, blocks, name="culprit")
    bus.start()
    with pytest.raises(LoopStalledError, match=r"culprit at .*a_blocking_call"):
        await watch_one_event(bus, numbered())


async def test_strict_mode_is_quiet_where_nothing_stalls(bus: EventBus, numbered: Make) -> None:
    async def fine(event: Event) -> None:
        await asyncio.sleep(0)

    bus.subscribe(CANDLE, fine)
    bus.start()
    # the machine may be busy with others: only a long stall would be this test's own
    async with Watchdog(bus, threshold_ms=5_000.0, strict=True):
        for _ in range(100):
            bus.publish(numbered())
        await bus.drain()


async def test_strict_mode_does_not_hide_another_error(bus: EventBus, numbered: Make) -> None:
    async def blocks(event: Event) -> None:
        a_blocking_call(0.2)

    bus.subscribe(CANDLE, blocks)
    bus.start()
    with pytest.raises(ZeroDivisionError):
        await watch_one_event(bus, numbered(), ZeroDivisionError())


async def test_a_loop_that_hangs_is_logged_before_it_comes_back(
    bus: EventBus,
    numbered: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The handler waits until the log tells of it: without the log it would never end."""
    monkeypatch.setattr("candlewick.bus.watchdog._HUNG_NS", 60_000_000)
    told = threading.Event()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "has not turned" in record.getMessage():
                told.set()

    logger = logging.getLogger("candlewick.bus.watchdog")
    handler = Handler()
    logger.addHandler(handler)
    heard: list[bool] = []

    async def hangs(event: Event) -> None:
        heard.append(told.wait(30.0))

    bus.subscribe(CANDLE, hangs, name="hangs")
    bus.start()
    async with Watchdog(bus):
        bus.publish(numbered())
        await bus.drain()
    logger.removeHandler(handler)
    assert heard == [True]
    assert "hangs at " in caplog.text


async def test_it_measures_the_lag_by_bit_length(bus: EventBus, watchdog: Watchdog) -> None:
    await turned(watchdog, 3)
    assert sum(watchdog.lag_ns) >= 3
    largest = max(bits for bits, count in enumerate(watchdog.lag_ns) if count)
    assert watchdog.worst_ns.bit_length() == largest


async def test_it_survives_a_loop_that_is_closed_under_it(caplog: pytest.LogCaptureFixture) -> None:
    threads: list[threading.Thread] = []

    def run() -> None:
        async def main() -> None:
            bus = EventBus()
            Watchdog(bus).start()
            threads.extend(t for t in threading.enumerate() if t.name == "bus:watchdog")

        asyncio.run(main())

    await asyncio.to_thread(run)
    await asyncio.to_thread(threads[-1].join, 30.0)
    assert not threads[-1].is_alive()


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_an_idle_bus_uses_no_cpu(bus: EventBus, numbered: Make) -> None:
    """Ten subscribers of all sorts, timers and the watchdog: below 0.5 % of one CPU in 10 s."""

    async def awaited(event: Event) -> None:
        await asyncio.sleep(0)

    def called(event: Event) -> None: ...

    for number in range(4):
        bus.subscribe([CANDLE, PRICE], awaited, name=f"awaited {number}")
        bus.subscribe([CANDLE, PRICE], called, name=f"thread {number}")
    bus.subscribe(PRICE, called, name="inline", mode="inline")
    bus.subscribe(PRICE, awaited, name="newest", overflow="conflate")
    clock = SystemClock()
    timers = Timers(bus.publish, clock)
    for minutes in range(1, 20):
        timers.at(clock.now() + minutes * 60_000, f"in {minutes} minutes")
    bus.start()
    async with Watchdog(bus):
        for _ in range(100):
            bus.publish(numbered())
        await bus.drain()
        used, began = time.process_time(), time.monotonic()
        await asyncio.sleep(10.0)
        share = (time.process_time() - used) / (time.monotonic() - began)
    timers.clear()
    assert share < 0.005
    assert bus.published == 100
