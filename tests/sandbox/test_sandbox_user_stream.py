"""The user stream: what happens to an account, told once, in order, and equal to the books."""

from __future__ import annotations

from typing import Any

import pytest

from candlewick.errors import ConfigError
from candlewick.exchange import ExchangeSettings, MarginType
from candlewick.sandbox import SandboxSettings
from tests.sandbox.conftest import Flow, Start
from tests.sandbox.sandbox_client import MINUTE, START, SYMBOL, Client, Listener, flat, table_of

PRICE = 50_000.0
Json = Any


async def told(client: Client, listener: Listener) -> list[Json]:
    """Everything up to a change of leverage, which marks the end."""
    marker = 3 + len(listener.heard) % 90
    await client.ask("POST", "/v1/leverage", symbol=SYMBOL, leverage=marker)
    await listener.next(lambda m: m["e"] == "ACCOUNT_CONFIG_UPDATE" and m["ac"]["l"] == marker)
    return [m for m in listener.heard if m["e"] != "ACCOUNT_CONFIG_UPDATE"]


def wallet_and_positions(events: list[Json]) -> tuple[float, dict[str, float]]:
    """What a client knows that hears ACCOUNT_UPDATE only."""
    wallet, positions = 10_000.0, {}
    for event in events:
        if event["e"] == "ACCOUNT_UPDATE":
            for balance in event["a"]["B"]:
                wallet = float(balance["wb"])
            for position in event["a"]["P"]:
                positions[position["s"]] = float(position["pa"])
    return wallet, {symbol: held for symbol, held in positions.items() if held}


async def test_a_fill_is_told_short_then_by_account_then_in_full(flowing: Flow) -> None:
    client = await flowing()
    listener = await client.user_stream()
    order = await client.buy("0.02", newClientOrderId="entry-1")
    events = await told(client, listener)
    assert [(m["e"], m.get("o", {}).get("x")) for m in events] == [
        ("ORDER_TRADE_UPDATE", "NEW"), ("TRADE_LITE", None), ("ACCOUNT_UPDATE", None),
        ("ORDER_TRADE_UPDATE", "TRADE"),
    ]  # fmt: skip
    trade = events[-1]
    assert trade["E"] >= trade["T"] == trade["o"]["T"]
    o = trade["o"]
    assert (o["c"], o["i"], o["X"], o["z"]) == ("entry-1", order["orderId"], "FILLED", "0.020")
    assert (float(o["L"]), o["n"], o["N"]) == (PRICE, "0.50000000", "USDT")
    assert events[1]["t"] == o["t"] > 0
    (balance,) = events[2]["a"]["B"]
    assert (balance["wb"], balance["bc"]) == ("9999.50000000", "0.00000000")
    (position,) = events[2]["a"]["P"]
    assert (position["pa"], float(position["ep"])) == ("0.020", PRICE)


async def test_what_is_told_adds_up_to_the_books(stepped: Start) -> None:
    rows = [(PRICE, PRICE + 150, PRICE - 150, PRICE + 10 * n) for n in range(60)]
    settings = {"exchange": ExchangeSettings(fill_parts=7, slippage_bps=1.0)}
    async with stepped(table_of(rows), **settings) as client:
        listener = await client.user_stream()
        for number in range(15):
            await client.sandbox.step()
            side = ("BUY", "BUY", "SELL")[number % 3]
            await client.market(side, f"{0.011 * (number + 1):.3f}")
            exit_side = "SELL" if await client.position() > 0 else "BUY"
            if await client.position():
                worse = PRICE - 140 if exit_side == "SELL" else PRICE + 700
                await client.algo(exit_side, "STOP_MARKET", triggerPrice=f"{worse:.1f}",
                                  quantity="0.005", reduceOnly="true")  # fmt: skip
        while not (await client.sandbox.step()).ended:
            pass
        events = await told(client, listener)
        exchange = client.sandbox.first.account.exchange
        wallet, positions = wallet_and_positions(events)
        assert wallet == pytest.approx(exchange.balance, abs=1e-7)
        held = {p.symbol: p.quantity for p in exchange.positions()}
        assert positions == held
        trades = [m["o"] for m in events if m["e"] == "ORDER_TRADE_UPDATE" and m["o"]["t"]]
        assert len(trades) == len({o["t"] for o in trades}) == exchange._trades_made
        assert sum(float(o["n"]) for o in trades) == pytest.approx(exchange.fees_paid, abs=1e-6)
        assert sum(float(o["rp"]) for o in trades) == pytest.approx(exchange.realized, abs=1e-6)
        for number in {o["i"] for o in trades}:
            parts = [o for o in trades if o["i"] == number]
            assert [o["X"] for o in parts[:-1]] == ["PARTIALLY_FILLED"] * (len(parts) - 1)
            assert parts[-1]["X"] == "FILLED"
            total = sum(float(o["l"]) for o in parts)
            assert total == pytest.approx(float(parts[-1]["z"]))
        by_rest = await client.ask("GET", "/v1/userTrades", symbol=SYMBOL, limit=1000)
        assert [t["id"] for t in by_rest] == [o["t"] for o in trades]


