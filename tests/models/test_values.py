"""Values: no instance dictionary, defaults, refusal of unknown and of impossible attributes."""

from __future__ import annotations

import gc
import math
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlewick import models
from candlewick.errors import ValidationError
from candlewick.models import (
    AccountSnapshot,
    Candle,
    Event,
    EventKind,
    Fill,
    Funding,
    Instrument,
    MarginBracket,
    Order,
    OrderStatus,
    OrderType,
    OrderUpdate,
    Position,
    PriceUpdate,
    Side,
    Signal,
    SignalAction,
    TimeInForce,
    interval_ms,
)

GOOD: dict[str, Any] = {
    "symbol": "BTCUSDT", "interval": "1m", "open_time": 1_640_991_660_000,
    "open": 46_319.0, "high": 46_385.0, "low": 46_300.0, "close": 46_377.0, "volume": 12.5,
}  # fmt: skip

VALUES = [
    Candle("BTCUSDT", "1m", 0, 1.0, 2.0, 0.5, 1.5, 10.0, 59_999),
    Event(EventKind.ERROR),
    Signal("BTCUSDT", SignalAction.BUY, 0),
    Order("run-1", "BTCUSDT", Side.BUY, OrderType.MARKET, 0.001),
    OrderUpdate("run-1", "BTCUSDT", OrderStatus.FILLED, 0),
    Fill(1, "run-1", "BTCUSDT", Side.BUY, 100.0, 0.001, 0.0, 0),
    Funding("BTCUSDT", -0.1, 0.0001, 0),
    Position("BTCUSDT"),
    Instrument("BTCUSDT"),
    MarginBracket(0.0, math.inf, 0.005),
    AccountSnapshot(0, 1_000.0),
    PriceUpdate("BTCUSDT", 100.0, 0.5, 0),
]
names = pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)


@names
def test_an_instance_has_no_dictionary(value: msgspec.Struct) -> None:
    assert not hasattr(value, "__dict__")


@names
def test_an_unknown_attribute_is_refused(value: msgspec.Struct) -> None:
    with pytest.raises(AttributeError):
        value.colour = "red"  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="colour"):
        msgspec.structs.replace(value, colour="red")
    fields = msgspec.structs.asdict(value)
    with pytest.raises(TypeError, match="colour"):
        type(value)(**fields, colour="red")


@names
def test_a_known_attribute_cannot_be_changed(value: msgspec.Struct) -> None:
    for name in value.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(value, name, getattr(value, name))


@names
def test_a_value_survives_json(value: msgspec.Struct) -> None:
    finite = (
        msgspec.structs.replace(value, max_quantity=9e9, market_max_quantity=9e9,
                                brackets=(MarginBracket(0.0, 9e9, 0.005),))
        if isinstance(value, Instrument)
        else msgspec.structs.replace(value, cap=9e9)
        if isinstance(value, MarginBracket)
        else value
    )  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(finite), type=type(value)) == finite


@pytest.mark.parametrize(
    "kind", [Candle, Event, Signal, Order, OrderUpdate, Fill, Funding, Position, PriceUpdate]
)
def test_the_garbage_collector_does_not_visit_what_the_hot_path_makes(kind: type) -> None:
    made = next(value for value in VALUES if type(value) is kind)
    assert not gc.is_tracked(msgspec.structs.replace(made))


def test_every_public_name_exists() -> None:
    assert all(hasattr(models, name) for name in models.__all__)


# -- defaults ----------------------------------------------------------------------------------


def test_a_candle_is_open_unless_it_is_said_to_be_closed() -> None:
    assert Candle("X", "1m", 0, 1.0, 1.0, 1.0, 1.0, 0.0, 59_999).is_closed is False
    assert Candle.checked(**GOOD).is_closed is False
    assert Candle.checked(**GOOD, is_closed=True).is_closed is True


def test_an_event_is_stamped_with_the_utc_time_at_which_it_is_made() -> None:
    before = time.time_ns() // 1_000_000
    event = Event(EventKind.TIMER_FIRED)
    after = time.time_ns() // 1_000_000
    assert before <= event.time <= after
    assert (event.payload, event.sequence) == (None, 0)
    assert Event(EventKind.TIMER_FIRED, time=7).time == 7


def test_orders_and_signals_ask_for_nothing_that_was_not_said() -> None:
    order = Order("run-1", "BTCUSDT", Side.SELL, OrderType.LIMIT, 0.003, price=100.0, filled=0.001)
    assert order.time_in_force is TimeInForce.GTC
    assert order.status is OrderStatus.PLANNED
    assert not order.reduce_only
    assert not order.close_position
    assert order.remaining == pytest.approx(0.002)
    signal = Signal("BTCUSDT", SignalAction.BUY, 5)
    assert (signal.size, signal.risk, signal.stop, signal.target, signal.reason) == (0, 0, 0, 0, "")


