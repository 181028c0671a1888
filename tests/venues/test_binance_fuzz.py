"""Damaged and random frames and answers: nothing raises, nothing hangs, everything is counted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from candlewick.errors import VenueError
from candlewick.models import Order, OrderType, Side
from candlewick.venues.binance import BinanceVenue, endpoints
from candlewick.venues.binance.endpoints import Endpoint
from candlewick.venues.binance.failures import OutcomeUnknown
from candlewick.venues.binance.messages import MarketMessage, UserMessage
from candlewick.venues.binance.start import prepare_account
from tests.venues.api_models import samples, user_models
from tests.venues.conftest import Connect, Heard
from tests.venues.fake_exchange import MINUTE, FakeExchange, Json

BTC = "BTCUSDT"
START = 1_700_000_040_000
_JUNK: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**70, -(2**63), 1e308, -0.0, 1e-320, "", "NaN",
    "Infinity", "-1", "1e400", "0.00000001", "x" * 200, [], {}, [[]], {"e": "kline"}, [None],
    "\u0000", "é", "BTCUSDT", "FILLED", "NEW", "LONG", "autoclose-1",
]  # fmt: skip


def damaged(source: bytes, rng: random.Random) -> bytes:
    """A message with one to four things wrong with it: in its values, or in its bytes."""
    data = source
    for _ in range(rng.randint(1, 4)):
        data = rng.choice((_value, _value, _value, _byte, _cut, _swap, _repeat, _noise))(data, rng)
    return data


def _value(data: bytes, rng: random.Random) -> bytes:
    """Replace, remove or add a value somewhere in the structure."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return _byte(data, rng)
    places = list(_places(content))
    if not places:
        return json.dumps(rng.choice(_JUNK)).encode()
    parent, key = rng.choice(places)
    action = rng.random()
    if action < 0.7:
        parent[key] = rng.choice(_JUNK)
    elif action < 0.85 or not isinstance(parent, dict):
        del parent[key]
    else:
        parent[rng.choice("abcxX")] = parent[key]
    return json.dumps(content).encode()


def _places(content: Any) -> Any:
    if isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in list(items):
            yield content, key
            yield from _places(value)