async def test_the_life_of_a_conditional_order(stepped: Start) -> None:
    falling = [(PRICE, PRICE, PRICE, PRICE)] * 2 + [(PRICE, PRICE, 48_000.0, 48_500.0)]
    async with stepped(table_of(falling)) as client:
        listener = await client.user_stream()
        await client.sandbox.step()
        await client.buy("0.02")
        await client.sandbox.step()
        stop = await client.algo("SELL", "STOP_MARKET", triggerPrice="49000", quantity="0.02",
                                 reduceOnly="true", clientAlgoId="the-stop")  # fmt: skip
        while not (await client.sandbox.step()).ended:
            pass
        events = (await told(client, listener))[4:]
        kinds = [(m["e"], m.get("o", {}).get("X")) for m in events]
        assert kinds == [
            ("ALGO_UPDATE", "NEW"),
            ("ALGO_UPDATE", "TRIGGERING"),
            ("ALGO_UPDATE", "TRIGGERED"),
            ("ORDER_TRADE_UPDATE", "NEW"),
            ("TRADE_LITE", None),
            ("ACCOUNT_UPDATE", None),
            ("ORDER_TRADE_UPDATE", "FILLED"),
            ("ALGO_UPDATE", "FINISHED"),
        ]
        order, finished = events[3]["o"], events[-1]["o"]
        assert events[2]["o"]["ai"] == finished["ai"] == str(order["i"])
        assert finished["aid"] == stop["algoId"] != order["i"]
        assert (finished["aq"], float(finished["ap"])) == ("0.020", 49_000.0)
        assert (order["o"], order["ot"]) == ("MARKET", "STOP_MARKET")
        assert events[1]["o"]["ai"] == ""


async def test_a_reduce_only_stop_without_a_position_is_rejected_at_its_trigger(
    stepped: Start,
) -> None:
    falling = [(PRICE, PRICE, PRICE, PRICE)] * 2 + [(PRICE, PRICE, 48_000.0, 48_500.0)]
    async with stepped(table_of(falling)) as client:
        listener = await client.user_stream()
        await client.sandbox.step()
        await client.algo("SELL", "STOP_MARKET", triggerPrice="49000", quantity="0.02",
                          reduceOnly="true")  # fmt: skip
        while not (await client.sandbox.step()).ended:
            pass
        states = [m["o"] for m in await told(client, listener)]
        assert [o["X"] for o in states] == ["NEW", "TRIGGERING", "REJECTED"]
        assert states[-1]["rm"] == "ReduceOnly Order is rejected."


async def test_recorded_funding_is_told_before_it_is_paid(stepped: Start) -> None:
    first = START + 8 * 3_600_000
    rates = {SYMBOL: [(first, 0.001), (first + 2 * MINUTE, -0.002)]}
    table = table_of([(PRICE, PRICE, PRICE, PRICE)] * 6, start=first - 2 * MINUTE)
    async with stepped(table, funding=rates) as client:
        await client.sandbox.step()
        index = await client.ask("GET", "/v1/premiumIndex", symbol=SYMBOL)
        assert (float(index["lastFundingRate"]), index["nextFundingTime"]) == (0.001, first)
        await client.buy("0.1")
        while not (await client.sandbox.step()).ended:
            pass
        paid = await client.ask("GET", "/v1/income", incomeType="FUNDING_FEE")
        assert [float(income["income"]) for income in paid] == pytest.approx([-5.0, 10.0])
        past = await client.ask("GET", "/v1/fundingRate", symbol=SYMBOL)
        assert [(row["fundingTime"], float(row["fundingRate"])) for row in past] == rates[SYMBOL]
        index = await client.ask("GET", "/v1/premiumIndex", symbol=SYMBOL)
        assert float(index["lastFundingRate"]) == 0.0


