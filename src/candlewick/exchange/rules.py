"""Small rules of the simulated exchange: what takes, what reduces, how reports read."""

from __future__ import annotations

import msgspec

from candlewick.exchange.book import Resting
from candlewick.models import (
    Instrument,
    Order,
    OrderStatus,
    OrderUpdate,
)
from candlewick.models.members import ACKNOWLEDGED, BOTH, BUY, LIMIT, LONG, PARTIALLY_FILLED, SELL

__all__ = ["Refusal", "as_order", "parts_of", "reduces", "report_of", "takes"]


Refusal = tuple[int, str]
"""An error code of the exchange, and its words."""


def takes(order: Order, price: float) -> bool:
    """True when an order would trade at once at ``price``."""
    if order.type is not LIMIT:
        return True
    return order.price >= price if order.side is BUY else order.price <= price


def reduces(order: Order) -> bool:
    """True when an order can only reduce a position; in hedge mode its side tells."""
    if order.reduce_only or order.close_position:
        return True
    side = order.position_side
    if side is BOTH:
        return False
    return (side is LONG) is (order.side is SELL)


def parts_of(instrument: Instrument, quantity: float, count: int) -> list[float]:
    """Split a quantity into at most ``count`` exact multiples of the step."""
    part = instrument.round_quantity(quantity / count)
    if part <= 0.0 or count == 1:
        return [quantity]
    last = instrument.nearest_quantity(quantity - part * (count - 1))
    return [part] * (count - 1) + [last]


def report_of(
    resting: Resting,
    status: OrderStatus,
    time: int,
    code: int = 0,
    message: str = "",
    order: Order | None = None,
) -> OrderUpdate:
    """What the exchange says about an order it has accepted."""
    sent, filled = resting.order, resting.filled
    return OrderUpdate(
        sent.client_id, sent.symbol, status, time, resting.venue_id, filled,
        resting.cost / filled if filled else 0.0, code, message, order,
    )  # fmt: skip


def as_order(resting: Resting) -> Order:
    """The order as it is now."""
    status = PARTIALLY_FILLED if resting.filled else ACKNOWLEDGED
    return msgspec.structs.replace(
        resting.order, status=status, filled=resting.filled,
        average_price=resting.average_price, venue_id=resting.venue_id,
    )  # fmt: skip
