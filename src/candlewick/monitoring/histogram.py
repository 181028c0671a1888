"""`LatencyHistogram`: counts durations by powers of two, cheap enough for every event."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["LatencyHistogram", "quantile_ns"]

_BUCKETS = 64


class LatencyHistogram:
    """Durations in nanoseconds, counted by their bit length.

    ``counts[10]`` holds those from 512 to 1,023 ns. An observation is one addition to a list and
    one to a sum: no search, no lock, no float. It has one writer.
    """

    __slots__ = ("counts", "sum_ns")

    def __init__(self) -> None:
        self.counts = [0] * _BUCKETS
        self.sum_ns = 0

    def observe(self, duration_ns: int) -> None:
        """Count one duration; not negative."""
        self.counts[duration_ns.bit_length()] += 1
        self.sum_ns += duration_ns

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return sum(self.counts)

    def quantile_ns(self, fraction: float) -> int:
        """An upper bound of the quantile, at most twice its value; 0 when nothing was counted."""
        return quantile_ns(self.counts, fraction)


def quantile_ns(counts: Sequence[int], fraction: float) -> int:
    """Return the upper end of the bucket that holds the quantile, nanoseconds.

    ``counts[n]`` holds durations of bit length ``n``; the nearest-rank definition.
    """
    rank = fraction * sum(counts)
    seen = 0
    for bits, count in enumerate(counts):
        seen += count
        if count and seen >= rank:
            return (1 << bits) - 1
    return 0
