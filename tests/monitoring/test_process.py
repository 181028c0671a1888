"""What is said of the process, against what `ps` and numpy say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from candlewick.monitoring import process
from candlewick.monitoring.process import MemoryGrowth, growth_per_hour, read_process

linux = pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc here")


_CHILD = """
import os, subprocess, threading
from candlewick.monitoring.process import read_process
release = threading.Event()
for _ in range(3):
    threading.Thread(target=release.wait).start()
fewer = read_process()
with open(os.devnull), open(os.devnull):
    more = read_process()
ps = subprocess.check_output(["ps", "-o", "rss=,nlwp=", "-p", str(os.getpid())], text=True)
release.set()
print(more.resident, more.anonymous, more.threads, more.descriptors - fewer.descriptors, ps)
"""


@linux
def test_figures_agree_with_ps() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD], capture_output=True, text=True, check=True
    )
    resident, anonymous, threads, opened, ps_resident, ps_threads = map(int, done.stdout.split())
    assert resident / 1024 == pytest.approx(ps_resident, rel=0.1)
    assert 0 < anonymous < resident
    assert threads == ps_threads >= 4
    assert opened == 2


def test_without_proc_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_STATUS", Path("/nowhere/status"))
    assert read_process() == process.ProcessFigures()
    growth = MemoryGrowth()
    for minute in range(10):
        growth.add(minute * 60_000_000_000, 0)
    assert growth.per_hour is None


def test_growth_is_the_slope_that_numpy_finds() -> None:
    random = np.random.default_rng(1)
    minutes = np.arange(61)
    sizes = (100e6 + 5_000.0 * minutes + random.normal(0.0, 20_000.0, 61)).astype(np.int64)
    growth = MemoryGrowth()
    for minute, size in zip(minutes.tolist(), sizes.tolist(), strict=True):
        growth.add(minute * 60_000_000_000, size)
    slope = np.polyfit(minutes / 60.0, sizes, 1)[0]
    assert growth.per_hour == pytest.approx(slope)
    for minute in range(61, 122):  # an hour later the old growth is forgotten
        growth.add(minute * 60_000_000_000, 7)
    assert growth.per_hour == 0.0


def test_growth_is_not_told_of_the_first_minutes() -> None:
    growth = MemoryGrowth()
    for minute in range(5):
        growth.add(minute * 60_000_000_000, 1_000 * minute)
        assert growth.per_hour is None
    growth.add(300_000_000_000, 5_000)
    assert growth.per_hour == pytest.approx(60_000.0)
    assert growth_per_hour([(5, 1), (5, 2)]) == 0.0


def test_a_sample_is_taken_once_a_minute() -> None:
    growth = MemoryGrowth()
    growth.sample()
    growth.sample()
    assert len(growth._samples) == 1