def test_recorded_funding_needs_the_times_of_the_data() -> None:
    with pytest.raises(ConfigError, match="belong to the times of the data"):
        SandboxSettings(start="week", funding={SYMBOL: [(START, 0.001)]})


async def test_funding_tells_only_the_wallet_in_cross_margin(stepped: Start) -> None:
    due = START + 8 * 3_600_000
    table = table_of([(PRICE, PRICE, PRICE, PRICE)] * 6, start=due - 3 * MINUTE)
    async with stepped(table, exchange=ExchangeSettings(funding_rate=0.001)) as client:
        listener = await client.user_stream()
        await client.sandbox.step()
        await client.buy("0.1")
        while not (await client.sandbox.step()).ended:
            pass
        events = await told(client, listener)
        (funding,) = [m for m in events if m["e"] == "ACCOUNT_UPDATE" and m["a"]["m"] != "ORDER"]
        assert funding["a"]["m"] == "FUNDING_FEE"
        assert funding["T"] == due
        assert funding["a"]["P"] == []
        assert float(funding["a"]["B"][0]["bc"]) == pytest.approx(-5.0)
        (income,) = await client.ask("GET", "/v1/income", incomeType="FUNDING_FEE")
        assert (float(income["income"]), income["symbol"]) == (-5.0, SYMBOL)
        wallet, _ = wallet_and_positions(events)
        assert wallet == pytest.approx(10_000.0 - 5.0 - 2.5)


@pytest.mark.parametrize("margin", list(MarginType))
async def test_a_margin_call_comes_once_before_the_liquidation(
    stepped: Start, margin: MarginType
) -> None:
    # 10,000 of wallet, or the margin at leverage 2: in danger, out of it, in it again
    low = 46_280.0 if margin is MarginType.CROSS else 25_125.0
    prices = (PRICE, PRICE, low, low - 10, PRICE, low, low)
    rows = [(price, price, price, price) for price in prices]
    settings = ExchangeSettings(leverage=20 if margin is MarginType.CROSS else 2,
                                margin_type=margin)  # fmt: skip
    async with stepped(table_of(rows), exchange=settings) as client:
        listener = await client.user_stream()
        await client.sandbox.step()
        await client.buy("2.5" if margin is MarginType.CROSS else "0.3")
        while not (await client.sandbox.step()).ended:
            pass
        calls = [m for m in await told(client, listener) if m["e"] == "MARGIN_CALL"]
        assert len(calls) == 2
        (position,) = calls[0]["p"]
        assert (float(position["mp"]), float(position["pa"]) > 0.0) == (low, True)
        assert position["mt"] == ("CROSSED" if margin is MarginType.CROSS else "ISOLATED")
        assert ("cw" in calls[0]) is (margin is MarginType.CROSS)
        backing = float(calls[0].get("cw", position["iw"])) + float(position["up"])
        assert 0.8 * backing <= float(position["mm"]) < backing


async def test_a_liquidation_is_an_order_of_the_exchange(stepped: Start) -> None:
    crash = [(PRICE, PRICE, PRICE, PRICE)] * 2 + [(PRICE, PRICE, 30_000.0, 30_000.0)]
    async with stepped(table_of(crash), exchange=ExchangeSettings(leverage=100)) as client:
        listener = await client.user_stream()
        market = await client.listen("/market/ws/!forceOrder@arr")
        await market.ask("LIST_SUBSCRIPTIONS", [])
        await client.sandbox.step()
        await client.buy("2")
        while not (await client.sandbox.step()).ended:
            pass
        events = await told(client, listener)
        closes = [m["o"] for m in events if m["e"] == "ORDER_TRADE_UPDATE"][2:]
        assert closes
        assert all(o["c"].startswith("autoclose-") for o in closes)
        assert {(o["x"], o["o"], o["f"], o["R"]) for o in closes} == {
            ("CALCULATED", "LIMIT", "IOC", True)
        }
        assert sum(float(o["l"]) for o in closes) == pytest.approx(2.0)
        assert await client.position() == 0.0
        wallet, positions = wallet_and_positions(events)
        assert positions == {}
        assert wallet == pytest.approx(client.sandbox.first.account.exchange.balance, abs=1e-7)
        forced = await client.ask("GET", "/v1/forceOrders")
        assert [o["clientOrderId"] for o in forced] == list(dict.fromkeys(o["c"] for o in closes))
        assert (await market.event("forceOrder"))["o"]["S"] == "SELL"


