"""When funding is due and at which rate: a flat rate by the clock, or recorded rates."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

__all__ = ["NEVER", "FundingSchedule"]

NEVER = 1 << 62
_HOUR_MS = 3_600_000
_MINUTE_MS = 60_000


class FundingSchedule:
    """The payments of one symbol still to come; ``next_time`` is when to ask again, UTC ms.

    Args:
        rate: paid every ``interval_h`` hours of UTC; 0.0 turns it off.
        recorded: (time, rate) pairs, oldest first; they replace the flat rate. A recorded time is
            when the exchange booked the payment, some milliseconds after the moment that counts:
            it is due at the nearest whole minute.
    """

    __slots__ = ("_period", "_rate", "_recorded", "next_time")

    def __init__(
        self, rate: float, interval_h: int, recorded: Sequence[tuple[int, float]] | None
    ) -> None:
        self._rate = rate
        self._period = interval_h * _HOUR_MS
        self._recorded = None if recorded is None else deque(recorded)
        self.next_time = 0 if recorded is not None or rate else NEVER

    def due(self, now: int) -> list[tuple[int, float]]:
        """Take the (time, rate) pairs that are due at ``now``; the first call sets the schedule."""
        recorded = self._recorded
        if recorded is None:
            following = (now // self._period + 1) * self._period
            times = range(self.next_time or following, now + 1, self._period)
            self.next_time = following
            return [(time, self._rate) for time in times]
        found = []
        while recorded and _due_time(recorded[0][0]) <= now:
            found.append(recorded.popleft())
        self.next_time = _due_time(recorded[0][0]) if recorded else NEVER
        return found


def _due_time(recorded: int) -> int:
    return (recorded + _MINUTE_MS // 2) // _MINUTE_MS * _MINUTE_MS
