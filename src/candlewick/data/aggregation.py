"""Higher intervals from lower ones, aligned to UTC; an unfinished candle never comes out."""

from __future__ import annotations

from math import fsum

import numpy as np

from candlewick.errors import DataError
from candlewick.models import Candle, CandleTable, interval_ms

__all__ = ["Aggregator", "aggregate", "span_start"]

_WEEK_MS = 7 * 86_400_000
_MONDAY_MS = 4 * 86_400_000  # 1970-01-05 was a Monday


def _bucket_offset(length: int) -> int:
    """Weeks begin on Monday; everything shorter is aligned to 1970-01-01 UTC."""
    return _MONDAY_MS if length == _WEEK_MS else 0


def span_start(time: int, length: int) -> int:
    """Open time of the candle of ``length`` ms that holds ``time``, UTC ms."""
    offset = _bucket_offset(length)
    return (time - offset) // length * length + offset


def _check(source: str, target: str) -> tuple[int, int]:
    short, long = interval_ms(source), interval_ms(target)
    if long <= short or long % short:
        raise DataError(f"{target} candles cannot be made of {source} candles")
    return short, long


class Aggregator:
    """Makes candles of ``target`` from the closed candles of one symbol.

    A candle comes out with the last candle of its span. A span that lacks its first or its last
    candle, or has begun before the first candle seen, gives none; one with a hole in the middle
    gives a candle of what traded, since its open, close and end are known. A candle that is not
    newer than the last one is passed over.

    Volumes are added with `math.fsum`, which rounds once and whatever the order: the candles are
    those of `aggregate`, to the last bit.
    """

    __slots__ = (
        "_high", "_last", "_length", "_low", "_open", "_short", "_start", "_volumes", "source",
        "target",
    )  # fmt: skip

    def __init__(self, source: str, target: str) -> None:
        self._short, self._length = _check(source, target)
        self.source = source
        self.target = target
        self._start = -1
        self._last = -1
        self._open = self._high = self._low = 0.0
        self._volumes: list[float] = []

    def update(self, candle: Candle) -> Candle | None:
        """Take a closed candle; return the longer one that it completes, or None."""
        if candle.interval != self.source:
            raise DataError(
                f"{self.target} candles are made of {self.source} candles here,"
                f" not of {candle.interval} ones"
            )
        if candle.open_time <= self._last:
            return None
        self._last = candle.open_time
        start = span_start(candle.open_time, self._length)
        if start != self._start:
            if candle.open_time != start:
                self._start = -1  # its beginning was not seen
                return None
            self._start = start
            self._open = candle.open
            self._high, self._low = candle.high, candle.low
            self._volumes = [candle.volume]
        else:
            self._high = max(self._high, candle.high)
            self._low = min(self._low, candle.low)
            self._volumes.append(candle.volume)
        if candle.open_time + self._short != start + self._length:
            return None
        self._start = -1
        return Candle(
            candle.symbol, self.target, start, self._open, self._high, self._low, candle.close,
            fsum(self._volumes), start + self._length - 1, True,
        )  # fmt: skip


def aggregate(table: CandleTable, target: str) -> CandleTable:
    """Aggregate a whole table, with the same result as feeding it to an `Aggregator`."""
    short, length = _check(table.interval, target)
    offset = _bucket_offset(length)
    starts = (table.open_time - offset) // length * length + offset
    if not len(table):
        return table_of_nothing(table.symbol, target)
    first = np.flatnonzero(np.append(True, starts[1:] != starts[:-1]))
    last = np.append(first[1:], len(table)) - 1
    whole = (table.open_time[first] == starts[first]) & (
        table.open_time[last] + short == starts[first] + length
    )
    volume = table.volume.tolist()
    sums = np.array(
        [fsum(volume[a : b + 1]) for a, b in zip(first.tolist(), last.tolist(), strict=True)]
    )
    return CandleTable(
        table.symbol,
        target,
        starts[first][whole],
        table.open[first][whole],
        np.maximum.reduceat(table.high, first)[whole],
        np.minimum.reduceat(table.low, first)[whole],
        table.close[last][whole],
        sums[whole],
    )


def table_of_nothing(symbol: str, interval: str) -> CandleTable:
    """A table without candles."""
    empty = np.empty(0)
    return CandleTable(symbol, interval, empty, empty, empty, empty, empty, empty)
