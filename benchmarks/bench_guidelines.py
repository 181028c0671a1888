"""The figures of docs/guidelines.md, topic by topic."""

from __future__ import annotations

from benchmarks.guidelines import loop, memory, profiling, records, values
from benchmarks.rows import Row


def run() -> list[Row]:
    return [row for topic in (loop, values, records, memory, profiling) for row in topic.rows()]
