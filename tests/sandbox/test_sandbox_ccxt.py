"""The unmodified ccxt, pointed at the sandbox by configuration alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.sandbox.conftest import Flow, Start
from tests.sandbox.sandbox_client import Client, table_of

ccxt = pytest.importorskip("ccxt.pro", reason="ccxt is not installed")

BTC = "BTC/USDT:USDT"
Json = Any
CALM = [(50_000.0, 50_100.0, 49_900.0, 50_000.0)] * 3_000


def pointed_at(client: Client) -> Any:
    """An exchange object whose URLs are the sandbox's; nothing else is changed."""
    sandbox = client.sandbox
    exchange = ccxt.binanceusdm(
        {"apiKey": client.key, "secret": client.secret, "options": {"fetchCurrencies": False}}
    )
    api = exchange.urls["api"]
    for name, url in list(api.items()):
        if isinstance(url, str):
            api[name] = url.replace("https://fapi.binance.com", sandbox.rest_url)
    api["ws"]["linear"] = f"{sandbox.ws_url}/ws"
    api["ws"]["ws-api"]["linear"] = f"{sandbox.ws_url}/ws-fapi/v1"
    return exchange


@asynccontextmanager
async def trading(client: Client) -> AsyncIterator[Any]:
    exchange = pointed_at(client)
    try:
        await exchange.load_markets()
        yield exchange
    finally:
        await exchange.close()


async def first(watch: Callable[[], Any], picks: Callable[[Json], bool]) -> Json:
    """Watch until something is picked."""
    async with asyncio.timeout(20):
        while True:
            for found in await watch():
                if picks(found):
                    return found


async def test_it_loads_markets_with_ticks_and_steps(flowing: Flow) -> None:
    client = await flowing(table_of(CALM))
    async with trading(client) as exchange:
        market = exchange.market(BTC)
        assert market["precision"]["price"] == 0.1
        assert market["precision"]["amount"] == 0.001
        assert market["limits"]["cost"]["min"] == 100.0
        assert market["active"] is True
        assert (await exchange.fetch_balance())["USDT"]["total"] == 10_000.0


async def test_it_fetches_and_streams_klines_trades_and_books(flowing: Flow) -> None:
    client = await flowing(table_of(CALM), history=50)
    async with trading(client) as exchange:
        fetched = await exchange.fetch_ohlcv(BTC, "1m", limit=30)
        assert len(fetched) == 30
        assert {row[2] for row in fetched[:-1]} == {50_100.0}
        streamed = (await exchange.watch_ohlcv(BTC, "1m"))[-1]
        assert streamed[0] >= fetched[-1][0]
        assert 49_900.0 <= (await exchange.watch_trades(BTC))[-1]["price"] <= 50_100.0
        assert 49_900.0 <= (await exchange.watch_ticker(BTC))["last"] <= 50_100.0
        for _ in range(3):  # it checks the chain of update ids against a snapshot
            book = await exchange.watch_order_book(BTC)
        assert 0.0 < book["asks"][0][0] - book["bids"][0][0] < 1.0


async def test_it_trades_and_sees_its_fills(flowing: Flow) -> None:
    client = await flowing(table_of(CALM))
    async with trading(client) as exchange:
        orders = asyncio.create_task(
            first(lambda: exchange.watch_orders(BTC), lambda o: o["status"] == "closed")
        )
        trades = asyncio.create_task(first(lambda: exchange.watch_my_trades(BTC), bool))
        await listening(client)
        bought = await exchange.create_order(BTC, "market", "buy", 0.02)
        seen, trade = await orders, await trades
        assert seen["id"] == trade["order"] == bought["id"]
        assert seen["filled"] == trade["amount"] == 0.02
        assert trade["fee"]["cost"] == pytest.approx(0.02 * trade["price"] * 0.0005, abs=1e-6)
        (position,) = await exchange.fetch_positions([BTC])
        assert (position["side"], position["contracts"]) == ("long", 0.02)
        (kept,) = await exchange.fetch_my_trades(BTC)
        assert kept["id"] == trade["id"]
        assert (await exchange.fetch_order(bought["id"], BTC))["average"] == trade["price"]
        books = client.sandbox.first.account.exchange
        assert (await exchange.fetch_balance())["USDT"]["total"] == pytest.approx(
            books.equity(), abs=10.0
        )


async def listening(client: Client) -> None:
    """Wait until the client's user stream is connected."""
    hub = client.sandbox.world.hub
    async with asyncio.timeout(20):
        while not hub.pick(lambda connection: bool(connection.listen_keys)):
            await client.public("/v1/ping")  # something that happens, and lets others run


