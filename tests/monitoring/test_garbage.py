"""The garbage collector, watched and tuned."""

from __future__ import annotations

import gc

import pytest

from candlewick.monitoring import GarbageWatch, tuned_collector
from candlewick.monitoring.garbage import THRESHOLDS


class Knot:
    """An object that only a collection can free."""

    def __init__(self) -> None:
        self.self = self


def test_every_collection_is_timed_by_its_generation() -> None:
    watch = GarbageWatch()
    gc.collect()
    gc.disable()
    try:
        watch.start()
        for _ in range(5):
            Knot()
        gc.collect(0)
        gc.collect(2)
        gc.collect(2)
        watch.stop()
        watch.stop()
        gc.collect(1)
    finally:
        gc.enable()
    assert [pauses.count for pauses in watch.pauses] == [1, 0, 2]
    assert watch.collected >= 5
    assert watch.worst_ns >= max(pauses.sum_ns // 2 for pauses in watch.pauses) > 0


def test_a_watch_that_begins_in_the_middle_of_a_collection_counts_from_the_next() -> None:
    watch = GarbageWatch()
    watch._on_collection("stop", {"generation": 0, "collected": 1, "uncollectable": 0})
    assert watch.pauses[0].count == 0


def test_tuning_freezes_what_is_there_and_is_undone() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    long_lived = [Knot() for _ in range(1_000)]
    with tuned_collector():
        assert gc.get_threshold() == THRESHOLDS
        assert gc.get_freeze_count() > frozen + 1_000
        fresh = Knot()
        assert any(item is fresh for item in gc.get_objects())
        assert not any(item is long_lived[0] for item in gc.get_objects())  # passed over
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_tuning_is_undone_when_the_run_fails() -> None:
    before = gc.get_threshold()
    with pytest.raises(RuntimeError), tuned_collector():
        raise RuntimeError("a run that failed")
    assert gc.get_threshold() == before
