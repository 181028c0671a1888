"""What the exchange's REST requests and WebSocket API answer, as structs with its own names."""

from __future__ import annotations

from typing import Any

import msgspec

from candlewick.venues.binance.messages import Amount, Number, NumberText, SideName

__all__ = [
    "AccountConfig",
    "AlgoAnswer",
    "ApiAnswer",
    "Balance",
    "BracketTable",
    "Commission",
    "ErrorAnswer",
    "ExchangeInfo",
    "Filter",
    "FundingRate",
    "Income",
    "KlineRow",
    "ListenKey",
    "OrderAnswer",
    "PositionMode",
    "PositionRisk",
    "RateLimit",
    "ServerTime",
    "SymbolInfo",
    "UserTrade",
]


class ErrorAnswer(msgspec.Struct):
    """Why a request was refused."""

    code: int
    msg: str = ""
    data: dict[str, Any] | None = None


class ServerTime(msgspec.Struct):
    """The exchange's clock, UTC ms."""

    serverTime: int


class RateLimit(msgspec.Struct):
    """One limit; in answers of the WebSocket API ``count`` says how much is used."""

    rateLimitType: str
    interval: str
    intervalNum: int
    limit: int
    count: int | None = None


class Filter(msgspec.Struct):
    """A rule of a symbol; which fields are there depends on ``filterType``."""

    filterType: str
    tickSize: Amount = 0.0
    stepSize: Amount = 0.0
    minQty: Amount = 0.0
    maxQty: Amount = 0.0
    notional: Amount = 0.0


class SymbolInfo(msgspec.Struct):
    """What can be traded."""

    symbol: str
    status: str = "TRADING"
    contractType: str = ""
    baseAsset: str = ""
    quoteAsset: str = ""
    marginAsset: str = ""
    liquidationFee: Number = 0.0
    filters: list[Filter] = []


class ExchangeInfo(msgspec.Struct):
    """All symbols and the limits on requests."""

    symbols: list[SymbolInfo]
    rateLimits: list[RateLimit] = []
    serverTime: int = 0


class FundingRate(msgspec.Struct):
    """A funding payment of the past: when it was due, UTC ms, and its rate as a fraction."""

    symbol: str
    fundingTime: int
    fundingRate: Number


class Bracket(msgspec.Struct):
    """One tier of leverage and maintenance margin."""

    initialLeverage: int
    notionalCap: Number
    notionalFloor: Number
    maintMarginRatio: Number
    cum: Number = 0.0


class BracketTable(msgspec.Struct):
    """The tiers of a symbol."""

    symbol: str
    brackets: list[Bracket]


class Commission(msgspec.Struct):
    """Fees of an account in a symbol, as fractions."""

    symbol: str
    makerCommissionRate: Number
    takerCommissionRate: Number


class AccountConfig(msgspec.Struct):
    """What an account may do, and in which mode it is."""

    canTrade: bool = True
    dualSidePosition: bool = False
    multiAssetsMargin: bool = False
    feeBurn: bool = False


class PositionMode(msgspec.Struct):
    """True: long and short positions beside each other."""

    dualSidePosition: bool


class ListenKey(msgspec.Struct):
    """The key of the account's stream."""

    listenKey: str


class Balance(msgspec.Struct):
    """One asset in the wallet."""

    asset: str
    balance: Number
    availableBalance: Number = 0.0
    updateTime: int = 0


class PositionRisk(msgspec.Struct):
    """One position."""

    symbol: str
    positionAmt: Number
    entryPrice: Number = 0.0
    liquidationPrice: Number = 0.0
    positionSide: str = "BOTH"
    updateTime: int = 0


class OrderAnswer(msgspec.Struct):
    """A normal order, as placing, cancelling, asking and listing answer it."""

    orderId: int
    symbol: str
    status: str
    clientOrderId: str
    side: SideName
    type: str
    origQty: Amount = 0.0
    executedQty: Amount = 0.0
    price: Amount = 0.0
    avgPrice: Amount = 0.0
    stopPrice: Amount = 0.0
    timeInForce: str = "GTC"
    reduceOnly: bool = False
    closePosition: bool = False
    positionSide: str = "BOTH"
    workingType: str = "CONTRACT_PRICE"
    time: int = 0
    updateTime: int = 0


class AlgoAnswer(msgspec.Struct):
    """A conditional order, as placing, asking and listing answer it.

    The list names the type ``type`` in some answers, ``orderType`` in others. Cancelling answers
    with the ids, a code and a text only.
    """

    algoId: int
    clientAlgoId: str
    symbol: str = ""
    algoStatus: str = ""
    orderType: str = ""
    type: str = ""
    side: SideName = "BUY"
    positionSide: str = "BOTH"
    timeInForce: str = "GTC"
    quantity: NumberText = ""
    triggerPrice: NumberText = ""
    activatePrice: NumberText = ""
    callbackRate: NumberText = ""
    workingType: str = "CONTRACT_PRICE"
    reduceOnly: bool = False
    closePosition: bool = False
    actualOrderId: int | str | None = None
    actualPrice: str | None = None
    actualQty: NumberText | None = None
    createTime: int = 0
    updateTime: int = 0
    code: int | str | None = None
    msg: str = ""
    rejectReason: str = ""


class UserTrade(msgspec.Struct):
    """One fill of the account."""

    id: int
    orderId: int
    symbol: str
    side: SideName
    price: Amount
    qty: Amount
    commission: Number
    commissionAsset: str
    time: int
    maker: bool = False
    realizedPnl: Number = 0.0
    positionSide: str = "BOTH"


class Income(msgspec.Struct):
    """One booking in the wallet."""

    symbol: str
    incomeType: str
    income: Number
    asset: str
    time: int
    tranId: int = 0


KlineRow = tuple[int, Number, Number, Number, Number, Number, int, Number, int, Number, Number, Any]
"""Open time, open, high, low, close, volume, close time, and five columns that are not used."""


class ApiAnswer(msgspec.Struct):
    """An answer of the WebSocket API; ``result`` is decoded by whoever asked."""

    status: int
    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: ErrorAnswer | None = None
    rateLimits: list[RateLimit] = []
