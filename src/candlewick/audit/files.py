"""The contents of a journal's files, oldest first, also while it is being written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from candlewick.audit.compression import decompress
from candlewick.audit.naming import NEXT, SegmentKey, key_of, segments_of
from candlewick.errors import DataError

__all__ = ["SegmentFile", "journal_directory", "segment_files"]


class SegmentFile(msgspec.Struct, frozen=True):
    """One file as it was at one moment; ``content`` is decompressed."""

    path: Path
    content: bytes


def journal_directory(directory: str | Path) -> Path:
    """Return the directory; raises DataError when it holds no journal."""
    path = Path(directory)
    try:
        found = segments_of(path)
    except OSError as error:
        raise DataError(f"journal {path} cannot be read: {error.strerror}") from error
    if not found:
        raise DataError(f"{path} holds no journal: no file like 2026-11-23.0001.jsonl with records")
    return path


def segment_files(
    directory: Path, after: SegmentKey = ("", 0), before_day: str = ""
) -> Iterator[SegmentFile]:
    """Yield the files behind ``after``, and those that appear while this goes on.

    Args:
        directory: of the journal.
        after: the key (see `key_of`) of a file that is already known.
        before_day: leave out the files of this day and later ones; empty for none.

    Raises:
        DataError: a file cannot be read or decompressed.
    """
    done = after
    while True:
        fresh = [path for path in segments_of(directory) if (key_of(path) or done) > done]
        if before_day:
            fresh = [path for path in fresh if path.name < before_day]
        if not fresh:
            return
        for path in fresh:
            content = _content(path, directory, done)
            if content is None:
                break  # it has another name by now: list again
            yield SegmentFile(path, content)
            if path.name == NEXT:
                return
            done = key_of(path) or done


def _content(path: Path, directory: Path, done: SegmentKey) -> bytes | None:
    try:
        with path.open("rb") as file:
            if path.name == NEXT and not _is_successor(directory, done):
                return None
            content = file.read()
            if content.endswith(b"\0"):
                file.seek(0)
                content = _steady(content, file.read())
        return decompress(content) if path.suffix == ".zst" else content
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(f"journal file {path}: {error}") from error
    except OSError as error:
        raise DataError(f"journal file {path} cannot be read: {error.strerror}") from error


def _is_successor(directory: Path, done: SegmentKey) -> bool:
    """True when no file has got its name since ``done``: then the open one comes next."""
    keys = (key_of(path) for path in segments_of(directory) if path.name != NEXT)
    return all(key is None or key <= done for key in keys)


def _steady(first: bytes, second: bytes) -> bytes:
    """Return what was written when the first reading ended.

    A file that grows while it is read can show a later record and zeros before it; the second
    reading has them.
    """
    end = len(first.rstrip(b"\0"))
    return second[:end] + bytes(max(0, len(first) - end))
