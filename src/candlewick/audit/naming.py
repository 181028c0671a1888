"""Names of the journal's files: ``2026-11-23.0001.jsonl``, the UTC day and a number within it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["DAY_NS", "day_of", "next_name", "segments_of"]

DAY_NS = 86_400_000_000_000
_NAME = re.compile(r"^(\d{4}-\d{2}-\d{2})\.(\d{4,})\.jsonl(\.zst)?$")


def day_of(time_ns: int) -> str:
    """Return the UTC day of a time as ``YYYY-MM-DD``."""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d")


def segments_of(directory: Path) -> list[Path]:
    """Return the journal's files, oldest first; a compressed one stands for its original."""
    found: dict[tuple[str, int], Path] = {}
    for path in directory.iterdir():
        match = _NAME.match(path.name)
        if match:
            key = (match[1], int(match[2]))
            if key not in found or path.suffix == ".jsonl":
                found[key] = path
    return [found[key] for key in sorted(found)]


def next_name(directory: Path, day: str) -> Path:
    """Return the path of the next segment of a day."""
    numbers = [
        int(match[2])
        for path in directory.iterdir()
        if (match := _NAME.match(path.name)) and match[1] == day
    ]
    return directory / f"{day}.{max(numbers, default=0) + 1:04d}.jsonl"
