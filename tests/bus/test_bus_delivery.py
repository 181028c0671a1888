"""Order, isolation, bounds, overflow policies and accounts of the event bus."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

import pytest

from candlewick.bus import (
    BusReport,
    BusStoppedError,
    EventBus,
    HandlerInfo,
    Mode,
    Overflow,
    QueueFullError,
    ReportKind,
)
from candlewick.errors import CandlewickError, ConfigError
from candlewick.models import Event, EventKind, PriceUpdate

Make = Callable[..., Event]
CANDLE, PRICE = EventKind.CANDLE_CLOSED, EventKind.PRICE_UPDATED


def price(number: int, symbol: str) -> Event:
    return Event(PRICE, PriceUpdate(symbol, 1.0 + number, 0.0, number), 0, number)


def info_of(bus: EventBus, name: str) -> HandlerInfo:
    return next(info for info in bus.handlers() if info.name == name)


def kinds_of(reports: list[BusReport]) -> list[ReportKind]:
    return [report.kind for report in reports]


class Recorder:
    """Three handlers that note what they get: awaited, called on the loop, called in a thread."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.threads: set[int] = set()

    async def awaited(self, event: Event) -> None:
        if event.sequence % 3 == 0:
            await asyncio.sleep(0)
        self.called(event)

    def called(self, event: Event) -> None:
        self.threads.add(threading.get_ident())
        self.seen.append(event.sequence)


# -- order -----------------------------------------------------------------------------------------


async def test_each_subscriber_sees_all_kinds_in_the_order_of_publishing(
    bus: EventBus, numbered: Make
) -> None:
    awaited, inline, threaded = Recorder(), Recorder(), Recorder()
    kinds = [CANDLE, EventKind.ORDER_UPDATED, EventKind.FILL_RECEIVED]
    bus.subscribe(kinds, awaited.awaited, name="awaited")
    bus.subscribe(kinds, inline.called, name="inline", mode="inline")
    bus.subscribe(kinds, threaded.called, name="thread")
    for turn in range(50):  # some before the start, some while it runs
        if turn == 10:
            bus.start()
        for number in range(60):
            assert bus.publish(numbered(kinds[(number * 7 + turn) % 3]))
        await asyncio.sleep(0)
    assert await bus.drain() == {}
    expected = list(range(3_000))
    assert awaited.seen == expected
    assert inline.seen == expected
    assert threaded.seen == expected
    here = threading.get_ident()
    assert awaited.threads == inline.threads == {here}
    assert len(threaded.threads) == 1
    assert here not in threaded.threads
    assert bus.published == 3_000


async def test_only_the_subscribed_kinds_arrive(bus: EventBus, numbered: Make) -> None:
    candles, prices = Recorder(), Recorder()
    bus.subscribe("candle_closed", candles.awaited, name="candles")
    bus.subscribe([PRICE, "price_updated"], prices.awaited, name="prices")
    bus.start()
    assert bus.publish(numbered(CANDLE))
    assert bus.publish(numbered(PRICE))
    assert bus.publish(numbered(EventKind.ERROR))  # nobody wants it
    await bus.drain()
    assert candles.seen == [0]
    assert prices.seen == [1]


async def test_a_later_subscriber_gets_what_comes_later(bus: EventBus, numbered: Make) -> None:
    early, late = Recorder(), Recorder()
    bus.subscribe(CANDLE, early.awaited, name="early")
    bus.start()
    bus.publish(numbered())
    bus.subscribe(CANDLE, late.awaited, name="late")
    bus.publish(numbered())
    await bus.drain()
    assert early.seen == [0, 1]
    assert late.seen == [1]
    assert info_of(bus, "late").offered == 1


# -- isolation -------------------------------------------------------------------------------------


