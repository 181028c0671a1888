"""The engine decides: it turns events into orders, and keeps positions protected. Pure."""

from candlewick.engine.client_ids import ClientIds, parse_client_id
from candlewick.engine.decisions import (
    Cancel,
    DayStarted,
    Decision,
    EngineState,
    OrderChanged,
    PositionChanged,
    Query,
    StateChanged,
    StopPolicy,
    Submit,
    Trade,
)
from candlewick.engine.engine import TradingEngine
from candlewick.engine.lifecycle import apply_update
from candlewick.engine.memory import Memory, SymbolMemory

__all__ = [
    "Cancel",
    "ClientIds",
    "DayStarted",
    "Decision",
    "EngineState",
    "Memory",
    "OrderChanged",
    "PositionChanged",
    "Query",
    "StateChanged",
    "StopPolicy",
    "Submit",
    "SymbolMemory",
    "Trade",
    "TradingEngine",
    "apply_update",
    "parse_client_id",
]
