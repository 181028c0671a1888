"""The two queues, also where a thread takes at the worst moment."""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Any

import pytest

from candlewick.bus import EventBus
from candlewick.bus.pending import Fifo, Newest
from candlewick.models import Event, EventKind, PriceUpdate


def price(number: int, symbol: str = "A") -> Event:
    return Event(EventKind.PRICE_UPDATED, PriceUpdate(symbol, 1.0, 0.0, 0), 0, number)


def numbers(events: list[Event]) -> list[int]:
    return [event.sequence for event in events]


@pytest.mark.parametrize("make", [Fifo, Newest])
def test_what_is_put_comes_out_in_order(make: type[Fifo] | type[Newest]) -> None:
    pending = make(10)
    for number in range(5):
        pending.put(price(number, f"S{number}"))
    assert numbers(pending.events()) == [0, 1, 2, 3, 4]
    assert pending.take().sequence == 0
    assert numbers(pending.remove(lambda event: event.sequence % 2 == 1)) == [1, 3]
    assert [pending.take().sequence for _ in range(2)] == [2, 4]
    with pytest.raises((IndexError, KeyError)):
        pending.take()


@pytest.mark.parametrize("make", [Fifo, Newest])
def test_a_predicate_that_raises_takes_nothing_out(make: type[Fifo] | type[Newest]) -> None:
    pending = make(10)
    for number in range(3):
        pending.put(price(number, f"S{number}"))

    def unwanted(event: Event) -> bool:
        if event.sequence == 1:
            raise ValueError
        return True

    with pytest.raises(ValueError):
        pending.remove(unwanted)
    assert numbers(pending.events()) == [0, 1, 2]


class _TakenOnGet(OrderedDict[object, list[Any]]):
    """Lets a thread take the entry between the look and the replacement."""

    def get(self, key: object, default: object = None) -> Any:
        entry = super().get(key, default)
        if entry is not None:
            self.taken = self.popitem(last=False)[1].pop()
        return entry


def test_a_replacement_that_comes_too_late_is_put_in_anew() -> None:
    pending = Newest(10)
    entries = _TakenOnGet()
    pending._entries = entries
    pending.held = entries
    pending.put(price(0))
    pending.put(price(1))
    assert entries.taken.sequence == 0
    assert pending.replaced == 0, "both were taken: nothing was conflated"
    assert pending.take().sequence == 1


class _EmptiedOnLen(deque[Event]):
    """Lets a thread take everything between the look at the length and the drop."""

    def __len__(self) -> int:
        length = super().__len__()
        self.clear()
        return length


def test_the_oldest_is_not_dropped_where_a_thread_has_just_made_room() -> None:
    pending = Fifo(2)
    queue = _EmptiedOnLen()
    pending._queue, pending.held = queue, queue
    pending.add, pending.take = queue.append, queue.popleft
    queue.extend([price(0), price(1)])
    pending.put(price(2))
    assert pending.lost == 0
    assert pending.take().sequence == 2


@pytest.fixture
def restless() -> Iterator[None]:
    """The interpreter changes threads as often as it can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("overflow", ["conflate", "drop_oldest"])
async def test_a_thread_that_takes_while_the_loop_puts_loses_no_account(overflow: str) -> None:
    """A race in earnest: small queue, many replacements, and the thread in between."""
    bus = EventBus()
    seen: list[Event] = []
    bus.subscribe(
        EventKind.PRICE_UPDATED, seen.append, name="s", queue_size=2, overflow=overflow,
        mode="thread",
    )  # fmt: skip
    bus.start()
    symbols = ("A", "B")
    for number in range(60_000):
        bus.publish(price(number, symbols[number % 2]))
    assert await bus.drain() == {}
    (info,) = bus.handlers()
    assert info.offered == 60_000
    assert info.handled == len(seen)
    assert info.handled + info.conflated + info.dropped == 60_000
    assert info.handled > 100, "the thread took part"
    for symbol in symbols:
        own = [event.sequence for event in seen if event.payload.symbol == symbol]
        assert own == sorted(own)
        if overflow == "conflate":
            assert own[-1] >= 59_998, "the newest is never lost"
    assert seen[-1].sequence >= 59_998
    await bus.stop()