async def test_neither_a_stuck_nor_a_raising_subscriber_touches_the_others(
    bus: EventBus, numbered: Make, reports: list[BusReport], settled: Callable[[HandlerInfo], bool]
) -> None:
    release, gate = threading.Event(), asyncio.Event()
    fine, held, waiting = Recorder(), Recorder(), Recorder()
    all_fine = asyncio.Event()

    async def notes(event: Event) -> None:
        await fine.awaited(event)
        if len(fine.seen) == 100:
            all_fine.set()

    def stuck(event: Event) -> None:
        release.wait(30.0)
        held.called(event)

    async def suspended(event: Event) -> None:
        await gate.wait()
        waiting.called(event)

    async def raises(event: Event) -> None:
        raise ZeroDivisionError(f"on {event.sequence}")

    def raises_in_thread(event: Event) -> None:
        raise SystemExit("not even this ends the thread")

    for number, handler in enumerate((stuck, suspended, raises, raises_in_thread, notes)):
        bus.subscribe(CANDLE, handler, name=f"h{number}", queue_size=500)
    bus.start()
    for _ in range(100):
        assert bus.publish(numbered())
        await asyncio.sleep(0)
    await all_fine.wait()
    assert fine.seen == list(range(100))
    assert held.seen == waiting.seen == []
    release.set()
    gate.set()
    assert await bus.drain() == {}
    assert held.seen == waiting.seen == list(range(100))
    infos = bus.handlers()
    assert all(map(settled, infos))
    assert [info.failed for info in infos] == [0, 0, 100, 100, 0]
    failures = [r for r in reports if r.kind is ReportKind.HANDLER_FAILED]
    assert sorted(r.handler for r in failures) == ["h2", "h3"], "each is reported once"
    first = next(r for r in failures if r.handler == "h2")
    assert "ZeroDivisionError('on 0')" in first.message
    assert first.context["kind"] == "candle_closed"
    assert "test_bus_delivery.py:" in str(first.context["where"])


async def test_a_report_that_raises_hurts_nobody(numbered: Make) -> None:
    def on_report(report: BusReport) -> None:
        raise RuntimeError(report.message)

    bus = EventBus(on_report=on_report)
    seen = Recorder()

    async def raises(event: Event) -> None:
        raise ValueError

    bus.subscribe(CANDLE, raises)
    bus.subscribe(CANDLE, seen.awaited, name="seen")
    bus.start()
    bus.publish(numbered())
    bus.publish(numbered())
    assert await bus.stop() == {}
    assert seen.seen == [0, 1]


# -- bounds and overflow ---------------------------------------------------------------------------


async def test_a_full_blocking_queue_refuses_the_event_for_everybody(
    bus: EventBus, numbered: Make, reports: list[BusReport]
) -> None:
    slow, other = Recorder(), Recorder()
    bus.subscribe(CANDLE, slow.awaited, name="slow", queue_size=3)
    bus.subscribe(CANDLE, other.awaited, name="other")
    assert [bus.publish(numbered()) for _ in range(5)] == [True, True, True, False, False]
    assert bus.published == 3
    assert bus.refused == 2
    assert info_of(bus, "slow").refused == 2
    assert info_of(bus, "other").refused == 0
    assert kinds_of(reports) == [ReportKind.QUEUE_FULL] * 2, "the first, and when it has doubled"
    bus.start()
    await bus.drain()
    assert slow.seen == other.seen == [0, 1, 2]


async def test_a_queue_shared_by_kinds_is_bounded_as_one(bus: EventBus, numbered: Make) -> None:
    kinds = (CANDLE, PRICE, EventKind.ORDER_UPDATED, EventKind.FILL_RECEIVED)
    shared, one = Recorder(), Recorder()
    bus.subscribe(kinds, shared.awaited, name="shared", queue_size=10)
    bus.subscribe(PRICE, one.awaited, name="one", queue_size=7)
    taken = [bus.publish(numbered(kinds[n % 4])) for n in range(30)]
    assert taken == [True] * 10 + [False] * 20
    assert info_of(bus, "shared").depth == 10
    bus.start()
    await bus.drain()
    assert [bus.publish(numbered(PRICE)) for _ in range(9)] == [True] * 7 + [False] * 2
    assert [bus.publish(numbered(CANDLE)) for _ in range(5)] == [True] * 3 + [False] * 2


