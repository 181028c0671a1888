"""What the exchange's streams say, as structs. Field names are the exchange's own.

Numbers travel as text; fields of the type `Number` take them as finite floats. Fields that are not
named are skipped; those that can be missing have defaults. Each message is known by its ``e``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

__all__ = [
    "AccountConfigUpdate",
    "AccountUpdate",
    "AggTrade",
    "AlgoState",
    "AlgoUpdate",
    "Amount",
    "AssetIndex",
    "BookTicker",
    "CompositeIndex",
    "ConditionalReject",
    "ContinuousKline",
    "ContractInfo",
    "DepthUpdate",
    "ForceOrder",
    "GridUpdate",
    "Kline",
    "KlineBar",
    "ListenKeyExpired",
    "MarginCall",
    "MarkPrice",
    "MarketMessage",
    "MiniTicker",
    "Number",
    "NumberText",
    "OrderState",
    "OrderTradeUpdate",
    "SideName",
    "StrategyUpdate",
    "Ticker",
    "Trade",
    "TradeLite",
    "TradingSession",
    "UserMessage",
    "number",
]

Number = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
"""A finite float; text that is a number is taken, NaN and infinity are not."""

Amount = Annotated[float, msgspec.Meta(ge=0.0, le=1e300)]
"""A finite float that is not negative: a price or a quantity."""

NumberText = Annotated[
    str, msgspec.Meta(pattern=r"^(-?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]{1,2})?)?$", max_length=60)
]
"""Text that `number` takes."""

SideName = Literal["BUY", "SELL"]

Level = tuple[Number, Number]
"""Price and quantity of one level of an order book."""


def number(text: str) -> float:
    """Return the number that ``text`` means, 0.0 for an empty one; raises ValueError."""
    if not text:
        return 0.0
    value = float(text)
    if not -1e300 <= value <= 1e300:
        raise ValueError(f"{text!r} is not a finite number")
    return value


class Message(msgspec.Struct, gc=False, tag_field="e"):
    """What all messages have: the event's name, and when it was sent (UTC ms)."""

    E: int = 0


# -- the market ------------------------------------------------------------------------------------


class KlineBar(msgspec.Struct, gc=False):
    """A candle: times, interval, prices, base volume; ``x`` is true once it has closed."""

    t: int
    T: int
    i: str
    o: Number
    c: Number
    h: Number
    l: Number  # noqa: E741 - the exchange's name
    v: Number
    x: bool


class Kline(Message, tag="kline", kw_only=True):
    """A candle of a symbol, sent while it changes and once when it has closed."""

    s: str
    k: KlineBar


class ContinuousKline(Message, tag="continuous_kline", kw_only=True):
    """A candle of a pair and contract type."""

    ps: str
    ct: str
    k: KlineBar


class AggTrade(Message, tag="aggTrade", kw_only=True):
    """Trades of one taker at one price."""

    s: str
    a: int
    p: Number
    q: Number
    T: int
    f: int = 0
    l: int = 0  # noqa: E741 - the exchange's name
    m: bool = False


class Trade(Message, tag="trade", kw_only=True):
    """One trade of the market."""

    s: str
    t: int
    p: Number
    q: Number
    T: int
    m: bool = False


class MarkPrice(Message, tag="markPriceUpdate", kw_only=True):
    """Mark price ``p``, index price ``i``, funding rate ``r`` and next funding time ``T``."""

    s: str
    p: Number
    i: str = ""
    P: str = ""
    r: str = ""
    T: int = 0


class BookTicker(Message, tag="bookTicker", kw_only=True):
    """The best bid ``b`` and ask ``a`` with their quantities."""

    s: str
    u: int
    b: Number
    B: Number
    a: Number
    A: Number
    T: int = 0


class DepthUpdate(Message, tag="depthUpdate", kw_only=True):
    """Changes of an order book from update ``U`` to ``u``; ``pu`` is the ``u`` before it."""

    s: str
    U: int
    u: int
    pu: int = 0
    b: tuple[Level, ...] = ()
    a: tuple[Level, ...] = ()
    T: int = 0


class Ticker(Message, tag="24hrTicker", kw_only=True):
    """Figures of the last 24 hours."""

    s: str
    p: Number
    P: Number
    w: Number
    c: Number
    Q: Number
    o: Number
    h: Number
    l: Number  # noqa: E741 - the exchange's name
    v: Number
    q: Number
    O: int = 0  # noqa: E741 - the exchange's name
    C: int = 0
    F: int = 0
    L: int = 0
    n: int = 0


class MiniTicker(Message, tag="24hrMiniTicker", kw_only=True):
    """Prices and volume of the last 24 hours."""

    s: str
    c: Number
    o: Number
    h: Number
    l: Number  # noqa: E741 - the exchange's name
    v: Number
    q: Number


class Forced(msgspec.Struct, gc=False):
    """A liquidation order of somebody."""

    s: str
    S: str
    q: Number
    p: Number
    ap: Number = 0.0
    X: str = ""
    l: Number = 0.0  # noqa: E741 - the exchange's name
    z: Number = 0.0
    T: int = 0
    o: str = ""
    f: str = ""


class ForceOrder(Message, tag="forceOrder", kw_only=True):
    """A liquidation in the market."""

    o: Forced


class ContractInfo(Message, tag="contractInfo", kw_only=True):
    """A contract was listed, settled or given other brackets."""

    s: str
    ct: str = ""
    cs: str = ""


class CompositeIndex(Message, tag="compositeIndex", kw_only=True):
    """The price of a composite index."""

    s: str
    p: Number


