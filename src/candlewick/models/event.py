"""`Event`: what travels over the bus, and the closed set of kinds it can have."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Any

import msgspec

from candlewick.models.enums import direct

__all__ = ["Event", "EventKind", "utc_now_ms"]


@direct
class EventKind(StrEnum):
    """Every kind of event there is; the payload type stands beside each."""

    CANDLE_CLOSED = "candle_closed"  # Candle
    PRICE_UPDATED = "price_updated"  # Candle that is still open, or PriceUpdate
    SIGNAL_GENERATED = "signal_generated"  # Signal
    ORDER_UPDATED = "order_updated"  # OrderUpdate
    FILL_RECEIVED = "fill_received"  # Fill
    FUNDING_PAID = "funding_paid"  # Funding
    ACCOUNT_UPDATED = "account_updated"  # AccountSnapshot
    TIMER_FIRED = "timer_fired"  # Timer
    STREAM_CHANGED = "stream_changed"  # StreamStatus
    ENGINE_STATE_CHANGED = "engine_state_changed"  # StateChanged, DayStarted, Alarm, ...
    ERROR = "error"  # str


def utc_now_ms() -> int:
    """Return the wall clock as UTC milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Event(msgspec.Struct, frozen=True, gc=False):
    """One thing that happened; ``time`` in UTC ms, ``sequence`` counted by the publisher."""

    kind: EventKind
    payload: Any = None
    time: int = msgspec.field(default_factory=utc_now_ms)
    sequence: int = 0
