"""Momentum and volatility: RSI, ATR, MACD, Bollinger bands; conventions as in TA-Lib."""

from __future__ import annotations

from collections import deque
from math import fsum, nan, sqrt
from typing import NamedTuple

from candlewick.errors import ConfigError
from candlewick.indicators.averages import EMA, check_period
from candlewick.models import Candle

__all__ = ["ATR", "MACD", "RSI", "Bands", "Bollinger", "MacdLines"]

_RESUM = 4_096


class RSI:
    """Relative strength index, from 0 to 100, with Wilder's smoothing.

    J. Welles Wilder, *New Concepts in Technical Trading Systems* (1978): gains and losses are
    averaged over the first ``period`` changes, then smoothed with 1/period. It is ready after
    ``period + 1`` values. With no change at all it is 0, as in TA-Lib.
    """

    __slots__ = ("_count", "_gain", "_last", "_loss", "period", "value")

    def __init__(self, period: int = 14) -> None:
        self.period = check_period("RSI", period, 2)
        self.value = nan
        self._last = nan
        self._gain = 0.0
        self._loss = 0.0
        self._count = -1

    @property
    def ready(self) -> bool:
        """True once ``period + 1`` values have come."""
        return self._count >= self.period

    def update(self, value: float) -> float:
        """Take the next value; return the index, nan until ready."""
        change = value - self._last
        self._last = value
        self._count += 1
        if self._count == 0:
            return nan
        gain, loss = (change, 0.0) if change > 0.0 else (0.0, -change)
        period = self.period
        if self._count <= period:
            self._gain += gain / period
            self._loss += loss / period
            if self._count < period:
                return nan
        else:
            self._gain = (self._gain * (period - 1) + gain) / period
            self._loss = (self._loss * (period - 1) + loss) / period
        total = self._gain + self._loss
        self.value = 100.0 * self._gain / total if total else 0.0
        return self.value


class ATR:
    """Average true range, in price units, with Wilder's smoothing.

    True range: max(high - low, |high - previous close|, |low - previous close|). The average of
    the first ``period`` ranges (from the second candle on) is the seed, as in TA-Lib.
    """

    __slots__ = ("_close", "_count", "_seed", "period", "value")

    def __init__(self, period: int = 14) -> None:
        self.period = check_period("ATR", period)
        self.value = nan
        self._close = nan
        self._seed = 0.0
        self._count = -1

    @property
    def ready(self) -> bool:
        """True once ``period + 1`` candles have come."""
        return self._count >= self.period

    def update(self, candle: Candle) -> float:
        """Take the next candle; return the average, nan until ready."""
        close, high, low = self._close, candle.high, candle.low
        self._close = candle.close
        self._count += 1
        if self._count == 0:
            return nan
        true_range = max(high, close) - min(low, close)
        if self._count > self.period:
            self.value = (self.value * (self.period - 1) + true_range) / self.period
        else:
            self._seed += true_range
            if self._count == self.period:
                self.value = self._seed / self.period
        return self.value


class MacdLines(NamedTuple):
    """The MACD line, its signal line and their difference; nan until ready."""

    macd: float
    signal: float
    histogram: float


class MACD:
    """Moving average convergence/divergence: EMA(fast) - EMA(slow) and the EMA of that.

    The fast average starts so that both are seeded by the same candle, as in TA-Lib; all three
    lines are ready after ``slow + signal - 1`` values.
    """

    __slots__ = ("_count", "_fast", "_signal", "_slow", "value")

    def __init__(self, fast: int = 12, slow: int = 26, signal: int = 9) -> None:
        if fast >= slow:
            raise ConfigError(f"MACD needs fast < slow, not {fast!r} and {slow!r}")
        self._fast = EMA(fast)
        self._slow = EMA(slow)
        self._signal = EMA(signal)
        self._count = 0
        self.value = MacdLines(nan, nan, nan)

    @property
    def ready(self) -> bool:
        """True once all three lines have a value."""
        return self._signal.ready

    def update(self, value: float) -> MacdLines:
        """Take the next value; return the three lines."""
        self._count += 1
        slow = self._slow.update(value)
        if self._count <= self._slow.period - self._fast.period:
            return self.value
        fast = self._fast.update(value)
        if not self._slow.ready:
            return self.value
        macd = fast - slow
        signal = self._signal.update(macd)
        if self._signal.ready:
            self.value = MacdLines(macd, signal, macd - signal)
        return self.value


class Bands(NamedTuple):
    """Bollinger's three lines; nan until ready."""

    upper: float
    middle: float
    lower: float


class Bollinger:
    """Bollinger bands: mean of ``period`` values, plus and minus ``width`` standard deviations.

    The deviation is that of the population (divided by n). Sums are kept of the differences to
    an anchor near the price, and made afresh every 4,096 updates: the plain sum of squares would
    lose the deviation of a large price in rounding.
    """

    __slots__ = ("_anchor", "_count", "_squares", "_sum", "_updates", "_window", "period",
                 "value", "width")  # fmt: skip

    def __init__(self, period: int = 20, width: float = 2.0) -> None:
        self.period = check_period("Bollinger", period, 2)
        self.width = width
        self.value = Bands(nan, nan, nan)
        self._window: deque[float] = deque(maxlen=period)
        self._anchor = 0.0
        self._sum = 0.0
        self._squares = 0.0
        self._updates = 0
        self._count = 0

    @property
    def ready(self) -> bool:
        """True once ``period`` values have come."""
        return self._count >= self.period

    def update(self, value: float) -> Bands:
        """Take the next value; return the bands."""
        window, period = self._window, self.period
        if self._count == 0:
            self._anchor = value
        if self._count >= period:
            old = window[0] - self._anchor
            self._sum -= old
            self._squares -= old * old
        else:
            self._count += 1
        window.append(value)
        new = value - self._anchor
        self._sum += new
        self._squares += new * new
        self._updates += 1
        if self._updates >= _RESUM:
            self._sum_afresh()
        if self._count < period:
            return self.value
        mean = self._sum / period
        variance = self._squares / period - mean * mean
        if variance < 1e-9 * mean * mean:  # the anchor is far away: too few digits are left
            self._sum_afresh()
            mean = self._sum / period
            variance = self._squares / period - mean * mean
        deviation = self.width * sqrt(max(variance, 0.0))
        middle = self._anchor + mean
        self.value = Bands(middle + deviation, middle, middle - deviation)
        return self.value

    def _sum_afresh(self) -> None:
        window = self._window
        self._anchor = fsum(window) / len(window)
        self._sum = fsum(item - self._anchor for item in window)
        self._squares = fsum((item - self._anchor) ** 2 for item in window)
        self._updates = 0
