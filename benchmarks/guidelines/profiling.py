"""What it costs to look: a profiler changes what it measures."""

from __future__ import annotations

import cProfile

from benchmarks.rows import Row
from benchmarks.timing import in_turns, progress
from candlewick.backtesting import prepare, run_backtest
from candlewick.data import load_market

AREA = "guidelines"
_CANDLES = 50_000


def rows() -> list[Row]:
    """A backtest, and the same under cProfile."""
    progress("a backtest under cProfile")
    market = load_market([], candles=_CANDLES)

    def plain() -> None:
        run_backtest(prepare("sma_cross", market))

    def profiled() -> None:
        profile = cProfile.Profile()
        profile.runcall(plain)

    taken = in_turns({"plain": plain, "profiled": profiled}, repeats=3)
    return [
        Row(
            area=AREA, name="a backtest of 50,000 candles", value=taken["plain"].median, unit="s",
            better="lower", peer="the same under cProfile", peer_value=taken["profiled"].median,
        )
    ]  # fmt: skip
