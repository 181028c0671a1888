"""What the tests of the bus share: both event loops, and a bus whose reports can be looked at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import uvloop

from candlewick.bus import BusReport, EventBus, HandlerInfo
from candlewick.models import Event, EventKind


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def reports() -> list[BusReport]:
    return []


@pytest.fixture
async def bus(reports: list[BusReport]) -> AsyncIterator[EventBus]:
    """A bus that is not started; it is stopped at the end."""
    bus = EventBus(on_report=reports.append)
    yield bus
    await bus.stop(timeout=5.0)


@pytest.fixture
def numbered() -> Iterator[Callable[..., Event]]:
    """Makes events with the sequence 0, 1, 2, ..., of one kind or that which is asked for."""
    numbers = iter(range(1_000_000))

    def make(kind: EventKind = EventKind.CANDLE_CLOSED, payload: object = None) -> Event:
        return Event(kind, payload, 0, next(numbers))

    return make


@pytest.fixture
def settled() -> Callable[[HandlerInfo], bool]:
    """Whether every event that was offered to a subscriber is accounted for."""

    def check(info: HandlerInfo) -> bool:
        gone = info.handled + info.dropped + info.conflated + info.discarded
        return info.offered == gone + info.depth + info.in_flight and info.failed <= info.handled

    return check
