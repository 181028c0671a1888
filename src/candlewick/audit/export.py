"""The journal as one Parquet file, for dataframes and databases; needs the ``parquet`` extra."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from candlewick.audit.chain import Record
from candlewick.errors import ConfigError, DataError

__all__ = ["export_parquet"]

_BATCH = 100_000
_NESTED = ("after", "order", "payload")  # where a record keeps a struct with the names below


def export_parquet(records: Iterable[Record], path: str | Path) -> int:
    """Write records to a Parquet file, and return how many.

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
    schema = {
        "sequence": polars.Int64,
        "time": polars.Int64,
        "type": polars.String,
        "symbol": polars.String,
        "client_id": polars.String,
        "data": polars.String,
        "hash": polars.String,
    }
    source = iter(records)
    frames = [polars.DataFrame(schema=schema)]
    while rows := [_row(record) for record in islice(source, _BATCH)]:
        frames.append(polars.DataFrame(rows, schema=schema, orient="row"))
    frame = polars.concat(frames).with_columns(
        polars.col("time").cast(polars.Datetime("ns", "UTC"))
    )
    try:
        frame.write_parquet(path, compression="zstd")
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error
    return frame.height


def _row(record: Record) -> tuple[int, int, str, str | None, str | None, str, str]:
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
