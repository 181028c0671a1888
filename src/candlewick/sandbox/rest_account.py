"""Answers about the account: balances, positions, income."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from candlewick.exchange.book import SymbolBook
from candlewick.exchange.holding import Holding
from candlewick.models import PositionSide
from candlewick.sandbox.answers import income_answer
from candlewick.sandbox.calls import Call, Endpoint, Security
from candlewick.sandbox.deleveraging import quantile
from candlewick.sandbox.events import break_even
from candlewick.sandbox.wire import ApiError, money, number

__all__ = [
    "ENDPOINTS",
    "account",
    "account_v3",
    "balance",
    "books",
    "most_notional",
    "position_risk",
    "position_risk_v3",
]

_NONE = "0"
_MOST_HISTORY = 1_000
_WEEK_MS = 7 * 86_400_000
_ADD, _REDUCE = 1, 2  # the types of a change of margin


def books(call: Call, symbol: str = "") -> Iterator[SymbolBook]:
    """The books of one symbol, or of all."""
    exchange = call.client.account.exchange
    names = [call.world.market(symbol).symbol] if symbol else call.world.instruments
    return (exchange.book(name) for name in names)


def _sides(call: Call) -> tuple[PositionSide, ...]:
    if call.client.account.hedge_mode:
        return PositionSide.LONG, PositionSide.SHORT
    return (PositionSide.BOTH,)


def _slots(call: Call, symbol: str = "") -> Iterator[tuple[SymbolBook, Holding]]:
    """Every place where a position may be, held or not; hedge mode has both sides and BOTH."""
    for book in books(call, symbol):
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
        for book in books(call):
            self.orders += _waiting(call, book) / book.leverage
            for held in book.holdings.values():
                notional = held.notional(book.mark)
                self.initial += notional / book.leverage
                if held.quantity:
                    self.maintenance += book.instrument.maintenance_margin(notional)
                if book.isolated:
                    self.isolated += held.isolated_margin if held.quantity else 0.0
                else:
                    self.cross_profit += held.unrealized(book.mark)

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
        "feeBurn": call.client.account.fee_burn,
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
    asset = {
        "asset": call.world.asset,
        **totals.as_json(),
        "updateTime": call.client.account.changed,
    }
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
        "isolated": book.isolated,
        "entryPrice": full["entryPrice"],
        "maxNotional": number(most_notional(book)),
        "bidNotional": _NONE,
        "askNotional": _NONE,
        "positionSide": full["positionSide"],
        "positionAmt": full["positionAmt"],
        "updateTime": held.updated_time,
    }


def _figures(call: Call, book: SymbolBook, held: Holding) -> dict[str, Any]:
    """All that any answer says of a position."""
    instrument = book.instrument
    isolated = book.isolated and held.quantity != 0.0
    notional = held.notional(book.mark)
    profit = held.unrealized(book.mark)
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
        "markPrice": money(book.mark),
        "unRealizedProfit": money(profit),
        "unrealizedProfit": money(profit),
        "liquidationPrice": number(
            call.client.account.exchange.liquidation_price(instrument.symbol, held.side)
        ),
        "isolatedMargin": money(margin + profit if isolated else 0.0),
        "notional": money(math.copysign(notional, held.quantity) if held.quantity else 0.0),
        "marginAsset": call.world.asset,
        "isolatedWallet": money(margin),
        "initialMargin": money(initial + orders),
        "maintMargin": money(maintenance),
        "positionInitialMargin": money(initial),
        "openOrderInitialMargin": money(orders),
        "adl": _place(call, instrument.symbol, held.side),
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
            "maxNotionalValue": number(most_notional(book)),
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


def most_notional(book: SymbolBook) -> float:
    """The largest position that the leverage allows, quote currency."""
    fits = [b.cap for b in book.instrument.brackets if b.max_leverage >= book.leverage]
    return min(max(fits, default=0.0), 1e12)


def income(call: Call) -> Any:
    params = call.params
    symbol, kind = params.text("symbol"), params.text("incomeType")
    asked, end = params.integer("startTime"), params.integer("endTime")
    start = asked if asked or end else call.world.now - _WEEK_MS
    limit = min(max(params.integer("limit", 100), 1), _MOST_HISTORY)
    rows = [
        income_answer(entry)
        for entry in call.client.account.incomes
        if (not symbol or entry.symbol == symbol)
        and (not kind or entry.kind == kind)
        and entry.time >= start
        and (not end or entry.time <= end)
    ]
    return rows[:limit] if asked else rows[-limit:]


def _place(call: Call, symbol: str, side: PositionSide) -> int:
    everyone = [client.account.exchange for client in call.world.clients.values()]
    return quantile(call.client.account.exchange, everyone, symbol, side)


def adl_quantile(call: Call) -> Any:
    """Places in the queue; HEDGE in place of BOTH is a sign of cross margin in hedge mode."""
    hedge = call.client.account.hedge_mode
    rows = []
    for book in books(call, call.params.text("symbol")):
        symbol = book.instrument.symbol
        places = {side: _place(call, symbol, PositionSide(side)) for side in ("LONG", "SHORT")}
        if hedge and not book.isolated:
            highest = max(places.values())
            both = all(book.holding(PositionSide(side)).quantity for side in places)
            found = (dict.fromkeys(places, highest) if both else places) | {"HEDGE": 0}
        else:
            found = places | {"BOTH": _place(call, symbol, PositionSide.BOTH)}
        rows.append({"symbol": symbol, "adlQuantile": found})
    return rows


def change_margin(call: Call) -> Any:
    """Add to the margin of an isolated position, or take from it."""
    params = call.params
    (book,) = books(call, params.need("symbol"))
    params.need("amount")
    amount = params.amount("amount")
    kind = params.need_integer("type")
    if kind not in (_ADD, _REDUCE):
        raise ApiError(-1130, name="type")
    if amount <= 0.0:
        raise ApiError(-4055)
    side = PositionSide(params.choice("positionSide", tuple(PositionSide), "BOTH", -4060))
    if side not in _sides(call):
        raise ApiError(-4061)
    change = amount if kind == _ADD else -amount
    call.client.account.add_margin(book.instrument.symbol, side, change)
    return {
        "amount": amount, "code": 200, "msg": "Successfully modify position margin.", "type": kind
    }  # fmt: skip


def margin_history(call: Call) -> Any:
    """What was added to isolated margins and taken from them, oldest first."""
    params = call.params
    (book,) = books(call, params.need("symbol"))
    kind = params.integer("type")
    start, end = params.integer("startTime"), params.integer("endTime")
    limit = min(max(params.integer("limit", 500), 1), _MOST_HISTORY)
    rows = [
        {"symbol": change.symbol, "type": _ADD if change.amount > 0.0 else _REDUCE,
         "deltaType": change.kind, "amount": money(abs(change.amount)), "asset": change.asset,
         "time": change.time, "positionSide": change.position_side}
        for change in call.client.account.margin_changes
        if change.symbol == book.instrument.symbol
        and (not kind or (kind == _ADD) is (change.amount > 0.0))
        and change.time >= start
        and (not end or change.time <= end)
    ]  # fmt: skip
    return rows[:limit] if start else rows[-limit:]


_SIGNED = Security.SIGNED

ENDPOINTS = [
    Endpoint("GET", "/fapi/v2/balance", balance, 5, _SIGNED),
    Endpoint("GET", "/fapi/v3/balance", balance, 5, _SIGNED),
    Endpoint("GET", "/fapi/v2/account", account, 5, _SIGNED),
    Endpoint("GET", "/fapi/v3/account", account_v3, 5, _SIGNED),
    Endpoint("GET", "/fapi/v2/positionRisk", position_risk, 5, _SIGNED),
    Endpoint("GET", "/fapi/v3/positionRisk", position_risk_v3, 5, _SIGNED),
    Endpoint("GET", "/fapi/v1/income", income, 30, _SIGNED),
    Endpoint("GET", "/fapi/v1/adlQuantile", adl_quantile, 5, _SIGNED),
    Endpoint("POST", "/fapi/v1/positionMargin", change_margin, 1, _SIGNED),
    Endpoint("GET", "/fapi/v1/positionMargin/history", margin_history, 1, _SIGNED),
]
