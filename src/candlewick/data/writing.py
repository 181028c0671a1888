"""Write candles to a file: whole or not at all."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from candlewick.data.parquet_file import load_polars, write_parquet
from candlewick.data.rows import NEEDED
from candlewick.errors import DataError
from candlewick.models import CandleTable

__all__ = ["WRITABLE", "write_candles"]

WRITABLE = (".parquet", ".csv", ".csv.gz")


def write_candles(table: CandleTable, path: str | Path, *, force: bool = False) -> None:
    """Write a table as Parquet or CSV, as the name ends; every float reads back as itself.

    The file appears under its name only when it is complete and on the disk: a crash, a full disk
    or Ctrl+C leaves what was there before. Raises DataError when the file exists already (unless
    ``force``) or cannot be written.
    """
    path = Path(path)
    if not path.name.endswith(WRITABLE):
        raise DataError(f"{path}: candles are written to {', '.join(WRITABLE)}")
    if path.exists() and not force:
        raise DataError(f"{path} exists already; --force (force=True) replaces it")
    is_parquet = path.suffix == ".parquet"
    if is_parquet:
        load_polars(path, "writing")
    with _replacing(path) as part:
        if is_parquet:
            write_parquet(table, part)
        else:
            _write_csv(table, part, packed=path.suffix == ".gz")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a name to write to, beside ``path``; rename it to that in the end, or remove it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        _sync(part)
        part.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error}") from error
    finally:
        with suppress(OSError):
            part.unlink()


def _sync(path: Path) -> None:
    """Have the kernel put a file, or the names in a folder, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_csv(table: CandleTable, path: Path, *, packed: bool) -> None:
    columns = [getattr(table, name).tolist() for name in NEEDED]
    lines = (",".join(map(repr, row)) for row in zip(*columns, strict=True))
    text = "\n".join((",".join(NEEDED), *lines)) + "\n"
    # no time in the gzip header: the same candles give the same bytes
    data = gzip.compress(text.encode(), 6, mtime=0) if packed else text.encode()
    path.write_bytes(data)
