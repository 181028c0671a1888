"""Requests: keys, signatures, clocks, parameters, limits; settings of the account."""

from __future__ import annotations

import time
from typing import Any

import pytest

from candlewick.sandbox import Limits
from tests.sandbox.conftest import Flow, Start
from tests.sandbox.sandbox_client import SYMBOL, Client, Refused, flat, table_of

PRICE = 50_000.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def code_of(client: Client, method: str, path: str, query: str, body: str = "") -> Refused:
    with pytest.raises(Refused) as caught:
        await client.raw(method, path, query, body)
    return caught.value


# -- who asks -------------------------------------------------------------------------------------


async def test_keys_and_signatures(flowing: Flow) -> None:
    client = await flowing()
    path, good = "/fapi/v2/balance", client.signed({})
    assert await client.raw("GET", path, good)
    wrong = await code_of(client, "GET", path, good[:-1] + ("0" if good[-1] != "0" else "1"))
    assert (wrong.status, wrong.code) == (400, -1022)
    unsigned = await code_of(client, "GET", path, f"timestamp={now_ms()}")
    assert (unsigned.status, unsigned.code) == (400, -1102)
    assert "signature" in unsigned.message
    client.key = "stranger"
    assert (await code_of(client, "GET", path, good)).code == -2015
    client.key = ""
    missing = await code_of(client, "GET", path, good)
    assert (missing.status, missing.code) == (401, -2014)


async def test_requests_are_checked_against_the_wall_clock(stepped: Start) -> None:
    async with stepped() as client:  # whose market is years back
        assert await client.refused("GET", "/v2/balance", timestamp=now_ms() - 6_000) == -1021
        assert await client.refused("GET", "/v2/balance", timestamp=now_ms() + 2_000) == -1021
        assert await client.ask("GET", "/v2/balance", timestamp=now_ms() - 6_000, recvWindow=9_000)
        assert await client.ask("GET", "/v2/balance", timestamp=now_ms() + 500)
        short = now_ms() - 300
        assert await client.refused("GET", "/v2/balance", timestamp=short, recvWindow=100) == -1021
        assert abs((await client.public("/v1/time"))["serverTime"] - now_ms()) < 5_000


ORDER = {"symbol": SYMBOL, "side": "BUY", "type": "MARKET", "quantity": "0.01"}


async def test_parameters_travel_in_query_body_or_both(flowing: Flow) -> None:
    client = await flowing()
    halves = ("symbol=BTCUSDT&side=BUY&type=MARKET", f"quantity=0.01&timestamp={now_ms()}")
    whole = client.signed(ORDER)
    path = "/fapi/v1/order"
    assert (await client.raw("POST", path, whole))["status"] == "NEW"
    assert (await client.raw("POST", path, "", client.signed(ORDER)))["status"] == "NEW"
    signature = client.sign("".join(halves))
    split = await client.raw("POST", path, halves[0], f"{halves[1]}&signature={signature}")
    assert split["origQty"] == "0.010"
    in_query = await client.raw("POST", path, f"{halves[0]}&signature={signature}", halves[1])
    assert in_query["origQty"] == "0.010"
    limit = await client.limit("BUY", "0.01", "49000")
    gone = client.signed({"symbol": SYMBOL, "orderId": limit["orderId"]})
    assert (await client.raw("DELETE", path, "", gone))["status"] == "CANCELED"


@pytest.mark.parametrize("truth", ["true", "True", "TRUE"])
async def test_truths_in_any_case_and_numbers_with_exponents(flowing: Flow, truth: str) -> None:
    client = await flowing()
    await client.buy("1e-02")
    sold = await client.sell("0.01", reduceOnly=truth)
    assert sold["reduceOnly"] is True
    assert await client.position() == 0.0


