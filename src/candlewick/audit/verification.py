"""`verify`: whether a journal is what was written, and if not, where it was changed."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from candlewick.audit.anchoring import Anchor
from candlewick.audit.archiving import Removed, removed_from
from candlewick.audit.chain import GENESIS, HASH_TAIL, parse_line, sequence_of, split_line
from candlewick.audit.files import SegmentFile, journal_directory, segment_files
from candlewick.audit.recovery import Tail, tail_of

__all__ = ["Problem", "ProblemKind", "Verification", "verify"]

_MOST_PROBLEMS = 100


class ProblemKind(StrEnum):
    """What is wrong with a place in a journal."""

    ALTERED = "altered"  # not what was written, or not after this predecessor
    MISSING = "missing"  # records before this one are not there
    DISORDER = "disorder"  # a record that was there already, or belongs before
    NOT_A_RECORD = "not_a_record"
    HOLE = "hole"  # zeros, and records behind them
    CUT = "cut"  # the journal's end is missing
    ANCHOR = "anchor"  # not the hash that was kept elsewhere


class Problem(msgspec.Struct, frozen=True):
    """Where and what: ``line`` counts from 1, ``offset`` in bytes of the (decompressed) file.

    ``sequence`` is that of the record which should stand there.
    """

    kind: ProblemKind
    file: str
    line: int
    offset: int
    sequence: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} (byte {self.offset}): {self.message}"


class Verification(msgspec.Struct, frozen=True):
    """The result of `verify`; ``torn`` counts the bytes of a record that was cut short."""

    directory: str
    files: int
    records: int
    first_sequence: int
    last_sequence: int
    last_hash: str
    closed: bool
    torn: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True when nothing is wrong."""
        return not self.problems


def verify(directory: str | Path, *, anchors: Iterable[Anchor] = ()) -> Verification:
    """Check sequence, chain, gaps and end of a whole journal, which may be written meanwhile.

    Args:
        directory: of the journal.
        anchors: hashes that records must have.

    Raises:
        DataError: there is no journal, or a file cannot be read.
    """
    path = journal_directory(directory)
    verifier = _Verifier(removed_from(path), anchors)
    for file in segment_files(path):
        verifier.check(file)
        if verifier.is_full:
            break
    verifier.finish()
    return Verification(
        directory=str(path),
        files=verifier.files,
        records=verifier.records,
        first_sequence=verifier.first,
        last_sequence=verifier.last,
        last_hash=(verifier.hash or b"").decode("ascii", "backslashreplace"),
        closed=verifier.closed,
        torn=verifier.torn,
        problems=tuple(verifier.problems[:_MOST_PROBLEMS]),
        notes=tuple(verifier.notes),
    )


class _Place(msgspec.Struct):
    """A line of a file; ``offset`` is where it begins."""

    file: Path
    line: int
    offset: int


class _FileEnd(msgspec.Struct):
    """How a file ends; what is wrong with it, the beginning of the next one tells."""

    place: _Place
    tail: Tail
    size: int
    last_line: bytes


