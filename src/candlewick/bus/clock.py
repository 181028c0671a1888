"""`Clock`: where time comes from; `SystemClock` from the machine, `SimulatedClock` from events."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from itertools import count
from typing import Protocol

from candlewick.errors import ValidationError
from candlewick.models import utc_now_ms

__all__ = ["Clock", "SimulatedClock", "SystemClock", "Wakeup"]

_LONGEST_MS = 60_000  # a sleep, so that a step of the wall clock is noticed within a minute


class Wakeup(Protocol):
    """A call that is planned."""

    def cancel(self) -> None:
        """Do not call; nothing happens where it has been called already."""


class Clock(Protocol):
    """A source of time, and of calls at a time."""

    def now(self) -> int:
        """The time of events, UTC ms."""

    def monotonic_ns(self) -> int:
        """For durations: nanoseconds that never go back, from an arbitrary beginning."""

    def call_at(self, time_ms: int, callback: Callable[[], object]) -> Wakeup:
        """Call once `now` has reached ``time_ms``, or soon where it has already."""


class SystemClock:
    """The machine's clock; calls are made by the running event loop.

    A call waits for the wall clock, not for a duration: where that is set, or the machine has
    slept, it comes at the new time, at most a minute late.
    """

    def now(self) -> int:
        """The wall clock, UTC ms."""
        return utc_now_ms()

    def monotonic_ns(self) -> int:
        """The monotonic clock, ns."""
        return time.monotonic_ns()

    def call_at(self, time_ms: int, callback: Callable[[], object]) -> Wakeup:
        """Call on the running event loop once the wall clock has reached ``time_ms``."""
        return _SystemWakeup(self, time_ms, callback)


class _SystemWakeup:
    def __init__(self, clock: SystemClock, time_ms: int, callback: Callable[[], object]) -> None:
        self._clock = clock
        self._time = time_ms
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._sleep()

    def _sleep(self) -> None:
        left = min(max(self._time - self._clock.now(), 0), _LONGEST_MS)
        self._handle = self._loop.call_later(left / 1e3, self._wake)

    def _wake(self) -> None:
        if self._clock.now() < self._time:
            self._sleep()
        else:
            self._callback()

    def cancel(self) -> None:
        self._handle.cancel()


class SimulatedClock:
    """A clock that stands still until it is advanced; ``start`` in UTC ms.

    It needs no event loop. Calls are made in the order of their times, each while the clock shows
    exactly that time; those of the same time in the order in which they were planned.
    """

    def __init__(self, start: int) -> None:
        self._start = start
        self._now = start
        self._number = count()
        self._planned: list[tuple[int, int, _SimulatedWakeup]] = []

    def now(self) -> int:
        """The simulated time, UTC ms."""
        return self._now

    def monotonic_ns(self) -> int:
        """Simulated time since the start, ns."""
        return (self._now - self._start) * 1_000_000

    def call_at(self, time_ms: int, callback: Callable[[], object]) -> Wakeup:
        """Call when the clock is advanced to ``time_ms`` or beyond."""
        wakeup = _SimulatedWakeup(callback)
        heapq.heappush(self._planned, (max(time_ms, self._now), next(self._number), wakeup))
        return wakeup

    def next_call(self) -> int | None:
        """The time of the next planned call, UTC ms, if there is one."""
        while self._planned and self._planned[0][2].callback is None:
            heapq.heappop(self._planned)
        return self._planned[0][0] if self._planned else None

    def advance_to(self, time_ms: int) -> None:
        """Let time pass, and make the calls that become due.

        Calls that they plan in turn are made too, if they are due by ``time_ms``.

        Raises:
            ValidationError: ``time_ms`` is in the past.
        """
        if time_ms < self._now:
            raise ValidationError(f"the clock shows {self._now} and cannot go back to {time_ms}")
        while (due := self.next_call()) is not None and due <= time_ms:
            wakeup = heapq.heappop(self._planned)[2]
            self._now = due
            wakeup.call()
        self._now = time_ms


class _SimulatedWakeup:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def call(self) -> None:
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()

    def cancel(self) -> None:
        self.callback = None
