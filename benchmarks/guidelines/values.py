"""What values, checks, clocks and money cost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal

import msgspec

from benchmarks.rows import Row
from benchmarks.timing import in_turns, installed, progress
from candlewick.models import Candle, Instrument, Side

AREA = "guidelines"
_COUNT = 50_000
_TIME = 1_700_000_040_000
_FIELDS = ("BTCUSDT", "1m", _TIME, 100.0, 101.5, 99.5, 100.5, 12.5, _TIME + 59_999, True)


@dataclass(frozen=True)
class FrozenCandle:
    """The same fields as a frozen dataclass."""

    symbol: str
    interval: str
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    close_time: int
    is_closed: bool = False


@dataclass(slots=True)
class SlotsCandle:
    """The same fields as a dataclass with slots."""

    symbol: str
    interval: str
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    close_time: int
    is_closed: bool = False


def _build(make: type) -> None:
    for _ in range(_COUNT):
        make(*_FIELDS)


def _checked() -> None:
    for _ in range(_COUNT):
        Candle.checked(*_FIELDS)


def _pydantic_builder() -> Callable[[], None]:
    from pydantic import create_model

    values = dict(zip(FrozenCandle.__dataclass_fields__, _FIELDS, strict=True))
    model = create_model("Model", **{name: (type(value), ...) for name, value in values.items()})

    def build() -> None:
        for _ in range(_COUNT):
            model(**values)

    return build


def building() -> list[Row]:
    """Building a value of ten fields."""
    progress("values: building and checking")
    work = {
        "struct": lambda: _build(Candle),
        "checked": _checked,
        "frozen": lambda: _build(FrozenCandle),
        "slots": lambda: _build(SlotsCandle),
    }
    if installed("pydantic"):
        work["pydantic"] = _pydantic_builder()
    taken = {name: timing.each_ns(_COUNT) for name, timing in in_turns(work).items()}
    name, unit = "building a Candle of 10 fields", "ns"
    peers = {
        "frozen": "frozen dataclass",
        "slots": "dataclass with slots",
        "pydantic": "pydantic model",
    }
    return [
        *(
            Row(
                area=AREA, name=name, value=taken["struct"], unit=unit, better="lower",
                peer=label, peer_value=taken.get(peer),
            )
            for peer, label in peers.items()
        ),
        Row(
            area=AREA, name=name, value=taken["struct"], unit=unit, better="lower",
            peer="Candle.checked, the border's", peer_value=taken["checked"],
        ),
    ]  # fmt: skip


class _Kline(msgspec.Struct, gc=False):
    t: int
    T: int
    s: str
    i: str
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - the exchange's name
    v: str
    x: bool


class _Message(msgspec.Struct, gc=False):
    e: str
    E: int
    s: str
    k: _Kline


_KLINE = (
    b'{"e":"kline","E":1700000045123,"s":"BTCUSDT","k":{"t":1700000040000,"T":1700000099999,'
    b'"s":"BTCUSDT","i":"1m","f":100,"L":200,"o":"37012.10","c":"37015.60","h":"37020.00",'
    b'"l":"37001.20","v":"12.345","n":100,"x":false,"q":"456789.12","V":"6.1","Q":"225789.1",'
    b'"B":"0"}}'
)


def decoding() -> list[Row]:
    """Decoding what an exchange sends."""
    progress("values: decoding")
    decoder = msgspec.json.Decoder(_Message)

    def typed() -> None:
        for _ in range(_COUNT):
            decoder.decode(_KLINE)

    def plain() -> None:
        for _ in range(_COUNT):
            json.loads(_KLINE)

    taken = in_turns({"msgspec": typed, "json": plain})
    return [
        Row(
            area=AREA, name="decoding a kline message into types",
            value=taken["msgspec"].each_ns(_COUNT) / 1e3, unit="µs", better="lower",
            peer="json.loads into dicts", peer_value=taken["json"].each_ns(_COUNT) / 1e3,
            note="and it has checked the types",
        )
    ]  # fmt: skip


def clocks() -> list[Row]:
    """Reading the time."""
    progress("values: clocks")

    def integer() -> None:
        for _ in range(_COUNT):
            time.time_ns()

    def aware() -> None:
        for _ in range(_COUNT):
            datetime.now(UTC)

    taken = in_turns({"int": integer, "datetime": aware})
    return [
        Row(
            area=AREA, name="time.time_ns()", value=taken["int"].each_ns(_COUNT), unit="ns",
            better="lower", peer="datetime.now(UTC)", peer_value=taken["datetime"].each_ns(_COUNT),
        )
    ]  # fmt: skip


def money() -> list[Row]:
    """Rounding a price to a tick, and what happens without."""
    progress("values: money")
    instrument = Instrument("BTCUSDT", tick=0.1)
    unit = Decimal("0.1")

    def ours() -> None:
        for _ in range(_COUNT):
            instrument.round_price(37012.1234, Side.BUY)

    def decimals() -> None:
        for _ in range(_COUNT):
            float(Decimal(repr(37012.1234)).quantize(unit, ROUND_DOWN))

    taken = in_turns({"instrument": ours, "decimal": decimals})
    wrong = sum(ticks * 0.1 != ticks / 10 for ticks in range(1_000_000)) / 10_000
    return [
        Row(
            area=AREA, name="rounding a price to a tick", value=taken["instrument"].each_ns(_COUNT),
            unit="ns", better="lower", peer="Decimal.quantize",
            peer_value=taken["decimal"].each_ns(_COUNT),
        ),
        Row(
            area=AREA, name="prices up to 100,000 for which n * 0.1 is not the decimal",
            value=wrong, unit="%", better="lower", note="Instrument gives the decimal for each",
        ),
    ]  # fmt: skip


def rows() -> list[Row]:
    """All of this topic."""
    return [*building(), *decoding(), *clocks(), *money()]
