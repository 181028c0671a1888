"""Rolling extremes: RollingMax, RollingMin, Donchian. O(1) an update, averaged over a period.

A window of ``period`` values lies across two blocks of ``period``: the end of the last one and
the beginning of this one. The extreme of the beginning is carried along; those of all ends of a
block are computed when it is full (van Herk, *Pattern Recognition Letters* 13, 1992).
"""

from __future__ import annotations

from collections.abc import Generator
from math import inf, nan
from typing import NamedTuple

from candlewick.indicators.base import Indicator, check_period
from candlewick.models import Candle

__all__ = ["Channel", "Donchian", "RollingMax", "RollingMin"]

_lines = tuple.__new__  # half the price of calling the named tuple's class


class RollingMax(Indicator[float, float]):
    """The largest of the last ``period`` values."""

    __slots__ = ("period",)

    def __init__(self, period: int) -> None:
        self.period = check_period("RollingMax", period)
        self.value = nan
        super().__init__()

    def _steps(self) -> Generator[float, float, None]:
        period = self.period
        block: list[float] = []
        while len(block) < period:
            block.append((yield nan))
        while True:
            ends = _ends_max(block)
            largest = -inf
            for place, end in enumerate(ends):
                self.value = found = largest if largest > end else end
                value = yield found
                block[place] = value
                if value > largest:
                    largest = value


class RollingMin(Indicator[float, float]):
    """The smallest of the last ``period`` values; the mirror of `RollingMax`."""

    __slots__ = ("period",)

    def __init__(self, period: int) -> None:
        self.period = check_period("RollingMin", period)
        self.value = nan
        super().__init__()

    def _steps(self) -> Generator[float, float, None]:
        period = self.period
        block: list[float] = []
        while len(block) < period:
            block.append((yield nan))
        while True:
            ends = _ends_min(block)
            smallest = inf
            for place, end in enumerate(ends):
                self.value = found = smallest if smallest < end else end
                value = yield found
                block[place] = value
                if value < smallest:
                    smallest = value


class Channel(NamedTuple):
    """A Donchian channel's lines; nan until ready."""

    upper: float
    middle: float
    lower: float


class Donchian(Indicator[Candle, Channel]):
    """Donchian channel: the highest high and the lowest low of the last ``period`` candles.

    ``update`` takes a candle and returns the `Channel` that includes it.
    """

    __slots__ = ("period",)

    def __init__(self, period: int = 20) -> None:
        self.period = check_period("Donchian", period)
        self.value = Channel(nan, nan, nan)
        super().__init__()

    @property
    def ready(self) -> bool:
        """True once ``period`` candles have come."""
        return self.value[0] == self.value[0]

    def _steps(self) -> Generator[Channel, Candle, None]:
        period, missing = self.period, self.value
        highs: list[float] = []
        lows: list[float] = []
        while len(highs) < period:
            candle = yield missing
            highs.append(candle.high)
            lows.append(candle.low)
        while True:
            high_ends, low_ends = _ends_max(highs), _ends_min(lows)
            largest, smallest = -inf, inf
            for place in range(period):
                upper, lower = high_ends[place], low_ends[place]
                if largest > upper:
                    upper = largest
                if smallest < lower:
                    lower = smallest
                self.value = found = _lines(Channel, (upper, (upper + lower) / 2.0, lower))
                candle = yield found
                highs[place] = high = candle.high
                lows[place] = low = candle.low
                if high > largest:
                    largest = high
                if low < smallest:
                    smallest = low


def _ends_max(block: list[float]) -> list[float]:
    """The maximum of each end of ``block``: of all of it, of all but the first, and so on."""
    ends = []
    largest = -inf
    for value in reversed(block):
        if value > largest:
            largest = value
        ends.append(largest)
    ends.reverse()
    return ends


def _ends_min(block: list[float]) -> list[float]:
    ends = []
    smallest = inf
    for value in reversed(block):
        if value < smallest:
            smallest = value
        ends.append(smallest)
    ends.reverse()
    return ends
