"""What the venue costs beside a client that does nothing but the one thing that is measured."""

from __future__ import annotations

import asyncio
import hmac
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import uvloop
from yarl import URL

from benchmarks.rows import Row
from benchmarks.timing import median, percentile, progress
from candlewick.audit import AuditLogger
from candlewick.live import SystemSettings
from candlewick.live.assembly import network_system
from candlewick.live.cleanup import CleanupSettings
from candlewick.live.network import NetworkSettings
from candlewick.models import Candle, Event, EventKind, Order, OrderType, Side
from candlewick.risk import RiskSettings
from candlewick.strategies import Strategy
from candlewick.venues.binance import ApiKeys, BinanceSettings, BinanceVenue

_FRAMES = 512 * 600
_ROUNDS = 1_500
_TURNS = 3
_KEY, _SECRET = "key-of-the-bench", "secret-of-the-bench"
_STREAM = "btcusdt@kline_1m"


class Bar(msgspec.Struct):
    """What a bare client reads of a candle."""

    t: int
    o: str
    c: str
    h: str
    l: str  # noqa: E741
    v: str
    x: bool


class Bare(msgspec.Struct):
    """What a bare client reads of an event."""

    E: int
    s: str
    k: Bar


class BareFrame(msgspec.Struct):
    """What a bare client reads of a frame."""

    data: Bare | None = None


class Server:
    """The server's process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.loopback_exchange"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    @property
    def settings(self) -> BinanceSettings:
        at = BinanceSettings.at(f"http://127.0.0.1:{self.port}", f"ws://127.0.0.1:{self.port}")
        return msgspec.structs.replace(at, stale_after_s=1e6, confirm_after_s=1e6)

    def stop(self) -> None:
        self._process.communicate()


# -- messages a second -------------------------------------------------------------------------


async def _bare_messages(server: Server) -> float:
    decoder = msgspec.json.Decoder(BareFrame)
    async with aiohttp.ClientSession() as session:
        socket = await session.ws_connect(f"ws://127.0.0.1:{server.port}/market/stream")
        await socket.send_json({"method": "SUBSCRIBE", "params": [_STREAM], "id": 1})
        await socket.receive()
        await _start(session, server, f"frames={_FRAMES}")
        begun = time.perf_counter()
        while True:
            event = decoder.decode((await socket.receive()).data).data
            if event is not None and event.k.x:
                break
        taken = time.perf_counter() - begun
        await socket.close()
    return _FRAMES / taken


async def _venue_messages(server: Server) -> float:
    venue = BinanceVenue(server.settings, None)
    over = asyncio.Event()
    prices = 0

    def publish(event: Event) -> None:
        nonlocal prices
        if event.kind is EventKind.PRICE_UPDATED:
            prices += 1
        elif event.kind is EventKind.CANDLE_CLOSED:
            over.set()

    await venue.connect(publish, ["BTCUSDT"], "1m")
    async with aiohttp.ClientSession() as session:
        await _start(session, server, f"frames={_FRAMES}")
        begun = time.perf_counter()
        await over.wait()
        taken = time.perf_counter() - begun
    await venue.close()
    assert prices == _FRAMES, f"{prices} of {_FRAMES} messages were told"
    return _FRAMES / taken


async def _start(session: aiohttp.ClientSession, server: Server, what: str) -> None:
    async with session.post(f"http://127.0.0.1:{server.port}/bench?{what}") as answer:
        await answer.read()


# -- frame in to order out ---------------------------------------------------------------------

Rounds = Callable[[Server], Awaitable[list[int]]]


@asynccontextmanager
async def _rounds(server: Server) -> Any:
    """Play the rounds; what it yields returns the server's figures when all orders are there."""
    async with aiohttp.ClientSession() as session:

        async def figures(start: bool = True) -> list[int]:
            if start:
                await _start(session, server, f"rounds={_ROUNDS}")
            while True:
                await asyncio.sleep(0.1)
                async with session.get(f"http://127.0.0.1:{server.port}/bench") as answer:
                    taken: list[int] = (await answer.json())["taken"]
                if len(taken) >= _ROUNDS:
                    return taken

        yield figures


async def _echo(server: Server, *, over_ws: bool) -> list[int]:
    """The hand-written client: a frame comes, an order goes, nothing else."""
    base = f"127.0.0.1:{server.port}"
    decoder = msgspec.json.Decoder(BareFrame)
    number = 0
    async with _rounds(server) as figures, aiohttp.ClientSession() as session:
        market = await session.ws_connect(f"ws://{base}/market/stream")
        await market.send_json({"method": "SUBSCRIBE", "params": [_STREAM], "id": 1})
        await market.receive()
        api = await session.ws_connect(f"ws://{base}/ws-fapi/v1")

        async def over_rest() -> None:
            query = (
                f"symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.010&newClientOrderId=echo-{number}"
                f"&newOrderRespType=ACK&recvWindow=3000&timestamp={time.time_ns() // 1_000_000}"
            )
            signature = hmac.digest(_SECRET.encode(), query.encode(), "sha256").hex()
            url = URL(f"http://{base}/fapi/v1/order?{query}&signature={signature}", encoded=True)
            async with session.post(url, headers={"X-MBX-APIKEY": _KEY}) as answer:
                await answer.read()

        async def over_socket() -> None:
            params: dict[str, Any] = {
                "apiKey": _KEY, "newClientOrderId": f"echo-{number}", "newOrderRespType": "ACK",
                "quantity": "0.010", "recvWindow": 3000, "side": "BUY", "symbol": "BTCUSDT",
                "timestamp": time.time_ns() // 1_000_000, "type": "MARKET",
            }  # fmt: skip
            payload = "&".join(f"{name}={value}" for name, value in params.items())
            params["signature"] = hmac.digest(_SECRET.encode(), payload.encode(), "sha256").hex()
            request = {"id": number, "method": "order.place", "params": params}
            await api.send_str(msgspec.json.encode(request).decode())
            await api.receive()

        async def serve() -> None:
            nonlocal number
            while True:
                event = decoder.decode((await market.receive()).data).data
                if event is not None and event.k.x:
                    number += 1
                    await (over_socket() if over_ws else over_rest())

        serving = asyncio.create_task(serve())
        taken: list[int] = await figures()
        serving.cancel()
    return taken