def test_a_position_knows_its_side_and_its_open_profit() -> None:
    flat, long, short = Position("X"), Position("X", 2.0, 100.0), Position("X", -2.0, 100.0)
    assert (flat.is_flat, flat.is_long, flat.is_short) == (True, False, False)
    assert (long.is_flat, long.is_long, long.is_short) == (False, True, False)
    assert (short.is_flat, short.is_long, short.is_short) == (False, False, True)
    assert (flat.unrealized(90.0), long.unrealized(90.0), short.unrealized(90.0)) == (0, -20, 20)


# -- words -------------------------------------------------------------------------------------


def test_what_the_words_of_an_order_mean() -> None:
    assert [side.sign for side in Side] == [1, -1]
    assert [side.opposite for side in Side] == [Side.SELL, Side.BUY]
    assert {kind for kind in OrderType if kind.is_conditional} == {
        OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET, OrderType.TRAILING_STOP_MARKET,
    }  # fmt: skip
    assert {status for status in OrderStatus if status.is_final} == {
        OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.REJECTED, OrderStatus.EXPIRED,
    }  # fmt: skip
    assert {status for status in OrderStatus if status.is_working} == {
        OrderStatus.ACKNOWLEDGED, OrderStatus.PARTIALLY_FILLED,
    }  # fmt: skip
    assert Side("buy") is Side.BUY
    assert f"{OrderType.STOP_MARKET}" == "stop_market"


def test_an_interval_has_a_length_and_a_typo_is_answered_with_the_nearest() -> None:
    assert [interval_ms(name) for name in ("1s", "1m", "1h", "1d", "1w")] == [
        1_000, 60_000, 3_600_000, 86_400_000, 604_800_000,
    ]  # fmt: skip
    with pytest.raises(ValidationError, match="unknown interval '15min'; did you mean '15m'"):
        interval_ms("15min")


# -- impossible candles ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"high": 46_376.0}, "high 46376.0 is below close 46377.0"),
        ({"high": 46_318.0, "close": 46_310.0}, "high 46318.0 is below open 46319.0"),
        ({"low": 46_320.0}, "low 46320.0 is above open 46319.0"),
        ({"open": 46_380.0, "low": 46_378.0}, "low 46378.0 is above close 46377.0"),
        ({"high": 46_290.0}, "high 46290.0 is below low 46300.0"),
        ({"volume": -0.5}, "volume -0.5 is not"),
        ({"volume": math.nan}, "volume nan is not"),
        ({"volume": math.inf}, "volume inf is not"),
        ({"open": math.nan}, "open nan is not"),
        ({"high": math.inf}, "high inf is not"),
        ({"low": -math.inf}, "low -inf is not"),
        ({"low": 0.0}, "low 0.0 is not"),
        ({"close": -1.0}, "close -1.0 is not"),
        ({"close_time": 1_640_991_660_000}, "close_time 1640991660000 is not after open_time"),
        ({"open_time": -60_000}, "is not after open_time -60000"),
        ({"symbol": ""}, "symbol is empty"),
        ({"interval": "7m"}, "unknown interval '7m'"),
    ],
)
def test_an_impossible_candle_is_refused_and_the_value_named(
    change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Candle.checked(**GOOD | change)
    assert words in str(caught.value)


def test_a_checked_candle_ends_with_the_last_millisecond_of_its_interval() -> None:
    candle = Candle.checked(**GOOD)
    assert candle.close_time == GOOD["open_time"] + 59_999
    assert (
        Candle.checked(**GOOD, close_time=GOOD["open_time"] + 9).close_time == candle.open_time + 9
    )


numbers = st.floats() | st.floats(0.1, 10.0)


@given(numbers, numbers, numbers, numbers, numbers)
def test_a_candle_is_refused_exactly_when_no_market_can_make_it(
    open_: float, high: float, low: float, close: float, volume: float
) -> None:
    prices = (open_, high, low, close)
    possible = (
        all(math.isfinite(price) and 0.0 < price < 1e300 for price in prices)
        and math.isfinite(volume)
        and 0.0 <= volume < 1e300
        and high == max(prices)
        and low == min(prices)
    )
    try:
        Candle.checked("X", "1m", 0, open_, high, low, close, volume)
    except ValidationError:
        assert not possible
    else:
        assert possible