async def test_fail_raises_and_delivers_nothing(bus: EventBus, numbered: Make) -> None:
    strict, other = Recorder(), Recorder()
    bus.subscribe(CANDLE, strict.awaited, name="strict", queue_size=1, overflow="fail")
    bus.subscribe(CANDLE, other.awaited, name="other")
    assert bus.publish(numbered())
    with pytest.raises(QueueFullError, match="queue of strict is full: 1 events wait"):
        bus.publish(numbered())
    with pytest.raises(QueueFullError):
        await bus.publish_wait(numbered())
    bus.start()
    await bus.drain()
    assert strict.seen == other.seen == [0]
    assert bus.refused == 2


async def test_drop_oldest_keeps_the_newest_and_counts_the_rest(
    bus: EventBus, numbered: Make, reports: list[BusReport], settled: Callable[[HandlerInfo], bool]
) -> None:
    seen = Recorder()
    bus.subscribe(CANDLE, seen.awaited, name="tail", queue_size=4, overflow="drop_oldest")
    for _ in range(10):
        assert bus.publish(numbered())
    info = info_of(bus, "tail")
    assert (info.depth, info.dropped) == (4, 6)
    assert [r.context["count"] for r in reports] == [1, 2, 4]
    assert kinds_of(reports) == [ReportKind.EVENTS_DROPPED] * 3
    bus.start()
    await bus.drain()
    assert seen.seen == [6, 7, 8, 9]
    assert settled(info_of(bus, "tail"))


async def test_conflate_keeps_the_newest_of_each_key_in_the_place_of_the_first(
    bus: EventBus, settled: Callable[[HandlerInfo], bool]
) -> None:
    seen = Recorder()
    bus.subscribe(PRICE, seen.awaited, name="prices", queue_size=3, overflow="conflate")
    for number, symbol in enumerate("ABABBC"):
        assert bus.publish(price(number, symbol))
    info = info_of(bus, "prices")
    assert (info.depth, info.conflated, info.dropped) == (3, 3, 0)
    bus.publish(price(6, "D"))  # a fourth key: the one that has waited longest goes
    bus.start()
    await bus.drain()
    assert seen.seen == [4, 5, 6]
    info = info_of(bus, "prices")
    assert (info.handled, info.conflated, info.dropped) == (3, 3, 1)
    assert settled(info)


async def test_conflate_tells_intervals_and_kinds_apart(bus: EventBus) -> None:
    class Update:
        def __init__(self, interval: str) -> None:
            self.symbol, self.interval = "A", interval

    seen = Recorder()
    kinds = [PRICE, EventKind.ACCOUNT_UPDATED]
    bus.subscribe(kinds, seen.awaited, name="s", overflow="conflate")
    for number, (kind, interval) in enumerate(
        [(PRICE, "1m"), (PRICE, "5m"), (kinds[1], "1m"), (PRICE, "1m"), (kinds[1], "1m")]
    ):
        bus.publish(Event(kind, Update(interval), 0, number))
    bus.start()
    await bus.drain()
    assert seen.seen == [3, 1, 4]


@pytest.mark.parametrize("kind", sorted(set(EventKind) - {PRICE, EventKind.ACCOUNT_UPDATED}))
async def test_conflate_is_refused_where_each_event_matters(bus: EventBus, kind: EventKind) -> None:
    async def handler(event: Event) -> None: ...

    with pytest.raises(ConfigError, match=f"{kind} must not be conflated"):
        bus.subscribe([PRICE, kind], handler, overflow=Overflow.CONFLATE)


async def test_subscriptions_that_cannot_be(bus: EventBus) -> None:
    async def handler(event: Event) -> None: ...

    def generator(event: Event) -> Any:
        yield

    async def async_generator(event: Event) -> Any:
        yield

    bus.subscribe(CANDLE, handler, name="taken")
    with pytest.raises(ConfigError, match="'taken' already"):
        bus.subscribe(CANDLE, handler, name="taken")
    with pytest.raises(ConfigError, match="at least one kind"):
        bus.subscribe([], handler)
    with pytest.raises(ConfigError, match="queue_size of at least 1"):
        bus.subscribe(CANDLE, handler, queue_size=0)
    with pytest.raises(ConfigError, match="not in a thread"):
        bus.subscribe(CANDLE, handler, mode="thread")
    with pytest.raises(ConfigError, match="no EventKind 'candle_close'; did you mean 'candle_clo"):
        bus.subscribe("candle_close", handler)
    with pytest.raises(ConfigError, match="no Overflow 'x'; choose one of block, drop_oldest, "):
        bus.subscribe(CANDLE, handler, overflow="x")
    with pytest.raises(ConfigError, match="no Mode 'threads'; did you mean 'thread'"):
        bus.subscribe(CANDLE, handler, mode="threads")
    with pytest.raises(ConfigError, match="None cannot be called"):
        bus.subscribe(CANDLE, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="does nothing when it is called"):
        bus.subscribe(CANDLE, generator)
    with pytest.raises(ConfigError, match="does nothing when it is called"):
        bus.subscribe(CANDLE, async_generator)  # type: ignore[arg-type]
    assert [info.name for info in bus.handlers()] == ["taken"]


