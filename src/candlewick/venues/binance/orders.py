"""Orders in the exchange's words, and its answers in ours. Pure.

``newOrderRespType`` is ACK. RESULT would wait for the execution and still bring no trade ids, fees
or (since 2026-06-30) average price: nothing that could be booked. Its FILLED would even arrive
before the fills, and an order must not be final before they are known. ACK ends the time in which
the outcome is unknown as early as possible; the fills come over the account's stream, or are asked
for.
"""

from __future__ import annotations

from candlewick.models import (
    Fill,
    Instrument,
    Order,
    OrderStatus,
    OrderType,
    OrderUpdate,
    PositionSide,
    Side,
    TimeInForce,
    TriggerPrice,
)
from candlewick.models.members import BOTH, LIMIT
from candlewick.venues.binance.answers import AlgoAnswer, OrderAnswer, UserTrade
from candlewick.venues.binance.messages import AlgoState, OrderState, number
from candlewick.venues.binance.signing import Params

__all__ = [
    "ALGO_STATUS",
    "EXCHANGE_MADE",
    "STATUS",
    "algo_params",
    "fill_of",
    "fill_of_trade",
    "is_exchange_made",
    "listed_algo_order",
    "listed_order",
    "order_of_state",
    "order_params",
    "status_of",
    "update_of_algo",
    "update_of_answer",
    "update_of_state",
]

STATUS = {
    "NEW": OrderStatus.ACKNOWLEDGED,
    "PENDING_NEW": OrderStatus.ACKNOWLEDGED,
    "PARTIALLY_FILLED": OrderStatus.PARTIALLY_FILLED,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELED,
    "REJECTED": OrderStatus.REJECTED,
    "EXPIRED": OrderStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrderStatus.EXPIRED,
    "NEW_INSURANCE": OrderStatus.ACKNOWLEDGED,  # a liquidation that is being carried out
    "NEW_ADL": OrderStatus.ACKNOWLEDGED,  # the other side of somebody's liquidation
}
"""What a normal order's status means."""

ALGO_STATUS = {
    "NEW": OrderStatus.ACKNOWLEDGED,
    "TRIGGERING": OrderStatus.ACKNOWLEDGED,
    "TRIGGERED": OrderStatus.ACKNOWLEDGED,
    "CANCELED": OrderStatus.CANCELED,
    "REJECTED": OrderStatus.REJECTED,
    "EXPIRED": OrderStatus.EXPIRED,
}
"""What a conditional order's status means; FINISHED depends on the order that its trigger made."""

EXCHANGE_MADE = ("autoclose-", "adl_autoclose", "settlement_autoclose-", "delivery_autoclose-")
"""How client ids of liquidation, deleveraging, settlement and delivery begin."""

_TYPES = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "STOP_MARKET": OrderType.STOP_MARKET,
    "STOP": OrderType.STOP_MARKET,
    "TAKE_PROFIT_MARKET": OrderType.TAKE_PROFIT_MARKET,
    "TAKE_PROFIT": OrderType.TAKE_PROFIT_MARKET,
    "TRAILING_STOP_MARKET": OrderType.TRAILING_STOP_MARKET,
    "LIQUIDATION": OrderType.MARKET,
}
_ALGO_NAMES = {
    OrderType.STOP_MARKET: "STOP_MARKET",
    OrderType.TAKE_PROFIT_MARKET: "TAKE_PROFIT_MARKET",
    OrderType.TRAILING_STOP_MARKET: "TRAILING_STOP_MARKET",
}
_SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
_SIDE_NAMES = {Side.BUY: "BUY", Side.SELL: "SELL"}
_POSITION_SIDES = {side.value: side for side in PositionSide}
_TIMES = {time.value: time for time in TimeInForce}
_TRIGGERS = {"MARK_PRICE": TriggerPrice.MARK, "CONTRACT_PRICE": TriggerPrice.LAST}
_TRIGGER_NAMES = {by: name for name, by in _TRIGGERS.items()}


def is_exchange_made(client_id: str) -> bool:
    """True for an order that the exchange has made: it closes a position of ours."""
    return client_id.startswith(EXCHANGE_MADE)


