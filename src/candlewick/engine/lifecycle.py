"""An order's life: which update moves it on, and which is old news."""

from __future__ import annotations

import msgspec

from candlewick.models import Order, OrderUpdate
from candlewick.models.members import (
    ACKNOWLEDGED,
    CANCELED,
    EXPIRED,
    FILLED,
    PARTIALLY_FILLED,
    PLANNED,
    REJECTED,
    SENT,
    UNKNOWN,
)

__all__ = ["apply_update"]

# How far along its life an order is; an update that would move it back is old.
_RANK = {
    PLANNED: 0,
    SENT: 1,
    UNKNOWN: 2,
    ACKNOWLEDGED: 3,
    PARTIALLY_FILLED: 4,
    FILLED: 5,
    CANCELED: 5,
    REJECTED: 5,
    EXPIRED: 5,
}


def apply_update(order: Order, update: OrderUpdate) -> Order:
    """Return the order as it is after the update; the same object when the update is old.

    A final order never changes. The filled quantity never shrinks. UNKNOWN is taken only before
    the exchange has confirmed the order: afterwards it is known to exist.
    """
    status, before = update.status, order.status
    if before.is_final or _RANK[status] < _RANK[before]:
        return order
    filled = order.filled
    if update.filled > filled:
        filled = update.filled
    elif status is before:
        return order
    return msgspec.structs.replace(
        order,
        status=status,
        filled=filled,
        average_price=update.average_price or order.average_price,
        venue_id=update.venue_id or order.venue_id,
        updated_time=update.time,
    )
