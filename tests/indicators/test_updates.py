"""What holds for all indicators: nan until ready, bounded work, no drift, plain errors."""

from __future__ import annotations

import copy
import math
import pickle
import sys
from collections.abc import Callable, Iterator
from statistics import fmean, pstdev
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlewick.errors import ConfigError
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
    averages,
    momentum,
)
from candlewick.models import Candle

# indicator of a period, values it needs before it is ready, whether it takes candles
BY_PERIOD: dict[str, tuple[Callable[[int], Any], Callable[[int], int], bool]] = {
    "SMA": (SMA, lambda n: n, False),
    "EMA": (EMA, lambda n: n, False),
    "WMA": (WMA, lambda n: n, False),
    "RSI": (RSI, lambda n: n + 1, False),
    "ATR": (ATR, lambda n: n + 1, True),
    "MACD": (lambda n: MACD(n, n + 3, 4), lambda n: n + 6, False),
    "Bollinger": (Bollinger, lambda n: n, False),
    "RollingMax": (RollingMax, lambda n: n, False),
    "RollingMin": (RollingMin, lambda n: n, False),
    "Donchian": (Donchian, lambda n: n, True),
}
by_period = pytest.mark.parametrize("name", BY_PERIOD)


def bar(price: float, number: int = 0, volume: float = 1.0) -> Candle:
    time = number * 60_000
    return Candle(
        "X", "1m", time, price, price * 1.01, price * 0.99, price, volume, time + 59_999, True
    )


def prices(seed: int, length: int) -> list[float]:
    steps = np.random.default_rng(seed).standard_normal(length)
    return np.round(40_000.0 * np.exp(np.cumsum(0.001 * steps)), 1).tolist()


def numbers_of(value: Any) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


# -- ready -------------------------------------------------------------------------------------


@by_period
@pytest.mark.parametrize("period", [2, 3, 20])
def test_nan_until_there_are_enough_values_and_never_after(name: str, period: int) -> None:
    make, needed, takes_candles = BY_PERIOD[name]
    indicator = make(period)
    assert not indicator.ready
    assert all(math.isnan(number) for number in numbers_of(indicator.value))
    for count, price in enumerate(prices(1, 200), 1):
        found = indicator.update(bar(price) if takes_candles else price)
        missing = [math.isnan(number) for number in numbers_of(found)]
        assert missing == [count < needed(period)] * len(missing)
        assert indicator.ready is (count >= needed(period))


@by_period
def test_what_is_missing_compares_as_false(name: str) -> None:
    make, _, _ = BY_PERIOD[name]
    first, second = (numbers_of(make(5).value)[0] for _ in range(2))
    assert not first > second
    assert not first < second


def test_vwap_is_ready_once_volume_has_traded_and_starts_afresh_at_midnight_utc() -> None:
    vwap = VWAP()
    assert math.isnan(vwap.update(bar(100.0, 0, volume=0.0)))
    assert not vwap.ready
    assert vwap.update(bar(100.0, 1, volume=3.0)) == pytest.approx(100.0)
    assert vwap.update(bar(200.0, 1_439, volume=1.0)) == pytest.approx(125.0)
    assert math.isnan(vwap.update(bar(300.0, 1_440, volume=0.0)))
    assert not vwap.ready
    assert vwap.update(bar(300.0, 1_441, volume=2.0)) == pytest.approx(300.0)
    assert vwap.ready


def test_indicators_with_the_same_period_do_not_share_anything() -> None:
    one, other = SMA(2), SMA(2)
    one.update(1.0)
    other.update(10.0)
    assert (one.update(3.0), other.update(20.0)) == (2.0, 15.0)


# -- errors ------------------------------------------------------------------------------------


