"""Candle intervals: their names, as the exchange spells them, and their lengths in milliseconds."""

from __future__ import annotations

from candlewick.errors import ValidationError, nearest

__all__ = ["INTERVAL_MS", "interval_ms"]

_MINUTE = 60_000
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR

INTERVAL_MS: dict[str, int] = {
    "1s": 1_000,
    "1m": _MINUTE,
    "3m": 3 * _MINUTE,
    "5m": 5 * _MINUTE,
    "15m": 15 * _MINUTE,
    "30m": 30 * _MINUTE,
    "1h": _HOUR,
    "2h": 2 * _HOUR,
    "4h": 4 * _HOUR,
    "6h": 6 * _HOUR,
    "8h": 8 * _HOUR,
    "12h": 12 * _HOUR,
    "1d": _DAY,
    "3d": 3 * _DAY,
    "1w": 7 * _DAY,
}


def interval_ms(interval: str) -> int:
    """Return the length of ``interval`` in ms; raises ValidationError for an unknown one."""
    try:
        return INTERVAL_MS[interval]
    except KeyError:
        known = ", ".join(INTERVAL_MS)
        hint = nearest(interval, INTERVAL_MS)
        raise ValidationError(f"unknown interval {interval!r}{hint} (known: {known})") from None
