"""A bare server for `bench_venue`: `python -m benchmarks.loopback_exchange`, a process of its own.

It sends kline frames and notes when the bytes of an order arrive. Nothing in it is checked or
computed, so that it costs both sides of a comparison the same, and as little as can be: requests
are told apart by their first bytes, answers are ready-made. It prints its port; it ends with its
input.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sys
import time
from typing import Any, cast

START = 1_704_067_200_000
MINUTE = 60_000
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CHUNK = 512

_INFO = {
    "timezone": "UTC", "serverTime": 0, "rateLimits": [
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 10**9},
        {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 10**9},
    ],
    "symbols": [
        {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT",
         "filters": [
             {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
             {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"},
             {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.001", "minQty": "0.001",
              "maxQty": "120"},
             {"filterType": "MIN_NOTIONAL", "notional": "5"}]},
    ],
}  # fmt: skip
_BRACKETS = [
    {"symbol": "BTCUSDT", "brackets": [
        {"bracket": 1, "initialLeverage": 125, "notionalCap": 10**12, "notionalFloor": 0,
         "maintMarginRatio": 0.004, "cum": 0.0}]},
]  # fmt: skip
_BALANCE = [{"asset": "USDT", "balance": "1000000.0", "availableBalance": "1000000.0"}]
_ANSWERS: dict[bytes, Any] = {
    b"GET /fapi/v1/exchangeInfo": _INFO,
    b"GET /fapi/v1/leverageBracket": _BRACKETS,
    b"GET /fapi/v1/commissionRate": {
        "symbol": "BTCUSDT", "makerCommissionRate": "0.0002", "takerCommissionRate": "0.0005",
    },
    b"GET /fapi/v1/positionSide/dual": {"dualSidePosition": False},
    b"POST /fapi/v1/listenKey": {"listenKey": "abc"},
    b"GET /fapi/v3/balance": _BALANCE,
}  # fmt: skip


def frame(payload: bytes) -> bytes:
    """A text frame from the server."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    return bytes((0x81, 126)) + size.to_bytes(2, "big") + payload


def unmasked(data: bytes) -> bytes:
    """The payload of one frame from a client."""
    size, at = data[1] & 0x7F, 2
    if size == 126:
        size, at = int.from_bytes(data[2:4], "big"), 4
    mask, body = data[at : at + 4], data[at + 4 : at + 4 + size]
    return bytes(byte ^ mask[n % 4] for n, byte in enumerate(body))


def kline(number: int, *, closed: bool) -> bytes:
    """The frame of one candle."""
    start = START + number * MINUTE
    k = {"t": start, "T": start + MINUTE - 1, "s": "BTCUSDT", "i": "1m", "f": 100, "L": 200,
         "o": "50000.10", "c": "50000.20", "h": "50010.00", "l": "49990.00", "v": "1000.123",
         "n": 100, "x": closed, "q": "1.0000", "V": "500", "Q": "0.500", "B": "0"}  # fmt: skip
    event = {"e": "kline", "E": start + MINUTE, "s": "BTCUSDT", "k": k}
    text = {"stream": "btcusdt@kline_1m", "data": event}
    return frame(json.dumps(text, separators=(",", ":")).encode())


class State:
    """What the connections share."""

    def __init__(self) -> None:
        self.market: asyncio.Transport | None = None
        self.private: asyncio.Transport | None = None
        self.sent_at = 0
        self.taken: list[int] = []
        self.orders = 0
        self.rounds = 0
        self.candle = 0
        self.frames: list[bytes] = []

    def next(self) -> None:
        """Send the candle whose order is waited for."""
        if self.rounds > 0 and self.market is not None:
            self.rounds -= 1
            self.candle += 1
            data = kline(self.candle, closed=True)
            self.sent_at = time.perf_counter_ns()
            self.market.write(data)

    def ordered(self, values: dict[str, str], reply: Any) -> None:
        """An order is here: note when, answer it, fill it, and go on a little later."""
        if self.sent_at:
            self.taken.append(time.perf_counter_ns() - self.sent_at)
            self.sent_at = 0
        self.orders += 1
        number, name = self.orders, values.get("newClientOrderId", "x")
        order = {"orderId": number, "symbol": "BTCUSDT", "status": "NEW", "clientOrderId": name,
                 "side": values.get("side", "BUY"), "type": "MARKET",
                 "origQty": values.get("quantity", "1"), "updateTime": START}  # fmt: skip
        reply(order)
        if self.private is not None:
            state = {
                "s": "BTCUSDT",
                "c": name,
                "S": order["side"],
                "o": "MARKET",
                "f": "GTC",
                "q": order["origQty"],
                "x": "TRADE",
                "X": "FILLED",
                "i": number,
                "l": order["origQty"],
                "z": order["origQty"],
                "L": "50000.2",
                "ap": "50000.2",
                "n": "0.1",
                "N": "USDT",
                "T": START + self.candle * MINUTE,
                "t": number,
            }
            event = {"e": "ORDER_TRADE_UPDATE", "E": START, "T": state["T"], "o": state}
            self.private.write(frame(json.dumps(event).encode()))
        asyncio.get_running_loop().call_later(0.001, self.next)


