"""The figures of reports against empyrical, brute force and numbers by hand."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlewick import backtest
from candlewick.backtesting import Result, max_drawdown, sharpe_ratio
from candlewick.backtesting.performance import (
    daily_closes,
    monthly_returns,
    performance,
)
from candlewick.backtesting.trade_figures import grouped, trade_figures
from candlewick.engine import Trade

DAY = 86_400_000
HOUR = 3_600_000


@pytest.fixture(scope="module")
def year() -> Result:
    """Four hundred days of hours, synthetic."""
    return backtest("sma_cross", interval="1h", candles=9_600, seed=3)


def test_the_figures_of_a_curve_are_those_of_empyrical(year: Result) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, of their own dependencies
        import empyrical
        import pandas as pd
    closes = daily_closes(year.equity_times, year.equity_curve)
    assert len(closes) == 400
    returns = closes[1:] / closes[:-1] - 1.0
    found = performance(year.equity_times, year.equity_curve, year.start_equity, year.max_drawdown)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert year.sharpe == pytest.approx(
            empyrical.sharpe_ratio(returns, annualization=365), rel=1e-9
        )
        assert found.sortino == pytest.approx(
            empyrical.sortino_ratio(returns, annualization=365), rel=1e-9
        )
        assert found.volatility == pytest.approx(
            empyrical.annual_volatility(returns, annualization=365), rel=1e-9
        )
        every = np.diff([year.start_equity, *year.equity_curve]) / np.array(
            [year.start_equity, *year.equity_curve[:-1]]
        )
        assert year.max_drawdown == pytest.approx(-empyrical.max_drawdown(every), rel=1e-9)
        days = (year.equity_times[-1] - year.equity_times[0]) / DAY
        per_year = len(every) * 365.0 / days
        assert found.annual_return == pytest.approx(
            empyrical.annual_return(every, annualization=per_year), rel=1e-6
        )
        assert found.calmar == pytest.approx(
            empyrical.calmar_ratio(every, annualization=per_year), rel=1e-6
        )
        theirs = empyrical.aggregate_returns(
            pd.Series(every, index=pd.to_datetime(year.equity_times, unit="ms")), "monthly"
        )
    ours = monthly_returns(year.equity_times, year.equity_curve, year.start_equity)
    assert list(ours) == list(theirs.index)
    assert list(ours.values()) == pytest.approx(theirs.tolist(), rel=1e-9, abs=1e-12)
    assert np.prod([1.0 + value for value in ours.values()]) == pytest.approx(
        year.final_equity / year.start_equity, rel=1e-9
    )


def test_the_profit_factor_and_drawdown_are_those_of_backtesting_py(btc_month: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas as pd
        from backtesting._stats import compute_stats
    result = backtest("sma_cross", btc_month, interval="15m", params={"fast": 20, "slow": 60})
    table = result.market.tables[0]
    index = pd.to_datetime(table.close_time, unit="ms")
    prices = {name.capitalize(): getattr(table, name) for name in ("open", "high", "low", "close")}
    rows = {int(time): place for place, time in enumerate(table.open_time)}
    last = len(table) - 1
    trades = pd.DataFrame(
        {
            "EntryBar": [rows.get(trade.opened_time, last) for trade in result.trade_list],
            "ExitBar": [rows.get(trade.closed_time, last) for trade in result.trade_list],
            "PnL": [trade.profit for trade in result.trade_list],
            "ReturnPct": [trade.profit / 1e4 for trade in result.trade_list],
            "Commission": [trade.fees for trade in result.trade_list],
            "EntryTime": pd.to_datetime([t.opened_time for t in result.trade_list], unit="ms"),
            "ExitTime": pd.to_datetime([t.closed_time for t in result.trade_list], unit="ms"),
            "Duration": pd.to_timedelta(
                [t.closed_time - t.opened_time for t in result.trade_list], unit="ms"
            ),
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = compute_stats(
            trades, np.array(result.equity_curve), pd.DataFrame(prices, index=index), None
        )
    assert result.profit_factor == pytest.approx(theirs["Profit Factor"], rel=1e-9)
    assert result.win_rate * 100.0 == pytest.approx(theirs["Win Rate [%]"])
    assert result.max_drawdown * 100.0 == pytest.approx(-theirs["Max. Drawdown [%]"], rel=1e-9)
    made = trade_figures(result.trade_list, result.first_time, result.last_time)
    # theirs counts whole candles
    assert made.exposure * 100.0 == pytest.approx(theirs["Exposure Time [%]"], abs=0.5)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=25))
def test_the_longest_drawdown_is_the_longest_time_below_a_peak(values: list[int]) -> None:
    times = [HOUR * number for number in range(len(values))]
    curve = [100.0, *map(float, values)]  # what is below the start is a drawdown too
    at = [times[0], *times]
    longest = 0
    for begin in range(len(curve)):
        if curve[begin] < max(curve[: begin + 1]):
            continue
        end = begin
        while end + 1 < len(curve) and curve[end + 1] < curve[begin]:
            end += 1
        if end > begin:  # up to the moment that it was reached again, or the end
            longest = max(longest, at[min(end + 1, len(at) - 1)] - at[begin])
    found = performance(times, [float(value) for value in values], 100.0, 0.0)
    assert found.drawdown_end - found.drawdown_start == longest


def test_a_short_run_says_nothing_about_a_year() -> None:
    found = performance([0, DAY, 2 * DAY], [100.0, 110.0, 105.0], 100.0, 0.05)
    assert found.annual_return is None
    assert found.calmar is None
    assert found.volatility > 0.0


@pytest.mark.parametrize("curve", [[], [100.0], [100.0, 100.0, 100.0], [50.0, -10.0, 20.0]])
def test_figures_that_are_not_defined_do_not_fail(curve: list[float]) -> None:
    times = [DAY * number for number in range(len(curve))]
    found = performance(times, curve, 100.0, max_drawdown([100.0, *curve]))
    assert found.sortino == 0.0
    assert sharpe_ratio(times, curve) == 0.0
    assert len(monthly_returns(times, curve, 100.0)) == (1 if curve else 0)


def trade(
    profit: float, opened: int = 0, closed: int = 10, quantity: float = 1.0, why: str = ""
) -> Trade:
    return Trade("BTCUSDT", quantity, 1.0, 1.0, opened, closed, profit, 0.5, -0.1, why)


def test_trade_figures_by_hand() -> None:
    made = [
        trade(5.0, 0, 20), trade(3.0, 10, 30, -1.0), trade(-2.0, 50, 60), trade(0.0, 60, 61),
        trade(-4.0, 70, 80), trade(-1.0, 90, 100),
    ]  # fmt: skip
    found = trade_figures(made, 0, 100)
    assert (found.count, found.long, found.wins, found.losses) == (6, 5, 2, 3)
    assert found.average == pytest.approx(1.0 / 6.0)
    assert (found.average_win, found.average_loss) == (4.0, pytest.approx(-7.0 / 3.0))
    assert (found.best, found.worst) == (5.0, -4.0)
    assert (found.most_wins, found.most_losses) == (2, 2)
    assert found.median_duration == 10
    assert found.exposure == pytest.approx(0.61), "times held twice count once"


def test_no_trades_have_no_figures() -> None:
    found = trade_figures([], 0, 0)
    assert (found.count, found.average, found.exposure) == (0, 0.0, 0.0)


def test_trades_are_put_together_by_what_they_share() -> None:
    groups = grouped([trade(1.0, why="b"), trade(-3.0, why="a"), trade(2.0, why="b")],
                     lambda made: made.exit_reason)  # fmt: skip
    assert [(g.name, g.count, g.wins, g.profit) for g in groups] == [
        ("b", 2, 2, 3.0), ("a", 1, 0, -3.0),
    ]  # fmt: skip
    assert (groups[0].fees, groups[0].funding) == (1.0, -0.2)
