"""Backtests: the engine and the simulated exchange in one plain loop."""

from candlewick.backtesting.api import Result, backtest, run_backtest
from candlewick.backtesting.loop import Loop, closing_together, merge_order
from candlewick.backtesting.setup import Account, Run, prepare
from candlewick.backtesting.summary import Summary, max_drawdown, sharpe_ratio, summarise
from candlewick.backtesting.table import figures_of, utc

__all__ = [
    "Account",
    "Loop",
    "Result",
    "Run",
    "Summary",
    "backtest",
    "closing_together",
    "figures_of",
    "max_drawdown",
    "merge_order",
    "prepare",
    "run_backtest",
    "sharpe_ratio",
    "summarise",
    "utc",
]
