"""The engine decides: it turns events into orders, and keeps positions protected. Pure."""

from candlewick.engine.client_ids import ClientIds, parse_client_id
from candlewick.engine.decisions import (
    Alarm,
    AlarmKind,
    AskAccount,
    Cancel,
    DayStarted,
    Decision,
    EngineState,
    ForeignOrder,
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
    "Alarm",
    "AlarmKind",
    "AskAccount",
    "Cancel",
    "ClientIds",
    "DayStarted",
    "Decision",
    "EngineState",
    "ForeignOrder",
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
