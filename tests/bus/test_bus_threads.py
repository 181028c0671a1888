"""Plain handlers: in threads, inline, and moved from one to the other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from itertools import pairwise
from time import perf_counter
from typing import Any

import pytest

from candlewick.bus import BusReport, EventBus, HandlerInfo, Mode, ReportKind
from candlewick.bus.activity import Activity
from candlewick.bus.thread import ThreadWorker
from candlewick.models import Event, EventKind

Make = Callable[..., Event]
CANDLE = EventKind.CANDLE_CLOSED


async def test_a_thread_sees_each_event_once_and_in_order(bus: EventBus, numbered: Make) -> None:
    seen: list[int] = []

    def handler(event: Event) -> None:
        seen.append(event.sequence)

    bus.subscribe(CANDLE, handler, queue_size=100_000)
    bus.start()
    for burst in range(300):  # long and short bursts: it falls asleep in between, or it does not
        for _ in range(burst):
            bus.publish(numbered())
        if burst % 3 == 0:
            await asyncio.sleep(0)
        if burst % 50 == 0:
            await bus.drain()
    await bus.drain()
    assert seen == list(range(sum(range(300))))


async def test_drain_waits_for_the_thread_to_return(bus: EventBus, numbered: Make) -> None:
    entered, release = threading.Event(), threading.Event()
    done: list[int] = []

    def handler(event: Event) -> None:
        entered.set()
        release.wait(30.0)
        done.append(event.sequence)

    bus.subscribe(CANDLE, handler)
    bus.start()
    bus.publish(numbered())
    await asyncio.to_thread(entered.wait, 30.0)
    draining = asyncio.ensure_future(bus.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    release.set()
    assert await draining == {}
    assert done == [0]


async def test_an_inline_handler_over_its_budget_is_moved_to_a_thread(
    reports: list[BusReport], numbered: Make, settled: Callable[[HandlerInfo], bool]
) -> None:
    bus = EventBus(budget_ms=0.0, on_report=reports.append)  # whatever it takes is too much
    seen: list[tuple[int, int]] = []

    def handler(event: Event) -> None:
        seen.append((event.sequence, threading.get_ident()))

    bus.subscribe(CANDLE, handler, name="heavy", mode="inline")
    bus.start()
    for _ in range(1_000):
        bus.publish(numbered())
    assert await bus.drain() == {}
    here = threading.get_ident()
    assert [number for number, _ in seen] == list(range(1_000)), "in order, none lost or twice"
    assert {thread for _, thread in seen[:3]} == {here}
    assert here not in {thread for _, thread in seen[-900:]}
    (info,) = bus.handlers()
    assert info.mode is Mode.THREAD
    assert settled(info)
    (report,) = reports
    assert report.kind is ReportKind.HANDLER_SLOW
    assert report.handler == "heavy"
    assert "over its budget of 0 ms" in report.message
    assert report.context["elapsed_ns"] > 0
    bus.publish(numbered())
    assert await bus.stop() == {}
    assert len(seen) == 1_001


async def test_an_inline_handler_within_its_budget_stays(numbered: Make) -> None:
    bus = EventBus(budget_ms=60_000.0)
    threads: set[int] = set()
    bus.subscribe(CANDLE, lambda event: threads.add(threading.get_ident()), mode="inline")
    bus.start()
    for _ in range(5_000):
        bus.publish(numbered())
    await bus.drain()
    (info,) = bus.handlers()
    assert info.mode is Mode.INLINE
    assert threads == {threading.get_ident()}
    await bus.stop()


async def test_breaches_far_apart_are_forgiven(numbered: Make) -> None:
    """Three pauses of the machine in a long life do not make a handler slow."""
    bus = EventBus(budget_ms=20.0)
    pause = threading.Event()

    def handler(event: Event) -> None:
        if event.sequence % 1_500 == 0:
            pause.wait(0.03)

    bus.subscribe(CANDLE, handler, name="h", mode="inline")
    bus.start()
    for _ in range(6_000):
        bus.publish(numbered())
    await bus.drain()
    (info,) = bus.handlers()
    assert info.slowest_ns > 20_000_000
    assert info.mode is Mode.INLINE
    await bus.stop()


async def test_an_inline_handler_that_raises_goes_on(
    bus: EventBus, numbered: Make, reports: list[BusReport]
) -> None:
    def handler(event: Event) -> None:
        raise KeyError(event.sequence)

    bus.subscribe(CANDLE, handler, name="h", mode="inline")
    bus.start()
    for _ in range(10):
        bus.publish(numbered())
    await bus.drain()
    (info,) = bus.handlers()
    assert (info.handled, info.failed) == (10, 10)
    assert len(reports) == 1


@pytest.mark.parametrize("awaited", [True, False])
async def test_workers_take_turns(numbered: Make, awaited: bool) -> None:
    """Handlers that never suspend let others run: neither finishes its queue in one go."""
    bus = EventBus(budget_ms=60_000.0)
    turns: list[str] = []

    def handler(name: str) -> Callable[[Event], Any]:
        def called(event: Event) -> None:
            until = perf_counter() + 0.0005
            while perf_counter() < until:
                pass
            turns.append(name)

        async def handle(event: Event) -> None:
            called(event)

        return handle if awaited else called

    for name in "ab":
        bus.subscribe(CANDLE, handler(name), name=name, mode="inline")
    bus.start()
    for _ in range(50):
        bus.publish(numbered())
    await bus.drain()
    changes = sum(one != other for one, other in pairwise(turns))
    assert changes >= 10
    await bus.stop()


class _WhenFallingAsleep(Activity):
    """Lets an event come after a thread's last look at its queue, before it is seen asleep."""

    __slots__ = ("come",)
    come: Callable[[], None] | None

    @property
    def is_watched(self) -> bool:
        come, self.come = self.come, None
        if come is not None:
            come()
        return False


