"""From a record's data to JSON bytes: a defined form for every value, and no secret in any.

Floats that JSON lacks become the strings "NaN", "Infinity" and "-Infinity"; Decimal, datetime and
date, bytes (base64), UUID and enums take msgspec's forms; sets are sorted lists; numpy scalars are
numbers; dataclasses and structs are objects. What has no form becomes {"unencodable": repr}.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

__all__ = ["Encoder", "redact"]

REDACTED = "[redacted]"
# Every name of a secret holds one of these, lower case; the first test is a plain search.
_MARKS = (b"secret", b"passw", b"token", b'key"', b"signature", b"authorization")
_SECRET_NAME = re.compile(
    r"(secret|passw(or)?d|passphrase|token|api_?key|listen_?key|private_?key|mbx-apikey"
    r"|^key$|signature|authorization)$",
    re.IGNORECASE,
)


def _hook(value: Any) -> Any:
    """Give a JSON form to what msgspec does not know."""
    item = getattr(value, "item", None)  # numpy scalars
    if item is not None and getattr(value, "ndim", None) == 0:
        return item()
    tolist = getattr(value, "tolist", None)
    if tolist is not None:
        return tolist()
    if isinstance(value, BaseException):
        return {"error": type(value).__name__, "message": str(value)}
    return {"unencodable": repr(value)[:1_000]}


class Encoder:
    """Encodes data for the journal; never raises for what it is given."""

    __slots__ = ("_encode", "failures")

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder(enc_hook=_hook).encode
        self.failures = 0

    def __call__(self, data: Any) -> bytes:
        """Return ``data`` as JSON on one line, with secrets replaced."""
        try:
            encoded = self._encode(data)
            if b"null" in encoded or b'"unencodable"' in encoded:
                encoded = self._encode(_plain(data))  # null may stand for NaN
            lowered = encoded.lower()
            for mark in _MARKS:
                if mark in lowered:
                    return self._encode(redact(msgspec.json.decode(encoded)))
            return encoded
        except Exception as error:  # noqa: BLE001 - a record must never fail its caller
            self.failures += 1
            return self._encode({"unencodable": _repr(data), "error": f"{error!r}"[:1_000]})


def _repr(value: Any) -> str:
    try:
        return repr(value)[:1_000]
    except Exception as error:  # noqa: BLE001 - a broken __repr__ is one more unencodable thing
        return f"<{type(value).__name__} whose repr raised {type(error).__name__}>"


def _plain(value: Any) -> Any:
    """Rebuild data from builtins, with a name for each float that JSON lacks."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, (str, int, bool)):
        return value
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(item) for item in value), key=str)
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    built = msgspec.to_builtins(value, enc_hook=_hook)
    return built if built is value else _plain(built)


def redact(value: Any) -> Any:
    """Replace the values of all keys that name a secret, at any depth."""
    if isinstance(value, dict):
        return {
            key: REDACTED if _SECRET_NAME.search(key) and item else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [redact(item) for item in value]
    return value
