"""What candle files hold, without running anything; and from one format into another."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from candlewick.data.market import files_of, load_market, missing_in
from candlewick.data.problems import OnProblem, Problem, ProblemKind
from candlewick.data.reading import load_candles
from candlewick.data.writing import write_candles
from candlewick.errors import DataError
from candlewick.models import CandleTable

__all__ = ["Entry", "convert", "describe", "describe_all"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What a candle file holds.

    ``first_time`` is the open time of its first candle, ``last_time`` the close time of its last,
    UTC ms. ``gaps`` counts holes, ``missing`` the candles that they lack. ``error`` says why a file
    could not be read; everything else is empty then.
    """

    path: str
    symbol: str = ""
    interval: str = ""
    candles: int = 0
    first_time: int = 0
    last_time: int = 0
    gaps: int = 0
    missing: int = 0
    size_bytes: int = 0
    problems: tuple[Problem, ...] = ()
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON-like values, and the times as ISO 8601 too."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        for name in ("first", "last"):
            time = found[f"{name}_time"]
            found[name] = datetime.fromtimestamp(time / 1000.0, UTC).isoformat() if time else ""
        return found


def describe(path: str | Path, symbol: str = "", interval: str = "") -> Entry:
    """Read a candle file and say what it holds; raises DataError when it cannot be read."""
    path = Path(path)
    loaded = load_candles(path, symbol, interval, OnProblem.REPORT, OnProblem.REPORT)
    return _entry(path, loaded.table, loaded.problems)


def describe_all(paths: Sequence[str | Path]) -> list[Entry]:
    """Describe files, and the candle files in folders; one that cannot be read has an ``error``."""
    entries = []
    for path in files_of(paths):
        try:
            entries.append(describe(path))
        except DataError as error:
            entries.append(Entry(path=str(path), error=str(error)))
    return entries


def convert(
    sources: Sequence[str | Path],
    destination: str | Path,
    *,
    symbol: str = "",
    interval: str = "",
    on_problem: OnProblem | str = OnProblem.FAIL,
    on_gap: OnProblem | str = OnProblem.REPORT,
    force: bool = False,
) -> Entry:
    """Write the candles of one symbol into one file, in the format that its name says.

    Args:
        sources: files and folders, as of the months of a year; they are joined.
        destination: .parquet, .csv or .csv.gz; see `write_candles`.
        symbol: what to pick where the sources hold several, or a name for a file that tells none.
        interval: a higher one to aggregate to.
        on_problem, on_gap: see `load_candles`.
        force: replace a file that exists.

    Returns what was written, with the problems of the sources.
    """
    market = load_market(
        sources,
        symbols=[symbol] if symbol else [],
        interval=interval,
        on_problem=on_problem,
        on_gap=on_gap,
    )
    if len(market.tables) > 1:
        raise DataError(
            f"{market.label} holds {', '.join(market.symbols)}; one file is of one symbol: give it"
        )
    write_candles(market.tables[0], destination, force=force)
    return _entry(Path(destination), market.tables[0], market.problems)


def _entry(path: Path, table: CandleTable, problems: tuple[Problem, ...]) -> Entry:
    return Entry(
        path=str(path),
        symbol=table.symbol,
        interval=table.interval,
        candles=len(table),
        first_time=int(table.open_time[0]),
        last_time=int(table.close_time[-1]),
        gaps=sum(problem.kind is ProblemKind.GAP for problem in problems),
        missing=missing_in(table),
        size_bytes=path.stat().st_size,
        problems=problems,
    )
