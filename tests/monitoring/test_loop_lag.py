"""`LoopLag`: what it counts, on both event loops, with and without the kernel's timer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from candlewick.monitoring import LoopLag, loop_lag

RUNNERS = {"asyncio": asyncio.run, "uvloop": uvloop.run}
MS = 1_000_000


def test_a_stall_counts_once_for_every_beat_that_it_hid() -> None:
    """Ten beats of 100 ms missed in a second felt 1.0 s, 0.9 s, ... 0.1 s, and the last one 0."""
    lag = LoopLag(0.1)
    lag._due = 5_000 * MS
    lag._beat(6_000 * MS, 11)
    assert lag.histogram.count == 11
    assert lag.histogram.sum_ns == sum(range(0, 1_001, 100)) * MS
    assert lag.worst_ns == 1_000 * MS
    lag._beat(6_103 * MS, 1)  # due at 6.1 s: the rhythm goes on where it would have been
    assert lag.histogram.sum_ns == (5_500 + 3) * MS


def test_the_recent_worst_is_forgotten_after_two_windows() -> None:
    lag = LoopLag(0.1)
    lag._window_ends = 10_000 * MS
    recent = []
    for due, now in ((0, 400), (10_040, 10_050), (20_040, 20_060)):
        lag._due = due * MS
        lag._beat(now * MS, 1)
        recent.append(lag.recent_ns // MS)
    assert recent == [400, 400, 20]
    assert lag.worst_ns == 400 * MS


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("kernel", [True, False])
def test_a_blocking_call_is_seen_as_long_as_it_was(
    runner: str, kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernel:
        monkeypatch.setattr(loop_lag, "_timerfd", lambda first, interval: -1)
    beats: list[int] = []

    async def main() -> LoopLag:
        loop = asyncio.get_running_loop()
        third = asyncio.Event()
        lag = LoopLag(0.02, lambda: (beats.append(1), third.set() if len(beats) > 2 else None))
        lag.start()
        await third.wait()  # it beats
        third.clear()
        seen = len(beats)
        time.sleep(0.3)  # noqa: ASYNC251 - the culprit
        while len(beats) == seen:
            await third.wait()
            third.clear()
        lag.stop()
        lag.stop()
        count = lag.histogram.count
        await asyncio.wait_for(loop.run_in_executor(None, time.sleep, 0.1), 5.0)
        assert lag.histogram.count == count  # nothing beats after the end
        return lag

    run: Callable[[Coroutine[Any, Any, LoopLag]], LoopLag] = RUNNERS[runner]
    lag = run(main())
    assert lag.worst_ns >= 270 * MS
    assert lag.recent_ns == lag.worst_ns
    late = lag.histogram.counts[(128 * MS).bit_length() :]
    assert sum(late) >= 5  # of the beats that were hidden, those that were late by > 128 ms
