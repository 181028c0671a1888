"""`Shelf`: a folder of candle files, each with a note on where it comes from."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from candlewick.data.archive import Span
from candlewick.data.fetching import file_sha256
from candlewick.data.writing import write_candles
from candlewick.errors import DataError
from candlewick.models import CandleTable

__all__ = ["Note", "Shelf"]

_NOTES = ".download"


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Where a candle file comes from.

    ``sha256`` is that of the file itself, ``source`` the path in the archive or ``rest``,
    ``source_sha256`` what the archive told of its file. A span that was not over has a file that is
    not ``complete``.
    """

    sha256: str
    source: str
    source_sha256: str = ""
    candles: int = 0
    complete: bool = True


class Shelf:
    """The candle files of one folder, one a month or day; `load_market` reads the folder.

    Args:
        directory: the folder; made where it is missing.
        ending: ``.parquet`` or ``.csv.gz``.

    Notes, and what of the archive's files has come so far, lie in ``.download`` inside it.
    """

    def __init__(self, directory: Path, ending: str) -> None:
        self.directory = directory
        self._ending = ending
        self._notes = directory / _NOTES
        self._held: dict[Path, bool] = {}
        try:
            self._notes.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{directory} cannot be written: {error.strerror}") from error

    def file(self, symbol: str, interval: str, span: Span) -> Path:
        """Where the candles of a span are."""
        return self.directory / f"{span.name(symbol, interval)}{self._ending}"

    def zip(self, symbol: str, interval: str, span: Span) -> Path:
        """Where the archive's file is put until its candles are taken out."""
        return self._notes / f"{span.name(symbol, interval)}.zip"

    def _note(self, path: Path) -> Path:
        return self._notes / f"{path.name}.json"

    def holds(self, symbol: str, interval: str, span: Span) -> bool:
        """True when the file of a span that is over is there, and is what was written."""
        path = self.file(symbol, interval, span)
        if path not in self._held:
            self._held[path] = self._verify(path)
        return self._held[path]

    def _verify(self, path: Path) -> bool:
        try:
            note = msgspec.json.decode(self._note(path).read_bytes(), type=Note)
        except (OSError, msgspec.MsgspecError):
            return False
        return note.complete and file_sha256(path) == note.sha256

    def put(
        self,
        table: CandleTable,
        span: Span,
        source: str,
        *,
        source_sha256: str = "",
        complete: bool = True,
    ) -> Path:
        """Write the candles of a span, whole or not at all, and the note after them."""
        path = self.file(table.symbol, table.interval, span)
        write_candles(table, path, force=True)
        note = Note(
            sha256=file_sha256(path), source=source, source_sha256=source_sha256,
            candles=len(table), complete=complete,
        )  # fmt: skip
        part = self._note(path).with_suffix(f".{os.getpid()}.part")
        part.write_bytes(msgspec.json.encode(note))
        part.replace(self._note(path))
        self._held[path] = complete
        return path

    def drop_remains(self, symbol: str, interval: str, span: Span) -> None:
        """Remove what a fetch of this span has left behind: the archive's file, and parts of files.

        A process that was killed has removed nothing; what a living one is writing stays.
        """
        archived = self.zip(symbol, interval, span)
        archived.unlink(missing_ok=True)
        archived.with_name(f"{archived.name}.part").unlink(missing_ok=True)
        path = self.file(symbol, interval, span)
        parts = (*self.directory.glob(f".{path.name}.*.part"), *self._notes.glob("*.part"))
        for part in parts:
            writer = part.suffixes[-2].removeprefix(".")
            if part.name.removeprefix(".").startswith(path.name) and not _is_alive(writer):
                part.unlink(missing_ok=True)

    def drop_days(self, symbol: str, interval: str, month: Span) -> None:
        """Remove the files of days that a month's file holds now."""
        for day in month.days():
            path = self.file(symbol, interval, day)
            if self._note(path).exists():
                path.unlink(missing_ok=True)
                self._note(path).unlink(missing_ok=True)
                self._held.pop(path, None)


def _is_alive(number: str) -> bool:
    """True when a process has this number, and when it is no number."""
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (ValueError, PermissionError):
        return True
    return True
