"""Orders on the venue: what is sent, what is told, and what becomes of answers that are lost."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from candlewick.models import Order, OrderStatus, OrderType, Side
from tests.venues.conftest import Connect
from tests.venues.fake_exchange import FakeExchange, Json, LoseAnswer, Refusal, algo_event

BTC = "BTCUSDT"


def market(name: str = "cw-t-000001-entry", side: Side = Side.BUY, **more: Any) -> Order:
    values: dict[str, Any] = {"quantity": 0.01} | more
    return Order(name, BTC, side, OrderType.MARKET, **values)


def stop(name: str = "cw-t-000002-stop", **more: Any) -> Order:
    values: dict[str, Any] = {"quantity": 0.01, "trigger_price": 49_000.0, "reduce_only": True}
    return Order(name, BTC, Side.SELL, OrderType.STOP_MARKET, **(values | more))


def lose(_: Json) -> None:
    raise LoseAnswer


async def test_a_market_order_is_accepted_filled_and_told_with_its_fee(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    order = market()
    await venue.submit(order)
    await heard.until(lambda: "filled" in heard.statuses(order))
    sent = exchange.seen("POST", "/fapi/v1/order")[0]
    assert {k: v for k, v in sent.items() if k not in ("timestamp", "signature")} == {
        "symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.010",
        "newClientOrderId": "cw-t-000001-entry", "newOrderRespType": "ACK", "recvWindow": "300",
    }  # fmt: skip
    assert heard.statuses(order) == ["acknowledged", "filled"]
    (fill,) = heard.fills
    assert (fill.client_id, fill.quantity, fill.price) == (order.client_id, 0.01, 50_000.0)
    assert (fill.fee, fill.fee_asset) == (0.02, "USDT")
    assert heard.events.index(
        next(e for e in heard.events if e.payload == fill)
    ) < heard.events.index(
        next(e for e in heard.events if getattr(e.payload, "status", None) is OrderStatus.FILLED)
    )
    assert heard.updates[-1].filled == 0.01


async def test_limit_and_stop_orders_are_written_exactly(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    limit = Order("cw-t-000001-entry", BTC, Side.SELL, OrderType.LIMIT, 0.3, price=50_000.1)
    trailing = Order(
        "cw-t-000003-stop", BTC, Side.SELL, OrderType.TRAILING_STOP_MARKET, 0.3,
        callback_rate=0.015, reduce_only=True,
    )  # fmt: skip
    await venue.submit(limit)
    await venue.submit(stop(quantity=0.1 + 0.2))
    await venue.submit(trailing)
    volatile = ("timestamp", "signature", "recvWindow")
    (sent,) = exchange.seen("POST", "/fapi/v1/order")
    assert {k: v for k, v in sent.items() if k not in volatile} == {
        "symbol": BTC, "side": "SELL", "type": "LIMIT", "quantity": "0.300", "price": "50000.1",
        "timeInForce": "GTC", "newClientOrderId": limit.client_id, "newOrderRespType": "ACK",
    }  # fmt: skip
    first, second = exchange.seen("POST", "/fapi/v1/algoOrder")
    assert {k: v for k, v in first.items() if k not in volatile} == {
        "symbol": BTC, "side": "SELL", "algoType": "CONDITIONAL", "type": "STOP_MARKET",
        "quantity": "0.300", "reduceOnly": "true", "triggerPrice": "49000.0",
        "workingType": "CONTRACT_PRICE", "clientAlgoId": "cw-t-000002-stop",
    }  # fmt: skip
    assert {k: v for k, v in second.items() if k not in volatile} == {
        "symbol": BTC, "side": "SELL", "algoType": "CONDITIONAL", "type": "TRAILING_STOP_MARKET",
        "quantity": "0.300", "reduceOnly": "true", "callbackRate": "1.5",
        "workingType": "CONTRACT_PRICE", "clientAlgoId": "cw-t-000003-stop",
    }  # fmt: skip
    assert {heard.statuses(o)[0] for o in (limit, stop(), trailing)} == {"acknowledged"}


async def test_a_lost_answer_to_an_accepted_order_is_resolved_without_sending_again(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    exchange.silent_fills = True  # and nothing is heard of it over the stream
    exchange.script("POST", "/fapi/v1/order", lose, after=True)
    order = market()
    await venue.submit(order)
    assert heard.statuses(order) == ["unknown"]
    await heard.until(lambda: "filled" in heard.statuses(order))
    assert [fill.quantity for fill in heard.fills] == [0.01]
    assert len(exchange.seen("POST", "/fapi/v1/order")) == 1
    kinds = [type(event.payload).__name__ for event in heard.events][-2:]
    assert kinds == ["Fill", "OrderUpdate"]  # the fill first, also from a question


async def test_a_lost_order_that_never_arrived_is_rejected_once_it_cannot_arrive_any_more(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    exchange.script("POST", "/fapi/v1/order", lose)
    order = market()
    await venue.submit(order)
    await heard.until(lambda: "rejected" in heard.statuses(order))
    assert heard.statuses(order) == ["unknown", "rejected"]
    assert len(exchange.seen("POST", "/fapi/v1/order")) == 1
    assert len(exchange.seen("GET", "/fapi/v1/order")) > 1  # asked until the window had passed
    assert not exchange.orders


async def test_an_order_that_arrives_late_is_not_taken_for_rejected(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    arrived = asyncio.Event()

    late_ones = []

    async def late(params: Json) -> None:
        asyncio.get_running_loop().call_later(0.25, arrived.set)
        late_ones.append(asyncio.create_task(accept(params)))
        raise LoseAnswer

    async def accept(params: Json) -> None:
        await arrived.wait()
        await exchange.post_order(params)

    exchange.silent_fills = True
    exchange.script("POST", "/fapi/v1/order", late)
    order = market()
    await venue.submit(order)
    await heard.until(lambda: "filled" in heard.statuses(order))
    assert heard.statuses(order) == ["unknown", "filled"]


@pytest.mark.parametrize(
    ("status", "code"), [(503, 0), (503, -1007), (400, -1006), (400, -1001), (500, 0), (504, 0)]
)
async def test_answers_that_say_nothing_leave_the_order_unknown(
    exchange: FakeExchange, connect: Connect, status: int, code: int
) -> None:
    venue, heard = await connect()

    def unclear(_: Json) -> None:
        raise Refusal(status, code, "Unknown error, please check your request or try again later.")

    exchange.script("POST", "/fapi/v1/order", unclear, after=True)  # it was carried out
    order = market()
    await venue.submit(order)
    await heard.until(lambda: "filled" in heard.statuses(order))
    assert len(exchange.seen("POST", "/fapi/v1/order")) == 1
    assert heard.fills


async def test_an_answer_that_is_no_json_leaves_the_order_unknown_and_is_told(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    exchange.script(
        "POST", "/fapi/v1/order", lambda _: {"surprise": True}, after=True
    )  # carried out, but the answer is something else
    order = market()
    await venue.submit(order)
    await heard.until(lambda: "filled" in heard.statuses(order))
    assert heard.malformed[0].source == "rest /fapi/v1/order"
    assert len(exchange.seen("POST", "/fapi/v1/order")) == 1


async def test_a_refused_order_is_rejected_with_the_code_of_the_exchange(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()

    def margin(_: Json) -> None:
        raise Refusal(400, -2019, "Margin is insufficient.")

    exchange.script("POST", "/fapi/v1/order", margin)
    await venue.submit(market())
    (update,) = heard.updates
    assert (update.status, update.code) == (OrderStatus.REJECTED, -2019)
    assert "Margin is insufficient." in update.message


async def test_a_wrong_clock_is_set_right_and_the_order_sent_again(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    exchange.skew_ms = 5_000  # the exchange's clock jumps
    order = market()
    await venue.submit(order)
    await heard.until(lambda: "filled" in heard.statuses(order))
    assert len(exchange.seen("POST", "/fapi/v1/order")) == 2
    assert len(exchange.orders) == 1
    assert abs(venue.clock.now() - exchange.now()) < 1_000


async def test_the_clock_is_measured_again_and_again(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(clock_every_s=0.05)
    assert abs(venue.clock.server.offset_ms) < 1_000
    exchange.skew_ms = 7_000
    await heard.until(lambda: abs(venue.clock.server.offset_ms - 7_000) < 1_000)
    await venue.submit(market())
    assert venue.tally.events["clock_refused"] == 0


async def test_a_skewed_exchange_is_no_trouble(exchange: FakeExchange, connect: Connect) -> None:
    exchange.skew_ms = -90_000
    venue, heard = await connect()
    await venue.submit(market())
    await heard.until(lambda: "filled" in heard.statuses(market()))
    assert venue.tally.events["clock_refused"] == 0


async def test_a_market_order_whose_fill_is_not_heard_is_asked_for(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    exchange.silent_fills = True
    order = market()
    await venue.submit(order)
    await heard.until(lambda: "filled" in heard.statuses(order))
    assert [fill.client_id for fill in heard.fills] == [order.client_id]
    assert venue.tally.events["orders_not_confirmed"] == 1


async def test_a_market_order_is_asked_for_until_it_has_ended(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(confirm_after_s=0.05)
    exchange.silent_fills, exchange.market_fills = True, False
    order = market()
    await venue.submit(order)
    await exchange.until(lambda: len(exchange.seen("GET", "/fapi/v1/order")) > 1)
    assert heard.statuses(order) == ["acknowledged"]
    exchange.fill_quietly(order.client_id, 0.01)
    await heard.until(lambda: "filled" in heard.statuses(order))


async def test_an_order_that_is_going_out_still_is_not_taken_for_lost(
    exchange: FakeExchange, connect: Connect
) -> None:
    """Its window has passed since it was decided, but limits or the network have held it up."""
    venue, heard = await connect()
    order, arrived, released = market(), asyncio.Event(), asyncio.Event()

    async def hold(_: Json) -> None:
        arrived.set()
        await released.wait()

    exchange.script("POST", "/fapi/v1/order", hold)
    sending = asyncio.create_task(venue.submit(order))
    await arrived.wait()
    begun = time.monotonic()
    while time.monotonic() - begun < 0.6:  # window and grace are 0.4 s
        answer = await venue.query(order)
        assert answer is not None
        assert answer.status is OrderStatus.UNKNOWN
        await asyncio.sleep(0.05)
    released.set()
    await sending
    await heard.until(lambda: "filled" in heard.statuses(order))
    assert "rejected" not in heard.statuses(order)


async def test_an_order_that_is_cancelled_while_it_goes_out_is_cancelled_when_it_is_there(
    exchange: FakeExchange, connect: Connect
) -> None:
    """A cancel that overtook the order would find nothing, and the order would rest for ever."""
    venue, heard = await connect()
    order = Order("cw-t-000003-entry", BTC, Side.BUY, OrderType.LIMIT, 0.01, price=49_000.0)
    arrived, released = asyncio.Event(), asyncio.Event()

    async def hold(_: Json) -> None:
        arrived.set()
        await released.wait()

    exchange.script("POST", "/fapi/v1/order", hold)
    sending = asyncio.create_task(venue.submit(order))
    await arrived.wait()
    await venue.cancel(order, 0)
    released.set()
    await sending
    await heard.until(lambda: "canceled" in heard.statuses(order))
    assert exchange.orders[order.client_id]["status"] == "CANCELED"
    assert "rejected" not in heard.statuses(order)


async def test_a_stream_that_never_tells_of_an_order_is_replaced(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(stale_after_s=0.3)
    exchange.silent_fills = True
    await venue.submit(market())
    await heard.until(lambda: len([s for s in heard.streams if s.kind == "account"]) >= 3)
    told = [(s.state, s.reason) for s in heard.streams if s.kind == "account"]
    assert [state for state, _ in told[:3]] == ["live", "lost", "live"]
    assert "has not told of" in told[1][1]
    assert venue.tally.events["account_suspected"] == 1


async def test_a_stream_is_replaced_once_for_all_the_orders_that_it_has_not_told_of(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(stale_after_s=0.3)
    exchange.silent_fills = True
    await venue.submit(market())
    await asyncio.sleep(0.15)  # so that it is looked for while the stream is replaced, and after
    orders = [market(f"cw-late-{number}") for number in range(3)]
    for order in orders:
        await venue.submit(order)
        await asyncio.sleep(0.05)
    await heard.until(lambda: not any("follow" in t.get_name() for t in asyncio.all_tasks()))
    assert venue.tally.events["account_suspected"] == 1
    assert venue.tally.events["account_connected"] == 2


async def test_fills_that_are_lost_repeated_or_late_add_up_before_the_order_is_final(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    exchange.market_fills = False
    order = market(quantity=0.005)
    await venue.submit(order)
    events = [exchange.fill_quietly(order.client_id, 0.001) for _ in range(5)]
    for n in (1, 1, 0, 4, 4):  # the third and the fourth never come; the last is the final one
        await exchange.push(events[n])
    await heard.until(lambda: "filled" in heard.statuses(order))
    assert sorted(fill.trade_id for fill in heard.fills) == [e["o"]["t"] for e in events]
    final = next(n for n, e in enumerate(heard.events) if e.payload is heard.updates[-1])
    last_fill = max(n for n, e in enumerate(heard.events) if e.payload in heard.fills)
    assert last_fill < final
    told = 0.0
    for event in heard.events:  # never more told to be filled than fills were told
        if event.payload in heard.fills:
            told += event.payload.quantity
        elif event.payload in heard.updates:
            assert event.payload.filled <= told + 1e-9
    assert venue.tally.events["duplicate_fills"] >= 2


async def test_an_order_is_final_at_last_when_its_trades_cannot_be_had(
    exchange: FakeExchange, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("candlewick.venues.binance.resolver._LAST_PAUSE_S", 0.02)
    venue, heard = await connect(confirm_after_s=20.0)
    exchange.market_fills = False
    exchange.lists_trades = False
    order = market(quantity=0.002)
    await venue.submit(order)
    exchange.fill_quietly(order.client_id, 0.001)
    await exchange.push(exchange.fill_quietly(order.client_id, 0.001))
    await heard.until(lambda: "filled" in heard.statuses(order))
    assert venue.tally.events["fills_given_up"] == 1


async def test_a_short_notice_without_its_fill_is_followed_up(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(confirm_after_s=0.05)
    order = Order("cw-t-000001-entry", BTC, Side.BUY, OrderType.LIMIT, 0.01, price=49_000.0)
    await venue.submit(order)
    state = exchange.fill_quietly(order.client_id, 0.004)["o"]
    lite = {name: state[name] for name in ("s", "c", "S", "q", "p", "i", "l", "L", "t", "m")}
    await exchange.push({"e": "TRADE_LITE", "E": exchange.now(), "T": exchange.now(), **lite})
    await heard.until(lambda: bool(heard.fills))
    assert heard.fills[0].fee == 0.02  # from the list of trades: the short notice has none
    assert heard.fills[0].client_id == order.client_id


async def test_a_short_notice_is_all_that_was_told_of_a_triggered_stop(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(confirm_after_s=0.05)
    exchange.position[BTC] = 0.01
    order = stop()
    await venue.submit(order)
    child = exchange.trigger_quietly(order.client_id)
    state = exchange.fill_quietly(child, 0.01)["o"]
    lite = {name: state[name] for name in ("s", "c", "S", "q", "p", "i", "l", "L", "t", "m")}
    await exchange.push({"e": "TRADE_LITE", "E": exchange.now(), "T": exchange.now(), **lite})
    await heard.until(lambda: bool(heard.fills))
    assert heard.fills[0].client_id == order.client_id


# -- conditional orders ------------------------------------------------------------------------


@pytest.mark.parametrize("child_id", ["", "x-foreign-child"])
@pytest.mark.parametrize("linked_first", [True, False])
async def test_the_fills_of_a_triggered_stop_are_those_of_the_stop(
    exchange: FakeExchange, connect: Connect, child_id: str, linked_first: bool
) -> None:
    venue, heard = await connect()
    exchange.position[BTC] = 0.01
    order = stop()
    await venue.submit(order)
    child = exchange.trigger_quietly(order.client_id, child_id)
    triggered = algo_event(exchange.algos[order.client_id], exchange.now())
    filled = exchange.fill_quietly(child, 0.01)
    exchange.finish_quietly(order.client_id)
    finished = algo_event(exchange.algos[order.client_id], exchange.now())
    steps = [triggered, filled, finished] if linked_first else [filled, triggered, finished]
    for event in steps:
        await exchange.push(event)
    await heard.until(lambda: "filled" in heard.statuses(order))
    assert heard.statuses(order) == ["acknowledged", "filled"]
    (fill,) = heard.fills  # once, in whatever order it was told
    assert fill.quantity == 0.01
    if linked_first or not child_id:
        assert fill.client_id == order.client_id


async def test_a_stop_that_finished_unheard_is_asked_for_and_its_fills_told(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    exchange.position[BTC] = 0.01
    order = stop()
    await venue.submit(order)
    child = exchange.trigger_quietly(order.client_id, "child")
    exchange.fill_quietly(child, 0.01)
    exchange.finish_quietly(order.client_id)
    await exchange.push(algo_event(exchange.algos[order.client_id], exchange.now()))
    await heard.until(lambda: "filled" in heard.statuses(order))
    assert [fill.client_id for fill in heard.fills] == [order.client_id]


async def test_a_stop_that_is_rejected_at_its_trigger_says_why(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    order = stop()
    await venue.submit(order)
    exchange.algos[order.client_id]["algoStatus"] = "REJECTED"
    event = algo_event(exchange.algos[order.client_id], exchange.now(), rm="Reduce Only reject")
    await exchange.push(event)
    await heard.until(lambda: "rejected" in heard.statuses(order))
    assert heard.updates[-1].message == "Reduce Only reject"


async def test_reduce_only_that_is_not_taken_becomes_close_position(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()

    def no_reduce_only(params: Json) -> None:
        if "reduceOnly" in params:
            raise Refusal(400, -1106, "Parameter 'reduceOnly' sent when not required.")

    exchange.script("POST", "/fapi/v1/algoOrder", *[no_reduce_only] * 4)
    await venue.submit(stop())
    await venue.submit(stop("cw-t-000004-stop"))
    assert [heard.statuses(stop(n))[0] for n in ("cw-t-000002-stop", "cw-t-000004-stop")] == [
        "acknowledged", "acknowledged",
    ]  # fmt: skip
    sent = exchange.seen("POST", "/fapi/v1/algoOrder")
    assert ["reduceOnly" in params for params in sent] == [True, False, False]  # learnt
    assert sent[1]["closePosition"] == "true"
    assert "quantity" not in sent[1]


# -- cancelling --------------------------------------------------------------------------------


async def test_orders_of_both_kinds_are_cancelled(exchange: FakeExchange, connect: Connect) -> None:
    venue, heard = await connect()
    limit = Order("cw-t-000001-entry", BTC, Side.BUY, OrderType.LIMIT, 0.01, price=49_000.0)
    for order in (limit, stop()):
        await venue.submit(order)
        await venue.cancel(order, 0)
        assert heard.statuses(order)[-1] == "canceled"
    assert not exchange.get_openOrders({})
    assert not exchange.get_openAlgoOrders({})


async def test_an_order_that_is_gone_is_told_so_and_then_how_it_ended(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    exchange.silent_fills = True
    order = Order("cw-t-000001-entry", BTC, Side.BUY, OrderType.LIMIT, 0.01, price=50_000.0)
    await venue.submit(order)
    await exchange.fill(order.client_id, 0.01)
    await venue.cancel(order, 0)
    await heard.until(lambda: "filled" in heard.statuses(order))
    codes = [update.code for update in heard.updates if update.client_id == order.client_id]
    assert codes == [0, -2011, 0]
    assert [fill.client_id for fill in heard.fills] == [order.client_id]


async def test_a_cancel_without_an_answer_is_sent_again_until_there_is_one(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    order = stop()
    await venue.submit(order)
    exchange.script("DELETE", "/fapi/v1/algoOrder", *[lose] * 6)
    await venue.cancel(order, 0)
    await heard.until(lambda: "canceled" in heard.statuses(order))
    assert exchange.algos[order.client_id]["algoStatus"] == "CANCELED"
    assert len(exchange.seen("DELETE", "/fapi/v1/algoOrder")) == 7


# -- questions ---------------------------------------------------------------------------------


async def test_a_question_is_answered_or_the_answer_follows(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    order = market()
    never = market("cw-t-000009-entry")
    assert await venue.query(never) is None  # not sent by this process, not known: it never was
    await venue.submit(order)
    answer = await venue.query(order)
    assert answer is not None
    assert (answer.status, answer.filled) == (OrderStatus.FILLED, 0.01)
    exchange.script("GET", "/fapi/v1/order", *[lose] * 10)
    lost = await venue.query(order)
    assert lost is not None
    assert lost.status is OrderStatus.UNKNOWN
    heard.events.clear()
    await heard.until(lambda: bool(heard.updates))  # published later
    assert heard.updates[-1].status is OrderStatus.FILLED


async def test_an_accepted_order_that_the_exchange_forgets_has_expired(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    order = stop()
    await venue.submit(order)
    exchange.algos.clear()
    answer = await venue.query(order)
    assert answer is not None
    assert answer.status is OrderStatus.UNKNOWN  # lists can lag behind
    await heard.until(lambda: "expired" in heard.statuses(order))


# -- orders that the exchange makes ------------------------------------------------------------


async def test_a_liquidation_is_told_with_its_order_and_fill(
    exchange: FakeExchange, connect: Connect
) -> None:
    _, heard = await connect()
    state = {
        "s": BTC, "c": "autoclose-1234", "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "0.014",
        "p": "9910", "ap": "9910.1", "sp": "0", "x": "CALCULATED", "X": "NEW_INSURANCE",
        "i": 77, "l": "0.014", "z": "0.014", "L": "9910.1", "N": "USDT", "n": "0.07",
        "T": exchange.now(), "t": 99, "m": False, "R": False, "ps": "BOTH", "rp": "-5.6",
    }  # fmt: skip
    event = {"e": "ORDER_TRADE_UPDATE", "E": exchange.now(), "T": exchange.now(), "o": state}
    await exchange.push(event)
    await heard.until(lambda: bool(heard.updates))
    (fill,), (update,) = heard.fills, heard.updates
    assert (fill.client_id, fill.side, fill.quantity, fill.realized) == (
        "autoclose-1234", Side.SELL, 0.014, -5.6,
    )  # fmt: skip
    assert update.status is OrderStatus.FILLED
    assert update.order is not None
    assert update.order.reduce_only  # a close, whatever the message says
    assert update.order.quantity == 0.014


async def test_other_symbols_of_the_account_are_left_alone(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    exchange.orders["web_1"] = await exchange.post_order(
        {"symbol": "ETHUSDT", "side": "BUY", "type": "MARKET", "quantity": "1.000",
         "newClientOrderId": "web_1"}
    )  # fmt: skip
    order = market()
    await venue.submit(order)
    await heard.until(lambda: "filled" in heard.statuses(order))
    assert {update.symbol for update in heard.updates} == {BTC}
    assert venue.tally.events["other_symbol"] >= 2
