"""Read candles from CSV (plain, .gz, .zip) and Parquet into a checked `CandleTable`."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from candlewick.data.problems import OnProblem, Problem, ProblemKind, check_table, repair_order
from candlewick.errors import DataError
from candlewick.models import INTERVAL_MS, CandleTable
from candlewick.models.candle import impossible

__all__ = ["Loaded", "load_candles", "load_funding"]

# The exchange's kline columns; files without a header have them in this order.
_KLINE_COLUMNS = ("open_time", "open", "high", "low", "close", "volume", "close_time")
_NEEDED = _KLINE_COLUMNS[:6]
_TIME_NAMES = ("open_time", "opentime", "timestamp", "time", "date", "datetime")
_QUOTES = ("usdt", "usdc", "busd", "usd", "btc", "eth")


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
) -> Loaded:
    """Load one file of candles.

    Args:
        path: .csv, .csv.gz, .zip with one CSV, or .parquet. A CSV has a header naming at least
            open_time (or timestamp, date ...), open, high, low, close and volume, or no header
            and the exchange's kline columns. Times are seconds, milliseconds or microseconds since
            1970, or ISO 8601 (without zone: UTC).
        symbol: of the candles; taken from the file's name when not given
            (``btc-perp-1m-2022-01.csv.gz`` is BTCUSDT).
        interval: of the candles; taken from their usual spacing when not given.
        on_problem: what to do about broken rows, duplicates and disorder.
        on_gap: what to do about missing candles.

    Raises:
        DataError: the file cannot be read, or holds what must not be; names file and line.
    """
    path = Path(path)
    on_problem, on_gap = OnProblem(on_problem), OnProblem(on_gap)
    if not path.is_file():
        raise DataError(f"data file {path} does not exist")
    symbol = symbol or symbol_of(path)
    if path.suffix == ".parquet":
        columns, problems = _from_parquet(path), list[Problem]()
        lines: Sequence[int] = range(1, len(columns["open_time"]) + 1)
    else:
        columns, lines, problems = _from_csv(path, on_problem)
    if len(columns["open_time"]) == 0:
        raise DataError(f"{path} holds no candle")
    interval = interval or _interval_of(columns["open_time"], path)
    if interval not in INTERVAL_MS:
        raise DataError(f"{path}: unknown interval {interval!r} (known: {', '.join(INTERVAL_MS)})")
    columns, more = _drop_impossible(columns, lines, path, on_problem)
    table = CandleTable(symbol, interval, *(columns[name] for name in _NEEDED))
    table, order_problems = repair_order(table, str(path), on_problem)
    gaps = check_table(table, str(path), on_gap)
    return Loaded(table, (*problems, *more, *order_problems, *gaps))


def symbol_of(path: Path) -> str:
    """Guess the symbol from a file's name: its first part, with USDT where no quote is named."""
    first = re.split(r"[-_.]", path.name)[0].lower()
    if not re.fullmatch(r"[a-z0-9]{2,20}", first):
        raise DataError(f"no symbol can be told from the name of {path}; give one")
    has_quote = any(first.endswith(quote) and first != quote for quote in _QUOTES)
    return (first if has_quote else first + "usdt").upper()


def _interval_of(times: npt.NDArray[Any], path: Path) -> str:
    steps = np.diff(times)
    steps = steps[steps > 0]
    if len(steps) == 0:
        raise DataError(f"{path}: one candle does not tell its interval; give one")
    values, counts = np.unique(steps, return_counts=True)
    usual = int(values[np.argmax(counts)])
    for name, length in INTERVAL_MS.items():
        if length == usual:
            return name
    raise DataError(f"{path}: candles {usual} ms apart are of no known interval; give one")


# -- CSV ---------------------------------------------------------------------------------------

Columns = dict[str, npt.NDArray[Any]]


def _text_of(path: Path) -> str:
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8-sig") as file:
                return file.read()
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith(".csv")]
                if len(names) != 1:
                    raise DataError(f"{path} holds {len(names)} CSV files; one is expected")
                return archive.read(names[0]).decode("utf-8-sig")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _from_csv(path: Path, on_problem: OnProblem) -> tuple[Columns, Sequence[int], list[Problem]]:
    text = _text_of(path)
    first = text.split("\n", 1)[0].strip()
    if not first:
        raise DataError(f"{path} is empty")
    names = [name.strip().lower().replace(" ", "_") for name in first.split(",")]
    header = not _is_number(names[0])
    places = _places(names, path) if header else {name: i for i, name in enumerate(_NEEDED)}
    if not header and len(names) < len(_NEEDED):
        raise DataError(f"{path}:1: {len(names)} columns without a header; klines have 12")
    fast = _parse_block(text, places, skip=int(header))
    if fast is not None:
        lines = range(1 + int(header), 1 + int(header) + len(fast["open_time"]))
        return fast, lines, []
    return _parse_lines(text, places, path, on_problem, int(header))


def _places(names: Sequence[str], path: Path) -> dict[str, int]:
    places = {}
    for name in _NEEDED:
        aliases = _TIME_NAMES if name == "open_time" else (name, name[0])
        found = next((alias for alias in aliases if alias in names), None)
        if found is None:
            raise DataError(f"{path}:1: no column {name!r} (the header has: {', '.join(names)})")
        places[name] = names.index(found)
    return places


