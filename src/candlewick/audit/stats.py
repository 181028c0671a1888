"""`JournalStats`: figures of a journal for monitoring; `Latencies`, which collects them."""

from __future__ import annotations

import msgspec

from candlewick.audit.events import JournalState

__all__ = ["JournalStats", "Latencies"]


class JournalStats(msgspec.Struct, frozen=True):
    """Figures of a journal since it was opened.

    ``held`` records wait in memory for room on the disk, ``lost`` found none. Latencies are
    nanoseconds: of the caller's time (one record in 64 is timed) and of a sync;
    ``write_latency[n]`` and ``sync_latency[n]`` count those of bit length ``n``, ``..._ns_total``
    is their sum. ``sync_lag_s`` is how long the oldest record that is not on the disk may have
    waited. ``error`` is what the disk says, empty when all is well.
    """

    records: int
    bytes: int
    segments: int
    held: int
    lost: int
    encoding_failures: int
    write_ns_last: int
    write_ns_max: int
    write_ns_total: int
    write_latency: tuple[int, ...]
    syncs: int
    sync_ns_last: int
    sync_ns_max: int
    sync_ns_total: int
    sync_latency: tuple[int, ...]
    sync_lag_s: float
    state: JournalState
    error: str = ""


class Latencies:
    """Durations in nanoseconds: how many, the last, the longest, their sum, and a histogram."""

    __slots__ = ("by_bit_length", "count", "last", "longest", "total")

    def __init__(self) -> None:
        self.count = self.last = self.longest = self.total = 0
        self.by_bit_length = [0] * 64

    def add(self, taken_ns: int) -> None:
        """Count one."""
        self.count += 1
        self.last = taken_ns
        self.total += taken_ns
        self.by_bit_length[taken_ns.bit_length()] += 1
        if taken_ns > self.longest:
            self.longest = taken_ns
