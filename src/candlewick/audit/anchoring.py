"""Anchors: the hash of each day's last record, to be kept where the journal's writer cannot reach.

Who can write the journal's directory can also write the whole chain anew; who has an anchor sees
that it is another one.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from candlewick.audit.chain import sequence_of, split_line
from candlewick.audit.files import journal_directory, segment_files
from candlewick.audit.naming import NEXT
from candlewick.audit.reading import lines_of
from candlewick.errors import DataError

__all__ = ["Anchor", "anchors_of", "read_anchors"]


class Anchor(msgspec.Struct, frozen=True):
    """The hash (hex) that a record had; ``day`` is that of its file, and may be empty."""

    sequence: int
    hash: str
    day: str = ""

    def __str__(self) -> str:
        return f"{self.day or '-'} {self.sequence} {self.hash}"


def anchors_of(directory: str | Path) -> list[Anchor]:
    """Return the anchor of each day, oldest first; the last day's may still move.

    Raises DataError when there is no journal, or a day does not end with a record.
    """
    found: dict[str, Anchor] = {}
    for file in segment_files(journal_directory(directory)):
        lines = lines_of(file.content)
        if not lines:
            continue
        parts = split_line(lines[-1])
        if parts is None:
            raise DataError(f"the last line of {file.path} is not a record; verify the journal")
        name = file.path.name
        day = max(found, default="") if name == NEXT else name[:10]
        found[day] = Anchor(sequence_of(lines[-1]), parts[1].decode(), day)
    return list(found.values())


def read_anchors(text: str, source: str) -> list[Anchor]:
    """Read lines of ``DAY SEQUENCE HASH``, as `Anchor` prints them; a DAY can be left out.

    Raises DataError naming ``source`` and the line that is none.
    """
    anchors = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.replace(":", " ").split()
        if not words or words[0].startswith("#"):
            continue
        day, sequence, digest = ["", "", *words][-3:]
        if len(words) not in (2, 3) or not sequence.isdigit() or len(digest) != 64:
            raise DataError(f"{source}:{number}: {line!r} is not DAY SEQUENCE HASH")
        anchors.append(Anchor(int(sequence), digest.lower(), "" if day == "-" else day))
    return anchors