def _byte(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return b"\x00"
    at = rng.randrange(len(data))
    return data[:at] + bytes((rng.randrange(256),)) + data[at + 1 :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _swap(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[at:] + data[:at]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at : at + 30] * rng.randint(2, 40) + data[at:]


def _noise(data: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(rng.randrange(60)) if rng.random() < 0.3 else data + b"[" * 2_000


def anything(rng: random.Random) -> bytes:
    """Bytes at random: noise, JSON of any shape, or what pretends to be an event or an answer."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randbytes(rng.randrange(300))
    content = _json(rng, 4)
    if kind == 1:
        return json.dumps(content).encode()
    names = rng.sample("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", 9)
    event = {name: _json(rng, 2) for name in names} | {"e": rng.choice(_EVENTS)}
    if kind == 2:
        return json.dumps(event).encode()
    return json.dumps(
        {"stream": content, "data": event, "id": _json(rng, 1), "error": _json(rng, 1),
         "result": _json(rng, 2), "status": _json(rng, 1)}
    ).encode()  # fmt: skip


def _json(rng: random.Random, depth: int) -> Any:
    if depth == 0 or rng.random() < 0.4:
        return rng.choice(_JUNK)
    if rng.random() < 0.5:
        return [_json(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(_KEYS): _json(rng, depth - 1) for _ in range(rng.randrange(5))}


_KEYS = ("e", "E", "s", "k", "o", "a", "data", "id", "error", "result", "code", "msg", "stream", "")
_EVENTS = [str(member.__struct_config__.tag) for union in (MarketMessage, UserMessage)
           for member in union.__args__] + ["", "somethingNew"]  # fmt: skip


def hurt(frames: Sequence[bytes], rng: random.Random) -> bytes:
    """One of the frames, damaged; or, one time in ten, anything at all."""
    return anything(rng) if rng.random() < 0.1 else damaged(rng.choice(frames), rng)


def frames_of(folder: Path, models: Sequence[Json]) -> list[bytes]:
    """Recorded messages and one of every model, each alone and in a combined stream's frame."""
    found = [file.read_bytes() for file in sorted(folder.glob("*.json"))]
    found += [json.dumps(model).encode() for model in models]
    return found + [b'{"stream":"x","data":' + frame + b"}" for frame in found]


def kline(n: int, closed: bool) -> bytes:
    text = f"{100 + n % 7}"
    k = {"t": START + n * MINUTE, "T": START + (n + 1) * MINUTE - 1, "i": "1m", "o": text,
         "h": text, "l": text, "c": text, "v": "1", "x": closed}  # fmt: skip
    event = {"e": "kline", "E": START + n * MINUTE, "s": BTC, "k": k}
    return json.dumps({"stream": "s", "data": event}).encode()


def without_background(venue: BinanceVenue) -> list[str]:
    """Keep a venue from starting anything in the background; returns what it would have."""
    wished: list[str] = []

    def drop(work: Coroutine[Any, Any, None], name: str) -> None:
        work.close()
        wished.append(name)

    venue._spawn = drop  # type: ignore[method-assign]
    return wished


def all_counted(venue: BinanceVenue, source: str, before: int) -> int:
    """How many frames were counted since ``before``."""
    tally = venue.tally
    counted = sum(tally.messages.values()) + tally.malformed[source]
    counted += sum(n for kind, n in tally.unknown.items() if "status" not in kind)
    return counted - before


async def fuzz_market(
    venue: BinanceVenue, heard: Heard, frames: Sequence[bytes], count: int
) -> None:
    assert venue._market is not None
    feed, connection = venue._market, venue._market.keeper.connection
    assert connection is not None
    rng = random.Random(20_240_808)
    frames = [*frames, *(kline(n, n % 3 == 0) for n in range(60))]
    impossible = 0
    for n in range(count):
        before = venue.tally.malformed["market"]
        counted = all_counted(venue, "market", 0)
        feed._on_frame(connection, hurt(frames, rng))
        more = all_counted(venue, "market", counted)
        impossible += more == 2  # an event that was read, and whose candle cannot be
        assert more == 1 or (more == 2 and venue.tally.malformed["market"] == before + 1)
        if n % 2_000 == 0:
            await asyncio.sleep(0)
    assert venue.tally.malformed["market"] > count // 4
    assert impossible
    opened: dict[str, int] = {}
    for candle in heard.closed:
        assert candle.low > 0 and candle.high < 1e300  # noqa: PT018
        assert candle.open_time > opened.get(candle.symbol, -1)
        opened[candle.symbol] = candle.open_time


async def fuzz_account(
    venue: BinanceVenue, heard: Heard, frames: Sequence[bytes], count: int
) -> None:
    assert venue._account is not None
    feed, connection = venue._account, venue._account.keeper.connection
    assert connection is not None
    rng = random.Random(20_240_809)
    for n in range(count):
        counted = all_counted(venue, "account", 0)
        feed._on_frame(connection, hurt(frames, rng))
        assert all_counted(venue, "account", counted) in (1, 2)
        if n % 2_000 == 0:
            await asyncio.sleep(0)
    assert venue.tally.malformed["account"] > count // 4
    trades = [(fill.venue_id, fill.trade_id) for fill in heard.fills]
    assert len(set(trades)) == len(trades)
    for fill in heard.fills:
        assert 0.0 < fill.quantity <= 1e300
        assert 0.0 <= fill.price <= 1e300
    assert not heard.fatal


def trouble(venue: BinanceVenue) -> int:
    """How many answers were counted as malformed or as a refusal."""
    tally = venue.tally
    refused = sum(n for name, n in tally.events.items() if name.startswith("refused_"))
    return sum(tally.malformed.values()) + refused


def requests(venue: BinanceVenue) -> list[Callable[[], Any]]:
    """Whatever makes the venue ask the exchange, over REST and over the WebSocket API."""
    order = Order("cw-t-000001-entry", BTC, Side.BUY, OrderType.MARKET, 0.01)
    rests = Order("cw-t-000003-entry", BTC, Side.BUY, OrderType.LIMIT, 0.01, price=49_000.0)
    stop = Order(
        "cw-t-000002-stop", BTC, Side.SELL, OrderType.STOP_MARKET, 0.01, trigger_price=49_000.0,
        reduce_only=True,
    )  # fmt: skip
    settings = msgspec.structs.replace(
        venue.settings, leverage=5, margin_type="isolated", switch_to_one_way=True
    )
    account = venue._account
    assert account is not None
    key = {"listenKey": account._listen_key}
    return [
        lambda: venue.candles(BTC, "1m", 3), lambda: venue.snapshot(START),
        lambda: venue.submit(order), lambda: venue.query(order), lambda: venue.submit(stop),
        lambda: venue.query(stop), lambda: venue.cancel(stop, 0), lambda: refetch(venue),
        lambda: venue.submit(rests), lambda: venue.cancel(rests, 0), venue.rest.sync_clock,
        lambda: venue.funding(BTC, START), account._funding._ask,
        lambda: prepare_account(venue.rest, settings, [BTC]),
        lambda: venue.rest.call(endpoints.LISTEN),
        lambda: venue.rest.call(endpoints.KEEP_LISTENING, key),
    ]  # fmt: skip


async def fuzz_rest(
    venue: BinanceVenue, exchange: FakeExchange, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damage every answer on its way; each request ends, with a result or a VenueError."""
    rng = random.Random(20_240_810)
    exchange.position[BTC] = 1.0
    exchange.dual = True
    for n in range(5):
        exchange.list_kline(START + n * MINUTE, 100.0)
    real = venue.rest._exchange
    bodies: dict[Any, tuple[int, bytes]] = {}

    async def recorded(endpoint: Any, params: Any) -> Any:
        status, headers, body = await real(endpoint, params)
        bodies[endpoint] = (status, body)
        return status, headers, body

    monkeypatch.setattr(venue.rest, "_exchange", recorded)
    asks = requests(venue)
    for ask in asks:
        await ask()
    assert len(bodies) > 20
    for endpoint in vars(endpoints).values():  # what else is read, by nobody above
        if isinstance(endpoint, Endpoint) and endpoint not in bodies:
            bodies[endpoint] = (200, json.dumps({"code": 200, "msg": "success"}).encode())
            asks.append(partial(venue.rest.call, endpoint))
    fuzzed = 0

    async def altered(endpoint: Any, _params: Any) -> Any:
        nonlocal fuzzed
        fuzzed += 1
        status, body = bodies[endpoint]
        if rng.random() < 0.2:
            status = rng.choice((200, 400, 401, 404, 500, 503))
        if rng.random() < 0.3:
            body = json.dumps({"code": rng.choice((-1000, -1021, -2011, -2013, -2019, -1106)),
                               "msg": "no"}).encode()  # fmt: skip
            status = 400
        return status, {}, hurt([body], rng) if rng.random() < 0.8 else body

    once = venue.rest._once

    async def counted(*request: Any) -> Any:
        before = trouble(venue)
        try:
            answer = await once(*request)
        except VenueError:
            assert trouble(venue) > before
            raise
        return answer

    monkeypatch.setattr(venue.rest, "_exchange", altered)
    monkeypatch.setattr(venue.rest, "_once", counted)
    without_limits(venue, monkeypatch)
    while fuzzed < count:
        with contextlib.suppress(VenueError):
            async with asyncio.timeout(30):
                await rng.choice(asks)()
    assert sum(venue.tally.malformed.values()) > count // 10


def without_limits(venue: BinanceVenue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits have tests of their own."""
    venue.limits.windows.clear()
    monkeypatch.setattr(venue.limits, "adopt", lambda _rules: None)
    monkeypatch.setattr(venue.limits, "block", lambda _seconds: None)


async def fuzz_ws_api(venue: BinanceVenue, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage every frame that answers an order over the WebSocket API."""
    rng = random.Random(20_240_811)
    api = venue._ws_api
    assert api is not None
    connection = api.keeper.connection
    assert connection is not None
    order: Json = {"orderId": 7, "symbol": BTC, "status": "NEW", "clientOrderId": "x",
                   "side": "BUY", "type": "MARKET", "origQty": "0.01"}  # fmt: skip
    algo: Json = {"algoId": 7, "clientAlgoId": "x", "symbol": BTC, "algoStatus": "NEW",
                  "orderType": "STOP_MARKET", "side": "SELL", "quantity": "0.01"}  # fmt: skip
    limits = [{"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300,
               "count": 5}]  # fmt: skip
    fuzzed = 0

    async def answered(number: int, request: Json, name: str) -> Any:
        nonlocal fuzzed
        fuzzed += 1
        answer: Json = {"id": number, "status": 200, "rateLimits": limits,
                        "result": algo if "algo" in request["method"] else order}  # fmt: skip
        if rng.random() < 0.3:
            answer = {"id": number, "status": rng.choice((400, 401, 418, 429, 500, 503)),
                      "error": {"code": rng.choice((-1000, -1021, -2011, -1106)), "msg": "no",
                                "data": {"serverTime": START, "retryAfter": START + 5}},
                      "rateLimits": limits}  # fmt: skip
        waiting = asyncio.get_running_loop().create_future()
        connection._answers[number] = waiting
        before = sum(venue.tally.malformed.values()) + venue.tally.events["answers_too_late"]
        api._on_frame(connection, hurt([json.dumps(answer).encode()], rng))
        del connection._answers[number]
        more = sum(venue.tally.malformed.values()) + venue.tally.events["answers_too_late"] - before
        assert more == (not waiting.done()), "a frame is an answer, or it is counted"
        if not waiting.done():
            raise OutcomeUnknown(f"{name} was not answered")
        return waiting.result()

    monkeypatch.setattr(connection, "ask", answered)
    monkeypatch.setattr(api.keeper, "renew", lambda _reason: None)
    without_limits(venue, monkeypatch)
    asks = [ask for n, ask in enumerate(requests(venue)) if n in (2, 4, 6, 8, 9)]
    while fuzzed < count:
        api._is_suspect = False
        venue._execution._cancelling.clear()  # type: ignore[union-attr]
        async with asyncio.timeout(30):
            await rng.choice(asks)()
    assert sum(venue.tally.malformed.values()) > count // 20


async def refetch(venue: BinanceVenue) -> None:
    venue._instruments.clear()
    await venue.instruments([BTC])


@pytest.fixture
def frames(payloads: Path, api: Json) -> dict[str, list[bytes]]:
    """What the streams bring, by the kind of stream."""
    of_account = user_models(api)
    user = [message for model, _, message in samples(api) if model in of_account]
    market = [message for model, _, message in samples(api) if model not in of_account]
    return {
        "market": frames_of(payloads / "market_data_json", market),
        "user": frames_of(payloads / "user_data_json", user),
    }


async def fuzz_all(
    exchange: FakeExchange, connect: Connect, frames: dict[str, list[bytes]], count: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Four fifths of ``count`` go to the streams, the rest to answers of both ways."""
    logging.disable(logging.ERROR)
    try:
        for fuzz, kind in ((fuzz_market, "market"), (fuzz_account, "user")):
            venue, heard = await connect(stale_after_s=1e6)
            without_background(venue)
            await fuzz(venue, heard, frames[kind], count * 40 // 100)
            assert len(heard.malformed) == sum(venue.tally.malformed.values()), kind
        quick: Json = {"stale_after_s": 1e6, "backoff_min_s": 1e-6, "backoff_max_s": 1e-6,
                       "confirm_after_s": 1e-6}  # fmt: skip
        venue, heard = await connect(**quick, orders_over_ws=True)
        await heard.until(lambda: venue.tally.events["order_connected"] > 0)
        without_background(venue)
        with monkeypatch.context() as patch:
            await fuzz_ws_api(venue, count // 10, patch)
        exchange.weight = 0  # what went over REST meanwhile
        venue, _ = await connect(**quick)
        without_background(venue)
        await fuzz_rest(venue, exchange, count // 10, monkeypatch)
    finally:
        logging.disable(logging.NOTSET)


async def test_20_000_damaged_frames_and_answers(
    exchange: FakeExchange, connect: Connect, frames: dict[str, list[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    await fuzz_all(exchange, connect, frames, 20_000, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
async def test_a_million_damaged_frames_and_answers(
    exchange: FakeExchange, connect: Connect, frames: dict[str, list[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    await fuzz_all(exchange, connect, frames, 1_000_000, monkeypatch)
