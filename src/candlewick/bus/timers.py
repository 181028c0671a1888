"""`Timers`: deadlines as events, in real and in simulated time."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from candlewick.bus.clock import Clock, Wakeup
from candlewick.bus.subscription import QueueFullError
from candlewick.models import Event, EventKind

__all__ = ["Timer", "Timers"]

_AGAIN_MS = 10  # where the bus had no room, it is asked again after this time


class Timer(msgspec.Struct, frozen=True, gc=False):
    """The payload of ``TIMER_FIRED``: which timer it was, and when it was due (UTC ms)."""

    name: str
    time: int


class Timers:
    """Publishes `EventKind.TIMER_FIRED` at set times.

    Args:
        publish: takes the event; on False or `QueueFullError` there was no room, and it is
            offered again until it is taken: a deadline is late rather than lost.
        clock: says when; the event's ``time`` is what it shows when the timer fires.
    """

    def __init__(self, publish: Callable[[Event], object], clock: Clock) -> None:
        self._publish = publish
        self._clock = clock
        self._waiting: dict[str, tuple[int, Wakeup]] = {}
        self._fired = 0

    @property
    def pending(self) -> dict[str, int]:
        """The times of the timers that have not fired, UTC ms, by name."""
        return {name: time for name, (time, _) in self._waiting.items()}

    def at(self, time: int, name: str) -> None:
        """Let a timer fire at ``time`` (UTC ms), or at once if that has passed.

        A timer of this name that is set already is moved there.
        """
        self.cancel(name)
        self._set(time, name, time)

    def cancel(self, name: str) -> bool:
        """Unset a timer; False when there is none of this name, or it has fired."""
        waiting = self._waiting.pop(name, None)
        if waiting is None:
            return False
        waiting[1].cancel()
        return True

    def clear(self) -> None:
        """Unset all timers."""
        for name in list(self._waiting):
            self.cancel(name)

    def _set(self, time: int, name: str, due: int) -> None:
        wakeup = self._clock.call_at(time, lambda: self._fire(name, due))
        self._waiting[name] = (due, wakeup)

    def _fire(self, name: str, due: int) -> None:
        now = self._clock.now()
        del self._waiting[name]
        event = Event(EventKind.TIMER_FIRED, Timer(name, due), now, self._fired + 1)
        try:
            taken = self._publish(event) is not False
        except QueueFullError:
            taken = False
        if taken:
            self._fired += 1
        elif name not in self._waiting:  # it may have been set anew
            self._set(now + _AGAIN_MS, name, due)
