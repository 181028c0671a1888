"""Clocks and timers, in real and in simulated time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlewick.bus import EventBus, QueueFullError, SimulatedClock, SystemClock, Timer, Timers
from candlewick.errors import ValidationError
from candlewick.models import Event, EventKind, utc_now_ms

START = 1_700_000_000_000


class Taken:
    """A publisher that notes the events, and has no room as often as it is told."""

    def __init__(self, refusals: int = 0, error: type[Exception] | None = None) -> None:
        self.events: list[Event] = []
        self.refusals = refusals
        self.error = error
        self.arrived = asyncio.Event()

    def publish(self, event: Event) -> bool:
        if self.refusals:
            self.refusals -= 1
            if self.error is not None:
                raise self.error
            return False
        self.events.append(event)
        self.arrived.set()
        return True

    def fired(self) -> list[tuple[str, int, int]]:
        """Name, time it was due, time it was published."""
        return [(event.payload.name, event.payload.time, event.time) for event in self.events]


# -- simulated -------------------------------------------------------------------------------------


def test_simulated_time_stands_still_until_it_is_advanced() -> None:
    clock = SimulatedClock(START)
    assert (clock.now(), clock.monotonic_ns()) == (START, 0)
    clock.advance_to(START + 1_500)
    assert (clock.now(), clock.monotonic_ns()) == (START + 1_500, 1_500_000_000)
    clock.advance_to(START + 1_500)
    with pytest.raises(ValidationError, match="cannot go back"):
        clock.advance_to(START + 1_499)


def test_timers_fire_in_the_order_of_their_times_with_the_clock_at_each() -> None:
    clock, taken = SimulatedClock(START), Taken()
    timers = Timers(taken.publish, clock)
    for time, name in ((300, "c"), (100, "a"), (200, "b"), (100, "a2"), (900, "later")):
        timers.at(START + time, name)
    clock.advance_to(START + 99)
    assert taken.events == []
    clock.advance_to(START + 300)
    assert taken.fired() == [
        (name, START + time, START + time)
        for name, time in (("a", 100), ("a2", 100), ("b", 200), ("c", 300))
    ]
    assert {event.kind for event in taken.events} == {EventKind.TIMER_FIRED}
    assert [event.sequence for event in taken.events] == [1, 2, 3, 4]
    assert timers.pending == {"later": START + 900}
    assert clock.next_call() == START + 900
    assert clock.now() == START + 300


def test_a_timer_is_moved_cancelled_and_fires_once() -> None:
    clock, taken = SimulatedClock(START), Taken()
    timers = Timers(taken.publish, clock)
    timers.at(START + 10, "moved")
    timers.at(START + 50, "moved")
    timers.at(START + 20, "cancelled")
    assert timers.cancel("cancelled")
    assert not timers.cancel("cancelled")
    assert not timers.cancel("never set")
    clock.advance_to(START + 49)
    assert taken.events == []
    clock.advance_to(START + 1_000)
    clock.advance_to(START + 2_000)
    assert taken.fired() == [("moved", START + 50, START + 50)]
    assert not timers.cancel("moved")
    timers.at(START + 3_000, "one")
    timers.clear()
    clock.advance_to(START + 4_000)
    assert len(taken.events) == 1
    assert clock.next_call() is None


def test_a_time_that_has_passed_fires_with_the_next_advance() -> None:
    clock, taken = SimulatedClock(START), Taken()
    timers = Timers(taken.publish, clock)
    timers.at(START - 5, "late")
    clock.advance_to(START)
    assert taken.fired() == [("late", START - 5, START)]


def test_a_timer_may_set_the_next_one() -> None:
    clock = SimulatedClock(START)
    times: list[int] = []

    def publish(event: Event) -> bool:
        times.append(event.time - START)
        if event.time < START + 50:
            timers.at(event.time + 10, "beat")
        return True

    timers = Timers(publish, clock)
    timers.at(START + 10, "beat")
    clock.advance_to(START + 1_000)
    assert times == [10, 20, 30, 40, 50]


@pytest.mark.parametrize("error", [None, QueueFullError])
def test_a_timer_without_room_is_late_and_not_lost(error: type[Exception] | None) -> None:
    clock, taken = SimulatedClock(START), Taken(refusals=2, error=error)
    timers = Timers(taken.publish, clock)
    timers.at(START + 100, "deadline")
    clock.advance_to(START + 100)
    assert taken.events == []
    assert timers.pending == {"deadline": START + 100}
    clock.advance_to(START + 1_000)
    ((name, due, time),) = taken.fired()
    assert (name, due) == ("deadline", START + 100)
    assert START + 100 < time <= START + 200
    assert taken.events[0].sequence == 1
    assert timers.pending == {}


def test_another_error_of_the_publisher_is_not_hidden() -> None:
    clock, taken = SimulatedClock(START), Taken(refusals=1, error=ZeroDivisionError)
    Timers(taken.publish, clock).at(START + 1, "t")
    with pytest.raises(ZeroDivisionError):
        clock.advance_to(START + 1)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["set", "cancel", "advance"]),
            st.sampled_from("abcd"),
            st.integers(0, 50),
        ),
        max_size=40,
    )
)
def test_simulated_timers_agree_with_a_sorted_list(steps: list[tuple[str, str, int]]) -> None:
    clock = SimulatedClock(START)
    fired: list[tuple[str, int]] = []
    timers = Timers(lambda event: fired.append((event.payload.name, event.time)), clock)
    model: dict[str, tuple[int, int]] = {}  # when and as which one it was set
    expected: list[tuple[str, int]] = []
    for number, (step, name, delay) in enumerate(steps):
        time = clock.now() + delay
        if step == "set":
            timers.at(time, name)
            model[name] = (time, number)
        elif step == "cancel":
            assert timers.cancel(name) == (model.pop(name, None) is not None)
        else:
            clock.advance_to(time)
            due = sorted((at, name) for name, at in model.items() if at[0] <= time)
            expected += [(name, at[0]) for at, name in due]
            for _, name in due:
                del model[name]
        assert timers.pending == {name: at for name, (at, _) in model.items()}
        assert fired == expected


# -- real ------------------------------------------------------------------------------------------


async def test_a_system_timer_becomes_an_event_on_the_bus(bus: EventBus) -> None:
    arrived = asyncio.get_running_loop().create_future()

    async def handler(event: Event) -> None:
        arrived.set_result(event)

    bus.subscribe("timer_fired", handler)
    bus.start()
    clock = SystemClock()
    timers = Timers(bus.publish, clock)
    due = clock.now() + 30
    timers.at(due, "soon")
    assert timers.pending == {"soon": due}
    event = await arrived
    assert event.payload == Timer("soon", due)
    assert due <= event.time <= utc_now_ms(), "never early"
    assert timers.pending == {}


async def test_a_system_timer_that_is_cancelled_does_not_fire() -> None:
    taken = Taken()
    clock = SystemClock()
    timers = Timers(taken.publish, clock)
    timers.at(clock.now() - 10, "past")
    assert timers.cancel("past")
    timers.at(clock.now() - 10, "other")
    await taken.arrived.wait()
    assert [event.payload.name for event in taken.events] == ["other"]


async def test_a_system_timer_waits_for_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is set back by an hour while a timer waits: it waits for the new time."""
    calls: list[tuple[float, Callable[[], None]]] = []

    class Loop:
        def call_later(self, delay: float, callback: Callable[[], None]) -> object:
            calls.append((delay, callback))
            return self

    now = [START]
    monkeypatch.setattr("candlewick.bus.clock.utc_now_ms", lambda: now[0])
    monkeypatch.setattr("candlewick.bus.clock.asyncio.get_running_loop", Loop)
    fired: list[int] = []
    SystemClock().call_at(START + 5_000, lambda: fired.append(now[0]))
    assert calls.pop()[0] == 5.0
    now[0] = START - 3_600_000
    delay, callback = 5.0, calls
    SystemClock().call_at(START + 5_000, lambda: fired.append(now[0]))
    delay, callback = calls.pop()
    assert delay == 60.0, "it looks at the clock at least once a minute"
    callback()
    assert fired == []
    now[0] = START + 4_900
    delay, callback = calls.pop()
    callback()
    assert calls[-1][0] == pytest.approx(0.1)
    now[0] = START + 5_000
    calls.pop()[1]()
    assert fired == [START + 5_000]


async def test_the_system_clock_is_the_machines() -> None:
    clock = SystemClock()
    before = utc_now_ms()
    now = clock.now()
    assert before <= now <= utc_now_ms()
    assert clock.monotonic_ns() <= clock.monotonic_ns()
