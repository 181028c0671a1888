"""From a record's data to JSON bytes: a defined form for every value, and no secret in any.

Floats that JSON lacks become the strings "NaN", "Infinity" and "-Infinity"; Decimal, datetime and
date, bytes (base64), UUID and enums take msgspec's forms; sets are lists; numpy scalars are
numbers, arrays lists; dataclasses and structs are objects; an exception is its type and message.
What has no form becomes {"unencodable": repr}; data of more than `LARGEST` bytes becomes
{"oversized": bytes, "start": text}.

Most records are a struct of the engine's, or a flat dict with the same keys as the one before. For
these the names and types are checked once, and known from then on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec
from msgspec import inspect

from candlewick.audit.redaction import may_hold_secret, names_secret, redact

__all__ = ["LARGEST", "Encoder"]

LARGEST = 8 * 1024 * 1024  # an account's answer with 30,000 fills still is an input to replay
_START = 1_000  # characters of what could not be kept whole
_DEEPEST = 50
_KNOWN = 10_000  # names and types; beyond it data is looked through each time
_BRACE, _EQUALS = b"{="  # as numbers: `in` finds a number in bytes much faster than a text
_PLAIN_TYPES = (
    inspect.IntType,
    inspect.FloatType,
    inspect.StrType,
    inspect.BoolType,
    inspect.NoneType,
    inspect.EnumType,
    inspect.LiteralType,
)


class _UnknownValueError(TypeError):
    """A value that needs `_form_of`."""


def _refuse(value: Any) -> Any:
    raise _UnknownValueError


def _form_of(value: Any) -> Any:
    """Give a JSON form to what msgspec does not know."""
    if isinstance(value, float):  # numpy.float64 is one
        return _named_float(float(value))
    if isinstance(value, str | int):
        return _sound(str(value)) if isinstance(value, str) else int(value)
    if isinstance(value, Mapping):
        return _plain(dict(value), _DEEPEST)
    item = getattr(value, "item", None)
    if item is not None and getattr(value, "ndim", None) == 0:
        return _plain(item(), _DEEPEST)
    tolist = getattr(value, "tolist", None)
    if tolist is not None:
        return _plain(tolist(), _DEEPEST)
    if isinstance(value, BaseException):
        return {"error": type(value).__name__, "message": _text_of(value, str)}
    return {"unencodable": _text_of(value, repr)}


def _text_of(value: Any, form: Any) -> str:
    try:
        return _sound(form(value))[:_START]
    except Exception as error:  # noqa: BLE001 - a broken __repr__ is one more unencodable thing
        return f"<{type(value).__name__} whose {form.__name__} raised {type(error).__name__}>"


def _sound(text: str) -> str:
    """Replace what UTF-8 lacks (lone surrogates)."""
    return text.encode("utf-8", "backslashreplace").decode()


def _named_float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


_encode_known = msgspec.json.Encoder(enc_hook=_refuse).encode
_encode_any = msgspec.json.Encoder(enc_hook=_form_of).encode


class Encoder:
    """Encodes data for the journal; never raises for what it is given."""

    __slots__ = ("_names", "_types", "_unknown_types", "failures")

    def __init__(self) -> None:
        self.failures = 0
        self._names: set[str] = set()  # keys that name no secret
        self._types: set[type] = {str, int, float, bool, type(None)}  # that hold none
        self._unknown_types: set[type] = set()

    def encode(self, data: Any) -> bytes:
        """Return ``data`` as JSON on one line, with secrets replaced."""
        kind = type(data)
        try:
            if self._names.issuperset(data) if kind is dict else kind in self._types:
                encoded = _encode_known(data)
                # name=value in a text may give a secret away; null may stand for NaN
                if (
                    _EQUALS not in encoded
                    and (encoded.rfind(b"null") < 0 or _is_finite(data))  # faster than `find`
                    and (kind is not dict or _BRACE not in encoded[1:] or self._knows_values(data))
                    and len(encoded) <= LARGEST
                ):
                    return encoded
        except Exception:  # noqa: BLE001, S110 - it is looked through below
            pass
        return self._encode_unknown(data)

    def _knows_values(self, data: dict[str, Any]) -> bool:
        return self._types.issuperset(map(type, data.values()))

    def _encode_unknown(self, data: Any) -> bytes:
        try:
            encoded = self._encode_thoroughly(data)
        except Exception as error:  # noqa: BLE001 - a record must never fail its caller
            self.failures += 1
            lost = {"unencodable": _text_of(data, repr), "error": _text_of(error, repr)}
            encoded = _encode_any(redact(lost))
        if len(encoded) > LARGEST:
            start = encoded[:_START].decode(errors="replace")
            encoded = _encode_any({"oversized": len(encoded), "start": start})
        return encoded

    def _encode_thoroughly(self, data: Any) -> bytes:
        try:
            encoded = _encode_any(data)
            if b"null" in encoded and not _is_finite(data):
                encoded = _encode_any(_plain(data, _DEEPEST))
        except (TypeError, ValueError, OverflowError, RecursionError):
            encoded = _encode_any(_plain(data, _DEEPEST))
            if b'"unencodable"' in encoded:
                self.failures += 1
        if may_hold_secret(encoded):
            encoded = _encode_any(redact(msgspec.json.decode(encoded)))
        self._learn(data)
        return encoded

    # -- what is known ---------------------------------------------------------------------------

    def _learn(self, data: Any) -> None:
        self._learn_type(type(data))
        if type(data) is dict and len(self._names) + len(data) < _KNOWN:
            self._names.update(k for k in data if type(k) is str and not names_secret(k))
            for kind in set(map(type, data.values())):
                self._learn_type(kind)

    def _learn_type(self, kind: type) -> None:
        if kind in self._types or kind in self._unknown_types:
            return
        if len(self._types) + len(self._unknown_types) >= _KNOWN:
            return
        known = self._types if _holds_no_secret(kind) else self._unknown_types
        known.add(kind)


def _holds_no_secret(kind: type) -> bool:
    """True for an enum, and for a struct of such things whose names name no secret."""
    if issubclass(kind, Enum):
        return True
    if not issubclass(kind, msgspec.Struct):
        return False
    try:
        return _is_plain(inspect.type_info(kind))
    except Exception:  # noqa: BLE001 - such as a forward reference that cannot be resolved
        return False


def _is_plain(kind: inspect.Type) -> bool:
    if isinstance(kind, _PLAIN_TYPES):
        return True
    if isinstance(kind, inspect.UnionType):
        return all(map(_is_plain, kind.types))
    if isinstance(kind, inspect.VarTupleType | inspect.ListType):
        return _is_plain(kind.item_type)
    if isinstance(kind, inspect.StructType):
        return all(
            not names_secret(field.encode_name) and _is_plain(field.type) for field in kind.fields
        )
    return False


# -- values that JSON lacks ----------------------------------------------------------------------


def _is_finite(value: Any) -> bool:
    """False when a float in the data may be one that JSON lacks."""
    if value is None or isinstance(value, str | int):
        return True
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_is_finite, value.values())) and all(map(_is_finite, value))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    if isinstance(value, msgspec.Struct):
        return all(_is_finite(getattr(value, name)) for name in value.__struct_fields__)
    return False


def _plain(value: Any, depth: int) -> Any:
    """Rebuild data from what JSON has: a name for each float it lacks, sound texts and keys."""
    if isinstance(value, Enum):
        return _plain(value.value, depth - 1) if depth else _text_of(value, repr)
    if isinstance(value, float):
        return _named_float(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, str):
        return _sound(value)
    if not depth:
        return {"unencodable": f"nested deeper than {_DEEPEST}"}
    if isinstance(value, dict):
        return {_key_of(key): _plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth - 1) for item in value]
    return _plain_object(value, depth)


def _plain_object(value: Any, depth: int) -> Any:
    if isinstance(value, msgspec.Struct):
        fields = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        return {key: _plain(getattr(value, name), depth - 1) for key, name in fields}
    built = msgspec.to_builtins(value, enc_hook=_form_of)
    return built if built is value else _plain(built, depth - 1)


def _key_of(key: Any) -> str:
    plain = _plain(key, 1)
    return plain if isinstance(plain, str) else _encode_any(plain).decode()
