"""Answers about the market: time, contracts, klines, trades, prices, depth."""

from __future__ import annotations

from typing import Any

from candlewick.models import INTERVAL_MS, Instrument
from candlewick.sandbox.calls import Call, Endpoint, Security
from candlewick.sandbox.settings import told_limit
from candlewick.sandbox.symbol_market import PublicTrade, SymbolMarket
from candlewick.sandbox.wire import ApiError, Params, decimals, money, number

__all__ = ["ENDPOINTS"]

_ONBOARD = 1_569_398_400_000  # when the exchange opened its first perpetual
_FOR_EVER = 4_133_404_800_000
_MOST_KLINES = 1_500


def ping(call: Call) -> Any:
    return {}


def server_time(call: Call) -> Any:
    return {"serverTime": call.world.server_ms}


def exchange_info(call: Call) -> Any:
    world = call.world
    limits = world.settings.limits
    rates = [
        ("REQUEST_WEIGHT", "MINUTE", 1, limits.weight),
        ("ORDERS", "MINUTE", 1, limits.orders_1m),
        ("ORDERS", "SECOND", 10, limits.orders_10s),
    ]
    return {
        "timezone": "UTC",
        "serverTime": world.server_ms,
        "rateLimits": [
            {
                "rateLimitType": kind,
                "interval": unit,
                "intervalNum": count,
                "limit": told_limit(limit),
            }
            for kind, unit, count, limit in rates
        ],
        "exchangeFilters": [],
        "assets": [{"asset": world.asset, "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [_contract(call, item) for item in world.instruments.values()],
    }


def _contract(call: Call, item: Instrument) -> dict[str, Any]:
    base, quote = call.world.split(item.symbol)
    return {
        "symbol": item.symbol,
        "pair": item.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": _FOR_EVER,
        "onboardDate": _ONBOARD,
        "status": "TRADING",
        "maintMarginPercent": f"{item.brackets[0].rate * 100.0:.4f}",
        "requiredMarginPercent": "5.0000",
        "baseAsset": base,
        "quoteAsset": quote,
        "marginAsset": quote,
        # one more than the tick has: precision is not the tick, as on the exchange
        "pricePrecision": decimals(item.tick) + 1,
        "quantityPrecision": decimals(item.step),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["PoW"],
        "settlePlan": 0,
        "triggerProtect": "0.0500",
        "liquidationFee": f"{item.liquidation_fee:.6f}",
        "marketTakeBound": "0.05",
        "filters": _filters(call, item),
        "orderTypes": [
            "LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET",
            "TRAILING_STOP_MARKET",
        ],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }  # fmt: skip


def _filters(call: Call, item: Instrument) -> list[dict[str, Any]]:
    limits = call.world.settings.limits
    step, least = number(item.step), number(item.min_quantity or item.step)
    largest = number(min(item.max_quantity, 1e9))
    tick = number(item.tick)
    return [
        {"filterType": "PRICE_FILTER", "minPrice": number(item.tick), "maxPrice": "10000000",
         "tickSize": tick + "0" if "." in tick else tick},
        {"filterType": "LOT_SIZE", "minQty": least, "maxQty": largest, "stepSize": step},
        {"filterType": "MARKET_LOT_SIZE", "minQty": least,
         "maxQty": number(min(item.market_max_quantity, 1e9)), "stepSize": step},
        {"filterType": "MAX_NUM_ORDERS", "limit": limits.open_orders},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": limits.conditional_orders},
        {"filterType": "MIN_NOTIONAL", "notional": number(item.min_notional)},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500",
         "multiplierDecimal": "4"},
    ]  # fmt: skip


# -- klines and trades -----------------------------------------------------------------------------


def klines(call: Call) -> Any:
    return _klines(call, call.world.market(call.params.need("symbol")))


def pair_klines(call: Call) -> Any:
    return _klines(call, call.world.market(call.params.need("pair")))


def mark_klines(call: Call) -> Any:
    """Those of the last price, as far above as the mark price is now."""
    market = call.world.market(call.params.need("symbol"))
    return [
        [row[0], *(_raised(market, price) for price in row[1:5]), "0", row[6], "0", row[8], "0",
         "0", "0"]
        for row in _klines(call, market)
    ]  # fmt: skip


def _raised(market: SymbolMarket, price: str) -> str:
    return market.text(market.instrument.nearest_price(float(price) + market.basis))


def premium_klines(call: Call) -> Any:
    """How far the mark price is above the index price, as a fraction of it."""
    market = call.world.market(call.params.need("symbol"))
    return [
        [row[0], *(f"{market.basis / float(price):.8f}" for price in row[1:5]), "0", row[6], "0",
         row[8], "0", "0", "0"]
        for row in _klines(call, market)
    ]  # fmt: skip


def adl_risk(call: Call) -> Any:
    """Nobody's bankruptcy is dealt out to others here, unless the control endpoint says so."""
    return _one_or_all(
        call,
        lambda market: {"symbol": market.symbol, "adlRisk": "low", "updateTime": market.time},
    )


def constituents(call: Call) -> Any:
    """The index price is the contract's own."""
    market = call.world.market(call.params.need("symbol"))
    return {
        "symbol": market.symbol,
        "time": market.time,
        "constituents": [
            {"exchange": "binance", "symbol": market.symbol, "price": market.text(market.price),
             "weight": "1.00000000"}
        ],
    }  # fmt: skip


def _klines(call: Call, market: SymbolMarket) -> Any:
    params = call.params
    interval = params.need("interval")
    if interval not in INTERVAL_MS or not market.bars.offers(interval):
        raise ApiError(-1120)
    limit = params.integer("limit", 500)
    if not 1 <= limit <= _MOST_KLINES:
        raise ApiError(-1130, name="limit")
    start, end = params.integer("startTime"), params.integer("endTime")
    rows = market.bars.rows(interval, start, end, limit)
    return [bar.row(market.instrument) for bar in rows]


def _kline_weight(params: Params) -> int:
    limit = params.integer("limit", 500)
    if limit < 100:
        return 1
    if limit < 500:
        return 2
    return 5 if limit <= 1_000 else 10


def _trades_of(call: Call, name: str = "limit") -> tuple[SymbolMarket, list[PublicTrade]]:
    market = call.world.market(call.params.need("symbol"))
    limit = call.params.integer(name, 500)
    if not 1 <= limit <= 1_000:
        raise ApiError(-1130, name=name)
    trades = list(market.trades)
    start, end = call.params.integer("startTime"), call.params.integer("endTime")
    first = call.params.integer("fromId")
    picked = [
        trade for trade in trades
        if trade.time >= start and (not end or trade.time <= end) and trade.id >= first
    ]  # fmt: skip
    return market, picked[:limit] if start or first else picked[-limit:]


def agg_trades(call: Call) -> Any:
    market, trades = _trades_of(call)
    return [
        {"a": t.id, "p": market.text(t.price), "q": number(t.quantity), "nq": number(t.quantity),
         "f": t.id, "l": t.id, "T": t.time, "m": t.buyer_is_maker}
        for t in trades
    ]  # fmt: skip


def recent_trades(call: Call) -> Any:
    market, trades = _trades_of(call)
    return [
        {"id": t.id, "price": market.text(t.price), "qty": number(t.quantity),
         "quoteQty": money(t.price * t.quantity), "time": t.time,
         "isBuyerMaker": t.buyer_is_maker, "isRPITrade": False}
        for t in trades
    ]  # fmt: skip


def depth(call: Call) -> Any:
    market = call.world.market(call.params.need("symbol"))
    limit = call.params.integer("limit", 500)
    if limit not in (5, 10, 20, 50, 100, 500, 1_000):
        raise ApiError(-4021, f"'{limit}' is not valid depth limit.")
    bids, asks = market.levels(limit)
    return {
        "lastUpdateId": market.update_id, "E": call.world.now, "T": market.time,
        "bids": bids, "asks": asks,
    }  # fmt: skip


def _depth_weight(params: Params) -> int:
    limit = params.integer("limit", 500)
    if limit <= 50:
        return 2
    return {100: 5, 500: 10}.get(limit, 20)


# -- prices ----------------------------------------------------------------------------------------


def _one_or_all(call: Call, row: Any) -> Any:
    """The row of one symbol, or the rows of all that have a price."""
    if "symbol" in call.params:
        return row(call.world.market(call.params.text("symbol")))
    return [row(market) for market in call.world.markets.values() if market.price]


def ticker_price(call: Call) -> Any:
    return _one_or_all(
        call,
        lambda market: {
            "symbol": market.symbol, "price": market.text(market.price), "time": market.time
        },
    )  # fmt: skip


def book_ticker(call: Call) -> Any:
    def row(market: SymbolMarket) -> dict[str, Any]:
        bid, bids, ask, asks = market.best()
        return {"symbol": market.symbol, "bidPrice": bid, "bidQty": bids, "askPrice": ask,
                "askQty": asks, "time": market.time}  # fmt: skip

    return _one_or_all(call, row)


def ticker_24h(call: Call) -> Any:
    return _one_or_all(call, lambda market: market.day())


def premium_index(call: Call) -> Any:
    def row(market: SymbolMarket) -> dict[str, Any]:
        mark, price = money(market.mark), money(market.price)
        return {
            "symbol": market.symbol, "markPrice": mark, "indexPrice": price,
            "estimatedSettlePrice": mark, "lastFundingRate": money(market.funding_rate),
            "interestRate": "0.00010000", "nextFundingTime": market.next_funding,
            "time": market.time,
        }  # fmt: skip

    return _one_or_all(call, row)


def open_interest(call: Call) -> Any:
    market = call.world.market(call.params.need("symbol"))
    held = sum(
        abs(position.quantity)
        for client in call.world.clients.values()
        for position in client.account.exchange.positions()
        if position.symbol == market.symbol
    )
    return {"symbol": market.symbol, "openInterest": number(held), "time": market.time}


def funding_rate(call: Call) -> Any:
    """The rates of the funding times that have passed."""
    symbol = call.params.text("symbol")
    markets = [call.world.market(symbol)] if symbol else list(call.world.markets.values())
    limit = call.params.integer("limit", 100)
    if not 1 <= limit <= 1_000:
        raise ApiError(-1130, name="limit")
    start, end = call.params.integer("startTime"), call.params.integer("endTime")
    rows = []
    for market in markets:
        closed = market.bars.closed
        first = closed[0].open_time if closed else market.time
        rows += [
            {"symbol": market.symbol, "fundingRate": money(rate),
             "fundingTime": time, "markPrice": money(market.price), "rateType": "Regular"}
            for time, rate in market.paid_rates(max(first, start))
            if not end or time <= end
        ]  # fmt: skip
    return rows[:limit] if start else rows[-limit:]


def funding_info(call: Call) -> Any:
    hours = call.world.settings.exchange.funding_interval_h
    return [
        {"symbol": symbol, "adjustedFundingRateCap": "0.02000000",
         "adjustedFundingRateFloor": "-0.02000000", "fundingIntervalHours": hours,
         "disclaimer": False}
        for symbol in call.world.instruments
    ]  # fmt: skip


def _by_symbol(one: int, every: int) -> Any:
    return lambda params: one if "symbol" in params else every


ENDPOINTS = [
    Endpoint("GET", "/fapi/v1/ping", ping),
    Endpoint("GET", "/fapi/v1/time", server_time),
    Endpoint("GET", "/fapi/v1/exchangeInfo", exchange_info),
    Endpoint("GET", "/fapi/v1/klines", klines, _kline_weight),
    Endpoint("GET", "/fapi/v1/markPriceKlines", mark_klines, _kline_weight),
    Endpoint("GET", "/fapi/v1/premiumIndexKlines", premium_klines, _kline_weight),
    Endpoint("GET", "/fapi/v1/symbolAdlRisk", adl_risk),
    Endpoint("GET", "/fapi/v1/constituents", constituents, 2),
    Endpoint("GET", "/fapi/v1/rpiDepth", depth, 20),
    Endpoint("GET", "/fapi/v1/continuousKlines", pair_klines, _kline_weight),
    Endpoint("GET", "/fapi/v1/indexPriceKlines", pair_klines, _kline_weight),
    Endpoint("GET", "/fapi/v1/aggTrades", agg_trades, 20),
    Endpoint("GET", "/fapi/v1/trades", recent_trades, 5),
    Endpoint("GET", "/fapi/v1/historicalTrades", recent_trades, 200, Security.KEY),
    Endpoint("GET", "/fapi/v1/depth", depth, _depth_weight),
    Endpoint("GET", "/fapi/v1/ticker/price", ticker_price, _by_symbol(1, 2)),
    Endpoint("GET", "/fapi/v2/ticker/price", ticker_price, _by_symbol(1, 2)),
    Endpoint("GET", "/fapi/v1/ticker/bookTicker", book_ticker, _by_symbol(2, 5)),
    Endpoint("GET", "/fapi/v1/ticker/24hr", ticker_24h, _by_symbol(1, 40)),
    Endpoint("GET", "/fapi/v1/premiumIndex", premium_index, _by_symbol(1, 10)),
    Endpoint("GET", "/fapi/v1/openInterest", open_interest),
    Endpoint("GET", "/fapi/v1/fundingRate", funding_rate, 0),
    Endpoint("GET", "/fapi/v1/fundingInfo", funding_info, 0),
]
