"""The WebSocket API: signatures over sorted parameters, the same answers as over HTTP."""

from __future__ import annotations

import time
from typing import Any

from tests.sandbox.conftest import Flow
from tests.sandbox.sandbox_client import SYMBOL, Client, Listener

Json = Any


class Api:
    """A client of the WebSocket API that signs by itself."""

    def __init__(self, client: Client, listener: Listener) -> None:
        self.client = client
        self.listener = listener
        self.number = 0

    @classmethod
    async def open(cls, client: Client) -> Api:
        return cls(client, await client.listen("/ws-fapi/v1"))

    def signed(self, params: dict[str, Any]) -> dict[str, Any]:
        whole = {"apiKey": self.client.key, "timestamp": time.time_ns() // 1_000_000, **params}
        payload = "&".join(f"{name}={text_of(whole[name])}" for name in sorted(whole))
        return {**whole, "signature": self.client.sign(payload)}

    async def ask(self, method: str, *, signed: bool = True, **params: Any) -> Json:
        """Send a request; returns its whole answer."""
        self.number += 1
        identity = f"{method}-{self.number}"
        given = self.signed(params) if signed else params
        await self.listener.socket.send_json({"id": identity, "method": method, "params": given})
        return await self.listener.next(lambda answer: answer.get("id") == identity)


def text_of(value: Any) -> str:
    """A parameter as it stands on the wire."""
    return str(value).lower() if isinstance(value, bool) else str(value)


async def test_an_order_goes_over_the_socket_and_comes_back_on_the_user_stream(
    flowing: Flow,
) -> None:
    client = await flowing()
    listener = await client.user_stream()
    api = await Api.open(client)
    answer = await api.ask(
        "order.place", symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.01,
        newClientOrderId="over-the-socket", newOrderRespType="RESULT",
    )  # fmt: skip
    assert answer["status"] == 200
    assert answer["result"]["executedQty"] == "0.010"
    kinds = {limit["rateLimitType"] for limit in answer["rateLimits"]}
    assert kinds == {"ORDERS"}
    assert [limit["count"] for limit in answer["rateLimits"]] == [1, 1]
    update = await listener.next(
        lambda m: m["e"] == "ORDER_TRADE_UPDATE" and m["o"]["x"] == "TRADE"
    )
    assert update["o"]["c"] == "over-the-socket"
    status = await api.ask("order.status", symbol=SYMBOL, origClientOrderId="over-the-socket")
    assert status["result"]["status"] == "FILLED"


async def test_numbers_and_truths_are_signed_as_their_text(flowing: Flow) -> None:
    client = await flowing()
    api = await Api.open(client)
    await client.buy("0.02")
    placed = await api.ask(
        "algoOrder.place", algoType="CONDITIONAL", symbol=SYMBOL, side="SELL",
        type="STOP_MARKET", triggerPrice=49_000.5, quantity=0.02, reduceOnly=True,
    )  # fmt: skip
    assert placed["status"] == 200
    assert placed["result"]["reduceOnly"] is True
    assert placed["result"]["triggerPrice"] == "49000.5"


async def test_refusals_carry_code_words_and_status(flowing: Flow) -> None:
    client = await flowing()
    api = await Api.open(client)
    for params, code, status in (
        ({"symbol": "NOPE"}, -1121, 400),
        ({"symbol": SYMBOL, "orderId": 1}, -2013, 400),
        ({"symbol": SYMBOL, "orderId": 1, "timestamp": 1}, -1021, 400),
        ({"symbol": SYMBOL, "orderId": 1, "apiKey": "x"}, -2015, 401),
    ):
        answer = await api.ask("order.status", **params)
        assert (answer["status"], answer["error"]["code"]) == (status, code)
        assert answer["error"]["msg"]
        assert "result" not in answer
    wrong = api.signed({"symbol": SYMBOL, "orderId": 1}) | {"signature": "0" * 64}
    answer = await api.ask("order.status", signed=False, **wrong)
    assert answer["error"]["code"] == -1022
    answer = await api.ask("order.fly", signed=False)
    assert answer["status"] == 400
    silent = await api.ask("ticker.price", signed=False, symbol=SYMBOL, returnRateLimits=False)
    assert "rateLimits" not in silent


async def test_identities_keep_their_type_and_rubbish_is_answered(flowing: Flow) -> None:
    client = await flowing()
    listener = await client.listen("/ws-fapi/v1")
    for identity in (7, "seven", None):
        await listener.socket.send_json({"id": identity, "method": "ticker.price",
                                         "params": {"symbol": SYMBOL}})  # fmt: skip
        answer = await listener.next()
        assert answer["id"] == identity
        assert type(answer["id"]) is type(identity)
    await listener.socket.send_str("{")
    assert (await listener.next())["status"] == 400