async def test_it_places_lists_and_cancels_normal_and_conditional_orders(flowing: Flow) -> None:
    client = await flowing(table_of(CALM))
    async with trading(client) as exchange:
        await exchange.create_order(BTC, "market", "buy", 0.02)
        closing = {"reduceOnly": True}
        limit = await exchange.create_order(BTC, "limit", "buy", 0.01, 49_000.0)
        stop = await exchange.create_order(
            BTC, "STOP_MARKET", "sell", 0.02, None, {"triggerPrice": 48_000.0, **closing}
        )
        target = await exchange.create_order(
            BTC, "TAKE_PROFIT_MARKET", "sell", 0.02, None, {"triggerPrice": 52_000.0, **closing}
        )
        trailing = await exchange.create_order(
            BTC, "TRAILING_STOP_MARKET", "sell", 0.02, None, {"callbackRate": 5.0, **closing}
        )
        assert [o["id"] for o in await exchange.fetch_open_orders(BTC)] == [limit["id"]]
        algos = await exchange.fetch_open_orders(BTC, params={"trigger": True})
        assert [o["id"] for o in algos] == [stop["id"], target["id"], trailing["id"]]
        changed = await exchange.edit_order(limit["id"], BTC, "limit", "buy", 0.02, 49_100.0)
        assert (changed["id"], changed["price"]) == (limit["id"], 49_100.0)
        await exchange.cancel_order(limit["id"], BTC)
        await exchange.cancel_order(stop["id"], BTC, {"trigger": True})
        await exchange.cancel_all_orders(BTC, {"trigger": True})
        account = client.sandbox.first.account
        assert not account.open_orders()
        assert not account.open_algos()


async def test_it_cancels_several_orders_at_once(flowing: Flow) -> None:
    client = await flowing(table_of(CALM))
    async with trading(client) as exchange:
        wanted = [
            {"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.01, "price": price}
            for price in (48_900.0, 48_800.0, 48_700.0)
        ]
        ids = [order["id"] for order in await exchange.create_orders(wanted)]
        await exchange.cancel_orders(ids[:2], BTC)
        assert [order["id"] for order in await exchange.fetch_open_orders(BTC)] == ids[2:]


async def test_it_moves_isolated_margin(flowing: Flow) -> None:
    client = await flowing(table_of(CALM))
    async with trading(client) as exchange:
        await exchange.set_margin_mode("isolated", BTC)
        await exchange.create_order(BTC, "market", "buy", 0.02)
        assert (await exchange.add_margin(BTC, 50))["amount"] == 50.0
        assert (await exchange.reduce_margin(BTC, 20))["status"] == "ok"
        changes = await exchange.fetch_margin_adjustment_history(BTC)
        assert [(c["type"], c["amount"]) for c in changes[1:]] == [("add", 50.0), ("reduce", 20.0)]
        (position,) = await exchange.fetch_positions([BTC])
        assert position["marginMode"] == "isolated"
        assert (await exchange.fetch_position_adl_rank(BTC))["symbol"] == BTC


async def test_it_sees_a_conditional_order_trigger_and_fill(stepped: Start) -> None:
    falling = [*CALM[:3], (50_000.0, 50_000.0, 49_000.0, 49_000.0)]
    async with stepped(table_of(falling)) as client, trading(client) as exchange:
        await client.sandbox.step()
        await exchange.create_order(BTC, "market", "buy", 0.02)
        await client.sandbox.step()
        trades = asyncio.create_task(
            first(lambda: exchange.watch_my_trades(BTC), lambda t: t["side"] == "sell")
        )
        await listening(client)
        stop = await exchange.create_order(
            BTC, "STOP_MARKET", "sell", 0.02, None, {"triggerPrice": 49_500.0, "reduceOnly": True}
        )
        while not (await client.sandbox.step()).ended:
            pass
        trade = await trades
        assert (trade["amount"], trade["price"]) == (0.02, 49_500.0)
        assert trade["order"] != stop["id"]  # the order that the stop became has its own id
        assert await exchange.fetch_positions([BTC]) == []


async def test_it_trades_over_the_websocket_api(flowing: Flow) -> None:
    client = await flowing(table_of(CALM))
    async with trading(client) as exchange:
        bought = await exchange.create_order_ws(BTC, "market", "buy", 0.02)
        limit = await exchange.create_order_ws(BTC, "limit", "buy", 0.01, 49_000.0)
        await exchange.cancel_order_ws(limit["id"], BTC)
        account = client.sandbox.first.account
        assert str(account.trades[0].order_id) == bought["id"]
        assert not account.open_orders()


async def test_it_understands_refusals(flowing: Flow) -> None:
    client = await flowing(table_of(CALM))
    async with trading(client) as exchange:
        with pytest.raises(ccxt.ExchangeError, match="-2019"):
            await exchange.create_order(BTC, "market", "buy", 100.0)
        with pytest.raises(ccxt.OrderNotFound):
            await exchange.fetch_order("1", BTC)
        with pytest.raises(ccxt.ExchangeError, match="-2021"):
            await exchange.create_order(
                BTC, "STOP_MARKET", "sell", 0.01, None, {"triggerPrice": 60_000.0}
            )
        exchange.secret = "wrong"
        with pytest.raises(ccxt.AuthenticationError):
            await exchange.fetch_balance()
