"""Fair timing: peers take turns in one run, so that a busy machine slows them alike."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec

import msgspec

__all__ = ["Timing", "in_turns", "installed", "median", "percentile", "progress", "python"]


def progress(message: str) -> None:
    """Say what is being measured, on standard error."""
    print(f"  {message}", file=sys.stderr, flush=True)


def installed(*modules: str) -> bool:
    """Whether all these peers can be imported; a row of one that cannot has no peer value."""
    return all(find_spec(name) is not None for name in modules)


def percentile(values: Sequence[float], fraction: float) -> float:
    """Return the smallest value that at least ``fraction`` of the values do not exceed.

    The nearest-rank definition: ``percentile(v, 0.5)`` is one of the values, ``1.0`` the largest.
    """
    ordered = sorted(values)
    return ordered[max(math.ceil(fraction * len(ordered)), 1) - 1]


def median(values: Sequence[float]) -> float:
    """Return the middle value, or the mean of the two in the middle."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


class Timing(msgspec.Struct, frozen=True):
    """The durations of one callable, in seconds, in the order in which they were measured."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle duration, seconds."""
        return median(self.seconds)

    @property
    def best(self) -> float:
        """The shortest duration, seconds: the least disturbed one."""
        return min(self.seconds)

    def rate(self, count: int) -> float:
        """How many of ``count`` items a second, at the median."""
        return count / self.median

    def each_ns(self, count: int) -> float:
        """Nanoseconds for one of ``count`` items, at the median."""
        return self.median / count * 1e9


def in_turns(
    work: Mapping[str, Callable[[], object]], *, repeats: int = 5, warm_up: int = 1
) -> dict[str, Timing]:
    """Time several callables against each other: A B C, A B C, ... so that all see the same noise.

    Args:
        work: callables by name, each doing the whole amount of work once.
        repeats: how many measured rounds.
        warm_up: rounds before them that do not count.

    A full collection runs before each measurement, outside of it; the collector stays on inside.
    """
    taken: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(-warm_up, repeats):
        for name, do in work.items():
            gc.collect()
            start = time.perf_counter()
            do()
            elapsed = time.perf_counter() - start
            if turn >= 0:
                taken[name].append(elapsed)
    return {name: Timing(tuple(seconds)) for name, seconds in taken.items()}


def python(*arguments: str, timeout_s: float = 300.0) -> str:
    """Run this interpreter in a process of its own, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} failed: {done.stderr[-2000:]}")
    return done.stdout
