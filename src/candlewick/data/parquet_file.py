"""Read and write candles as Parquet, with polars (``pip install 'candlewick[parquet]'``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from candlewick.data.rows import Columns, Rows, places_of, to_ms
from candlewick.errors import DataError
from candlewick.models import CandleTable

__all__ = ["check_parquet", "load_polars", "read_parquet", "write_parquet"]

_COLUMNS = ("open_time", "open", "high", "low", "close", "volume", "close_time")


def load_polars(path: Path, doing: str) -> Any:
    """Return polars; raises DataError, with what cannot be done, where it is not installed."""
    try:
        import polars
    except ImportError as error:
        raise DataError(
            f"{doing} {path} needs polars: pip install 'candlewick[parquet]'"
        ) from error
    return polars


def check_parquet(otherwise: str) -> None:
    """Raise DataError when there is nothing to write Parquet with; ``otherwise`` says what else."""
    try:
        load_polars(Path("Parquet"), "writing")
    except DataError as error:
        raise DataError(f"{error}; {otherwise}") from None


def read_parquet(path: Path) -> Rows:
    """Read the rows; ``lines`` counts them from 1. Times may be numbers, datetimes or ISO text."""
    polars = load_polars(path, "reading")
    try:
        frame = polars.read_parquet(path)
        places = places_of([name.lower() for name in frame.columns], str(path))
        columns: Columns = {}
        for name, place in places.items():
            series = frame.to_series(place)
            if name == "open_time" and series.dtype == polars.String:
                series = series.str.to_datetime(time_zone="UTC")
            if series.dtype.is_temporal():
                series = series.cast(polars.Datetime("ms")).to_physical()
            columns[name] = series.cast(polars.Float64).to_numpy()
    except (OSError, polars.exceptions.PolarsError) as error:
        raise DataError(f"{path} cannot be read as candles in Parquet: {error}") from error
    columns["open_time"] = to_ms(columns["open_time"])
    return Rows(columns, np.arange(1, len(columns["open_time"]) + 1))


def write_parquet(table: CandleTable, path: Path) -> None:
    """Write a table; times stay UTC ms (int64). Raises OSError when it cannot be written."""
    polars = load_polars(path, "writing")
    frame = polars.DataFrame({name: getattr(table, name) for name in _COLUMNS})
    try:
        frame.write_parquet(path, compression="zstd", statistics=True)
    except polars.exceptions.PolarsError as error:
        raise OSError(str(error)) from error
