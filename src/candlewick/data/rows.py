"""`Rows`: what a file parser hands over, not yet checked: columns of floats with their lines."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from candlewick.data.problems import Problem
from candlewick.errors import DataError

__all__ = ["NEEDED", "Columns", "Rows", "places_of", "to_ms"]

Columns = dict[str, npt.NDArray[Any]]

NEEDED = ("open_time", "open", "high", "low", "close", "volume")  # the exchange's kline order
_TIME_NAMES = ("open_time", "opentime", "timestamp", "time", "date", "datetime", "unix")
# times are told from their size: each of these is the year 5138 in its unit, 1973 in the next finer
_SECONDS, _MILLIS, _MICROS = 1e11, 1e14, 1e17


class Rows(msgspec.Struct, frozen=True):
    """Columns named as in `NEEDED`, float64, shape (n,), in the order of the file.

    ``open_time`` is in ms but may still be nan. ``lines`` are those of the file, 1 for the first,
    shape (n,); ``problems`` the rows that could not be read at all.
    """

    columns: Columns
    lines: npt.NDArray[np.int64]
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.lines)

    def where(self, good: npt.NDArray[np.bool_]) -> Rows:
        """The rows that are good."""
        columns = {name: values[good] for name, values in self.columns.items()}
        return Rows(columns, self.lines[good], self.problems)


def places_of(names: list[str], source: str) -> dict[str, int]:
    """Find the needed columns among ``names`` (lower case); raises DataError for a missing one."""
    places = {}
    for name in NEEDED:
        aliases = _TIME_NAMES if name == "open_time" else (name, name[0])
        found = next((alias for alias in aliases if alias in names), None)
        if found is None:
            raise DataError(f"{source}: no column {name!r} (it has: {', '.join(names)})")
        places[name] = names.index(found)
    return places


def to_ms(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Bring seconds, microseconds and nanoseconds to whole milliseconds, one by one."""
    size = np.abs(times)
    scale = np.select([size < _SECONDS, size < _MILLIS, size < _MICROS], [1e-3, 1.0, 1e3], 1e6)
    return np.asarray(np.rint(times / scale), dtype=np.float64)
