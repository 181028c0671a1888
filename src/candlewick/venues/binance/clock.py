"""`ServerClock`: the exchange's time, from our monotonic clock and a measured offset."""

from __future__ import annotations

import time
from collections.abc import Iterable

__all__ = ["EventClock", "ServerClock"]

_OWN_TIME_MS = 60_000  # events that differ by more from the clock are of a time of their own
_CONVINCING = 3


class ServerClock:
    """Tells the exchange's time; jumps of our own wall clock do not reach it.

    Until `learn` was called, the exchange's time is taken to be ours.
    """

    __slots__ = ("_base_ms", "uncertainty_ms")

    def __init__(self) -> None:
        self._base_ms = (time.time_ns() - time.monotonic_ns()) / 1e6
        self.uncertainty_ms = 0.0

    def now(self) -> int:
        """The exchange's time now, UTC ms."""
        return int(time.monotonic_ns() / 1e6 + self._base_ms)

    @property
    def offset_ms(self) -> float:
        """How far the exchange's clock is ahead of our wall clock."""
        return time.monotonic_ns() / 1e6 + self._base_ms - time.time_ns() / 1e6

    def learn(self, samples: Iterable[tuple[int, int, int]]) -> None:
        """Take over the best of some measurements.

        Each is (sent, received, server): monotonic ns around a request, and the time in its answer
        in UTC ms. The one with the shortest round trip is the best: the answer was made somewhere
        between, so that the error is at most half of it (Cristian, 1989, Distributed Computing 3).
        """
        sent, received, server = min(samples, key=lambda sample: sample[1] - sample[0])
        self._base_ms = server - (sent + received) / 2e6
        self.uncertainty_ms = (received - sent) / 2e6 + 1.0  # the answer is in whole milliseconds


class EventClock:
    """Tells the time that the exchange's events are in.

    That is the exchange's clock, but for a server whose market runs faster, or in recorded times:
    there it is the time of the newest event. What this process dates itself must not be ahead of
    the events that follow, nor behind those that were. A single event with a wrong time does not
    change the clock.
    """

    __slots__ = ("_last", "_own_time", "_streak", "server")

    def __init__(self, server: ServerClock) -> None:
        self.server = server
        self._last = 0
        self._own_time = False
        self._streak = 0  # events in a row that speak for the other kind of time

    def begin_at(self, time: int) -> None:
        """The events are in recorded times, and begin at this one (UTC ms)."""
        self._own_time = True
        self._last = time

    def seen(self, time: int) -> None:
        """An event of this time (UTC ms) has just arrived."""
        is_off = abs(time - self.server.now()) > _OWN_TIME_MS
        if is_off is self._own_time:
            self._streak = 0
            self._last = time
            return
        self._streak += 1
        if self._streak >= _CONVINCING:
            self._own_time = is_off
            self._last = time
            self._streak = 0

    def now(self) -> int:
        """The time now, UTC ms."""
        return self._last if self._own_time else self.server.now()

    def surely_past(self) -> int:
        """A time that the exchange's clock has reached, whatever the error of the measurement."""
        if self._own_time:
            return self._last
        return self.server.now() - int(self.server.uncertainty_ms) - 1
