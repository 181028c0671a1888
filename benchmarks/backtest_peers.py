"""What a backtest of an SMA cross is compared with: a bare loop, backtesting.py, backtrader.

All of them do the same work on the same candles: two averages, a cross that is looked for at each
close, market orders that fill at the next open with a fee, 95 % of the equity in the position, and
the equity at each candle.
"""

from __future__ import annotations

import math
import os
import warnings
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from candlewick.data import Market, load_market, market_of
from candlewick.indicators import SMA
from candlewick.models import CandleTable

__all__ = [
    "CANDLES", "CASH", "FEE", "backtrader_backtest", "bare_loop", "frame_of", "one_year",
    "peer_backtest",
]  # fmt: skip

CANDLES = 525_600  # a year of minutes
CASH = 10_000.0
FEE = 0.0005
ALLOCATION = 0.95
_MONTH = "btc-perp-1m-2022-01.csv.gz"
_COLUMNS = ("open_time", "open", "high", "low", "close", "volume", "close_time")


def _recorded() -> Path | None:
    for folder in (os.environ.get("CANDLEWICK_SHARED", ""), Path(__file__).parents[2] / "shared"):
        path = Path(folder) / "data" / _MONTH
        if path.is_file():
            return path
    return None


def one_year() -> Market:
    """A year of one-minute candles: a recorded month of BTCUSDT over and over, or synthetic."""
    path = _recorded()
    if path is None:
        return load_market([], candles=CANDLES, seed=1)
    month = load_market([path]).tables[0]
    rows = np.arange(CANDLES) % len(month)
    columns = (getattr(month, name)[rows] for name in _COLUMNS[1:-1])
    times = int(month.open_time[0]) + 60_000 * np.arange(CANDLES)
    return market_of([CandleTable(month.symbol, "1m", times, *columns)], f"{path.name}, repeated")


def bare_loop(table: CandleTable, fast: int, slow: int) -> tuple[int, list[float]]:
    """The least Python that does the work; returns the number of fills and the equity curve."""
    equity: list[float] = []
    fills: list[tuple[int, float, float, float]] = []
    short, long = deque([0.0] * fast, fast), deque([0.0] * slow, slow)
    short_sum = long_sum = 0.0
    cash, quantity, wanted = CASH, 0.0, 0
    rows = zip(*(getattr(table, name).tolist() for name in _COLUMNS), strict=True)
    for seen, (open_time, open_, _high, _low, close, _volume, _close_time) in enumerate(rows, 1):
        if wanted:
            if quantity:
                fee = abs(quantity) * open_ * FEE
                cash += quantity * open_ - fee
                fills.append((open_time, open_, -quantity, fee))
            quantity = wanted * math.floor(ALLOCATION * cash / open_ * 1_000.0) / 1_000.0
            fee = abs(quantity) * open_ * FEE
            cash -= quantity * open_ + fee
            fills.append((open_time, open_, quantity, fee))
            wanted = 0
        short_sum += close - short[0]
        short.append(close)
        long_sum += close - long[0]
        long.append(close)
        if seen >= slow:
            short_average, long_average = short_sum / fast, long_sum / slow
            if short_average > long_average and quantity <= 0.0:
                wanted = 1
            elif short_average < long_average and quantity >= 0.0:
                wanted = -1
        equity.append(cash + quantity * close)
    return len(fills), equity


def frame_of(table: CandleTable) -> Any:
    """The candles as backtesting.py wants them."""
    import pandas as pd

    columns = {name.capitalize(): getattr(table, name) for name in _COLUMNS[1:-1]}
    return pd.DataFrame(columns, index=pd.to_datetime(table.open_time, unit="ms"))


def peer_backtest(frame: Any, fast: int, slow: int) -> Any:
    """The same backtest in backtesting.py; needs it installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from backtesting import Backtest, Strategy

        def average(values: Any, period: int) -> list[float]:
            update = SMA(period).update
            return [update(value) for value in values.tolist()]

        class Cross(Strategy):  # type: ignore[misc]
            def init(self) -> None:
                self.short = self.I(average, self.data.Close, fast)
                self.long = self.I(average, self.data.Close, slow)

            def next(self) -> None:
                short, long = self.short[-1], self.long[-1]
                if short > long and not self.position.is_long:
                    self.position.close()
                    self.buy(size=ALLOCATION)
                elif short < long and not self.position.is_short:
                    self.position.close()
                    self.sell(size=ALLOCATION)

        # it trades whole units only: enough cash for its rounding not to matter
        return Backtest(frame, Cross, cash=CASH * 1e4, commission=FEE).run()


def backtrader_backtest(frame: Any, fast: int, slow: int) -> Any:
    """The same backtest in backtrader, without the observers and plots it makes by default."""
    import backtrader as bt

    class Cross(bt.Strategy):  # type: ignore[misc]
        def __init__(self) -> None:
            self.short = bt.ind.SMA(self.data.close, period=fast)
            self.long = bt.ind.SMA(self.data.close, period=slow)
            self.equity: list[float] = []
            self.fills = 0

        def notify_order(self, order: Any) -> None:
            self.fills += order.status == order.Completed

        def next(self) -> None:
            wanted = 1.0 if self.short[0] > self.long[0] else -1.0
            if wanted * self.position.size <= 0.0:
                self.order_target_percent(target=wanted * ALLOCATION)
            self.equity.append(self.broker.getvalue())

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=frame))
    cerebro.addstrategy(Cross)
    cerebro.broker.setcash(CASH * 1e4)  # it trades whole units only too
    cerebro.broker.setcommission(commission=FEE)
    return cerebro.run()[0]
