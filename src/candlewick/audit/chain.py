"""The form of a record's line, and the hash chain that ties each line to the one before it.

A line is ``{"seq":N,"time_ns":T,"type":"...","data":{...},"hash":"H"}`` and a newline, where H is
SHA-256, in hex, over the previous line's H and this line up to the comma before ``"hash"``.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

__all__ = ["GENESIS", "HASH_TAIL", "Record", "link", "parse_line", "sequence_of", "split_line"]

GENESIS = b"0" * 64
HASH_TAIL = len(b',"hash":"') + 64 + len(b'"}')
_BEFORE_HASH = b',"hash":"'
_START = b'{"seq":'


class Record(msgspec.Struct, frozen=True):
    """One record as it was written. ``time_ns`` is UTC nanoseconds since 1970."""

    sequence: int = msgspec.field(name="seq")
    time_ns: int = 0
    type: str = ""
    data: Any = None
    hash: str = ""


_decode = msgspec.json.Decoder(Record).decode


def link(previous: bytes, body: bytes) -> bytes:
    """Return the hash (64 hex digits) of a line's body that follows the hash ``previous``."""
    return hashlib.sha256(previous + body).hexdigest().encode()


def split_line(line: bytes) -> tuple[bytes, bytes] | None:
    """Return (body, hash) of a line without its newline; None when it has not that form."""
    if len(line) <= HASH_TAIL or not line.startswith(_START):
        return None
    body, tail = line[:-HASH_TAIL], line[-HASH_TAIL:]
    if not tail.startswith(_BEFORE_HASH) or not tail.endswith(b'"}'):
        return None
    return body, tail[len(_BEFORE_HASH) : -2]


def sequence_of(line: bytes) -> int:
    """Return the sequence number of a line; -1 when it has none."""
    digits = line[len(_START) : line.find(b",", len(_START))]
    return int(digits) if digits.isdigit() and len(digits) < 20 else -1


def parse_line(line: bytes) -> Record:
    """Decode a line; raises msgspec.DecodeError for one that is not a record."""
    try:
        return _decode(line)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None
