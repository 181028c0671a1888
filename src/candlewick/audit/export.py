"""The journal as one Parquet file, for dataframes and databases; needs the ``parquet`` extra."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from candlewick.audit.chain import Record
from candlewick.errors import ConfigError, DataError

__all__ = ["export_parquet"]

_BATCH = 100_000
_Row = tuple[int, int, str, str | None, str | None, str, str]
_NESTED = ("after", "order", "payload")  # where a record keeps a struct with the names below


def export_parquet(records: Iterable[Record], path: str | Path) -> int:
    """Write records to a Parquet file, and return how many; memory holds 100,000 at a time.

    Columns: ``sequence``, ``time`` (UTC, ns), ``type``, ``symbol`` and ``client_id`` (where the
    record has them), ``data`` (JSON), ``hash``.

    Raises:
        ConfigError: polars is missing.
        DataError: the file cannot be written.
    """
    try:
        import polars
    except ImportError:
        raise ConfigError("Parquet files need polars: pip install 'candlewick[parquet]'") from None
    path = Path(path)
    source = iter(records)
    count = 0
    try:
        with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as parts:
            while rows := [_row(record) for record in islice(source, _BATCH)]:
                _frame(polars, rows).write_parquet(f"{parts}/{count:012}.parquet")
                count += len(rows)
            if not count:
                _frame(polars, []).write_parquet(f"{parts}/0.parquet")
            whole = Path(parts) / "whole"
            polars.scan_parquet(f"{parts}/*.parquet").sink_parquet(whole, compression="zstd")
            whole.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error
    return count


def _frame(polars: Any, rows: list[_Row]) -> Any:
    schema = {
        "sequence": polars.Int64,
        "time": polars.Int64,
        "type": polars.String,
        "symbol": polars.String,
        "client_id": polars.String,
        "data": polars.String,
        "hash": polars.String,
    }
    frame = polars.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(polars.col("time").cast(polars.Datetime("ns", "UTC")))


def _row(record: Record) -> _Row:
    data = msgspec.json.encode(record.data).decode()
    return (
        record.sequence, record.time_ns, record.type, _value(record.data, "symbol"),
        _value(record.data, "client_id"), data, record.hash,
    )  # fmt: skip


def _value(data: Any, name: str) -> str | None:
    if not isinstance(data, dict):
        return None
    value = data.get(name)
    if isinstance(value, str):
        return value
    return next((found for key in _NESTED if (found := _value(data.get(key), name))), None)
