"""The HTTP side of the sandbox: requests in, JSON and the exchange's headers out."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from candlewick.sandbox.calls import Endpoint, Security
from candlewick.sandbox.faults import Fault, FaultKind
from candlewick.sandbox.gate import ROUTES, Gate, refusal_of
from candlewick.sandbox.keys import plain_params, signed_params
from candlewick.sandbox.limits import Throttled
from candlewick.sandbox.wire import ApiError
from candlewick.sandbox.world import World

__all__ = ["HttpSide", "abort"]

_encode = msgspec.json.Encoder().encode
_NO_FAULT = frozenset((FaultKind.SLOW, FaultKind.LOSE_REPLY))


def abort(request: web.Request) -> None:
    """End the TCP connection of a request at once."""
    if request.transport is not None:
        request.transport.abort()


class HttpSide:
    """Answers REST requests."""

    def __init__(self, world: World, gate: Gate) -> None:
        self._world = world
        self._gate = gate

    def add_routes(self, app: web.Application) -> None:
        """Serve every path that nothing else serves: what is not known is refused in JSON too."""
        app.router.add_route("*", "/{rest:.*}", self._handle)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        query = request.raw_path.partition("?")[2]
        body = (await request.read()).decode("utf-8", "replace")
        headers: dict[str, str] = {}
        fault: Fault | None = None
        try:
            endpoint = ROUTES.get((request.method, request.path))
            if endpoint is None:
                raise ApiError(-5000, path=request.path, method=request.method)
            params = plain_params(query, body)
            used = self._world.weights.use(request.remote or "", endpoint.cost(params))
            headers["X-MBX-USED-WEIGHT-1M"] = str(used)
            fault = self._world.faults.request(f"{request.method} {request.path}", "rest", params)
            if fault is not None and fault.kind not in _NO_FAULT:
                return self._refuse_by(fault, request, headers)
            api_key = request.headers.get("X-MBX-APIKEY", "")
            answer = self._gate.carry_out(
                endpoint, params, api_key,
                lambda client: signed_params(client.secret, query, body),
            )  # fmt: skip
            self._count(endpoint, api_key, headers)
        except ApiError as error:
            return self._refuse(error, headers)
        if fault is not None:
            return await self._answer_badly(fault, request, answer, headers)
        return self._json(answer, 200, headers)

    def _count(self, endpoint: Endpoint, api_key: str, headers: dict[str, str]) -> None:
        client = self._world.clients.get(api_key)
        if endpoint.orders and endpoint.security == Security.SIGNED and client is not None:
            short, long = client.counts.used()
            headers["X-MBX-ORDER-COUNT-10S"] = str(short)
            headers["X-MBX-ORDER-COUNT-1M"] = str(long)

    def _refuse_by(
        self, fault: Fault, request: web.Request, headers: dict[str, str]
    ) -> web.StreamResponse:
        if fault.kind is FaultKind.LOSE_REQUEST:
            abort(request)
            return web.Response()
        return self._refuse(refusal_of(fault), headers)

    async def _answer_badly(
        self, fault: Fault, request: web.Request, answer: Any, headers: dict[str, str]
    ) -> web.StreamResponse:
        """What was asked has been done; its answer comes late, wrong, or not at all."""
        if fault.kind is FaultKind.SLOW:
            await asyncio.sleep(fault.delay_ms / 1e3)
            return self._json(answer, 200, headers)
        if fault.code:
            return self._refuse(refusal_of(fault), headers)
        abort(request)
        return web.Response()

    def _refuse(self, error: ApiError, headers: dict[str, str]) -> web.Response:
        if isinstance(error, Throttled):
            headers["Retry-After"] = str(error.retry_after_s)
        return self._json(error.as_json(), error.status, headers)

    @staticmethod
    def _json(answer: Any, status: int, headers: dict[str, str]) -> web.Response:
        return web.Response(
            body=_encode(answer), status=status, headers=headers, content_type="application/json"
        )
