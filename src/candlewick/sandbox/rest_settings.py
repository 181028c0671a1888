"""Answers about settings and sessions: leverage, margin type, modes, fees, limits, listen keys."""

from __future__ import annotations

from typing import Any

from candlewick.exchange import MarginType
from candlewick.sandbox import events
from candlewick.sandbox.calls import Call, Endpoint, Security
from candlewick.sandbox.rest_account import books, most_notional
from candlewick.sandbox.settings import told_limit
from candlewick.sandbox.wire import ApiError, Params, number

__all__ = ["ENDPOINTS", "close_key", "prolong_key", "start_key"]

DONE = {"code": 200, "msg": "success"}


def account_config(call: Call) -> Any:
    return {
        "feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True,
        "dualSidePosition": call.client.account.hedge_mode, "updateTime": 0,
        "multiAssetsMargin": False, "tradeGroupId": -1,
    }  # fmt: skip


def symbol_config(call: Call) -> Any:
    return [
        {
            "symbol": book.instrument.symbol,
            "marginType": "ISOLATED" if book.isolated else "CROSSED",
            "isAutoAddMargin": False,
            "leverage": book.leverage,
            "maxNotionalValue": number(most_notional(book)),
        }
        for book in books(call, call.params.text("symbol"))
    ]


def position_mode(call: Call) -> Any:
    return {"dualSidePosition": call.client.account.hedge_mode}


def change_position_mode(call: Call) -> Any:
    call.params.need("dualSidePosition")
    wanted = call.params.flag("dualSidePosition")
    trader = call.client.account
    if wanted == trader.hedge_mode:
        raise ApiError(-4059)
    if trader.open_orders() or trader.open_algos():
        raise ApiError(-4067)
    if trader.exchange.positions():
        raise ApiError(-4068)
    trader.hedge_mode = wanted
    return DONE


def multi_assets(call: Call) -> Any:
    return {"multiAssetsMargin": False}


def change_multi_assets(call: Call) -> Any:
    call.params.need("multiAssetsMargin")
    if call.params.flag("multiAssetsMargin"):
        raise ApiError(-4095, "Multi-Assets mode is not to be had on the sandbox.")
    raise ApiError(-4171, "No need to change Multi-Assets mode.")


def change_leverage(call: Call) -> Any:
    leverage = call.params.need_integer("leverage")
    (book,) = books(call, call.params.need("symbol"))
    most = max(bracket.max_leverage for bracket in book.instrument.brackets)
    if not 1 <= leverage <= most:
        raise ApiError(-4028, leverage=leverage)
    held = sum(holding.notional(book.mark) for holding in book.holdings.values())
    if held and book.isolated and leverage < book.leverage:
        raise ApiError(-4161)
    if book.instrument.bracket(held).max_leverage < leverage:
        raise ApiError(-2027, "Exceeded the maximum allowable position at current leverage.")
    changed = leverage != book.leverage
    symbol = book.instrument.symbol
    call.client.account.change_leverage(symbol, leverage)
    if changed:
        event = events.account_config(call.world.now, symbol=symbol, leverage=leverage)
        call.client.account.tell(event)
    return {
        "leverage": leverage, "maxNotionalValue": number(most_notional(book)), "symbol": symbol
    }  # fmt: skip


def change_margin_type(call: Call) -> Any:
    word = call.params.choice("marginType", ("ISOLATED", "CROSSED"), "")
    (book,) = books(call, call.params.need("symbol"))
    wanted = MarginType.ISOLATED if word == "ISOLATED" else MarginType.CROSS
    if wanted is book.margin_type:
        raise ApiError(-4046)
    trader, symbol = call.client.account, book.instrument.symbol
    if trader.open_orders(symbol) or trader.open_algos(symbol):
        raise ApiError(-4047)
    if book.open_positions:
        raise ApiError(-4048)
    trader.exchange.change_margin_type(wanted, symbol)
    return DONE