class Peer(asyncio.Protocol):
    """One connection, HTTP or WebSocket."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._socket = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop has classes of its own

    def connection_lost(self, error: Exception | None) -> None:
        if self._state.market is self._transport:
            self._state.market = None
        if self._state.private is self._transport:
            self._state.private = None

    def data_received(self, data: bytes) -> None:
        if self._socket:
            self._frame(data)
        elif b"Upgrade: websocket" in data or b"upgrade: websocket" in data:
            self._upgrade(data)
        else:
            self._request(data)

    # -- HTTP ----------------------------------------------------------------------------------

    def _request(self, data: bytes) -> None:
        if data.startswith(b"POST /fapi/v1/order"):
            query = data.split(b" ", 2)[1].partition(b"?")[2].decode()
            values = dict(pair.split("=", 1) for pair in query.split("&"))
            self._state.ordered(values, self._answer)
            return
        target = b" ".join(data.split(b" ", 2)[:2]).partition(b"?")
        if target[0] == b"GET /fapi/v1/time":
            self._answer({"serverTime": time.time_ns() // 1_000_000})
        elif target[0] == b"POST /bench":
            self._bench(target[2].decode())
        elif target[0] == b"GET /bench":
            self._answer({"taken": self._state.taken, "orders": self._state.orders})
        else:
            self._answer(_ANSWERS.get(target[0], []))

    def _bench(self, query: str) -> None:
        """Start ``rounds`` of candle and order, or send ``frames`` as fast as they are taken."""
        name, _, count = query.partition("=")
        self._answer({})
        if name == "rounds":
            self._state.taken.clear()
            self._state.rounds = int(count)
            self._state.next()
        elif name == "frames" and self._state.market is not None:
            task = asyncio.get_running_loop().create_task(self._flood(int(count)))
            task.add_done_callback(lambda done: done.result())

    async def _flood(self, count: int) -> None:
        """Open candles at full speed, and a closed one at the end, by which it is known."""
        transport = self._state.market
        assert transport is not None
        chunk = kline(0, closed=False) * _CHUNK
        for _ in range(count // _CHUNK):
            transport.write(chunk)
            while transport.get_write_buffer_size() > 1 << 20:  # noqa: ASYNC110
                await asyncio.sleep(0.0002)
        transport.write(kline(0, closed=True))

    def _answer(self, content: Any) -> None:
        body = json.dumps(content).encode()
        head = (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"X-MBX-USED-WEIGHT-1M: 1\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        self._transport.write(head + body)

    # -- WebSocket -----------------------------------------------------------------------------

    def _upgrade(self, data: bytes) -> None:
        lines = data.split(b"\r\n")
        key = next(line.split(b":", 1)[1].strip() for line in lines
                   if line.lower().startswith(b"sec-websocket-key"))  # fmt: skip
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        path = lines[0].split(b" ")[1]
        if path.startswith(b"/market"):
            self._socket, self._state.market = "market", self._transport
        elif path.startswith(b"/private"):
            self._socket, self._state.private = "private", self._transport
        else:
            self._socket = "api"

    def _frame(self, data: bytes) -> None:
        kind = data[0] & 0x0F
        if kind == 8:
            self._transport.close()
        elif kind == 9:
            self._transport.write(b"\x8a\x00")
        elif kind == 1 and self._socket == "api":
            self._api(data)
        elif kind == 1:
            number = json.loads(unmasked(data))["id"]
            self._transport.write(frame(json.dumps({"result": None, "id": number}).encode()))

    def _api(self, data: bytes) -> None:
        arrived = time.perf_counter_ns()
        if self._state.sent_at:
            self._state.taken.append(arrived - self._state.sent_at)
            self._state.sent_at = 0
        request = json.loads(unmasked(data))

        def reply(order: Any) -> None:
            answer = {"id": request["id"], "status": 200, "result": order, "rateLimits": []}
            self._transport.write(frame(json.dumps(answer).encode()))

        self._state.ordered(request["params"], reply)


async def main() -> None:
    state = State()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Peer(state), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