async def test_async_handlers_are_told_behind_partials_and_objects(bus: EventBus) -> None:
    class Callable_:
        async def __call__(self, event: Event) -> None: ...

    async def two(number: int, event: Event) -> None: ...

    def plain(event: Event) -> None: ...

    bus.subscribe(CANDLE, Callable_())
    bus.subscribe(CANDLE, functools.partial(two, 1), name="partial")
    bus.subscribe(CANDLE, plain)
    infos = bus.handlers()
    assert [info.is_async for info in infos] == [True, True, False]
    assert [info.mode for info in infos] == [Mode.INLINE, Mode.INLINE, Mode.THREAD]
    assert infos[0].name == "Callable_"


# -- back-pressure ---------------------------------------------------------------------------------


@pytest.mark.parametrize("threaded", [False, True])
async def test_publish_wait_waits_for_room_and_loses_nothing(
    bus: EventBus, numbered: Make, threaded: bool
) -> None:
    seen = Recorder()
    handler = seen.called if threaded else seen.awaited
    bus.subscribe(CANDLE, handler, name="narrow", queue_size=2)
    bus.start()

    async def publish() -> list[int]:
        own = []
        for _ in range(200):
            event = numbered()
            own.append(event.sequence)
            await bus.publish_wait(event)
            assert info_of(bus, "narrow").depth <= 2
        return own

    async with asyncio.TaskGroup() as group:
        publishers = [group.create_task(publish()) for _ in range(3)]
    await bus.drain()
    assert sorted(seen.seen) == list(range(600))
    for publisher in publishers:  # each one's order is kept
        own = set(publisher.result())
        assert [number for number in seen.seen if number in own] == publisher.result()
    assert bus.refused == 0


async def test_publish_wait_waits_while_the_queue_is_full(bus: EventBus, numbered: Make) -> None:
    gate, entered = asyncio.Event(), asyncio.Event()

    async def handler(event: Event) -> None:
        entered.set()
        await gate.wait()

    bus.subscribe(CANDLE, handler, queue_size=1)
    bus.start()
    bus.publish(numbered())
    await entered.wait()
    await bus.publish_wait(numbered())
    third = asyncio.ensure_future(bus.publish_wait(numbered()))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not third.done()
    gate.set()
    await third
    assert await bus.drain() == {}


async def test_publish_wait_ends_with_the_bus(bus: EventBus, numbered: Make) -> None:
    gate = asyncio.Event()

    async def handler(event: Event) -> None:
        await gate.wait()

    bus.subscribe(CANDLE, handler, queue_size=1)
    bus.start()
    await bus.publish_wait(numbered())
    await asyncio.sleep(0)
    await bus.publish_wait(numbered())
    waiting = asyncio.ensure_future(bus.publish_wait(numbered()))
    await asyncio.sleep(0)
    assert await bus.stop(timeout=0.0) == {"candle_closed": 2}
    with pytest.raises(BusStoppedError):
        await waiting


async def test_publish_wait_goes_on_when_the_full_subscriber_leaves(
    bus: EventBus, numbered: Make
) -> None:
    async def handler(event: Event) -> None: ...

    bus.subscribe(CANDLE, handler, name="full", queue_size=1)
    bus.publish(numbered())
    waiting = asyncio.ensure_future(bus.publish_wait(numbered()))
    await asyncio.sleep(0)
    await bus.unsubscribe("full")
    await waiting
    assert bus.published == 2


