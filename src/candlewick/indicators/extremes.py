"""Rolling extremes: RollingMax, RollingMin, Donchian. Amortised O(1) with a monotonic queue."""

from __future__ import annotations

from collections import deque
from math import nan
from typing import NamedTuple

from candlewick.indicators.averages import check_period
from candlewick.models import Candle

__all__ = ["Channel", "Donchian", "RollingMax", "RollingMin"]


class RollingMax:
    """The largest of the last ``period`` values.

    The queue holds (position, value) with falling values: an entry that a later and larger one
    has overtaken can never be the maximum again, so each value enters and leaves once.
    """

    __slots__ = ("_count", "_queue", "period", "value")

    def __init__(self, period: int) -> None:
        self.period = check_period("RollingMax", period)
        self.value = nan
        self._queue: deque[tuple[int, float]] = deque(maxlen=period)
        self._count = 0

    @property
    def ready(self) -> bool:
        """True once ``period`` values have come."""
        return self._count >= self.period

    def update(self, value: float) -> float:
        """Take the next value; return the maximum, nan until ready."""
        queue, count = self._queue, self._count
        if queue and queue[0][0] <= count - self.period:
            queue.popleft()
        while queue and queue[-1][1] <= value:
            queue.pop()
        queue.append((count, value))
        self._count = count + 1
        if self._count >= self.period:
            self.value = queue[0][1]
        return self.value


class RollingMin:
    """The smallest of the last ``period`` values; the mirror of `RollingMax`."""

    __slots__ = ("_maximum", "period", "value")

    def __init__(self, period: int) -> None:
        self.period = check_period("RollingMin", period)
        self.value = nan
        self._maximum = RollingMax(period)

    @property
    def ready(self) -> bool:
        """True once ``period`` values have come."""
        return self._maximum.ready

    def update(self, value: float) -> float:
        """Take the next value; return the minimum, nan until ready."""
        self.value = -self._maximum.update(-value)
        return self.value


class Channel(NamedTuple):
    """A Donchian channel's lines; nan until ready."""

    upper: float
    middle: float
    lower: float


class Donchian:
    """Donchian channel: the highest high and the lowest low of the last ``period`` candles."""

    __slots__ = ("_highs", "_lows", "period", "value")

    def __init__(self, period: int = 20) -> None:
        self.period = check_period("Donchian", period)
        self._highs = RollingMax(period)
        self._lows = RollingMin(period)
        self.value = Channel(nan, nan, nan)

    @property
    def ready(self) -> bool:
        """True once ``period`` candles have come."""
        return self._highs.ready

    def update(self, candle: Candle) -> Channel:
        """Take the next candle; return the channel that includes it."""
        upper = self._highs.update(candle.high)
        lower = self._lows.update(candle.low)
        self.value = Channel(upper, (upper + lower) / 2.0, lower)
        return self.value
