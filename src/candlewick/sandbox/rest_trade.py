"""Answers to orders: place, change, cancel, ask; normal and conditional ones apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from candlewick.sandbox import answers
from candlewick.sandbox.calls import Call, Endpoint, Security
from candlewick.sandbox.records import AlgoRecord, OrderRecord
from candlewick.sandbox.wire import ApiError, Params

__all__ = ["ENDPOINTS", "cancel", "cancel_algo", "modify", "place", "place_algo", "query"]

_MOST_IN_BATCH = 5
_MOST_HISTORY = 1_000
_WEEK_MS = 7 * 86_400_000
_ID_LISTS = ("orderIdList", "orderidlist")  # some clients write it small
_NAME_LISTS = ("origClientOrderIdList", "origclientorderidlist")
T = TypeVar("T")


# -- normal orders ---------------------------------------------------------------------------------


def place(call: Call) -> Any:
    order = call.client.trading.place(call.params)
    shown = _placed(call, order)
    call.world.after_order(call.client, order.symbol)
    if call.params.text("newOrderRespType") == "RESULT":
        shown = _placed(call, order)
    return shown


def _placed(call: Call, order: OrderRecord) -> dict[str, Any]:
    return answers.placed(order, call.world.instruments[order.symbol])


def test_order(call: Call) -> Any:
    order = call.client.trading.check(call.params)
    return answers.tested(order, call.world.instruments[order.symbol])


def modify(call: Call) -> Any:
    order = call.client.trading.modify(call.params)
    shown = answers.modified(order, call.world.instruments[order.symbol])
    call.world.after_order(call.client, order.symbol)
    return shown


def cancel(call: Call) -> Any:
    return _placed(call, call.client.trading.cancel(call.params))


def query(call: Call) -> Any:
    order = call.client.trading.find(call.params)
    if order is None:
        raise ApiError(-2013)
    return answers.queried(order, call.world.instruments[order.symbol])


def open_order(call: Call) -> Any:
    order = call.client.trading.find(call.params)
    if order is None or not order.is_open:
        raise ApiError(-2013)
    return answers.queried(order, call.world.instruments[order.symbol])


def open_orders(call: Call) -> Any:
    symbol = _symbol(call)
    instruments = call.world.instruments
    return [
        answers.queried(order, instruments[order.symbol])
        for order in call.client.account.open_orders(symbol)
    ]


def all_orders(call: Call) -> Any:
    symbol = call.client.trading.instrument(call.params.need("symbol")).symbol
    orders = [order for order in call.client.account.orders.values() if order.symbol == symbol]
    picked = _page(call, orders, "orderId", lambda o: o.order_id, lambda o: o.created)
    return [answers.queried(order, call.world.instruments[symbol]) for order in picked]


def cancel_all(call: Call) -> Any:
    call.client.trading.cancel_all(call.params.need("symbol"))
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def countdown(call: Call) -> Any:
    """The server sets the alarm; see `Sandbox`."""
    symbol = call.client.trading.instrument(call.params.need("symbol")).symbol
    return {"symbol": symbol, "countdownTime": str(call.params.need_integer("countdownTime"))}


# -- several at once -------------------------------------------------------------------------------


def place_batch(call: Call) -> Any:
    return _batch(call, call.params.json("batchOrders"), place)


def modify_batch(call: Call) -> Any:
    return _batch(call, call.params.json("batchOrders"), modify)


def cancel_batch(call: Call) -> Any:
    symbol = call.params.need("symbol")
    by_id = next((name for name in _ID_LISTS if name in call.params), "")
    if by_id:
        wanted = [{"symbol": symbol, "orderId": x} for x in call.params.json(by_id)]
    else:
        by_name = next((name for name in _NAME_LISTS if name in call.params), _NAME_LISTS[0])
        names = call.params.json(by_name)
        wanted = [{"symbol": symbol, "origClientOrderId": name} for name in names]
    return _batch(call, wanted, cancel, most=10)


def _batch(
    call: Call, wanted: Any, answer: Callable[[Call], Any], most: int = _MOST_IN_BATCH
) -> list[Any]:
    """Each part is answered for itself: with an order, or with a refusal."""
    if not isinstance(wanted, list) or not 1 <= len(wanted) <= most:
        raise ApiError(-1130, name="batchOrders")
    return [_part(call, part, answer) for part in wanted]


def _part(call: Call, part: Any, answer: Callable[[Call], Any]) -> Any:
    try:
        if not isinstance(part, Mapping):
            raise ApiError(-1130, name="batchOrders")
        params = Params({str(name): _as_text(value) for name, value in part.items()})
        return answer(Call(call.world, params, call.caller))
    except ApiError as error:
        return error.as_json()


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _batch_orders(params: Params) -> int:
    wanted = params.json("batchOrders") if "batchOrders" in params else []
    return max(1, len(wanted)) if isinstance(wanted, list) else 1


# -- conditional orders ----------------------------------------------------------------------------


def place_algo(call: Call) -> Any:
    algo = call.client.trading.place_algo(call.params)
    return answers.algo_placed(algo, call.world.instruments[algo.symbol])


def cancel_algo(call: Call) -> Any:
    algo = call.client.trading.cancel_algo(call.params)
    return {
        "algoId": algo.algo_id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"
    }  # fmt: skip


def query_algo(call: Call) -> Any:
    algo = call.client.trading.find_algo(call.params)
    if algo is None:
        raise ApiError(-2013)
    return answers.algo_answer(algo, call.world.instruments[algo.symbol], single=True)


def open_algos(call: Call) -> Any:
    found: Iterable[AlgoRecord] = call.client.account.open_algos(_symbol(call))
    if "algoId" in call.params:
        wanted = call.params.integer("algoId")
        found = (algo for algo in found if algo.algo_id == wanted)
    instruments = call.world.instruments
    return [answers.algo_answer(a, instruments[a.symbol], single=False) for a in found]


def all_algos(call: Call) -> Any:
    symbol = call.client.trading.instrument(call.params.need("symbol")).symbol
    algos = [algo for algo in call.client.account.algos.values() if algo.symbol == symbol]
    picked = _page(call, algos, "algoId", lambda a: a.algo_id, lambda a: a.created)
    instrument = call.world.instruments[symbol]
    return [answers.algo_answer(algo, instrument, single=False) for algo in picked]


def cancel_all_algos(call: Call) -> Any:
    call.client.trading.cancel_all_algos(call.params.need("symbol"))
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


# -- what has happened -----------------------------------------------------------------------------


def user_trades(call: Call) -> Any:
    instrument = call.client.trading.instrument(call.params.need("symbol"))
    trades = [t for t in call.client.account.trades if t.symbol == instrument.symbol]
    if "orderId" in call.params:
        wanted = call.params.integer("orderId")
        trades = [trade for trade in trades if trade.order_id == wanted]
    picked = _page(call, trades, "fromId", lambda t: t.id, lambda t: t.time)
    return [answers.trade_answer(trade, instrument) for trade in picked]


def amendments(call: Call) -> Any:
    order = call.client.trading.find(call.params)
    if order is None:
        raise ApiError(-2013)
    instrument = call.world.instruments[order.symbol]
    changes = [c for c in call.client.account.amendments if c.order is order]
    return [answers.amendment_answer(change, instrument) for change in reversed(changes)]


def force_orders(call: Call) -> Any:
    symbol, kind = _symbol(call), call.params.text("autoCloseType")
    instruments = call.world.instruments
    return [
        answers.force_order(order, instruments[order.symbol])
        for order in call.client.account.orders.values()
        if order.by_exchange
        and (not symbol or order.symbol == symbol)
        and kind in ("", "ADL" if order.deleveraged else "LIQUIDATION")
    ]


def _symbol(call: Call) -> str:
    given = call.params.text("symbol")
    return call.client.trading.instrument(given).symbol if given else ""


def _page(
    call: Call, rows: list[T], first_name: str, id_of: Callable[[T], int],
    time_of: Callable[[T], int],
) -> list[T]:  # fmt: skip
    """Rows by first id or by time, oldest first, as many as asked for.

    By time it is seven days at most: the first of them where only a start is given, the last
    where only an end is, or nothing.
    """
    params = call.params
    limit = params.integer("limit", 500)
    if not 1 <= limit <= _MOST_HISTORY:
        raise ApiError(-1130, name="limit")
    first = params.integer(first_name)
    start, end = params.integer("startTime"), params.integer("endTime")
    if start and end and start > end:
        raise ApiError(-1023)
    if start and end and end - start > _WEEK_MS:
        raise ApiError(-4165, days=7)
    if not first and "orderId" not in params:
        end = end or (start + _WEEK_MS if start else call.world.now)
        start = start or max(1, end - _WEEK_MS)
        asked = "startTime" in params
    else:
        asked = True
    picked = [
        row for row in rows
        if id_of(row) >= first and time_of(row) >= start and (not end or time_of(row) <= end)
    ]  # fmt: skip
    return picked[:limit] if asked else picked[-limit:]


def _by_symbol(one: int, every: int) -> Callable[[Params], int]:
    return lambda params: one if "symbol" in params else every


_SIGNED = Security.SIGNED

ENDPOINTS = [
    Endpoint("POST", "/fapi/v1/order", place, 0, _SIGNED, 1),
    Endpoint("POST", "/fapi/v1/order/test", test_order, 1, _SIGNED),
    Endpoint("PUT", "/fapi/v1/order", modify, 0, _SIGNED, 1),
    Endpoint("DELETE", "/fapi/v1/order", cancel, 1, _SIGNED),
    Endpoint("GET", "/fapi/v1/order", query, 1, _SIGNED),
    Endpoint("GET", "/fapi/v1/openOrder", open_order, 1, _SIGNED),
    Endpoint("GET", "/fapi/v1/openOrders", open_orders, _by_symbol(1, 40), _SIGNED),
    Endpoint("GET", "/fapi/v1/allOrders", all_orders, 5, _SIGNED),
    Endpoint("DELETE", "/fapi/v1/allOpenOrders", cancel_all, 1, _SIGNED),
    Endpoint("POST", "/fapi/v1/countdownCancelAll", countdown, 10, _SIGNED),
    Endpoint("POST", "/fapi/v1/batchOrders", place_batch, 5, _SIGNED, _batch_orders),
    Endpoint("PUT", "/fapi/v1/batchOrders", modify_batch, 5, _SIGNED, _batch_orders),
    Endpoint("DELETE", "/fapi/v1/batchOrders", cancel_batch, 1, _SIGNED),
    Endpoint("POST", "/fapi/v1/algoOrder", place_algo, 0, _SIGNED, 1),
    Endpoint("DELETE", "/fapi/v1/algoOrder", cancel_algo, 1, _SIGNED),
    Endpoint("GET", "/fapi/v1/algoOrder", query_algo, 1, _SIGNED),
    Endpoint("GET", "/fapi/v1/openAlgoOrders", open_algos, _by_symbol(1, 40), _SIGNED),
    Endpoint("GET", "/fapi/v1/allAlgoOrders", all_algos, 5, _SIGNED),
    Endpoint("DELETE", "/fapi/v1/algoOpenOrders", cancel_all_algos, 1, _SIGNED),
    Endpoint("GET", "/fapi/v1/userTrades", user_trades, 5, _SIGNED),
    Endpoint("GET", "/fapi/v1/orderAmendment", amendments, 1, _SIGNED),
    Endpoint("GET", "/fapi/v1/forceOrders", force_orders, _by_symbol(20, 50), _SIGNED),
]
