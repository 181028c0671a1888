"""Recorded funding rates."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from candlewick.data.csv_file import text_of
from candlewick.errors import DataError

__all__ = ["load_funding"]

_MINUTE_MS = 60_000


def load_funding(path: str | Path) -> list[tuple[int, float]]:
    """Load recorded funding: a CSV with funding_time (ms) and funding_rate, oldest first.

    Times are rounded down to the minute: the exchange stamps payments some milliseconds late.
    Raises DataError for a file or a row that cannot be read, or a rate of 100 % and more.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"funding file {path} does not exist")
    rates: dict[int, float] = {}
    reader = csv.reader(io.StringIO(text_of(path)))
    for row in reader:
        line = reader.line_num
        if not any(row) or (line == 1 and not row[0].strip().isdigit()):
            continue
        try:
            time, rate = int(row[0]) // _MINUTE_MS * _MINUTE_MS, float(row[1])
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}:{line}: broken funding row {row}: {error}") from error
        if not math.fabs(rate) < 1.0:
            raise DataError(f"{path}:{line}: funding rate {rate!r} is not a fraction, as 0.0001")
        if rates.setdefault(time, rate) != rate:
            raise DataError(f"{path}:{line}: another rate for {time}: {rate!r}, {rates[time]!r}")
    return sorted(rates.items())