async def test_strange_paths_and_missing_parameters(flowing: Flow) -> None:
    client = await flowing()
    for path in (
        "/fapi/v1/nothing",
        "/fapi/v1/leverage",
        "/futures/data/basis",
        "/",
        "/ws-fapi/v2",
    ):
        strange = await code_of(client, "GET", path, "")
        assert (strange.status, strange.code) == (404, -5000)
        assert strange.message == f"Path {path}, Method GET is invalid"
    for missing in ("symbol", "side", "type", "quantity"):
        left = {name: value for name, value in ORDER.items() if name != missing}
        with pytest.raises(Refused, match=f"'{missing}'") as caught:
            await client.ask("POST", "/v1/order", **left)
        assert caught.value.code == -1102


# -- limits ---------------------------------------------------------------------------------------


async def test_weights_are_counted_refused_and_banned(flowing: Flow) -> None:
    client = await flowing(limits=Limits(weight=100, strikes=2, ban_s=120))
    await client.public("/v1/klines", symbol=SYMBOL, interval="1m", limit=1_000)
    assert client.headers["X-MBX-USED-WEIGHT-1M"] == "5"
    await client.public("/v1/klines", symbol=SYMBOL, interval="1m", limit=99)
    assert client.headers["X-MBX-USED-WEIGHT-1M"] == "6"
    await client.ask("GET", "/v1/openOrders")
    assert client.headers["X-MBX-USED-WEIGHT-1M"] == "46"
    refusals = []
    for _ in range(6):
        try:
            await client.ask("GET", "/v1/openOrders")
        except Refused as refusal:
            refusals.append(refusal)
    assert [refusal.status for refusal in refusals] == [429, 429, 418, 418, 418]
    assert {refusal.code for refusal in refusals} == {-1003}
    assert 0 < int(refusals[0].headers["Retry-After"]) <= 60
    assert 100 < int(refusals[2].headers["Retry-After"]) <= 120


async def test_orders_are_counted_by_account_not_by_address(flowing: Flow) -> None:
    client = await flowing(limits=Limits(orders_10s=3, orders_1m=100))
    await client.buy("0.01")
    assert "X-MBX-ORDER-COUNT-10S" in client.headers
    counts = [int(client.headers["X-MBX-ORDER-COUNT-1M"])]
    await client.limit("BUY", "0.01", "49000")
    counts.append(int(client.headers["X-MBX-ORDER-COUNT-1M"]))
    assert counts[1] == counts[0] + 1
    codes = set()
    for _ in range(4):
        try:
            await client.limit("BUY", "0.01", "49000")
        except Refused as refusal:
            codes.add((refusal.status, refusal.code))
    assert codes == {(429, -1015)}
    assert await client.ask("GET", "/v2/balance")  # weight is another matter


# -- settings of the account ----------------------------------------------------------------------


async def test_leverage_and_margin_type(flowing: Flow) -> None:
    client = await flowing()
    answer = await client.ask("POST", "/v1/leverage", symbol=SYMBOL, leverage=50)
    assert answer == {"leverage": 50, "maxNotionalValue": "600000", "symbol": SYMBOL}
    assert await client.refused("POST", "/v1/leverage", symbol=SYMBOL, leverage=126) == -4028
    kind = {"symbol": SYMBOL, "marginType": "ISOLATED"}
    assert (await client.ask("POST", "/v1/marginType", **kind))["code"] == 200
    assert await client.refused("POST", "/v1/marginType", **kind) == -4046
    await client.limit("BUY", "0.01", "49000")
    crossed = {"symbol": SYMBOL, "marginType": "CROSSED"}
    assert await client.refused("POST", "/v1/marginType", **crossed) == -4047
    await client.ask("DELETE", "/v1/allOpenOrders", symbol=SYMBOL)
    await client.buy("0.1")
    assert await client.refused("POST", "/v1/marginType", **crossed) == -4048
    assert await client.refused("POST", "/v1/leverage", symbol=SYMBOL, leverage=10) == -4161
    (position,) = await client.ask("GET", "/v3/positionRisk", symbol=SYMBOL)
    assert float(position["isolatedWallet"]) == pytest.approx(0.1 * PRICE / 50)
    # isolated: 100 of margin, 0.4 % maintenance on the notional at that price
    assert float(position["liquidationPrice"]) == pytest.approx((5_000 - 100) / 0.0996)


