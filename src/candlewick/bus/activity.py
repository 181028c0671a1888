"""`Activity`: how many workers share the event loop, and who waits until they have come to rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Activity"]

_TURN_NS = 500_000  # all workers together may keep the event loop for this long
_LEAST_NS = 10_000  # and each of them for at least this long, as changing over costs time too


class Activity:
    """Counts the workers on the event loop that have events, and shares its time among them.

    ``busy`` of them have events, and have begun ``turns`` up to now. ``alarm``, where it is set, is
    called once at the next turn.
    """

    __slots__ = ("_watchers", "alarm", "busy", "turns")

    def __init__(self) -> None:
        self.busy = 0
        self.turns = 0
        self.alarm: Callable[[], object] | None = None
        self._watchers: list[asyncio.Future[None]] = []

    def turn(self) -> int:
        """A worker begins; returns how long it may run before it lets others run, nanoseconds."""
        self.turns += 1
        if self.alarm is not None:
            alarm, self.alarm = self.alarm, None
            alarm()
        return max(_TURN_NS // (self.busy or 1), _LEAST_NS)

    @property
    def is_watched(self) -> bool:
        """True when someone waits for a change; may be asked from any thread."""
        return bool(self._watchers)

    def rest(self) -> None:
        """A worker on the event loop has run out of events."""
        self.busy -= 1
        self.changed()

    def changed(self) -> None:
        """Wake those who wait: a worker, here or in a thread, has come to rest or has ended."""
        if self._watchers:
            watchers, self._watchers = self._watchers, []
            for watcher in watchers:
                if not watcher.done():
                    watcher.set_result(None)

    def watch(self) -> asyncio.Future[None]:
        """Return a future for the next change; cancel it where it is no longer wanted."""
        watcher = asyncio.get_running_loop().create_future()
        self._watchers = [w for w in self._watchers if not w.done()] + [watcher]
        return watcher
