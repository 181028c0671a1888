"""The exchange's own list of what its streams bring: our struct for each model, and a sample."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from candlewick.venues.binance import messages

Json = dict[str, Any]

STRUCTS: dict[str, type[msgspec.Struct]] = {
    "KlineCandlestickStreamsResponse": messages.Kline,
    "KlineCandlestickStreamsResponseK": messages.KlineBar,
    "ContinuousContractKlineCandlestickStreamsResponse": messages.ContinuousKline,
    "AggregateTradeStreamsResponse": messages.AggTrade,
    "MarkPriceStreamResponse": messages.MarkPrice,
    "IndividualSymbolBookTickerStreamsResponse": messages.BookTicker,
    "DiffBookDepthStreamsResponse": messages.DepthUpdate,
    "PartialBookDepthStreamsResponse": messages.DepthUpdate,
    "RpiDiffBookDepthStreamsResponse": messages.DepthUpdate,
    "IndividualSymbolTickerStreamsResponse": messages.Ticker,
    "IndividualSymbolMiniTickerStreamResponse": messages.MiniTicker,
    "LiquidationOrderStreamsResponse": messages.ForceOrder,
    "AllMarketLiquidationOrderStreamsResponseO": messages.Forced,
    "ContractInfoStreamResponse": messages.ContractInfo,
    "CompositeIndexSymbolInformationStreamsResponse": messages.CompositeIndex,
    "AssetIndexResponse": messages.AssetIndex,
    "TradingSessionStreamResponse": messages.TradingSession,
    "OrderTradeUpdate": messages.OrderTradeUpdate,
    "OrderTradeUpdateO": messages.OrderState,
    "AccountUpdate": messages.AccountUpdate,
    "AccountUpdateA": messages.AccountChange,
    "AccountUpdateABInner": messages.BalanceChange,
    "AccountUpdateAPInner": messages.PositionChange,
    "AlgoUpdate": messages.AlgoUpdate,
    "AlgoUpdateO": messages.AlgoState,
    "TradeLite": messages.TradeLite,
    "AccountConfigUpdate": messages.AccountConfigUpdate,
    "MarginCall": messages.MarginCall,
    "ListenKeyExpired": messages.ListenKeyExpired,
    "ConditionalOrderTriggerReject": messages.ConditionalReject,
    "StrategyUpdate": messages.StrategyUpdate,
    "GridUpdate": messages.GridUpdate,
}
"""The struct that reads each model; the names of fields are the exchange's."""

_ALIKE = {
    "AllBookTickersStreamResponse": messages.BookTicker,
    "AllMarketLiquidationOrderStreamsResponse": messages.ForceOrder,
    "AllMarketMiniTickersStreamResponse": messages.MiniTicker,
    "AllMarketTickersStreamsResponse": messages.Ticker,
    "MarkPriceStreamForAllMarketResponse": messages.MarkPrice,
}
"""Streams of all symbols, whose events are those of one symbol."""

_EVENTS_OF_THE_ACCOUNT = "UserDataStreamEventsResponse"
_NAMES = re.compile(r"[A-Z]\w+")
_TEXTS = {"s": "BTCUSDT", "S": "BUY", "X": "NEW", "x": "NEW", "N": "USDT", "ps": "BOTH"}


def user_models(api: Json) -> set[str]:
    """The models of the account's stream."""
    union = api["ws_stream_models"][_EVENTS_OF_THE_ACCOUNT]["actual_instance"]
    return set(_NAMES.findall(union)) & set(api["ws_stream_models"])


def events(api: Json) -> list[str]:
    """All models that are an event of a stream, and not a part of one."""
    models = api["ws_stream_models"]
    parts = {
        name
        for model, fields in models.items()
        if model != _EVENTS_OF_THE_ACCOUNT
        for kind in fields.values()
        for name in _NAMES.findall(kind)
    }
    return [
        name
        for name in models
        if name not in parts and not name.endswith("Inner") and name != _EVENTS_OF_THE_ACCOUNT
    ]


def samples(api: Json) -> Iterator[tuple[str, type[msgspec.Struct], Json]]:
    """For every event: its model, the struct that reads it, and a message with all its fields."""
    for model in events(api):
        struct = STRUCTS.get(model) or _ALIKE[model]
        message = _sample(api["ws_stream_models"], model)
        yield model, struct, message | {"e": struct.__struct_config__.tag}


def _sample(models: Json, model: str) -> Json:
    values = {name: _value(models, name, kind) for name, kind in models[model].items()}
    if model.endswith("K"):  # a candle
        values |= {"i": "1m", "t": 1_700_000_040_000, "T": 1_700_000_099_999}
    return values


def _value(models: Json, name: str, kind: str) -> Any:
    part = next((found for found in _NAMES.findall(kind) if found in models), None)
    if part is not None:
        return [_sample(models, part)] if "List[" in kind else _sample(models, part)
    if "List[" in kind:
        return [["1.5", "2"]]
    if "int" in kind:
        return 1_700_000_040_000
    return True if "bool" in kind else _TEXTS.get(name, "1.5")
