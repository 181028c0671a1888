"""The engine decides: it turns events into orders, and keeps positions protected. Pure."""

from candlewick.engine.client_ids import ClientIds, parse_client_id
from candlewick.engine.decisions import (
    Cancel,
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

__all__ = [
    "Cancel",
    "ClientIds",
    "Decision",
    "EngineState",
    "OrderChanged",
    "PositionChanged",
    "Query",
    "StateChanged",
    "StopPolicy",
    "Submit",
    "Trade",
    "TradingEngine",
    "apply_update",
    "parse_client_id",
]
