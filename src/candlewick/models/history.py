"""Candles as columns: `CandleTable`, a whole series; `History`, what a strategy may look back on.

A kept candle is five float64 and two int64, 56 bytes; an object with its floats costs some 300.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from candlewick.errors import ValidationError
from candlewick.models.candle import Candle
from candlewick.models.intervals import interval_ms

__all__ = ["CandleTable", "History"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_BLOCK = 16_384
PRICE_COLUMNS = ("open", "high", "low", "close", "volume")


class CandleTable:
    """Closed candles of one symbol and interval, oldest first, as equally long columns.

    Args:
        symbol, interval: what the candles are of.
        open_time: UTC ms, shape (n,), strictly increasing.
        open, high, low, close, volume: shape (n,).
        close_time: UTC ms, shape (n,); the last millisecond of each interval when not given.

    The columns must be equally long, otherwise a ValidationError names the odd one. Their values
    are taken as they are; readers check them before they build a table.
    """

    __slots__ = (
        "close", "close_time", "high", "interval", "low", "open", "open_time", "symbol", "volume",
    )  # fmt: skip

    def __init__(
        self,
        symbol: str,
        interval: str,
        open_time: npt.ArrayLike,
        open: npt.ArrayLike,
        high: npt.ArrayLike,
        low: npt.ArrayLike,
        close: npt.ArrayLike,
        volume: npt.ArrayLike,
        close_time: npt.ArrayLike | None = None,
    ) -> None:
        self.symbol = symbol
        self.interval = interval
        self.open_time: Ints = np.ascontiguousarray(open_time, dtype=np.int64)
        self.open: Floats = np.ascontiguousarray(open, dtype=np.float64)
        self.high: Floats = np.ascontiguousarray(high, dtype=np.float64)
        self.low: Floats = np.ascontiguousarray(low, dtype=np.float64)
        self.close: Floats = np.ascontiguousarray(close, dtype=np.float64)
        self.volume: Floats = np.ascontiguousarray(volume, dtype=np.float64)
        self.close_time: Ints = (
            self.open_time + (interval_ms(interval) - 1)
            if close_time is None
            else np.ascontiguousarray(close_time, dtype=np.int64)
        )
        shape = self.open_time.shape
        for name in (*PRICE_COLUMNS, "close_time"):
            found = getattr(self, name).shape
            if found != shape or len(shape) != 1:
                raise ValidationError(
                    f"candle table {symbol} {interval}: column {name} has shape {found},"
                    f" open_time {shape}; they must be equally long"
                )

    def __len__(self) -> int:
        return len(self.open_time)

    def __repr__(self) -> str:
        return f"CandleTable({self.symbol} {self.interval}, {len(self)} candles)"

    def __getitem__(self, rows: slice) -> CandleTable:
        return CandleTable(
            self.symbol,
            self.interval,
            self.open_time[rows],
            self.open[rows],
            self.high[rows],
            self.low[rows],
            self.close[rows],
            self.volume[rows],
            self.close_time[rows],
        )

    def __iter__(self) -> Iterator[Candle]:
        """Yield closed candles, oldest first; they are made in blocks."""
        return chain.from_iterable(map(self._block, range(0, len(self), _BLOCK)))

    def _block(self, start: int) -> Iterator[Candle]:
        part = slice(start, start + _BLOCK)
        # a view makes each number when it is asked for: two thirds of the time that a list takes
        return map(
            Candle,
            repeat(self.symbol),
            repeat(self.interval),
            self.open_time[part].data,
            *(getattr(self, name)[part].data for name in PRICE_COLUMNS),
            self.close_time[part].data,
            repeat(True),
        )

    def candle(self, index: int) -> Candle:
        """Return one candle; ``index`` as in a list."""
        return Candle(
            self.symbol,
            self.interval,
            int(self.open_time[index]),
            float(self.open[index]),
            float(self.high[index]),
            float(self.low[index]),
            float(self.close[index]),
            float(self.volume[index]),
            int(self.close_time[index]),
            True,
        )


def _read_only(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view = values.view()
    view.flags.writeable = False
    return view


class History:
    """The last closed candles of one symbol and interval, newest last; bounded.

    Two ways to fill it, one way to read it: the live engine appends each closed candle, a
    backtest moves a cursor over a `CandleTable` it already has (`over`, `advance`). Either way
    the reader sees at most ``capacity`` candles and nothing that has not closed. ``end`` is the
    number of rows shown so far.

    The columns that it gives out are views: they show the candles of this moment, and are to be
    copied by who wants to keep them.
    """

    __slots__ = ("_columns", "_size", "_views", "capacity", "end", "interval", "symbol")

    def __init__(self, symbol: str, interval: str, capacity: int = 1_000) -> None:
        if capacity < 1:
            raise ValidationError(f"a history's capacity must be at least 1, not {capacity!r}")
        self.symbol = symbol
        self.interval = interval
        self.capacity = capacity
        # A little room behind: the newest `capacity` rows are always one contiguous slice, and
        # they are moved back to the front only when that room is used up.
        self._size = capacity + max(capacity // 16, 1)
        self.end = 0
        self._columns: dict[str, npt.NDArray[Any]] = {
            "open_time": np.empty(self._size, np.int64),
            **{name: np.empty(self._size, np.float64) for name in PRICE_COLUMNS},
            "close_time": np.empty(self._size, np.int64),
        }
        self._views = {name: _read_only(values) for name, values in self._columns.items()}

    @classmethod
    def over(cls, table: CandleTable, capacity: int = 1_000) -> History:
        """A history that reads ``table`` itself; empty until `advance` is called.

        Nothing can be appended to it.
        """
        if capacity < 1:
            raise ValidationError(f"a history's capacity must be at least 1, not {capacity!r}")
        history = cls.__new__(cls)
        history.symbol = table.symbol
        history.interval = table.interval
        history.capacity = capacity
        history._size = len(table)
        history.end = 0
        history._columns = history._views = {
            name: _read_only(getattr(table, name))
            for name in ("open_time", *PRICE_COLUMNS, "close_time")
        }
        return history

    def append(self, candle: Candle) -> None:
        """Keep a closed candle; the oldest leaves when the capacity is reached."""
        end = self.end
        if end == self._size:
            keep = self.capacity - 1
            for column in self._columns.values():
                column[:keep] = column[end - keep : end]
            end = keep
        columns = self._columns
        columns["open_time"][end] = candle.open_time
        columns["open"][end] = candle.open
        columns["high"][end] = candle.high
        columns["low"][end] = candle.low
        columns["close"][end] = candle.close
        columns["volume"][end] = candle.volume
        columns["close_time"][end] = candle.close_time
        self.end = end + 1

    def advance(self, end: int) -> None:
        """Show the first ``end`` rows of the table this history reads."""
        self.end = end

    def __len__(self) -> int:
        return min(self.end, self.capacity)

    def __getitem__(self, index: int) -> Candle:
        """Return one candle: -1 is the newest, 0 the oldest kept."""
        length = len(self)
        if not -length <= index < length:
            raise IndexError(f"history of {length} candles has no index {index}")
        row = self.end + index if index < 0 else self.end - length + index
        column = {name: values[row].item() for name, values in self._columns.items()}
        return Candle(self.symbol, self.interval, **column, is_closed=True)

    def _column(self, name: str) -> npt.NDArray[Any]:
        end = self.end
        return self._views[name][max(0, end - self.capacity) : end]

    @property
    def open_time(self) -> Ints:
        """Open times, UTC ms, oldest first; a read-only view, as all columns here."""
        return self._column("open_time")

    @property
    def open(self) -> Floats:
        """Open prices."""
        return self._column("open")

    @property
    def high(self) -> Floats:
        """Highest prices."""
        return self._column("high")

    @property
    def low(self) -> Floats:
        """Lowest prices."""
        return self._column("low")

    @property
    def close(self) -> Floats:
        """Close prices."""
        return self._column("close")

    @property
    def volume(self) -> Floats:
        """Volumes, as the source gives them."""
        return self._column("volume")

    @property
    def close_time(self) -> Ints:
        """Close times, UTC ms."""
        return self._column("close_time")
