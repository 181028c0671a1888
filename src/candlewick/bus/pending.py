"""What waits for a subscriber: `Fifo`, or `Newest` where a newer event replaces an older one.

The event loop puts, one worker takes. Where the worker is a thread, `put` and `take` need no lock:
each of their steps is a single call into C, which the interpreter does not interrupt. For the
others the worker must be kept from taking.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sized
from time import perf_counter_ns
from typing import Any

from candlewick.models import Event

__all__ = ["Fifo", "Newest", "Pending", "conflation_key"]


def conflation_key(event: Event) -> object:
    """What an update is about: kind, symbol and interval, so far as the payload has them."""
    payload = event.payload
    return event.kind, getattr(payload, "symbol", None), getattr(payload, "interval", None)


class Fifo:
    """First in, first out. ``lost`` counts the oldest events that have made room.

    ``take`` gives the oldest event, or raises IndexError.
    """

    __slots__ = ("_queue", "add", "held", "lost", "replaced", "size", "take")

    def __init__(self, size: int) -> None:
        # realtime: allow RT103 - ``size`` is the bound; who offers asks for room
        self._queue: deque[Event] = deque()
        self.held: Sized = self._queue
        self.size = size
        self.lost = 0
        self.replaced = 0
        self.add: Callable[[Event], None] = self._queue.append
        self.take: Callable[[], Event] = self._queue.popleft

    def put(self, event: Event) -> None:
        """Add an event; the oldest makes room where there is none."""
        if len(self._queue) >= self.size:
            try:
                self.take()
            except IndexError:  # the worker has just made room
                pass
            else:
                self.lost += 1
        self.add(event)

    def events(self) -> list[Event]:
        """What waits, oldest first."""
        return list(self._queue)

    def remove(self, unwanted: Callable[[Event], bool]) -> list[Event]:
        """Take out what ``unwanted`` is true for; the rest stays, in its order."""
        out: list[Event] = []
        kept: list[Event] = []
        for event in self._queue:
            (out if unwanted(event) else kept).append(event)
        if out:
            self._queue.clear()
            self._queue.extend(kept)
        return out

    def oldest_ns(self) -> int | None:
        """Not known here."""
        return None


class Newest:
    """Holds the newest event of each key, in the order in which the keys came.

    An entry is a list of the time when its key came (monotonic ns) and the event. Whoever takes
    the entry pops the event off it; so a replacement that comes too late fails, and is put in as
    a new entry instead of being lost.
    """

    __slots__ = ("_entries", "held", "lost", "replaced", "size")

    def __init__(self, size: int) -> None:
        self._entries: OrderedDict[object, list[Any]] = OrderedDict()
        self.held: Sized = self._entries
        self.size = size
        self.lost = 0
        self.replaced = 0

    def put(self, event: Event) -> None:
        """Replace the waiting event of the same key, or add this one."""
        key = conflation_key(event)
        entry = self._entries.get(key)
        if entry is not None:
            try:
                entry[1] = event
            except IndexError:  # its turn has come this very moment
                pass
            else:
                self.replaced += 1
                return
        if len(self._entries) >= self.size:
            try:
                self.take()
            except KeyError:  # the worker has just made room
                pass
            else:
                self.lost += 1
        self._entries[key] = [perf_counter_ns(), event]

    def take(self) -> Event:
        """Take the event of the key that has waited longest; KeyError when there is none."""
        event: Event = self._entries.popitem(last=False)[1].pop()
        return event

    def events(self) -> list[Event]:
        """What waits, oldest key first."""
        return [entry[1] for entry in self._entries.values()]

    def remove(self, unwanted: Callable[[Event], bool]) -> list[Event]:
        """Take out what ``unwanted`` is true for; the rest stays, in its order."""
        found = [(key, entry[1]) for key, entry in self._entries.items() if unwanted(entry[1])]
        for key, _ in found:
            del self._entries[key]
        return [event for _, event in found]

    def oldest_ns(self) -> int | None:
        """When the key that has waited longest came, monotonic ns; None when nothing waits."""
        for entry in self._entries.values():
            return int(entry[0])
        return None


Pending = Fifo | Newest
