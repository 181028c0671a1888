"""The WebSocket side of the sandbox: market streams, user stream, WebSocket API."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from candlewick.sandbox.connections import Connection
from candlewick.sandbox.http import abort
from candlewick.sandbox.world import World
from candlewick.sandbox.ws_api import WsApi

__all__ = ["SocketSide"]

_PATH = re.compile(r"^/(?:(public|market|private)/)?(ws|stream)(?:/(.*))?$")
_encode = msgspec.json.Encoder().encode
_LARGEST = 1 << 20


class _Request(msgspec.Struct):
    """``{"method": "SUBSCRIBE", "params": [...], "id": 1}``."""

    method: str = ""
    params: Any = None
    id: int | str | None = None


class _Refused(Exception):
    """A request that is answered with an error."""


class SocketSide:
    """Serves WebSocket connections.

    Args:
        world: what they hear of.
        api: answers on the path of the WebSocket API.
    """

    def __init__(self, world: World, api: WsApi) -> None:
        self._world = world
        self._api = api
        self._decode = msgspec.json.Decoder(_Request).decode

    def add_routes(self, app: web.Application) -> None:
        """Serve the three routes, the paths without one, and the WebSocket API."""
        for prefix in ("", "/public", "/market", "/private"):
            for kind in ("ws", "stream"):
                app.router.add_get(f"{prefix}/{kind}", self._stream)
                app.router.add_get(f"{prefix}/{kind}/{{name:.*}}", self._stream)
        app.router.add_get("/ws-fapi/v1", self._serve_api)

    # -- the paths ---------------------------------------------------------------------------------

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        found = _PATH.match(request.path)
        assert found is not None, "the router lets only such paths in"
        route, kind, rest = found[1] or "", found[2], found[3] or ""
        if route == "private" and self._world.faults.refuses_user_stream():
            raise web.HTTPServiceUnavailable
        connection, socket = await self._open(request, route, kind == "stream")
        names = [*rest.split("/"), *request.query.get("streams", "").split("/")]
        key = request.query.get("listenKey", "")
        self._listen(connection, [name for name in (*names, key) if name])
        return await self._hear(connection, socket, lambda text: self._command(connection, text))

    async def _serve_api(self, request: web.Request) -> web.StreamResponse:
        connection, socket = await self._open(request, "api", False)
        return await self._hear(
            connection, socket, lambda text: self._api.take(connection, request.remote or "", text)
        )

    async def _open(
        self, request: web.Request, route: str, combined: bool
    ) -> tuple[Connection, web.WebSocketResponse]:
        socket = web.WebSocketResponse(autoping=False, max_msg_size=_LARGEST, compress=False)
        await socket.prepare(request)
        world = self._world
        connection = Connection(
            socket, route, combined, world.faults, world.settings.queue,
            lambda: abort(request), self._expire_keys,
        )  # fmt: skip
        world.hub.connections[connection] = None
        return connection, socket

    def _expire_keys(self, connection: Connection) -> None:
        for name in tuple(connection.listen_keys):
            key = self._world.listen_keys.get(name)
            if key is not None:
                self._world.expire_key(key)

    # -- the life of a connection ------------------------------------------------------------------

    async def _hear(
        self,
        connection: Connection,
        socket: web.WebSocketResponse,
        take: Callable[[str], None],
    ) -> web.WebSocketResponse:
        """Read until the end; ping, and cut what is too old or does not answer."""
        loop = asyncio.get_running_loop()
        settings = self._world.settings
        end = loop.call_later(settings.connection_s, connection.cut)
        heart = asyncio.create_task(self._ping(connection, socket), name="sandbox:ping")
        budget = _Budget(settings.limits.messages_1s if connection.route != "api" else 0)
        try:
            async for message in socket:
                if connection.stalled or connection.deaf:
                    continue
                if message.type is WSMsgType.TEXT:
                    if not budget.allows():
                        await connection.close(WSCloseCode.POLICY_VIOLATION, b"Too many requests")
                        break
                    take(message.data)
                else:
                    await self._control(connection, socket, message)
        finally:
            end.cancel()
            heart.cancel()
            self._world.hub.leave(connection)
            await connection.stop()
        return socket

    @staticmethod
    async def _control(
        connection: Connection, socket: web.WebSocketResponse, message: WSMessage
    ) -> None:
        if message.type is WSMsgType.PING:
            await socket.pong(message.data)
        elif message.type is WSMsgType.PONG:
            connection.ponged(bytes(message.data))

    async def _ping(self, connection: Connection, socket: web.WebSocketResponse) -> None:
        settings = self._world.settings
        while True:
            await asyncio.sleep(settings.ping_s)
            if connection.stalled:
                continue
            silent = time.monotonic() - connection.heard
            if silent > settings.ping_s + settings.pong_s:
                connection.cut()
                return
            await socket.ping(str(self._world.server_ms).encode())

    # -- subscriptions -----------------------------------------------------------------------------

    def _listen(self, connection: Connection, names: list[str]) -> None:
        """Add streams; on the private route they are listen keys."""
        if connection.route == "private":
            known = self._world.listen_keys
            connection.listen_keys.update(name for name in names if name in known)
            connection.streams.update(dict.fromkeys(names))
            return
        self._world.hub.subscribe(connection, names)

    def _command(self, connection: Connection, text: str) -> None:
        identity: int | str | None = None
        try:
            request = self._decode(text)
            identity = request.id
            answer = {"result": self._carry_out(connection, request), "id": identity}
        except msgspec.DecodeError as error:
            answer = {"error": {"code": 3, "msg": f"Invalid JSON: {error}"}}
        except _Refused as error:
            answer = {"error": {"code": 2, "msg": f"Invalid request: {error}"}, "id": identity}
        connection.put(_encode(answer))

    def _carry_out(self, connection: Connection, request: _Request) -> Any:
        match request.method:
            case "SUBSCRIBE":
                names = self._names(request)
                most = self._world.settings.limits.streams
                if most and len({*connection.streams, *names}) > most:
                    raise _Refused(f"at most {most} streams on a connection")
                self._listen(connection, names)
                return None
            case "UNSUBSCRIBE":
                names = self._names(request)
                connection.listen_keys.difference_update(names)
                self._world.hub.unsubscribe(connection, names)
                return None
            case "LIST_SUBSCRIPTIONS":
                return list(connection.streams)
            case "SET_PROPERTY" if request.params == ["combined", True]:
                connection.combined = True
                return None
            case "SET_PROPERTY" if request.params == ["combined", False]:
                connection.combined = False
                return None
            case "GET_PROPERTY" if request.params == ["combined"]:
                return connection.combined
        raise _Refused(f"unknown variant {request.method!r}")

    @staticmethod
    def _names(request: _Request) -> list[str]:
        names = request.params
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise _Refused("params must be a list of stream names")
        return names


class _Budget:
    """So many messages a second; 0 is no limit."""

    __slots__ = ("_count", "_limit", "_second")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._second = 0
        self._count = 0

    def allows(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        return not self._limit or self._count <= self._limit
