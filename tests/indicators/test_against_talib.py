"""Every indicator beside TA-Lib or numpy, on real and on random candles."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import talib

from candlewick.indicators import (
    ATR,
    EMA,
    MACD,
    RSI,
    SMA,
    VWAP,
    WMA,
    Bollinger,
    Donchian,
    RollingMax,
    RollingMin,
)
from candlewick.models import CandleTable

Floats = npt.NDArray[np.float64]
DAY = 86_400_000


def fed(indicator: Any, items: Any) -> Floats:
    """What `update` returned for each item; one column a line."""
    found = np.array([indicator.update(item) for item in items], dtype=np.float64)
    assert np.array_equal(found[-1], np.array(indicator.value))
    return found


def assert_same(ours: Floats, theirs: Floats, rtol: float = 1e-10, atol: float = 0.0) -> None:
    """The same numbers, and missing in the same places."""
    assert ours.shape == theirs.shape
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    assert not np.isnan(ours[-1]).any()
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


PERIODS = [2, 3, 14, 200]


@pytest.mark.parametrize("period", [1, *PERIODS, 5_000])
def test_sma(table: CandleTable, period: int) -> None:
    oracle = talib.SMA(table.close, period) if period > 1 else table.close
    assert_same(fed(SMA(period), table.close.tolist()), oracle)


@pytest.mark.parametrize("period", PERIODS)
def test_ema(table: CandleTable, period: int) -> None:
    assert_same(fed(EMA(period), table.close.tolist()), talib.EMA(table.close, period))


@pytest.mark.parametrize("period", [*PERIODS, 5_000])
def test_wma(table: CandleTable, period: int) -> None:
    """TA-Lib's running sums drift with a price that moves far; numpy's sums do not run."""
    ours = fed(WMA(period), table.close.tolist())
    assert_same(ours, talib.WMA(table.close, period), rtol=1e-8)
    weights = np.arange(1, period + 1) / (period * (period + 1) / 2)
    exact = np.lib.stride_tricks.sliding_window_view(table.close, period) @ weights
    np.testing.assert_allclose(ours[period - 1 :], exact, rtol=1e-11)


@pytest.mark.parametrize("period", PERIODS)
def test_rsi(table: CandleTable, period: int) -> None:
    ours, theirs = fed(RSI(period), table.close.tolist()), talib.RSI(table.close, period)
    assert_same(ours, theirs, rtol=0.0, atol=1e-8)
    assert np.nanmin(ours) >= 0.0
    assert np.nanmax(ours) <= 100.0


@pytest.mark.parametrize("period", PERIODS)
def test_atr(table: CandleTable, period: int) -> None:
    theirs = talib.ATR(table.high, table.low, table.close, period)
    assert_same(fed(ATR(period), table), theirs)


@pytest.mark.parametrize("periods", [(12, 26, 9), (2, 3, 2), (5, 35, 5), (50, 200, 20)])
def test_macd(table: CandleTable, periods: tuple[int, int, int]) -> None:
    theirs = np.column_stack(talib.MACD(table.close, *periods))
    scale = float(table.close.mean())
    assert_same(fed(MACD(*periods), table.close.tolist()), theirs, rtol=0.0, atol=1e-12 * scale)


@pytest.mark.parametrize(("period", "width"), [(5, 1.0), (20, 2.0), (20, 2.5), (200, 3.0)])
def test_bollinger(table: CandleTable, period: int, width: float) -> None:
    """TA-Lib loses digits of the deviation to the squares of prices; numpy has no such loss."""
    ours = fed(Bollinger(period, width), table.close.tolist())
    theirs = np.column_stack(talib.BBANDS(table.close, period, width, width))
    assert_same(ours, theirs, rtol=2e-6)
    windows = np.lib.stride_tricks.sliding_window_view(table.close, period)
    mean, deviation = windows.mean(axis=1), windows.std(axis=1)
    assert ours[period - 1 :, 1] == pytest.approx(mean, rel=1e-12)
    for line in (0, 2):
        found = np.abs(ours[period - 1 :, line] - ours[period - 1 :, 1]) / width
        np.testing.assert_array_less(np.abs(found - deviation), 1e-8 * deviation + 1e-11 * mean)


@pytest.mark.parametrize(
    ("make", "oracle"), [(RollingMax, talib.MAX), (RollingMin, talib.MIN)], ids=["max", "min"]
)
@pytest.mark.parametrize("period", [*PERIODS, 5_000])
def test_rolling_extremes(
    table: CandleTable, period: int, make: Callable[[int], Any], oracle: Callable[..., Floats]
) -> None:
    assert_same(fed(make(period), table.close.tolist()), oracle(table.close, period), rtol=0.0)


@pytest.mark.parametrize("period", [1, 2, 20, 55, 5_000])
def test_donchian(table: CandleTable, period: int) -> None:
    ours = fed(Donchian(period), table)
    view = np.lib.stride_tricks.sliding_window_view
    upper = view(table.high, period).max(axis=1)
    lower = view(table.low, period).min(axis=1)
    missing = np.full((period - 1, 3), np.nan)
    assert_same(
        ours, np.vstack([missing, np.column_stack([upper, (upper + lower) / 2.0, lower])]), 0.0
    )


def test_vwap(table: CandleTable) -> None:
    typical = (table.high + table.low + table.close) / 3.0
    theirs = np.full(len(table), np.nan)
    for day in np.unique(table.open_time // DAY):
        rows = table.open_time // DAY == day
        volume = np.cumsum(table.volume[rows])
        with np.errstate(invalid="ignore"):
            theirs[rows] = np.cumsum(typical[rows] * table.volume[rows]) / volume
    assert len(np.unique(table.open_time // DAY)) > 5
    assert_same(fed(VWAP(), table), theirs)


def test_the_bands_of_a_price_that_stands_still_have_no_width() -> None:
    bands = Bollinger(5)
    for _ in range(20_000):
        bands.update(40_000.1)
    assert bands.value == (40_000.1, 40_000.1, 40_000.1)


def test_an_index_without_any_change_is_0_as_in_talib() -> None:
    flat = np.full(50, 40_000.1)
    assert math.isnan(talib.RSI(flat, 14)[13])
    assert fed(RSI(14), flat.tolist())[-1] == talib.RSI(flat, 14)[-1] == 0.0
