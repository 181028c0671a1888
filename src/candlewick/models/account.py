"""What is held: `Position`, and the `AccountSnapshot` that an exchange gives on request."""

from __future__ import annotations

import msgspec

from candlewick.models.orders import Fill, Order, PositionSide

__all__ = ["AccountSnapshot", "Position"]


class Position(msgspec.Struct, frozen=True, gc=False):
    """A position. ``quantity`` is signed (negative: short), in base units; 0.0 is flat.

    ``realized`` counts closed profit before fees, ``fees`` what was paid, both in quote currency
    since the position's last opening. ``opened_time`` and ``updated_time`` are UTC ms.
    """

    symbol: str
    quantity: float = 0.0
    entry_price: float = 0.0
    realized: float = 0.0
    fees: float = 0.0
    opened_time: int = 0
    updated_time: int = 0
    liquidation_price: float = 0.0
    side: PositionSide = PositionSide.BOTH

    @property
    def is_flat(self) -> bool:
        """True when nothing is held."""
        return self.quantity == 0.0

    @property
    def is_long(self) -> bool:
        """True when the quantity is positive."""
        return self.quantity > 0.0

    @property
    def is_short(self) -> bool:
        """True when the quantity is negative."""
        return self.quantity < 0.0

    def unrealized(self, price: float) -> float:
        """Open profit at ``price``, in quote currency."""
        return self.quantity * (price - self.entry_price)


class AccountSnapshot(msgspec.Struct, frozen=True):
    """The account as the exchange reports it at ``time`` (UTC ms).

    ``balance`` is the wallet balance without open profit. ``orders`` holds normal and
    conditional orders alike; ``fills`` those since the time that was asked for. ``fills_known`` and
    ``ends_known`` are how many fills the asker had booked, and how many of its orders had ended,
    before it asked: what came since is newer than the answer. -1 leaves that to the times.
    """

    time: int
    balance: float
    positions: tuple[Position, ...] = ()
    orders: tuple[Order, ...] = ()
    fills: tuple[Fill, ...] = ()
    fills_known: int = -1
    ends_known: int = -1
