"""What the bus tells about itself: `HandlerInfo` on request, `BusReport` when it must be known."""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["BusReport", "HandlerInfo", "Mode", "Overflow", "ReportKind"]


class Overflow(StrEnum):
    """What happens when a subscriber's queue is full.

    BLOCK: the event is not taken, `publish_wait` waits. DROP_OLDEST: the oldest makes room, and is
    counted. CONFLATE: only the newest of each key is kept. FAIL: the publisher gets an error.
    """

    BLOCK = "block"
    DROP_OLDEST = "drop_oldest"
    CONFLATE = "conflate"
    FAIL = "fail"


class Mode(StrEnum):
    """Where a handler runs: AUTO awaits coroutines and gives plain functions a thread."""

    AUTO = "auto"
    INLINE = "inline"
    THREAD = "thread"


class ReportKind(StrEnum):
    """What was noticed."""

    HANDLER_FAILED = "handler_failed"
    HANDLER_SLOW = "handler_slow"
    EVENTS_DROPPED = "events_dropped"
    QUEUE_FULL = "queue_full"
    LOOP_STALLED = "loop_stalled"
    NOT_HANDLED = "not_handled"


class BusReport(msgspec.Struct, frozen=True):
    """One thing that people should know.

    A failure is reported once for a handler, kind and type of error; what goes on (events dropped,
    refused, stalls) the first time and whenever its count has doubled.
    """

    kind: ReportKind
    handler: str
    message: str
    context: dict[str, str | int | float] = {}


class HandlerInfo(msgspec.Struct, frozen=True):
    """One line of the inventory.

    Every event that was offered is somewhere: ``offered`` equals the sum of ``handled`` (of which
    ``failed`` raised), ``dropped``, ``conflated``, ``discarded``, ``depth`` (they wait) and
    ``in_flight``. A handler in a thread may be one event ahead of these counts. ``refused`` counts
    events that no subscriber got, because this one's queue was full.

    ``latency_ns`` counts handled events by the bit length of their duration in nanoseconds:
    entry 10 holds those from 512 to 1,023 ns; ``busy_ns`` is the sum of all. Events that take less
    than 2 µs are timed up to 16 at once, and counted with their mean. ``oldest_ms`` is the age of
    the oldest event that waits, at most too old by 64 events.
    """

    name: str
    kinds: tuple[str, ...]
    is_async: bool
    mode: Mode
    overflow: Overflow
    queue_size: int
    depth: int
    offered: int
    handled: int
    failed: int
    dropped: int
    conflated: int
    oldest_ms: float
    slowest_ns: int
    busy_ns: int
    latency_ns: tuple[int, ...]
    discarded: int = 0
    refused: int = 0
    in_flight: int = 0