@by_period
@pytest.mark.parametrize("period", [0, -3, 2.0, "10", None, True])
def test_a_period_that_is_no_whole_positive_number_is_refused(name: str, period: Any) -> None:
    make = {"MACD": lambda n: MACD(n, 30, 9)}.get(name, BY_PERIOD[name][0])
    with pytest.raises(ConfigError) as caught:
        make(period)
    assert name in str(caught.value)
    assert repr(period) in str(caught.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MACD(26, 12), "MACD needs fast < slow, not 26 and 12"),
        (lambda: MACD(12, 12), "MACD needs fast < slow, not 12 and 12"),
        (lambda: MACD(12, 26, 0), "MACD's signal needs a whole period of at least 1, not 0"),
        (lambda: Bollinger(1), "Bollinger needs a whole period of at least 2, not 1"),
        (lambda: Bollinger(20, 0.0), "Bollinger needs a positive width, not 0.0"),
        (lambda: Bollinger(20, math.nan), "Bollinger needs a positive width, not nan"),
        (lambda: RSI(1), "RSI needs a whole period of at least 2, not 1"),
        (lambda: EMA(10, alpha=1.5), "EMA needs an alpha above 0 and up to 1, not 1.5"),
    ],
)
def test_what_cannot_be_is_refused_with_its_value(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()


@by_period
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_copy_that_would_share_its_steps_is_refused(
    name: str, duplicate: Callable[[Any], Any]
) -> None:
    with pytest.raises(TypeError, match="cannot be copied or pickled; feed the prices to a new"):
        duplicate(BY_PERIOD[name][0](5))


# -- no drift ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def million() -> list[float]:
    """A million prices around 40,000 with a price of ten millions now and then."""
    found = np.array(prices(7, 1_000_000))
    found = np.round(40_000.0 + (found - found.mean()) / found.std() * 500.0, 1)
    found[::50_021] = 1e7
    return found.tolist()


def after_a_million(indicator: Any, million: list[float]) -> Any:
    update = indicator.update
    for price in million:
        update(price)
    return indicator.value


@pytest.mark.parametrize("period", [10, 30, 1_000])
def test_an_average_of_a_million_updates_is_that_of_its_window(
    million: list[float], period: int
) -> None:
    window = million[-period:]
    assert after_a_million(SMA(period), million) == pytest.approx(fmean(window), rel=1e-13)
    weighted = math.fsum(weight * price for weight, price in enumerate(window, 1))
    expected = weighted / (period * (period + 1) / 2)
    assert after_a_million(WMA(period), million) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("period", [20, 1_000])
def test_bands_of_a_million_updates_are_those_of_their_window(
    million: list[float], period: int
) -> None:
    upper, middle, lower = after_a_million(Bollinger(period), million)
    window = million[-period:]
    assert middle == pytest.approx(fmean(window), rel=1e-13)
    assert (upper - lower) / 4.0 == pytest.approx(pstdev(window), rel=1e-7)


@pytest.mark.parametrize("make", [lambda: EMA(20), lambda: RSI(14), lambda: MACD()])
def test_a_recursive_indicator_forgets_its_beginning(
    million: list[float], make: Callable[[], Any]
) -> None:
    """An old one agrees with a new one that has seen only the last part."""
    assert 1e7 not in million[-2_000:]
    fresh = make()
    for price in million[-2_000:]:
        fresh.update(price)
    found = numbers_of(after_a_million(make(), million))
    assert found == pytest.approx(numbers_of(fresh.value), rel=1e-9)


def test_extremes_of_a_million_updates_are_exact(million: list[float]) -> None:
    assert after_a_million(RollingMax(500), million) == max(million[-500:])
    assert after_a_million(RollingMin(500), million) == min(million[-500:])


# -- bounded work ------------------------------------------------------------------------------


class Work:
    """Counts lines of Python run and numbers summed; deterministic, unlike a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done = 0
        for module in (averages, momentum):
            monkeypatch.setattr(module, "fsum", self._fsum)

    def _fsum(self, items: Any) -> float:
        items = list(items)
        self.done += len(items)
        return math.fsum(items)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if "indicators" not in frame.f_code.co_filename:
            return None
        self.done += event == "line"
        return self._trace

    def of(self, indicator: Any, items: list[Any]) -> float:
        """Work an item."""
        before = self.done
        earlier = sys.gettrace()
        sys.settrace(self._trace)
        try:
            for item in items:
                indicator.update(item)
        finally:
            sys.settrace(earlier)
        return (self.done - before) / len(items)


@by_period
@pytest.mark.parametrize("series", ["random", "rising", "falling"])
def test_an_update_costs_the_same_whatever_the_period(
    name: str, series: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, _, takes_candles = BY_PERIOD[name]
    items: list[Any] = prices(3, 8_200)
    if series != "random":
        items.sort(reverse=series == "falling")
    if takes_candles:
        items = [bar(price) for price in items]
    work = Work(monkeypatch)
    short = work.of(make(5), items)
    assert 1.0 < short < 40.0
    assert work.of(make(2_000), items) <= 1.5 * short


# -- against the definition --------------------------------------------------------------------

windows = st.tuples(
    st.integers(1, 12), st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=80)
)  # fmt: skip


def each_window(period: int, values: list[float]) -> Iterator[list[float]]:
    for end in range(1, len(values) + 1):
        yield values[max(0, end - period) : end]


@given(windows)
def test_any_series_has_the_averages_and_extremes_of_its_windows(
    case: tuple[int, list[float]],
) -> None:
    period, values = case
    average, largest, smallest = SMA(period), RollingMax(period), RollingMin(period)
    for window in each_window(period, values):
        found = (
            average.update(window[-1]), largest.update(window[-1]), smallest.update(window[-1])
        )  # fmt: skip
        if len(window) < period:
            assert all(map(math.isnan, found))
        else:
            assert found[0] == pytest.approx(fmean(window), rel=1e-9, abs=1e-7)
            assert found[1:] == (max(window), min(window))


@given(windows)
def test_any_series_has_the_bands_of_its_windows(case: tuple[int, list[float]]) -> None:
    period, values = max(case[0], 2), case[1]
    bands = Bollinger(period, 1.0)
    for window in each_window(period, values):
        upper, middle, lower = bands.update(window[-1])
        if len(window) == period:
            assert lower <= middle <= upper
            assert (upper - lower) / 2.0 == pytest.approx(pstdev(window), rel=1e-5, abs=1e-7)
