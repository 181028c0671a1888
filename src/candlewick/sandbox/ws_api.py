"""The WebSocket API: the same answers as over HTTP, as requests and answers on one connection."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from candlewick.sandbox import rest_account, rest_market, rest_settings, rest_trade
from candlewick.sandbox.calls import Call, Endpoint, Security
from candlewick.sandbox.connections import Connection
from candlewick.sandbox.faults import Fault, FaultKind
from candlewick.sandbox.gate import Gate, refusal_of
from candlewick.sandbox.keys import Client, sign
from candlewick.sandbox.limits import Throttled
from candlewick.sandbox.settings import told_limit
from candlewick.sandbox.wire import ApiError, Params
from candlewick.sandbox.world import World

__all__ = ["METHODS", "WsApi"]

_encode = msgspec.json.Encoder().encode
_SIGNED, _KEY = Security.SIGNED, Security.KEY


def _book_ticker(call: Call) -> Any:
    """As over HTTP, with the update id of the book."""
    found = rest_market.book_ticker(call)
    rows = found if isinstance(found, list) else [found]
    for row in rows:
        row["lastUpdateId"] = call.world.markets[row["symbol"]].update_id
    return found


def _account(call: Call) -> Any:
    """As over HTTP, with the break-even prices."""
    answer = rest_account.account(call)
    answer.pop("feeBurn")
    rows = rest_account.position_risk(call)
    for position, row in zip(answer["positions"], rows, strict=True):
        position["breakEvenPrice"] = row["breakEvenPrice"]
    return answer


def _account_v2(call: Call) -> Any:
    answer = rest_account.account_v3(call)
    for asset in answer["assets"]:
        asset["marginAvailable"] = True
    return answer


def _modify(call: Call) -> Any:
    answer = rest_trade.modify(call)
    answer.pop("pair")
    return answer


METHODS: dict[str, Endpoint] = {
    endpoint.path: endpoint
    for endpoint in (
        Endpoint("WS", "order.place", rest_trade.place, 0, _SIGNED, 1),
        Endpoint("WS", "order.modify", _modify, 0, _SIGNED, 1),
        Endpoint("WS", "order.cancel", rest_trade.cancel, 1, _SIGNED),
        Endpoint("WS", "order.status", rest_trade.query, 1, _SIGNED),
        Endpoint("WS", "algoOrder.place", rest_trade.place_algo, 0, _SIGNED, 1),
        Endpoint("WS", "algoOrder.cancel", rest_trade.cancel_algo, 1, _SIGNED),
        Endpoint("WS", "account.status", _account, 5, _SIGNED),
        Endpoint("WS", "v2/account.status", _account_v2, 5, _SIGNED),
        Endpoint("WS", "account.balance", rest_account.balance, 5, _SIGNED),
        Endpoint("WS", "v2/account.balance", rest_account.balance, 5, _SIGNED),
        Endpoint("WS", "account.position", rest_account.position_risk, 5, _SIGNED),
        Endpoint("WS", "v2/account.position", rest_account.position_risk_v3, 5, _SIGNED),
        Endpoint("WS", "userDataStream.start", rest_settings.start_key, 5, _KEY),
        Endpoint("WS", "userDataStream.ping", rest_settings.prolong_key, 1, _KEY),
        Endpoint("WS", "userDataStream.stop", rest_settings.close_key, 1, _KEY),
        Endpoint("WS", "depth", rest_market.depth, 10),
        Endpoint("WS", "ticker.price", rest_market.ticker_price, 1),
        Endpoint("WS", "ticker.book", _book_ticker, 2),
    )
}


class _Request(msgspec.Struct):
    id: int | str | None = None
    method: str = ""
    params: dict[str, msgspec.Raw] = {}


def _text(raw: msgspec.Raw) -> str:
    """A parameter as it is signed: a string without its quotes, all else as on the wire."""
    data = bytes(raw)
    if data[:1] == b'"':
        return msgspec.json.decode(data, type=str)
    return "" if data == b"null" else data.decode()


class WsApi:
    """Answers requests that come over a WebSocket."""

    def __init__(self, world: World, gate: Gate) -> None:
        self._world = world
        self._gate = gate
        self._decode = msgspec.json.Decoder(_Request).decode
        self._late: set[asyncio.TimerHandle] = set()

    def take(self, connection: Connection, address: str, text: str) -> None:
        """Answer one request."""
        try:
            request = self._decode(text)
            values = {name: _text(raw) for name, raw in request.params.items()}
        except (msgspec.DecodeError, UnicodeDecodeError):
            refused = ApiError(-1100, "Malformed request.")
            connection.put(_encode({"id": None, "status": 400, "error": refused.as_json()}))
            return
        fault = self._world.faults.request(f"WS {request.method}", "api", Params(values))
        if fault is not None and fault.kind is FaultKind.LOSE_REQUEST:
            connection.cut()
            return
        answer = self._answer(request, values, address, fault)
        if fault is not None and fault.kind is FaultKind.LOSE_REPLY and not fault.code:
            connection.cut()
        elif fault is not None and fault.kind is FaultKind.SLOW:
            self._put_later(connection, _encode(answer), fault.delay_ms / 1e3)
        else:
            connection.put(_encode(answer))

    def _answer(
        self, request: _Request, values: dict[str, str], address: str, fault: Fault | None
    ) -> dict[str, Any]:
        endpoint = METHODS.get(request.method)
        params = Params(values)
        answer: dict[str, Any] = {"id": request.id, "status": 200}
        limits: list[dict[str, Any]] = []
        try:
            if endpoint is None:
                raise ApiError(-1100, f"Unknown method '{request.method}'.")
            used = self._world.weights.use(address, endpoint.cost(params))
            limits.append(self._limit("REQUEST_WEIGHT", "MINUTE", 1, used))
            if fault is not None and fault.kind is FaultKind.HTTP_ERROR:
                raise refusal_of(fault)
            key = params.text("apiKey")
            answer["result"] = self._gate.carry_out(
                endpoint, params, key, lambda client: self._signed(client, values)
            )
            if endpoint.orders:
                limits = self._order_limits(key)
            if fault is not None and fault.kind is FaultKind.LOSE_REPLY and fault.code:
                raise refusal_of(fault)
        except ApiError as error:
            answer.pop("result", None)
            answer |= {"status": error.status, "error": error.as_json()}
            if isinstance(error, Throttled):
                answer["error"]["data"] = {
                    "serverTime": self._world.server_ms, "retryAfter": self._retry_at(error),
                }  # fmt: skip
        if params.text("returnRateLimits", "true") != "false":
            answer["rateLimits"] = limits
        return answer

    def _retry_at(self, error: Throttled) -> int:
        return self._world.server_ms + error.retry_after_s * 1_000

    def _limit(self, kind: str, unit: str, count: int, used: int) -> dict[str, Any]:
        limits = self._world.settings.limits
        limit = limits.weight
        if kind == "ORDERS":
            limit = limits.orders_10s if unit == "SECOND" else limits.orders_1m
        return {"rateLimitType": kind, "interval": unit, "intervalNum": count,
                "limit": told_limit(limit), "count": used}  # fmt: skip

    def _order_limits(self, key: str) -> list[dict[str, Any]]:
        short, long = self._world.clients[key].counts.used()
        return [
            self._limit("ORDERS", "SECOND", 10, short), self._limit("ORDERS", "MINUTE", 1, long)
        ]  # fmt: skip

    @staticmethod
    def _signed(client: Client, values: dict[str, str]) -> Params:
        """Check the signature over all parameters but itself, sorted by name."""
        given = values.get("signature", "")
        if not given:
            raise ApiError(-1102, name="signature")
        payload = "&".join(
            f"{name}={value}" for name, value in sorted(values.items()) if name != "signature"
        )
        if given != sign(client.secret, payload):
            raise ApiError(-1022)
        return Params(values)

    def _put_later(self, connection: Connection, frame: bytes, delay_s: float) -> None:
        def due() -> None:
            self._late.discard(timer)
            connection.put(frame)

        timer = asyncio.get_running_loop().call_later(delay_s, due)
        self._late.add(timer)

    def stop(self) -> None:
        """Forget the answers that are still held back."""
        for timer in self._late:
            timer.cancel()
        self._late.clear()
