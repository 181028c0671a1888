"""`Venue`: what the live system needs of an exchange. Answers come as events, never as returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from candlewick.models import (
    AccountSnapshot,
    Event,
    Instrument,
    Order,
    OrderUpdate,
    TriggerPrice,
)

__all__ = ["Publish", "Venue"]

Publish = Callable[[Event], None]
"""Takes an event for the bus at once; raises when there is no room, which stops the system."""


class Venue(Protocol):
    """One account on one exchange.

    `submit` and `cancel` return when the request has been answered or its outcome is unknown;
    what came of it is published as ORDER_UPDATED and FILL_RECEIVED events. An outcome that is
    not known (a timeout, a lost connection) is published as an update with the status UNKNOWN and
    asked for with `query` until the exchange answers; it is never treated as a rejection.

    Nothing changes an order: the engine sends the new one and cancels the old one when the new one
    is confirmed, as conditional orders cannot be modified (docs/decisions/0010-no-replace.md).
    """

    name: str

    async def connect(self, publish: Publish, symbols: Sequence[str], interval: str) -> None:
        """Connect, start the streams and publish what they bring; raises VenueError."""

    async def instruments(self, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        """Return what can be traded, with units, limits, fees and margin tiers."""

    async def submit(self, order: Order) -> None:
        """Send an order that is in the journal already."""

    async def cancel(self, order: Order, time: int) -> None:
        """Cancel an order; ``time`` (UTC ms) is when that was decided."""

    async def query(self, order: Order) -> OrderUpdate | None:
        """Ask what became of an order; None when the exchange does not know it."""

    async def snapshot(self, since: int = 0) -> AccountSnapshot:
        """Fetch balance, positions, all open orders, and the fills since ``since`` (UTC ms)."""

    def price_of(self, symbol: str, by: TriggerPrice) -> float:
        """Return the price that sets off orders, as heard last; 0.0 where none is fresh."""

    async def close(self) -> None:
        """End the streams and connections; orders and positions stay as they are."""
