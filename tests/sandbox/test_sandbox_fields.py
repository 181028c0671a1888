"""Every answer and message has the fields and types of the exchange's own description."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from candlewick.exchange import ExchangeSettings
from candlewick.sandbox import SandboxSettings
from candlewick.sandbox.gate import ROUTES
from candlewick.sandbox.ws_api import METHODS
from tests.sandbox.conftest import Flow, Start
from tests.sandbox.sandbox_client import START, SYMBOL, Client, flat, table_of
from tests.sandbox.test_sandbox_ws_api import Api

Json = Any
_LIST = re.compile(r"^(?:Optional\[)?List\[(.*?)\]\]?$", re.IGNORECASE)
_OPTIONAL = re.compile(r"^Optional\[(\w+)\]$")

# Fields that the description has for other kinds of contract, order or account: not here.
_TRAILING = ("activatePrice", "priceRate")  # of orders that were trailing stops before they moved
_ORDERS = (
    "AllOrdersResponse", "CancelMultipleOrdersResponse", "CancelOrderResponse",
    "CancelOrderResponseResult", "CurrentAllOpenOrdersResponse", "QueryCurrentOpenOrderResponse",
    "QueryOrderResponse", "QueryOrderResponseResult", "TestOrderResponse",
)  # fmt: skip
_REFUSALS = (
    "CancelMultipleOrdersResponse", "ModifyMultipleOrdersResponse", "PlaceMultipleOrdersResponse",
)  # fmt: skip
_FILTERS = (
    "limit", "maxPrice", "maxQty", "minPrice", "minQty", "multiplierDecimal", "multiplierDown",
    "multiplierUp", "notional", "stepSize", "tickSize",
)  # fmt: skip
ABSENT = {
    *(f"{model}.{name}" for model in _ORDERS for name in _TRAILING),
    *(f"{model}.{name}" for model in _REFUSALS for name in ("code", "msg")),
    *(f"filters.{name}" for name in _FILTERS),  # each filter has its own
    # coin-margined contracts
    "AccountTradeListResponse.baseQty", "AccountTradeListResponse.marginAsset",
    "AccountTradeListResponse.pair", "AllOrdersResponse.cumBase", "AllOrdersResponse.pair",
    # only where a client names its change
    "ModifyMultipleOrdersResponse.modifyId", "ModifyOrderResponse.modifyId",
    "ModifyOrderResponseResult.modifyId", "GetOrderModifyHistoryResponseInnerAmendment.modifyId",
    # only of trailing stops, of trades, of refusals, of credits
    "NewAlgoOrderResponse.activatePrice", "NewAlgoOrderResponse.callbackRate",
    "OrderTradeUpdateO.AP", "OrderTradeUpdateO.cr", "OrderTradeUpdateO.N",
    "OrderTradeUpdateO.n", "OrderTradeUpdateO.M", "AlgoUpdateO.rm", "AlgoUpdateO.ia",
    "AccountUpdateA.S", "AccountConfigUpdate.ai",
    # one of the two, by position mode and margin type
    "PositionAdlQuantileEstimationResponseInnerAdlQuantile.HEDGE",
    "PositionAdlQuantileEstimationResponseInnerAdlQuantile.BOTH",
}  # fmt: skip


class Description:
    """Compares values with the models of `usds-futures-api.json`."""

    def __init__(self, path: Path) -> None:
        whole = json.loads(path.read_text())
        self.endpoints = {(e["method"], e["path"]): e for e in whole["endpoints"]}
        self.rest = whole["rest_models"]
        self.streams = whole["ws_stream_models"]
        self.api = whole["ws_api_models"]

    def check(self, value: Json, model: str, models: dict[str, Any]) -> list[str]:
        """What does not fit, each with its place; empty when all fits."""
        fields = self._fields(model, value, models)
        if isinstance(value, list):
            return [wrong for item in value for wrong in self._object(item, fields, model, models)]
        return self._object(value, fields, model, models)

    def _fields(self, model: str, value: Json, models: dict[str, Any]) -> dict[str, str]:
        fields = models[model]
        if "one_of_schemas" not in fields:
            return dict(fields)
        wanted = f"{model}{2 if isinstance(value, list) else 1}"
        if model.startswith("NotionalAndLeverage"):  # described the other way round
            wanted = f"{model}1"
        return dict(models[wanted])

    def _object(
        self, value: Json, fields: dict[str, str], place: str, models: dict[str, Any]
    ) -> list[str]:
        if not isinstance(value, dict):
            return [f"{place}: {value!r} is not an object"]
        wrong = [f"{place}.{name} is unknown" for name in value if name not in fields]
        wrong += [
            f"{place}.{name} is missing"
            for name in fields
            if name not in value and f"{place.rpartition('.')[2]}.{name}" not in ABSENT
        ]
        for name, kind in fields.items():
            if value.get(name) is not None:
                wrong += self._field(value[name], kind, f"{place}.{name}", models)
        return wrong

    def _field(self, value: Json, kind: str, place: str, models: dict[str, Any]) -> list[str]:
        plain = {"strict str": str, "strict int": int, "strict bool": bool}
        if kind in plain:
            return [] if type(value) is plain[kind] else [f"{place}: {value!r} is no {kind}"]
        if kind.startswith("Union["):
            return [] if type(value) in (int, float) else [f"{place}: {value!r} is no number"]
        if found := _OPTIONAL.match(kind):
            return self._object(value, models[found[1]], found[1], models)
        if found := _LIST.match(kind):
            inner = found[1]
            if inner in models:
                return [
                    w for item in value for w in self._object(item, models[inner], place, models)
                ]
            texts = [
                text for item in value for text in (item if isinstance(item, list) else [item])
            ]
            return [f"{place}: {text!r} is no text" for text in texts if not isinstance(text, str)]
        return [f"{place}: {kind} is not understood by this test"]


@pytest.fixture(scope="session")
def description(shared_dir: Path) -> Description:
    return Description(shared_dir / "binance" / "usds-futures-api.json")


MOVING = [(50_000.0, 50_010.0, 49_990.0, 50_000.0 + n) for n in range(30)]


async def life(client: Client) -> dict[tuple[str, str], list[Json]]:
    """Ask everything there is, on an account with a history; the answers by endpoint."""
    answers: dict[tuple[str, str], list[Json]] = {}

    async def ask(method: str, path: str, **params: Any) -> Json:
        answer = await client.ask(method, path.removeprefix("/fapi"), **params)
        answers.setdefault((method, path), []).append(answer)
        return answer

    step = client.sandbox.step
    await step()
    await ask("POST", "/fapi/v1/order", symbol=SYMBOL, side="BUY", type="MARKET",
                      quantity="0.02", newOrderRespType="RESULT")  # fmt: skip
    await step()
    await ask("POST", "/fapi/v1/order/test", symbol=SYMBOL, side="BUY", type="MARKET",
              quantity="0.02")  # fmt: skip
    batch = [
        {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC",
         "quantity": "0.01", "price": str(price)}
        for price in (49_000, 48_900)
    ]  # fmt: skip
    placed = await ask("POST", "/fapi/v1/batchOrders", batchOrders=quoted(batch))
    ids = [one["orderId"] for one in placed]
    changed = [
        {"symbol": SYMBOL, "side": "BUY", "orderId": number, "quantity": "0.012", "price": "49100"}
        for number in ids
    ]
    await ask("PUT", "/fapi/v1/batchOrders", batchOrders=quoted(changed))
    await ask("PUT", "/fapi/v1/order", symbol=SYMBOL, side="BUY", orderId=ids[0],
              quantity="0.013", price="49200")  # fmt: skip
    for path in ("/fapi/v1/openOrder", "/fapi/v1/order", "/fapi/v1/orderAmendment"):
        await ask("GET", path, symbol=SYMBOL, orderId=ids[0])
    await ask("GET", "/fapi/v1/openOrders")
    await ask("DELETE", "/fapi/v1/order", symbol=SYMBOL, orderId=ids[0])
    await ask("DELETE", "/fapi/v1/batchOrders", symbol=SYMBOL, orderIdList=quoted([ids[1]]))
    algos = [
        await ask("POST", "/fapi/v1/algoOrder", algoType="CONDITIONAL", symbol=SYMBOL, **kind)
        for kind in (
            {"side": "SELL", "type": "STOP_MARKET", "triggerPrice": "49000",
             "closePosition": "true"},
            {"side": "SELL", "type": "TRAILING_STOP_MARKET", "callbackRate": "5",
             "quantity": "0.01", "reduceOnly": "true"},
            {"side": "SELL", "type": "TAKE_PROFIT", "triggerPrice": "50100", "price": "50090",
             "quantity": "0.01"},
            {"side": "SELL", "type": "STOP_MARKET", "triggerPrice": "49995",
             "quantity": "0.001", "reduceOnly": "true"},
        )
    ]  # fmt: skip
    await ask("GET", "/fapi/v1/openAlgoOrders")
    while not (await ask("GET", "/fapi/v1/algoOrder", algoId=algos[3]["algoId"]))["actualOrderId"]:
        await step()
    await ask("GET", "/fapi/v1/allAlgoOrders", symbol=SYMBOL)
    await ask("DELETE", "/fapi/v1/algoOrder", algoId=algos[2]["algoId"])
    await ask("DELETE", "/fapi/v1/algoOpenOrders", symbol=SYMBOL)
    await ask("DELETE", "/fapi/v1/allOpenOrders", symbol=SYMBOL)
    await ask("POST", "/fapi/v1/countdownCancelAll", symbol=SYMBOL, countdownTime=0)
    for path in ("userTrades", "allOrders", "leverageBracket", "commissionRate", "adlQuantile",
                 "forceOrders", "symbolConfig"):  # fmt: skip
        await ask("GET", f"/fapi/v1/{path}", symbol=SYMBOL)
    for path in ("v2/balance", "v3/balance", "v2/account", "v3/account", "v2/positionRisk",
                 "v3/positionRisk", "v1/accountConfig", "v1/positionSide/dual",
                 "v1/multiAssetsMargin", "v1/income", "v1/rateLimit/order",
                 "v1/feeBurn"):  # fmt: skip
        await ask("GET", f"/fapi/{path}")
    await ask("POST", "/fapi/v1/feeBurn", feeBurn="true")
    await ask("POST", "/fapi/v1/leverage", symbol=SYMBOL, leverage=10)
    return answers


async def isolated_life(client: Client) -> dict[tuple[str, str], list[Json]]:
    """What is asked of isolated positions alone; the answers by endpoint."""
    step = client.sandbox.step
    await step()
    await client.ask("POST", "/v1/marginType", symbol=SYMBOL, marginType="ISOLATED")
    await client.buy("0.02")
    await step()
    adjust = ("POST", "/fapi/v1/positionMargin")
    history = ("GET", "/fapi/v1/positionMargin/history")
    changed = await client.ask("POST", "/v1/positionMargin", symbol=SYMBOL, amount=5, type=1)
    listed = await client.ask("GET", "/v1/positionMargin/history", symbol=SYMBOL)
    return {adjust: [changed], history: [listed]}


def quoted(value: Json) -> str:
    return quote(json.dumps(value))


async def test_every_signed_answer_has_the_described_fields(
    stepped: Start, description: Description
) -> None:
    async with stepped(table_of(MOVING)) as client:
        answers = await life(client)
    async with stepped(table_of(MOVING)) as client:
        answers |= await isolated_life(client)
    wrong = [
        fault
        for (method, path), found in answers.items()
        for answer in found
        for fault in description.check(
            answer, description.endpoints[method, path]["resp"], description.rest
        )
    ]
    assert sorted(set(wrong)) == []


async def test_every_public_answer_has_the_described_fields(
    stepped: Start, description: Description
) -> None:
    wrong: list[str] = []
    async with stepped(table_of(MOVING), flat(30, 3_000.0, "ETHUSDT")) as client:
        await client.sandbox.step()
        await client.sandbox.step()
        for (method, path), endpoint in ROUTES.items():
            if endpoint.security != "none":
                continue
            known = description.endpoints[method, path]
            params = {"symbol": SYMBOL} if "symbol" in known["params"] else {}
            if "pair" in known["params"]:
                params = {"pair": SYMBOL}
            if "interval" in known["params"]:
                params["interval"] = "1m"
            answers = [await client.public(path.removeprefix("/fapi"), **params)]
            if path.endswith(
                ("ticker/price", "bookTicker", "24hr", "premiumIndex", "symbolAdlRisk")
            ):
                answers.append(await client.public(path.removeprefix("/fapi")))
            for answer in answers:
                if "lines" in path:  # rows of a kline are lists, see the tests of klines
                    assert all(len(row) == 12 for row in answer)
                elif known["resp"] is not None:
                    wrong += description.check(answer, known["resp"], description.rest)
                else:
                    assert answer == {}
    assert sorted(set(wrong)) == []


async def test_weights_and_methods_are_those_of_the_description(description: Description) -> None:
    strange = [route for route in ROUTES if route not in description.endpoints]
    assert strange == []
    for route, endpoint in ROUTES.items():
        known = description.endpoints[route]
        signed = known["signed"]
        assert (endpoint.security == "signed") == signed, route
        plain = re.match(r"^Weight\(IP\): (\d+)$", known["weight"])
        if plain and isinstance(endpoint.weight, int):
            assert endpoint.weight == int(plain[1]), route


STREAMS = {
    "btcusdt@kline_1m": "KlineCandlestickStreamsResponse",
    "btcusdt_perpetual@continuousKline_1m": "ContinuousContractKlineCandlestickStreamsResponse",
    "btcusdt@aggTrade": "AggregateTradeStreamsResponse",
    "btcusdt@markPrice@1s": "MarkPriceStreamResponse",
    "!markPrice@arr": "MarkPriceStreamForAllMarketResponseInner",
    "btcusdt@ticker": "IndividualSymbolTickerStreamsResponse",
    "!ticker@arr": "AllMarketTickersStreamsResponseInner",
    "btcusdt@miniTicker": "IndividualSymbolMiniTickerStreamResponse",
    "!miniTicker@arr": "AllMarketMiniTickersStreamResponseInner",
    "btcusdt@bookTicker": "IndividualSymbolBookTickerStreamsResponse",
    "!bookTicker": "AllBookTickersStreamResponse",
    "btcusdt@depth": "DiffBookDepthStreamsResponse",
    "btcusdt@depth5@100ms": "PartialBookDepthStreamsResponse",
}


async def test_every_market_message_has_the_described_fields(
    stepped: Start, description: Description
) -> None:
    heard: dict[str, Json] = {}
    async with stepped(table_of(MOVING)) as client:
        names = "/".join(STREAMS)
        public = await client.listen(f"/public/stream?streams={names}")
        market = await client.listen(f"/market/stream?streams={names}")
        await public.ask("LIST_SUBSCRIPTIONS", [])
        await market.ask("LIST_SUBSCRIPTIONS", [])
        for _ in range(4):
            await client.sandbox.step()
        for listener in (public, market):
            await listener.ask("LIST_SUBSCRIPTIONS", [], "end")
            heard |= {m["stream"]: m["data"] for m in listener.heard if "stream" in m}
    assert sorted(heard) == sorted(STREAMS)
    wrong = [
        fault
        for name, model in STREAMS.items()
        for fault in description.check(heard[name], model, description.streams)
    ]
    assert sorted(set(wrong)) == []


async def test_every_account_message_has_the_described_fields(
    stepped: Start, description: Description
) -> None:
    models = {
        "ORDER_TRADE_UPDATE": "OrderTradeUpdate", "ACCOUNT_UPDATE": "AccountUpdate",
        "ALGO_UPDATE": "AlgoUpdate", "TRADE_LITE": "TradeLite",
        "ACCOUNT_CONFIG_UPDATE": "AccountConfigUpdate", "listenKeyExpired": "ListenKeyExpired",
        "MARGIN_CALL": "MarginCall", "forceOrder": "LiquidationOrderStreamsResponse",
    }  # fmt: skip
    settings = {"exchange": ExchangeSettings(funding_rate=0.0001, leverage=100)}
    slide = [(float(price),) * 4 for price in range(49_980, 49_000, -20)]  # danger comes first
    falling = [*MOVING, *slide, (49_000.0, 49_000.0, 40_000.0, 40_000.0), *MOVING]
    table = table_of(falling, start=START - 40 * 60_000)  # funding is due within it
    async with stepped(table, **settings) as client:
        listener = await client.user_stream()
        liquidations = await client.listen("/market/ws/btcusdt@forceOrder")
        await liquidations.ask("LIST_SUBSCRIPTIONS", [])
        await life(client)
        await client.ask("POST", "/v1/leverage", symbol=SYMBOL, leverage=100)
        await client.buy("10")
        while not (await client.sandbox.step()).ended:
            pass
        forced = await liquidations.event("forceOrder")
        assert client.sandbox.expire_listen_keys() == 1
        await listener.event("listenKeyExpired")
    kinds = {message["e"] for message in listener.heard}
    assert kinds == set(models) - {"forceOrder"}
    wrong = [
        fault
        for message in (*listener.heard, forced)
        for fault in description.check(
            {k: v for k, v in message.items() if k != "e" or message["e"] == "forceOrder"},
            models[message["e"]],
            description.streams,
        )
    ]
    assert sorted(set(wrong)) == []


async def test_every_answer_of_the_websocket_api_has_the_described_fields(
    flowing: Flow, description: Description
) -> None:
    models = {
        "order.place": "NewOrderResponse", "order.modify": "ModifyOrderResponse",
        "order.cancel": "CancelOrderResponse", "order.status": "QueryOrderResponse",
        "algoOrder.place": "NewAlgoOrderResponse", "algoOrder.cancel": "CancelAlgoOrderResponse",
        "account.status": "AccountInformationResponse",
        "v2/account.status": "AccountInformationV2Response",
        "account.balance": "FuturesAccountBalanceResponse",
        "v2/account.balance": "FuturesAccountBalanceV2Response",
        "account.position": "PositionInformationResponse",
        "v2/account.position": "PositionInformationV2Response",
        "userDataStream.start": "StartUserDataStreamResponse",
        "userDataStream.ping": "KeepaliveUserDataStreamResponse",
        "userDataStream.stop": "CloseUserDataStreamResponse",
        "ticker.price": "SymbolPriceTickerResponse", "ticker.book": "SymbolOrderBookTickerResponse",
    }  # fmt: skip
    assert set(models) | {"depth"} == set(METHODS)
    client = await flowing()
    answers = await api_life(client)
    wrong = []
    for method, model in models.items():
        answer = answers[method]
        assert answer["status"] == 200, answer
        answer["id"] = str(answer["id"])
        if "one_of_schemas" in description.api[model]:
            model += "1"
        if method == "order.status":
            answer.pop("rateLimits")  # the description leaves them out here alone
        if method == "userDataStream.stop":
            assert answer.pop("result") == {}
            answer["result"] = None
        wrong += description.check(answer, model, description.api)
    assert sorted(set(wrong)) == []
    assert set(answers["depth"]["result"]) == {"lastUpdateId", "E", "T", "bids", "asks"}


async def api_life(client: Client) -> dict[str, Json]:
    answers = {}
    api = await Api.open(client)

    async def ask(method: str, *, signed: bool = True, **params: Any) -> Json:
        answers[method] = await api.ask(method, signed=signed, **params)
        return answers[method].get("result")

    await ask("userDataStream.start", signed=False, apiKey=client.key)
    await ask("userDataStream.ping", signed=False, apiKey=client.key)
    await ask("order.place", symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.01")
    order = await ask("order.place", symbol=SYMBOL, side="BUY", type="LIMIT", quantity="0.01",
                      price="49000", timeInForce="GTC")  # fmt: skip
    here = {"symbol": SYMBOL, "orderId": order["orderId"]}
    await ask("order.modify", **here, side="BUY", quantity="0.01", price="49100")
    await ask("order.status", **here)
    await ask("order.cancel", **here)
    algo = await ask("algoOrder.place", algoType="CONDITIONAL", symbol=SYMBOL, side="SELL",
                     type="STOP_MARKET", triggerPrice="49000", quantity="0.01")  # fmt: skip
    await ask("algoOrder.cancel", algoId=algo["algoId"])
    for method in METHODS:
        if method.endswith(("account.status", "account.balance", "account.position")):
            await ask(method)
    for method in ("ticker.price", "ticker.book", "depth"):
        await ask(method, signed=False, symbol=SYMBOL)
    await ask("userDataStream.stop", signed=False, apiKey=client.key)
    return answers


def test_settings_that_cannot_be_are_named() -> None:
    with pytest.raises(ValueError, match="speed -1"):
        SandboxSettings(speed=-1.0)
