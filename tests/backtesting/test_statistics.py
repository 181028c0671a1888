"""The figures of a result against brute force and independent formulas."""

from __future__ import annotations

import itertools
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlewick import backtest
from candlewick.backtesting import Summary, max_drawdown, sharpe_ratio, summarise
from candlewick.data import load_market
from candlewick.engine import Trade
from candlewick.models import Fill, Side

DAY = 86_400_000
curves = st.lists(st.floats(0.01, 1e9), min_size=1, max_size=40)


@given(curves)
def test_the_drawdown_is_the_worst_fall_between_any_two_moments(curve: list[float]) -> None:
    worst = max(
        (1.0 - later / earlier for n, earlier in enumerate(curve) for later in curve[n:]),
        default=0.0,
    )
    assert max_drawdown(curve) == pytest.approx(worst, abs=1e-12)


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([], 0.0),
        ([5.0], 0.0),
        ([100.0, 120.0, 90.0, 130.0, 117.0], 0.25),
        ([100.0, 50.0, -10.0], 1.1),
        ([1.0, 2.0, 3.0], 0.0),
    ],
)
def test_drawdowns_by_hand(curve: list[float], expected: float) -> None:
    assert max_drawdown(curve) == pytest.approx(expected)


@given(st.lists(st.floats(10.0, 1e6), min_size=3, max_size=30), st.integers(1, 5))
def test_the_sharpe_ratio_follows_its_definition(closes: list[float], per_day: int) -> None:
    times, curve = [], []
    for day, close in enumerate(closes):
        for part in range(per_day):
            times.append(day * DAY + (part + 1) * (DAY // (per_day + 1)))
            curve.append(close if part == per_day - 1 else close * 1.5)  # only the last counts
    returns = [after / before - 1.0 for before, after in itertools.pairwise(closes)]
    deviation = statistics.stdev(returns)
    expected = statistics.fmean(returns) / deviation * math.sqrt(365.0) if deviation > 1e-12 else 0
    if 0.0 < deviation <= 1e-12:
        return  # a ratio of rounding errors
    assert sharpe_ratio(times, curve) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_the_sharpe_ratio_is_zero_where_it_is_not_defined() -> None:
    assert sharpe_ratio([], []) == 0.0
    assert sharpe_ratio([0, DAY], [100.0, 110.0]) == 0.0, "one return has no deviation"
    assert sharpe_ratio([0, DAY, 2 * DAY], [100.0, 100.0, 100.0]) == 0.0
    assert sharpe_ratio([0, DAY, 2 * DAY], [100.0, -5.0, 10.0]) == 0.0


def fill(fee: float) -> Fill:
    return Fill(1, "c", "BTCUSDT", Side.BUY, 1.0, 1.0, fee, 0)


def trade(profit: float) -> Trade:
    return Trade("BTCUSDT", 1.0, 1.0, 1.0, 0, 1, profit, 0.0)


def summary(profits: list[float], curve: list[float]) -> Summary:
    base = Summary(strategy="s", params={}, symbols=("BTCUSDT",), interval="1m")
    return summarise(
        base, start_equity=100.0, final_equity=curve[-1], fills=[fill(0.25), fill(-0.05)],
        trades=[trade(p) for p in profits], funding=-0.5, times=list(range(len(curve))),
        curve=curve, denials={"z": 1, "a": 2},
    )  # fmt: skip


def test_figures_by_hand() -> None:
    found = summary([10.0, -4.0, 0.0, 6.0, -1.0], [90.0, 111.0])
    assert (found.trades, found.fills) == (5, 2)
    assert found.win_rate == pytest.approx(0.4)
    assert found.profit_factor == pytest.approx(16.0 / 5.0)
    assert found.fees == pytest.approx(0.2)
    assert found.net_profit == pytest.approx(11.0)
    assert found.total_return == pytest.approx(0.11)
    assert found.max_drawdown == pytest.approx(0.1), "from the start's equity"
    assert list(found.denials) == ["a", "z"]


def test_figures_that_are_not_defined_are_zero() -> None:
    found = summary([], [100.0])
    assert (found.win_rate, found.profit_factor, found.sharpe) == (0.0, 0.0, 0.0)
    assert summary([5.0], [105.0]).profit_factor == 0.0


def test_a_summary_is_json_with_the_promised_names() -> None:
    found = summary([1.0], [101.0]).as_json()
    promised = {
        "candles", "signals", "orders", "fills", "trades", "fees", "net_profit", "final_equity",
        "max_drawdown", "elapsed_s", "journal",
    }  # fmt: skip
    assert promised <= set(found)


def test_the_figures_of_a_real_run_follow_from_its_lists(btc_month: Path) -> None:
    market = load_market([btc_month])
    result = backtest("sma_cross", market, params={"fast": 50, "slow": 200})
    curve = np.array([result.start_equity, *result.equity_curve])
    peak = worst = 0.0
    for value in curve:
        peak = max(peak, value)
        worst = max(worst, 1.0 - value / peak)
    assert result.max_drawdown == pytest.approx(worst, rel=1e-12)
    profits = [trade.profit for trade in result.trade_list]
    assert result.net_profit == pytest.approx(sum(profits), rel=1e-9)
    assert result.win_rate == sum(p > 0 for p in profits) / len(profits)
    assert result.fees == pytest.approx(sum(f.fee for f in result.fill_list), rel=1e-12)
    days = {}
    for time, equity in zip(result.equity_times, result.equity_curve, strict=True):
        days[time // DAY] = equity
    closes = list(days.values())
    returns = [after / before - 1.0 for before, after in itertools.pairwise(closes)]
    expected = statistics.fmean(returns) / statistics.stdev(returns) * math.sqrt(365)
    assert result.sharpe == pytest.approx(expected, rel=1e-9)
