"""`read` and `follow`: the journal's records, filtered, oldest first.

Both read what is whole and stop at a torn tail. They check no hash: that is `verify`'s.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from candlewick.audit.chain import Record, parse_line, sequence_of
from candlewick.audit.encoding import LARGEST
from candlewick.audit.files import SegmentFile, journal_directory, segment_files
from candlewick.audit.naming import NEXT, day_of, segments_of
from candlewick.audit.recovery import tail_of
from candlewick.errors import DataError

__all__ = ["Filter", "follow", "lines_of", "mentions", "read", "type_of"]

_ORDER_KEYS = frozenset(("client_id", "parent_id", "order_id", "venue_id"))
_NS_PER_MS = 1_000_000
_SHORTEST_WAIT_S = 0.005
_LONGEST_WAIT_S = 0.25
_CHUNK = 65_536


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which records are wanted; what is left out lets all pass.

    ``since`` is included, ``until`` is not, both UTC ms. ``types`` may be patterns such as
    ``order_*``. ``symbol`` and ``order_id`` must stand in the record's data under a name that says
    so, at any depth; an order's id is its client id or the exchange's.
    """

    since: int | None = None
    until: int | None = None
    types: tuple[str, ...] = ()
    symbol: str | None = None
    order_id: str | None = None

    def may_match(self, line: bytes) -> bool:
        """False when a line cannot match; a quick look, without decoding it."""
        for wanted in (self.symbol, self.order_id):
            if wanted is not None and msgspec.json.encode(wanted) not in line:
                return False
        return not self.types or self._wants(type_of(line))

    def _wants(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.types)

    def matches(self, record: Record) -> bool:
        """True when a record is wanted."""
        if self.since is not None and record.time_ns < self.since * _NS_PER_MS:
            return False
        if self.until is not None and record.time_ns >= self.until * _NS_PER_MS:
            return False
        if self.symbol is not None and not mentions(record.data, ("symbol",), self.symbol):
            return False
        return self.order_id is None or mentions(record.data, _ORDER_KEYS, self.order_id)


def read(
    directory: str | Path,
    *,
    since: int | None = None,
    until: int | None = None,
    types: Iterable[str] | None = None,
    symbol: str | None = None,
    order_id: str | None = None,
    skip_broken: bool = False,
) -> Iterator[Record]:
    """Yield the records of a journal, oldest first; see `Filter` for the arguments.

    ``skip_broken`` leaves out what is not a record instead of raising: for cleaning up, which must
    not fail because a file is damaged.

    Raises:
        DataError: there is no journal, a file cannot be read, or a line is not a record.
    """
    wanted = Filter(
        since=since, until=until, types=tuple(types or ()), symbol=symbol, order_id=order_id
    )
    path = journal_directory(directory)
    for file in segment_files(path):
        if since is not None and _ends_before(file, since):
            continue
        for number, line in enumerate(lines_of(file.content), 1):
            if wanted.may_match(line):
                try:
                    record = _record(line, file.path, number)
                except DataError:
                    if skip_broken:
                        continue
                    raise
                if wanted.matches(record):
                    yield record


def _ends_before(file: SegmentFile, since_ms: int) -> bool:
    """True when all records of a file are older: by its day, and by its last record."""
    day = day_of(since_ms * _NS_PER_MS)
    day_before = (datetime.fromisoformat(day) - timedelta(days=1)).strftime("%Y-%m-%d")
    if file.path.name == NEXT or file.path.name[:10] >= day_before:
        return False
    lines = lines_of(file.content)
    return not lines or _record(lines[-1], file.path, len(lines)).time_ns < since_ms * _NS_PER_MS


def lines_of(content: bytes) -> list[bytes]:
    """Return the whole lines of a file."""
    return content[: tail_of(content).end].split(b"\n")[:-1]


def type_of(line: bytes) -> str:
    """Return the type of a line's record without decoding it."""
    parts = line.split(b'"', 8)
    return parts[7].decode(errors="replace") if len(parts) == 9 else ""


