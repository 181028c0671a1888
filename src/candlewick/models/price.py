"""`PriceUpdate`: one trade of the market, or another moment at which its price became known."""

from __future__ import annotations

import msgspec

__all__ = ["PriceUpdate"]


class PriceUpdate(msgspec.Struct, frozen=True, gc=False):
    """A price in quote currency, the quantity traded at it in base units (0.0: none), UTC ms."""

    symbol: str
    price: float
    quantity: float
    time: int