async def test_the_listen_key_lives_is_prolonged_and_ends(flowing: Flow) -> None:
    client = await flowing()
    first = (await client.raw("POST", "/fapi/v1/listenKey"))["listenKey"]
    assert (await client.raw("POST", "/fapi/v1/listenKey"))["listenKey"] == first
    assert (await client.raw("PUT", "/fapi/v1/listenKey"))["listenKey"] == first
    listener = await client.listen(f"/private/ws?listenKey={first}")
    await listener.ask("LIST_SUBSCRIPTIONS", [])
    await client.buy("0.01")
    assert (await listener.next())["e"] == "ORDER_TRADE_UPDATE"
    await client.control("POST", "/expire-listen-keys")
    expired = await listener.event("listenKeyExpired")
    assert expired["listenKey"] == first
    with pytest.raises(Exception, match="-1125"):
        await client.raw("PUT", "/fapi/v1/listenKey")
    second = (await client.raw("POST", "/fapi/v1/listenKey"))["listenKey"]
    assert second != first
    heard = len(listener.heard)
    again = await client.listen(f"/private/stream?streams={second}")
    await again.ask("LIST_SUBSCRIPTIONS", [])
    await client.sell("0.01")
    message = await again.next()
    assert (message["stream"], message["data"]["e"]) == (second, "ORDER_TRADE_UPDATE")
    await listener.ask("LIST_SUBSCRIPTIONS", [])
    assert len(listener.heard) == heard + 1  # the old connection is open and silent
    assert await client.raw("DELETE", "/fapi/v1/listenKey") == {}


async def test_an_unused_listen_key_ends_after_its_time(flowing: Flow) -> None:
    client = await flowing(listen_key_s=0.2)
    listener = await client.user_stream()
    key = client.sandbox.first.listen_key
    assert key is not None
    key.until -= 1.0  # as if its time had passed
    await client.buy("0.01")
    assert (await listener.next())["e"] == "listenKeyExpired"


async def test_the_key_can_be_subscribed_on_an_open_connection(flowing: Flow) -> None:
    client = await flowing()
    key = (await client.raw("POST", "/fapi/v1/listenKey"))["listenKey"]
    listener = await client.listen("/private/stream")
    assert await listener.ask("SUBSCRIBE", [key], "k") == {"result": None, "id": "k"}
    await client.buy("0.01")
    assert (await listener.next())["stream"] == key
    await listener.ask("UNSUBSCRIBE", [key])
    silent = len(listener.heard)
    await client.sell("0.01")
    await listener.ask("LIST_SUBSCRIPTIONS", [])
    assert len(listener.heard) == silent + 1


async def test_an_unknown_key_is_accepted_and_silent(flowing: Flow) -> None:
    client = await flowing(flat(2_000))
    listener = await client.listen("/private/ws?listenKey=" + "0" * 64)
    await client.buy("0.01")
    await listener.ask("LIST_SUBSCRIPTIONS", [])
    assert len(listener.heard) == 1


async def test_deposits_are_told(flowing: Flow) -> None:
    client = await flowing()
    listener = await client.user_stream()
    await client.control("POST", "/deposit", api_key=client.key, amount=250.5)
    update = await listener.event("ACCOUNT_UPDATE")
    assert (update["a"]["m"], update["a"]["B"][0]["bc"]) == ("DEPOSIT", "250.50000000")
    assert (await client.ask("GET", "/v2/balance"))[0]["balance"] == "10250.50000000"