async def test_room_that_a_thread_has_made_meanwhile_is_not_waited_for(
    bus: EventBus, numbered: Make
) -> None:
    """It took the event after the look at the queue, and before anyone could be seen to wait."""

    def handler(event: Event) -> None: ...

    subscription = bus.subscribe(CANDLE, handler, queue_size=1)
    bus.publish(numbered())
    assert not subscription.room_again().done()
    subscription.pending.take()
    assert subscription.room_again().done()


async def test_a_thread_may_publish(bus: EventBus, numbered: Make) -> None:
    seen = Recorder()
    with pytest.raises(CandlewickError, match="has not been started"):
        bus.publish_threadsafe(numbered())

    def answer(event: Event) -> None:
        bus.publish_threadsafe(Event(PRICE, None, 0, event.sequence))

    bus.subscribe(CANDLE, answer)
    bus.subscribe(PRICE, seen.awaited, name="seen")
    bus.start()
    events = [numbered() for _ in range(100)]
    for event in events:
        bus.publish(event)
    await bus.drain()  # the thread has handed over all, but not all has arrived
    arrived = asyncio.Event()
    asyncio.get_running_loop().call_soon_threadsafe(arrived.set)
    await arrived.wait()
    await bus.drain()
    assert seen.seen == [event.sequence for event in events]


# -- accounts --------------------------------------------------------------------------------------


async def test_the_inventory_says_what_became_of_each_event(
    bus: EventBus, numbered: Make, settled: Callable[[HandlerInfo], bool]
) -> None:
    gate, entered = asyncio.Event(), asyncio.Event()

    async def handler(event: Event) -> None:
        entered.set()
        await gate.wait()
        if event.sequence % 2:
            raise ValueError

    bus.subscribe([CANDLE, PRICE], handler, name="h", queue_size=100)
    bus.start()
    for _ in range(10):
        bus.publish(numbered())
    await entered.wait()
    info = info_of(bus, "h")
    assert (info.offered, info.in_flight, info.depth, info.handled) == (10, 1, 9, 0)
    assert info.oldest_ms > 0.0
    assert info.kinds == ("candle_closed", "price_updated")
    discarded = bus.discard(lambda event: event.sequence >= 8)
    assert sorted(event.sequence for event in discarded) == [8, 9]
    assert settled(info_of(bus, "h"))
    gate.set()
    await bus.drain()
    info = info_of(bus, "h")
    assert (info.handled, info.failed, info.discarded, info.depth) == (8, 4, 2, 0)
    assert (info.in_flight, info.oldest_ms) == (0, 0.0)
    assert settled(info)
    assert sum(info.latency_ns) == info.handled
    assert 0 < info.slowest_ns <= info.busy_ns


async def test_events_that_are_timed_together_are_all_counted(
    bus: EventBus, numbered: Make
) -> None:
    async def fast(event: Event) -> None: ...

    def fast_in_thread(event: Event) -> None: ...

    bus.subscribe(CANDLE, fast)
    bus.subscribe(CANDLE, fast_in_thread)
    bus.start()
    for _ in range(5_003):
        bus.publish(numbered())
    await bus.drain()
    for info in bus.handlers():
        assert sum(info.latency_ns) == info.handled == 5_003


async def test_the_oldest_event_is_as_old_as_its_wait(bus: EventBus, numbered: Make) -> None:
    """A queue that is never empty forgets the arrival of what it has handled."""
    turns, reached = asyncio.Semaphore(0), asyncio.Event()

    async def handler(event: Event) -> None:
        if event.sequence == 700:
            reached.set()
        await turns.acquire()

    bus.subscribe(CANDLE, handler, name="h", queue_size=1_000)
    bus.start()
    for _ in range(500):
        bus.publish(numbered())
    await asyncio.sleep(0)
    middle = perf_counter()
    for _ in range(500):
        bus.publish(numbered())
    for _ in range(700):  # the first 500 have gone: what waits came after `middle`
        turns.release()
    await reached.wait()
    assert info_of(bus, "h").oldest_ms <= (perf_counter() - middle) * 1e3
    for _ in range(300):
        turns.release()
