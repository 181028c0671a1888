"""Frames and answers that were damaged: nothing raises, nothing hangs, everything is counted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from candlewick.errors import VenueError
from candlewick.models import Order, OrderType, Side
from candlewick.venues.binance import BinanceVenue
from tests.venues.conftest import Connect, Heard
from tests.venues.fake_exchange import MINUTE, FakeExchange

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


def frames_of(folder: Path) -> list[bytes]:
    found = [file.read_bytes() for file in sorted(folder.glob("*.json"))]
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


async def fuzz_market(venue: BinanceVenue, heard: Heard, payloads: Path, count: int) -> None:
    assert venue._market is not None
    feed, connection = venue._market, venue._market.keeper.connection
    assert connection is not None
    rng = random.Random(20_240_808)
    frames = frames_of(payloads / "market_data_json") + [kline(n, n % 3 == 0) for n in range(60)]
    impossible = 0
    for n in range(count):
        before = venue.tally.malformed["market"]
        counted = all_counted(venue, "market", 0)
        feed._on_frame(connection, damaged(rng.choice(frames), rng))
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


async def fuzz_account(venue: BinanceVenue, heard: Heard, payloads: Path, count: int) -> None:
    assert venue._account is not None
    feed, connection = venue._account, venue._account.keeper.connection
    assert connection is not None
    rng = random.Random(20_240_809)
    frames = frames_of(payloads / "user_data_json")
    for n in range(count):
        counted = all_counted(venue, "account", 0)
        feed._on_frame(connection, damaged(rng.choice(frames), rng))
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


async def fuzz_rest(
    venue: BinanceVenue, exchange: FakeExchange, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damage every answer on its way; each request ends, with a result or a VenueError."""
    rng = random.Random(20_240_810)
    order = Order("cw-t-000001-entry", BTC, Side.BUY, OrderType.MARKET, 0.01)
    stop = Order(
        "cw-t-000002-stop", BTC, Side.SELL, OrderType.STOP_MARKET, 0.01, trigger_price=49_000.0,
        reduce_only=True,
    )  # fmt: skip
    exchange.position[BTC] = 1.0
    for n in range(5):
        exchange.list_kline(START + n * MINUTE, 100.0)
    real = venue.rest._exchange
    bodies: dict[str, tuple[int, bytes]] = {}

    async def recorded(endpoint: Any, params: Any) -> Any:
        status, headers, body = await real(endpoint, params)
        bodies[endpoint.path + endpoint.method] = (status, body)
        return status, headers, body

    monkeypatch.setattr(venue.rest, "_exchange", recorded)
    asks: list[Callable[[], Any]] = [
        lambda: venue.candles(BTC, "1m", 3), lambda: venue.snapshot(START),
        lambda: venue.submit(order), lambda: venue.query(order), lambda: venue.submit(stop),
        lambda: venue.query(stop), lambda: venue.cancel(stop, 0), lambda: refetch(venue),
    ]  # fmt: skip
    for ask in asks:
        await ask()
    fuzzed = 0

    async def altered(endpoint: Any, _params: Any) -> Any:
        nonlocal fuzzed
        fuzzed += 1
        status, body = bodies.get(endpoint.path + endpoint.method, (200, b"{}"))
        if rng.random() < 0.2:
            status = rng.choice((200, 400, 401, 404, 500, 503))
        if rng.random() < 0.3:
            body = json.dumps({"code": rng.choice((-1000, -1021, -2011, -2013, -2019, -1106)),
                               "msg": "no"}).encode()  # fmt: skip
            status = 400
        return status, {}, damaged(body, rng) if rng.random() < 0.8 else body

    monkeypatch.setattr(venue.rest, "_exchange", altered)
    venue.limits.windows.clear()  # the limits have tests of their own
    monkeypatch.setattr(venue.limits, "adopt", lambda _rules: None)
    while fuzzed < count:
        with contextlib.suppress(VenueError):
            async with asyncio.timeout(30):
                await rng.choice(asks)()
    assert sum(venue.tally.malformed.values()) > count // 10


async def refetch(venue: BinanceVenue) -> None:
    venue._instruments.clear()
    await venue.instruments([BTC])


@pytest.fixture
def payloads(shared_dir: Path) -> Path:
    found = shared_dir / "binance" / "payloads"
    if not found.is_dir():
        pytest.skip("no recorded messages beside the market data")
    return found


async def fuzz_all(
    exchange: FakeExchange, connect: Connect, payloads: Path, count: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A tenth of ``count`` goes to answers, the rest to frames."""
    logging.disable(logging.ERROR)
    try:
        for n, fuzz in enumerate((fuzz_market, fuzz_account)):
            venue, heard = await connect(stale_after_s=1e6)
            without_background(venue)
            await fuzz(venue, heard, payloads, count * 45 // 100)
            assert len(heard.malformed) == sum(venue.tally.malformed.values()), n
        venue, _ = await connect(
            stale_after_s=1e6, backoff_min_s=1e-6, backoff_max_s=1e-6, confirm_after_s=1e-6
        )
        without_background(venue)
        await fuzz_rest(venue, exchange, count // 10, monkeypatch)
    finally:
        logging.disable(logging.NOTSET)


async def test_20_000_damaged_frames_and_answers(
    exchange: FakeExchange, connect: Connect, payloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fuzz_all(exchange, connect, payloads, 20_000, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
async def test_a_million_damaged_frames_and_answers(
    exchange: FakeExchange, connect: Connect, payloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fuzz_all(exchange, connect, payloads, 1_000_000, monkeypatch)