def status_of(name: str, filled: float, quantity: float) -> OrderStatus | None:
    """What a normal order's status means, or None for one that is not known.

    A liquidation that is carried out in parts reports a status of its own: what it has filled
    tells more.
    """
    status = STATUS.get(name)
    if status is OrderStatus.ACKNOWLEDGED and filled > 0.0:
        return OrderStatus.FILLED if filled >= quantity > 0.0 else OrderStatus.PARTIALLY_FILLED
    return status


# -- what is asked ---------------------------------------------------------------------------------


def _common(order: Order) -> dict[str, str | int | bool]:
    params: dict[str, str | int | bool] = {
        "symbol": order.symbol,
        "side": _SIDE_NAMES[order.side],
    }
    if order.position_side is not BOTH:
        params["positionSide"] = order.position_side.value
    return params


def order_params(order: Order, instrument: Instrument) -> Params:
    """Parameters that place a market or limit order."""
    params = _common(order)
    params["type"] = "LIMIT" if order.type is LIMIT else "MARKET"
    params["quantity"] = instrument.format_quantity(order.quantity)
    if order.type is LIMIT:
        params["price"] = instrument.format_price(order.price)
        params["timeInForce"] = order.time_in_force.value
    if order.reduce_only and order.position_side is BOTH:
        params["reduceOnly"] = True  # in hedge mode the position side says it
    params["newClientOrderId"] = order.client_id
    params["newOrderRespType"] = "ACK"
    return params


def algo_params(order: Order, instrument: Instrument, *, reduce_only: bool = True) -> Params:
    """Parameters that place a conditional order.

    ``reduce_only`` False is for servers that do not take that parameter here: what would be
    reduce-only then closes the whole position.
    """
    params = _common(order)
    params["algoType"] = "CONDITIONAL"
    params["type"] = _ALGO_NAMES[order.type]
    one_way = order.position_side is BOTH
    trails = order.type is OrderType.TRAILING_STOP_MARKET
    closes = order.close_position or (order.reduce_only and one_way and not reduce_only)
    if closes and not trails:
        params["closePosition"] = True
    else:
        params["quantity"] = instrument.format_quantity(order.quantity)
        if order.reduce_only and one_way and reduce_only:
            params["reduceOnly"] = True
    if trails:
        params["callbackRate"] = f"{round(order.callback_rate * 100, 2):g}"  # percent
        if order.trigger_price:
            params["activatePrice"] = instrument.format_price(order.trigger_price)
    else:
        params["triggerPrice"] = instrument.format_price(order.trigger_price)
    params["workingType"] = _TRIGGER_NAMES[order.trigger_by]
    params["clientAlgoId"] = order.client_id
    return params


# -- what is answered ------------------------------------------------------------------------------


def update_of_answer(answer: OrderAnswer, client_id: str, time: int) -> OrderUpdate | None:
    """What an answer about a normal order says; None where its status is not known."""
    status = status_of(answer.status, answer.executedQty, answer.origQty)
    if status is None:
        return None
    return OrderUpdate(
        client_id, answer.symbol, status, answer.updateTime or time, str(answer.orderId),
        answer.executedQty, answer.avgPrice,
    )  # fmt: skip


def update_of_algo(answer: AlgoAnswer, order: Order, time: int) -> OrderUpdate | None:
    """What an answer about a conditional order says.

    None for FINISHED, which the order that the trigger made decides, and for what is not known.
    """
    status = ALGO_STATUS.get(answer.algoStatus)
    if status is None:
        return None
    return OrderUpdate(
        order.client_id, order.symbol, status, answer.updateTime or time, str(answer.algoId),
        message=answer.rejectReason,
    )  # fmt: skip


def update_of_state(state: OrderState, client_id: str, time: int) -> OrderUpdate | None:
    """What a message says about a normal order; None where its status is not known."""
    status = status_of(state.X, state.z, state.q)
    if status is None:
        return None
    return OrderUpdate(
        client_id, state.s, status, time, str(state.i), state.z, state.ap,
        message=f"expiry reason {state.er}" if state.er not in ("", "0") else "",
        order=order_of_state(state, client_id, status, time),
    )  # fmt: skip


