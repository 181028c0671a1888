"""Momentum and volatility: RSI, ATR, MACD, Bollinger bands; conventions as in TA-Lib."""

from __future__ import annotations

from collections.abc import Generator
from math import fsum, nan, sqrt
from typing import NamedTuple

from candlewick.errors import ConfigError
from candlewick.indicators.base import RESUM, Indicator, check_period
from candlewick.models import Candle

__all__ = ["ATR", "MACD", "RSI", "Bands", "Bollinger", "MacdLines"]

_lines = tuple.__new__  # half the price of calling the named tuple's class


class RSI(Indicator[float, float]):
    """Relative strength index, from 0 to 100, with Wilder's smoothing.

    J. Welles Wilder, *New Concepts in Technical Trading Systems* (1978): gains and losses are
    averaged over the first ``period`` changes, then smoothed with 1/period. It is ready after
    ``period + 1`` values. With no change at all it is 0, as in TA-Lib.
    """

    __slots__ = ("period",)

    def __init__(self, period: int = 14) -> None:
        self.period = check_period("RSI", period, 2)
        self.value = nan
        super().__init__()

    def _steps(self) -> Generator[float, float, None]:
        period = self.period
        gain = loss = 0.0
        last = yield nan
        for _ in range(period):
            value = yield nan
            if value > last:
                gain += value - last
            else:
                loss += last - value
            last = value
        gain /= period
        loss /= period
        keep, new = (period - 1) / period, 1.0 / period
        while True:
            total = gain + loss
            self.value = index = 100.0 * gain / total if total else 0.0
            value = yield index
            gain *= keep
            loss *= keep
            if value > last:
                gain += (value - last) * new
            else:
                loss += (last - value) * new
            last = value


class ATR(Indicator[Candle, float]):
    """Average true range, in price units, with Wilder's smoothing. ``update`` takes a candle.

    True range: max(high - low, |high - previous close|, |low - previous close|). The average of
    the first ``period`` ranges (from the second candle on) is the seed, as in TA-Lib.
    """

    __slots__ = ("period",)

    def __init__(self, period: int = 14) -> None:
        self.period = check_period("ATR", period)
        self.value = nan
        super().__init__()

    def _steps(self) -> Generator[float, Candle, None]:
        period = self.period
        candle = yield nan
        close, total = candle.close, 0.0
        for _ in range(period):
            candle = yield nan
            total += max(candle.high, close) - min(candle.low, close)
            close = candle.close
        average = total / period
        while True:
            self.value = average
            candle = yield average
            high, low = candle.high, candle.low
            true_range = (high if high > close else close) - (low if low < close else close)
            average += (true_range - average) / period
            close = candle.close


class MacdLines(NamedTuple):
    """The MACD line, its signal line and their difference; nan until ready."""

    macd: float
    signal: float
    histogram: float


class MACD(Indicator[float, MacdLines]):
    """Moving average convergence/divergence: EMA(fast) - EMA(slow) and the EMA of that.

    The fast average starts so that both are seeded by the same candle, as in TA-Lib; all three
    lines are ready after ``slow + signal - 1`` values.
    """

    __slots__ = ("_periods",)

    def __init__(self, fast: int = 12, slow: int = 26, signal: int = 9) -> None:
        self._periods = tuple(
            check_period(f"MACD's {name}", period)
            for name, period in (("fast", fast), ("slow", slow), ("signal", signal))
        )
        if fast >= slow:
            raise ConfigError(f"MACD needs fast < slow, not {fast!r} and {slow!r}")
        self.value = MacdLines(nan, nan, nan)
        super().__init__()

    @property
    def ready(self) -> bool:
        """True once all three lines have a value."""
        return self.value[1] == self.value[1]

    def _steps(self) -> Generator[MacdLines, float, None]:
        fast_period, slow_period, signal_period = self._periods
        missing = self.value
        seed: list[float] = []
        while len(seed) < slow_period:
            seed.append((yield missing))
        slow, fast = fsum(seed) / slow_period, fsum(seed[-fast_period:]) / fast_period
        slow_alpha, fast_alpha = 2.0 / (slow_period + 1), 2.0 / (fast_period + 1)
        signal_alpha = 2.0 / (signal_period + 1)
        total = macd = fast - slow
        for _ in range(signal_period - 1):
            value = yield missing
            slow += slow_alpha * (value - slow)
            fast += fast_alpha * (value - fast)
            macd = fast - slow
            total += macd
        signal = total / signal_period
        while True:
            self.value = lines = _lines(MacdLines, (macd, signal, macd - signal))
            value = yield lines
            slow += slow_alpha * (value - slow)
            fast += fast_alpha * (value - fast)
            macd = fast - slow
            signal += signal_alpha * (macd - signal)


class Bands(NamedTuple):
    """Bollinger's three lines; nan until ready."""

    upper: float
    middle: float
    lower: float


class Bollinger(Indicator[float, Bands]):
    """Bollinger bands: mean of ``period`` values, plus and minus ``width`` standard deviations.

    The deviation is that of the population (divided by n). The sum of squared differences to the
    mean is carried on by what leaves and what enters the window (Welford, *Technometrics* 4, 1962).
    It is computed afresh every 4,096 updates or so, and as soon as it has fallen to a thousandth of
    what it was, for then the digits that are left are few.
    """

    __slots__ = ("period", "width")

    def __init__(self, period: int = 20, width: float = 2.0) -> None:
        self.period = check_period("Bollinger", period, 2)
        if not 0.0 < width < 1e9:
            raise ConfigError(f"Bollinger needs a positive width, not {width!r}")
        self.width = width
        self.value = Bands(nan, nan, nan)
        super().__init__()

    @property
    def ready(self) -> bool:
        """True once ``period`` values have come."""
        return self.value[0] == self.value[0]

    def _steps(self) -> Generator[Bands, float, None]:
        period, width, missing = self.period, self.width, self.value
        window: list[float] = []
        while len(window) < period:
            window.append((yield missing))
        laps = max(1, RESUM // period)
        while True:
            mean, squares = _moments(window)
            least = 0.001 * squares
            for _ in range(laps):
                for place in range(period):
                    deviation = width * sqrt(squares / period)
                    self.value = bands = _lines(Bands, (mean + deviation, mean, mean - deviation))
                    value = yield bands
                    old = window[place]
                    window[place] = value
                    change, before = value - old, mean
                    mean += change / period
                    squares += change * (value - mean + old - before)
                    if squares < least:
                        mean, squares = _moments(window)
                        least = 0.001 * squares
                    elif 0.001 * squares > least:
                        least = 0.001 * squares


def _moments(window: list[float]) -> tuple[float, float]:
    """The mean, and the sum of squared differences to it."""
    mean = fsum(window) / len(window)
    return mean, fsum((item - mean) ** 2 for item in window)
