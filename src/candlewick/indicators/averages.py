"""Moving averages: SMA, EMA, WMA, VWAP. One `update` a candle, no scan of the past."""

from __future__ import annotations

from collections.abc import Generator
from math import fsum, nan

from candlewick.errors import ConfigError
from candlewick.indicators.base import RESUM, Indicator, check_period
from candlewick.models import Candle

__all__ = ["EMA", "SMA", "VWAP", "WMA"]

_DAY_MS = 86_400_000


class SMA(Indicator[float, float]):
    """Simple moving average: the mean of the last ``period`` values.

    The running sum takes one addition and one subtraction an update; at least every 4,096 updates
    (or ``period``, if that is more) it is summed afresh with `math.fsum`, so that rounding does
    not pile up.
    """

    __slots__ = ("period",)

    def __init__(self, period: int) -> None:
        self.period = check_period("SMA", period)
        self.value = nan
        super().__init__()

    def _steps(self) -> Generator[float, float, None]:
        period = self.period
        window: list[float] = []
        while len(window) < period:
            window.append((yield nan))
        laps = max(1, RESUM // period)
        while True:
            total = fsum(window)
            for _ in range(laps):
                for place in range(period):
                    self.value = average = total / period
                    value = yield average
                    total += value - window[place]
                    window[place] = value


class EMA(Indicator[float, float]):
    """Exponential moving average, seeded with the first SMA.

    The newest value weighs ``alpha``, 2 / (period + 1) where none is given; seed and formula are
    those of TA-Lib (https://ta-lib.org).
    """

    __slots__ = ("_alpha", "period")

    def __init__(self, period: int, alpha: float = 0.0) -> None:
        self.period = check_period("EMA", period)
        if not 0.0 <= alpha <= 1.0:
            raise ConfigError(f"EMA needs an alpha above 0 and up to 1, not {alpha!r}")
        self.value = nan
        self._alpha = alpha or 2.0 / (period + 1)
        super().__init__()

    def _steps(self) -> Generator[float, float, None]:
        period, alpha = self.period, self._alpha
        total = 0.0
        for _ in range(period):
            total += yield nan
        average = total / period
        while True:
            self.value = average
            value = yield average
            average += alpha * (value - average)


class WMA(Indicator[float, float]):
    """Linearly weighted moving average: the newest value weighs ``period``, the oldest 1.

    An error of the running sum goes into the weighted one with every update, so both are summed
    afresh sixteen times as often as those of `SMA`.
    """

    __slots__ = ("period",)

    def __init__(self, period: int) -> None:
        self.period = check_period("WMA", period)
        self.value = nan
        super().__init__()

    def _steps(self) -> Generator[float, float, None]:
        period = self.period
        weights = period * (period + 1) / 2
        window: list[float] = []
        while len(window) < period:
            window.append((yield nan))
        laps = max(1, RESUM // 16 // period)
        while True:
            total = fsum(window)
            weighted = fsum(weight * item for weight, item in enumerate(window, 1))
            for _ in range(laps):
                for place in range(period):
                    self.value = average = weighted / weights
                    value = yield average
                    weighted += period * value - total
                    total += value - window[place]
                    window[place] = value


class VWAP(Indicator[Candle, float]):
    """Volume-weighted average price of the UTC day: sum(typical price * volume) / sum(volume).

    ``update`` takes a candle. The typical price is (high + low + close) / 3. The sums start afresh
    with the first candle that opens on another UTC day; it is nan while no volume has traded.
    """

    __slots__ = ()

    def __init__(self) -> None:
        self.value = nan
        super().__init__()

    def _steps(self) -> Generator[float, Candle, None]:
        candle = yield nan
        while True:
            day_end = candle.open_time // _DAY_MS * _DAY_MS + _DAY_MS
            traded = total = 0.0
            while day_end - _DAY_MS <= candle.open_time < day_end:
                volume = candle.volume
                traded += (candle.high + candle.low + candle.close) / 3.0 * volume
                total += volume
                self.value = average = traded / total if total else nan
                candle = yield average
