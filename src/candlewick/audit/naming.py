"""Names of the journal's files: ``2026-11-23.0001.jsonl``, the UTC day and a number within it.

The prepared segment is ``next.jsonl``: zeros, until the journal goes on in it. It gets its real
name a moment later, from the thread that may wait for the disk; from its first record to then it
is the journal's last file under this name.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

__all__ = [
    "DAY_NS",
    "NEXT",
    "SegmentKey",
    "SegmentNames",
    "day_of",
    "has_records",
    "key_of",
    "next_name",
    "segments_of",
    "sync_directory",
]

DAY_NS = 86_400_000_000_000
NEXT = "next.jsonl"
_NAME = re.compile(r"^(\d{4}-\d{2}-\d{2})\.(\d{4,})\.jsonl(\.zst)?$")

SegmentKey = tuple[str, int]
_LAST: SegmentKey = ("next", 0)  # sorts behind all days


def day_of(time_ns: int) -> str:
    """Return the UTC day of a time as ``YYYY-MM-DD``."""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d")


def key_of(path: Path) -> SegmentKey | None:
    """Return (day, number) of a journal file; None for another file."""
    if path.name == NEXT:
        return _LAST
    match = _NAME.match(path.name)
    return (match[1], int(match[2])) if match else None


def has_records(path: Path) -> bool:
    """True when a file begins with something else than zeros."""
    try:
        with path.open("rb") as file:
            return file.read(1) not in (b"", b"\0")
    except FileNotFoundError:
        return False


def segments_of(directory: Path) -> list[Path]:
    """Return the journal's files, oldest first; a compressed one stands for its original."""
    found: dict[SegmentKey, Path] = {}
    for path in directory.iterdir():
        key = key_of(path)
        if key is None or (key == _LAST and not has_records(path)):
            continue
        if key not in found or path.suffix == ".jsonl":
            found[key] = path
    return [found[key] for key in sorted(found)]


def next_name(directory: Path, day: str) -> Path:
    """Return the path of the next segment of a day."""
    keys = [key for path in directory.iterdir() if (key := key_of(path)) and key[0] == day]
    return directory / f"{day}.{max((number for _, number in keys), default=0) + 1:04d}.jsonl"


class SegmentNames:
    """Hands out the names of segments, in order: a day that has begun ends at its midnight.

    A clock set back to a day before changes nothing until that midnight.
    """

    __slots__ = ("_directory", "_number", "day", "end_ns")

    def __init__(self, directory: Path, now_ns: int, last_day: str) -> None:
        self._directory = directory
        self.day = last_day
        self.end_ns = 0
        self._begin(now_ns)
        self._number = int(next_name(directory, self.day).name.split(".")[1]) - 1

    def _begin(self, now_ns: int) -> None:
        self.day = max(day_of(now_ns), self.day)
        self.end_ns = (now_ns // DAY_NS + 1) * DAY_NS
        while day_of(self.end_ns - 1) < self.day:
            self.end_ns += DAY_NS

    def next(self, now_ns: int) -> Path:
        """Return the name of the segment that begins now."""
        if now_ns >= self.end_ns:
            self._begin(now_ns)
            self._number = 0
        self._number += 1
        return self._directory / f"{self.day}.{self._number:04d}.jsonl"


def sync_directory(directory: Path) -> None:
    """Wait until the disk has the names of the files in a directory."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