async def test_an_event_that_comes_while_the_thread_falls_asleep_is_handled(
    bus: EventBus, numbered: Make
) -> None:
    loop, handled = asyncio.get_running_loop(), asyncio.Event()
    subscription = bus.subscribe(
        CANDLE, lambda event: loop.call_soon_threadsafe(handled.set), mode="thread"
    )
    activity = _WhenFallingAsleep()
    activity.come = lambda: subscription.pending.put(numbered())
    worker = ThreadWorker(subscription, activity)
    subscription.employ(worker)
    await handled.wait()
    assert await worker.end(30.0)


class _TakesFirst:
    """Stands in for the lock: the loop takes the event away while the thread waits for it."""

    def __init__(self, take: Callable[[], object]) -> None:
        self.take: Callable[[], object] | None = take

    def __enter__(self) -> None:
        if self.take is not None:
            self.take()
        self.take = None

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize("overflow", ["drop_oldest", "conflate"])
async def test_an_event_that_is_taken_away_from_the_thread_does_not_end_it(
    bus: EventBus, numbered: Make, overflow: str
) -> None:
    price = EventKind.PRICE_UPDATED
    loop, handled = asyncio.get_running_loop(), asyncio.Event()
    seen: list[int] = []

    def handler(event: Event) -> None:
        seen.append(event.sequence)
        loop.call_soon_threadsafe(handled.set)

    subscription = bus.subscribe(price, handler, overflow=overflow)
    bus.publish(numbered(price))
    worker = ThreadWorker(subscription, bus.activity)
    worker.guard = _TakesFirst(subscription.pending.take)  # type: ignore[assignment]
    subscription.employ(worker)
    while not subscription.asleep:  # noqa: ASYNC110 - the thread sets it
        await asyncio.sleep(0.001)
    bus.publish(numbered(price))
    await handled.wait()
    assert seen == [1]
    assert await worker.end(30.0)