class _Verifier:
    """Walks through the files; ``expected`` is the next sequence, ``hash`` what it follows.

    ``hash`` is None where it is unknown, behind something that is not a record.
    """

    def __init__(self, removed: Removed | None, anchors: Iterable[Anchor]) -> None:
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.files = self.records = self.first = self.torn = 0
        self.closed = False
        self.expected = 1
        self.hash: bytes | None = GENESIS
        self._removed = removed
        self._anchors = sorted(anchors, key=lambda anchor: anchor.sequence)
        self._place = _Place(Path(), 1, 0)  # behind the last record of the last file
        self._end: _FileEnd | None = None
        self._segment_bytes = 0

    @property
    def last(self) -> int:
        """The sequence of the last record."""
        return self.expected - 1

    @property
    def is_full(self) -> bool:
        return len(self.problems) >= _MOST_PROBLEMS

    def _found(self, kind: ProblemKind, place: _Place, message: str) -> None:
        self.problems.append(
            Problem(kind, place.file.name, place.line, place.offset, self.expected, message)
        )

    # -- records ---------------------------------------------------------------------------------

    def check(self, file: SegmentFile) -> None:
        """Check the next file."""
        tail = tail_of(file.content)
        lines = file.content[: tail.end].split(b"\n")[:-1]
        self._place = _Place(file.path, len(lines) + 1, tail.end)
        if not lines and not tail.rest:
            return  # prepared, and not used yet
        self.files += 1
        if self._end is not None:
            self._judge_inner_end(self._end, lines)
        if lines:
            if not self.records:
                self._begin(sequence_of(lines[0]))
            self._segment_bytes = _data_of(lines[0]).get("segment_bytes", self._segment_bytes)
            self._check_lines(file.path, lines)
            self._check_anchors(file.path, lines)
            self.records += len(lines)
        self._end = _FileEnd(self._place, tail, len(file.content), lines[-1] if lines else b"")

    def _begin(self, sequence: int) -> None:
        """Find out what the first record that is there follows."""
        removed = self._removed
        if removed is not None and sequence != removed.last_sequence + 1:
            removed = self._removed = removed.before  # the last removal was interrupted
        if removed is not None and sequence == removed.last_sequence + 1:
            self.expected = sequence
            self.hash = removed.last_hash.encode()
            self.notes.append(
                f"records 1 to {removed.last_sequence} were removed by retention"
                f" (last on {removed.day})"
            )
        self.first = self.expected

    def _check_lines(self, path: Path, lines: list[bytes]) -> None:
        """Check that each line follows the one before; the usual case is fast."""
        expected, previous = self.expected, self.hash
        offset = 0
        for number, line in enumerate(lines, 1):
            if previous is not None and line.startswith(b'{"seq":%d,' % expected):
                digest = sha256(previous + line[:-HASH_TAIL]).hexdigest().encode()
                if line.endswith(b',"hash":"%b"}' % digest):
                    previous = digest
                    expected += 1
                    offset += len(line) + 1
                    continue
            self.expected, self.hash = expected, previous
            self._check_odd(_Place(path, number, offset), line)
            expected, previous = self.expected, self.hash
            offset += len(line) + 1
            if self.is_full:
                self.notes.append("there are more problems; the rest was not looked at")
                break
        self.expected, self.hash = expected, previous

    def _check_odd(self, place: _Place, line: bytes) -> None:
        """Say what is wrong with a line that does not follow, and go on behind it."""
        expected, sequence, parts = self.expected, sequence_of(line), split_line(line)
        if parts is None or sequence < 1:
            self._found(
                ProblemKind.NOT_A_RECORD, place,
                f"this is not a record; record {expected} should be here",
            )  # fmt: skip
            self.expected, self.hash = expected + 1, None
            return
        if sequence < expected:
            self._found(
                ProblemKind.DISORDER, place,
                f"record {sequence} stands where record {expected} should be:"
                " inserted, repeated or moved",
            )  # fmt: skip
            return
        if sequence > expected:
            what = f"record {expected} is" if sequence == expected + 1 else (
                f"records {expected} to {sequence - 1} are"
            )  # fmt: skip
            self._found(ProblemKind.MISSING, place, f"{what} missing before record {sequence}")
        elif self.hash is not None:
            self._found(
                ProblemKind.ALTERED, place,
                f"record {sequence} is not what was written behind record {sequence - 1}",
            )  # fmt: skip
        self.expected, self.hash = sequence + 1, parts[1]

    def _check_anchors(self, path: Path, lines: list[bytes]) -> None:
        """Compare the anchored hashes of the records up to here."""
        while self._anchors and self._anchors[0].sequence < self.expected:
            anchor = self._anchors.pop(0)
            start = b'{"seq":%d,' % anchor.sequence
            offset = 0
            for number, line in enumerate(lines, 1):
                if line.startswith(start):
                    if not line.endswith(b'"%b"}' % anchor.hash.encode()):
                        self._found(
                            ProblemKind.ANCHOR, _Place(path, number, offset),
                            f"record {anchor.sequence} has not the anchored hash",
                        )  # fmt: skip
                    break
                offset += len(line) + 1
            else:
                self._check_anchor_of_removed(anchor, path)

    def _check_anchor_of_removed(self, anchor: Anchor, path: Path) -> None:
        removed = self._removed
        if removed is None or anchor.sequence > removed.last_sequence:
            return  # a missing record, which is reported already
        if anchor.sequence < removed.last_sequence:
            self.notes.append(f"record {anchor.sequence} of an anchor was removed by retention")
        elif anchor.hash != removed.last_hash:
            self._found(
                ProblemKind.ANCHOR, _Place(path, 1, 0),
                f"record {anchor.sequence}, removed by retention, had not the anchored hash",
            )  # fmt: skip

    # -- ends ------------------------------------------------------------------------------------

    def _judge_inner_end(self, end: _FileEnd, following: list[bytes]) -> None:
        """Judge the end of a file that others follow: zeros, or a torn tail that they report."""
        rest = end.tail.rest
        if not rest:
            return
        if any(
            _type_of(line) == "journal_torn_tail" and _data_of(line).get("bytes") == len(rest)
            for line in following[1:2]
        ):
            self.notes.append(f"{end.place.file.name} has the torn tail that the next file reports")
            return
        self._report_end(end)

    def _report_end(self, end: _FileEnd) -> None:
        """Report what stands behind the last whole record of a file."""
        if b"\n" in end.tail.rest and b"\0" in end.tail.rest:
            self._found(
                ProblemKind.HOLE, end.place,
                "zeros, and records behind them: a power cut (then the next start puts them aside)"
                " or a change",
            )  # fmt: skip
        else:
            self._found(ProblemKind.NOT_A_RECORD, end.place, "what stands here is not a record")

    def finish(self) -> None:
        """Judge the journal's end."""
        if self.is_full:
            return
        if self._end is not None:
            self._judge_end(self._end)
        elif not self.problems:
            self.notes.append(
                "no record is there: the process died while it opened the journal, or somebody has"
                " emptied the files"
            )
        place = self._place if self._end is None else self._end.place
        for anchor in self._anchors:
            self._found(
                ProblemKind.CUT, place,
                f"the anchored record {anchor.sequence} is missing: the journal ends before it",
            )  # fmt: skip

    def _judge_end(self, end: _FileEnd) -> None:
        self.closed = _type_of(end.last_line) == "journal_closed"
        rest = end.tail.rest
        if rest and (self.closed or not self._is_torn_record(rest)):
            self._report_end(end)
        elif rest:
            self.torn = len(rest)
            self.notes.append(f"{end.place.file.name} ends with a record that was cut short")
        if not self.closed and self._is_cut(end):
            self._found(
                ProblemKind.CUT, end.place,
                "the journal's end is missing: it was neither closed here nor left by a process"
                " that died",
            )  # fmt: skip

    def _is_torn_record(self, rest: bytes) -> bool:
        """True for what a process that dies in the middle of a record leaves."""
        start = b'{"seq":%d,' % self.expected
        begun = rest[: len(start)].rstrip(b"\0")
        return b"\n" not in rest and start.startswith(begun)

    def _is_cut(self, end: _FileEnd) -> bool:
        """A dead process leaves the prepared zeros; without them somebody has cut the file."""
        if end.place.file.suffix == ".zst":
            return True
        return end.tail.zeros == 0 or end.size < self._segment_bytes


def _type_of(line: bytes) -> str:
    try:
        return parse_line(line).type
    except msgspec.MsgspecError:
        return ""


def _data_of(line: bytes) -> dict[str, Any]:
    try:
        data = parse_line(line).data
    except msgspec.MsgspecError:
        return {}
    return data if isinstance(data, dict) else {}
