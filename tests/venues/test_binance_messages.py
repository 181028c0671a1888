"""Recorded messages and the exchange's own models: all are understood, with the right values."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from candlewick.models import OrderStatus, OrderType, PositionSide, Side
from candlewick.venues.binance import messages, orders
from candlewick.venues.binance.answers import (
    AccountConfig,
    AlgoAnswer,
    Balance,
    OrderAnswer,
    PositionRisk,
)
from candlewick.venues.binance.decoding import FrameDecoder, market_decoder, user_decoder
from candlewick.venues.binance.endpoints import (
    ACCOUNT_CONFIG,
    BALANCE,
    OPEN_ALGO_ORDERS,
    PLACE,
    POSITIONS,
)
from candlewick.venues.binance.messages import MarketMessage, UserMessage
from candlewick.venues.binance.tally import Tally
from tests.venues.api_models import STRUCTS, samples, user_models
from tests.venues.conftest import Connect

Json = dict[str, Any]


def same(value: Any, recorded: Any) -> bool:
    """Whether a decoded value means what was recorded; text that is a number means the number."""
    if isinstance(value, msgspec.Struct):
        return all(
            same(getattr(value, name), recorded[name])
            for name in value.__struct_fields__
            if name in recorded
        )
    if isinstance(value, tuple | list):
        return len(value) == len(recorded) and all(map(same, value, recorded))
    if isinstance(value, float):
        return value == float(recorded)
    return bool(value == recorded)


def differences(value: msgspec.Struct, recorded: Json) -> list[str]:
    """The fields of a message that do not mean what was recorded."""
    return [
        name
        for name in value.__struct_fields__
        if name in recorded and not same(getattr(value, name), recorded[name])
    ]


@pytest.mark.parametrize("folder", ["market_data_json", "user_data_json"])
@pytest.mark.parametrize("combined", [True, False])
def test_every_recorded_message_has_the_recorded_values(
    payloads: Path, folder: str, combined: bool
) -> None:
    tally = Tally()
    decoder: FrameDecoder[Any] = (
        market_decoder(tally) if folder.startswith("market") else user_decoder(tally)
    )
    files = sorted((payloads / folder).glob("*.json"))
    assert len(files) >= 9
    for file in files:
        recorded = json.loads(file.read_bytes())
        frame = {"stream": "name", "data": recorded} if combined else recorded
        message = decoder.decode(json.dumps(frame).encode())
        assert isinstance(message, msgspec.Struct), file.name
        assert message.__struct_config__.tag == recorded["e"]
        assert differences(message, recorded) == [], file.name
    assert not tally.malformed
    assert not tally.unknown


def test_every_recorded_answer_has_the_recorded_values(payloads: Path) -> None:
    folder = payloads / "http_json"
    pairs: list[tuple[str, Any, type]] = [
        ("balance", BALANCE, Balance), ("position_risk", POSITIONS, PositionRisk),
        ("open_algo_orders", OPEN_ALGO_ORDERS, AlgoAnswer), ("order_response", PLACE, OrderAnswer),
        ("account_info_v2", ACCOUNT_CONFIG, AccountConfig),
    ]  # fmt: skip
    assert {name for name, _, _ in pairs} == {file.stem for file in folder.glob("*.json")}
    for name, endpoint, kind in pairs:
        content = (folder / f"{name}.json").read_bytes()
        answer, recorded = endpoint.decoder.decode(content), json.loads(content)
        for value, row in zip(
            answer if isinstance(answer, list) else [answer],
            recorded if isinstance(recorded, list) else [recorded],
            strict=True,
        ):
            assert isinstance(value, kind)
            assert differences(value, row) == [], name


def state_in(payloads: Path, name: str) -> tuple[messages.OrderTradeUpdate, Any, Any]:
    decoder = user_decoder(Tally())
    message = decoder.decode((payloads / "user_data_json" / f"{name}.json").read_bytes())
    assert isinstance(message, messages.OrderTradeUpdate)
    state = message.o
    return (
        message,
        orders.update_of_state(state, state.c, message.T),
        orders.fill_of(state, state.c, message.T),
    )


@pytest.mark.parametrize(
    ("name", "status", "quantity", "fee", "side", "ours"),
    [
        ("order_update_new", OrderStatus.ACKNOWLEDGED, 0.0, 0.0, Side.BUY, True),
        ("order_update_trade", OrderStatus.PARTIALLY_FILLED, 0.001, 0.01, Side.BUY, True),
        ("order_update_trade_partial", OrderStatus.PARTIALLY_FILLED, 0.001, 0.01, Side.BUY, True),
        ("order_update_calculated", OrderStatus.FILLED, 0.014, 0.06937084, Side.SELL, False),
        ("order_update_calculated_pending", OrderStatus.ACKNOWLEDGED, 0.0, 0, Side.SELL, False),
        ("order_update_adl", OrderStatus.FILLED, 0.005, 0.105, Side.BUY, False),
        ("order_update_insurance", OrderStatus.FILLED, 0.02, 0.45, Side.SELL, False),
        ("order_update_settlement", OrderStatus.FILLED, 0.01, 0.25, Side.SELL, False),
        ("order_update_delivery", OrderStatus.FILLED, 1.0, 0.0, Side.SELL, False),
    ],
)
def test_what_recorded_order_messages_mean(
    payloads: Path, name: str, status: OrderStatus, quantity: float, fee: float, side: Side,
    ours: bool,
) -> None:  # fmt: skip
    message, update, fill = state_in(payloads, name)
    assert update is not None
    assert (update.status, update.filled) == (status, quantity)
    assert (fill.quantity if fill else 0.0, fill.fee if fill else 0.0) == (quantity, fee)
    assert update.order.side is side
    assert orders.is_exchange_made(message.o.c) is not ours
    if not ours:
        assert update.order.reduce_only
    if fill is not None:
        assert (fill.time, fill.price, fill.realized) == (
            message.T, message.o.L, message.o.rp,
        )  # fmt: skip
        assert fill.position_side is PositionSide[message.o.ps]


def test_what_recorded_conditional_orders_mean(payloads: Path) -> None:
    content = (payloads / "http_json" / "open_algo_orders.json").read_bytes()
    (answer,) = OPEN_ALGO_ORDERS.decoder.decode(content)
    order = orders.listed_algo_order(answer)
    assert (order.client_id, order.type, order.side) == (
        "test-algo-order-1", OrderType.STOP_MARKET, Side.BUY,
    )  # fmt: skip
    assert (order.trigger_price, order.quantity, str(order.trigger_by)) == (45_000.0, 0.001, "mark")
    assert (order.venue_id, order.created_time) == ("123456789", 1_625_474_304_765)


_ABSENT = {  # models without an event name, or that the venue does not take apart
    "ConditionalOrderTriggerRejectOr", "GridUpdateGu", "StrategyUpdateSu", "AccountConfigUpdateAc",
    "AccountConfigUpdateAi", "MarginCallPInner", "ContractInfoStreamResponseBksInner",
    "CompositeIndexSymbolInformationStreamsResponseCInner", "UserDataStreamEventsResponse",
}  # fmt: skip


def test_every_model_of_the_exchange_has_a_struct_with_its_names(api: Json) -> None:
    models = api["ws_stream_models"]
    for name, struct in STRUCTS.items():
        fields = set(struct.__struct_fields__)
        assert fields <= set(models[name]) | {"E"}, name  # no name that the exchange does not have
    alike = {"AllBookTickers", "AllMarket", "MarkPriceStreamForAll", "AssetIndexResponseInner"}
    for name in set(models) - set(STRUCTS) - _ABSENT:
        assert name.startswith(tuple(alike)) or name.endswith("ResponseK"), name
    answers = {
        "NewOrderResponse": OrderAnswer, "QueryOrderResponse": OrderAnswer,
        "PositionInformationV3ResponseInner": PositionRisk,
        "FuturesAccountBalanceV3Response": Balance,
    }  # fmt: skip
    for name, struct in answers.items():
        required = {field.name for field in msgspec.structs.fields(struct) if field.required}
        assert required <= set(api["rest_models"][name]), name


async def test_every_event_of_the_exchange_is_read_or_counted(api: Json, connect: Connect) -> None:
    """One message of each model, with all its fields, through the venue's own doors."""
    venue, heard = await connect(stale_after_s=1e6)
    assert venue._market is not None
    assert venue._account is not None
    venue._spawn = lambda work, _name: work.close()  # type: ignore[method-assign]
    tally, of_account = venue.tally, user_models(api)
    seen = 0
    for model, struct, message in samples(api):
        feed: Any = venue._account if model in of_account else venue._market
        connection = feed.keeper.connection
        for frame in (message, {"stream": "x", "data": message}):
            before = tally.messages[struct.__name__]
            feed._on_frame(connection, msgspec.json.encode(frame))
            assert tally.messages[struct.__name__] == before + 1, model
            seen += 1
        feed._on_frame(connection, msgspec.json.encode({"stream": "x", "data": [message]}))
    assert seen >= 60
    assert tally.unknown == {"list": seen // 2}, "streams of all symbols bring lists"
    assert not tally.malformed
    assert not heard.malformed
    assert not heard.fatal


def test_the_recorded_market_session_is_understood_to_the_last_message(shared_dir: Path) -> None:
    file = shared_dir / "data" / "btcusdt-usdm-raw-2024-08-08.jsonl.gz"
    if not file.is_file():
        pytest.skip("no recorded session beside the market data")
    tally = Tally()
    decode = market_decoder(tally).decode
    counts: dict[str, int] = {}
    last_update = 0
    with gzip.open(file, "rb") as lines:
        for line in lines:
            frame = line.split(b" ", 1)[1]
            if frame.startswith(b'{"lastUpdateId"'):
                continue  # the one answer over REST in the recording: the book to begin with
            message = decode(frame)
            name = type(message).__name__
            counts[name] = counts.get(name, 0) + 1
            if isinstance(message, messages.DepthUpdate):
                assert last_update in (0, message.pu)  # the chain of the order book is whole
                last_update = message.u
    assert counts == {"BookTicker": 66_089, "Trade": 21_313, "DepthUpdate": 6_551}
    assert not tally.malformed
    assert not tally.unknown


def test_all_kinds_of_messages_are_told_apart_by_their_names() -> None:
    for union in (MarketMessage, UserMessage):
        tags = [member.__struct_config__.tag for member in union.__args__]  # type: ignore[attr-defined]
        assert len(set(tags)) == len(tags)
        assert None not in tags


@pytest.mark.parametrize("text", ["", "0", "1.5", "-2e3"])
def test_numbers_in_text(text: str) -> None:
    assert messages.number(text) == float(text or 0)


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "1e999", "x", "1 2"])
def test_text_that_is_no_number(text: str) -> None:
    with pytest.raises(ValueError):
        messages.number(text)