async def test_hedge_mode_has_two_positions_of_one_symbol(flowing: Flow) -> None:
    client = await flowing()
    assert (await client.ask("GET", "/v1/positionSide/dual"))["dualSidePosition"] is False
    mode = {"dualSidePosition": "true"}
    assert (await client.ask("POST", "/v1/positionSide/dual", **mode))["code"] == 200
    assert await client.refused("POST", "/v1/positionSide/dual", **mode) == -4059
    assert await client.refused("POST", "/v1/order", **ORDER) == -4061
    await client.buy("0.02", positionSide="LONG")
    await client.sell("0.01", positionSide="SHORT")
    assert await client.position("LONG") == 0.02
    assert await client.position("SHORT") == -0.01
    only = {**ORDER, "positionSide": "LONG", "reduceOnly": "true"}
    assert await client.refused("POST", "/v1/order", **only) == -1106
    more = {**ORDER, "side": "SELL", "positionSide": "LONG", "quantity": "0.03"}
    assert await client.refused("POST", "/v1/order", **more) == -2022
    back = {"dualSidePosition": "false"}
    assert await client.refused("POST", "/v1/positionSide/dual", **back) == -4068
    await client.sell("0.02", positionSide="LONG")
    await client.buy("0.01", positionSide="SHORT")
    await client.ask("POST", "/v1/positionSide/dual", **back)


async def test_accounts_are_apart(flowing: Flow) -> None:
    client = await flowing()
    opened = await client.control("POST", "/accounts", balance=500.0)
    await client.buy("0.02")
    first = client.key, client.secret
    client.key, client.secret = opened["api_key"], opened["api_secret"]
    assert (await client.ask("GET", "/v2/balance"))[0]["balance"] == "500.00000000"
    assert await client.position() == 0.0
    await client.sell("0.01")
    assert await client.position() == -0.01
    client.key, client.secret = first
    assert await client.position() == 0.02


async def test_the_wallet_is_the_sum_of_the_income(stepped: Start) -> None:
    rows = [(PRICE, PRICE + 40, PRICE - 40, PRICE + n) for n in range(40)]
    async with stepped(table_of(rows)) as client:
        for number in range(12):
            await client.sandbox.step()
            side = "BUY" if number % 3 else "SELL"
            await client.market(side, f"0.0{number + 11}")
        while not (await client.sandbox.step()).ended:
            pass
        income = await client.ask("GET", "/v1/income", limit=1000)
        total = sum(float(entry["income"]) for entry in income)
        (balance,) = await client.ask("GET", "/v2/balance")
        assert 10_000.0 + total == pytest.approx(float(balance["balance"]), abs=1e-6)
        trades = await client.ask("GET", "/v1/userTrades", symbol=SYMBOL)
        fees = sum(float(trade["commission"]) for trade in trades)
        kept = sum(float(e["income"]) for e in income if e["incomeType"] == "COMMISSION")
        assert fees == pytest.approx(-kept)


async def test_pages_by_time_and_by_id(stepped: Start) -> None:
    async with stepped(flat(20)) as client:
        for _ in range(6):
            while not (await client.sandbox.step()).closed:
                pass
            await client.buy("0.01")
        while not (await client.sandbox.step()).ended:
            pass
        trades: list[dict[str, Any]] = await client.ask("GET", "/v1/userTrades", symbol=SYMBOL)
        ids = [trade["id"] for trade in trades]
        assert len(ids) == 6
        page = await client.ask("GET", "/v1/userTrades", symbol=SYMBOL, fromId=ids[2], limit=2)
        assert [trade["id"] for trade in page] == ids[2:4]
        since = trades[4]["time"]
        page = await client.ask("GET", "/v1/userTrades", symbol=SYMBOL, startTime=since)
        assert [trade["id"] for trade in page] == ids[4:]
        page = await client.ask("GET", "/v1/userTrades", symbol=SYMBOL, limit=2)
        assert [trade["id"] for trade in page] == ids[-2:]
        page = await client.ask(
            "GET", "/v1/userTrades", symbol=SYMBOL, startTime=trades[1]["time"],
            endTime=trades[3]["time"],
        )  # fmt: skip
        assert [trade["id"] for trade in page] == ids[1:4]
