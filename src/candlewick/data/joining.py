"""Join tables of one symbol: months of candles in a file each are one series."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from candlewick.data.problems import OnProblem, Problem, ProblemKind, utc
from candlewick.errors import DataError
from candlewick.models import CandleTable

__all__ = ["join"]

_COLUMNS = ("open_time", "open", "high", "low", "close", "volume", "close_time")


def join(
    tables: Sequence[CandleTable], sources: Sequence[str], choice: OnProblem
) -> tuple[CandleTable, list[Problem]]:
    """Put tables of one symbol and interval behind one another, oldest first.

    Candles that two tables have are a problem (a duplicate); those of the later source are kept.
    """
    intervals = sorted({table.interval for table in tables})
    if len(intervals) > 1:
        raise DataError(
            f"{tables[0].symbol} has files of {' and '.join(intervals)}; name those of one interval"
        )
    order = sorted(range(len(tables)), key=lambda i: int(tables[i].open_time[0]))
    joined, problems = tables[order[0]], list[Problem]()
    for i in order[1:]:
        table = tables[i]
        twice = np.isin(joined.open_time, table.open_time)
        if twice.any():
            time = int(joined.open_time[np.argmax(twice)])
            count = int(twice.sum())
            candles = f"{count} candle{'s' if count > 1 else ''}"
            reason = f"{candles} from {utc(time)} on are in an earlier file too"
            Problem(ProblemKind.DUPLICATE, sources[i], reason, time, count).settle(choice, problems)
        joined = _merge(joined, table, ~twice)
    return joined, problems


def _merge(
    first: CandleTable, second: CandleTable, keep: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> CandleTable:
    columns = {
        name: np.concatenate([getattr(first, name)[keep], getattr(second, name)])
        for name in _COLUMNS
    }
    order = np.argsort(columns["open_time"])
    return CandleTable(
        first.symbol, first.interval, *(column[order] for column in columns.values())
    )