def order_of_state(state: OrderState, client_id: str, status: OrderStatus, time: int) -> Order:
    """The order that a message tells of, as far as it says."""
    return Order(
        client_id, state.s, _SIDES[state.S], _TYPES.get(state.o, OrderType.MARKET),
        state.q, state.p, state.sp, 0.0, _TIMES.get(state.f, TimeInForce.GTC),
        state.R or is_exchange_made(state.c), state.cp,
        _TRIGGERS.get(state.wt, TriggerPrice.LAST),
        _POSITION_SIDES.get(state.ps, PositionSide.BOTH),
        created_time=time, status=status, filled=state.z, average_price=state.ap,
        venue_id=str(state.i), updated_time=time,
    )  # fmt: skip


def fill_of(state: OrderState, client_id: str, time: int) -> Fill | None:
    """The trade that a message tells of; None where it tells of none."""
    if state.l <= 0.0 or state.t <= 0:
        return None
    return Fill(
        state.t, client_id, state.s, _SIDES[state.S], state.L, state.l, state.n or 0.0,
        state.T or time, state.N or "USDT", state.m, state.rp, str(state.i),
        _POSITION_SIDES.get(state.ps, PositionSide.BOTH),
    )  # fmt: skip


def fill_of_trade(trade: UserTrade, client_id: str) -> Fill:
    """A fill from the list of trades."""
    return Fill(
        trade.id, client_id, trade.symbol, _SIDES[trade.side], trade.price, trade.qty,
        trade.commission, trade.time, trade.commissionAsset, trade.maker, trade.realizedPnl,
        str(trade.orderId), _POSITION_SIDES.get(trade.positionSide, PositionSide.BOTH),
    )  # fmt: skip


def listed_order(answer: OrderAnswer) -> Order:
    """An open normal order."""
    return Order(
        answer.clientOrderId, answer.symbol, _SIDES[answer.side],
        _TYPES.get(answer.type, OrderType.LIMIT), answer.origQty, answer.price,
        answer.stopPrice, 0.0, _TIMES.get(answer.timeInForce, TimeInForce.GTC),
        answer.reduceOnly, answer.closePosition,
        _TRIGGERS.get(answer.workingType, TriggerPrice.LAST),
        _POSITION_SIDES.get(answer.positionSide, PositionSide.BOTH),
        created_time=answer.time,
        status=status_of(answer.status, answer.executedQty, answer.origQty)
        or OrderStatus.ACKNOWLEDGED,
        filled=answer.executedQty, average_price=answer.avgPrice,
        venue_id=str(answer.orderId), updated_time=answer.updateTime,
    )  # fmt: skip


def listed_algo_order(answer: AlgoAnswer) -> Order:
    """An open conditional order; one that closes the position has the quantity 0.0."""
    kind = answer.orderType or answer.type
    trails = kind == "TRAILING_STOP_MARKET"
    trigger = number(answer.activatePrice) if trails else 0.0
    return Order(
        answer.clientAlgoId, answer.symbol, _SIDES[answer.side],
        _TYPES.get(kind, OrderType.STOP_MARKET), number(answer.quantity), 0.0,
        trigger or number(answer.triggerPrice),
        round(number(answer.callbackRate) / 100, 6) if trails else 0.0,
        reduce_only=answer.reduceOnly or answer.closePosition,
        close_position=answer.closePosition,
        trigger_by=_TRIGGERS.get(answer.workingType, TriggerPrice.LAST),
        position_side=_POSITION_SIDES.get(answer.positionSide, PositionSide.BOTH),
        created_time=answer.createTime,
        status=ALGO_STATUS.get(answer.algoStatus, OrderStatus.ACKNOWLEDGED),
        venue_id=str(answer.algoId), updated_time=answer.updateTime,
    )  # fmt: skip


def algo_link(state: AlgoState) -> int:
    """The id of the order that a conditional order's trigger made; 0 while there is none."""
    return int(state.ai) if state.ai.isdecimal() else 0
