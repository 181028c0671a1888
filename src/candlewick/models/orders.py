"""What is asked of an exchange and what it answers: `Signal`, `Order`, `OrderUpdate`, `Fill`."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from candlewick.models.enums import direct

__all__ = [
    "Fill",
    "Funding",
    "Order",
    "OrderPurpose",
    "OrderStatus",
    "OrderType",
    "OrderUpdate",
    "PositionSide",
    "Side",
    "Signal",
    "SignalAction",
    "TimeInForce",
    "TriggerPrice",
]


@direct
class Side(StrEnum):
    """Direction of an order or a fill."""

    BUY = "buy"
    SELL = "sell"

    sign: int
    """+1 for a buy, -1 for a sell."""
    opposite: Side
    """The other side."""


# Plain attributes of the members, here and below: a property would cost a call each time.
Side.BUY.sign, Side.BUY.opposite = 1, Side.SELL
Side.SELL.sign, Side.SELL.opposite = -1, Side.BUY


@direct
class OrderType(StrEnum):
    """How an order executes; the last three are conditional (they rest until triggered)."""

    MARKET = "market"
    LIMIT = "limit"
    STOP_MARKET = "stop_market"
    TAKE_PROFIT_MARKET = "take_profit_market"
    TRAILING_STOP_MARKET = "trailing_stop_market"

    is_conditional: bool
    """True when the exchange keeps it among the conditional (algo) orders."""


for _type in OrderType:
    _type.is_conditional = _type not in (OrderType.MARKET, OrderType.LIMIT)


@direct
class TimeInForce(StrEnum):
    """How long a limit order lives; GTX is post-only."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTX = "GTX"


@direct
class TriggerPrice(StrEnum):
    """Which price a conditional order compares with its trigger."""

    LAST = "last"
    MARK = "mark"


@direct
class PositionSide(StrEnum):
    """Which position an order belongs to: BOTH in one-way mode, else the hedge-mode side."""

    BOTH = "BOTH"
    LONG = "LONG"
    SHORT = "SHORT"


@direct
class OrderPurpose(StrEnum):
    """Why the engine has an order; part of its client id."""

    ENTRY = "entry"
    STOP = "stop"
    TARGET = "target"
    CLOSE = "close"


@direct
class OrderStatus(StrEnum):
    """Where an order is in its life; see `is_final`, `is_working`."""

    PLANNED = "planned"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    UNKNOWN = "unknown"

    is_final: bool
    """True when nothing more can happen to the order."""
    is_working: bool
    """True when the exchange has confirmed that the order rests there."""


for _status in OrderStatus:
    _status.is_final = _status.value in ("filled", "canceled", "rejected", "expired")
    _status.is_working = _status.value in ("acknowledged", "partially_filled")


@direct
class SignalAction(StrEnum):
    """What a strategy wants done with a symbol."""

    BUY = "buy"
    SELL = "sell"
    CLOSE = "close"
    MOVE_STOP = "move_stop"
    CANCEL = "cancel"

    side: Side | None
    """The side of an entry; None for what is not one."""


for _action in SignalAction:
    _action.side = {"buy": Side.BUY, "sell": Side.SELL}.get(_action.value)


class Signal(msgspec.Struct, frozen=True, gc=False):
    """A strategy's wish, before risk has sized or denied it.

    ``size`` is in base units, ``risk`` a fraction of equity lost when the stop is hit; at most
    one of them is set, 0.0 means "not given". Prices are 0.0 where not given. ``price`` makes
    the entry a limit order. ``trail`` and ``target_trail`` are the distances of a trailing stop,
    and of a target that trails once its price is reached, as fractions of the price. ``held`` is
    the quantity of the position (signed, base units) that the strategy knew of when it asked; None
    where nobody has said.
    """

    symbol: str
    action: SignalAction
    time: int
    size: float = 0.0
    risk: float = 0.0
    price: float = 0.0
    stop: float = 0.0
    target: float = 0.0
    trail: float = 0.0
    reason: str = ""
    held: float | None = None
    target_trail: float = 0.0


class Order(msgspec.Struct, frozen=True, gc=False):
    """One order. Price and quantities are exact multiples of tick and step (see `Instrument`).

    ``callback_rate`` is a fraction (0.01 is 1 %). Times are UTC ms. ``parent_id`` is the client id
    of the entry that this order protects or closes, empty for an entry. ``reference_price`` is
    the price at which the engine decided.
    """

    client_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: float
    price: float = 0.0
    trigger_price: float = 0.0
    callback_rate: float = 0.0
    time_in_force: TimeInForce = TimeInForce.GTC
    reduce_only: bool = False
    close_position: bool = False
    trigger_by: TriggerPrice = TriggerPrice.LAST
    position_side: PositionSide = PositionSide.BOTH
    purpose: OrderPurpose = OrderPurpose.ENTRY
    parent_id: str = ""
    created_time: int = 0
    reference_price: float = 0.0
    reason: str = ""
    status: OrderStatus = OrderStatus.PLANNED
    filled: float = 0.0
    average_price: float = 0.0
    venue_id: str = ""
    updated_time: int = 0

    @property
    def remaining(self) -> float:
        """Quantity not yet filled, in base units."""
        return self.quantity - self.filled

    def is_passed_by(self, price: float) -> bool:
        """True when a stop or target would be set off by this price at once.

        False for orders without a trigger, for trailing ones, and where no price is known (0.0).
        """
        if not price or not self.trigger_price:
            return False
        if self.type is OrderType.STOP_MARKET:
            return self.side.sign * (price - self.trigger_price) >= 0.0
        if self.type is OrderType.TAKE_PROFIT_MARKET:
            return self.side.sign * (price - self.trigger_price) <= 0.0
        return False


class OrderUpdate(msgspec.Struct, frozen=True, gc=False):
    """What the exchange says about an order. ``filled`` is cumulative; ``code`` its error code.

    ``order`` is set when the exchange tells of an order this process has not seen before.
    """

    client_id: str
    symbol: str
    status: OrderStatus
    time: int
    venue_id: str = ""
    filled: float = 0.0
    average_price: float = 0.0
    code: int = 0
    message: str = ""
    order: Order | None = None


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One trade of ours. ``fee`` is what was paid (negative: a rebate), in ``fee_asset``.

    ``trade_id`` is the exchange's; the pair (symbol, trade_id) is counted once for ever.
    ``client_id`` is empty, or one the exchange made, for liquidation and ADL.
    ``realized`` is the profit the exchange booked on it, before the fee.
    """

    trade_id: int
    client_id: str
    symbol: str
    side: Side
    price: float
    quantity: float
    fee: float
    time: int
    fee_asset: str = "USDT"
    maker: bool = False
    realized: float = 0.0
    venue_id: str = ""
    position_side: PositionSide = PositionSide.BOTH


class Funding(msgspec.Struct, frozen=True, gc=False):
    """A funding payment: positive ``amount`` was received, negative was paid, in quote currency."""

    symbol: str
    amount: float
    rate: float
    time: int