class AssetIndex(Message, tag="assetIndexUpdate", kw_only=True):
    """The index price of a margin asset."""

    s: str
    i: Number


class TradingSession(Message, tag="tradingSession", kw_only=True):
    """Trading hours of a market that closes."""

    S: str = ""
    t: int = 0
    T: int = 0


MarketMessage = (
    Kline
    | ContinuousKline
    | AggTrade
    | Trade
    | MarkPrice
    | BookTicker
    | DepthUpdate
    | Ticker
    | MiniTicker
    | ForceOrder
    | ContractInfo
    | CompositeIndex
    | AssetIndex
    | TradingSession
)


# -- the account -----------------------------------------------------------------------------------


class OrderState(msgspec.Struct, gc=False):
    """The order in an ORDER_TRADE_UPDATE.

    ``x`` says what happened, ``X`` is the status after it, ``l`` and ``L`` are quantity and price
    of this trade, ``z`` is filled in all, ``n`` in ``N`` the fee of this trade, ``t`` its id.
    """

    s: str
    c: str
    S: SideName
    o: str
    q: Amount
    x: str
    X: str
    i: int
    p: Amount = 0.0
    ap: Amount = 0.0
    sp: Amount = 0.0
    f: str = "GTC"
    l: Amount = 0.0  # noqa: E741 - the exchange's name
    z: Amount = 0.0
    L: Amount = 0.0
    N: str | None = None
    n: Number | None = None
    T: int = 0
    t: int = 0
    m: bool = False
    R: bool = False
    wt: str = "CONTRACT_PRICE"
    ot: str = ""
    ps: str = "BOTH"
    cp: bool = False
    AP: str = ""
    cr: str = ""
    rp: Number = 0.0
    er: str = ""


class OrderTradeUpdate(Message, tag="ORDER_TRADE_UPDATE", kw_only=True):
    """Something happened to an order."""

    o: OrderState
    T: int = 0


class BalanceChange(msgspec.Struct, gc=False):
    """Wallet balance ``wb`` of an asset after the event; ``bc`` changed it but for trading."""

    a: str
    wb: Number
    cw: Number = 0.0
    bc: Number = 0.0


class PositionChange(msgspec.Struct, gc=False):
    """A position after the event: amount ``pa``, entry price ``ep``."""

    s: str
    pa: Number
    ep: Number = 0.0
    cr: Number = 0.0
    up: Number = 0.0
    mt: str = ""
    iw: Number = 0.0
    ps: str = "BOTH"


class AccountChange(msgspec.Struct):
    """What changed in the account, and why (``m``)."""

    m: str
    B: tuple[BalanceChange, ...] = ()
    P: tuple[PositionChange, ...] = ()


class AccountUpdate(Message, tag="ACCOUNT_UPDATE", kw_only=True):
    """Balances and positions changed; only what changed is in it."""

    a: AccountChange
    T: int = 0


class AlgoState(msgspec.Struct, gc=False):
    """The conditional order in an ALGO_UPDATE.

    ``ai`` is the id of the order that its trigger made, ``aq`` and ``ap`` what that has filled and
    at which price, ``rm`` why it was rejected.
    """

    caid: str
    aid: int
    s: str
    S: str
    X: str
    o: str = ""
    ps: str = "BOTH"
    f: str = "GTC"
    q: str = ""
    ai: str = ""
    ap: str = ""
    aq: str = ""
    tp: str = ""
    p: str = ""
    wt: str = "CONTRACT_PRICE"
    cp: bool = False
    R: bool = False
    rm: str = ""


class AlgoUpdate(Message, tag="ALGO_UPDATE", kw_only=True):
    """Something happened to a conditional order."""

    o: AlgoState
    T: int = 0


class TradeLite(Message, tag="TRADE_LITE", kw_only=True):
    """A short, early notice of a fill; it lacks the fee."""

    s: str
    c: str
    S: str
    i: int
    t: int
    l: Amount  # noqa: E741 - the exchange's name
    L: Amount
    q: Number = 0.0
    p: Number = 0.0
    m: bool = False
    T: int = 0


class AccountConfigUpdate(Message, tag="ACCOUNT_CONFIG_UPDATE", kw_only=True):
    """Leverage of a symbol (``ac``) or the margin mode (``ai``) was changed."""

    T: int = 0
    ac: dict[str, Any] | None = None
    ai: dict[str, Any] | None = None


class MarginCall(Message, tag="MARGIN_CALL", kw_only=True):
    """Positions are close to their liquidation."""

    cw: str = ""
    p: tuple[dict[str, Any], ...] = ()


class ListenKeyExpired(Message, tag="listenKeyExpired", kw_only=True):
    """The key of this stream has ended; nothing more will come."""

    listenKey: str = ""


class ConditionalReject(Message, tag="CONDITIONAL_ORDER_TRIGGER_REJECT", kw_only=True):
    """A triggered order was refused; ALGO_UPDATE has taken its place."""

    T: int = 0


class StrategyUpdate(Message, tag="STRATEGY_UPDATE", kw_only=True):
    """Of the exchange's own trading robots."""

    T: int = 0


class GridUpdate(Message, tag="GRID_UPDATE", kw_only=True):
    """Of the exchange's own trading robots."""

    T: int = 0


UserMessage = (
    OrderTradeUpdate
    | AccountUpdate
    | AlgoUpdate
    | TradeLite
    | AccountConfigUpdate
    | MarginCall
    | ListenKeyExpired
    | ConditionalReject
    | StrategyUpdate
    | GridUpdate
)
