"""Find where a journal ended, as it was left by a process that may have been killed."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from candlewick.audit.chain import GENESIS, Record, parse_line, sequence_of, split_line
from candlewick.audit.naming import segments_of
from candlewick.errors import JournalError

__all__ = ["PREPARED", "End", "find_end", "tail_of"]

PREPARED = ".prepared"


class End(msgspec.Struct, frozen=True):
    """The last record's sequence, hash and time, and the bytes of a record that was cut short."""

    sequence: int = 0
    hash: bytes = GENESIS
    time_ns: int = 0
    torn: bytes = b""
    closed: bool = False


def tail_of(content: bytes) -> tuple[int, bytes]:
    """Return where the last complete line ends, and what stands behind it except zeros."""
    end = content.rfind(b"\n") + 1
    return end, content[end:].rstrip(b"\0")


def find_end(directory: Path) -> End:
    """Read the last segment, cut what is not a record off it, and say where the journal ends.

    Raises JournalError when the last complete line is not a record: that is not what a killed
    process leaves behind.
    """
    for leftover in directory.glob(f"*{PREPARED}"):
        leftover.unlink()
    torn = b""
    for path in reversed(segments_of(directory)):
        if path.suffix == ".zst":
            raise JournalError(
                f"{path} is the journal's last file and compressed; decompress it to go on writing"
            )
        content = path.read_bytes()
        end, rest = tail_of(content)
        torn = rest or torn
        if end == 0:
            path.unlink()
            continue
        if end != len(content):
            os.truncate(path, end)
        record, digest = _last_record(path, content[:end])
        return End(record.sequence, digest, record.time_ns, torn, record.type == "journal_closed")
    return End(torn=torn)


def _last_record(path: Path, content: bytes) -> tuple[Record, bytes]:
    line = content[content.rfind(b"\n", 0, -1) + 1 : -1]
    parts = split_line(line)
    if parts is None or sequence_of(line) < 1:
        raise JournalError(
            f"the last line of {path} is not a record; run 'candlewick audit verify"
            f" {path.parent}', and start a new journal elsewhere"
        )
    return parse_line(line), parts[1]
