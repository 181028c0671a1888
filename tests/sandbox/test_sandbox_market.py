"""Where the sandbox's market comes from, how it moves, and what its time is."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlewick.data import load_capture, synthetic_market
from candlewick.errors import ConfigError, DataError
from candlewick.exchange import ExchangeSettings, SimulatedExchange
from candlewick.models import Candle, CandleTable, Fill, Order, OrderType, OrderUpdate, Side
from candlewick.sandbox import Sandbox, SandboxSettings
from candlewick.sandbox.source import (
    CandleStep,
    CloseStep,
    TradeStep,
    path_of,
    read_capture,
    shift_for,
    steps_of,
)
from tests.sandbox.conftest import Flow, Start
from tests.sandbox.sandbox_client import (
    INSTRUMENTS,
    MINUTE,
    START,
    SYMBOL,
    Client,
    Running,
    flat,
    market_of,
    table_of,
)

WEEK = 7 * 86_400_000
BTC = INSTRUMENTS[SYMBOL]
Json = Any


def wavy(count: int, seed: int = 5) -> CandleTable:
    (table,) = synthetic_market([SYMBOL], "1m", count, seed, instruments=[BTC])
    return table


# -- steps ----------------------------------------------------------------------------------------


@given(ticks=st.lists(st.integers(1, 5_000), min_size=4, max_size=4), count=st.integers(4, 240))
def test_the_path_of_a_candle_meets_open_extremes_and_close_and_stays_within(
    ticks: list[int], count: int
) -> None:
    prices = [BTC.nearest_price(tick * 0.1) for tick in ticks]
    candle = Candle(SYMBOL, "1m", START, prices[0], max(prices), min(prices), prices[1], 3.0,
                    START + MINUTE - 1, True)  # fmt: skip
    path = path_of(candle, BTC, count)
    assert len(path) == count
    assert (path[0], path[-1]) == (candle.open, candle.close)
    assert (max(path), min(path)) == (candle.high, candle.low)
    assert all(BTC.is_price(price) for price in path)


def test_ticks_come_in_order_and_close_the_candle_they_belong_to() -> None:
    market = market_of(wavy(20), flat(20, 3_000.0, "ETHUSDT"))
    steps = list(steps_of(market, SandboxSettings(ticks=6), 0))
    assert len(steps) == 2 * 20 * (6 + 1)
    assert all(a.time <= b.time for a, b in pairwise(steps))
    for symbol in market.symbols:
        own = [step for step in steps if step.symbol == symbol]
        for start in range(0, len(own), 7):
            *trades, close = own[start : start + 7]
            assert all(isinstance(trade, TradeStep) for trade in trades)
            assert isinstance(close, CloseStep)
            assert close.candle is not None
            assert trades[0].price == close.candle.open
            assert trades[-1].price == close.candle.close
            assert trades[-1].time <= close.time


def test_candles_of_several_symbols_come_as_they_close() -> None:
    market = market_of(wavy(5), flat(5, 3_000.0, "ETHUSDT"))
    steps = list(steps_of(market, SandboxSettings(stepped=True, history=2), 0))
    assert all(isinstance(step, CandleStep) for step in steps)
    symbols = [[c.symbol for c in s.candles] for s in steps if isinstance(s, CandleStep)]
    assert symbols == [[SYMBOL, "ETHUSDT"]] * 3
    assert steps[0].time == START + 2 * MINUTE


async def test_no_order_meets_a_price_from_before_its_decision(stepped: Start) -> None:
    """Candles of two symbols close together: both are over before either is shown."""
    eth = table_of([(3_000.0, 3_000.0, 3_000.0, 3_000.0), (3_100.0,) * 4], "ETHUSDT")
    async with stepped(flat(2), eth) as client:
        listener = await client.listen("/market/ws/btcusdt@kline_1m")
        await listener.ask("LIST_SUBSCRIPTIONS", [])
        assert (await client.sandbox.step()).closed
        await listener.next(lambda m: m.get("e") == "kline" and m["k"]["x"])
        await client.buy("1", symbol="ETHUSDT")
        assert (await client.sandbox.step()).told
        (trade,) = await client.ask("GET", "/v1/userTrades", symbol="ETHUSDT")
        assert float(trade["price"]) == 3_100.0


# -- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "unit"),
    [
        ({"speed": 1.0}, MINUTE),
        ({"speed": 60.0}, WEEK),
        ({"stepped": True}, WEEK),
        ({"speed": None}, WEEK),
        ({"speed": 60.0, "start": "now"}, MINUTE),
        ({"speed": 1.0, "start": "week"}, WEEK),
    ],
)
def test_the_market_begins_now_or_a_whole_number_of_weeks_later(
    settings: dict[str, Any], unit: int
) -> None:
    now = 1_795_490_123_456
    shift = shift_for(START, SandboxSettings(**settings), MINUTE, now)
    assert shift % unit == 0
    assert now <= START + shift < now + unit


def test_recorded_times_can_be_kept() -> None:
    assert shift_for(START, SandboxSettings(start="data"), MINUTE, 9_999_999_999_999) == 0


async def test_at_real_pace_market_time_is_the_wall_clock(flowing: Flow) -> None:
    client = await flowing(flat(10), speed=1.0, history=3)
    behind = time.time() * 1e3 - client.sandbox.world.now
    assert -MINUTE <= behind <= 5_000  # the first candle opens at the next whole minute at most
    rows = await client.public("/v1/klines", symbol=SYMBOL, interval="1m", limit=3)
    assert rows[-1][0] // MINUTE - client.sandbox.world.now // MINUTE in (-1, 0)


async def test_account_time_is_market_time(stepped: Start) -> None:
    async with stepped(flat(5)) as client:
        moved = await client.sandbox.step()
        order = await client.limit("BUY", "0.01", "49000")
        assert order["updateTime"] == moved.time == START + MINUTE - 1


# -- moving ---------------------------------------------------------------------------------------


async def test_a_market_order_waits_for_the_next_price_in_a_market_of_candles(
    stepped: Start,
) -> None:
    rows = [(100.0, 110.0, 90.0, 105.0), (104.0, 120.0, 100.0, 119.0)]
    async with stepped(table_of(rows)) as client:
        await client.sandbox.step()
        await client.buy("1")
        assert not await client.ask("GET", "/v1/userTrades", symbol=SYMBOL)
        moved = await client.sandbox.step()
        assert (moved.told, moved.closed, moved.time) == (True, False, START + MINUTE)
        (trade,) = await client.ask("GET", "/v1/userTrades", symbol=SYMBOL)
        assert (float(trade["price"]), trade["time"]) == (104.0, START + MINUTE)
        assert (await client.sandbox.step()).closed
        assert (await client.sandbox.step()).ended


async def test_after_the_data_the_market_stands_still_and_still_trades(stepped: Start) -> None:
    async with stepped(flat(3)) as client:
        await client.sandbox.step()
        await client.buy("0.02")
        while not (await client.sandbox.step()).ended:
            pass
        assert client.sandbox.has_ended
        await client.sell("0.02")
        assert await client.position() == 0.0
        assert (await client.sandbox.step()).ended


async def test_an_order_that_waits_at_the_end_is_filled_at_the_last_price(stepped: Start) -> None:
    async with stepped(flat(1)) as client:
        await client.sandbox.step()
        await client.buy("0.02")
        assert (await client.sandbox.step()).ended
        assert await client.position() == 0.02


async def test_a_flowing_market_cannot_be_stepped(flowing: Flow) -> None:
    client = await flowing()
    with pytest.raises(ConfigError, match="moves by itself"):
        await client.sandbox.step()
    with pytest.raises(ConfigError, match="moves by itself"):
        client.sandbox.rest()


async def test_a_market_can_be_ended_before_its_data(stepped: Start) -> None:
    async with stepped(table_of([(50_000.0, 50_000.0, 50_000.0, 50_000.0)] * 9)) as client:
        await client.sandbox.step()
        await client.buy("0.02")
        assert not client.sandbox.first.account.trades
        client.sandbox.rest()
        assert client.sandbox.has_ended
        assert len(client.sandbox.first.account.trades) == 1
        assert (await client.sandbox.step()).ended
        await client.market("SELL", "0.02")  # it stands still, and still trades
        assert await client.position() == 0.0


async def test_the_price_that_makes_a_fill_is_told_before_the_fill(stepped: Start) -> None:
    """A client that compares with the last price must not compare with one from before."""
    rows = [(50_000.0,) * 4, (50_000.0,) * 4, (50_000.0, 50_010.0, 49_000.0, 49_100.0)]
    async with stepped(table_of(rows)) as client:
        market = await client.listen("/market/ws/btcusdt@kline_1m")
        await market.ask("LIST_SUBSCRIPTIONS", [])
        user = await client.user_stream()
        await client.sandbox.step()
        await client.buy("0.02")
        assert (await client.sandbox.step()).told
        await client.algo("SELL", "STOP_MARKET", triggerPrice="49500", quantity="0.02",
                          reduceOnly="true")  # fmt: skip

        async def prices() -> None:
            while True:
                await market.next()

        reading = asyncio.create_task(prices())
        while not (await client.sandbox.step()).told:
            pass
        told_by_then = [m["k"]["c"] for m in market.heard if m.get("e") == "kline"]
        reading.cancel()
        fill = await user.next(lambda m: m["e"] == "ORDER_TRADE_UPDATE" and m["o"]["S"] == "SELL"
                               and m["o"]["x"] == "TRADE")  # fmt: skip
        assert float(fill["o"]["L"]) == 49_500.0
        assert float(told_by_then[-1]) == 49_500.0


async def test_steps_over_the_control_endpoint(stepped: Start) -> None:
    async with stepped(flat(2)) as client:
        moves = [await client.control("POST", "/step") for _ in range(3)]
        assert [(m["closed"], m["ended"]) for m in moves] == [
            (True, False), (True, False), (False, True),
        ]  # fmt: skip
        books = await client.control("GET")
        assert books["prices"] == {SYMBOL: 50_000.0}


async def test_as_fast_as_the_client_reads_and_not_before_it_listens(flowing: Flow) -> None:
    table = wavy(800)
    client = await flowing(table, speed=None)
    assert not client.sandbox.has_ended
    listener = await client.listen("/market/ws/btcusdt@kline_1m")
    closes = []
    async with asyncio.timeout(60):
        while len(closes) < 800:
            event = await listener.event("kline")
            if event["k"]["x"]:
                closes.append(float(event["k"]["c"]))
    np.testing.assert_array_equal(closes, table.close)
    await client.sandbox.ended()


async def test_at_a_speed_every_candle_closes_with_its_recorded_values(flowing: Flow) -> None:
    table = wavy(60)
    client = await flowing(table, speed=6_000.0)
    listener = await client.listen("/market/ws/btcusdt@kline_1m")
    first = await listener.next(lambda m: m.get("e") == "kline" and m["k"]["x"])
    closes = {first["k"]["t"]: float(first["k"]["c"])}
    async with asyncio.timeout(30):
        while len(closes) < 40:
            event = await listener.event("kline")
            if event["k"]["x"]:
                assert event["k"]["t"] not in closes
                closes[event["k"]["t"]] = float(event["k"]["c"])
    times = list(closes)
    assert times == list(range(times[0], times[0] + 40 * MINUTE, MINUTE))
    at = int(np.flatnonzero(table.close == closes[times[0]])[0])
    np.testing.assert_array_equal(list(closes.values()), table.close[at : at + 40])


# -- the same exchange as a backtest's ------------------------------------------------------------


def script(number: int, price: float) -> list[dict[str, Any]]:
    """Orders sent after candle ``number``, in the words of the exchange."""
    if number % 7 == 0:
        return [{"side": "BUY", "type": "MARKET", "quantity": "0.05"}]
    if number % 7 == 3:
        return [{"side": "SELL", "type": "MARKET", "quantity": "0.02"}]
    if number % 7 == 5:
        limit = BTC.format_price(BTC.nearest_price(price * 0.999))
        return [{"side": "BUY", "type": "LIMIT", "quantity": "0.03", "price": limit,
                 "timeInForce": "GTC"}]  # fmt: skip
    return []


async def fills_over_sockets(table: CandleTable, settings: ExchangeSettings) -> list[Json]:
    sandbox = Sandbox(
        market_of(table), SandboxSettings(stepped=True, start="data", exchange=settings)
    )
    async with Running(sandbox) as client:
        number = 0
        while not (moved := await sandbox.step()).ended:
            if moved.closed:
                price = sandbox.world.markets[SYMBOL].price
                for order in script(number, price):
                    await client.ask("POST", "/v1/order", symbol=SYMBOL, **order)
                number += 1
        trades = await client.ask("GET", "/v1/userTrades", symbol=SYMBOL, limit=1_000)
    return [(t["side"], float(t["price"]), float(t["qty"]), t["time"], t["maker"]) for t in trades]


def fills_in_a_loop(table: CandleTable, settings: ExchangeSettings) -> list[Json]:
    exchange = SimulatedExchange({SYMBOL: BTC}, 10_000.0, settings)
    fills: list[Fill] = []
    sent = 0
    for number, candle in enumerate(table):
        while reports := exchange.advance(candle):
            fills += [report for report in reports if isinstance(report, Fill)]
        for order in script(number, candle.close):
            sent += 1
            (answer,) = exchange.submit(
                Order(
                    f"x{sent}", SYMBOL, Side[order["side"]], OrderType(order["type"].lower()),
                    float(order["quantity"]), price=float(order.get("price", 0.0)),
                ),
                candle.close_time,
            )  # fmt: skip
            assert isinstance(answer, OrderUpdate)
    last = exchange.tick(SYMBOL, float(table.close[-1]), int(table.close_time[-1]))
    fills += [report for report in last if isinstance(report, Fill)]
    return [(f.side.name, f.price, f.quantity, f.time, f.maker) for f in fills]


async def test_fills_over_sockets_are_those_of_the_plain_loop() -> None:
    table = wavy(300, seed=11)
    settings = ExchangeSettings(slippage_bps=0.5, leverage=50)
    over_sockets = await fills_over_sockets(table, settings)
    assert over_sockets == fills_in_a_loop(table, settings)
    assert len(over_sockets) > 100


# -- captures -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def capture(shared_dir: Path) -> Path:
    return shared_dir / "data" / "btcusdt-usdm-raw-2024-08-08.jsonl.gz"


async def test_a_capture_is_replayed_trade_by_trade(capture: Path) -> None:
    sandbox = Sandbox.of_capture(capture, SandboxSettings(stepped=True, start="data"))
    async with Running(sandbox) as client:
        listener = await client.listen("/market/ws/btcusdt@kline_1m")
        await listener.ask("LIST_SUBSCRIPTIONS", [])
        while not (await sandbox.step()).ended:
            pass
        rows = await client.public("/v1/klines", symbol=SYMBOL, interval="1m")
    wanted = {candle.open_time: candle for candle in load_capture(capture).candles("1m")}
    assert wanted
    found = {row[0]: row for row in rows}
    for open_time, candle in wanted.items():
        row = found[open_time]
        assert [float(value) for value in row[1:5]] == [
            candle.open, candle.high, candle.low, candle.close,
        ]  # fmt: skip
        assert float(row[5]) == pytest.approx(candle.volume)


async def test_orders_trade_against_a_capture(capture: Path) -> None:
    trades = read_capture(capture)
    sandbox = Sandbox.of_capture(capture, SandboxSettings(speed=50.0))
    async with Running(sandbox) as client:
        listener = await client.listen("/market/stream?streams=btcusdt@aggTrade")
        await listener.event("aggTrade")
        order = await client.buy("0.01", newOrderRespType="RESULT")
        assert order["status"] == "FILLED"
        (trade,) = await client.ask("GET", "/v1/userTrades", symbol=SYMBOL)
        assert float(trade["price"]) in {step.price for step in trades}


def test_a_capture_without_trades_is_no_market(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text('1 {"stream":"x","data":{"e":"bookTicker"}}\n')
    with pytest.raises(DataError, match="no trade"):
        read_capture(path)


# -- start and stop -------------------------------------------------------------------------------


async def test_an_address_that_is_taken_is_named(stepped: Start) -> None:
    async with stepped() as client:
        port = client.sandbox.port
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}"):
            await Sandbox(market_of(flat(3)), SandboxSettings(port=port, stepped=True)).start()


async def test_stopping_ends_all_connections_at_once(stepped: Start) -> None:
    running = stepped()
    async with running as client:
        socket = await client.session.ws_connect(client.sandbox.ws_url + "/market/ws")
        await client.sandbox.stop()
        assert (await socket.receive(timeout=10)).type in (
            aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSE,
        )  # fmt: skip
        with pytest.raises(aiohttp.ClientError):
            await client.public("/v1/ping")


async def test_too_much_history_is_named() -> None:
    with pytest.raises(ConfigError, match="history 5 leaves no candle"):
        Sandbox(market_of(flat(5)), SandboxSettings(history=5))


async def test_two_sandboxes_in_one_process(stepped: Start) -> None:
    first, second = stepped(flat(3)), stepped(flat(3, 100.0))
    async with first as one, second as two:
        await asyncio.gather(one.sandbox.step(), two.sandbox.step())
        prices = [await price_of(client) for client in (one, two)]
        assert prices == [50_000.0, 100.0]
        assert one.key != two.key


async def price_of(client: Client) -> float:
    return float((await client.public("/v1/ticker/price", symbol=SYMBOL))["price"])
