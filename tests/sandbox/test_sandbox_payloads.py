"""The recorded sample messages: the sandbox's have the same fields with the same JSON types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from candlewick.exchange import ExchangeSettings
from tests.sandbox.conftest import Start
from tests.sandbox.sandbox_client import SYMBOL, table_of

Json = Any

# Where a sample is older than the exchange's own description, the description holds; see
# test_sandbox_fields. The commission is left out of events that are no trade.
OLDER = {
    "order_update_new.json": {"o.N", "o.n", "o.AP", "o.cr"},
    "order_update_trade.json": {"o.AP", "o.cr"},
    "order_update_trade_partial.json": {"o.AP", "o.cr"},
    "order_update_calculated.json": {"o.AP", "o.cr"},
    "algo_update_new.json": {"o.rm"},
    "algo_update_canceled.json": {"o.rm"},
    "open_algo_orders.json": {"type"},
}


def shape(value: Json, place: str = "") -> dict[str, str]:
    """Every field with its place and JSON type; of a list its first member."""
    if isinstance(value, dict):
        found = {}
        for name, inner in value.items():
            found |= shape(inner, f"{place}.{name}" if place else name)
        return found
    if isinstance(value, list):
        return shape(value[0], place) if value else {}
    return {place: type(value).__name__}


def differences(sample: Json, ours: Json, left_out: set[str]) -> list[str]:
    """Fields of the sample that ours lack, or have with another type."""
    wanted, found = shape(sample), shape(ours)
    return [
        f"{place}: {kind} in the sample, {found.get(place, 'missing')} here"
        for place, kind in wanted.items()
        if place not in left_out and found.get(place) != kind
    ]


@pytest.fixture
def samples(shared_dir: Path) -> dict[str, Json]:
    folder = shared_dir / "binance" / "payloads"
    return {path.name: json.loads(path.read_text()) for path in sorted(folder.glob("*/*.json"))}


STREAMS = {
    "agg_trade_stream.json": "btcusdt@aggTrade",
    "book_ticker_stream.json": "btcusdt@bookTicker",
    "depth_update_stream.json": "btcusdt@depth@100ms",
    "mark_price_stream.json": "btcusdt@markPrice@1s",
    "ticker_stream.json": "btcusdt@ticker",
    "trade_stream.json": "btcusdt@trade",
}


async def test_market_messages_look_like_the_recorded_ones(
    stepped: Start, samples: dict[str, Json]
) -> None:
    rows = [(50_000.0, 50_050.0, 49_950.0, 50_000.0 + n) for n in range(6)]
    async with stepped(table_of(rows)) as client:
        names = "/".join([*STREAMS.values(), "btcusdt@kline_1m"])
        public = await client.listen(f"/public/stream?streams={names}")
        market = await client.listen(f"/market/stream?streams={names}")
        for listener in (public, market):
            await listener.ask("LIST_SUBSCRIPTIONS", [])
        while not (await client.sandbox.step()).ended:
            pass
        heard: dict[str, Json] = {}
        for listener in (public, market):
            await listener.ask("LIST_SUBSCRIPTIONS", [], "end")
            heard |= {
                m["stream"]: m["data"]
                for m in listener.heard
                if "stream" in m and m["data"].get("b", True)  # a depth event may be empty
            }
        klines = [m["data"] for m in market.heard if "kline" in m.get("stream", "")]
    for name, stream in STREAMS.items():
        assert differences(samples[name], heard[stream], set()) == [], name
    opened = next(kline for kline in klines if not kline["k"]["x"])
    closed = next(kline for kline in klines if kline["k"]["x"])
    assert differences(samples["kline_stream_open.json"], opened, set()) == []
    assert differences(samples["kline_stream_closed.json"], closed, set()) == []


async def test_account_messages_look_like_the_recorded_ones(
    stepped: Start, samples: dict[str, Json]
) -> None:
    ours: dict[str, Json] = {}
    rows = [(50_000.0, 50_000.0, 50_000.0, 50_000.0)] * 4
    rows += [(50_000.0, 50_000.0, 30_000.0, 30_000.0)]
    async with stepped(
        table_of(rows), exchange=ExchangeSettings(fill_parts=2, leverage=100)
    ) as client:
        listener = await client.user_stream()
        forced = await client.listen("/market/ws/btcusdt@forceOrder")
        await forced.ask("LIST_SUBSCRIPTIONS", [])
        await client.sandbox.step()
        await client.buy("5")
        await client.sandbox.step()
        algo = await client.algo("SELL", "TAKE_PROFIT", triggerPrice="52000", price="51900",
                                 quantity="0.01")  # fmt: skip
        await client.ask("DELETE", "/v1/algoOrder", algoId=algo["algoId"])
        ours["account_info_v2.json"] = await client.ask("GET", "/v2/account")
        ours["balance.json"] = await client.ask("GET", "/v2/balance")
        ours["position_risk.json"] = await client.ask("GET", "/v2/positionRisk", symbol=SYMBOL)
        limit = await client.limit("SELL", "0.01", "51000")
        here = {"symbol": SYMBOL, "orderId": limit["orderId"]}
        ours["order_response.json"] = await client.ask("GET", "/v1/order", **here)
        await client.algo("SELL", "STOP_MARKET", triggerPrice="100", quantity="0.01",
                          reduceOnly="true")  # fmt: skip
        ours["open_algo_orders.json"] = await client.ask("GET", "/v1/openAlgoOrders")
        while not (await client.sandbox.step()).ended:
            pass
        ours["liquidation_stream.json"] = await forced.event("forceOrder")
        calculated = await listener.next(
            lambda m: m["e"] == "ORDER_TRADE_UPDATE" and m["o"]["x"] == "CALCULATED"
        )
    updates = [m for m in listener.heard if m["e"] == "ORDER_TRADE_UPDATE"]
    algos = [m for m in listener.heard if m["e"] == "ALGO_UPDATE"]
    ours |= {
        "order_update_calculated.json": calculated,
        "order_update_new.json": next(m for m in updates if m["o"]["x"] == "NEW"),
        "order_update_trade.json": next(m for m in updates if m["o"]["X"] == "FILLED"),
        "order_update_trade_partial.json": next(
            m for m in updates if m["o"]["X"] == "PARTIALLY_FILLED"
        ),
        "algo_update_new.json": next(m for m in algos if m["o"]["X"] == "NEW"),
        "algo_update_canceled.json": next(m for m in algos if m["o"]["X"] == "CANCELED"),
        "account_update.json": next(m for m in listener.heard if m["e"] == "ACCOUNT_UPDATE"),
        "trade_lite.json": next(m for m in listener.heard if m["e"] == "TRADE_LITE"),
    }
    assert calculated["o"]["c"].startswith("autoclose-")
    for name, message in ours.items():
        assert differences(samples[name], message, OLDER.get(name, set())) == [], name
