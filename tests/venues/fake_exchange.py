"""A small server that speaks the exchange's protocol over real sockets, for tests of the client.

It checks signatures and parameters strictly, keeps orders, fills and klines in plain dicts, and
does what a test scripts it to: refuse, lose an answer, cut a connection, stay silent.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import WSMsgType, web

from candlewick.venues.binance import ApiKeys, BinanceSettings

_WEEK_MS = 7 * 86_400_000
_BUSY_MS = 2_000  # a busy machine is no late client
KEY = "k" * 32 + "PUBLICKEY"
SECRET = "s" * 32 + "TOPSECRET"
MINUTE = 60_000
Json = dict[str, Any]


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status: int, code: int, message: str, headers: Json | None = None) -> None:
        self.status, self.code, self.message = status, code, message
        self.headers = headers or {}


class LoseAnswer(Exception):
    """Cut the connection instead of answering."""


Script = Callable[[Json], Awaitable[Any] | Any]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class FakeExchange:
    """One account; see the module. ``scripts`` run before (``before``) or instead of a request."""

    def __init__(self) -> None:
        self.price = {"BTCUSDT": 50_000.0, "ETHUSDT": 3_000.0}
        self.skew_ms = 0
        self.minute = 0  # in which the weight is counted
        self.weight_limit = 2_400
        self.dual = False
        self.position: dict[str, float] = defaultdict(float)
        self.wallet = 10_000.0
        self.orders: dict[str, Json] = {}
        self.algos: dict[str, Json] = {}
        self.trades: list[Json] = []
        self.income: list[Json] = []
        self.klines: dict[tuple[str, str], list[list[Any]]] = defaultdict(list)
        self.requests: list[tuple[str, str, Json]] = []
        self.before: dict[tuple[str, str], deque[Script]] = defaultdict(deque)
        self.after: dict[tuple[str, str], deque[Script]] = defaultdict(deque)
        self.answer_headers: dict[str, str] = {}
        self.weight = 0
        self.listen_keys: list[str] = []
        self.market: list[web.WebSocketResponse] = []
        self.private: list[web.WebSocketResponse] = []
        self.api: list[web.WebSocketResponse] = []
        self.subscribed: list[str] = []
        self.ignore_subscriptions = False
        self.silent_fills = False
        self.market_fills = True
        self.ids = 1_000
        self.lists_trades = True
        self.port = 0
        self._runner: web.AppRunner | None = None
        self._changed = asyncio.Condition()

    # -- life --------------------------------------------------------------------------------------

    async def start(self, port: int = 0) -> None:
        app = web.Application()
        app.router.add_get("/market/stream", self._market_socket)
        app.router.add_get("/private/ws", self._private_socket)
        app.router.add_get("/ws-fapi/v1", self._api_socket)
        app.router.add_route("*", "/{path:.*}", self._rest)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        for socket in [*self.market, *self.private, *self.api]:
            await cut(socket)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def settings(self, **changes: Any) -> BinanceSettings:
        rest, ws = f"http://127.0.0.1:{self.port}", f"ws://127.0.0.1:{self.port}"
        quick: Json = {
            "backoff_min_s": 0.01, "backoff_max_s": 0.05, "request_timeout_s": 2.0,
            "recv_window_ms": 300, "not_found_grace_s": 0.1, "confirm_after_s": 0.2,
            "late_candle_s": 0.1, "overlap_s": 0.2, "orders_over_ws": False,
        }  # fmt: skip
        return BinanceSettings(
            rest_url=rest, ws_url=ws, ws_api_url=f"{ws}/ws-fapi/v1", **(quick | changes)
        )

    @property
    def keys(self) -> ApiKeys:
        return ApiKeys(KEY, SECRET)

    def now(self) -> int:
        return now_ms() + self.skew_ms

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until something that this server sees has happened."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(reached)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def seen(self, method: str, path: str) -> list[Json]:
        return [params for m, p, params in self.requests if (m, p) == (method, path)]

    def script(self, method: str, path: str, *steps: Script, after: bool = False) -> None:
        (self.after if after else self.before)[method, path].extend(steps)

    # -- REST --------------------------------------------------------------------------------------

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        path, method = request.path, request.method
        body = (await request.read()).decode()
        raw = "&".join(filter(None, (request.query_string, body)))
        params = dict(parse_qsl(raw, keep_blank_values=True))
        if self.now() // 60_000 != self.minute:
            self.minute, self.weight = self.now() // 60_000, 0
        self.weight += 1
        headers = {"X-MBX-USED-WEIGHT-1M": str(self.weight), **self.answer_headers}
        try:
            answer = await self._handle(method, path, params, raw, request.headers)
        except Refusal as refusal:
            return web.json_response(
                {"code": refusal.code, "msg": refusal.message},
                status=refusal.status, headers=headers | refusal.headers,
            )  # fmt: skip
        except LoseAnswer:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        finally:
            await self._notify()
        if isinstance(answer, web.StreamResponse):
            return answer
        return web.json_response(answer, headers=headers)

    async def _handle(self, method: str, path: str, params: Json, raw: str, headers: Any) -> Any:
        self.requests.append((method, path, params))
        answer = await self._run(self.before[method, path], params)
        if answer is not None:
            return answer
        self._check_security(path, params, raw, headers)
        name = f"{method.lower()}_{path.rsplit('/', 1)[-1]}"
        if path.endswith("positionSide/dual"):
            name = f"{method.lower()}_mode"
        handler = getattr(self, name, None)
        if handler is None:
            raise Refusal(404, -5000, f"Path {path}, Method {method} is invalid")
        answer = handler(params)
        if asyncio.iscoroutine(answer):
            answer = await answer
        told = await self._run(self.after[method, path], params)
        return answer if told is None else told

    @staticmethod
    async def _run(scripts: deque[Script], params: Json) -> Any:
        if not scripts:
            return None
        answer = scripts.popleft()(params)
        return await answer if asyncio.iscoroutine(answer) else answer

    def _check_security(self, path: str, params: Json, raw: str, headers: Any) -> None:
        if path.rsplit("/", 1)[-1] in ("time", "exchangeInfo", "klines", "fundingRate"):
            return
        if headers.get("X-MBX-APIKEY") != KEY:
            raise Refusal(401, -2015, "Invalid API-key, IP, or permissions for action")
        if path.endswith("listenKey"):
            return
        signed, _, signature = raw.rpartition("&signature=")
        expected = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).hexdigest()
        if signature != expected:
            raise Refusal(400, -1022, "Signature for this request is not valid.")
        self._check_time(params)

    def _check_time(self, params: Json) -> None:
        stamp, window = int(params["timestamp"]), int(params.get("recvWindow", 5_000))
        late_ms = self.now() - stamp
        if not (-1_000 < late_ms <= window + _BUSY_MS):
            raise Refusal(400, -1021, "Timestamp for this request is outside of the recvWindow.")

    # -- public ------------------------------------------------------------------------------------

    def get_time(self, _: Json) -> Json:
        return {"serverTime": self.now()}

    def get_exchangeInfo(self, _: Json) -> Json:
        return {
            "timezone": "UTC",
            "serverTime": self.now(),
            "rateLimits": [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1,
                 "limit": self.weight_limit},
                {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
                {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
            ],
            "symbols": [symbol_info(symbol) for symbol in self.price],
        }  # fmt: skip

    def get_klines(self, params: Json) -> list[list[Any]]:
        rows = self.klines[params["symbol"], params["interval"]]
        start, end = int(params.get("startTime", 0)), int(params.get("endTime", 2**62))
        limit = int(params.get("limit", 500))
        found = [row for row in rows if start <= row[0] <= end]
        return found[:limit] if "startTime" in params else found[-limit:]

    def get_fundingRate(self, params: Json) -> list[Json]:
        return [{"symbol": params["symbol"], "fundingRate": "0.0001", "markPrice": "50000.0",
                 "fundingTime": int(params["startTime"])}]  # fmt: skip

    # -- account -----------------------------------------------------------------------------------

    def get_mode(self, _: Json) -> Json:
        return {"dualSidePosition": self.dual}

    def post_mode(self, params: Json) -> Json:
        self.dual = params["dualSidePosition"] == "true"
        return {"code": 200, "msg": "success"}

    def post_leverage(self, params: Json) -> Json:
        if int(params["leverage"]) > 100:
            raise Refusal(400, -4028, "Leverage 120 is not valid")
        return {"leverage": int(params["leverage"]), "symbol": params["symbol"]}

    def post_marginType(self, params: Json) -> Json:
        raise Refusal(400, -4046, "No need to change margin type.")

    def get_leverageBracket(self, params: Json) -> Any:
        tiers = [
            {"bracket": 2, "initialLeverage": 50, "notionalCap": 250_000, "notionalFloor": 50_000,
             "maintMarginRatio": 0.01, "cum": 250.0},
            {"bracket": 1, "initialLeverage": 100, "notionalCap": 50_000, "notionalFloor": 0,
             "maintMarginRatio": 0.005, "cum": 0.0},
        ]  # fmt: skip
        return [{"symbol": params["symbol"], "brackets": tiers}]

    def get_commissionRate(self, params: Json) -> Json:
        return {"symbol": params["symbol"], "makerCommissionRate": "0.000160",
                "takerCommissionRate": "0.000320", "rpiCommissionRate": "0"}  # fmt: skip

    def get_balance(self, _: Json) -> list[Json]:
        return [
            {"accountAlias": "x", "asset": "BNB", "balance": "1.0", "availableBalance": "1.0"},
            {"accountAlias": "x", "asset": "USDT", "balance": f"{self.wallet:.8f}",
             "crossWalletBalance": "0", "availableBalance": "0", "updateTime": self.now()},
        ]  # fmt: skip

    def get_positionRisk(self, _: Json) -> list[Json]:
        return [
            {"symbol": symbol, "positionSide": "BOTH", "positionAmt": f"{amount:.3f}",
             "entryPrice": "50000.0", "liquidationPrice": "45000.1", "updateTime": self.now()}
            for symbol, amount in self.position.items() if round(amount, 9)
        ]  # fmt: skip

    def get_openOrders(self, params: Json) -> list[Json]:
        return [
            order for order in self.orders.values()
            if order["status"] in ("NEW", "PARTIALLY_FILLED")
            and order["symbol"] == params.get("symbol", order["symbol"])
        ]  # fmt: skip

    def get_openAlgoOrders(self, params: Json) -> list[Json]:
        return [
            algo for algo in self.algos.values()
            if algo["algoStatus"] == "NEW"
            and algo["symbol"] == params.get("symbol", algo["symbol"])
        ]  # fmt: skip

    def get_userTrades(self, params: Json) -> list[Json]:
        if not self.lists_trades:
            return []
        start, end = int(params.get("startTime", 0)), int(params.get("endTime", 0))
        if start and end and end - start > _WEEK_MS:
            raise Refusal(400, -4165, "Maximum time interval is 7 days")
        if start and not end:
            end = start + _WEEK_MS
        return [
            trade for trade in self.trades
            if (not end or trade["time"] <= end)
            and trade["symbol"] == params["symbol"]
            and trade["orderId"] == int(params.get("orderId", trade["orderId"]))
            and trade["time"] >= int(params.get("startTime", 0))
            and trade["id"] >= int(params.get("fromId", 0))
        ][: int(params.get("limit", 500))]  # fmt: skip

    def get_income(self, params: Json) -> list[Json]:
        return [row for row in self.income if row["time"] >= int(params["startTime"])]

    # -- orders ------------------------------------------------------------------------------------

    async def post_order(self, params: Json) -> Json:
        if params["type"] not in ("MARKET", "LIMIT"):
            raise Refusal(400, -4120, "Order type not supported, use the Algo Order API endpoints")
        held = self.position[params["symbol"]]
        sign = 1 if params["side"] == "BUY" else -1
        if params.get("reduceOnly") == "true" and held * sign >= 0:
            raise Refusal(400, -2022, "ReduceOnly Order is rejected.")
        self.ids += 1
        order: Json = {
            "orderId": self.ids, "symbol": params["symbol"], "status": "NEW",
            "clientOrderId": params["newClientOrderId"], "price": params.get("price", "0"),
            "origQty": params["quantity"], "executedQty": "0.000", "cumQty": "0.000",
            "avgPrice": "0.00", "timeInForce": params.get("timeInForce", "GTC"),
            "type": params["type"], "origType": params["type"],
            "reduceOnly": params.get("reduceOnly") == "true", "closePosition": False,
            "side": params["side"], "positionSide": params.get("positionSide", "BOTH"),
            "stopPrice": "0", "workingType": "CONTRACT_PRICE", "priceProtect": False,
            "priceMatch": "NONE", "selfTradePreventionMode": "NONE", "goodTillDate": 0,
            "time": self.now(), "updateTime": self.now(),
        }  # fmt: skip
        self.orders[order["clientOrderId"]] = order
        answer = {name: value for name, value in order.items() if name != "avgPrice"}
        if not self.silent_fills:
            await self.push(order_event(order, "NEW", self.now()))
        if params["type"] == "MARKET" and self.market_fills:
            await self.fill(order["clientOrderId"], float(params["quantity"]))
        return answer

    def get_order(self, params: Json) -> Json:
        for order in self.orders.values():
            if params["symbol"] == order["symbol"] and (
                str(order["orderId"]) == params.get("orderId")
                or order["clientOrderId"] == params.get("origClientOrderId")
            ):
                return order
        raise Refusal(400, -2013, "Order does not exist.")

    async def delete_order(self, params: Json) -> Json:
        order = self.orders.get(params["origClientOrderId"])
        if order is None or order["status"] not in ("NEW", "PARTIALLY_FILLED"):
            raise Refusal(400, -2011, "Unknown order sent.")
        order["status"] = "CANCELED"
        await self.push(order_event(order, "CANCELED", self.now()))
        return order

    async def post_algoOrder(self, params: Json) -> Json:
        assert params["algoType"] == "CONDITIONAL"
        self.ids += 1
        algo: Json = {
            "algoId": self.ids, "clientAlgoId": params["clientAlgoId"],
            "algoType": "CONDITIONAL", "orderType": params["type"], "symbol": params["symbol"],
            "side": params["side"], "positionSide": "BOTH", "timeInForce": "GTC",
            "quantity": params.get("quantity", "0"), "algoStatus": "NEW", "price": "0",
            "triggerPrice": params.get("triggerPrice", "0"),
            "activatePrice": params.get("activatePrice", ""),
            "callbackRate": params.get("callbackRate", ""),
            "workingType": params["workingType"], "priceProtect": False,
            "closePosition": params.get("closePosition") == "true",
            "reduceOnly": params.get("reduceOnly") == "true",
            "createTime": self.now(), "updateTime": self.now(), "triggerTime": 0,
            "goodTillDate": 0,
        }  # fmt: skip
        self.algos[algo["clientAlgoId"]] = algo
        if not self.silent_fills:
            await self.push(algo_event(algo, self.now()))
        return algo

    def get_algoOrder(self, params: Json) -> Json:
        algo = self.algos.get(params["clientAlgoId"])
        if algo is None:
            raise Refusal(400, -2013, "Order does not exist.")
        return algo

    async def delete_algoOrder(self, params: Json) -> Json:
        algo = self.algos.get(params["clientAlgoId"])
        if algo is None or algo["algoStatus"] != "NEW":
            raise Refusal(400, -2011, "Unknown order sent.")
        algo["algoStatus"] = "CANCELED"
        await self.push(algo_event(algo, self.now()))
        return {"algoId": algo["algoId"], "clientAlgoId": algo["clientAlgoId"], "code": "200",
                "msg": "success"}  # fmt: skip

    def fill_quietly(self, client_id: str, quantity: float, fee: str = "0.02") -> Json:
        """Execute a part of an order without a word; returns the event that tells of it."""
        order = self.orders[client_id]
        self.ids += 1
        price = self.price[order["symbol"]]
        done = round(float(order["executedQty"]) + quantity, 3)
        order["executedQty"] = order["cumQty"] = f"{done:.3f}"
        order["avgPrice"] = f"{price:.2f}"
        order["status"] = "FILLED" if done >= float(order["origQty"]) else "PARTIALLY_FILLED"
        order["updateTime"] = self.now()
        sign = 1 if order["side"] == "BUY" else -1
        self.position[order["symbol"]] = round(self.position[order["symbol"]] + sign * quantity, 3)
        self.wallet -= float(fee)
        trade: Json = {
            "id": self.ids, "orderId": order["orderId"], "symbol": order["symbol"],
            "side": order["side"], "price": f"{price:.2f}", "qty": f"{quantity:.3f}",
            "commission": fee, "commissionAsset": "USDT", "time": self.now(), "maker": False,
            "buyer": sign > 0, "realizedPnl": "0", "positionSide": "BOTH", "quoteQty": "0",
        }  # fmt: skip
        self.trades.append(trade)
        return order_event(order, "TRADE", self.now(), trade)

    async def fill(self, client_id: str, quantity: float) -> None:
        event = self.fill_quietly(client_id, quantity)
        if not self.silent_fills:
            await self.push(event)

    def trigger_quietly(self, client_algo_id: str, client_id: str = "") -> str:
        """Trigger a conditional order; returns the client id of the order that it makes."""
        algo = self.algos[client_algo_id]
        self.ids += 1
        child = client_id or client_algo_id
        self.orders[child] = {
            "orderId": self.ids, "symbol": algo["symbol"], "status": "NEW",
            "clientOrderId": child, "price": "0", "origQty": algo["quantity"],
            "executedQty": "0.000", "cumQty": "0.000", "avgPrice": "0", "timeInForce": "GTC",
            "type": "MARKET", "origType": algo["orderType"], "reduceOnly": True,
            "closePosition": False, "side": algo["side"], "positionSide": "BOTH",
            "stopPrice": "0", "workingType": "CONTRACT_PRICE", "time": self.now(),
            "updateTime": self.now(),
        }  # fmt: skip
        algo["algoStatus"] = "TRIGGERED"
        algo["actualOrderId"] = str(self.ids)
        return child

    def finish_quietly(self, client_algo_id: str) -> None:
        algo = self.algos[client_algo_id]
        child = next(o for o in self.orders.values() if str(o["orderId"]) == algo["actualOrderId"])
        algo |= {"algoStatus": "FINISHED", "actualQty": child["executedQty"],
                 "actualPrice": child["avgPrice"]}  # fmt: skip

    # -- sockets -----------------------------------------------------------------------------------

    def post_listenKey(self, _: Json) -> Json:
        if not self.listen_keys:
            self.ids += 1
            self.listen_keys.append(f"LISTENKEY{self.ids}")
        return {"listenKey": self.listen_keys[-1]}

    def put_listenKey(self, _: Json) -> Json:
        if not self.listen_keys:
            raise Refusal(400, -1125, "This listenKey does not exist.")
        return {"listenKey": self.listen_keys[-1]}

    async def _private_socket(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("listenKey") not in self.listen_keys:
            raise web.HTTPUnauthorized
        return await self._socket(request, self.private)

    async def _market_socket(self, request: web.Request) -> web.StreamResponse:
        return await self._socket(request, self.market)

    async def _api_socket(self, request: web.Request) -> web.StreamResponse:
        return await self._socket(request, self.api)

    async def _socket(
        self, request: web.Request, kept: list[web.WebSocketResponse]
    ) -> web.StreamResponse:
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        kept.append(socket)
        await self._notify()
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._take(socket, kept, json.loads(message.data))
        finally:
            if socket in kept:
                kept.remove(socket)
            await self._notify()
        return socket

    async def _take(
        self, socket: web.WebSocketResponse, kept: list[web.WebSocketResponse], frame: Json
    ) -> None:
        if kept is self.api:
            answer = await self._api_answer(frame)
            if answer is not None:
                await socket.send_json(answer)
            return
        assert frame["method"] == "SUBSCRIBE"
        self.subscribed += frame["params"]
        if not self.ignore_subscriptions:
            await socket.send_json({"result": None, "id": frame["id"]})
        await self._notify()

    async def _api_answer(self, frame: Json) -> Json | None:
        method, path = {
            "order.place": ("POST", "/fapi/v1/order"),
            "order.cancel": ("DELETE", "/fapi/v1/order"),
            "algoOrder.place": ("POST", "/fapi/v1/algoOrder"),
            "algoOrder.cancel": ("DELETE", "/fapi/v1/algoOrder"),
        }[frame["method"]]
        params = dict(frame["params"])
        signature = params.pop("signature")
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
        self.requests.append(("WS", frame["method"], params))
        await self._notify()
        try:
            expected = hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()
            if signature != expected:
                raise Refusal(400, -1022, "Signature for this request is not valid.")
            self._check_time(params)
            told = await self._run(self.before["WS", frame["method"]], params)
            handler = getattr(self, f"{method.lower()}_{path.rsplit('/', 1)[-1]}")
            result = told if told is not None else handler(params)
            if asyncio.iscoroutine(result):
                result = await result
            await self._run(self.after["WS", frame["method"]], params)
        except Refusal as refusal:
            error: Json = {"code": refusal.code, "msg": refusal.message}
            if refusal.headers:
                error["data"] = refusal.headers
            return {"id": frame["id"], "status": refusal.status, "error": error}
        except LoseAnswer:
            return None
        limits = [{"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10,
                   "limit": 300, "count": 77}]  # fmt: skip
        return {"id": frame["id"], "status": 200, "result": result, "rateLimits": limits}

    async def push(self, event: Json) -> None:
        """Send an event over the account's stream."""
        for socket in list(self.private):
            await socket.send_json(event)

    async def kline(
        self, open_time: int, price: float, *, closed: bool, symbol: str = "BTCUSDT",
        event_time: int = 0,
    ) -> None:  # fmt: skip
        """Send a kline event over the market streams."""
        text = f"{price:.2f}"
        event = {
            "e": "kline", "E": event_time or open_time + MINUTE, "s": symbol,
            "k": {"t": open_time, "T": open_time + MINUTE - 1, "s": symbol, "i": "1m", "f": 1,
                  "L": 2, "o": text, "c": text, "h": text, "l": text, "v": "1.5", "n": 2,
                  "x": closed, "q": "1", "V": "1", "Q": "1", "B": "0"},
        }  # fmt: skip
        await self.frame({"stream": f"{symbol.lower()}@kline_1m", "data": event})

    async def mark(self, symbol: str = "BTCUSDT", rate: str = "0.0001") -> None:
        """Send a mark price."""
        event = {"e": "markPriceUpdate", "E": self.now(), "s": symbol, "p": "50000.0", "i": "1",
                 "P": "1", "r": rate, "T": 0}  # fmt: skip
        await self.frame({"stream": f"{symbol.lower()}@markPrice@1s", "data": event})

    async def frame(self, frame: Json | str | bytes) -> None:
        """Send a frame over all market connections."""
        for socket in list(self.market):
            if isinstance(frame, bytes):
                await socket.send_bytes(frame)
            elif isinstance(frame, str):
                await socket.send_str(frame)
            else:
                await socket.send_json(frame)

    def list_kline(self, open_time: int, price: float, symbol: str = "BTCUSDT") -> None:
        """Have the exchange list one more candle; the last one listed is open."""
        text = f"{price:.2f}"
        self.klines[symbol, "1m"].append(
            [
                open_time,
                text,
                text,
                text,
                text,
                "1.5",
                open_time + MINUTE - 1,
                "1",
                2,
                "1",
                "1",
                "0",
            ]
        )


