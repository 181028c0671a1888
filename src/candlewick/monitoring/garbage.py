"""The garbage collector: how long it stops the process, and how it is kept from doing so."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any

from candlewick.monitoring.histogram import LatencyHistogram

__all__ = ["THRESHOLDS", "GarbageWatch", "tuned_collector"]

# What the live engine makes in a steady state is freed by reference counts; the collector looks
# for cycles, seldom, and at no more than 15,000 young objects at once: even if all of them are
# alive, that takes half a millisecond. docs/guidelines.md has the measurement.
THRESHOLDS = (5_000, 2, 50)
_GENERATIONS = 3


class GarbageWatch:
    """Times every collection, by generation, while it is started."""

    def __init__(self) -> None:
        self.pauses = [LatencyHistogram() for _ in range(_GENERATIONS)]
        self.collected = 0
        self.uncollectable = 0
        self.worst_ns = 0
        self._started = 0

    def start(self) -> None:
        """Begin to watch."""
        gc.callbacks.append(self._on_collection)

    def stop(self) -> None:
        """Watch no more. Idempotent."""
        if self._on_collection in gc.callbacks:
            gc.callbacks.remove(self._on_collection)

    def _on_collection(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._started = perf_counter_ns()
            return
        if not self._started:
            return  # watching began in the middle of a collection
        pause = perf_counter_ns() - self._started
        self.pauses[info["generation"]].observe(pause)
        self.collected += info["collected"]
        self.uncollectable += info["uncollectable"]
        if pause > self.worst_ns:
            self.worst_ns = pause


@contextmanager
def tuned_collector(thresholds: tuple[int, int, int] = THRESHOLDS) -> Iterator[None]:
    """Collect once, freeze what is left, and collect seldom, until the context ends.

    To be entered when everything long-lived has been made: later collections pass over it. It
    concerns the whole process.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*thresholds)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
