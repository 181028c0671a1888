"""The same work for the bus and its peers: N events from one publisher to async handlers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from candlewick.bus import EventBus
from candlewick.models import Event, EventKind

__all__ = ["LOOPS", "bare_queue", "bubus", "candlewick", "deque_and_wake_up", "on", "pyee"]

BURST = 100  # events that are published before others may run, as a socket delivers them
EVENT = Event(EventKind.PRICE_UPDATED, None, 1, 1)
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def on(loop: str, work: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine on a new event loop of this sort."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(_wrap(work))


async def _wrap(work: Callable[[], Awaitable[Any]]) -> Any:
    return await work()


class Sink:
    """An async handler that counts; `done` is set with the last event."""

    def __init__(self, expected: int) -> None:
        self.left = expected
        self.done = asyncio.Event()

    async def handle(self, event: object) -> None:
        self.left -= 1
        if not self.left:
            self.done.set()


async def _bursts(events: int, publish: Callable[[Event], object], sink: Sink) -> float:
    """Publish and wait for the last event; returns the seconds taken."""
    started = time.perf_counter()
    for _ in range(events // BURST):
        for _ in range(BURST):
            publish(EVENT)
        await asyncio.sleep(0)
    await sink.done.wait()
    return time.perf_counter() - started


async def candlewick(events: int, subscribers: int = 1) -> float:
    """Our bus; seconds for ``events`` to each of the subscribers."""
    bus, sink = EventBus(), Sink(events * subscribers)
    for number in range(subscribers):
        bus.subscribe(EVENT.kind, sink.handle, name=f"h{number}")
    bus.start()
    await asyncio.sleep(0)
    taken = await _bursts(events, bus.publish, sink)
    await bus.stop()
    assert all(info.handled == events for info in bus.handlers())
    return taken


async def bare_queue(events: int) -> float:
    """An `asyncio.Queue` and a task: no bounds, no isolation, no accounts."""
    queue: asyncio.Queue[Event] = asyncio.Queue()
    sink = Sink(events)

    async def work() -> None:
        while True:
            await sink.handle(await queue.get())

    return await _with(work, events, queue.put_nowait, sink)


async def deque_and_wake_up(events: int) -> float:
    """The least that can be done: a deque, and a future when it was empty."""
    queue: deque[Event] = deque()
    waiter: asyncio.Future[None] | None = None
    sink = Sink(events)
    loop = asyncio.get_running_loop()

    def publish(event: Event) -> None:
        nonlocal waiter
        queue.append(event)
        if waiter is not None:
            waiter.set_result(None)
            waiter = None

    async def work() -> None:
        nonlocal waiter
        while True:
            while queue:
                await sink.handle(queue.popleft())
            waiter = loop.create_future()
            await waiter

    return await _with(work, events, publish, sink)


async def _with(
    work: Callable[[], Any], events: int, publish: Callable[[Event], object], sink: Sink
) -> float:
    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    taken = await _bursts(events, publish, sink)
    task.cancel()
    return taken


async def pyee(events: int) -> float:
    """pyee's emitter for asyncio: one task an event."""
    from pyee.asyncio import AsyncIOEventEmitter

    emitter, sink = AsyncIOEventEmitter(), Sink(events)
    emitter.on("event", sink.handle)
    taken = await _bursts(events, lambda event: emitter.emit("event", event), sink)
    await asyncio.sleep(0)
    return taken


async def bubus(events: int) -> float:
    """bubus: validated events, history, one task a handler; it takes at most 100 at once."""
    import bubus as library

    logging.getLogger("bubus").setLevel(logging.CRITICAL)

    class Priced(library.BaseEvent):  # type: ignore[name-defined, misc]
        number: int

    bus = library.EventBus(name="Peer", max_history_size=50)
    sink = Sink(events)
    bus.on(Priced, sink.handle)
    started = time.perf_counter()
    for first in range(0, events, 50):
        for number in range(first, min(first + 50, events)):
            bus.dispatch(Priced(number=number))
        await bus.wait_until_idle()
    await sink.done.wait()
    taken = time.perf_counter() - started
    await bus.stop()
    return taken