async def cut(socket: web.WebSocketResponse) -> None:
    """Cut a connection without a word."""
    transport = socket._req.transport if socket._req is not None else None
    if transport is not None:
        transport.abort()


def symbol_info(symbol: str) -> Json:
    return {
        "symbol": symbol, "pair": symbol, "contractType": "PERPETUAL", "status": "TRADING",
        "baseAsset": symbol[:-4], "quoteAsset": "USDT", "marginAsset": "USDT",
        "pricePrecision": 2, "quantityPrecision": 3, "liquidationFee": "0.012500",
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.10", "maxPrice": "1000000",
             "tickSize": "0.10"},
            {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
            {"filterType": "MARKET_LOT_SIZE", "minQty": "0.001", "maxQty": "120",
             "stepSize": "0.001"},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MIN_NOTIONAL", "notional": "100"},
            {"filterType": "PERCENT_PRICE", "multiplierUp": "1.05", "multiplierDown": "0.95",
             "multiplierDecimal": "4"},
        ],
    }  # fmt: skip


def order_event(order: Json, execution: str, time: int, trade: Json | None = None) -> Json:
    """ORDER_TRADE_UPDATE for an order."""
    state: Json = {
        "s": order["symbol"], "c": order["clientOrderId"], "S": order["side"],
        "o": order["type"], "f": order["timeInForce"], "q": order["origQty"],
        "p": order["price"], "ap": order["avgPrice"], "sp": "0", "x": execution,
        "X": order["status"], "i": order["orderId"], "l": "0", "z": order["executedQty"],
        "L": "0", "T": time, "t": 0, "b": "0", "a": "0", "m": False, "R": order["reduceOnly"],
        "wt": "CONTRACT_PRICE", "ot": order["origType"], "ps": "BOTH", "cp": False, "rp": "0",
        "pP": False, "si": 0, "ss": 0, "V": "NONE", "pm": "NONE", "gtd": 0, "er": "0",
    }  # fmt: skip
    if trade is not None:
        state |= {"l": trade["qty"], "L": trade["price"], "t": trade["id"],
                  "n": trade["commission"], "N": trade["commissionAsset"]}  # fmt: skip
    return {"e": "ORDER_TRADE_UPDATE", "E": time, "T": time, "o": state}


def algo_event(algo: Json, time: int, **changes: Any) -> Json:
    """ALGO_UPDATE for a conditional order."""
    state: Json = {
        "caid": algo["clientAlgoId"], "aid": algo["algoId"], "at": "CONDITIONAL",
        "o": algo["orderType"], "s": algo["symbol"], "S": algo["side"], "ps": "BOTH", "f": "GTC",
        "q": algo["quantity"], "X": algo["algoStatus"], "ai": algo.get("actualOrderId", ""),
        "ap": "0", "aq": algo.get("actualQty", "0"), "act": "0", "tp": algo["triggerPrice"],
        "p": "0", "V": "NONE", "wt": "CONTRACT_PRICE", "pm": "NONE", "cp": False, "pP": False,
        "R": True, "tt": 0, "gtd": 0,
    }  # fmt: skip
    return {"e": "ALGO_UPDATE", "T": time, "E": time, "o": state | changes}
