"""Moving averages: SMA, EMA, WMA, VWAP. One `update` a candle, no scan of the past."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
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

    The running sum takes one addition and one subtraction an update; at least every 4,096 updates
    it is summed afresh with `math.fsum`, so that rounding does not pile up.

    ``update(value)`` takes the next value and returns the average, nan until ready. It is the
    ``send`` of a generator, whose locals make it twice as fast as a method.
    """

    __slots__ = ("period", "update", "value")

    def __init__(self, period: int) -> None:
        self.period = check_period("SMA", period)
        self.value = nan
        steps = self._steps()
        next(steps)
        self.update: Callable[[float], float] = steps.send

    @property
    def ready(self) -> bool:
        """True once ``period`` values have come."""
        return self.value == self.value

    def _steps(self) -> Generator[float, float, None]:
        period = self.period
        window: list[float] = []
        while len(window) < period - 1:
            window.append((yield nan))
        window.append((yield nan))
        laps = max(1, _RESUM // period)
        while True:
            total = fsum(window)
            for _ in range(laps):
                for place in range(period):
                    self.value = average = total / period
                    value = yield average
                    total += value - window[place]
                    window[place] = value


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
