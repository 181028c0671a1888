"""A client of the sandbox that signs by itself, and small markets; shared by tests."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import aiohttp
import numpy as np
import pytest
from yarl import URL

from candlewick.data import Market
from candlewick.models import CandleTable, Instrument, MarginBracket
from candlewick.sandbox import Sandbox

Json = Any
SYMBOL = "BTCUSDT"
START = 1_704_067_200_000  # 2024-01-01 UTC
MINUTE = 60_000
BRACKETS = (
    MarginBracket(0.0, 50_000.0, 0.004, 0.0, 125),
    MarginBracket(50_000.0, 600_000.0, 0.005, 50.0, 100),
    MarginBracket(600_000.0, 1e9, 0.01, 3_050.0, 20),
)
INSTRUMENTS = {
    "BTCUSDT": Instrument(
        "BTCUSDT", 0.1, 0.001, 0.001, 1_000.0, 120.0, 100.0, base="BTC", brackets=BRACKETS
    ),
    "ETHUSDT": Instrument(
        "ETHUSDT", 0.01, 0.001, 0.001, 10_000.0, 2_000.0, 20.0, base="ETH", brackets=BRACKETS
    ),
}


class Refused(Exception):
    """The exchange has answered with an error."""

    def __init__(self, status: int, body: Json, headers: dict[str, str]) -> None:
        super().__init__(f"HTTP {status}: {body}")
        self.status = status
        self.code = body.get("code", 0)
        self.message = body.get("msg", "")
        self.headers = headers


class Listener:
    """One WebSocket; collects what it hears."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.heard: list[Json] = []

    async def next(self, picks: Callable[[Json], bool] = lambda message: True) -> Json:
        """The next message that is picked; raises ConnectionError at the end."""
        async with asyncio.timeout(10):
            while True:
                message = await self.socket.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    raise ConnectionError(message.type, message.data)
                try:
                    decoded = json.loads(message.data)
                except ValueError:
                    decoded = {"garbage": message.data}
                self.heard.append(decoded)
                if picks(decoded):
                    return decoded

    async def event(self, name: str) -> Json:
        """The next event of a kind, without the frame around it."""
        found = await self.next(lambda m: m.get("data", m).get("e") == name)
        return found.get("data", found)

    async def ask(self, method: str, params: Json, identity: int | str = 1) -> Json:
        """Send a request and wait for its answer."""
        await self.socket.send_json({"method": method, "params": params, "id": identity})
        return await self.next(lambda m: "id" in m and ("result" in m or "error" in m))

    async def until(self, sentinel: Callable[[Json], bool]) -> list[Json]:
        """All messages up to one, itself included."""
        first = len(self.heard)
        await self.next(sentinel)
        return self.heard[first:]


class Client:
    """Speaks to a sandbox; signs as PROTOCOL says, without a line of the server's code."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session
        self.key = sandbox.api_key
        self.secret = sandbox.api_secret
        self.headers: dict[str, str] = {}

    def sign(self, payload: str) -> str:
        return hmac.new(self.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()

    def signed(self, params: dict[str, Any]) -> str:
        """The query of a signed request."""
        whole = {"timestamp": time.time_ns() // 1_000_000, **params}
        query = "&".join(f"{name}={value}" for name, value in whole.items())
        return f"{query}&signature={self.sign(query)}"

    async def raw(self, method: str, path: str, query: str = "", body: str = "") -> Json:
        """Send a request as it is."""
        url = URL(f"{self.sandbox.rest_url}{path}?{query}", encoded=True)
        headers = {"X-MBX-APIKEY": self.key} if self.key else {}
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        async with self.session.request(method, url, data=body or None, headers=headers) as answer:
            self.headers = dict(answer.headers)
            decoded = await answer.json()
            if answer.status != 200:
                raise Refused(answer.status, decoded, self.headers)
            return decoded

    async def ask(self, method: str, path: str, **params: Any) -> Json:
        """A signed request below /fapi."""
        return await self.raw(method, f"/fapi{path}", self.signed(params))

    async def public(self, path: str, **params: Any) -> Json:
        """A request without a key."""
        query = "&".join(f"{name}={value}" for name, value in params.items())
        return await self.raw("GET", f"/fapi{path}", query)

    async def refused(self, method: str, path: str, **params: Any) -> int:
        """The error code that a request is refused with."""
        with pytest.raises(Refused) as caught:
            await self.ask(method, path, **params)
        return int(caught.value.code)

    async def buy(self, quantity: str, **params: Any) -> Json:
        """Buy at market."""
        return await self.market("BUY", quantity, **params)

    async def sell(self, quantity: str, **params: Any) -> Json:
        """Sell at market."""
        return await self.market("SELL", quantity, **params)

    async def market(self, side: str, quantity: str, **params: Any) -> Json:
        return await self.ask(
            "POST", "/v1/order", **{"symbol": SYMBOL, "side": side, "type": "MARKET",
                                    "quantity": quantity, **params},
        )  # fmt: skip

    async def limit(self, side: str, quantity: str, price: str, **params: Any) -> Json:
        return await self.ask(
            "POST", "/v1/order", **{"symbol": SYMBOL, "side": side, "type": "LIMIT",
                                    "quantity": quantity, "price": price, "timeInForce": "GTC",
                                    **params},
        )  # fmt: skip

    async def algo(self, side: str, kind: str, **params: Any) -> Json:
        return await self.ask(
            "POST", "/v1/algoOrder", **{"algoType": "CONDITIONAL", "symbol": SYMBOL, "side": side,
                                        "type": kind, **params},
        )  # fmt: skip

    async def position(self, side: str = "BOTH") -> float:
        rows = await self.ask("GET", "/v2/positionRisk", symbol=SYMBOL)
        return next(float(r["positionAmt"]) for r in rows if r["positionSide"] == side)

    async def listen(self, path: str) -> Listener:
        """Open a WebSocket."""
        return Listener(await self.session.ws_connect(self.sandbox.ws_url + path))

    async def user_stream(self, combined: bool = False) -> Listener:
        """Open the user stream."""
        key = (await self.raw("POST", "/fapi/v1/listenKey"))["listenKey"]
        path = f"/private/stream?streams={key}" if combined else f"/private/ws?listenKey={key}"
        return await self.listen(path)

    async def control(self, method: str, path: str = "", **body: Any) -> Json:
        """One of the sandbox's own endpoints."""
        url = f"{self.sandbox.rest_url}/sandbox{path}"
        async with self.session.request(method, url, json=body or None) as answer:
            decoded = await answer.json()
            if answer.status != 200:
                raise Refused(answer.status, decoded, {})
            return decoded


def table_of(
    rows: list[tuple[float, float, float, float]], symbol: str = SYMBOL, start: int = START
) -> CandleTable:
    """One-minute candles of (open, high, low, close)."""
    columns = np.array(rows, dtype=float).T
    times = start + MINUTE * np.arange(len(rows))
    return CandleTable(symbol, "1m", times, *columns, np.full(len(rows), 12.5))


def flat(count: int, price: float = 50_000.0, symbol: str = SYMBOL) -> CandleTable:
    """Candles that do not move."""
    return table_of([(price, price, price, price)] * count, symbol)


def market_of(*tables: CandleTable) -> Market:
    return Market(tables, {t.symbol: INSTRUMENTS[t.symbol] for t in tables}, "made for a test")


class Running:
    """A started sandbox and one client of it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    async def __aenter__(self) -> Client:
        await self.sandbox.start()
        self._session = aiohttp.ClientSession()
        return Client(self.sandbox, self._session)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()
        await self.sandbox.stop()