async def _venue(server: Server, *, over_ws: bool) -> list[int]:
    """The venue, with a handler that sends an order for each candle."""
    settings = msgspec.structs.replace(server.settings, orders_over_ws=over_ws)
    venue = BinanceVenue(settings, ApiKeys(_KEY, _SECRET))
    tasks: set[asyncio.Task[None]] = set()
    number = 0

    def publish(event: Event) -> None:
        nonlocal number
        if event.kind is EventKind.CANDLE_CLOSED:
            number += 1
            order = Order(f"venue-{number}", "BTCUSDT", Side.BUY, OrderType.MARKET, 0.01)
            task = asyncio.create_task(venue.submit(order))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    await venue.connect(publish, ["BTCUSDT"], "1m")
    await _api_up(venue, over_ws)
    async with _rounds(server) as figures:
        taken: list[int] = await figures()
    await venue.close()
    return taken


async def _api_up(venue: BinanceVenue, over_ws: bool) -> None:
    while over_ws and not venue.tally.events["order_connected"]:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


class InAndOut(Strategy):
    """Buys at one candle and closes at the next."""

    def on_candle(self, candle: Candle) -> None:
        if self.position.is_flat:
            self.buy(size=0.01)
        else:
            self.close()


async def _system(server: Server, *, over_ws: bool) -> list[int]:
    """The whole system: bus, engine, risk, journal, sender, venue."""
    settings = msgspec.structs.replace(server.settings, orders_over_ws=over_ws)
    venue = BinanceVenue(settings, ApiKeys(_KEY, _SECRET))
    with tempfile.TemporaryDirectory() as directory:
        system = await network_system(
            venue, AuditLogger(Path(directory)), strategy=InAndOut(), name="in_and_out",
            symbols=["BTCUSDT"], interval="1m",
            risk=RiskSettings(max_orders_per_minute=0, default_stop=0.0),
            settings=SystemSettings(
                run_id="bench", tune_collector=True, cleanup=CleanupSettings(timeout_s=1.0)
            ),
            network=NetworkSettings(reconcile_every_s=1e6),
        )  # fmt: skip
        running = asyncio.create_task(system.run())
        while system.engine.symbols["BTCUSDT"].unknown:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await _api_up(venue, over_ws)
        async with _rounds(server) as figures:
            taken: list[int] = await figures()
        system.request_stop("measured")
        await running
    return taken


# -- rows --------------------------------------------------------------------------------------


def _with_server(measure: Callable[[Server], Awaitable[Any]]) -> Any:
    server = Server()
    try:
        return uvloop.run(_bounded(measure(server)))
    finally:
        server.stop()


async def _bounded(work: Awaitable[Any]) -> Any:
    async with asyncio.timeout(120):
        return await work


def _throughput() -> Row:
    progress("messages a second: venue and bare client, in turns")
    ours, bare = [], []
    for _ in range(_TURNS):
        ours.append(_with_server(_venue_messages))
        bare.append(_with_server(_bare_messages))
    return Row(
        area="venue", name="kline messages through parse and dispatch", value=median(ours),
        unit="1/s", peer="bare aiohttp + msgspec", peer_value=median(bare),
        note=f"{_FRAMES:,} open candles, checked and published",
    )  # fmt: skip


def _latency(over_ws: bool) -> list[Row]:
    way = "WebSocket API" if over_ws else "REST"
    progress(f"frame in to order bytes out over {way}, in turns")
    taken: dict[str, list[int]] = {"echo": [], "venue": [], "system": []}
    sides: dict[str, Rounds] = {
        "echo": lambda server: _echo(server, over_ws=over_ws),
        "venue": lambda server: _venue(server, over_ws=over_ws),
        "system": lambda server: _system(server, over_ws=over_ws),
    }
    for _ in range(_TURNS):
        for name, measure in sides.items():
            taken[name] += _with_server(measure)[50:]  # the first ones warm up
    rows = []
    for side, label in (("venue", "venue"), ("system", "engine, journal and venue")):
        for figure, fraction in (("median", 0.5), ("p99", 0.99)):
            rows.append(
                Row(
                    area="venue", name=f"{label}: frame in to order out, {way}, {figure}",
                    value=percentile(taken[side], fraction) / 1e3, unit="µs", better="lower",
                    peer="hand-written echo client",
                    peer_value=percentile(taken["echo"], fraction) / 1e3,
                    target_ratio=0.5 if figure == "median" else None,
                )
            )  # fmt: skip
    return rows


def run() -> list[Row]:
    return [_throughput(), *_latency(over_ws=True), *_latency(over_ws=False)]