def _parse_block(text: str, places: dict[str, int], skip: int) -> Columns | None:
    """Parse all rows at once; None when any of them is not plain numbers."""
    order = list(places.values())
    try:
        values = np.loadtxt(
            io.StringIO(text), delimiter=",", skiprows=skip, usecols=order, ndmin=2, comments=None
        )
    except ValueError:
        return None
    columns: Columns = {name: values[:, i] for i, name in enumerate(places)}
    times = columns["open_time"]
    if not np.all(np.isfinite(times)):
        return None
    columns["open_time"] = _to_ms(times)
    return columns


def _parse_lines(
    text: str, places: dict[str, int], path: Path, on_problem: OnProblem, skip: int
) -> tuple[Columns, Sequence[int], list[Problem]]:
    """Parse row by row: slower, but it names the line that is broken."""
    kept: list[list[float]] = []
    lines: list[int] = []
    problems: list[Problem] = []
    reader = csv.reader(io.StringIO(text))
    for row in reader:
        line = reader.line_num
        if line <= skip or not row:
            continue
        try:
            kept.append(
                [
                    _time(row[place]) if name == "open_time" else float(row[place])
                    for name, place in places.items()
                ]
            )
            lines.append(line)
        except (ValueError, IndexError) as error:
            reason = f"{len(row)} columns" if isinstance(error, IndexError) else str(error)
            _broken(problems, path, line, reason, on_problem)
    values = np.array(kept, dtype=np.float64).reshape(-1, len(places))
    columns: Columns = {name: values[:, i] for i, name in enumerate(places)}
    columns["open_time"] = _to_ms(columns["open_time"])
    return columns, lines, problems


def _broken(
    problems: list[Problem], path: Path, line: int, reason: str, on_problem: OnProblem
) -> None:
    problem = Problem(ProblemKind.BROKEN_ROW, str(path), reason, line=line)
    if on_problem is OnProblem.FAIL:
        raise DataError(f"{problem}; repair the row, or load the file with skip")
    problems.append(problem)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _time(text: str) -> float:
    """A time as a number in any unit, or ISO 8601 as milliseconds."""
    if _is_number(text):
        return float(text)
    moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() * 1000.0


def _to_ms(times: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Bring seconds and microseconds to milliseconds: no market is older than 1973 in either."""
    if len(times) and np.nanmax(times) < 1e11:
        times = times * 1000.0
    elif len(times) and np.nanmin(times) > 1e14:
        times = times / 1000.0
    return np.asarray(np.rint(times), dtype=np.int64)


# -- Parquet -------------------------------------------------------------------------------------


def _from_parquet(path: Path) -> Columns:
    try:
        import polars
    except ImportError as error:
        raise DataError(
            f"reading {path} needs polars: pip install 'candlewick[parquet]'"
        ) from error
    try:
        frame = polars.read_parquet(path)
    except (OSError, polars.exceptions.PolarsError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error
    places = _places([name.lower() for name in frame.columns], path)
    columns: Columns = {}
    for name, place in places.items():
        series = frame.to_series(place)
        if series.dtype.is_temporal():
            series = series.dt.epoch("ms")
        columns[name] = series.cast(polars.Float64).to_numpy()
    columns["open_time"] = _to_ms(columns["open_time"])
    return columns


# -- checks ----------------------------------------------------------------------------------


def _drop_impossible(
    columns: Columns, lines: Sequence[int], path: Path, on_problem: OnProblem
) -> tuple[Columns, list[Problem]]:
    """Find rows that no market can produce; name them, and leave them out if asked to."""
    open_, high, low, close = (columns[name] for name in ("open", "high", "low", "close"))
    volume = columns["volume"]
    top, bottom = np.maximum(open_, close), np.minimum(open_, close)
    # written so that NaN makes a row bad
    good = (bottom >= low) & (top <= high) & (low > 0.0) & (high < 1e300)
    good &= (volume >= 0.0) & (volume < 1e300) & (columns["open_time"] >= 0)
    if good.all():
        return columns, []
    problems: list[Problem] = []
    for row in np.flatnonzero(~good).tolist():
        time = int(columns["open_time"][row])
        reason = impossible(
            time,
            float(open_[row]),
            float(high[row]),
            float(low[row]),
            float(close[row]),
            float(volume[row]),
            time + 1,
        )
        _broken(problems, path, lines[row], reason or f"open_time {time}", on_problem)
    return {name: values[good] for name, values in columns.items()}, problems


def load_funding(path: str | Path) -> list[tuple[int, float]]:
    """Load recorded funding: a CSV with funding_time (ms) and funding_rate, oldest first.

    Times are rounded down to the minute: the exchange stamps payments some milliseconds late.
    """
    path = Path(path)
    rates: list[tuple[int, float]] = []
    for line, row in enumerate(csv.reader(io.StringIO(_text_of(path))), 1):
        if line == 1 and row and not _is_number(row[0]):
            continue
        try:
            rates.append((int(row[0]) // 60_000 * 60_000, float(row[1])))
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}:{line}: broken funding row {row}: {error}") from error
    return sorted(rates)
