"""Normal and conditional orders of every kind, their refusals, and what is listed of the past."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from candlewick.models import CandleTable
from candlewick.sandbox import Limits
from tests.sandbox.conftest import Flow, Start
from tests.sandbox.sandbox_client import START, SYMBOL, flat, table_of

PRICE = 50_000.0


ORDER = {"symbol": SYMBOL, "side": "BUY", "type": "MARKET", "quantity": "0.01"}


# -- normal orders --------------------------------------------------------------------------------


async def test_a_market_order_is_new_in_the_answer_and_filled_afterwards(flowing: Flow) -> None:
    client = await flowing()
    answer = await client.buy("0.01", newClientOrderId="mine")
    assert (answer["status"], answer["executedQty"]) == ("NEW", "0.000")
    assert "avgPrice" not in answer
    assert "cumQuote" not in answer
    order = await client.ask("GET", "/v1/order", symbol=SYMBOL, origClientOrderId="mine")
    assert (order["status"], float(order["avgPrice"])) == ("FILLED", PRICE)
    (trade,) = await client.ask("GET", "/v1/userTrades", symbol=SYMBOL)
    assert trade["orderId"] == answer["orderId"]
    assert trade["commission"] == "0.25000000"  # 0.01 * 50,000 * 0.05 %
    filled = await client.buy("0.01", newOrderRespType="RESULT")
    assert (filled["status"], filled["executedQty"]) == ("FILLED", "0.010")


async def test_a_limit_order_rests_is_changed_and_fills_at_its_price(stepped: Start) -> None:
    falling = [(PRICE, PRICE, PRICE, PRICE)] * 3 + [(PRICE, PRICE, 48_000.0, 48_500.0)]
    async with stepped(table_of(falling)) as client:
        await client.sandbox.step()
        order = await client.limit("BUY", "0.01", "49000")
        here = {"symbol": SYMBOL, "orderId": order["orderId"]}
        changed = await client.ask(
            "PUT", "/v1/order", **here, side="BUY", quantity="0.02", price="49500"
        )
        assert (changed["orderId"], changed["price"]) == (order["orderId"], "49500.0")
        again = {"side": "BUY", "quantity": "0.02", "price": "49500"}
        assert await client.refused("PUT", "/v1/order", **here, **again) == -5027
        (history,) = await client.ask("GET", "/v1/orderAmendment", **here)
        assert history["amendment"]["price"] == {"before": "49000.0", "after": "49500.0"}
        while not (await client.sandbox.step()).ended:
            pass
        done = await client.ask("GET", "/v1/order", **here)
        assert (done["status"], float(done["avgPrice"])) == ("FILLED", 49_500.0)
        (trade,) = await client.ask("GET", "/v1/userTrades", symbol=SYMBOL)
        assert trade["maker"] is True
        assert await client.refused("DELETE", "/v1/order", **here) == -2011


async def test_a_change_that_is_refused_leaves_the_order_as_it_was(flowing: Flow) -> None:
    client = await flowing()
    order = await client.limit("BUY", "0.01", "49000", timeInForce="GTX")
    here = {"symbol": SYMBOL, "orderId": order["orderId"], "side": "BUY"}
    assert await client.refused(
        "PUT", "/v1/order", **here, quantity="0.01", price="50000.1"
    ) == -5022  # fmt: skip
    (kept,) = await client.ask("GET", "/v1/openOrders", symbol=SYMBOL)
    assert (kept["orderId"], kept["price"]) == (order["orderId"], "49000.0")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"symbol": "NOPE"}, -1121),
        ({"side": "UP"}, -1117),
        ({"type": "ICEBERG"}, -1116),
        ({"type": "STOP_MARKET", "stopPrice": "40000"}, -4120),
        ({"type": "TRAILING_STOP_MARKET"}, -4120),
        ({"quantity": "0"}, -4003),
        ({"quantity": "0.0001"}, -1111),
        ({"quantity": "0.001"}, -4164),  # 50 USDT, 100 are needed
        ({"quantity": "121"}, -4005),
        ({"quantity": "100"}, -2019),
        ({"quantity": "nan"}, -1102),
        ({"quantity": "x"}, -1102),
        ({"reduceOnly": "true"}, -2022),
        ({"positionSide": "LONG"}, -4061),
        ({"price": "49000"}, -1106),
        ({"closePosition": "true"}, -4136),
        ({"newClientOrderId": "no spaces"}, -1100),
        ({"newClientOrderId": "x" * 37}, -1100),
        ({"type": "LIMIT", "price": "49000"}, -1102),
        ({"type": "LIMIT", "price": "49000", "timeInForce": "SOON"}, -1115),
        ({"type": "LIMIT", "timeInForce": "GTC"}, -1102),
        ({"type": "LIMIT", "price": "49000.05", "timeInForce": "GTC"}, -4014),
        ({"type": "LIMIT", "price": "49000.005", "timeInForce": "GTC"}, -1111),
        ({"type": "LIMIT", "price": "60000", "timeInForce": "GTC"}, -4016),
        ({"type": "LIMIT", "price": "50100", "timeInForce": "GTX"}, -5022),
    ],
)
async def test_refused_orders(flowing: Flow, params: dict[str, str], code: int) -> None:
    client = await flowing()
    await client.public("/v1/ping")
    given = {name: quote(value) for name, value in {**ORDER, **params}.items()}
    assert await client.refused("POST", "/v1/order", **given) == code
    assert not client.sandbox.first.account.orders
    if code not in (-4164, -4005, -2019, -2022, -4014, -5022):  # those ask the matching code
        assert await client.refused("POST", "/v1/order/test", **given) == code


async def test_client_ids_are_unique_among_open_orders_only(flowing: Flow) -> None:
    client = await flowing()
    first = await client.limit("BUY", "0.01", "49000", newClientOrderId="twice")
    same = {"newClientOrderId": "twice", "timeInForce": "GTC", "price": "49000"}
    assert await client.refused("POST", "/v1/order", **{**ORDER, "type": "LIMIT", **same}) == -4116
    await client.ask("DELETE", "/v1/order", symbol=SYMBOL, origClientOrderId="twice")
    second = await client.limit("BUY", "0.01", "49000", newClientOrderId="twice")
    assert second["orderId"] != first["orderId"]
    newest = await client.ask("GET", "/v1/order", symbol=SYMBOL, origClientOrderId="twice")
    assert newest["orderId"] == second["orderId"]


async def test_batches_answer_each_part_for_itself(flowing: Flow) -> None:
    client = await flowing()
    limit = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
    wanted = [
        {**limit, "quantity": 0.01, "price": 49_000},
        {**limit, "quantity": 0.01, "price": 49_000.05},
        {**limit, "quantity": "0.01", "price": "48900", "reduceOnly": False},
    ]
    answers = await client.ask("POST", "/v1/batchOrders", batchOrders=quote(json.dumps(wanted)))
    assert [answer.get("code", answer.get("status")) for answer in answers] == ["NEW", -4014, "NEW"]
    ids = [answers[0]["orderId"], 17]
    gone = await client.ask("DELETE", "/v1/batchOrders", symbol=SYMBOL, orderIdList=quote(str(ids)))
    assert [answer.get("code", answer.get("status")) for answer in gone] == ["CANCELED", -2011]
    six = quote(json.dumps([wanted[0]] * 6))
    assert await client.refused("POST", "/v1/batchOrders", batchOrders=six) == -1130


async def test_a_countdown_cancels_normal_orders(flowing: Flow) -> None:
    client = await flowing()
    listener = await client.user_stream()
    await client.limit("BUY", "0.01", "49000")
    await client.ask("POST", "/v1/countdownCancelAll", symbol=SYMBOL, countdownTime=1_000_000)
    await client.ask("POST", "/v1/countdownCancelAll", symbol=SYMBOL, countdownTime=30)
    update = await listener.next(lambda m: m["e"] == "ORDER_TRADE_UPDATE" and m["o"]["x"] != "NEW")
    assert update["o"]["X"] == "CANCELED"


async def test_good_till_date_ends_at_its_time(stepped: Start) -> None:
    async with stepped(flat(20)) as client:
        moved = await client.sandbox.step()
        life = {"timeInForce": "GTD", "goodTillDate": moved.time + 690_000}
        await client.limit("BUY", "0.01", "49000", **life)
        for kind in ("STOP_MARKET", "STOP"):
            price = {"price": "48000"} if kind == "STOP" else {}
            await client.algo("SELL", kind, triggerPrice="49000", quantity="0.01", **life, **price)
        for _ in range(11):
            await client.sandbox.step()
        assert await client.ask("GET", "/v1/openOrders", symbol=SYMBOL)
        assert len(await client.ask("GET", "/v1/openAlgoOrders", symbol=SYMBOL)) == 2
        await client.sandbox.step()
        (order,) = await client.ask("GET", "/v1/allOrders", symbol=SYMBOL)
        assert order["status"] == "EXPIRED"
        algos = await client.ask("GET", "/v1/allAlgoOrders", symbol=SYMBOL)
        assert [algo["algoStatus"] for algo in algos] == ["EXPIRED", "EXPIRED"]
        assert client.sandbox.first.account.exchange.open_orders() == []


async def test_what_ends_by_itself_lives_ten_minutes(flowing: Flow) -> None:
    client = await flowing()
    order = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "quantity": "0.01",
             "price": "49000", "timeInForce": "GTD"}  # fmt: skip
    for end in (client.sandbox.now + 590_000, 253_402_300_799_000):
        assert await client.refused("POST", "/v1/order", goodTillDate=end, **order) == -5040


async def test_a_maker_rests_at_the_best_price_of_his_side(flowing: Flow) -> None:
    client = await flowing()
    best = await client.public("/v1/ticker/bookTicker", symbol=SYMBOL)
    assert float(best["bidPrice"]) < PRICE < float(best["askPrice"])
    for side, name in (("BUY", "bidPrice"), ("SELL", "askPrice")):
        placed = await client.limit(side, "0.01", best[name], timeInForce="GTX")
        assert placed["status"] == "NEW"
        assert await client.refused(
            "POST", "/v1/order", symbol=SYMBOL, side="SELL" if side == "BUY" else "BUY",
            type="LIMIT", quantity="0.01", price=best[name], timeInForce="GTX",
        ) == -5022  # fmt: skip


@pytest.mark.parametrize(
    ("side", "mode", "price"),
    [
        ("BUY", "QUEUE", 49_999.9),
        ("BUY", "QUEUE_5", 49_999.5),
        ("SELL", "QUEUE_20", 50_002.0),
        ("BUY", "OPPONENT", 50_000.1),
        ("SELL", "OPPONENT_10", 49_999.0),
    ],
)
async def test_the_exchange_picks_a_price_of_the_book(
    flowing: Flow, side: str, mode: str, price: float
) -> None:
    client = await flowing()
    order = {"symbol": SYMBOL, "side": side, "type": "LIMIT", "quantity": "0.01",
             "timeInForce": "GTC", "priceMatch": mode}  # fmt: skip
    placed = await client.ask("POST", "/v1/order", newOrderRespType="RESULT", **order)
    assert (float(placed["price"]), placed["priceMatch"]) == (price, mode)
    assert placed["status"] == ("NEW" if "QUEUE" in mode else "FILLED")
    assert await client.refused("POST", "/v1/order", price="50000", **order) == -1106


async def test_whether_bnb_pays_fees_is_kept(flowing: Flow) -> None:
    client = await flowing()
    await client.ask("POST", "/v1/feeBurn", feeBurn="true")
    assert await client.ask("GET", "/v1/feeBurn") == {"feeBurn": True}
    assert (await client.ask("GET", "/v2/account"))["feeBurn"] is True
    assert (await client.ask("GET", "/v1/apiTradingStatus"))["indicators"] == {}


def hourly(count: int) -> CandleTable:
    """Candles of an hour that do not move."""
    prices = np.full(count, PRICE)
    times = START + 3_600_000 * np.arange(count)
    return CandleTable(SYMBOL, "1h", times, prices, prices, prices, prices, np.full(count, 12.5))


async def test_history_comes_a_week_at_a_time(stepped: Start) -> None:
    day = 86_400_000
    async with stepped(hourly(24 * 12)) as client:
        first = (await client.sandbox.step()).time
        await client.buy("0.01")
        await client.sandbox.step()
        while (await client.sandbox.step()).time < first + 10 * day:
            pass
        await client.sell("0.01")
        await client.sandbox.step()
        orders = client.sandbox.first.account.trades
        old, new = (trade.id for trade in orders)

        async def trades(**params: Any) -> list[int]:
            found = await client.ask("GET", "/v1/userTrades", symbol=SYMBOL, **params)
            return [trade["id"] for trade in found]

        assert await trades() == [new]
        assert await trades(startTime=first) == [old]
        assert await trades(startTime=first + 7 * day) == [new]
        assert await trades(endTime=first + day) == [old]
        assert await trades(fromId=old) == [old, new]
        fees = [{r["tradeId"] for r in await client.ask("GET", "/v1/income", **asked)}
                for asked in ({}, {"startTime": first})]  # fmt: skip
        assert fees == [{str(new)}, {str(old), str(new)}]
        for path in ("userTrades", "allOrders", "allAlgoOrders"):
            asked = {"symbol": SYMBOL, "startTime": first, "endTime": first + 8 * day}
            assert await client.refused("GET", f"/v1/{path}", **asked) == -4165
            asked["endTime"] = first - 1
            assert await client.refused("GET", f"/v1/{path}", **asked) == -1023


# -- conditional orders ---------------------------------------------------------------------------


async def test_conditional_orders_live_apart_from_normal_ones(flowing: Flow) -> None:
    client = await flowing()
    await client.buy("0.02")
    stop = await client.algo("SELL", "STOP_MARKET", triggerPrice="49000", quantity="0.02",
                             reduceOnly="true", clientAlgoId="my-stop")  # fmt: skip
    limit = await client.limit("BUY", "0.01", "49000")
    assert [o["orderId"] for o in await client.ask("GET", "/v1/openOrders")] == [limit["orderId"]]
    (listed,) = await client.ask("GET", "/v1/openAlgoOrders")
    assert (listed["algoId"], listed["clientAlgoId"]) == (stop["algoId"], "my-stop")
    await client.ask("DELETE", "/v1/allOpenOrders", symbol=SYMBOL)
    assert await client.ask("GET", "/v1/openAlgoOrders", symbol=SYMBOL)
    limit = await client.limit("BUY", "0.01", "49000")
    await client.ask("DELETE", "/v1/algoOpenOrders", symbol=SYMBOL)
    assert not await client.ask("GET", "/v1/openAlgoOrders", symbol=SYMBOL)
    assert await client.ask("GET", "/v1/openOrders", symbol=SYMBOL)
    gone = await client.ask("GET", "/v1/algoOrder", clientAlgoId="my-stop")
    assert gone["algoStatus"] == "CANCELED"
    assert await client.refused("DELETE", "/v1/algoOrder", clientAlgoId="my-stop") == -2011
    assert await client.refused("GET", "/v1/algoOrder", clientAlgoId="never") == -2013


async def test_a_triggered_order_becomes_a_normal_one_with_its_own_id(stepped: Start) -> None:
    falling = [(PRICE, PRICE, PRICE, PRICE)] * 3 + [(PRICE, PRICE, 48_000.0, 48_500.0)]
    async with stepped(table_of(falling)) as client:
        await client.sandbox.step()
        await client.buy("0.02")
        await client.sandbox.step()
        stop = await client.algo("SELL", "STOP_MARKET", triggerPrice="49000", closePosition="true")
        while not (await client.sandbox.step()).ended:
            pass
        done = await client.ask("GET", "/v1/algoOrder", algoId=stop["algoId"])
        assert (done["algoStatus"], done["actualQty"]) == ("FINISHED", "0.020")
        assert float(done["actualPrice"]) == 49_000.0
        actual = int(done["actualOrderId"])
        assert actual != stop["algoId"]
        order = await client.ask("GET", "/v1/order", symbol=SYMBOL, orderId=actual)
        assert (order["status"], order["origType"]) == ("FILLED", "STOP_MARKET")
        trades = await client.ask("GET", "/v1/userTrades", symbol=SYMBOL, orderId=actual)
        assert [trade["qty"] for trade in trades] == ["0.020"]


ALGO = {"algoType": "CONDITIONAL", "symbol": SYMBOL, "side": "SELL", "type": "STOP_MARKET",
        "triggerPrice": "49000", "quantity": "0.02"}  # fmt: skip


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"algoType": "TWAP"}, -1130),
        ({"type": "LIMIT"}, -1116),
        ({"triggerPrice": "50000"}, -2021),
        ({"triggerPrice": "51000"}, -2021),
        ({"side": "BUY"}, -2021),
        ({"type": "TAKE_PROFIT_MARKET"}, -2021),
        ({"triggerPrice": "49000.05"}, -4014),
        ({"triggerPrice": ""}, -1102),
        ({"quantity": ""}, -1102),
        ({"closePosition": "true"}, -4137),  # with a quantity
        ({"closePosition": "true", "quantity": "", "reduceOnly": "true"}, -1106),
        ({"type": "STOP"}, -1102),  # without a price
        ({"type": "TRAILING_STOP_MARKET", "triggerPrice": ""}, -1102),
        ({"type": "TRAILING_STOP_MARKET", "callbackRate": "1"}, -1106),
        ({"type": "TRAILING_STOP_MARKET", "triggerPrice": "", "callbackRate": "11"}, -2007),
        ({"callbackRate": "1"}, -1106),
        ({"workingType": "INDEX"}, -4031),
        ({"timeInForce": "GTD"}, -1102),
        ({"timeInForce": "GTD", "goodTillDate": "5"}, -5040),
        ({"priceMatch": "QUEUE"}, -1130),
    ],
)
async def test_refused_conditional_orders(flowing: Flow, params: dict[str, str], code: int) -> None:
    client = await flowing()
    await client.buy("0.02")
    assert await client.refused("POST", "/v1/algoOrder", **{**ALGO, **params}) == code
    assert not client.sandbox.first.account.algos


async def test_orders_that_close_a_position_need_one_and_end_with_it(flowing: Flow) -> None:
    client = await flowing()
    close = {**ALGO, "closePosition": "true", "quantity": ""}
    assert await client.refused("POST", "/v1/algoOrder", **close) == -4509
    await client.buy("0.02")
    stop = await client.ask("POST", "/v1/algoOrder", **close)
    assert (stop["timeInForce"], float(stop["quantity"])) == ("GTE_GTC", 0.0)
    assert await client.refused("POST", "/v1/algoOrder", **close) == -4130
    target = {**close, "type": "TAKE_PROFIT_MARKET", "triggerPrice": "51000"}
    assert (await client.ask("POST", "/v1/algoOrder", **target))["algoStatus"] == "NEW"
    await client.sell("0.02")
    states = [a["algoStatus"] for a in await client.ask("GET", "/v1/allAlgoOrders", symbol=SYMBOL)]
    assert states == ["EXPIRED", "EXPIRED"]


async def test_at_most_so_many_conditional_orders_and_no_margin_check(flowing: Flow) -> None:
    client = await flowing(limits=Limits(conditional_orders=3))
    for trigger in (49_000, 48_900, 48_800):
        await client.algo("SELL", "STOP_MARKET", triggerPrice=str(trigger), quantity="100")
    assert await client.refused("POST", "/v1/algoOrder", **ALGO) == -4045


async def test_a_server_that_takes_no_reduce_only_with_conditional_orders(flowing: Flow) -> None:
    client = await flowing(algo_reduce_only=False)
    await client.buy("0.02")
    assert await client.refused("POST", "/v1/algoOrder", **ALGO, reduceOnly="true") == -1106
    assert (await client.ask("POST", "/v1/algoOrder", **ALGO))["algoStatus"] == "NEW"


async def test_a_stop_limit_order_rests_as_a_limit_order_after_its_trigger(flowing: Flow) -> None:
    drop = [(PRICE, PRICE, PRICE, PRICE)] * 5 + [(PRICE, PRICE, 49_000.0, 49_000.0)] * 200
    client = await flowing(table_of(drop))
    listener = await client.user_stream()
    algo = await client.algo("BUY", "TAKE_PROFIT", triggerPrice="49500", price="48000",
                             quantity="0.02")  # fmt: skip
    order = await listener.event("ORDER_TRADE_UPDATE")
    assert (order["o"]["o"], order["o"]["X"], order["o"]["p"]) == ("LIMIT", "NEW", "48000.0")
    states = [m["o"]["X"] for m in listener.heard if m["e"] == "ALGO_UPDATE"]
    assert states == ["NEW", "TRIGGERING", "TRIGGERED"]
    (resting,) = await client.ask("GET", "/v1/openOrders", symbol=SYMBOL)
    found = await client.ask("GET", "/v1/algoOrder", algoId=algo["algoId"])
    assert found["actualOrderId"] == str(resting["orderId"])
    await client.ask("DELETE", "/v1/order", symbol=SYMBOL, orderId=resting["orderId"])
    finished = await listener.event("ALGO_UPDATE")
    assert (finished["o"]["X"], float(finished["o"]["aq"])) == ("FINISHED", 0.0)
