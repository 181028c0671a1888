"""`summarize`: figures of a whole journal."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from candlewick.audit.events import EventType
from candlewick.audit.files import journal_directory, segment_files
from candlewick.audit.naming import day_of
from candlewick.audit.reading import lines_of, type_of

__all__ = ["JournalSummary", "summarize"]


class JournalSummary(msgspec.Struct, frozen=True):
    """Figures of a whole journal; times are UTC ns, ``bytes`` those of the records."""

    files: int
    compressed_files: int
    bytes: int
    records: int
    first_time_ns: int
    last_time_ns: int
    runs: int
    torn_tails: int
    by_type: dict[str, int]
    by_day: dict[str, int]


def summarize(directory: str | Path) -> JournalSummary:
    """Count what is in a journal; raises DataError when there is none."""
    path = journal_directory(directory)
    files = compressed = size = first_ns = last_ns = 0
    types: Counter[str] = Counter()
    days: Counter[str] = Counter()
    for file in segment_files(path):
        lines = lines_of(file.content)
        if not lines:
            continue
        files += 1
        compressed += file.path.suffix == ".zst"
        size += sum(map(len, lines)) + len(lines)
        types.update(map(type_of, lines))
        first, last = _time_of(lines[0]), _time_of(lines[-1])
        first_ns = first_ns or first
        last_ns = last
        if day_of(first) == day_of(last):
            days[day_of(first)] += len(lines)
        else:
            days.update(day_of(_time_of(line)) for line in lines)
    return JournalSummary(
        files, compressed, size, types.total(), first_ns, last_ns,
        types[EventType.JOURNAL_OPENED], types[EventType.JOURNAL_TORN_TAIL],
        dict(types.most_common()), dict(sorted(days.items())),
    )  # fmt: skip


def _time_of(line: bytes) -> int:
    digits = line.split(b":", 3)[2].partition(b",")[0]
    return int(digits) if digits.isdigit() else 0
