"""The members of the order enums under names of their own, for code that runs for every order.

Python 3.11 takes 20 times as long to find ``Side.BUY`` in its class as it takes to find ``BUY`` in
a module, and an order's life passes a hundred such look-ups.
"""

from __future__ import annotations

from typing import Final

from candlewick.models.orders import (
    OrderPurpose,
    OrderStatus,
    OrderType,
    PositionSide,
    Side,
    TimeInForce,
    TriggerPrice,
)

__all__ = [
    "ACKNOWLEDGED",
    "BOTH",
    "BUY",
    "CANCELED",
    "CLOSE",
    "ENTRY",
    "EXPIRED",
    "FILLED",
    "FOK",
    "GTC",
    "GTX",
    "IOC",
    "LAST",
    "LIMIT",
    "LONG",
    "MARK",
    "MARKET",
    "PARTIALLY_FILLED",
    "PLANNED",
    "REJECTED",
    "SELL",
    "SENT",
    "SHORT",
    "STOP",
    "STOP_MARKET",
    "TAKE_PROFIT_MARKET",
    "TARGET",
    "TRAILING_STOP_MARKET",
    "UNKNOWN",
]

BUY: Final = Side.BUY
SELL: Final = Side.SELL

MARKET: Final = OrderType.MARKET
LIMIT: Final = OrderType.LIMIT
STOP_MARKET: Final = OrderType.STOP_MARKET
TAKE_PROFIT_MARKET: Final = OrderType.TAKE_PROFIT_MARKET
TRAILING_STOP_MARKET: Final = OrderType.TRAILING_STOP_MARKET

LAST: Final = TriggerPrice.LAST
MARK: Final = TriggerPrice.MARK

GTC: Final = TimeInForce.GTC
IOC: Final = TimeInForce.IOC
FOK: Final = TimeInForce.FOK
GTX: Final = TimeInForce.GTX

BOTH: Final = PositionSide.BOTH
LONG: Final = PositionSide.LONG
SHORT: Final = PositionSide.SHORT

ENTRY: Final = OrderPurpose.ENTRY
STOP: Final = OrderPurpose.STOP
TARGET: Final = OrderPurpose.TARGET
CLOSE: Final = OrderPurpose.CLOSE

PLANNED: Final = OrderStatus.PLANNED
SENT: Final = OrderStatus.SENT
ACKNOWLEDGED: Final = OrderStatus.ACKNOWLEDGED
PARTIALLY_FILLED: Final = OrderStatus.PARTIALLY_FILLED
FILLED: Final = OrderStatus.FILLED
CANCELED: Final = OrderStatus.CANCELED
REJECTED: Final = OrderStatus.REJECTED
EXPIRED: Final = OrderStatus.EXPIRED
UNKNOWN: Final = OrderStatus.UNKNOWN
