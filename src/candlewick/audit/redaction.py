"""Secrets in a record: found by the names they stand under, and replaced."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["REDACTED", "may_hold_secret", "names_secret", "redact"]

REDACTED = "[redacted]"
_WORDS = (
    r"secret(?:[_-]?key)?|passw(?:or)?d|passphrase|pwd|token|signature|authorization|credentials?"
    r"|cookie|(?:api|listen|private|access|mbx[_-]?api)[_-]?key"
)
_NAME = re.compile(rf"(?:{_WORDS}|^key)$", re.IGNORECASE)
# name=value, as in the query of a request, a header or the repr of an object
_IN_TEXT = re.compile(
    rf"((?:{_WORDS})[\"']?\s*[=:]\s*(?:bearer\s+|basic\s+)?[\"']?)([^\s\"'&,;)}}\]]+)",
    re.IGNORECASE,
)
# Every name of a secret holds one of these, lower case: the first test is a plain search.
_MARKS = (b"secret", b"pass", b"pwd", b"token", b"key", b"signature", b"authori", b"cred", b"cook")


def may_hold_secret(encoded: bytes) -> bool:
    """False when nothing in this JSON can be a secret; True means that `redact` must look."""
    lowered = encoded.lower()
    return any(mark in lowered for mark in _MARKS)


def names_secret(name: str) -> bool:
    """True when what stands under this name is a secret."""
    return _NAME.search(name) is not None


def redact(value: Any) -> Any:
    """Replace secrets in decoded JSON, at any depth: under their names, and within texts."""
    if isinstance(value, dict):
        return {
            key: REDACTED if item and item is not True and names_secret(key) else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [redact(item) for item in value]
    if isinstance(value, str):
        return _IN_TEXT.sub(rf"\1{REDACTED}", value)
    return value
