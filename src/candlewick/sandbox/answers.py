"""REST answers about orders, trades and income: records in the exchange's field names."""

from __future__ import annotations

from typing import Any

from candlewick.models import Instrument
from candlewick.sandbox.records import AlgoRecord, Amendment, Income, OrderRecord, TradeRecord
from candlewick.sandbox.wire import average, money, number, price_text

__all__ = [
    "algo_answer",
    "algo_placed",
    "amendment_answer",
    "force_order",
    "income_answer",
    "modified",
    "placed",
    "queried",
    "tested",
    "trade_answer",
]


def _common(order: OrderRecord, instrument: Instrument) -> dict[str, Any]:
    """What every answer about an order holds."""
    algo = order.algo
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": price_text(instrument, order.price),
        "origQty": instrument.format_quantity(order.quantity),
        "executedQty": instrument.format_quantity(order.executed),
        "timeInForce": order.time_in_force,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": order.side,
        "positionSide": order.position_side,
        "stopPrice": price_text(instrument, algo.trigger if algo else 0.0),
        "workingType": algo.working_type if algo else "CONTRACT_PRICE",
        "priceProtect": algo.price_protect if algo else False,
        "origType": algo.type if algo else order.type,
        "priceMatch": order.price_match,
        "selfTradePreventionMode": order.self_trade,
        "goodTillDate": order.good_till,
        "updateTime": order.updated,
    }


def placed(order: OrderRecord, instrument: Instrument) -> dict[str, Any]:
    """The answer to placing or cancelling: without average price and cumulated quote."""
    return {
        **_common(order, instrument),
        "cumQty": instrument.format_quantity(order.executed),
    }


def tested(order: OrderRecord, instrument: Instrument) -> dict[str, Any]:
    """The answer to a test order."""
    return {**placed(order, instrument), "avgPrice": "0.00", "cumQuote": money(0.0)}


def modified(order: OrderRecord, instrument: Instrument) -> dict[str, Any]:
    """The answer to changing an order."""
    return {**placed(order, instrument), "pair": order.symbol}


def queried(order: OrderRecord, instrument: Instrument) -> dict[str, Any]:
    """The answer to asking for orders."""
    return {
        **_common(order, instrument),
        "avgPrice": average(order.average),
        "cumQuote": money(order.cost),
        "time": order.created,
    }


def force_order(order: OrderRecord, instrument: Instrument) -> dict[str, Any]:
    """The answer to asking for liquidation orders."""
    left_out = ("priceProtect", "priceMatch", "selfTradePreventionMode", "goodTillDate")
    full = queried(order, instrument)
    return {name: value for name, value in full.items() if name not in left_out}


def algo_placed(algo: AlgoRecord, instrument: Instrument) -> dict[str, Any]:
    """The answer to placing a conditional order."""
    answer = _algo_common(algo, instrument)
    if algo.type == "TRAILING_STOP_MARKET":
        answer["activatePrice"] = price_text(instrument, algo.trigger)
        answer["callbackRate"] = number(algo.callback)
    return answer


def algo_answer(algo: AlgoRecord, instrument: Instrument, *, single: bool) -> dict[str, Any]:
    """The answer to asking for conditional orders; ``single`` for one of them."""
    actual = algo.actual
    answer = {
        **_algo_common(algo, instrument),
        "actualOrderId": str(actual.order_id) if actual else "",
        "actualPrice": number(actual.average) if actual else "0.00",
        "tpOrderType": "",
    }
    if single:
        quantity = actual.executed if actual else 0.0
        answer["actualType"] = actual.type if actual else ""
        answer["actualQty"] = instrument.format_quantity(quantity)
    else:
        answer |= dict.fromkeys(("tpTriggerPrice", "tpPrice", "slTriggerPrice", "slPrice"), "0.000")
    return answer


def _algo_common(algo: AlgoRecord, instrument: Instrument) -> dict[str, Any]:
    return {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.client_id,
        "algoType": "CONDITIONAL",
        "orderType": algo.type,
        "symbol": algo.symbol,
        "side": algo.side,
        "positionSide": algo.position_side,
        "timeInForce": algo.time_in_force,
        "quantity": instrument.format_quantity(algo.quantity),
        "algoStatus": algo.status,
        "triggerPrice": price_text(instrument, algo.trigger),
        "price": price_text(instrument, algo.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": algo.self_trade,
        "workingType": algo.working_type,
        "priceMatch": algo.price_match,
        "closePosition": algo.close_position,
        "priceProtect": algo.price_protect,
        "reduceOnly": algo.reduce_only,
        "createTime": algo.created,
        "updateTime": algo.updated,
        "triggerTime": algo.triggered,
        "goodTillDate": algo.good_till,
    }


def trade_answer(trade: TradeRecord, instrument: Instrument) -> dict[str, Any]:
    """One row of the account's trades."""
    return {
        "buyer": trade.side == "BUY",
        "commission": money(trade.commission),
        "commissionAsset": trade.asset,
        "id": trade.id,
        "maker": trade.maker,
        "orderId": trade.order_id,
        "price": price_text(instrument, trade.price),
        "qty": instrument.format_quantity(trade.quantity),
        "quoteQty": money(trade.price * trade.quantity),
        "realizedPnl": money(trade.realized),
        "side": trade.side,
        "positionSide": trade.position_side,
        "symbol": trade.symbol,
        "time": trade.time,
    }


def income_answer(income: Income) -> dict[str, Any]:
    """One row of the account's income."""
    return {
        "symbol": income.symbol,
        "incomeType": income.kind,
        "income": money(income.amount),
        "asset": income.asset,
        "info": income.info,
        "time": income.time,
        "tranId": income.id,
        "tradeId": income.trade_id,
    }


def amendment_answer(change: Amendment, instrument: Instrument) -> dict[str, Any]:
    """One change of an order."""
    return {
        "amendmentId": change.id,
        "symbol": change.order.symbol,
        "pair": change.order.symbol,
        "orderId": change.order.order_id,
        "clientOrderId": change.order.client_id,
        "time": change.time,
        "amendment": {
            "price": {
                "before": price_text(instrument, change.price_before),
                "after": price_text(instrument, change.price_after),
            },
            "origQty": {
                "before": instrument.format_quantity(change.quantity_before),
                "after": instrument.format_quantity(change.quantity_after),
            },
            "count": change.count,
        },
    }
