"""The account: start, listen keys, reconnects, funding, snapshots, rate limits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from candlewick.errors import VenueError
from candlewick.models import EventKind, Order, OrderStatus, OrderType, Side
from candlewick.venues.binance import ApiKeys, BinanceVenue
from tests.venues.conftest import Connect, Heard
from tests.venues.fake_exchange import (
    FakeExchange,
    Json,
    LoseAnswer,
    Refusal,
    cut,
    order_event,
)

BTC = "BTCUSDT"


def entry(name: str = "cw-t-000001-entry", quantity: float = 0.01) -> Order:
    return Order(name, BTC, Side.BUY, OrderType.MARKET, quantity)


def close(name: str = "cw-t-000009-close") -> Order:
    return Order(name, BTC, Side.SELL, OrderType.MARKET, 0.01, reduce_only=True)


def lose(_: Json) -> None:
    raise LoseAnswer


def account_states(heard: Heard) -> list[str]:
    return [str(s.state) for s in heard.streams if s.kind == "account"]


# -- start -------------------------------------------------------------------------------------


async def test_instruments_have_units_limits_fees_and_tiers(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, _ = await connect()
    item = (await venue.instruments([BTC]))[BTC]
    assert (item.tick, item.step, item.min_quantity) == (0.1, 0.001, 0.001)
    assert (item.max_quantity, item.market_max_quantity, item.min_notional) == (1000, 120, 100)
    assert (item.fee_maker, item.fee_taker, item.liquidation_fee) == (0.00016, 0.00032, 0.0125)
    assert (item.base, item.quote) == ("BTC", "USDT")
    assert [(b.floor, b.cap, b.rate, b.amount, b.max_leverage) for b in item.brackets] == [
        (0, 50_000, 0.005, 0, 100), (50_000, 250_000, 0.01, 250, 50),
    ]  # fmt: skip
    assert item.maintenance_margin(100_000) == 750.0
    assert len(exchange.seen("GET", "/fapi/v1/exchangeInfo")) == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: setattr(x, "price", {"BTCUSDC": 1.0}), r"no symbol 'BTCUSDT'; did you mean"),
        (lambda x: setattr(x, "dual", True), "hedge mode"),
        (
            lambda x: x.script("GET", "/fapi/v1/positionSide/dual", refuse(401, -2015)),
            r"check the API key, its permission",
        ),
        (
            lambda x: x.script("POST", "/fapi/v1/leverage", refuse(400, -4028)),
            "leverage 5 of BTCUSDT cannot be set",
        ),
        (
            lambda x: x.script("POST", "/fapi/v1/marginType", refuse(400, -4048)),
            "close the symbol's position first",
        ),
        (lambda x: x.script("POST", "/fapi/v1/listenKey", refuse(401, -2015)), "API key"),
        (
            lambda x: x.script("GET", "/fapi/v1/exchangeInfo", lambda _: {"symbols": 5}),
            "understood",
        ),
    ],
)
async def test_what_the_exchange_refuses_at_the_start_is_a_clear_error(
    exchange: FakeExchange, connect: Connect, spoil: Any, message: str
) -> None:
    spoil(exchange)
    for _ in range(3):  # an answer that is repeatedly wrong, where it would be asked for again
        exchange.before["GET", "/fapi/v1/exchangeInfo"].extend(
            list(exchange.before["GET", "/fapi/v1/exchangeInfo"])[:1]
        )
    with pytest.raises(VenueError, match=message):
        await connect(leverage=5, margin_type="isolated")
    assert not exchange.private
    assert not exchange.market


def refuse(status: int, code: int, **headers: Any) -> Any:
    def step(_: Json) -> None:
        raise Refusal(status, code, "no", headers)

    return step


async def test_settings_are_brought_to_the_account(
    exchange: FakeExchange, connect: Connect
) -> None:
    exchange.dual = True
    await connect(leverage=7, margin_type="isolated", switch_to_one_way=True)
    assert exchange.seen("POST", "/fapi/v1/leverage")[0]["leverage"] == "7"
    assert exchange.seen("POST", "/fapi/v1/marginType")[0]["marginType"] == "ISOLATED"
    assert not exchange.dual


async def test_an_exchange_that_is_not_there_is_a_clear_error() -> None:
    served = FakeExchange()
    await served.start()
    settings = served.settings()
    await served.stop()
    venue = BinanceVenue(settings, ApiKeys("k" * 20, "s" * 20))
    with pytest.raises(VenueError, match=r"GET /fapi/v1/time: no connection to 127.0.0.1"):
        await venue.connect(lambda _: None, [BTC], "1m")


# -- the stream --------------------------------------------------------------------------------


async def test_a_lost_stream_is_told_and_replaced_with_the_same_key(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    await cut(exchange.private[0])
    await heard.until(lambda: account_states(heard) == ["live", "lost", "live"])
    assert len(exchange.listen_keys) == 1
    await venue.submit(entry())
    await heard.until(lambda: bool(heard.fills))


@pytest.mark.parametrize("told", [True, False])
async def test_an_expired_listen_key_means_a_new_key_and_a_new_connection(
    exchange: FakeExchange, connect: Connect, told: bool
) -> None:
    venue, heard = await connect(keepalive_s=0.15)
    (old,) = exchange.listen_keys
    exchange.listen_keys.clear()
    if told:
        await exchange.push({"e": "listenKeyExpired", "E": exchange.now(), "listenKey": old})
    await heard.until(lambda: account_states(heard)[:3] == ["live", "lost", "live"])
    reason = next(s.reason for s in heard.streams if s.state == "lost")
    assert reason == "the listen key expired"
    assert exchange.listen_keys != [old]
    assert len(exchange.private) == 1
    await heard.until(lambda: venue.tally.events["listen_key_kept"] >= 1)


async def test_a_venue_that_ends_while_it_changes_connections_leaves_none_open(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The venue ends in the moment in which the old connection is being closed."""
    venue, _ = await connect()
    assert venue._account is not None
    connection = venue._account.keeper.connection
    assert connection is not None
    close_it, begun, closed = connection.close, asyncio.Event(), asyncio.Event()

    async def close() -> None:
        if not begun.is_set():
            begun.set()
            await asyncio.Event().wait()  # until it is cancelled
        await close_it()
        closed.set()

    monkeypatch.setattr(connection, "close", close)
    venue._account.keeper.renew("a test")
    await begun.wait()
    await venue.close()
    assert closed.is_set()


