"""Every value has a form in a record, and no secret has one."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import uuid
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlewick.audit.encoding import LARGEST, Encoder
from candlewick.audit.redaction import redact
from candlewick.models import AccountSnapshot, Fill, Order, OrderType, OrderUpdate, Side


class Colour(enum.Enum):
    RED = "red"


class Point(msgspec.Struct):
    x: float
    y: Any = None


@dataclasses.dataclass
class Account:
    name: str = "n"
    api_secret: str = "hush"


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Strange:
    def __repr__(self) -> str:
        return "Strange(password='hush')"


FORMS: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    (7, 7),
    (2**70, 2**70),
    (1.5, 1.5),
    (math.nan, "NaN"),
    (math.inf, "Infinity"),
    (-math.inf, "-Infinity"),
    ("text", "text"),
    ("\ud800", "\\ud800"),
    (b"abc", "YWJj"),
    (decimal.Decimal("1.10"), "1.10"),
    (decimal.Decimal("NaN"), "NaN"),
    (datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.UTC), "2024-01-02T03:04:05Z"),
    (datetime.date(2024, 1, 2), "2024-01-02"),
    (datetime.timedelta(days=1), "P1D"),
    (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    (Colour.RED, "red"),
    (Side.BUY, "buy"),
    ({3}, [3]),
    ((1, 2), [1, 2]),
    ({1: 2, None: 3}, {"1": 2, "null": 3}),
    (MappingProxyType({"a": math.nan}), {"a": "NaN"}),
    (np.float64(1.5), 1.5),
    (np.float64("nan"), "NaN"),
    (np.int64(4), 4),
    (np.bool_(True), True),
    (np.array([1.0, math.inf]), [1.0, "Infinity"]),
    (Point(math.nan), {"x": "NaN", "y": None}),
    ({"a": None, "b": [math.nan, {"c": -math.inf}]}, {"a": None, "b": ["NaN", {"c": "-Infinity"}]}),
    (ValueError("bad"), {"error": "ValueError", "message": "bad"}),
    (1j, {"unencodable": "1j"}),
    ({"deep": object}, {"deep": {"unencodable": "<class 'object'>"}}),
    (Unspeakable(), {"unencodable": "<Unspeakable whose repr raised RuntimeError>"}),
    (Account(), {"name": "n", "api_secret": "[redacted]"}),
]


@pytest.mark.parametrize(("value", "form"), FORMS, ids=lambda value: type(value).__name__)
def test_each_value_has_its_form_the_first_time_and_later(value: Any, form: Any) -> None:
    encoder = Encoder()
    for _ in range(3):
        assert json.loads(encoder.encode(value)) == form
        assert json.loads(encoder.encode({"value": value})) == {"value": form}
        assert json.loads(encoder.encode([value])) == [form]


def test_what_contains_itself_ends_somewhere() -> None:
    circle: list[Any] = []
    circle.append(circle)
    encoder = Encoder()
    assert b"nested deeper than" in encoder.encode({"circle": circle})
    assert encoder.failures == 1


def test_an_order_keeps_all_its_fields() -> None:
    order = Order("a-1", "BTCUSDT", Side.BUY, OrderType.LIMIT, 0.1, price=42_000.5)
    encoder = Encoder()
    for _ in range(3):
        assert msgspec.json.decode(encoder.encode(order), type=Order) == order


def test_a_struct_with_none_and_nan_tells_them_apart_on_the_fast_path() -> None:
    update = OrderUpdate("a-1", "BTCUSDT", "filled", 1, average_price=math.nan)  # type: ignore[arg-type]
    encoder = Encoder()
    for _ in range(3):
        form = json.loads(encoder.encode(update))
        assert (form["average_price"], form["order"]) == ("NaN", None)


def test_an_account_with_many_fills_is_recorded_whole() -> None:
    """It is an input: a replay needs all of it. A long absence or run makes it that large."""
    fill = Fill(1, "cw-run-000001-entry", "BTCUSDT", Side.BUY, 42_000.5, 0.25, 5.25, 1)
    fills = tuple(msgspec.structs.replace(fill, trade_id=number) for number in range(10_000))
    snapshot = AccountSnapshot(1_700_000_000_000, 9_000.0, fills=fills)
    encoder = Encoder()
    for _ in range(2):
        assert msgspec.json.decode(encoder.encode(snapshot), type=AccountSnapshot) == snapshot


def test_too_much_is_cut_and_says_how_much_it_was() -> None:
    encoder = Encoder()
    for _ in range(3):
        form = json.loads(encoder.encode({"text": "x" * LARGEST}))
        assert form["oversized"] == LARGEST + len('{"text":""}')
        assert form["start"].startswith('{"text":"xxx')


SECRETS = [
    "secret", "api_secret", "apiSecret", "API_SECRET", "secretKey", "password", "passwd",
    "passphrase", "token", "access_token", "api_key", "apiKey", "api-key", "X-MBX-APIKEY",
    "listenKey", "listen_key", "private_key", "signature", "Authorization", "cookie", "key",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_what_stands_under_the_name_of_a_secret_is_redacted(name: str) -> None:
    encoder = Encoder()
    for data in (
        {name: "hush", "symbol": "BTCUSDT"},
        {"nested": [{"deeper": {name: "hush"}}]},
        {name: ["hush", {"x": "hush"}]},
        msgspec.defstruct("Holder", [("holds", Any)])({name: "hush"}),
    ):
        for _ in range(3):
            encoded = encoder.encode(data)
            assert b"hush" not in encoded
            assert b"[redacted]" in encoded


def test_a_secret_in_a_dict_whose_shape_was_harmless_before_is_found() -> None:
    encoder = Encoder()
    for _ in range(3):
        encoder.encode({"a": 1, "b": "x", "c": 1.5})
    assert b"hush" not in encoder.encode({"a": {"password": "hush"}, "b": "x", "c": 1.5})
    assert b"hush" not in encoder.encode({"a": [{"password": "hush"}], "b": "x", "c": 1.5})
    assert b"hush" not in encoder.encode({"a": 1, "b": "password=hush", "c": 1.5})
    assert b"hush" not in encoder.encode({"a": Account(api_secret="hush"), "b": "x", "c": 1.5})
    assert b"hush" not in encoder.encode({"a": Strange(), "b": "x", "c": 1.5})


@pytest.mark.parametrize(
    "text",
    [
        "GET /fapi/v1/order?timestamp=1&signature=hush failed",
        "POST listenKey=hush",
        "headers {'X-MBX-APIKEY': 'hush'}; x=1",
        "Config(api_secret='hush', name='n')",
        "x=1 Authorization: Bearer hush",
    ],
)
def test_secrets_within_texts_are_redacted(text: str) -> None:
    encoder = Encoder()
    for data in (text, {"error": text}, {"e": [text]}, ValueError(text)):
        for _ in range(3):
            assert b"hush" not in encoder.encode(data)


def test_words_that_only_look_like_secrets_stay() -> None:
    data = {"tokens": 3, "keys": [1], "passed": True, "monkey": "x", "token": None, "key": ""}
    assert json.loads(Encoder().encode(data)) == data
    assert redact({"reason": "secret: none"})["reason"] != "secret: none"


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="=:"), max_size=20)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz", max_size=5), inner)
    ),
    max_leaves=15,
)


@given(st.lists(json_values, min_size=1, max_size=5))
def test_what_json_has_comes_back_as_it_was(values: list[Any]) -> None:
    encoder = Encoder()
    for value in values * 2:
        assert json.loads(encoder.encode(value)) == value
    assert encoder.failures == 0


odd_numbers = st.floats() | st.decimals() | st.complex_numbers() | st.integers()
odd_things = st.none() | st.text() | st.binary(max_size=5) | st.datetimes() | st.timedeltas()
strange_things = st.builds(Strange) | st.sampled_from(
    [np.float32("nan"), np.datetime64("NaT"), object, len, Colour.RED]
)
odd_keys = st.text(max_size=3) | st.integers() | st.none() | st.floats()
odd_values = st.recursive(
    odd_numbers | odd_things | strange_things,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(odd_keys, inner, max_size=3)
        | st.builds(Point, st.floats(), inner)
    ),
    max_leaves=10,
)


@given(st.lists(odd_values, min_size=1, max_size=3))
def test_nothing_raises_and_everything_is_one_line_of_json(values: list[Any]) -> None:
    encoder = Encoder()
    for value in values * 2:
        encoded = encoder.encode(value)
        assert b"\n" not in encoded
        assert b"\0" not in encoded
        json.loads(encoded, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
