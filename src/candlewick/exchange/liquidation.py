"""What a liquidation sends, and what ends with the position that it closes. Pure."""

from __future__ import annotations

from candlewick.exchange.book import SymbolBook
from candlewick.exchange.holding import Holding
from candlewick.exchange.rules import report_of
from candlewick.models import Instrument, Order, OrderUpdate
from candlewick.models.members import BUY, EXPIRED, MARKET, SELL

__all__ = ["deleverage_order", "expire_closers", "liquidation_order"]


def liquidation_order(
    instrument: Instrument, held: Holding, mark_price: float, time: int, number: int
) -> Order:
    """Return the order that closes a position whose margin is used up.

    It leaves what the tier below may keep; ``time`` is UTC ms, ``number`` makes its client id.
    """
    quantity = abs(held.quantity)
    floor = instrument.bracket(held.notional(mark_price)).floor
    if floor > 0.0:
        kept = instrument.round_quantity(floor / mark_price)
        quantity = instrument.nearest_quantity(quantity - kept)
    return Order(
        f"autoclose-{number}", instrument.symbol, SELL if held.quantity > 0.0 else BUY, MARKET,
        quantity, reduce_only=True, position_side=held.side, created_time=time,
        reason="liquidation",
    )  # fmt: skip


def deleverage_order(
    instrument: Instrument, held: Holding, quantity: float, time: int, number: int
) -> Order:
    """Return the order that takes a position over, or ``quantity`` of it where that is less.

    ``time`` is UTC ms, ``number`` makes its client id.
    """
    size = abs(held.quantity)
    return Order(
        f"adl_autoclose_{number}", instrument.symbol, SELL if held.quantity > 0.0 else BUY, MARKET,
        min(quantity or size, size), reduce_only=True, position_side=held.side, created_time=time,
        reason="deleveraging",
    )  # fmt: skip


def expire_closers(book: SymbolBook, held: Holding, time: int) -> list[OrderUpdate]:
    """End the orders that close a position, whatever its size, when it is closed."""
    over = [
        resting
        for resting in book.resting.values()
        if resting.order.close_position and resting.order.position_side is held.side
    ]
    for resting in over:
        del book.resting[resting.order.client_id]
    return [report_of(resting, EXPIRED, time) for resting in over]
