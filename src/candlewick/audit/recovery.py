"""Find where a journal ended, as it was left by a process or a machine that may have died.

A killed process leaves at most the beginning of one record behind the last whole one: a torn tail.
A power cut can do more, because the disk may have got a later page and not an earlier one: then a
hole of zeros stands in the last second's records. What follows the hole does not count, and is
kept in a file of its own.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from candlewick.audit.chain import GENESIS, Record, link, parse_line, sequence_of, split_line
from candlewick.audit.naming import (
    NEXT,
    day_of,
    has_records,
    key_of,
    next_name,
    segments_of,
    sync_directory,
)
from candlewick.errors import JournalError

__all__ = ["End", "Tail", "find_end", "tail_of"]

KEPT_IN_RECORD = 4096  # bytes of a torn tail; a longer one gets a file


class Tail(msgspec.Struct, frozen=True):
    """How a file ends: whole records up to ``end``, then ``rest``, which is none, and zeros."""

    end: int
    rest: bytes
    zeros: int


class End(msgspec.Struct, frozen=True):
    """The last record of a journal, and what stands behind it.

    ``torn`` is what is not a record; ``kept`` names the files that hold it where it is long.
    ``cuts`` are (file, length) to be cut once the journal has gone on; ``day`` is that of the last
    file's name.
    """

    sequence: int = 0
    hash: bytes = GENESIS
    time_ns: int = 0
    day: str = ""
    closed: bool = False
    torn: bytes = b""
    kept: tuple[str, ...] = ()
    cuts: tuple[tuple[Path, int], ...] = ()

    def cut(self) -> None:
        """Cut what is not a record off the files."""
        for path, length in self.cuts:
            os.truncate(path, length)


def tail_of(content: bytes) -> Tail:
    """Say how a file ends. A record never contains a zero byte."""
    first_zero = content.find(b"\0")
    end = content.rfind(b"\n", 0, first_zero if first_zero >= 0 else len(content)) + 1
    rest = content[end:].rstrip(b"\0")
    return Tail(end, rest, len(content) - end - len(rest))


class _Last(msgspec.Struct, frozen=True):
    """A file that ends with a record, as far as is known: its records, and what follows them."""

    path: Path
    records: bytes
    tail: Tail

    @property
    def line(self) -> bytes:
        """The last record's line."""
        return self.records[self.records.rfind(b"\n", 0, -1) + 1 : -1]


def find_end(directory: Path) -> End:
    """Read the end of a journal; what does not count and is long is moved into ``.torn`` files.

    Raises:
        JournalError: the last whole line is not a record that follows the one before it; no crash
            leaves this behind. Or a file cannot be read.
    """
    try:
        return _find_end(directory)
    except OSError as error:
        raise JournalError(
            f"the journal {directory} cannot go on: {error.filename or 'a file'}: {error.strerror}"
        ) from error


def _find_end(directory: Path) -> End:
    _name_next(directory)
    day = max((key[0] for path in segments_of(directory) if (key := key_of(path))), default="")
    last: _Last | None = None
    lost = b""
    aside: list[Path] = []
    cuts: list[tuple[Path, int]] = []
    for path in _recent(directory):
        content = path.read_bytes()
        tail = tail_of(content)
        if not tail.end and not tail.rest:
            path.unlink()  # made, and never used
        elif aside or not tail.end or (last is not None and not _follows(content, last)):
            aside.append(path)
            lost += content.strip(b"\0")
        else:
            last = _Last(path, content[: tail.end], tail)
            if tail.end != len(content):
                cuts.append((path, tail.end))
    torn = (last.tail.rest if last is not None else b"") + lost
    kept = _keep(last, aside)
    if last is None:
        return End(day=day, torn=torn, kept=kept)
    record, digest = _last_record(last)
    closed = record.type == "journal_closed"
    return End(record.sequence, digest, record.time_ns, day, closed, torn, kept, tuple(cuts))


def _name_next(directory: Path) -> None:
    """A prepared segment with a record was in use: give it the name it did not live to get."""
    path = directory / NEXT
    if not has_records(path):
        path.unlink(missing_ok=True)
        return
    content = path.read_bytes()
    line = content[: content.find(b"\n")]
    try:
        day = day_of(parse_line(line).time_ns)
    except msgspec.MsgspecError:
        day = day_of(path.stat().st_mtime_ns)
    known = (key[0] for other in segments_of(directory) if (key := key_of(other)) and other != path)
    path.rename(next_name(directory, max((day, *known))))
    sync_directory(directory)


def _recent(directory: Path) -> list[Path]:
    """Return the files, oldest first, that a crash can have left unfinished, and one before."""
    found: list[Path] = []
    for path in reversed(segments_of(directory)):
        if path.suffix == ".zst":
            if not found:
                raise JournalError(
                    f"{path} is the journal's last file and compressed; decompress it to go on"
                )
            break
        found.append(path)
        if _is_finished(path) and len(found) > 1:
            break
    return found[::-1]


def _is_finished(path: Path) -> bool:
    """True when a file ends with a whole line."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        if not file.tell():
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _follows(content: bytes, last: _Last) -> bool:
    """True when a file's first record follows the last one of the file before.

    Raises JournalError where it does not, although the file before is whole.
    """
    parts = split_line(content[: content.find(b"\n")])
    before = split_line(last.line)
    if parts is not None and before is not None and link(before[1], parts[0]) == parts[1]:
        return True
    if not last.tail.rest and not last.tail.zeros:
        raise _broken(last.path, "the file after it does not follow it")
    return False


def _keep(last: _Last | None, aside: list[Path]) -> tuple[str, ...]:
    """Move what does not count, and is too long for a record, into files of its own."""
    kept = []
    if last is not None and len(last.tail.rest) > KEPT_IN_RECORD:
        path = _unused(last.path)
        path.write_bytes(last.tail.rest)
        kept.append(path.name)
    for file in aside:
        path = _unused(file)
        file.rename(path)
        kept.append(path.name)
    if kept and (parent := (last.path if last else aside[0]).parent):
        sync_directory(parent)
    return tuple(kept)


def _unused(path: Path) -> Path:
    number = 0
    while True:
        number += 1
        candidate = path.with_name(f"{path.name}.torn{number if number > 1 else ''}")
        if not candidate.exists():
            return candidate


def _last_record(last: _Last) -> tuple[Record, bytes]:
    line = last.line
    parts = split_line(line)
    if parts is None or sequence_of(line) < 1:
        raise _broken(last.path, "its last line is not a record")
    before = last.records[: -len(line) - 1]
    previous = split_line(before[before.rfind(b"\n", 0, -1) + 1 : -1])
    if previous is not None and link(previous[1], parts[0]) != parts[1]:
        raise _broken(last.path, "its last record does not follow the one before")
    try:
        return parse_line(line), parts[1]
    except msgspec.MsgspecError:
        raise _broken(last.path, "its last line is not a record") from None


def _broken(path: Path, reason: str) -> JournalError:
    return JournalError(
        f"{path} is broken: {reason}. Run 'candlewick audit verify {path.parent}', keep the"
        " directory as it is, and start a new journal in another one"
    )
