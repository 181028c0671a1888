"""What the sandbox keeps of an account: orders, conditional orders, trades, income."""

from __future__ import annotations

import msgspec

__all__ = ["AlgoRecord", "Amendment", "Income", "MarginChange", "OrderRecord", "TradeRecord"]

_OPEN = ("NEW", "PARTIALLY_FILLED")


class AlgoRecord(msgspec.Struct):
    """A conditional order, in the exchange's words; ``key`` is its name in the matching code.

    ``watched`` is set where the sandbox itself compares the trigger with the price.
    """

    key: str
    algo_id: int
    client_id: str
    symbol: str
    side: str
    type: str
    position_side: str
    time_in_force: str
    quantity: float
    price: float
    trigger: float
    callback: float
    working_type: str
    close_position: bool
    reduce_only: bool
    price_protect: bool
    created: int
    updated: int
    status: str = "NEW"
    reason: str = ""
    triggered: int = 0
    actual: OrderRecord | None = None
    price_match: str = "NONE"
    self_trade: str = "EXPIRE_MAKER"
    good_till: int = 0
    watched: bool = False

    @property
    def is_open(self) -> bool:
        """True until it is triggered or ended."""
        return self.status == "NEW"


class OrderRecord(msgspec.Struct):
    """A normal order, in the exchange's words; ``key`` is its name in the matching code."""

    key: str
    order_id: int
    client_id: str
    symbol: str
    side: str
    type: str
    position_side: str
    time_in_force: str
    quantity: float
    price: float
    reduce_only: bool
    created: int
    updated: int
    close_position: bool = False
    status: str = "NEW"
    executed: float = 0.0
    cost: float = 0.0
    algo: AlgoRecord | None = None
    by_exchange: bool = False
    price_match: str = "NONE"
    self_trade: str = "EXPIRE_MAKER"
    good_till: int = 0
    amendments: int = 0

    @property
    def is_open(self) -> bool:
        """True while it rests or waits."""
        return self.status in _OPEN

    @property
    def deleveraged(self) -> bool:
        """True for an order that the exchange made to take a position over."""
        return self.by_exchange and self.client_id.startswith("adl_autoclose")

    @property
    def told_status(self) -> str:
        """The status as the user stream names it."""
        return "NEW_ADL" if self.deleveraged else self.status

    @property
    def average(self) -> float:
        """Average price of what has been executed; 0.0 before."""
        return self.cost / self.executed if self.executed else 0.0


class TradeRecord(msgspec.Struct, frozen=True):
    """One trade of the account."""

    id: int
    order_id: int
    symbol: str
    side: str
    position_side: str
    price: float
    quantity: float
    commission: float
    asset: str
    realized: float
    maker: bool
    time: int


class Income(msgspec.Struct, frozen=True):
    """One change of the wallet."""

    id: int
    symbol: str
    kind: str
    amount: float
    asset: str
    time: int
    info: str = ""
    trade_id: str = ""


class MarginChange(msgspec.Struct, frozen=True):
    """One change of an isolated margin: ``kind`` is TRADE or USER_ADJUST."""

    symbol: str
    position_side: str
    kind: str
    amount: float
    asset: str
    time: int


class Amendment(msgspec.Struct, frozen=True):
    """One change of a resting order."""

    id: int
    order: OrderRecord
    time: int
    price_before: float
    price_after: float
    quantity_before: float
    quantity_after: float
    count: int
