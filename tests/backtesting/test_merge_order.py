"""Many tables as one stream: by closing time, the longest interval first."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from candlewick.backtesting import merge_order
from candlewick.models import CandleTable, interval_ms

INTERVALS = ("1m", "5m", "15m")


@st.composite
def some_tables(draw: st.DrawFn) -> list[CandleTable]:
    tables = []
    for number in range(draw(st.integers(1, 4))):
        interval = draw(st.sampled_from(INTERVALS))
        rows = draw(st.lists(st.integers(0, 30), unique=True, max_size=12).map(sorted))
        times = np.array(rows, dtype=np.int64) * interval_ms(interval)
        ones = np.ones(len(rows))
        tables.append(CandleTable(f"S{number}", interval, times, ones, ones, ones, ones, ones))
    return tables


@given(some_tables())
def test_the_order_is_that_of_a_plain_sort(tables: list[CandleTable]) -> None:
    expected = sorted(
        (int(close), -interval_ms(table.interval), number)
        for number, table in enumerate(tables)
        for close in table.close_time
    )
    assert merge_order(tables).tolist() == [number for _, _, number in expected]


def test_gaps_and_late_starts_keep_their_place(table: Any) -> None:
    early, late = table([1.0, 2.0]), table([1.0, 2.0], "ETHUSDT", start=60_000)
    assert merge_order([early, late]).tolist() == [0, 0, 1, 1]
