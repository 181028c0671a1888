"""Read candles from CSV (plain, .gz, .zip) and Parquet into a checked `CandleTable`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from candlewick.data.csv_file import read_csv
from candlewick.data.parquet_file import read_parquet
from candlewick.data.problems import (
    OnProblem,
    Problem,
    ProblemKind,
    check_gaps,
    order_of,
    utc,
)
from candlewick.data.rows import NEEDED, Rows
from candlewick.errors import DataError
from candlewick.models import INTERVAL_MS, CandleTable, interval_ms
from candlewick.models.candle import impossible

__all__ = ["Loaded", "load_candles", "symbol_of"]

_QUOTES = ("usdt", "usdc", "busd", "usd", "btc", "eth")
_LATEST_MS = 4e12  # the year 2096


class Loaded(msgspec.Struct, frozen=True):
    """Candles, and what was wrong with the file they came from."""

    table: CandleTable
    problems: tuple[Problem, ...]


def load_candles(
    path: str | Path,
    symbol: str = "",
    interval: str = "",
    on_problem: OnProblem | str = OnProblem.FAIL,
    on_gap: OnProblem | str = OnProblem.REPORT,
    interval_of_one: str = "",
) -> Loaded:
    """Load one file of candles.

    Args:
        path: .csv, .csv.gz, .zip with one CSV, or .parquet. A CSV has a header naming at least
            open_time (or timestamp, date ...), open, high, low, close and volume, or no header
            and the exchange's kline columns. Times are seconds, milliseconds, micro- or nanoseconds
            since 1970, or ISO 8601 (without zone: UTC).
        symbol: of the candles; taken from the file's name when not given
            (``btc-perp-1m-2022-01.csv.gz`` is BTCUSDT).
        interval: of the candles; taken from their usual spacing when not given, of a single one
            from the file's name (``BTCUSDT-1d-2024-02-01.parquet``).
        on_problem: what to do about broken rows, duplicates and disorder.
        on_gap: what to do about missing candles.
        interval_of_one: of a file whose single candle does not tell its interval, nor its name.

    Raises:
        DataError: the file cannot be read, or holds what must not be; names file and line.
    """
    path = Path(path)
    on_problem, on_gap = OnProblem(on_problem), OnProblem(on_gap)
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise DataError(f"data file {path} {what}")
    symbol = symbol or symbol_of(path)
    rows = read_parquet(path) if path.suffix == ".parquet" else read_csv(path, on_problem)
    problems = list(rows.problems)
    rows = _drop(rows, _impossible(rows), path, on_problem, problems)
    interval = interval or _interval_of(rows.columns["open_time"], path, interval_of_one)
    if interval not in INTERVAL_MS:
        raise DataError(f"{path}: unknown interval {interval!r} (known: {', '.join(INTERVAL_MS)})")
    rows = _drop(rows, _off_grid(rows, interval), path, on_problem, problems)
    times = rows.columns["open_time"].astype(np.int64)
    order, order_problems = order_of(times, rows.lines, str(path), on_problem)
    columns = (rows.columns[name][order] for name in NEEDED)
    table = CandleTable(symbol, interval, *columns)
    gaps = check_gaps(table, str(path), on_gap)
    return Loaded(table, (*problems, *order_problems, *gaps))


def symbol_of(path: Path) -> str:
    """Guess the symbol from a file's name: its first part, with USDT where no quote is named."""
    first = re.split(r"[-_.]", path.name)[0].lower()
    if not re.fullmatch(r"[a-z0-9]{2,20}", first):
        raise DataError(
            f"no symbol can be told from the name of {path}: give --symbol, or name the file"
            " after it, as btcusdt-1m.csv"
        )
    has_quote = any(first.endswith(quote) and first != quote for quote in _QUOTES)
    return (first if has_quote else first + "usdt").upper()


def _interval_of(times: npt.NDArray[Any], path: Path, of_one: str) -> str:
    steps = np.diff(np.unique(times))
    if len(steps) == 0:
        named = path.name.split("-")[1:2]
        if named and named[0] in INTERVAL_MS:
            return named[0]
        if of_one:
            return of_one
        raise DataError(f"{path}: one candle does not tell its interval; name it (--interval)")
    values, counts = np.unique(steps, return_counts=True)
    usual = int(values[np.argmax(counts)])
    for name, length in INTERVAL_MS.items():
        if length == usual:
            return name
    raise DataError(
        f"{path}: candles {usual} ms apart are of no known interval; name it (--interval)"
    )


# -- checks ------------------------------------------------------------------------------------

Reasons = dict[int, str]  # row -> what is wrong with it


def _drop(
    rows: Rows, reasons: Reasons, path: Path, choice: OnProblem, problems: list[Problem]
) -> Rows:
    """Name the rows that are broken, and leave them out unless the choice is to fail."""
    times = rows.columns["open_time"]
    for row, reason in reasons.items():
        time = int(times[row]) if np.isfinite(times[row]) else 0
        Problem(
            ProblemKind.BROKEN_ROW, str(path), reason, time, line=int(rows.lines[row])
        ).settle(choice, problems)  # fmt: skip
    good = np.ones(len(rows), dtype=np.bool_)
    good[list(reasons)] = False
    if not good.any():
        raise DataError(f"{path} holds no candle that can be used")
    return rows if good.all() else rows.where(good)


def _impossible(rows: Rows) -> Reasons:
    """Rows that no market can produce."""
    time, open_, high, low, close, volume = (rows.columns[name] for name in NEEDED)
    top, bottom = np.maximum(open_, close), np.minimum(open_, close)
    # written so that NaN makes a row bad
    good = (bottom >= low) & (top <= high) & (low > 0.0) & (high < 1e300)
    good &= (volume >= 0.0) & (volume < 1e300) & (time >= 0.0) & (time < _LATEST_MS)
    reasons = {}
    for row in np.flatnonzero(~good).tolist():
        o, h, low_, c, v = (float(column[row]) for column in (open_, high, low, close, volume))
        found = impossible(0, o, h, low_, c, v, 1)
        reasons[row] = found or f"open_time {time[row]:.0f} is not a time in ms"
    return reasons


def _off_grid(rows: Rows, interval: str) -> Reasons:
    """Rows whose open time is not a whole number of intervals away from most others."""
    phases = rows.columns["open_time"] % interval_ms(interval)
    values, counts = np.unique(phases, return_counts=True)
    usual = values[np.argmax(counts)]
    return {
        row: f"open_time {utc(int(rows.columns['open_time'][row]))} is not the start of a candle"
        f" of {interval}"
        for row in np.flatnonzero(phases != usual).tolist()
    }
