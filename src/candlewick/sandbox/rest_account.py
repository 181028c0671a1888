"""Answers about the account: balances, positions, settings, income, listen keys."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from candlewick.exchange import MarginType
from candlewick.exchange.book import SymbolBook
from candlewick.exchange.holding import Holding
from candlewick.models import PositionSide
from candlewick.sandbox import events
from candlewick.sandbox.answers import income_answer
from candlewick.sandbox.calls import Call, Endpoint, Security
from candlewick.sandbox.events import break_even
from candlewick.sandbox.wire import ApiError, money, number

__all__ = [
    "DONE",
    "ENDPOINTS",
    "account",
    "account_v3",
    "balance",
    "position_risk",
    "position_risk_v3",
    "start_key",
]  # fmt: skip

DONE = {"code": 200, "msg": "success"}
_NONE = "0"
_MOST_HISTORY = 1_000


def _books(call: Call, symbol: str = "") -> Iterator[SymbolBook]:
    exchange = call.client.account.exchange
    names = [call.world.market(symbol).symbol] if symbol else call.world.instruments
    return (exchange.book(name) for name in names)


def _sides(call: Call) -> tuple[PositionSide, ...]:
    if call.client.account.hedge_mode:
        return PositionSide.LONG, PositionSide.SHORT
    return (PositionSide.BOTH,)


def _slots(call: Call, symbol: str = "") -> Iterator[tuple[SymbolBook, Holding]]:
    """Every place where a position may be, held or not; hedge mode has both sides and BOTH."""
    for book in _books(call, symbol):
        sides = _sides(call)
        if len(sides) > 1:
            sides = (PositionSide.BOTH, *sides)
        for side in sides:
            held = book.holdings.get(side)
            yield book, held if held is not None else Holding(book.instrument, side)


def _waiting(call: Call, book: SymbolBook) -> float:
    """Notional of the normal orders that open something, quote currency."""
    orders = call.client.account.open_orders(book.instrument.symbol)
    return sum(
        (order.price or book.last) * (order.quantity - order.executed)
        for order in orders
        if not order.reduce_only
    )


class _Totals:
    """Margins and balances of one account."""

    def __init__(self, call: Call) -> None:
        exchange = call.client.account.exchange
        self.wallet = exchange.balance
        self.unrealized = exchange.equity() - exchange.balance
        self.available = max(0.0, exchange.available())
        self.initial = self.maintenance = self.orders = self.isolated = self.cross_profit = 0.0
        for book in _books(call):
            self.orders += _waiting(call, book) / book.leverage
            for held in book.holdings.values():
                notional = held.notional(book.last)
                self.initial += notional / book.leverage
                if held.quantity:
                    self.maintenance += book.instrument.maintenance_margin(notional)
                if book.margin_type is MarginType.ISOLATED:
                    self.isolated += held.isolated_margin if held.quantity else 0.0
                else:
                    self.cross_profit += held.unrealized(book.last)

    def as_json(self, prefix: str = "") -> dict[str, str]:
        """The figures by the names of the answers; ``prefix`` is ``total`` or nothing."""
        figures = {
            "initialMargin": self.initial + self.orders,
            "maintMargin": self.maintenance,
            "walletBalance": self.wallet,
            "unrealizedProfit": self.unrealized,
            "marginBalance": self.wallet + self.unrealized,
            "positionInitialMargin": self.initial,
            "openOrderInitialMargin": self.orders,
            "crossWalletBalance": self.wallet - self.isolated,
            "crossUnPnl": self.cross_profit,
        }
        named = {
            prefix + name[0].upper() + name[1:] if prefix else name: money(value)
            for name, value in figures.items()
        }
        free = money(self.available)
        return named | {"availableBalance": free, "maxWithdrawAmount": free}


def balance(call: Call) -> Any:
    totals = _Totals(call)
    return [
        {
            "accountAlias": "Sandbox",
            "asset": call.world.asset,
            "balance": money(totals.wallet),
            "crossWalletBalance": money(totals.wallet - totals.isolated),
            "crossUnPnl": money(totals.cross_profit),
            "availableBalance": money(totals.available),
            "maxWithdrawAmount": money(totals.available),
            "marginAvailable": True,
            "updateTime": call.client.account.changed,
        }
    ]


def account(call: Call) -> Any:
    totals = _Totals(call)
    asset = {
        "asset": call.world.asset, **totals.as_json(), "marginAvailable": True,
        "updateTime": call.client.account.changed,
    }  # fmt: skip
    return {
        "feeTier": 0,
        "feeBurn": False,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
        **totals.as_json("total"),
        "assets": [asset],
        "positions": [_position_v2(call, book, held) for book, held in _slots(call)],
    }


def account_v3(call: Call) -> Any:
    totals = _Totals(call)
    asset = {"asset": call.world.asset, **totals.as_json(), "updateTime": call.client.account.changed}
    positions = [
        {
            name: full[name]
            for name in (
                "symbol", "positionSide", "positionAmt", "unrealizedProfit", "isolatedMargin",
                "notional", "isolatedWallet", "initialMargin", "maintMargin", "updateTime",
            )
        }
        for book, held in _slots(call)
        if held.quantity
        for full in [_figures(call, book, held)]
    ]  # fmt: skip
    return {**totals.as_json("total"), "assets": [asset], "positions": positions}


def _position_v2(call: Call, book: SymbolBook, held: Holding) -> dict[str, Any]:
    full = _figures(call, book, held)
    return {
        "symbol": full["symbol"],
        "initialMargin": full["initialMargin"],
        "maintMargin": full["maintMargin"],
        "unrealizedProfit": full["unrealizedProfit"],
        "positionInitialMargin": full["positionInitialMargin"],
        "openOrderInitialMargin": full["openOrderInitialMargin"],
        "leverage": str(book.leverage),
        "isolated": book.margin_type is MarginType.ISOLATED,
        "entryPrice": full["entryPrice"],
        "maxNotional": number(_most_notional(book)),
        "bidNotional": _NONE,
        "askNotional": _NONE,
        "positionSide": full["positionSide"],
        "positionAmt": full["positionAmt"],
        "updateTime": held.updated_time,
    }


def _figures(call: Call, book: SymbolBook, held: Holding) -> dict[str, Any]:
    """All that any answer says of a position."""
    instrument = book.instrument
    isolated = book.margin_type is MarginType.ISOLATED and held.quantity != 0.0
    notional = held.notional(book.last)
    profit = held.unrealized(book.last)
    margin = held.isolated_margin if isolated else 0.0
    orders = _waiting(call, book) / book.leverage
    initial = notional / book.leverage
    maintenance = instrument.maintenance_margin(notional) if held.quantity else 0.0
    return {
        "symbol": instrument.symbol,
        "positionSide": str(held.side),
        "positionAmt": instrument.format_quantity(held.quantity + 0.0),
        "entryPrice": number(held.entry_price),
        "breakEvenPrice": number(break_even(held)),
        "markPrice": money(book.last),
        "unRealizedProfit": money(profit),
        "unrealizedProfit": money(profit),
        "liquidationPrice": number(book.liquidation.get(held.side, 0.0)),
        "isolatedMargin": money(margin + profit if isolated else 0.0),
        "notional": money(math.copysign(notional, held.quantity) if held.quantity else 0.0),
        "marginAsset": call.world.asset,
        "isolatedWallet": money(margin),
        "initialMargin": money(initial + orders),
        "maintMargin": money(maintenance),
        "positionInitialMargin": money(initial),
        "openOrderInitialMargin": money(orders),
        "adl": 1 if held.quantity else 0,
        "bidNotional": _NONE,
        "askNotional": _NONE,
        "updateTime": held.updated_time,
    }


def position_risk(call: Call) -> Any:
    return [
        {
            name: full[name]
            for name in (
                "entryPrice", "breakEvenPrice", "isolatedMargin", "liquidationPrice",
                "markPrice", "positionAmt", "notional", "isolatedWallet", "symbol",
                "unRealizedProfit", "positionSide", "updateTime",
            )
        }
        | {
            "marginType": str(book.margin_type),
            "isAutoAddMargin": "false",
            "leverage": str(book.leverage),
            "maxNotionalValue": number(_most_notional(book)),
        }
        for book, held in _slots(call, call.params.text("symbol"))
        for full in [_figures(call, book, held)]
    ]  # fmt: skip


def position_risk_v3(call: Call) -> Any:
    """Only the positions that are held, or have orders."""
    rows = []
    for book, held in _slots(call, call.params.text("symbol")):
        has_orders = call.client.account.open_orders(book.instrument.symbol)
        if not held.quantity and not has_orders:
            continue
        full = _figures(call, book, held)
        full.pop("unrealizedProfit")
        rows.append(full)
    return rows


def _most_notional(book: SymbolBook) -> float:
    """The largest position that the leverage allows, quote currency."""
    fits = [b.cap for b in book.instrument.brackets if b.max_leverage >= book.leverage]
    return min(max(fits, default=0.0), 1e12)


# -- settings --------------------------------------------------------------------------------------


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
            "marginType": "ISOLATED" if book.margin_type is MarginType.ISOLATED else "CROSSED",
            "isAutoAddMargin": False,
            "leverage": book.leverage,
            "maxNotionalValue": number(_most_notional(book)),
        }
        for book in _books(call, call.params.text("symbol"))
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
    (book,) = _books(call, call.params.need("symbol"))
    most = max(bracket.max_leverage for bracket in book.instrument.brackets)
    if not 1 <= leverage <= most:
        raise ApiError(-4028, leverage=leverage)
    held = sum(holding.notional(book.last) for holding in book.holdings.values())
    if held and book.margin_type is MarginType.ISOLATED and leverage < book.leverage:
        raise ApiError(-4161)
    if book.instrument.bracket(held).max_leverage < leverage:
        raise ApiError(-2027, "Exceeded the maximum allowable position at current leverage.")
    changed = leverage != book.leverage
    book.leverage = leverage
    symbol = book.instrument.symbol
    if changed:
        event = events.account_config(call.world.now, symbol=symbol, leverage=leverage)
        call.client.account.tell(event)
    return {
        "leverage": leverage, "maxNotionalValue": number(_most_notional(book)), "symbol": symbol
    }  # fmt: skip


def change_margin_type(call: Call) -> Any:
    word = call.params.choice("marginType", ("ISOLATED", "CROSSED"), "")
    (book,) = _books(call, call.params.need("symbol"))
    wanted = MarginType.ISOLATED if word == "ISOLATED" else MarginType.CROSS
    if wanted is book.margin_type:
        raise ApiError(-4046)
    symbol, trader = book.instrument.symbol, call.client.account
    if trader.open_orders(symbol) or trader.open_algos(symbol):
        raise ApiError(-4047)
    if any(held.quantity for held in book.holdings.values()):
        raise ApiError(-4048)
    book.margin_type = wanted
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
        for book in _books(call, call.params.text("symbol"))
    ]


def commission(call: Call) -> Any:
    item = call.client.trading.instrument(call.params.need("symbol"))
    return {
        "symbol": item.symbol,
        "makerCommissionRate": number(item.fee_maker),
        "takerCommissionRate": number(item.fee_taker),
        "rpiCommissionRate": number(item.fee_maker),
    }


def income(call: Call) -> Any:
    params = call.params
    symbol, kind = params.text("symbol"), params.text("incomeType")
    start, end = params.integer("startTime"), params.integer("endTime")
    limit = min(max(params.integer("limit", 100), 1), _MOST_HISTORY)
    rows = [
        income_answer(entry)
        for entry in call.client.account.incomes
        if (not symbol or entry.symbol == symbol)
        and (not kind or entry.kind == kind)
        and entry.time >= start
        and (not end or entry.time <= end)
    ]
    return rows[:limit] if start else rows[-limit:]


def order_limits(call: Call) -> Any:
    limits = call.world.settings.limits
    return [
        {"rateLimitType": "ORDERS", "interval": unit, "intervalNum": count, "limit": limit}
        for unit, count, limit in (("SECOND", 10, limits.orders_10s),
                                   ("MINUTE", 1, limits.orders_1m))
    ]  # fmt: skip


def fee_burn(call: Call) -> Any:
    return {"feeBurn": False}


def adl_quantile(call: Call) -> Any:
    return [
        {"symbol": book.instrument.symbol,
         "adlQuantile": {"LONG": 0, "SHORT": 0, "HEDGE": 0, "BOTH": 0}}
        for book in _books(call, call.params.text("symbol"))
    ]  # fmt: skip


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


_SIGNED, _KEY = Security.SIGNED, Security.KEY

ENDPOINTS = [
    Endpoint("GET", "/fapi/v2/balance", balance, 5, _SIGNED),
    Endpoint("GET", "/fapi/v3/balance", balance, 5, _SIGNED),
    Endpoint("GET", "/fapi/v2/account", account, 5, _SIGNED),
    Endpoint("GET", "/fapi/v3/account", account_v3, 5, _SIGNED),
    Endpoint("GET", "/fapi/v2/positionRisk", position_risk, 5, _SIGNED),
    Endpoint("GET", "/fapi/v3/positionRisk", position_risk_v3, 5, _SIGNED),
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
    Endpoint("GET", "/fapi/v1/income", income, 30, _SIGNED),
    Endpoint("GET", "/fapi/v1/rateLimit/order", order_limits, 1, _SIGNED),
    Endpoint("GET", "/fapi/v1/feeBurn", fee_burn, 30, _SIGNED),
    Endpoint("GET", "/fapi/v1/adlQuantile", adl_quantile, 5, _SIGNED),
    Endpoint("POST", "/fapi/v1/listenKey", start_key, 1, _KEY),
    Endpoint("PUT", "/fapi/v1/listenKey", prolong_key, 1, _KEY),
    Endpoint("DELETE", "/fapi/v1/listenKey", close_key, 1, _KEY),
]