def _record(line: bytes, path: Path, number: int) -> Record:
    try:
        return parse_line(line)
    except msgspec.MsgspecError as error:
        raise DataError(
            f"{path}:{number} is not a record ({error}); run 'candlewick audit verify"
            f" {path.parent}'"
        ) from error


def mentions(data: Any, names: Collection[str], value: str) -> bool:
    """True when ``value`` stands under one of these names, at any depth."""
    if isinstance(data, dict):
        return any(
            (key in names and item == value) or mentions(item, names, value)
            for key, item in data.items()
        )
    return isinstance(data, list) and any(mentions(item, names, value) for item in data)


# -- following -----------------------------------------------------------------------------------


def follow(
    directory: str | Path,
    wanted: Filter | None = None,
    *,
    after: int = 0,
    is_over: Callable[[], bool] = lambda: False,
    wait: Callable[[float], object] = time.sleep,
) -> Iterator[Record]:
    """Yield the records behind the sequence ``after``, and then those that are written.

    The standard library has no way to be told of a change of a file, so it looks: after 5 ms, and
    when nothing comes less and less often, down to four times a second. For programs that can
    wait; not for an event loop.

    Args:
        directory: of the journal; it may be empty yet.
        wanted: which records; None for all.
        after: the last sequence that is known already.
        is_over: asked before each look: True ends it where there is nothing new any more.
        wait: called with the seconds until the next look.
    """
    wanted = wanted or Filter()
    source = _Source(Path(directory), after)
    delay = _SHORTEST_WAIT_S
    try:
        while True:
            over = is_over()
            lines = source.new_lines()
            for line in lines:
                if wanted.may_match(line):
                    record = _record(line, source.path, 0)
                    if wanted.matches(record):
                        yield record
            if lines:
                delay = _SHORTEST_WAIT_S
            elif over:
                return
            else:
                wait(delay)
                delay = min(2 * delay, _LONGEST_WAIT_S)
    finally:
        source.close()


class _Source:
    """The file that is being written, as far as it is read; goes from one to the next."""

    def __init__(self, directory: Path, after: int) -> None:
        self.path = directory
        self._directory = directory
        self._last = after
        self._file: BinaryIO | None = None
        self._offset = 0

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def new_lines(self) -> list[bytes]:
        """Return the whole lines that were not there before."""
        lines = self._read()
        if not lines and self._open_next():
            lines = self._read()
        return lines

    def _read(self) -> list[bytes]:
        while piece := self._whole_lines():
            self._offset += len(piece)
            lines = [line for line in lines_of(piece) if sequence_of(line) > self._last]
            if lines:
                self._last = sequence_of(lines[-1])
                return lines
        return []

    def _whole_lines(self) -> bytes:
        """Return some whole lines behind the offset; nothing when there is none."""
        for size in (_CHUNK, 2 * LARGEST):
            content = self._at_offset(size)
            if content.endswith(b"\0"):  # it may have grown while it was read
                content = self._at_offset(len(content.rstrip(b"\0")))
            end = tail_of(content).end
            if end or len(content) < size:
                break
        return content[:end]

    def _at_offset(self, size: int) -> bytes:
        return b"" if self._file is None else os.pread(self._file.fileno(), size, self._offset)

    def _open_next(self) -> bool:
        """Go on to the file with the next record; False when there is none yet."""
        if not self._directory.is_dir():
            return False
        plain = [path for path in segments_of(self._directory) if path.suffix != ".zst"]
        for path in reversed(plain):
            try:
                file = path.open("rb")
            except FileNotFoundError:
                return False
            first = sequence_of(file.read(64))
            begins_here = 0 < first <= self._last + 1 or (path == plain[0] and self._file is None)
            if begins_here and not self._is_open(file):
                self.close()
                self._file, self._offset, self.path = file, 0, path
                return True
            file.close()
            if begins_here:
                return False
        return False

    def _is_open(self, file: BinaryIO) -> bool:
        return self._file is not None and os.path.sameopenfile(self._file.fileno(), file.fileno())
