"""The sandbox's own endpoints, below /sandbox: its books, its faults, its market. Loopback only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from candlewick.errors import ConfigError
from candlewick.models import PositionSide
from candlewick.sandbox.faults import parse_faults
from candlewick.sandbox.keys import Client
from candlewick.sandbox.wire import ApiError

if TYPE_CHECKING:
    from candlewick.sandbox.server import Sandbox

__all__ = ["ControlSide"]

Handler = Callable[[dict[str, Any]], Awaitable[Any]]


class ControlSide:
    """Answers whoever tests against the sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def add_routes(self, app: web.Application) -> None:
        """Serve the control endpoints."""
        handlers: dict[tuple[str, str], Handler] = {
            ("GET", ""): self._books,
            ("GET", "/faults"): self._faults,
            ("POST", "/faults"): self._add_faults,
            ("DELETE", "/faults"): self._clear_faults,
            ("POST", "/step"): self._step,
            ("POST", "/accounts"): self._open_account,
            ("POST", "/deposit"): self._deposit,
            ("POST", "/mark"): self._mark,
            ("POST", "/adl"): self._deleverage,
            ("POST", "/cut"): self._cut,
            ("POST", "/expire-listen-keys"): self._expire,
        }
        for (method, path), handler in handlers.items():
            app.router.add_route(method, f"/sandbox{path}", self._served(handler))

    @staticmethod
    def _served(handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def serve(request: web.Request) -> web.Response:
            if not ip_address(request.remote or "::").is_loopback:
                raise web.HTTPForbidden(text="the control endpoints are for this machine only")
            try:
                body = await request.read()
                given = msgspec.json.decode(body, type=dict[str, Any]) if body else {}
                answer, status = await handler(given), 200
            except KeyError as error:
                answer, status = {"error": f"{error.args[0]!r} is missing"}, 400
            except (ApiError, ConfigError, msgspec.DecodeError, TypeError, ValueError) as error:
                answer, status = {"error": str(error)}, 400
            return web.Response(
                body=msgspec.json.encode(answer), status=status, content_type="application/json"
            )

        return serve

    async def _books(self, given: dict[str, Any]) -> Any:
        return self._sandbox.world.describe()

    async def _faults(self, given: dict[str, Any]) -> Any:
        return self._sandbox.world.faults.report()

    async def _add_faults(self, given: dict[str, Any]) -> Any:
        for fault in parse_faults(given.get("faults", [])):
            self._sandbox.world.add_fault(fault)
        return self._sandbox.world.faults.report()

    async def _clear_faults(self, given: dict[str, Any]) -> Any:
        self._sandbox.world.clear_faults()
        return []

    async def _step(self, given: dict[str, Any]) -> Any:
        return await self._sandbox.step()

    async def _open_account(self, given: dict[str, Any]) -> Any:
        client = self._sandbox.world.add_client(
            str(given.get("api_key", "")), str(given.get("api_secret", "")),
            float(given.get("balance", 0.0)),
        )  # fmt: skip
        return {"api_key": client.api_key, "api_secret": client.secret}

    async def _deposit(self, given: dict[str, Any]) -> Any:
        client = self._client(given)
        client.account.deposit(float(given["amount"]) if "amount" in given else 0.0)
        return {"balance": client.account.exchange.balance}

    def _client(self, given: dict[str, Any]) -> Client:
        """The account of an ``api_key``; the first one where none is named."""
        key = str(given.get("api_key", self._sandbox.api_key))
        client = self._sandbox.world.clients.get(key)
        if client is None:
            raise ConfigError("there is no account with this api_key")
        return client

    async def _mark(self, given: dict[str, Any]) -> Any:
        price = self._sandbox.world.set_mark(str(given["symbol"]), float(given["price"]))
        return {"mark": price}

    async def _deleverage(self, given: dict[str, Any]) -> Any:
        client = self._client(given)
        self._sandbox.world.deleverage(
            client, str(given["symbol"]), PositionSide(given.get("side", "BOTH")),
            float(given.get("quantity", 0.0)), float(given.get("price", 0.0)),
        )  # fmt: skip
        return msgspec.to_builtins(client.account.exchange.positions())

    async def _cut(self, given: dict[str, Any]) -> Any:
        return {"cut": self._sandbox.cut(str(given.get("route", "")))}

    async def _expire(self, given: dict[str, Any]) -> Any:
        return {"expired": self._sandbox.expire_listen_keys()}
