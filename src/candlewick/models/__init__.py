"""The values that travel through Candlewick. This room imports nothing of ours but the errors."""

from candlewick.models.account import AccountSnapshot, Position
from candlewick.models.candle import Candle
from candlewick.models.event import Event, EventKind, utc_now_ms
from candlewick.models.history import CandleTable, History
from candlewick.models.instrument import Instrument, MarginBracket
from candlewick.models.intervals import INTERVAL_MS, interval_ms
from candlewick.models.orders import (
    Fill,
    Funding,
    Order,
    OrderPurpose,
    OrderStatus,
    OrderType,
    OrderUpdate,
    PositionSide,
    Side,
    Signal,
    SignalAction,
    TimeInForce,
    TriggerPrice,
)
from candlewick.models.price import PriceUpdate
from candlewick.models.stream import StreamKind, StreamState, StreamStatus

__all__ = [
    "INTERVAL_MS",
    "AccountSnapshot",
    "Candle",
    "CandleTable",
    "Event",
    "EventKind",
    "Fill",
    "Funding",
    "History",
    "Instrument",
    "MarginBracket",
    "Order",
    "OrderPurpose",
    "OrderStatus",
    "OrderType",
    "OrderUpdate",
    "Position",
    "PositionSide",
    "PriceUpdate",
    "Side",
    "Signal",
    "SignalAction",
    "StreamKind",
    "StreamState",
    "StreamStatus",
    "TimeInForce",
    "TriggerPrice",
    "interval_ms",
    "utc_now_ms",
]
