"""Market streams: routes, frames, subscriptions, limits; and what they tell of the market."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import aiohttp
import numpy as np
import pytest

from candlewick.data import synthetic_market
from candlewick.models import CandleTable
from candlewick.sandbox import Limits
from tests.sandbox.conftest import Flow, Start
from tests.sandbox.sandbox_client import (
    INSTRUMENTS,
    MINUTE,
    Client,
    Listener,
    Refused,
    flat,
    table_of,
)

KLINE = "btcusdt@kline_1m"


def wavy(count: int) -> CandleTable:
    """A synthetic market on the ticks of the contract."""
    (table,) = synthetic_market(["BTCUSDT"], "1m", count, 7, instruments=[INSTRUMENTS["BTCUSDT"]])
    return table


async def played(client: Client, listener: Listener) -> None:
    """Play the market to its end, and wait until the listener has heard all of it."""
    while not (await client.sandbox.step()).ended:
        pass
    await listener.ask("LIST_SUBSCRIPTIONS", [], "the end")


# -- routes and frames ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "stream", "speaks"),
    [
        ("/market/ws/{}", KLINE, True),
        ("/market/ws/{}", "btcusdt@bookTicker", False),
        ("/public/ws/{}", "btcusdt@bookTicker", True),
        ("/public/ws/{}", KLINE, False),
        ("/ws/{}", "btcusdt@bookTicker", True),
        ("/ws/{}", KLINE, False),
        ("/stream?streams={}", "btcusdt@depth", True),
        ("/stream?streams={}", "btcusdt@aggTrade", False),
        ("/market/stream?streams={}", KLINE, True),
        ("/private/ws/{}", KLINE, False),
        ("/market/ws/{}", "btcusdt@kline_7m", False),
        ("/market/ws/{}", "nonsense", False),
    ],
)
async def test_each_route_carries_its_own_streams(
    stepped: Start, path: str, stream: str, speaks: bool
) -> None:
    async with stepped(wavy(6)) as client:
        listener = await client.listen(path.format(stream))
        await listener.ask("LIST_SUBSCRIPTIONS", [])
        await played(client, listener)
        events = [m for m in listener.heard if "id" not in m]
        assert bool(events) is speaks
        assert all(("stream" in m) is ("/stream" in path) for m in events)


async def test_without_a_route_all_is_carried_where_that_is_chosen(stepped: Start) -> None:
    async with stepped(wavy(4), unrouted_is_public=False) as client:
        listener = await client.listen(f"/ws/{KLINE}")
        await listener.ask("LIST_SUBSCRIPTIONS", [])
        await played(client, listener)
        assert any(m.get("e") == "kline" for m in listener.heard)


async def test_subscribing_answers_with_the_same_id_of_the_same_type(stepped: Start) -> None:
    async with stepped(wavy(4)) as client:
        listener = await client.listen("/market/ws/0")  # the last part need not be a stream
        for identity in (1, "one", 7_000_000_000):
            answer = await listener.ask("SUBSCRIBE", [KLINE, "btcusdt@aggTrade"], identity)
            assert answer == {"result": None, "id": identity}
        assert (await listener.ask("LIST_SUBSCRIPTIONS", []))["result"] == [
            "0", KLINE, "btcusdt@aggTrade",
        ]  # fmt: skip
        await listener.ask("UNSUBSCRIBE", ["btcusdt@aggTrade"])
        await played(client, listener)
        assert {m["e"] for m in listener.heard if "e" in m} == {"kline"}


async def test_combined_frames_can_be_chosen_later(stepped: Start) -> None:
    async with stepped(wavy(4)) as client:
        listener = await client.listen(f"/market/ws/{KLINE}")
        assert (await listener.ask("GET_PROPERTY", ["combined"]))["result"] is False
        await listener.ask("SET_PROPERTY", ["combined", True])
        await client.sandbox.step()
        assert (await listener.next())["stream"] == KLINE


@pytest.mark.parametrize(
    "frame", ["{", '"text"', '{"method":"FLY","id":1}', '{"method":"SUBSCRIBE","params":3,"id":1}']
)
async def test_rubbish_is_answered_and_harms_nothing(stepped: Start, frame: str) -> None:
    async with stepped(wavy(4)) as client:
        listener = await client.listen(f"/market/ws/{KLINE}")
        await listener.socket.send_str(frame)
        assert "error" in await listener.next()
        await client.sandbox.step()
        assert (await listener.event("kline"))["s"] == "BTCUSDT"


async def test_too_many_streams_are_refused(stepped: Start) -> None:
    async with stepped(wavy(4), limits=Limits(streams=3)) as client:
        listener = await client.listen("/market/ws")
        names = [f"btcusdt@kline_{n}" for n in ("1m", "3m", "5m", "15m")]
        assert "error" in await listener.ask("SUBSCRIBE", names)
        assert "error" not in await listener.ask("SUBSCRIBE", names[:3])


async def test_a_client_that_talks_too_much_is_cut_off(stepped: Start) -> None:
    async with stepped(wavy(4), limits=Limits(messages_1s=5)) as client:
        listener = await client.listen("/market/ws")

        async def talk() -> None:
            for number in range(20):
                await listener.ask("LIST_SUBSCRIPTIONS", [], number)

        with pytest.raises(ConnectionError):
            await talk()
        assert listener.socket.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION


# -- the life of a connection ---------------------------------------------------------------------


async def test_pings_come_and_a_client_without_pongs_is_dropped(flowing: Flow) -> None:
    client = await flowing(ping_s=0.1, pong_s=0.5)
    url = client.sandbox.ws_url + "/market/ws/" + KLINE
    answering = await client.listen("/market/ws/" + KLINE)
    reading = asyncio.create_task(answering.next(lambda message: False))
    silent = await client.session.ws_connect(url, autoping=False)
    seen = []
    async with asyncio.timeout(10):
        while not silent.closed:
            seen.append((await silent.receive()).type)
    assert aiohttp.WSMsgType.PING in seen
    assert not reading.done()  # it answers the pings while it reads
    reading.cancel()
    await asyncio.wait([reading])


async def test_a_clients_ping_is_answered(flowing: Flow) -> None:
    client = await flowing()
    socket = await client.session.ws_connect(client.sandbox.ws_url + "/market/ws", autoping=False)
    await socket.ping(b"still there?")
    message = await socket.receive(timeout=10)
    assert (message.type, bytes(message.data)) == (aiohttp.WSMsgType.PONG, b"still there?")


async def test_every_connection_is_cut_at_its_age(flowing: Flow) -> None:
    client = await flowing(connection_s=0.3)
    listener = await client.listen(f"/market/ws/{KLINE}")
    with pytest.raises(ConnectionError):
        await listener.next(lambda message: False)


async def test_a_client_that_does_not_read_does_not_hold_up_the_others(stepped: Start) -> None:
    async with stepped(wavy(400), queue=500) as client:
        names = "/".join(f"btcusdt@kline_{n}" for n in ("1m", "3m", "5m", "15m", "30m", "1h"))
        lazy = await client.listen(f"/market/stream?streams={names}/btcusdt@ticker")
        lazy.socket._conn.protocol.pause_reading()  # type: ignore[union-attr]
        eager = await client.listen(f"/market/ws/{KLINE}")
        await eager.ask("LIST_SUBSCRIPTIONS", [])
        closed = 0
        for _ in range(400):
            client.sandbox._conductor._move()  # without waiting for anybody's socket
            while not (await eager.event("kline"))["k"]["x"]:
                pass
            closed += 1
        assert closed == 400


# -- what they tell -------------------------------------------------------------------------------


async def test_closed_klines_are_the_recorded_candles(stepped: Start) -> None:
    table = wavy(120)
    async with stepped(table) as client:
        listener = await client.listen("/market/stream?streams=btcusdt@kline_1m/btcusdt@kline_15m")
        await listener.ask("LIST_SUBSCRIPTIONS", [])
        await played(client, listener)
        closed: dict[str, list[list[float]]] = {"1m": [], "15m": []}
        for message in listener.heard:
            k = message.get("data", {}).get("k", {"x": False})
            if k["x"]:
                closed[k["i"]].append([k["t"], *(float(k[name]) for name in "ohlcv")])
        columns = (table.open, table.high, table.low, table.close, table.volume)
        wanted = np.column_stack([table.open_time, *columns])
        np.testing.assert_array_equal(np.array(closed["1m"]), wanted)
        quarter = np.array(closed["15m"])
        assert len(quarter) == 120 // 15
        np.testing.assert_array_equal(quarter[:, 0], table.open_time[::15])
        np.testing.assert_array_equal(quarter[:, 1], table.open[::15])
        np.testing.assert_array_equal(quarter[:, 2], table.high.reshape(-1, 15).max(axis=1))
        np.testing.assert_array_equal(quarter[:, 3], table.low.reshape(-1, 15).min(axis=1))
        np.testing.assert_array_equal(quarter[:, 4], table.close[14::15])
        np.testing.assert_allclose(quarter[:, 5], table.volume.reshape(-1, 15).sum(axis=1))


async def test_rest_klines_end_with_the_open_candle(flowing: Flow) -> None:
    table = wavy(600)
    client = await flowing(table, history=100, speed=60.0)
    listener = await client.listen(f"/market/ws/{KLINE}")
    event = await listener.event("kline")
    rows = await client.public("/v1/klines", symbol="BTCUSDT", interval="1m", limit=50)
    assert len(rows) == 50
    assert all(len(row) == 12 for row in rows)
    opens = [row[0] for row in rows]
    assert opens == list(range(opens[0], opens[0] + 50 * MINUTE, MINUTE))
    assert opens[-1] >= event["k"]["t"]  # it has not closed
    assert rows[-1][6] > (await listener.event("kline"))["E"] - 2 * MINUTE
    closes = [float(row[4]) for row in rows[:-1]]
    places = [n for n in range(40, 70) if table.close[n : n + 49].tolist() == closes]
    assert len(places) == 1


async def test_rest_klines_by_time_and_in_higher_intervals(stepped: Start) -> None:
    table = wavy(90)
    async with stepped(table, history=60) as client:
        path, pair = "/v1/klines", {"symbol": "BTCUSDT"}
        first = int(table.open_time[10])
        rows = await client.public(path, **pair, interval="1m", startTime=first, limit=5)
        assert [row[0] for row in rows] == [first + n * MINUTE for n in range(5)]
        last = int(table.open_time[12])
        rows = await client.public(path, **pair, interval="1m", startTime=first, endTime=last)
        assert [row[0] for row in rows] == [first, first + MINUTE, last]
        rows = await client.public(path, **pair, interval="15m", limit=3)
        assert [float(row[2]) for row in rows] == [
            table.high[start : start + 15].max() for start in (15, 30, 45)
        ]
        await client.sandbox.step()
        rows = await client.public(path, **pair, interval="15m", limit=3)
        assert [row[0] for row in rows] == [int(table.open_time[start]) for start in (30, 45, 60)]
        assert float(rows[-1][4]) == table.close[60]
        for interval, code in (("2m", -1120), ("1s", -1120)):
            assert await refused(client, path, **pair, interval=interval) == code
        assert await refused(client, path, **pair, interval="1m", limit=1_501) == -1130


async def refused(client: Client, path: str, **params: object) -> int:
    with pytest.raises(Refused) as caught:
        await client.public(path, **params)
    return int(caught.value.code)


async def test_depth_is_an_unbroken_chain_that_leads_to_the_snapshot(stepped: Start) -> None:
    async with stepped(wavy(40)) as client:
        await client.sandbox.step()
        listener = await client.listen("/public/ws/btcusdt@depth@0ms")
        await listener.ask("LIST_SUBSCRIPTIONS", [])
        await client.sandbox.step()
        snapshot = await client.public("/v1/depth", symbol="BTCUSDT", limit=20)
        await played(client, listener)
        events = [m for m in listener.heard if m.get("e") == "depthUpdate"]
        assert len(events) > 40
        for before, after in pairwise(events):
            assert after["pu"] == before["u"]
            assert after["U"] <= after["u"]
        book = {side: dict(snapshot[side]) for side in ("bids", "asks")}
        last = snapshot["lastUpdateId"]
        later = [event for event in events if event["u"] > last]
        assert later[0]["U"] <= last + 1 <= later[0]["u"]
        for event in later:
            for side, name in (("bids", "b"), ("asks", "a")):
                for price, size in event[name]:
                    book[side].pop(price, None)
                    if float(size):
                        book[side][price] = size
        final = await client.public("/v1/depth", symbol="BTCUSDT", limit=20)
        assert book == {side: dict(final[side]) for side in ("bids", "asks")}
        best = max(map(float, book["bids"])), min(map(float, book["asks"]))
        assert best[0] < best[1]


async def test_several_symbols_and_streams_of_all_of_them(stepped: Start) -> None:
    other = flat(30, 3_000.0, "ETHUSDT")
    async with stepped(table_of([(1e4, 1e4, 1e4, 1e4)] * 30), other) as client:
        listener = await client.listen("/market/stream?streams=!ticker@arr/ethusdt@kline_1m")
        await listener.ask("LIST_SUBSCRIPTIONS", [])
        await played(client, listener)
        tickers = [m["data"] for m in listener.heard if m.get("stream") == "!ticker@arr"]
        assert {row["s"] for row in tickers[-1]} == {"BTCUSDT", "ETHUSDT"}
        klines = [m["data"] for m in listener.heard if "kline" in m.get("stream", "")]
        assert {k["s"] for k in klines} == {"ETHUSDT"}
