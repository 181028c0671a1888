"""What can be wrong with a series of candles, and what to do about it."""

from __future__ import annotations

from enum import StrEnum

import msgspec
import numpy as np

from candlewick.errors import DataError
from candlewick.models import CandleTable, interval_ms

__all__ = ["OnProblem", "Problem", "ProblemKind", "check_table", "repair_order"]


class OnProblem(StrEnum):
    """Fail at the first problem, leave broken rows out and say so, or only say so."""

    FAIL = "fail"
    SKIP = "skip"
    REPORT = "report"


class ProblemKind(StrEnum):
    """The kinds of problem."""

    GAP = "gap"
    DUPLICATE = "duplicate"
    DISORDER = "disorder"
    BROKEN_ROW = "broken_row"


class Problem(msgspec.Struct, frozen=True):
    """One problem: where it is and what it is.

    ``time`` is the open time (UTC ms) at which it begins, ``count`` the candles concerned: the
    missing ones of a gap. ``line`` is 1 for the first line of a file, 0 where there is none.
    """

    kind: ProblemKind
    source: str
    reason: str
    time: int = 0
    count: int = 1
    line: int = 0

    def __str__(self) -> str:
        where = f"{self.source}:{self.line}" if self.line else self.source
        return f"{where}: {self.kind.replace('_', ' ')}: {self.reason}"


def repair_order(
    table: CandleTable, source: str, on_problem: OnProblem
) -> tuple[CandleTable, list[Problem]]:
    """Find duplicates and disorder; sort and drop them unless the choice is to fail.

    A table must be in strict order to be of any use, so REPORT repairs as SKIP does. Of two
    candles with the same open time the later row is kept, as the one that was written last.
    """
    steps = np.diff(table.open_time)
    if np.all(steps > 0):
        return table, []
    problems = []
    for row in np.flatnonzero(steps <= 0)[:1000].tolist():
        kind = ProblemKind.DUPLICATE if steps[row] == 0 else ProblemKind.DISORDER
        time = int(table.open_time[row + 1])
        what = "the same open time as" if steps[row] == 0 else "an open time before"
        problems.append(
            Problem(kind, source, f"row {row + 2} has {what} row {row + 1}: {time}", time)
        )
    if on_problem is OnProblem.FAIL:
        raise DataError(f"{problems[0]}; repair the file, or load it with skip")
    order = np.argsort(table.open_time, kind="stable")
    times = table.open_time[order]
    last = np.append(times[1:] != times[:-1], True)
    kept = order[last]
    return _take(table, kept), problems


def _take(table: CandleTable, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> CandleTable:
    return CandleTable(
        table.symbol,
        table.interval,
        table.open_time[rows],
        table.open[rows],
        table.high[rows],
        table.low[rows],
        table.close[rows],
        table.volume[rows],
        table.close_time[rows],
    )


def check_table(table: CandleTable, source: str, on_gap: OnProblem) -> list[Problem]:
    """Find the gaps of a table in order: candles that the interval says must be there.

    Raises DataError when a gap is found and the choice is to fail.
    """
    length = interval_ms(table.interval)
    missing = np.diff(table.open_time) // length - 1
    problems = []
    for row in np.flatnonzero(missing > 0).tolist():
        start = int(table.open_time[row]) + length
        count = int(missing[row])
        problems.append(
            Problem(
                ProblemKind.GAP,
                source,
                f"{count} candle{'s' if count > 1 else ''} of {table.interval} missing from {start}"
                f" to {int(table.open_time[row + 1])}",
                start,
                count,
            )
        )
    if problems and on_gap is OnProblem.FAIL:
        raise DataError(f"{problems[0]}; fill the gap, or load the file with report")
    return problems
