"""What can be wrong with a series of candles, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum

import msgspec
import numpy as np
import numpy.typing as npt

from candlewick.errors import DataError
from candlewick.models import CandleTable, interval_ms

__all__ = ["OnProblem", "Problem", "ProblemKind", "check_gaps", "order_of", "utc"]

Ints = npt.NDArray[np.int64]


class OnProblem(StrEnum):
    """What to do about a problem.

    FAIL raises at the first one. SKIP and REPORT go on without the rows concerned; REPORT lists
    each problem, SKIP does not.
    """

    FAIL = "fail"
    SKIP = "skip"
    REPORT = "report"


class ProblemKind(StrEnum):
    """The kinds of problem."""

    GAP = "gap"
    DUPLICATE = "duplicate"
    DISORDER = "disorder"
    BROKEN_ROW = "broken_row"


_REMEDY = {
    ProblemKind.GAP: "fill the gap, or go on with it: --on-gap report",
    ProblemKind.DUPLICATE: "repair the file, or go on with the later rows: --on-problem report",
    ProblemKind.DISORDER: "sort the file, or have it sorted: --on-problem report",
    ProblemKind.BROKEN_ROW: "repair the row, or go on without it: --on-problem report",
}


class Problem(msgspec.Struct, frozen=True):
    """One problem: where it is and what it is.

    ``time`` is the open time (UTC ms) at which it begins, ``count`` the candles concerned: the
    missing ones of a gap, the rows of a run of duplicates. ``line`` is 1 for the first line of a
    file (the first row of a Parquet file), 0 where there is none.
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

    def settle(self, choice: OnProblem, problems: list[Problem]) -> None:
        """Do what was chosen: raise DataError, list the problem, or pass over it."""
        if choice is OnProblem.FAIL:
            raise DataError(f"{self}; {_REMEDY[self.kind]}")
        if choice is OnProblem.REPORT:
            problems.append(self)


def utc(time: int) -> str:
    """Write UTC ms as ``2022-01-31 23:59``, with seconds and their fraction where there are any."""
    moment = datetime.fromtimestamp(time // 1_000, UTC)
    text = moment.strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{time % 1_000:03d}" if time % 1_000 else text.removesuffix(":00")


def order_of(
    times: Ints, lines: Ints, source: str, choice: OnProblem
) -> tuple[Ints, list[Problem]]:
    """Return the rows in the order of their times, each time once, shape (m,), and the problems.

    Of two candles with the same open time the later row is kept, as the one that was written
    last. Neighbouring rows with the same problem are one problem.
    """
    problems: list[Problem] = []
    if len(times) < 2 or np.all(np.diff(times) > 0):
        return np.arange(len(times)), problems
    latest = np.maximum.accumulate(times)
    for row, count in _runs(np.append(False, times[1:] < latest[:-1])):
        time = int(times[row])
        reason = (
            f"{utc(time)} after {utc(int(latest[row - 1]))}{_and_more(count)}"
        )  # fmt: skip
        Problem(
            ProblemKind.DISORDER, source, reason, time, count, int(lines[row])
        ).settle(choice, problems)  # fmt: skip
    order = np.argsort(times, kind="stable")
    twice = np.append(times[order][1:] == times[order][:-1], False)
    for row, count in _runs(twice):
        time, dropped, kept = (int(a[order[i]]) for a, i in
                               ((times, row), (lines, row), (lines, row + 1)))  # fmt: skip
        reason = f"{utc(time)} is there again in line {kept}, which is kept{_and_more(count)}"
        Problem(ProblemKind.DUPLICATE, source, reason, time, count, dropped).settle(
            choice, problems
        )
    return order[~twice], problems


def _runs(marks: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield (first row, length) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], marks, [False])).astype(np.int8)))
    for start, end in edges.reshape(-1, 2).tolist():
        yield start, end - start


def _and_more(count: int) -> str:
    return f", and so the {count - 1} rows after it" if count > 1 else ""


def check_gaps(table: CandleTable, source: str, choice: OnProblem) -> list[Problem]:
    """Find the gaps of a table in order: candles that the interval says must be there.

    Raises DataError when a gap is found and the choice is to fail.
    """
    length = interval_ms(table.interval)
    missing = np.diff(table.open_time) // length - 1
    problems: list[Problem] = []
    for row in np.flatnonzero(missing > 0).tolist():
        start, count = int(table.open_time[row]) + length, int(missing[row])
        reason = (
            f"{count} candle{'s' if count > 1 else ''} of {table.interval} missing from"
            f" {utc(start)} to {utc(int(table.open_time[row + 1]))}"
        )
        Problem(ProblemKind.GAP, source, reason, start, count).settle(choice, problems)
    return problems