async def test_a_stream_that_is_refused_is_tried_again_with_pauses(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    exchange.script("POST", "/fapi/v1/listenKey", *[refuse(400, -1125)] * 3)
    await cut(exchange.private[0])
    await heard.until(lambda: account_states(heard) == ["live", "lost", "live"])
    assert venue.tally.events["account_not_connected"] == 3


async def test_an_old_stream_is_replaced_without_losing_or_repeating_news(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(connection_life_s=0.2, overlap_s=0.05)
    limit = Order("cw-t-000001-entry", BTC, Side.BUY, OrderType.LIMIT, 1.0, price=49_000.0)
    await venue.submit(limit)
    count = 0

    async def trade() -> None:
        nonlocal count
        while True:
            await exchange.fill(limit.client_id, 0.001)
            count += 1
            await asyncio.sleep(0.005)

    trading = asyncio.create_task(trade())
    await heard.until(lambda: venue.tally.events["account_replaced"] >= 3)
    trading.cancel()
    await heard.until(lambda: len(heard.fills) == count)
    assert [fill.trade_id for fill in heard.fills] == [trade["id"] for trade in exchange.trades]
    assert account_states(heard) == ["live"]
    assert venue.tally.events["fills_missing"] == 0


async def test_malformed_and_unknown_messages_do_not_end_the_stream(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    good = order_event(
        {"symbol": BTC, "clientOrderId": "x", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC",
         "origQty": "1", "price": "1", "avgPrice": "0", "status": "NEW", "orderId": 5,
         "executedQty": "0", "reduceOnly": False, "origType": "LIMIT"}, "NEW", 1,
    )  # fmt: skip
    for event in (
        {"e": "ORDER_TRADE_UPDATE"}, {"e": "ORDER_TRADE_UPDATE", "o": {**good["o"], "q": "many"}},
        {"e": "SOMETHING_NEW", "E": 1}, {"e": "kline", "E": 1}, [], {"hello": 1},
    ):  # fmt: skip
        await exchange.push(event)  # type: ignore[arg-type]
    await exchange.push({**good, "o": {**good["o"], "X": "PONDERING"}})
    await exchange.push(good)
    await heard.until(lambda: bool(heard.updates))
    assert venue.tally.malformed == {"account": 5}
    assert venue.tally.unknown == {"SOMETHING_NEW": 1, "order status PONDERING": 1}
    assert account_states(heard) == ["live"]


# -- funding -----------------------------------------------------------------------------------


def funding_event(time: int, amount: str, symbol: str = "") -> Json:
    positions = [{"s": symbol, "pa": "1", "ep": "1", "ps": "BOTH"}] if symbol else []
    change = {"m": "FUNDING_FEE", "B": [{"a": "USDT", "wb": "1", "cw": "1", "bc": amount}]}
    return {"e": "ACCOUNT_UPDATE", "E": time, "T": time, "a": {**change, "P": positions}}


async def test_funding_with_a_symbol_is_told_once(exchange: FakeExchange, connect: Connect) -> None:
    _, heard = await connect()
    await exchange.mark(rate="0.0003")
    time = exchange.now()
    for _ in range(2):
        await exchange.push(funding_event(time, "-1.25", BTC))
    await exchange.push(funding_event(time, "-9", "ETHUSDT"))  # not ours to tell
    await exchange.push(funding_event(time + 3_600_000, "0.5", BTC))
    await heard.until(lambda: len(heard.of(EventKind.FUNDING_PAID)) == 2)
    told = [(f.symbol, f.amount, f.rate, f.time) for f in heard.of(EventKind.FUNDING_PAID)]
    assert told[0] == (BTC, -1.25, 0.0003, time)
    assert told[1][1] == 0.5


async def test_cross_margin_funding_gets_its_symbols_from_the_income(
    exchange: FakeExchange, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("candlewick.venues.binance.funding._FIRST_PAUSE_S", 0.02)
    _, heard = await connect(symbols=(BTC, "ETHUSDT"))
    time = exchange.now()
    rows = [
        {"symbol": symbol, "incomeType": "FUNDING_FEE", "income": amount, "asset": "USDT",
         "time": time, "tranId": n, "info": "", "tradeId": ""}
        for n, (symbol, amount) in enumerate(((BTC, "-1.0"), ("ETHUSDT", "0.25"), ("X", "9")))
    ]  # fmt: skip

    async def listed_late(_: Json) -> list[Json]:
        exchange.income = rows
        return []

    exchange.script("GET", "/fapi/v1/income", listed_late)
    await exchange.push(funding_event(time, "8.25"))
    await heard.until(lambda: len(heard.of(EventKind.FUNDING_PAID)) == 2)
    told = {f.symbol: f.amount for f in heard.of(EventKind.FUNDING_PAID)}
    assert told == {BTC: -1.0, "ETHUSDT": 0.25}


async def test_funding_during_a_gap_is_found(exchange: FakeExchange, connect: Connect) -> None:
    _, heard = await connect()
    exchange.income = [
        {"symbol": BTC, "incomeType": "FUNDING_FEE", "income": "-2.0", "asset": "USDT",
         "time": exchange.now() + 1, "tranId": 7, "info": "", "tradeId": ""},
    ]  # fmt: skip
    await cut(exchange.private[0])
    await heard.until(lambda: bool(heard.of(EventKind.FUNDING_PAID)))
    assert heard.of(EventKind.FUNDING_PAID)[0].amount == -2.0


# -- snapshots ---------------------------------------------------------------------------------


async def test_a_snapshot_holds_everything_of_the_symbols(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    since = exchange.now()
    exchange.position["ETHUSDT"] = 5.0
    stop = Order(
        "cw-t-000002-stop", BTC, Side.SELL, OrderType.STOP_MARKET, 0.01, trigger_price=49_000.0,
        reduce_only=True,
    )  # fmt: skip
    trailing = Order(
        "cw-t-000003-stop", BTC, Side.SELL, OrderType.TRAILING_STOP_MARKET, 0.01,
        callback_rate=0.01, trigger_price=51_000.0, reduce_only=True,
    )  # fmt: skip
    limit = Order("cw-t-000004-entry", BTC, Side.BUY, OrderType.LIMIT, 0.02, price=48_000.0)
    for order in (entry(), stop, trailing, limit):
        await venue.submit(order)
    snapshot = await venue.snapshot(since)
    assert snapshot.balance == pytest.approx(9_999.98)
    ((held,), fills) = snapshot.positions, snapshot.fills
    assert (held.symbol, held.quantity, held.liquidation_price) == (BTC, 0.01, 45_000.1)
    listed = {order.client_id: order for order in snapshot.orders}
    assert set(listed) == {o.client_id for o in (stop, trailing, limit)}
    seen = listed[stop.client_id]
    assert (seen.type, seen.trigger_price, seen.quantity, seen.reduce_only, seen.status) == (
        OrderType.STOP_MARKET, 49_000.0, 0.01, True, OrderStatus.ACKNOWLEDGED,
    )  # fmt: skip
    assert listed[trailing.client_id].callback_rate == 0.01
    assert listed[trailing.client_id].trigger_price == 51_000.0
    assert listed[limit.client_id].price == 48_000.0
    assert [fill.client_id for fill in fills] == [entry().client_id]
    assert fills[0].trade_id == heard.fills[0].trade_id
    assert (await venue.snapshot()).fills == ()


@pytest.mark.parametrize("listed", [1, 1_000])
async def test_fills_after_weeks_of_silence_come_with_the_snapshot(
    exchange: FakeExchange, connect: Connect, listed: int
) -> None:
    """An answer spans seven days: whoever asks from longer ago gets the first of them."""
    venue, _ = await connect()
    since = exchange.now() - 23 * 86_400_000
    await venue.submit(entry())
    (newest,) = exchange.trades
    old = [
        newest | {"id": number, "time": since + number, "orderId": 5}
        for number in range(1, listed + 1)
    ]
    exchange.trades[:0] = old
    newest["id"] += 2_000
    snapshot = await venue.snapshot(since)
    assert len(snapshot.fills) == listed + 1
    assert snapshot.fills[-1].client_id == entry().client_id


async def test_a_snapshot_is_dated_before_anything_that_was_asked(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, _ = await connect()
    times: list[int] = []
    exchange.script("GET", "/fapi/v3/balance", lambda _: times.append(exchange.now()))
    exchange.script("GET", "/fapi/v3/positionRisk", lambda _: times.append(exchange.now()))
    snapshot = await venue.snapshot()
    assert snapshot.time <= min(times)
    assert snapshot.time > min(times) - 2_000


async def test_fills_of_a_gap_come_with_the_snapshot_before_their_order_ends(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(confirm_after_s=20.0)
    since = exchange.now()
    limit = Order("cw-t-000001-entry", BTC, Side.BUY, OrderType.LIMIT, 0.03, price=50_000.0)
    await venue.submit(limit)
    exchange.fill_quietly(limit.client_id, 0.01)
    exchange.fill_quietly(limit.client_id, 0.01)
    snapshot = await venue.snapshot(since)
    assert [fill.client_id for fill in snapshot.fills] == [limit.client_id] * 2
    assert [fill.trade_id for fill in heard.fills] == [f.trade_id for f in snapshot.fills]
    await exchange.fill(limit.client_id, 0.01)
    await heard.until(lambda: "filled" in heard.statuses(limit))
    assert len(heard.fills) == 3
    assert venue.tally.events["fills_missing"] == 0


async def test_trades_from_before_this_process_are_not_told_as_new(
    exchange: FakeExchange, connect: Connect
) -> None:
    """An order of a former run rests half filled: its position was adopted, not its fills."""
    await exchange.post_order(
        {"symbol": BTC, "side": "BUY", "type": "LIMIT", "quantity": "0.030", "price": "50000.0",
         "newClientOrderId": "cw-old-000001-entry"}
    )  # fmt: skip
    exchange.fill_quietly("cw-old-000001-entry", 0.01)
    await asyncio.sleep(0.005)
    venue, heard = await connect()
    await venue.snapshot(exchange.now())
    await exchange.fill("cw-old-000001-entry", 0.01)
    await heard.until(lambda: bool(heard.updates))
    assert [fill.quantity for fill in heard.fills] == [0.01]


async def test_a_snapshot_that_fails_in_part_fails(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, _ = await connect()
    exchange.script("GET", "/fapi/v1/openAlgoOrders", *[lose] * 10)
    with pytest.raises(VenueError, match="GET /fapi/v1/openAlgoOrders"):
        await venue.snapshot()


async def test_a_read_that_is_lost_is_repeated(exchange: FakeExchange, connect: Connect) -> None:
    venue, _ = await connect()
    exchange.script("GET", "/fapi/v3/balance", lose, refuse(503, -1007), refuse(400, -1001))
    assert (await venue.snapshot()).balance == 10_000.0
    assert len(exchange.seen("GET", "/fapi/v3/balance")) == 4


async def test_many_trades_come_in_pages(exchange: FakeExchange, connect: Connect) -> None:
    venue, _ = await connect()
    since = exchange.now()
    limit = Order("cw-t-000001-entry", BTC, Side.BUY, OrderType.LIMIT, 9.0, price=50_000.0)
    await venue.submit(limit)
    for _ in range(2_345):
        exchange.fill_quietly(limit.client_id, 0.001)
    snapshot = await venue.snapshot(since)
    assert len(snapshot.fills) == 2_345
    assert len({fill.trade_id for fill in snapshot.fills}) == 2_345


# -- limits ------------------------------------------------------------------------------------


async def test_opening_orders_leave_room_for_closing_ones(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(max_entry_delay_s=0.001)
    exchange.position[BTC] = 1.0
    exchange.answer_headers["X-MBX-ORDER-COUNT-1M"] = "960"  # 80 % of 1200: others use it too
    await venue.submit(entry())
    late = entry("cw-t-000002-entry")
    await venue.submit(late)
    assert heard.statuses(late) == ["rejected"]
    assert "no room" in heard.updates[-1].message
    await venue.submit(close())
    await heard.until(lambda: "filled" in heard.statuses(close()))
    assert len(exchange.seen("POST", "/fapi/v1/order")) == 2  # the refused one was never sent


async def test_too_many_requests_stop_everything_for_as_long_as_is_asked(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(max_wait_s=0.5)
    exchange.position[BTC] = 1.0
    exchange.script("POST", "/fapi/v1/order", refuse(429, -1003, **{"Retry-After": "1"}))
    await venue.submit(entry())
    assert heard.statuses(entry()) == ["rejected"]
    assert 0.5 < venue.limits.blocked_s <= 1.0
    before = len(exchange.requests)
    with pytest.raises(VenueError, match="no room for"):
        await venue.snapshot()
    assert len(exchange.requests) == before
    clock = asyncio.get_running_loop().time
    blocked_until = clock() + venue.limits.blocked_s
    await venue.submit(close())  # waits, and then goes out
    assert clock() >= blocked_until
    await heard.until(lambda: "filled" in heard.statuses(close()))


async def test_a_ban_without_a_time_is_taken_seriously(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    exchange.script("POST", "/fapi/v1/order", refuse(418, -1003))
    await venue.submit(entry())
    assert heard.statuses(entry()) == ["rejected"]
    assert 110 < venue.limits.blocked_s <= 120


async def test_an_overloaded_exchange_refuses_entries_and_is_asked_again_for_closes(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    exchange.position[BTC] = 1.0
    exchange.script("POST", "/fapi/v1/order", *[refuse(503, -1008)] * 3)
    await venue.submit(entry())
    assert (heard.statuses(entry()), heard.updates[-1].code) == (["rejected"], -1008)
    await venue.submit(close())
    await heard.until(lambda: "filled" in heard.statuses(close()))
    assert len(exchange.seen("POST", "/fapi/v1/order")) == 4


async def test_a_closing_order_waits_for_an_exchange_that_cannot_be_reached(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    exchange.position[BTC] = 1.0
    port = exchange.port
    await exchange.stop()
    await venue.submit(entry())
    assert heard.statuses(entry()) == ["rejected"]  # surely not sent, and soon too late
    closing = asyncio.create_task(venue.submit(close()))
    await heard.until(lambda: venue.tally.events["requests_lost"] >= 4)
    assert heard.statuses(close()) == []
    await exchange.start(port)
    await closing
    await heard.until(lambda: "filled" in heard.statuses(close()))
    assert len(exchange.seen("POST", "/fapi/v1/order")) == 1
