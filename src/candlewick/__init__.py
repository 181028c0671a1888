"""Candlewick: an event-driven engine that trades crypto perpetual futures.

The names below are loaded when they are first used, so that the import stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from candlewick.__about__ import __version__

if TYPE_CHECKING:
    from candlewick.audit import AuditLogger
    from candlewick.backtesting import backtest
    from candlewick.bus import EventBus
    from candlewick.engine import TradingEngine
    from candlewick.models import Candle, Event, Fill, Instrument, Order, Position, Signal
    from candlewick.strategies import Strategy

__all__ = [
    "AuditLogger",
    "Candle",
    "Event",
    "EventBus",
    "Fill",
    "Instrument",
    "Order",
    "Position",
    "Signal",
    "Strategy",
    "TradingEngine",
    "__version__",
    "backtest",
]

_ROOMS = {
    "AuditLogger": "audit",
    "EventBus": "bus",
    "Strategy": "strategies",
    "TradingEngine": "engine",
    "backtest": "backtesting",
    **dict.fromkeys(
        ("Candle", "Event", "Fill", "Instrument", "Order", "Position", "Signal"), "models"
    ),
}


def __getattr__(name: str) -> Any:
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{room}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