def brackets(call: Call) -> Any:
    return [
        {
            "symbol": book.instrument.symbol,
            "notionalCoef": 1.0,
            "brackets": [
                {
                    "bracket": place,
                    "initialLeverage": bracket.max_leverage,
                    "notionalCap": int(min(bracket.cap, 1e12)),
                    "notionalFloor": int(bracket.floor),
                    "maintMarginRatio": bracket.rate,
                    "cum": bracket.amount,
                }
                for place, bracket in enumerate(book.instrument.brackets, start=1)
            ],
        }
        for book in books(call, call.params.text("symbol"))
    ]


def commission(call: Call) -> Any:
    item = call.client.trading.instrument(call.params.need("symbol"))
    return {
        "symbol": item.symbol,
        "makerCommissionRate": number(item.fee_maker),
        "takerCommissionRate": number(item.fee_taker),
        "rpiCommissionRate": number(item.fee_maker),
    }


def order_limits(call: Call) -> Any:
    limits = call.world.settings.limits
    spans = (("SECOND", 10, limits.orders_10s), ("MINUTE", 1, limits.orders_1m))
    return [
        {"rateLimitType": "ORDERS", "interval": unit, "intervalNum": count,
         "limit": told_limit(limit)}
        for unit, count, limit in spans
    ]  # fmt: skip


def fee_burn(call: Call) -> Any:
    return {"feeBurn": call.client.account.fee_burn}


def change_fee_burn(call: Call) -> Any:
    """Fees would be paid in BNB where there is some; here there is none."""
    call.params.need("feeBurn")
    call.client.account.fee_burn = call.params.flag("feeBurn")
    return DONE


def trading_status(call: Call) -> Any:
    """Nobody is locked out for trading badly."""
    return {"indicators": {}, "updateTime": call.world.now}


# -- listen keys -----------------------------------------------------------------------------------


def start_key(call: Call) -> Any:
    if call.world.faults.refuses_user_stream():
        raise ApiError(-1001)
    return {"listenKey": call.world.open_key(call.client).key}


def prolong_key(call: Call) -> Any:
    key = call.client.listen_key
    if key is None or not call.world.is_alive(key):
        raise ApiError(-1125)
    call.world.prolong(key)
    return {"listenKey": key.key}


def close_key(call: Call) -> Any:
    key = call.client.listen_key
    if key is not None:
        call.world.close_key(key)
    return {}


def _status_weight(params: Params) -> int:
    return 1 if "symbol" in params else 10


_SIGNED, _KEY = Security.SIGNED, Security.KEY

ENDPOINTS = [
    Endpoint("GET", "/fapi/v1/accountConfig", account_config, 5, _SIGNED),
    Endpoint("GET", "/fapi/v1/symbolConfig", symbol_config, 5, _SIGNED),
    Endpoint("GET", "/fapi/v1/positionSide/dual", position_mode, 30, _SIGNED),
    Endpoint("POST", "/fapi/v1/positionSide/dual", change_position_mode, 1, _SIGNED),
    Endpoint("GET", "/fapi/v1/multiAssetsMargin", multi_assets, 30, _SIGNED),
    Endpoint("POST", "/fapi/v1/multiAssetsMargin", change_multi_assets, 1, _SIGNED),
    Endpoint("POST", "/fapi/v1/leverage", change_leverage, 1, _SIGNED),
    Endpoint("POST", "/fapi/v1/marginType", change_margin_type, 1, _SIGNED),
    Endpoint("GET", "/fapi/v1/leverageBracket", brackets, 1, _SIGNED),
    Endpoint("GET", "/fapi/v1/commissionRate", commission, 20, _SIGNED),
    Endpoint("GET", "/fapi/v1/rateLimit/order", order_limits, 1, _SIGNED),
    Endpoint("GET", "/fapi/v1/feeBurn", fee_burn, 30, _SIGNED),
    Endpoint("POST", "/fapi/v1/feeBurn", change_fee_burn, 1, _SIGNED),
    Endpoint("GET", "/fapi/v1/apiTradingStatus", trading_status, _status_weight, _SIGNED),
    Endpoint("POST", "/fapi/v1/listenKey", start_key, 1, _KEY),
    Endpoint("PUT", "/fapi/v1/listenKey", prolong_key, 1, _KEY),
    Endpoint("DELETE", "/fapi/v1/listenKey", close_key, 1, _KEY),
]
