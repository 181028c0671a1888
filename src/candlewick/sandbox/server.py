"""`Sandbox`: a server that speaks the protocol of Binance USDⓈ-M futures, on a loopback port."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

from aiohttp import web

from candlewick.data import Market, guess_instrument
from candlewick.errors import ConfigError
from candlewick.models import INTERVAL_MS, Candle, Instrument
from candlewick.sandbox.conductor import Conductor, Moved
from candlewick.sandbox.control import ControlSide
from candlewick.sandbox.faults import Fault, Faults
from candlewick.sandbox.gate import Gate
from candlewick.sandbox.http import HttpSide
from candlewick.sandbox.keys import Client
from candlewick.sandbox.settings import SandboxSettings
from candlewick.sandbox.sockets import SocketSide
from candlewick.sandbox.source import (
    Step,
    capture_steps,
    read_capture,
    shift_for,
    shifted,
    steps_of,
)
from candlewick.sandbox.world import World
from candlewick.sandbox.ws_api import WsApi

__all__ = ["Sandbox"]

_CAPTURE_INTERVAL = "1m"
_KEEPALIVE_S = 75.0


class Sandbox:
    """The exchange in a box.

    Args:
        market: candles, with what can be traded.
        settings: pace, rules, address.
        faults: what goes wrong from the start.

    Use it as an async context manager, or call `start` and `stop`. `rest_url` and `ws_url` are
    what a client is pointed at, ``api_key`` and ``api_secret`` are the first account's.
    """

    def __init__(
        self,
        market: Market,
        settings: SandboxSettings | None = None,
        faults: Iterable[Fault] = (),
    ) -> None:
        settings = settings or SandboxSettings()
        shortest = min(len(table) for table in market.tables)
        if settings.history >= shortest:
            raise ConfigError(
                f"history {settings.history} leaves no candle to play: there are {shortest}"
            )
        first = min(int(table.open_time[settings.history]) for table in market.tables)
        length = INTERVAL_MS[market.interval]
        shift = shift_for(first, settings, length, time.time_ns() // 1_000_000)
        history = (
            shifted(candle, shift)
            for table in market.tables
            for candle in table[: settings.history]
        )
        self._build(
            settings, market.instruments, market.interval, steps_of(market, settings, shift),
            first + shift, history, faults,
        )  # fmt: skip

    @classmethod
    def of_capture(
        cls,
        path: str | Path,
        settings: SandboxSettings | None = None,
        faults: Iterable[Fault] = (),
        *,
        interval: str = _CAPTURE_INTERVAL,
    ) -> Sandbox:
        """A sandbox that replays the trades of a raw capture; they make the candles."""
        settings = settings or SandboxSettings()
        trades = read_capture(path)
        names = dict.fromkeys(trade.symbol for trade in trades)
        instruments = {name: guess_instrument(name) for name in names}
        first = trades[0].time
        length = INTERVAL_MS[interval]
        shift = shift_for(first, settings, length, time.time_ns() // 1_000_000)
        sandbox = cls.__new__(cls)
        sandbox._build(
            settings, instruments, interval, capture_steps(trades, interval, shift),
            first + shift, (), faults,
        )  # fmt: skip
        return sandbox

    def _build(
        self,
        settings: SandboxSettings,
        instruments: dict[str, Instrument],
        interval: str,
        steps: Iterator[Step],
        first_time: int,
        history: Iterable[Candle],
        faults: Iterable[Fault],
    ) -> None:
        self.settings = settings
        world = self.world = World(settings, instruments, interval, Faults(settings.seed, faults))
        for candle in history:
            world.markets[candle.symbol].remember(candle)
        if settings.start == "data":
            world.count_from(first_time * 1_000)
        self._conductor = Conductor(world, steps, first_time)
        self._first = world.add_client(settings.api_key, settings.api_secret)
        self._gate = Gate(world)
        self._api = WsApi(world, self._gate)
        self._runner: web.AppRunner | None = None
        self._address = ("", 0)

    # -- start and stop ----------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, and let the market run.

        Raises:
            ConfigError: the address cannot be used.
        """
        app = web.Application()
        HttpSide(self.world, self._gate).add_routes(app)
        SocketSide(self.world, self._api).add_routes(app)
        ControlSide(self).add_routes(app)
        runner = self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=_KEEPALIVE_S, shutdown_timeout=0.5
        )
        await runner.setup()
        settings = self.settings
        try:
            await web.TCPSite(runner, settings.host, settings.port).start()
        except OSError as error:
            await runner.cleanup()
            self._runner = None
            raise ConfigError(
                f"the sandbox cannot listen on {settings.host}:{settings.port}: {error.strerror}"
            ) from error
        self._address = runner.addresses[0][:2]
        self._conductor.start()

    async def stop(self) -> None:
        """End the market, all connections, and the server."""
        await self._conductor.stop()
        self._gate.stop()
        self._api.stop()
        for connection in tuple(self.world.hub.connections):
            connection.cut()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Sandbox:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    # -- where it is -------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        """The address it listens on, as it goes into a URL."""
        host = self._address[0]
        return f"[{host}]" if ":" in host else host

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._address[1]

    @property
    def rest_url(self) -> str:
        """Base URL of the REST API."""
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """Base URL of the streams; the WebSocket API is at ``/ws-fapi/v1`` below it."""
        return f"ws://{self.host}:{self.port}"

    @property
    def api_key(self) -> str:
        """API key of the first account."""
        return self._first.api_key

    @property
    def api_secret(self) -> str:
        """Secret of the first account."""
        return self._first.secret

    # -- what a test may do ------------------------------------------------------------------------

    @property
    def first(self) -> Client:
        """The first account."""
        return self._first

    @property
    def has_ended(self) -> bool:
        """True when the market has no more data."""
        return self._conductor.ended.is_set()

    async def ended(self) -> None:
        """Wait until the market has no more data."""
        await self._conductor.ended.wait()

    async def step(self) -> Moved:
        """Move the market on by one step; see `Conductor.step`."""
        return await self._conductor.step()

    def rest(self) -> None:
        """End the market here; see `Conductor.rest`."""
        self._conductor.rest()

    async def read(self) -> None:
        """Wait until every client has read what it was sent.

        A client that answers a ping has read what came before it.
        """
        await self.world.hub.read()

    @property
    def has_unread(self) -> bool:
        """True while some client may not have read all that it was sent."""
        return self.world.hub.has_unread

    @property
    def now(self) -> int:
        """Market time, UTC ms."""
        return self.world.now

    def cut(self, route: str = "") -> int:
        """End the connections of a route (public, market, private, api), or all; returns how many.

        They end without a close frame, as when a cable is pulled.
        """
        found = self.world.hub.pick(lambda c: not route or c.route == route)
        for connection in found:
            connection.cut()
        return len(found)

    def expire_listen_keys(self) -> int:
        """End all listen keys; returns how many."""
        keys = list(self.world.listen_keys.values())
        for key in keys:
            self.world.expire_key(key)
        return len(keys)
