"""Small rules of the simulated exchange: the path inside a candle, what takes, how reports read."""

from __future__ import annotations

import math

import msgspec

from candlewick.exchange.book import Resting, SymbolBook
from candlewick.models import (
    Candle,
    Instrument,
    Order,
    OrderStatus,
    OrderType,
    OrderUpdate,
    Side,
)

__all__ = [
    "as_order",
    "parts_of",
    "path_inside",
    "resting_update",
    "start_extreme",
    "takes",
    "update_of",
]


def path_inside(book: SymbolBook, candle: Candle) -> list[float]:
    """The prices to walk through after the open: the extreme that hurts comes first.

    With no position, the extreme that opens one comes first, so that the other can hurt it.
    """
    held = sum(h.quantity for h in book.holdings.values())
    if held == 0.0:
        levels = [(r.level(), r.fires_downward()) for r in book.resting.values()]
        below = max((p for p, down in levels if down and p >= candle.low), default=-math.inf)
        above = min((p for p, down in levels if not down and 0.0 < p <= candle.high),
                    default=math.inf)  # fmt: skip
        low_first = candle.open - below <= above - candle.open
    else:
        low_first = held > 0.0
    first, second = (candle.low, candle.high) if low_first else (candle.high, candle.low)
    return [first, second, candle.close]


def takes(order: Order, price: float) -> bool:
    """True when an order would trade at once at ``price``."""
    if order.type is not OrderType.LIMIT:
        return True
    return order.price >= price if order.side is Side.BUY else order.price <= price


def start_extreme(order: Order, last: float) -> float:
    """A trailing stop without activation price follows from the price it was sent at."""
    active = order.type is OrderType.TRAILING_STOP_MARKET and order.trigger_price == 0.0
    return last if active else 0.0


def parts_of(instrument: Instrument, quantity: float, count: int) -> list[float]:
    """Split a quantity into at most ``count`` exact multiples of the step."""
    if count == 1:
        return [quantity]
    part = instrument.round_quantity(quantity / count)
    if part <= 0.0:
        return [quantity]
    last = instrument.nearest_quantity(quantity - part * (count - 1))
    return [part] * (count - 1) + [last]


def update_of(
    order: Order,
    status: OrderStatus,
    time: int,
    *,
    venue_id: str = "",
    code: int = 0,
    message: str = "",
) -> OrderUpdate:
    return OrderUpdate(
        order.client_id, order.symbol, status, time, venue_id, 0.0, 0.0, code, message
    )


def resting_update(
    resting: Resting, status: OrderStatus, time: int, order: Order | None = None
) -> OrderUpdate:
    return OrderUpdate(
        resting.order.client_id, resting.order.symbol, status, time, str(resting.sequence),
        resting.filled, resting.average_price, order=order,
    )  # fmt: skip


def as_order(resting: Resting) -> Order:
    status = OrderStatus.PARTIALLY_FILLED if resting.filled else OrderStatus.ACKNOWLEDGED
    return msgspec.structs.replace(
        resting.order, status=status, filled=resting.filled,
        average_price=resting.average_price, venue_id=str(resting.sequence),
    )  # fmt: skip
