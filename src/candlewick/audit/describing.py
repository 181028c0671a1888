"""`describe`: what a record holds, in one line for people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

__all__ = ["describe"]

# What comes first, and what of it needs no name.
_FIRST = ("client_id", "purpose", "side", "quantity", "symbol", "type")
_PLAIN = frozenset((*_FIRST, "message"))
_TOLD_IF_ZERO = frozenset(("exit_code",))
_USUAL = frozenset(("BOTH", "GTC"))  # position side and time in force of nearly every order
_MARKET_TIME_MS = 1_000_000_000_000  # a number above it, under the name of a time, is one


def describe(data: Any, *, leave_out: frozenset[str] = frozenset()) -> str:
    """Say in one line what a record's data tells; what is zero, empty or usual is left out."""
    if not isinstance(data, dict):
        return "" if data is None else _shown("", data)
    return " ".join(_said(data, leave_out))


def _said(data: dict[str, Any], leave_out: frozenset[str] = frozenset()) -> Iterator[str]:
    names = [*(name for name in _FIRST if name in data), *(n for n in data if n not in _FIRST)]
    for name in names:
        value = data[name]
        if name in leave_out or _tells_nothing(name, value):
            continue
        plain = name in _PLAIN and not isinstance(value, dict | list)
        shown = _shown(name, value)
        yield shown if plain else f"{name.replace('_', ' ')} {shown}"


def _tells_nothing(name: str, value: Any) -> bool:
    if isinstance(value, str):
        return not value or value in _USUAL
    return not value and name not in _TOLD_IF_ZERO


def _shown(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, int) and value > _MARKET_TIME_MS and name.endswith("time"):
        moment = datetime.fromtimestamp(value / 1e3, UTC)
        return f"{moment:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, dict):
        return f"({' '.join(_said(value))})"
    if isinstance(value, list):
        return f"[{', '.join(_shown('', item) for item in value)}]"
    return str(value)
