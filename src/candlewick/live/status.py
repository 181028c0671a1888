"""`Status`: a running system at a glance."""

from __future__ import annotations

import msgspec

from candlewick.models import Position

__all__ = ["PositionStatus", "Status"]


class PositionStatus(msgspec.Struct, frozen=True):
    """A position with its open profit and the stop that the exchange has confirmed (0.0: none)."""

    symbol: str
    quantity: float
    entry_price: float
    price: float
    unrealized: float
    stop: float

    @classmethod
    def of(cls, position: Position, price: float, stop: float) -> PositionStatus:
        """Describe a position at a price."""
        return cls(
            position.symbol,
            position.quantity,
            position.entry_price,
            price,
            position.unrealized(price),
            stop,
        )


class Status(msgspec.Struct, frozen=True):
    """The figures of this moment; money in quote currency, ``time`` UTC ms of the market.

    ``progress`` is the fraction of the data that has been run, 0.0 where there is no end.
    """

    run_id: str
    venue: str
    strategy: str
    state: str
    time: int
    progress: float
    equity: float
    net_profit: float
    max_drawdown: float
    candles: int
    signals: int
    orders: int
    fills: int
    trades: int
    fees: float
    open_orders: int
    positions: tuple[PositionStatus, ...]
    denials: dict[str, int]
    journal: str
    journal_state: str
