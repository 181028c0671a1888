"""Drain, stop, unsubscribe, discard: nothing ends silently."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from candlewick.bus import BusReport, BusStoppedError, EventBus, HandlerInfo, ReportKind
from candlewick.errors import CandlewickError, ConfigError
from candlewick.models import Event, EventKind

Make = Callable[..., Event]
CANDLE, ORDER, SIGNAL = (
    EventKind.CANDLE_CLOSED,
    EventKind.ORDER_UPDATED,
    EventKind.SIGNAL_GENERATED,
)


class Gate:
    """A handler that waits, awaited or in a thread, until it is let go."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.thread_entered = threading.Event()
        self.thread_open = threading.Event()

    async def awaited(self, event: Event) -> None:
        self.entered.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        self.seen.append(event.sequence)

    def called(self, event: Event) -> None:
        self.thread_entered.set()
        self.thread_open.wait(30.0)
        self.seen.append(event.sequence)


# -- drain -----------------------------------------------------------------------------------------


async def test_drain_follows_what_handlers_publish(bus: EventBus, numbered: Make) -> None:
    seen: list[int] = []

    async def first(event: Event) -> None:
        await asyncio.sleep(0)
        bus.publish(Event(ORDER, None, 0, event.sequence))

    def second(event: Event) -> None:
        seen.append(event.sequence)

    bus.subscribe(CANDLE, first)
    bus.subscribe(ORDER, second)
    bus.start()
    for _ in range(20):
        bus.publish(numbered())
    assert await bus.drain() == {}
    assert seen == list(range(20))


async def test_drain_of_an_idle_bus_returns_at_once(bus: EventBus) -> None:
    assert await bus.drain() == {}
    bus.start()
    assert await bus.drain(0.0) == {}


async def test_drain_gives_up_and_lists_what_is_left_by_kind(bus: EventBus, numbered: Make) -> None:
    gate = Gate()
    bus.subscribe([CANDLE, ORDER], gate.awaited)
    bus.start()
    for kind in (CANDLE, CANDLE, ORDER, CANDLE):
        bus.publish(numbered(kind))
    await gate.entered.wait()
    left = await bus.drain(timeout=0.0)
    assert left == {"candle_closed": 3, "order_updated": 1}, "the one being handled is not handled"
    gate.open.set()
    assert await bus.drain() == {}


async def test_several_may_drain_and_one_may_give_up(bus: EventBus, numbered: Make) -> None:
    gate = Gate()
    bus.subscribe(CANDLE, gate.awaited)
    bus.start()
    bus.publish(numbered())
    await gate.entered.wait()
    one, other, third = (asyncio.ensure_future(bus.drain()) for _ in range(3))
    await asyncio.sleep(0)
    third.cancel()
    await asyncio.sleep(0)
    gate.open.set()
    assert await one == await other == {}
    assert third.cancelled()


@pytest.mark.parametrize("ending", ["drain", "stop"])
async def test_a_handler_must_not_wait_for_itself(
    bus: EventBus, numbered: Make, ending: str
) -> None:
    said: list[str] = []

    async def handler(event: Event) -> None:
        with pytest.raises(CandlewickError, match="must not wait for the bus") as caught:
            await getattr(bus, ending)()
        said.append(str(caught.value))

    bus.subscribe(CANDLE, handler, name="self")
    bus.start()
    bus.publish(numbered())
    assert await bus.drain() == {}
    assert len(said) == 1
    assert said[0].startswith("self ")


# -- stop ------------------------------------------------------------------------------------------


async def test_stop_drains_first(bus: EventBus, numbered: Make) -> None:
    seen: list[int] = []

    async def handler(event: Event) -> None:
        seen.append(event.sequence)
        if event.sequence < 10:  # handlers may publish while the bus stops
            bus.publish(Event(CANDLE, None, 0, event.sequence + 1))

    bus.subscribe(CANDLE, handler)
    bus.start()
    bus.publish(numbered())
    assert await bus.stop() == {}
    assert seen == list(range(11))
    assert await bus.stop() == {}


async def test_a_stopped_bus_takes_nothing_and_says_so_once(
    bus: EventBus, numbered: Make, reports: list[BusReport]
) -> None:
    async def handler(event: Event) -> None: ...

    bus.subscribe(CANDLE, handler)
    bus.start()
    bus.publish(numbered())
    await bus.stop()
    assert not bus.publish(numbered())
    assert not bus.publish(numbered(ORDER))
    assert (bus.published, bus.refused) == (1, 2)
    with pytest.raises(BusStoppedError):
        await bus.publish_wait(numbered())
    with pytest.raises(BusStoppedError):
        bus.start()
    with pytest.raises(BusStoppedError):
        bus.subscribe(CANDLE, handler, name="late")
    assert [(r.kind, r.message) for r in reports] == [
        (
            ReportKind.NOT_HANDLED,
            "candle_closed came after the bus had stopped, and was not taken",
        )
    ]


