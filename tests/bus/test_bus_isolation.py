"""What a handler may do wrong without ending its worker, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from candlewick.bus import BusReport, EventBus, ReportKind
from candlewick.models import Event, EventKind

Make = Callable[..., Event]
CANDLE = EventKind.CANDLE_CLOSED


async def test_a_handler_whose_own_task_was_cancelled_goes_on(
    bus: EventBus, numbered: Make, reports: list[BusReport]
) -> None:
    seen = []

    async def handler(event: Event) -> None:
        seen.append(event.sequence)
        if event.sequence == 0:
            task = asyncio.ensure_future(asyncio.sleep(60))
            task.cancel()
            await task

    bus.subscribe(CANDLE, handler)
    bus.start()
    for _ in range(3):
        bus.publish(numbered())
    assert await bus.drain() == {}
    assert seen == [0, 1, 2]
    assert [report.kind for report in reports] == [ReportKind.HANDLER_FAILED]


class UnspeakableError(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("not even a name")

    __str__ = __repr__


@pytest.mark.parametrize("mode", ["async", "inline", "thread"])
async def test_an_error_that_cannot_be_shown_ends_no_worker(
    bus: EventBus, numbered: Make, reports: list[BusReport], mode: str
) -> None:
    def raises(event: Event) -> None:
        raise UnspeakableError

    async def raises_async(event: Event) -> None:
        raises(event)

    handler = raises_async if mode == "async" else raises
    bus.subscribe(CANDLE, handler, name="h", mode="auto" if mode == "async" else mode)
    bus.start()
    for _ in range(3):
        bus.publish(numbered())
    assert await bus.drain(30.0) == {}
    assert bus.handlers()[0].failed == 3
    (report,) = reports
    assert "h raised UnspeakableError (whose repr raised RuntimeError)" in report.message


@pytest.mark.parametrize("mode", ["inline", "thread"])
async def test_a_plain_handler_that_returns_a_coroutine_has_failed(
    bus: EventBus, numbered: Make, reports: list[BusReport], mode: str
) -> None:
    """Nobody awaits it: an event that was not handled must not count as one that was."""

    async def handler(event: Event) -> None: ...

    bus.subscribe(CANDLE, lambda event: handler(event), name="wrapped", mode=mode)
    bus.subscribe(CANDLE, lambda event: event.sequence, name="fine", mode=mode)
    bus.start()
    for _ in range(2):
        bus.publish(numbered())
    assert await bus.drain(30.0) == {}
    assert [info.failed for info in bus.handlers()] == [2, 0]
    (report,) = reports
    assert "nobody awaits: subscribe an async def" in report.message


async def test_a_worker_that_was_cancelled_is_told_of(
    bus: EventBus, numbered: Make, reports: list[BusReport]
) -> None:
    ended = asyncio.Event()

    async def gives_up(event: Event) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: ended.set())
        task.cancel()
        await asyncio.sleep(0)

    bus.subscribe(CANDLE, gives_up, name="h")
    bus.start()
    bus.publish(numbered())
    await ended.wait()
    assert [report.message for report in reports] == [
        "the worker of h has ended: it was cancelled; its events are not handled"
    ]
