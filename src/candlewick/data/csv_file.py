"""Read the rows of a CSV file of candles: plain, gzipped or zipped, with a header or without."""

from __future__ import annotations

import csv
import gzip
import io
import math
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from candlewick.data.problems import OnProblem, Problem, ProblemKind
from candlewick.data.rows import NEEDED, Columns, Rows, places_of, to_ms
from candlewick.errors import DataError

__all__ = ["read_csv", "text_of"]


def text_of(path: Path) -> str:
    """Return the text of a file, unpacked; raises DataError when it cannot be read."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8-sig") as file:
                return file.read()
        if path.suffix == ".zip":
            return _from_zip(path)
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} cannot be read: it is not UTF-8 text ({error.reason})") from error
    except (
        OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError,
    ) as error:  # fmt: skip
        raise DataError(f"{path} cannot be read: {error}") from error


def _from_zip(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        names = [
            name
            for name in archive.namelist()
            if name.endswith(".csv") and not name.startswith("__MACOSX/")
        ]
        if len(names) != 1:
            raise DataError(f"{path} holds {len(names)} CSV files; one is expected")
        with archive.open(names[0]) as raw, io.TextIOWrapper(raw, "utf-8-sig") as file:
            return file.read()


def read_csv(path: Path, on_problem: OnProblem) -> Rows:
    """Read the rows; one that is not made of numbers is named, and left out unless that fails."""
    text = text_of(path)
    first = next(csv.reader([text.split("\n", 1)[0]]), [])
    names = [name.strip().lower().replace(" ", "_") for name in first]
    if not any(names):
        blank = f"{path}:1: the first line is blank; it must be the header or a candle"
        raise DataError(blank if text.strip() else f"{path} is empty")
    if len(names) == 1 and (mark := next((mark for mark in ";\t|" if mark in names[0]), "")):
        raise DataError(f"{path}:1: the columns are separated by {mark!r}; commas are needed")
    header = not any(map(_is_number, names))
    if not header and len(names) < len(NEEDED):
        raise DataError(
            f"{path}:1: {len(names)} columns without a header; the exchange's klines have 12"
        )
    places = places_of(names, f"{path}:1") if header else {name: i for i, name in enumerate(NEEDED)}
    fast = _parse_block(text, places, int(header))
    return fast if fast is not None else _parse_lines(text, places, path, on_problem, int(header))


def _parse_block(text: str, places: dict[str, int], skip: int) -> Rows | None:
    """Parse all rows at once; None when any of them is blank or not plain numbers."""
    rows = text.count("\n") + (not text.endswith("\n")) - skip
    if rows == 0:
        return None
    try:
        values = np.loadtxt(
            io.StringIO(text), delimiter=",", skiprows=skip, usecols=list(places.values()),
            ndmin=2, comments=None, quotechar='"',
        )  # fmt: skip
    except ValueError:
        return None
    if len(values) != rows or not np.isfinite(values[:, 0]).all():
        return None
    return _rows_of(values, places, np.arange(rows) + (1 + skip), ())


def _parse_lines(
    text: str, places: dict[str, int], path: Path, on_problem: OnProblem, skip: int
) -> Rows:
    """Parse row by row: slower, but it names the line that is broken."""
    kept: list[list[float]] = []
    lines: list[int] = []
    problems: list[Problem] = []
    needed = max(places.values()) + 1
    reader = csv.reader(io.StringIO(text))
    for row in reader:
        if reader.line_num <= skip or (len(row) < 2 and not "".join(row).strip()):
            continue
        try:
            if len(row) < needed:
                raise ValueError(f"{len(row)} columns where {needed} are needed")
            values = [
                _time(row[place]) if name == "open_time" else float(row[place])
                for name, place in places.items()
            ]
        except ValueError as error:
            Problem(
                ProblemKind.BROKEN_ROW, str(path), str(error), line=reader.line_num
            ).settle(on_problem, problems)  # fmt: skip
            continue
        kept.append(values)
        lines.append(reader.line_num)
    values_read = np.array(kept, dtype=np.float64).reshape(-1, len(places))
    return _rows_of(values_read, places, np.array(lines, dtype=np.int64), tuple(problems))


def _rows_of(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    places: dict[str, int],
    lines: np.ndarray[tuple[int], np.dtype[np.int64]],
    problems: tuple[Problem, ...],
) -> Rows:
    columns: Columns = {name: values[:, i] for i, name in enumerate(places)}
    columns["open_time"] = to_ms(columns["open_time"])
    return Rows(columns, lines, problems)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _time(text: str) -> float:
    """A time as a number in any unit, or ISO 8601 as milliseconds."""
    if _is_number(text):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(f"open_time {text.strip()} is not a time")
        return number
    moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() * 1000.0
