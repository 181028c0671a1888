"""Isolated margin by hand, a mark price of its own, and deleveraging, as clients meet them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.conftest import Flow, Start
from tests.sandbox.sandbox_client import SYMBOL, Client, Refused, flat, table_of

PRICE = 50_000.0
Json = Any


async def isolated(client: Client) -> None:
    """0.02 bought at 50,000, with an isolated margin of 50."""
    await client.ask("POST", "/v1/marginType", symbol=SYMBOL, marginType="ISOLATED")
    await client.buy("0.02")


async def add(client: Client, amount: Any, kind: int = 1, **more: Any) -> Json:
    return await client.ask(
        "POST", "/v1/positionMargin", symbol=SYMBOL, amount=amount, type=kind, **more
    )


async def row(client: Client) -> Json:
    (found,) = await client.ask("GET", "/v3/positionRisk", symbol=SYMBOL)
    return found


# -- isolated margin ----------------------------------------------------------------------------


async def test_margin_is_added_and_given_back(flowing: Flow) -> None:
    client = await flowing()
    await isolated(client)
    listener = await client.user_stream()
    before = float((await row(client))["liquidationPrice"])
    assert await add(client, "100.5") == {
        "amount": 100.5, "code": 200, "msg": "Successfully modify position margin.", "type": 1,
    }  # fmt: skip
    event = await listener.event("ACCOUNT_UPDATE")
    assert event["a"]["m"] == "MARGIN_TRANSFER"
    (balance,), (position,) = event["a"]["B"], event["a"]["P"]
    assert (balance["wb"], balance["cw"]) == ("9999.50000000", "9849.00000000")
    assert (position["iw"], position["mt"]) == ("150.50000000", "isolated")
    found = await row(client)
    assert found["isolatedWallet"] == "150.50000000"
    assert float(found["liquidationPrice"]) < before - 5_000.0
    assert (await client.ask("GET", "/v3/account"))["availableBalance"] == "9849.00000000"
    await add(client, 100, 2)
    assert (await row(client))["isolatedWallet"] == "50.50000000"
    changes = await client.ask("GET", "/v1/positionMargin/history", symbol=SYMBOL)
    assert [(c["deltaType"], c["type"], float(c["amount"])) for c in changes] == [
        ("TRADE", 1, 50.0), ("USER_ADJUST", 1, 100.5), ("USER_ADJUST", 2, 100.0)
    ]  # fmt: skip
    reduced = await client.ask("GET", "/v1/positionMargin/history", symbol=SYMBOL, type=2)
    assert [float(c["amount"]) for c in reduced] == [100.0]


async def test_what_cannot_be_moved_is_refused_as_the_exchange_does(flowing: Flow) -> None:
    client = await flowing()

    async def code(amount: Any, kind: int = 1, **more: Any) -> int:
        with pytest.raises(Refused) as caught:
            await add(client, amount, kind, **more)
        assert caught.value.message
        return int(caught.value.code)

    await client.buy("0.02")
    assert await code(10) == -4049
    await client.sell("0.02")
    await client.ask("POST", "/v1/marginType", symbol=SYMBOL, marginType="ISOLATED")
    assert await code(10) == -4054
    await client.buy("0.02")
    assert await code(20_000) == -4050
    assert await code("0.5", 2) == -4051
    assert await code(0) == -4055
    assert await code(10, 3) == -1130
    assert await code(10, positionSide="LONG") == -4061
    assert await client.refused("POST", "/v1/positionMargin", symbol=SYMBOL, type=1) == -1102


async def test_a_symbol_changes_its_margin_type_while_another_has_a_position(flowing: Flow) -> None:
    client = await flowing(flat(2_000), flat(2_000, 3_000.0, "ETHUSDT"))
    await client.buy("0.02")
    await client.ask("POST", "/v1/marginType", symbol="ETHUSDT", marginType="ISOLATED")
    assert (
        await client.refused("POST", "/v1/marginType", symbol=SYMBOL, marginType="ISOLATED")
        == -4048
    )
    found = await client.ask("GET", "/v1/symbolConfig")
    assert {c["symbol"]: c["marginType"] for c in found} == {
        "BTCUSDT": "CROSSED", "ETHUSDT": "ISOLATED"
    }  # fmt: skip


# -- the mark price -----------------------------------------------------------------------------


async def test_a_stop_by_the_mark_price_outlives_a_wick(stepped: Start) -> None:
    rows = [(PRICE,) * 4, (PRICE,) * 4, (PRICE, PRICE, 48_000.0, PRICE), (PRICE,) * 4]
    async with stepped(table_of(rows)) as client:
        await client.sandbox.step()
        await client.buy("0.04")
        await client.sandbox.step()
        await client.control("POST", "/mark", symbol=SYMBOL, price=PRICE + 1_500.0)
        closing = {"quantity": "0.01", "reduceOnly": "true", "triggerPrice": "49000"}
        for name, kind, by in (
            ("last", "STOP_MARKET", "CONTRACT_PRICE"), ("mark", "STOP_MARKET", "MARK_PRICE"),
            ("last-limit", "STOP", "CONTRACT_PRICE"), ("mark-limit", "STOP", "MARK_PRICE"),
        ):  # fmt: skip
            limit = {"price": "48000"} if kind == "STOP" else {}
            await client.algo("SELL", kind, workingType=by, clientAlgoId=name, **closing, **limit)
        while not (await client.sandbox.step()).ended:
            pass
        waiting = await client.ask("GET", "/v1/openAlgoOrders", symbol=SYMBOL)
        assert [algo["clientAlgoId"] for algo in waiting] == ["mark", "mark-limit"]
        assert await client.position() == 0.02


async def test_a_mark_price_that_moves_alone_is_told_and_triggers(flowing: Flow) -> None:
    client = await flowing()
    marks = await client.listen("/market/ws/btcusdt@markPrice@1s")
    await marks.ask("LIST_SUBSCRIPTIONS", [])
    await client.buy("0.02")
    await client.algo(
        "SELL", "STOP_MARKET", triggerPrice="49000", workingType="MARK_PRICE", closePosition="true"
    )
    assert await client.control("POST", "/mark", symbol=SYMBOL, price=48_999.96) == {
        "mark": 49_000.0
    }
    event = await marks.next(lambda m: m.get("p") == "49000.00000000")
    assert event["i"] == "50000.00000000"
    assert await client.position() == 0.0
    index = await client.public("/v1/premiumIndex", symbol=SYMBOL)
    assert (index["markPrice"], index["indexPrice"]) == ("49000.00000000", "50000.00000000")
    kline = (await client.public("/v1/markPriceKlines", symbol=SYMBOL, interval="1m", limit=1))[0]
    assert float(kline[4]) == 49_000.0
    premium = (
        await client.public("/v1/premiumIndexKlines", symbol=SYMBOL, interval="1m", limit=1)
    )[0]
    assert premium[4] == "-0.02000000"


async def test_accounts_are_valued_at_the_mark_price(flowing: Flow) -> None:
    client = await flowing()
    await client.buy("0.02")
    await client.control("POST", "/mark", symbol=SYMBOL, price=51_000.0)
    found = await row(client)
    assert (found["markPrice"], found["unRealizedProfit"]) == ("51000.00000000", "20.00000000")
    assert (await client.ask("GET", "/v2/account"))["totalMarginBalance"] == "10019.50000000"
    opened = await client.control("POST", "/accounts")
    client.key, client.secret = opened["api_key"], opened["api_secret"]
    await client.buy("0.02")
    assert (await row(client))["unRealizedProfit"] == "20.00000000", "an account opened later too"


async def test_the_mark_price_must_make_sense(flowing: Flow) -> None:
    client = await flowing()
    for body in ({"symbol": SYMBOL, "price": -1}, {"symbol": "NOPE", "price": 5}, {"price": 5}):
        with pytest.raises(Refused) as caught:
            await client.control("POST", "/mark", **body)
        assert caught.value.status == 400


# -- deleveraging -------------------------------------------------------------------------------


async def test_a_client_is_deleveraged_on_request(flowing: Flow) -> None:
    client = await flowing()
    await client.buy("0.02")
    stop = await client.algo("SELL", "STOP_MARKET", triggerPrice="40000", closePosition="true")
    listener = await client.user_stream()
    liquidations = await client.listen("/market/ws/btcusdt@forceOrder")
    await liquidations.ask("LIST_SUBSCRIPTIONS", [])
    left = await client.control("POST", "/adl", symbol=SYMBOL, quantity=0.015, price=51_000)
    assert [position["quantity"] for position in left] == [0.005]
    order = (await listener.event("ORDER_TRADE_UPDATE"))["o"]
    assert order["c"].startswith("adl_autoclose")
    assert (order["x"], order["X"], order["R"]) == ("CALCULATED", "NEW_ADL", True)
    assert (order["l"], order["z"], order["rp"]) == ("0.015", "0.015", "15.00000000")
    assert await client.position() == 0.005
    (listed,) = await client.ask("GET", "/v1/forceOrders", autoCloseType="ADL")
    assert (listed["clientOrderId"], listed["status"]) == (order["c"], "FILLED")
    assert await client.ask("GET", "/v1/forceOrders", autoCloseType="LIQUIDATION") == []
    await client.control("POST", "/adl", symbol=SYMBOL)
    ended = await listener.next(lambda m: m["e"] == "ALGO_UPDATE")
    assert (ended["o"]["aid"], ended["o"]["X"]) == (stop["algoId"], "EXPIRED")
    with pytest.raises(Refused, match="no BOTH position"):
        await client.control("POST", "/adl", symbol=SYMBOL)
    await liquidations.ask("LIST_SUBSCRIPTIONS", [], "end")
    assert not [m for m in liquidations.heard if m.get("e") == "forceOrder"]


async def test_the_queue_has_who_gained_most_with_most_leverage_at_its_front(flowing: Flow) -> None:
    client = await flowing()
    opened = await client.control("POST", "/accounts", balance=100_000)
    first = (client.key, client.secret)
    await client.buy("0.2")
    client.key, client.secret = opened["api_key"], opened["api_secret"]
    await client.buy("0.2")

    async def place() -> tuple[int, int]:
        (found,) = await client.ask("GET", "/v1/adlQuantile", symbol=SYMBOL)
        assert (found["adlQuantile"]["LONG"], found["adlQuantile"]["SHORT"]) == (0, 0)
        return found["adlQuantile"]["BOTH"], (await row(client))["adl"]

    await client.control("POST", "/mark", symbol=SYMBOL, price=52_000)
    assert await place() == (2, 2)
    client.key, client.secret = first
    assert await place() == (4, 4)
    await client.sell("0.2")
    (found,) = await client.ask("GET", "/v1/adlQuantile", symbol=SYMBOL)
    assert set(found["adlQuantile"].values()) == {0}


async def test_in_hedge_mode_cross_margin_is_told_by_a_sign(flowing: Flow) -> None:
    client = await flowing()
    await client.ask("POST", "/v1/positionSide/dual", dualSidePosition="true")
    await client.buy("0.02", positionSide="LONG")
    (found,) = await client.ask("GET", "/v1/adlQuantile", symbol=SYMBOL)
    assert found["adlQuantile"] == {"LONG": 4, "SHORT": 0, "HEDGE": 0}
    await client.sell("0.01", positionSide="SHORT")
    left = await client.control("POST", "/adl", symbol=SYMBOL, side="SHORT")
    assert [(p["side"], p["quantity"]) for p in left] == [("LONG", 0.02)]