async def test_a_bus_that_never_ran_can_be_stopped(bus: EventBus, numbered: Make) -> None:
    async def handler(event: Event) -> None: ...

    bus.subscribe(CANDLE, handler)
    bus.publish(numbered())
    assert await bus.stop() == {"candle_closed": 1}
    assert not bus.publish(numbered())


async def test_stop_cancels_what_does_not_end_and_lists_it(
    bus: EventBus, numbered: Make, reports: list[BusReport], settled: Callable[[HandlerInfo], bool]
) -> None:
    gate = Gate()
    bus.subscribe([CANDLE, ORDER], gate.awaited, name="late")
    bus.start()
    for kind in (CANDLE, ORDER, ORDER):
        bus.publish(numbered(kind))
    await gate.entered.wait()
    assert await bus.stop(timeout=0.0) == {"candle_closed": 1, "order_updated": 2}
    (report,) = reports
    assert report.kind is ReportKind.NOT_HANDLED
    assert report.handler == "late"
    assert report.context == {"candle_closed": 1, "order_updated": 2}
    (info,) = bus.handlers()
    assert (info.in_flight, info.depth, info.handled) == (1, 2, 0)
    assert settled(info)


async def test_stop_names_a_thread_that_is_stuck(
    bus: EventBus, numbered: Make, reports: list[BusReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("candlewick.bus.thread._END_S", 0.1)
    stuck, fine = Gate(), Gate()
    fine.thread_open.set()
    bus.subscribe(CANDLE, stuck.called, name="stuck")
    bus.subscribe(CANDLE, fine.called, name="fine")
    bus.start()
    bus.publish(numbered())
    bus.publish(numbered())
    await asyncio.to_thread(stuck.thread_entered.wait, 30.0)
    assert await bus.stop(timeout=0.05) == {"candle_closed": 2}
    assert [(r.kind, r.handler) for r in reports] == [
        (ReportKind.NOT_HANDLED, "stuck"),
        (ReportKind.HANDLER_SLOW, "stuck"),
    ]
    assert fine.seen == [0, 1]
    threads = [thread for thread in threading.enumerate() if thread.name == "bus:stuck"]
    stuck.thread_open.set()  # it comes back late: the event at hand was its last
    for thread in threads:
        await asyncio.to_thread(thread.join, 30.0)
    assert stuck.seen == [0]


async def test_stop_names_a_coroutine_that_cannot_be_cancelled(
    bus: EventBus, numbered: Make, reports: list[BusReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("candlewick.bus.loop_worker._CANCEL_S", 0.1)
    gate = asyncio.Event()
    entered = asyncio.Event()

    async def stubborn(event: Event) -> None:
        entered.set()
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue

    bus.subscribe(CANDLE, stubborn, name="stubborn")
    bus.start()
    bus.publish(numbered())
    bus.publish(numbered())
    await entered.wait()
    assert await bus.stop(timeout=0.0) == {"candle_closed": 2}
    assert reports[-1].kind is ReportKind.HANDLER_SLOW
    assert "stubborn" in reports[-1].message
    gate.set()
    for _ in range(5):
        await asyncio.sleep(0)
    (info,) = bus.handlers()
    assert (info.handled, info.depth) == (1, 1), "it takes no further event"


async def test_each_queue_has_a_deadline_of_its_own(bus: EventBus, numbered: Make) -> None:
    """One that may take long is waited for; one that may not is given up meanwhile."""
    hopeless, patient = Gate(), Gate()
    bus.subscribe(CANDLE, hopeless.awaited, name="hopeless", drain_timeout_s=0.0)
    bus.subscribe(ORDER, patient.awaited, name="patient", drain_timeout_s=60.0)
    bus.start()
    bus.publish(numbered(CANDLE))
    bus.publish(numbered(ORDER))
    bus.publish(numbered(ORDER))
    await patient.entered.wait()
    stopping = asyncio.ensure_future(bus.stop(timeout=30.0))
    await hopeless.cancelled.wait()
    assert not stopping.done()
    patient.open.set()
    assert await stopping == {"candle_closed": 1}
    assert patient.seen == [1, 2]
    assert hopeless.seen == []


async def test_two_may_stop_the_bus(bus: EventBus, numbered: Make) -> None:
    gate = Gate()
    bus.subscribe(CANDLE, gate.awaited)
    bus.start()
    bus.publish(numbered())
    first = asyncio.ensure_future(bus.stop(timeout=60.0))
    await gate.entered.wait()
    assert await bus.stop(timeout=0.0) == {"candle_closed": 1}
    assert await first == {"candle_closed": 1}


# -- unsubscribe and discard -----------------------------------------------------------------------


@pytest.mark.parametrize("threaded", [False, True])
async def test_unsubscribe_finishes_the_event_at_hand_and_no_other(
    bus: EventBus, numbered: Make, reports: list[BusReport], threaded: bool
) -> None:
    gate = Gate()
    subscription = bus.subscribe(
        [CANDLE, ORDER], gate.called if threaded else gate.awaited, name="leaving"
    )
    bus.start()
    for kind in (CANDLE, CANDLE, ORDER):
        bus.publish(numbered(kind))
    if threaded:
        await asyncio.to_thread(gate.thread_entered.wait, 30.0)
    else:
        await gate.entered.wait()
    leaving = asyncio.ensure_future(bus.unsubscribe(subscription))
    await asyncio.sleep(0)
    gate.open.set()
    gate.thread_open.set()
    await leaving
    assert gate.seen == [0]
    assert bus.handlers() == []
    assert bus.publish(numbered())
    assert await bus.drain() == {}
    assert gate.seen == [0]
    (report,) = reports
    assert report.kind is ReportKind.NOT_HANDLED
    assert report.context == {"candle_closed": 1, "order_updated": 1}
    assert subscription.info().discarded == 2
    with pytest.raises(ConfigError, match="no subscriber 'leaving'"):
        await bus.unsubscribe("leaving")
    bus.subscribe(CANDLE, gate.awaited, name="leaving")  # the name is free again


async def test_unsubscribe_cancels_what_does_not_end(
    bus: EventBus, numbered: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("candlewick.bus.bus._UNSUBSCRIBE_S", 0.01)
    gate = Gate()
    bus.subscribe(CANDLE, gate.awaited, name="leaving")
    bus.start()
    bus.publish(numbered())
    await gate.entered.wait()
    await bus.unsubscribe("leaving")
    assert await bus.drain() == {}, "its worker is not counted as busy any more"
    assert gate.seen == []


async def test_a_handler_may_end_its_own_subscription(bus: EventBus, numbered: Make) -> None:
    seen: list[int] = []

    async def once(event: Event) -> None:
        seen.append(event.sequence)
        await bus.unsubscribe("once")

    bus.subscribe(CANDLE, once, name="once")
    bus.start()
    for _ in range(5):
        bus.publish(numbered())
    assert await bus.drain() == {}
    for _ in range(5):
        await asyncio.sleep(0)
    assert seen == [0]
    assert bus.activity.busy == 0


@pytest.mark.parametrize("threaded", [False, True])
async def test_entries_are_discarded_once_a_stop_has_begun(
    bus: EventBus, numbered: Make, threaded: bool
) -> None:
    """What waits is sorted out under the eyes of a worker; the rest keeps its order."""
    gate = Gate()
    bus.subscribe([CANDLE, SIGNAL], gate.called if threaded else gate.awaited, name="engine")
    bus.subscribe(SIGNAL, gate.awaited, name="watcher")
    bus.start()
    for number in range(10):
        bus.publish(numbered(SIGNAL if number % 3 == 2 else CANDLE))
    await gate.entered.wait()
    if threaded:
        await asyncio.to_thread(gate.thread_entered.wait, 30.0)
    discarded = bus.discard(lambda event: event.kind is SIGNAL)
    assert sorted(event.sequence for event in discarded) == [2, 5, 8], "each is returned once"
    gate.open.set()
    gate.thread_open.set()
    assert await bus.drain() == {}
    engine = [number for number in gate.seen if number % 3 != 2]
    assert engine == [0, 1, 3, 4, 6, 7, 9]
    assert [number for number in gate.seen if number % 3 == 2] == [2], "the watcher had begun it"


async def test_discarding_under_a_thread_that_takes_keeps_the_order(
    bus: EventBus, numbered: Make
) -> None:
    seen: list[int] = []

    def handler(event: Event) -> None:
        seen.append(event.sequence)

    bus.subscribe(CANDLE, handler, queue_size=100_000)
    bus.start()
    gone: list[int] = []
    for _ in range(300):
        for _ in range(50):
            bus.publish(numbered())
        gone += [event.sequence for event in bus.discard(lambda event: event.sequence % 5 == 0)]
    await bus.drain()
    assert seen == sorted(seen)
    assert sorted(seen + gone) == list(range(15_000))
    assert bus.handlers()[0].discarded == len(gone)


async def test_discarded_events_make_room(bus: EventBus, numbered: Make) -> None:
    gate = Gate()
    bus.subscribe(CANDLE, gate.awaited, queue_size=2)
    bus.publish(numbered())
    bus.publish(numbered())
    waiting = asyncio.ensure_future(bus.publish_wait(numbered()))
    await asyncio.sleep(0)
    assert len(bus.discard(lambda event: event.sequence == 1)) == 1
    await waiting
    gate.open.set()
    bus.start()
    await bus.drain()
    assert gate.seen == [0, 2]
