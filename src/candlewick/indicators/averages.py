"""Moving averages: SMA, EMA, WMA, VWAP. One `update` a candle, no scan of the past."""

from __future__ import annotations

from collections import deque
from math import fsum, nan

from candlewick.errors import ConfigError
from candlewick.models import Candle

__all__ = ["EMA", "SMA", "VWAP", "WMA", "check_period"]

_DAY_MS = 86_400_000
_RESUM = 4_096  # a running sum is made exact again after so many updates


def check_period(name: str, period: int, least: int = 1) -> int:
    """Return ``period``; raises ConfigError when it is below ``least`` or not a whole number."""
    if not isinstance(period, int) or period < least:
        raise ConfigError(f"{name} needs a whole period of at least {least}, not {period!r}")
    return period


class SMA:
    """Simple moving average: the mean of the last ``period`` values.

    The running sum takes one addition and one subtraction an update; every 4,096 updates it is
    summed afresh with `math.fsum`, so that rounding does not pile up.
    """

    __slots__ = ("_left", "_sum", "_window", "period", "value")

    def __init__(self, period: int) -> None:
        self.period = check_period("SMA", period)
        self.value = nan
        self._window: deque[float] = deque([0.0] * period, maxlen=period)
        self._sum = 0.0
        self._left = -period  # below 0: values still missing; then updates since the last sum

    @property
    def ready(self) -> bool:
        """True once ``period`` values have come."""
        return self._left >= 0

    def update(self, value: float) -> float:
        """Take the next value; return the average, nan until ready."""
        window = self._window
        self._sum = total = self._sum + value - window[0]
        window.append(value)
        self._left = left = self._left + 1
        if left >= _RESUM:
            self._sum = total = fsum(window)
            self._left = 0
        elif left < 0:
            return nan
        self.value = average = total / self.period
        return average


class EMA:
    """Exponential moving average, ``alpha = 2 / (period + 1)``, seeded with the first SMA.

    The seed and the formula are those of TA-Lib (https://ta-lib.org).
    """

    __slots__ = ("_alpha", "_count", "_seed", "period", "value")

    def __init__(self, period: int, alpha: float = 0.0) -> None:
        self.period = check_period("EMA", period)
        self.value = nan
        self._alpha = alpha or 2.0 / (period + 1)
        self._seed = 0.0
        self._count = 0

    @property
    def ready(self) -> bool:
        """True once ``period`` values have come."""
        return self._count >= self.period

    def update(self, value: float) -> float:
        """Take the next value; return the average, nan until ready."""
        count = self._count
        if count >= self.period:
            self.value += self._alpha * (value - self.value)
            return self.value
        self._count = count + 1
        self._seed += value
        if self._count == self.period:
            self.value = self._seed / self.period
        return self.value


class WMA:
    """Linearly weighted moving average: the newest value weighs ``period``, the oldest 1."""

    __slots__ = ("_count", "_sum", "_updates", "_weighted", "_window", "period", "value")

    def __init__(self, period: int) -> None:
        self.period = check_period("WMA", period)
        self.value = nan
        self._window: deque[float] = deque([0.0] * period, maxlen=period)
        self._sum = 0.0
        self._weighted = 0.0
        self._count = 0
        self._updates = 0

    @property
    def ready(self) -> bool:
        """True once ``period`` values have come."""
        return self._count >= self.period

    def update(self, value: float) -> float:
        """Take the next value; return the average, nan until ready."""
        window, period = self._window, self.period
        self._weighted += period * value - self._sum
        self._sum += value - window[0]
        window.append(value)
        self._updates += 1
        if self._updates == _RESUM:
            self._updates = 0
            self._sum = fsum(window)
            self._weighted = fsum(weight * item for weight, item in enumerate(window, 1))
        if self._count < period:
            self._count += 1
            if self._count < period:
                return nan
        self.value = self._weighted / (period * (period + 1) / 2)
        return self.value


class VWAP:
    """Volume-weighted average price of the UTC day: sum(typical price * volume) / sum(volume).

    The typical price is (high + low + close) / 3. It starts afresh with the first candle that
    opens on another UTC day, and is nan while no volume has traded.
    """

    __slots__ = ("_day", "_traded", "_volume", "value")

    def __init__(self) -> None:
        self.value = nan
        self._day = -1
        self._traded = 0.0
        self._volume = 0.0

    @property
    def ready(self) -> bool:
        """True once volume has traded on the day."""
        return self._volume > 0.0

    def update(self, candle: Candle) -> float:
        """Take the next candle; return the day's average so far."""
        day = candle.open_time // _DAY_MS
        if day != self._day:
            self._day = day
            self._traded = self._volume = 0.0
        self._traded += (candle.high + candle.low + candle.close) / 3.0 * candle.volume
        self._volume += candle.volume
        self.value = self._traded / self._volume if self._volume else nan
        return self.value
