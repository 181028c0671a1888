"""What the kernel says about this process, and how its memory grows."""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path

import msgspec

__all__ = ["MemoryGrowth", "ProcessFigures", "growth_per_hour", "read_process"]

_STATUS = Path("/proc/self/status")
_DESCRIPTORS = "/proc/self/fd"
_MINUTE_NS = 60_000_000_000
_HOUR_NS = 60 * _MINUTE_NS
_KEPT = 61  # one hour, once a minute
_FEWEST = 6


class ProcessFigures(msgspec.Struct, frozen=True):
    """Memory in bytes; 0 for what the platform does not tell.

    ``anonymous`` is the part of the resident memory that no file stands behind: what leaks. The
    rest is code and the mapped journal.
    """

    resident: int = 0
    anonymous: int = 0
    threads: int = 0
    descriptors: int = 0


def read_process() -> ProcessFigures:
    """Read /proc; takes some 50 microseconds, from memory, not from a disk."""
    try:
        text = _STATUS.read_text(encoding="ascii", errors="replace")
        descriptors = len(os.listdir(_DESCRIPTORS)) - 1  # less the one that lists them
    except OSError:
        return ProcessFigures()
    found = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return ProcessFigures(
        _kib(found.get("VmRSS")), _kib(found.get("RssAnon")), int(found.get("Threads", "0")),
        descriptors,
    )  # fmt: skip


def _kib(text: str | None) -> int:
    return int(text.split()[0]) * 1024 if text else 0


def growth_per_hour(samples: list[tuple[int, int]]) -> float:
    """Return the slope of the least-squares line through (monotonic ns, bytes), bytes an hour."""
    count = len(samples)
    mean_time = sum(when for when, _ in samples) / count
    mean_size = sum(size for _, size in samples) / count
    spread = sum((when - mean_time) ** 2 for when, _ in samples)
    if spread == 0.0:
        return 0.0
    shared = sum((when - mean_time) * (size - mean_size) for when, size in samples)
    return shared / spread * _HOUR_NS


class MemoryGrowth:
    """Keeps the anonymous memory of the last hour, once a minute.

    The first minutes of a process always grow; ``per_hour`` is None until five minutes are known.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int]] = deque(maxlen=_KEPT)
        self._next = 0

    def sample(self) -> None:
        """Take a sample when a minute has passed since the last one."""
        now = time.monotonic_ns()
        if now < self._next:
            return
        self._next = now + _MINUTE_NS
        self.add(now, read_process().anonymous)

    def add(self, now_ns: int, size: int) -> None:
        """Take a sample."""
        self._samples.append((now_ns, size))

    @property
    def per_hour(self) -> float | None:
        """Bytes an hour, by the least-squares line through the last hour."""
        if len(self._samples) < _FEWEST or not self._samples[-1][1]:
            return None
        return growth_per_hour(list(self._samples))
