"""`History` and `CandleTable`, held against plain lists of candles."""

from __future__ import annotations

import sys
import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlewick.errors import ValidationError
from candlewick.models import Candle, CandleTable, History

MINUTE = 60_000
COLUMNS = ("open_time", "open", "high", "low", "close", "volume", "close_time")


def candle(number: int) -> Candle:
    """The candle of minute ``number``; every field differs from that of every other candle."""
    base = 100.0 + number
    return Candle(
        "BTCUSDT", "1m", number * MINUTE, base, base + 0.5, base - 0.5, base + 0.25,
        number / 7.0, (number + 1) * MINUTE - 1, True,
    )  # fmt: skip


def table_of(candles: list[Candle]) -> CandleTable:
    return CandleTable(
        "BTCUSDT", "1m", *([getattr(item, name) for item in candles] for name in COLUMNS)
    )


def assert_shows(history: History, kept: list[Candle]) -> None:
    """All doors of a history show the same candles."""
    assert len(history) == len(kept)
    assert [history[i] for i in range(len(kept))] == kept
    assert [history[-i] for i in range(1, len(kept) + 1)] == kept[::-1]
    for name in COLUMNS:
        assert getattr(history, name).tolist() == [getattr(item, name) for item in kept]
    for outside in (len(kept), -len(kept) - 1):
        with pytest.raises(IndexError, match=f"of {len(kept)} candles has no index {outside}"):
            history[outside]


# -- against a list ----------------------------------------------------------------------------


@given(st.integers(1, 40), st.lists(st.integers(1, 30), max_size=8))
def test_an_appended_history_is_the_tail_of_a_list(capacity: int, steps: list[int]) -> None:
    history, model = History("BTCUSDT", "1m", capacity), list[Candle]()
    assert_shows(history, [])
    for step in steps:
        for _ in range(step):
            model.append(candle(len(model)))
            history.append(model[-1])
        assert_shows(history, model[-capacity:])


@given(st.integers(1, 40), st.lists(st.integers(0, 100), max_size=8))
def test_a_history_over_a_table_shows_what_lies_before_the_cursor(
    capacity: int, ends: list[int]
) -> None:
    model = [candle(number) for number in range(100)]
    history = History.over(table_of(model), capacity)
    assert_shows(history, [])
    for end in sorted(ends):
        history.advance(end)
        assert_shows(history, model[:end][-capacity:])


def test_both_ways_to_fill_a_history_show_the_same_after_every_candle() -> None:
    model = [candle(number) for number in range(300)]
    appended, over = History("BTCUSDT", "1m", 17), History.over(table_of(model), 17)
    for end, item in enumerate(model, 1):
        appended.append(item)
        over.advance(end)
        for name in COLUMNS:
            assert np.array_equal(getattr(appended, name), getattr(over, name))


# -- bounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [16, 100, 1_000, 50_000])
def test_a_kept_candle_takes_at_most_64_bytes(capacity: int) -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        history = History("BTCUSDT", "1m", capacity)
        for number in range(2 * capacity):
            history.append(candle(number))
        columns = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    fixed = 6_000  # the object, two dictionaries, fourteen array heads
    assert (columns - fixed) / capacity <= 64.0
    assert columns >= 56 * capacity  # numpy's memory is traced at all


def test_a_candle_is_at_least_40_percent_smaller_than_a_plain_dataclass() -> None:
    @dataclass
    class Plain:
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

    def size_of(make: type) -> float:
        """Bytes an instance takes, without its field values, which are the same objects."""
        count, fields = 2_000, ("X", "1m", 1_000, 2.0, 3.0, 1.0, 2.5, 4.0, 61_000, True)
        kept = [None] * count
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for place in range(count):
                kept[place] = make(*fields)
            return (tracemalloc.get_traced_memory()[0] - before) / count
        finally:
            tracemalloc.stop()

    assert size_of(Candle) <= 0.6 * size_of(Plain)
    assert sys.getsizeof(candle(0)) < 128


@pytest.mark.parametrize("capacity", [0, -5])
def test_a_history_of_nothing_is_refused(capacity: int) -> None:
    with pytest.raises(ValidationError, match=f"at least 1, not {capacity}"):
        History("BTCUSDT", "1m", capacity)
    with pytest.raises(ValidationError, match=f"at least 1, not {capacity}"):
        History.over(table_of([candle(0)]), capacity)


# -- nobody writes but the owner ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["appended", "over"])
def test_a_reader_cannot_write(kind: str) -> None:
    table = table_of([candle(number) for number in range(10)])
    history = History.over(table, 5) if kind == "over" else History("BTCUSDT", "1m", 5)
    for number in range(10):
        if kind == "over":
            history.advance(number + 1)
        else:
            history.append(candle(number))
    for name in COLUMNS:
        with pytest.raises(ValueError, match="read-only"):
            getattr(history, name)[0] = 1
    assert history[0] == candle(5)


def test_nothing_can_be_appended_to_a_table_that_is_only_read() -> None:
    table = table_of([candle(number) for number in range(3)])
    history = History.over(table)
    history.advance(2)
    with pytest.raises(ValueError, match="read-only"):
        history.append(candle(7))
    assert table.candle(2) == candle(2)


# -- tables ------------------------------------------------------------------------------------


def test_a_table_yields_the_candles_it_was_made_of() -> None:
    model = [candle(number) for number in range(40_000)]  # more than two blocks
    table = table_of(model)
    assert len(table) == len(model)
    assert list(table) == model
    assert table.candle(-1) == model[-1]
    assert table.candle(7) == model[7]
    assert type(table.candle(0).open_time) is int
    assert type(table.candle(0).close) is float
    assert repr(table) == "CandleTable(BTCUSDT 1m, 40000 candles)"
    with pytest.raises(IndexError):
        table.candle(len(model))


@given(st.integers(0, 60), st.slices(60))
def test_a_part_of_a_table_is_that_part_of_the_list(length: int, part: slice) -> None:
    model = [candle(number) for number in range(length)]
    table = table_of(model)[part]
    assert list(table) == model[part]
    assert (table.symbol, table.interval) == ("BTCUSDT", "1m")


def test_a_table_without_close_times_closes_at_the_end_of_each_interval() -> None:
    table = CandleTable("X", "5m", [0, 300_000], [1, 2], [1, 2], [1, 2], [1, 2], [0, 0])
    assert table.close_time.tolist() == [299_999, 599_999]
    assert table.close.dtype == np.float64


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"X 1m: column volume has shape \(1,\)"):
        CandleTable("X", "1m", [0, MINUTE], [1, 2], [1, 2], [1, 2], [1, 2], [0])
    with pytest.raises(ValidationError, match="equally long"):
        CandleTable("X", "1m", [[0]], [[1]], [[1]], [[1]], [[1]], [[0]])
