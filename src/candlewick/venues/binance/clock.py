"""`ServerClock`: the exchange's time, from our monotonic clock and a measured offset."""

from __future__ import annotations

import time
from collections.abc import Iterable

__all__ = ["ServerClock"]


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
