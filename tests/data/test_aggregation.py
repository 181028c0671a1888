"""Higher intervals: against polars and live ones, aligned to UTC, never unfinished."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlewick.data import Aggregator, aggregate, load_candles, synthetic_market
from candlewick.errors import DataError, ValidationError
from candlewick.models import INTERVAL_MS, Candle, CandleTable
from tests.data.candle_files import MINUTE, START, assert_equal, small_table

HIGHER = ["3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w"]


def by_polars(table: CandleTable, target: str) -> polars.DataFrame:
    """The spans that have their first and their last candle, by an independent library."""
    length, short = INTERVAL_MS[target], INTERVAL_MS[table.interval]
    every = "1w" if target == "1w" else f"{length}ms"
    return (
        polars.DataFrame(
            {name: getattr(table, name) for name in ("open", "high", "low", "close", "volume")}
            | {"time": table.open_time}
        )
        .with_columns(polars.from_epoch("time", "ms").alias("moment"))
        .group_by_dynamic("moment", every=every, start_by="window")
        .agg(
            polars.col("open").first(), polars.col("high").max(), polars.col("low").min(),
            polars.col("close").last(), polars.col("volume").sum(),
            first=polars.col("time").first(), last=polars.col("time").last(),
        )
        .with_columns(polars.col("moment").dt.epoch("ms").alias("start"))
        .filter(
            (polars.col("first") == polars.col("start"))
            & (polars.col("last") + short == polars.col("start") + length)
        )
    )  # fmt: skip


def fed(table: CandleTable, target: str) -> list[Candle]:
    """What the live aggregator makes of a table."""
    aggregator = Aggregator(table.interval, target)
    return [made for candle in table if (made := aggregator.update(candle)) is not None]


@pytest.fixture(scope="module")
def month(btc_month: Path) -> CandleTable:
    return load_candles(btc_month).table


@pytest.mark.parametrize("target", HIGHER)
def test_the_real_month_agrees_with_polars(month: CandleTable, target: str) -> None:
    ours, theirs = aggregate(month, target), by_polars(month, target)
    assert len(ours) == len(theirs) > 3
    assert ours.open_time.tolist() == theirs["start"].to_list()
    for name in ("open", "high", "low", "close"):
        assert getattr(ours, name).tolist() == theirs[name].to_list()
    np.testing.assert_allclose(ours.volume, theirs["volume"].to_numpy(), rtol=1e-12)


@pytest.mark.parametrize("target", HIGHER)
def test_live_and_table_make_the_same_candles_bit_for_bit(month: CandleTable, target: str) -> None:
    assert list(aggregate(month, target)) == fed(month, target)


def test_gaps_are_met_the_same_way_live_and_in_a_table(ten_pairs: list[Path]) -> None:
    for path in ten_pairs:
        table = load_candles(path).table
        for target in ("15m", "1h", "1d", "1w"):
            made = aggregate(table, target)
            assert list(made) == fed(table, target)
            assert made.open_time.tolist() == by_polars(table, target)["start"].to_list()


@st.composite
def torn_tables(draw: st.DrawFn) -> CandleTable:
    """Up to three hours of candles, some of them missing, beginning anywhere."""
    table = synthetic_market(["BTCUSDT"], "1m", 180, seed=draw(st.integers(0, 50)))[0]
    kept = draw(st.lists(st.booleans(), min_size=180, max_size=180))
    rows = np.flatnonzero(kept)
    first = draw(st.integers(0, 90)) * MINUTE
    return CandleTable(
        "BTCUSDT", "1m", table.open_time[rows] + first,
        *(getattr(table, name)[rows] for name in ("open", "high", "low", "close", "volume")),
    )  # fmt: skip


@given(torn_tables(), st.sampled_from(["3m", "5m", "15m", "1h"]))
def test_any_table_gives_the_same_live(table: CandleTable, target: str) -> None:
    made = aggregate(table, target)
    assert list(made) == fed(table, target)
    times = set(table.open_time.tolist())
    length = INTERVAL_MS[target]
    spans = {time // length * length for time in times}
    whole = {start for start in spans if {start, start + length - MINUTE} <= times}
    assert set(made.open_time.tolist()) == whole


# -- alignment ---------------------------------------------------------------------------------


@pytest.mark.parametrize("target", HIGHER)
def test_candles_begin_at_utc_boundaries(month: CandleTable, target: str) -> None:
    made = aggregate(month, target)
    for time, close_time in zip(made.open_time.tolist(), made.close_time.tolist(), strict=True):
        moment = datetime.fromtimestamp(time / 1000, UTC)
        assert (moment.second, moment.microsecond) == (0, 0)
        if target == "1w":
            assert (moment.weekday(), moment.hour, moment.minute) == (0, 0, 0)
        else:
            assert time % INTERVAL_MS[target] == 0
        assert close_time == time + INTERVAL_MS[target] - 1


def test_weeks_begin_on_monday(month: CandleTable) -> None:
    made = aggregate(month, "1w")
    days = [datetime.fromtimestamp(t / 1000, UTC).date().isoformat() for t in made.open_time]
    assert days == ["2022-01-03", "2022-01-10", "2022-01-17", "2022-01-24"]


# -- unfinished --------------------------------------------------------------------------------


def test_a_candle_comes_out_with_the_last_one_of_its_span_and_not_before() -> None:
    aggregator = Aggregator("1m", "5m")
    made = [aggregator.update(candle) for candle in small_table(14)]
    assert [candle is not None for candle in made] == [n in (4, 9) for n in range(14)]
    assert made[4] == Candle(
        "BTCUSDT", "5m", START, 100.0, 105.0, 99.0, 104.5, 11.25, START + 5 * MINUTE - 1, True
    )
    assert aggregate(small_table(14), "5m").open_time.tolist() == [START, START + 5 * MINUTE]


def test_no_prefix_of_the_data_shows_a_candle_that_the_whole_does_not(month: CandleTable) -> None:
    """No look-ahead: what is out at some moment stays as it is, and has closed by then."""
    whole = aggregate(month, "1h")
    for end in (1, 59, 60, 61, 118, 119, 120, 179, 5_000, 5_040):
        part = aggregate(month[slice(0, end)], "1h")
        assert_equal(part, whole[slice(0, len(part))])
        assert np.all(part.close_time <= month.close_time[end - 1])


@pytest.mark.parametrize(
    ("missing", "starts"),
    [([0], [5, 10]), ([4], [5, 10]), ([2], [0, 5, 10]), ([4, 5], [10]), ([1, 2, 3], [0, 5, 10])],
)
def test_a_span_without_its_first_or_its_last_candle_gives_none(
    missing: list[int], starts: list[int]
) -> None:
    rows = [number for number in range(15) if number not in missing]
    full = small_table(15)
    table = CandleTable("BTCUSDT", "1m", *(getattr(full, name)[rows] for name in (
        "open_time", "open", "high", "low", "close", "volume")))  # fmt: skip
    expected = [START + MINUTE * start for start in starts]
    assert aggregate(table, "5m").open_time.tolist() == expected
    assert [candle.open_time for candle in fed(table, "5m")] == expected


def test_a_candle_that_comes_twice_or_late_counts_once() -> None:
    candles = list(small_table(10))
    again = [*candles[:3], candles[2], candles[0], *candles[3:5], candles[4], *candles[5:]]
    aggregator = Aggregator("1m", "5m")
    made = [found for candle in again if (found := aggregator.update(candle)) is not None]
    assert made == list(aggregate(small_table(10), "5m"))


# -- what cannot be ----------------------------------------------------------------------------


def test_nothing_comes_of_nothing() -> None:
    empty = aggregate(small_table(0), "5m")
    assert (len(empty), empty.symbol, empty.interval) == (0, "BTCUSDT", "5m")
    assert len(aggregate(small_table(3), "5m")) == 0


@pytest.mark.parametrize(
    ("source", "target"), [("5m", "1m"), ("5m", "5m"), ("2h", "3h"), ("3d", "1w")]
)
def test_an_interval_that_does_not_fit_is_refused(source: str, target: str) -> None:
    if target == "3h":
        with pytest.raises(ValidationError, match="unknown interval '3h'"):
            Aggregator(source, target)
    else:
        with pytest.raises(DataError, match=f"{target} candles cannot be made of {source} candles"):
            Aggregator(source, target)


def test_candles_of_another_interval_are_refused() -> None:
    aggregator = Aggregator("5m", "1h")
    with pytest.raises(DataError, match="1h candles are made of 5m candles here, not of 1m ones"):
        aggregator.update(small_table(1).candle(0))
