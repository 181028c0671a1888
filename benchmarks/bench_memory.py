"""What a candle takes: as an object beside a plain dataclass, and kept in the history."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.rows import Row
from benchmarks.timing import progress
from candlewick.models import Candle, History

_OBJECTS = 20_000
_KEPT = 100_000


@dataclass
class PlainCandle:
    """The fields of `Candle` as most programs would hold them."""

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


def _allocated(build: Callable[[], Any]) -> int:
    """Bytes that are allocated while the result of ``build`` lives."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = build()
        after = tracemalloc.get_traced_memory()[0]
        del kept
        return after - before
    finally:
        tracemalloc.stop()


def _objects(make: type) -> int:
    """Bytes of an instance; its values are shared, and the list that holds it is there already."""
    fields = ("BTCUSDT", "1m", 1_640_991_660_000, 1.5, 2.5, 0.5, 2.0, 9.0, 1_640_991_719_999, True)
    kept: list[object] = [None] * _OBJECTS

    def fill() -> None:
        for place in range(_OBJECTS):
            kept[place] = make(*fields)

    return round(_allocated(fill) / _OBJECTS)


def _history() -> History:
    """A full history, filled candle by candle."""
    history = History("BTCUSDT", "1m", _KEPT)
    for number in range(2 * _KEPT):
        time, price = number * 60_000, 40_000.0 + number / 10.0
        history.append(
            Candle("BTCUSDT", "1m", time, price, price, price, price, 1.0, time + 59_999, True)
        )
    return history


def _object_with_values(number: int) -> Candle:
    time, price = number * 60_000, 40_000.0 + number / 10.0
    return Candle(
        "BTCUSDT", "1m", time, price, price + 1.0, price - 1.0, price + 0.5, price * 2.0,
        time + 59_999, True,
    )  # fmt: skip


def run() -> list[Row]:
    progress("memory of candles as objects")
    ours, plain = _objects(Candle), _objects(PlainCandle)
    with_values = _allocated(lambda: [_object_with_values(n) for n in range(_OBJECTS)]) / _OBJECTS
    progress("memory of candles in the history")
    kept = _allocated(_history) / _KEPT
    return [
        Row(
            area="memory", name="a Candle, without its values", value=ours, unit="B",
            better="lower", peer="plain dataclass", peer_value=plain, target_ratio=1 / 0.6,
            note="40 % smaller is a ratio of 1.67",
        ),
        Row(
            area="memory", name="a candle kept in the history", value=kept, unit="B",
            better="lower", peer="a Candle with its values in a list", peer_value=with_values,
            limit=64.0,
        ),
    ]  # fmt: skip
