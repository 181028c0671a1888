"""Series to measure indicators on: the real month, and two random ones."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from candlewick.models import CandleTable

Floats = npt.NDArray[np.float64]


def random_table(seed: int, length: int, scale: float, volatility: float) -> CandleTable:
    """A random walk on ticks of a millionth of its scale, with a spike now and then."""
    random = np.random.default_rng(seed)
    steps = volatility * random.standard_normal((length, 4))
    steps[random.random(length) < 0.01, 3] += 20 * volatility
    path = scale * np.exp(np.cumsum(steps.ravel() - steps.mean())).reshape(length, 4)
    path = np.round(path / scale, 6) * scale
    times = 1_640_991_660_000 + 60_000 * np.arange(length)
    volume = np.round(random.gamma(2.0, 5.0, length) * (random.random(length) < 0.9), 3)
    return CandleTable(
        "BTCUSDT", "1m", times, path[:, 0], path.max(axis=1), path.min(axis=1), path[:, 3], volume
    )


def month_of(path: Path) -> CandleTable:
    """The real month, read without our reader."""
    rows: Any = np.loadtxt(path, delimiter=",", skiprows=1)
    return CandleTable("BTCUSDT", "1m", *rows.T)


@pytest.fixture(scope="session", params=["btc_month", "small_prices", "wild_prices"])
def table(request: pytest.FixtureRequest) -> CandleTable:
    """One table after the other."""
    if request.param == "btc_month":
        return month_of(request.getfixturevalue("btc_month"))
    seed = zlib.crc32(request.param.encode())
    if request.param == "small_prices":
        return random_table(seed, 8_000, 3.2e-5, 0.0005)
    return random_table(seed, 8_000, 40_000.0, 0.01)
