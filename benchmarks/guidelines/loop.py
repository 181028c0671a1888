"""What the event loop suffers from, and what the ways around it cost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable

from benchmarks.rows import Row
from benchmarks.timing import in_turns, median, percentile, progress
from candlewick.bus import EventBus
from candlewick.models import Event, EventKind

AREA = "guidelines"
_BEAT_S = 0.001
_EVENTS = 2_000
_HOPS = 20_000


async def _lateness(disturb: Callable[[], Awaitable[None]]) -> float:
    """Return how late, at worst, a 1 ms heartbeat was while something else went on; ms."""
    late = 0.0

    async def beat() -> None:
        nonlocal late
        while True:
            due = time.perf_counter() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            late = max(late, time.perf_counter() - due)

    heart = asyncio.create_task(beat())
    await asyncio.sleep(0.02)
    late = 0.0
    await disturb()
    await asyncio.sleep(0.02)
    heart.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await heart
    return late * 1e3


def _worst_of(disturb: Callable[[], Awaitable[None]], repeats: int = 5) -> float:
    return median([asyncio.run(_lateness(disturb)) for _ in range(repeats)])


async def _sleeping_coroutine() -> None:
    time.sleep(0.05)  # noqa: ASYNC251 - the mistake that is measured


async def _sleeping_thread() -> None:
    await asyncio.to_thread(time.sleep, 0.05)


async def _computing_thread() -> None:
    end = threading.Event()

    def compute() -> None:
        while not end.is_set():
            sum(range(1_000))

    thread = threading.Thread(target=compute)
    thread.start()
    await asyncio.sleep(0.2)
    end.set()
    await asyncio.to_thread(thread.join)


def stalls() -> list[Row]:
    """How late others are."""
    progress("a heartbeat beside a coroutine that sleeps, threads that sleep and compute")
    sleeping = _worst_of(_sleeping_coroutine)
    thread = _worst_of(_sleeping_thread)
    computing = _worst_of(_computing_thread)
    return [
        Row(
            area=AREA, name="worst delay of others, 50 ms of sleep in a thread", value=thread,
            unit="ms", peer="time.sleep in a coroutine", peer_value=sleeping, better="lower",
        ),
        Row(
            area=AREA, name="worst delay of others, a thread that computes", value=computing,
            unit="ms", better="lower", note="it holds the interpreter for 5 ms at a time",
        ),
    ]  # fmt: skip


def _handle(event: Event) -> None:
    event.kind  # noqa: B018 - as little as a handler can do


async def _through_bus(mode: str, events: int) -> None:
    bus = EventBus()
    bus.subscribe(EventKind.PRICE_UPDATED, _handle, mode=mode, queue_size=events)
    bus.start()
    event = Event(EventKind.PRICE_UPDATED, None, 0)
    for _ in range(events):
        bus.publish(event)
    await bus.drain()
    await bus.stop()


async def _to_thread() -> None:
    event = Event(EventKind.PRICE_UPDATED, None, 0)
    for _ in range(_EVENTS):
        await asyncio.to_thread(_handle, event)


async def _queue_and_worker() -> None:
    queue: asyncio.Queue[Event] = asyncio.Queue(_HOPS)

    async def work() -> None:
        while True:
            _handle(await queue.get())
            queue.task_done()

    worker = asyncio.create_task(work())
    event = Event(EventKind.PRICE_UPDATED, None, 0)
    for _ in range(_HOPS):
        queue.put_nowait(event)
    await queue.join()
    worker.cancel()


async def _task_for_each() -> None:
    async def work(event: Event) -> None:
        _handle(event)

    event = Event(EventKind.PRICE_UPDATED, None, 0)
    tasks = {asyncio.create_task(work(event)) for _ in range(_HOPS)}
    await asyncio.gather(*tasks)


def hops() -> list[Row]:
    """What it costs to have somebody else handle an event."""
    progress("an event to a thread, to a task, to a worker")
    taken = in_turns(
        {
            "thread": lambda: asyncio.run(_through_bus("thread", _HOPS)),
            "inline": lambda: asyncio.run(_through_bus("inline", _HOPS)),
            "to_thread": lambda: asyncio.run(_to_thread()),
            "queue": lambda: asyncio.run(_queue_and_worker()),
            "task": lambda: asyncio.run(_task_for_each()),
        }
    )
    return [
        Row(
            area=AREA, name="plain handler in a thread of its own (bus)",
            value=taken["thread"].each_ns(_HOPS) / 1e3, unit="µs/event", better="lower",
            peer="asyncio.to_thread", peer_value=taken["to_thread"].each_ns(_EVENTS) / 1e3,
        ),
        Row(
            area=AREA, name="plain handler inline (bus)",
            value=taken["inline"].each_ns(_HOPS) / 1e3, unit="µs/event", better="lower",
            peer="the same in a thread", peer_value=taken["thread"].each_ns(_HOPS) / 1e3,
        ),
        Row(
            area=AREA, name="one worker and a queue", value=taken["queue"].each_ns(_HOPS) / 1e3,
            unit="µs/event", better="lower", peer="create_task for each event",
            peer_value=taken["task"].each_ns(_HOPS) / 1e3,
        ),
    ]  # fmt: skip


async def _nothing() -> None:
    return None


async def _with_timeout() -> None:
    for _ in range(_HOPS):
        async with asyncio.timeout(1.0):
            await _nothing()


async def _with_wait_for() -> None:
    for _ in range(_HOPS):
        await asyncio.wait_for(_nothing(), 1.0)


async def _without() -> None:
    for _ in range(_HOPS):
        await _nothing()


def timeouts() -> list[Row]:
    """What a deadline costs where nothing is late."""
    progress("deadlines")
    taken = in_turns(
        {
            "timeout": lambda: asyncio.run(_with_timeout()),
            "wait_for": lambda: asyncio.run(_with_wait_for()),
            "none": lambda: asyncio.run(_without()),
        }
    )
    bare = taken["none"].each_ns(_HOPS)
    return [
        Row(
            area=AREA, name="asyncio.timeout around an await",
            value=(taken["timeout"].each_ns(_HOPS) - bare) / 1e3, unit="µs", better="lower",
            peer="asyncio.wait_for", peer_value=(taken["wait_for"].each_ns(_HOPS) - bare) / 1e3,
        )
    ]  # fmt: skip


def disk() -> list[Row]:
    """What one record costs on its way to the kernel, and to the disk."""
    progress("write and fsync")
    record = b"x" * 300
    writes, syncs = [], []
    with tempfile.TemporaryFile(dir=".") as file:
        number = file.fileno()
        for turn in range(2_000):
            start = time.perf_counter()
            os.write(number, record)
            writes.append(time.perf_counter() - start)
            if turn % 10 == 0:
                start = time.perf_counter()
                os.fsync(number)
                syncs.append(time.perf_counter() - start)
    return [
        Row(
            area=AREA, name="os.write of 300 bytes, median", value=median(writes) * 1e6,
            unit="µs", better="lower", peer="with os.fsync",
            peer_value=median(syncs) * 1e6,
            note=f"fsync p99 {percentile(syncs, 0.99) * 1e3:.1f} ms; the disk decides",
        )
    ]  # fmt: skip


def rows() -> list[Row]:
    """All of this topic."""
    return [*stalls(), *hops(), *timeouts(), *disk()]
