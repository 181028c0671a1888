"""The REST requests that the venue makes: path, weight, security, and the type of the answer."""

from __future__ import annotations

from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec

from candlewick.venues.binance.answers import (
    AccountConfig,
    AlgoAnswer,
    Balance,
    BracketTable,
    Commission,
    ExchangeInfo,
    FundingRate,
    Income,
    KlineRow,
    ListenKey,
    OrderAnswer,
    PositionMode,
    PositionRisk,
    ServerTime,
    UserTrade,
)

__all__ = ["Endpoint", "Security"]

T = TypeVar("T")


class Security(Enum):
    """What a request has to show."""

    NONE = 0
    KEY = 1
    SIGNED = 2


class Endpoint(Generic[T]):
    """One kind of request.

    ``weight`` is that of the cheapest form, ``orders`` how much it counts against the order limits.
    ``repeatable`` ones have the same effect when they arrive twice.
    """

    __slots__ = ("decoder", "method", "orders", "path", "repeatable", "security", "weight")

    def __init__(
        self,
        method: str,
        path: str,
        answer: Any,
        *,
        weight: int = 1,
        security: Security = Security.SIGNED,
        orders: int = 0,
        repeatable: bool | None = None,
    ) -> None:
        self.method = method
        self.path = path
        self.decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(answer, strict=False)
        self.weight = weight
        self.security = security
        self.orders = orders
        self.repeatable = method == "GET" if repeatable is None else repeatable


_OPEN, _KEY = Security.NONE, Security.KEY

TIME: Endpoint[ServerTime] = Endpoint("GET", "/fapi/v1/time", ServerTime, security=_OPEN)
INFO: Endpoint[ExchangeInfo] = Endpoint(
    "GET", "/fapi/v1/exchangeInfo", ExchangeInfo, security=_OPEN
)
KLINES: Endpoint[list[KlineRow]] = Endpoint(
    "GET", "/fapi/v1/klines", list[KlineRow], security=_OPEN
)

FUNDING: Endpoint[list[FundingRate]] = Endpoint(
    "GET", "/fapi/v1/fundingRate", list[FundingRate], security=_OPEN
)

BRACKETS: Endpoint[list[BracketTable] | BracketTable] = Endpoint(
    "GET", "/fapi/v1/leverageBracket", list[BracketTable] | BracketTable
)
COMMISSION: Endpoint[Commission] = Endpoint("GET", "/fapi/v1/commissionRate", Commission, weight=20)
POSITION_MODE: Endpoint[PositionMode] = Endpoint(
    "GET", "/fapi/v1/positionSide/dual", PositionMode, weight=30
)
ACCOUNT_CONFIG: Endpoint[AccountConfig] = Endpoint(
    "GET", "/fapi/v1/accountConfig", AccountConfig, weight=5
)
SET_POSITION_MODE: Endpoint[Any] = Endpoint(
    "POST", "/fapi/v1/positionSide/dual", Any, repeatable=True
)
SET_LEVERAGE: Endpoint[Any] = Endpoint("POST", "/fapi/v1/leverage", Any, repeatable=True)
SET_MARGIN_TYPE: Endpoint[Any] = Endpoint("POST", "/fapi/v1/marginType", Any, repeatable=True)
BALANCE: Endpoint[list[Balance]] = Endpoint("GET", "/fapi/v3/balance", list[Balance], weight=5)
POSITIONS: Endpoint[list[PositionRisk]] = Endpoint(
    "GET", "/fapi/v3/positionRisk", list[PositionRisk], weight=5
)
OPEN_ORDERS: Endpoint[list[OrderAnswer]] = Endpoint("GET", "/fapi/v1/openOrders", list[OrderAnswer])
OPEN_ALGO_ORDERS: Endpoint[list[AlgoAnswer]] = Endpoint(
    "GET", "/fapi/v1/openAlgoOrders", list[AlgoAnswer]
)
USER_TRADES: Endpoint[list[UserTrade]] = Endpoint(
    "GET", "/fapi/v1/userTrades", list[UserTrade], weight=5
)
INCOME: Endpoint[list[Income]] = Endpoint("GET", "/fapi/v1/income", list[Income], weight=30)

PLACE: Endpoint[OrderAnswer] = Endpoint("POST", "/fapi/v1/order", OrderAnswer, weight=0, orders=1)
TRY: Endpoint[Any] = Endpoint("POST", "/fapi/v1/order/test", Any, repeatable=True)
CANCEL: Endpoint[OrderAnswer] = Endpoint("DELETE", "/fapi/v1/order", OrderAnswer, repeatable=True)
QUERY: Endpoint[OrderAnswer] = Endpoint("GET", "/fapi/v1/order", OrderAnswer)
PLACE_ALGO: Endpoint[AlgoAnswer] = Endpoint(
    "POST", "/fapi/v1/algoOrder", AlgoAnswer, weight=0, orders=1
)
CANCEL_ALGO: Endpoint[AlgoAnswer] = Endpoint(
    "DELETE", "/fapi/v1/algoOrder", AlgoAnswer, repeatable=True
)
QUERY_ALGO: Endpoint[AlgoAnswer] = Endpoint("GET", "/fapi/v1/algoOrder", AlgoAnswer)

LISTEN: Endpoint[ListenKey] = Endpoint(
    "POST", "/fapi/v1/listenKey", ListenKey, security=_KEY, repeatable=True
)
KEEP_LISTENING: Endpoint[Any] = Endpoint(
    "PUT", "/fapi/v1/listenKey", Any, security=_KEY, repeatable=True
)
