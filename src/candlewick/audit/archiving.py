"""Old days: compressed with zstd, and removed after a while; both leave a journal that verifies."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from candlewick.audit.chain import sequence_of, split_line
from candlewick.audit.compression import compress, decompress
from candlewick.audit.files import journal_directory, segment_files
from candlewick.audit.naming import NEXT, segments_of, sync_directory
from candlewick.audit.recovery import tail_of
from candlewick.errors import DataError, JournalError

__all__ = ["Archived", "Removed", "archive", "removed_from"]

_REMOVED = "removed.json"


class Removed(msgspec.Struct, frozen=True):
    """The last record that retention has removed, and the UTC day on which it did.

    ``before`` is what stood here until then: a removal can be interrupted.
    """

    last_sequence: int
    last_hash: str
    day: str
    before: Removed | None = None


class Archived(msgspec.Struct, frozen=True):
    """What `archive` has done: names of files, and bytes before and after compression."""

    compressed: tuple[str, ...]
    removed: tuple[str, ...]
    bytes_before: int
    bytes_after: int


def removed_from(directory: Path) -> Removed | None:
    """Return what retention has removed from a journal; None when it is whole."""
    path = directory / _REMOVED
    try:
        return msgspec.json.decode(path.read_bytes(), type=Removed)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def archive(
    directory: str | Path, *, keep_plain_days: int = 7, keep_days: int = 0, today: str = ""
) -> Archived:
    """Compress the files of old days, and remove those of very old ones.

    The journal may be written meanwhile: its last two files are never touched.

    Args:
        directory: of the journal.
        keep_plain_days: days before today that stay as they are.
        keep_days: days before today that stay at all; 0 for all.
        today: UTC day as ``YYYY-MM-DD``; empty for the clock's.

    Raises:
        DataError: there is no journal, or ``today`` is no day.
        JournalError: a file does not end with a whole record, or cannot be written.
    """
    path = journal_directory(directory)
    now = _day(today)
    files = [file for file in segments_of(path)[:-2] if file.name != NEXT]
    old = [file for file in files if file.name[:10] < _before(now, keep_plain_days)]
    very_old = [f for f in files if keep_days and f.name[:10] < _before(now, keep_days)]
    try:
        for file in very_old:
            _remove(path, file, now.strftime("%Y-%m-%d"))
        sizes = [
            (file.name, *_compress(file))
            for file in old
            if file not in very_old and file.suffix == ".jsonl"
        ]
        sync_directory(path)
    except OSError as error:
        raise JournalError(f"journal {path}: {error.strerror}: {error.filename}") from error
    return Archived(
        tuple(name for name, _, _ in sizes),
        tuple(file.name for file in very_old),
        sum(before for _, before, _ in sizes),
        sum(after for _, _, after in sizes),
    )


def _day(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text) if text else datetime.now(UTC)
    except ValueError:
        raise DataError(f"{text!r} is not a day like 2026-11-23") from None


def _before(today: datetime, days: int) -> str:
    return (today - timedelta(days=days)).strftime("%Y-%m-%d")


def _compress(path: Path) -> tuple[int, int]:
    """Replace a file by its compressed form; returns the sizes before and after."""
    content = path.read_bytes()
    frame = compress(content)
    if decompress(frame) != content:
        raise JournalError(f"{path} did not survive its compression; it stays as it is")
    temporary = path.with_name(f"{path.name}.zst.part")
    with temporary.open("wb") as file:
        file.write(frame)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path.with_name(f"{path.name}.zst"))
    sync_directory(path.parent)
    path.unlink()
    return len(content), len(frame)


def _remove(directory: Path, path: Path, day: str) -> None:
    """Remove a journal's first file; what its last record was is written down before."""
    content = next(segment_files(directory)).content
    line = content[: tail_of(content).end].rsplit(b"\n", 2)[-2]
    parts = split_line(line)
    if parts is None:
        raise JournalError(f"the last line of {path} is not a record; verify the journal first")
    before = removed_from(directory)
    if before is not None:
        before = msgspec.structs.replace(before, before=None)
    removed = Removed(sequence_of(line), parts[1].decode(), day, before)
    temporary = directory / f"{_REMOVED}.part"
    with temporary.open("wb") as file:
        file.write(msgspec.json.encode(removed))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(directory / _REMOVED)
    sync_directory(directory)
    for name in (path.name.removesuffix(".zst"), f"{path.name.removesuffix('.zst')}.zst"):
        (directory / name).unlink(missing_ok=True)
