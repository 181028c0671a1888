"""Trade by trade against backtesting.py, an independent backtester."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from candlewick import backtest
from candlewick.data import Market, load_market
from candlewick.indicators import SMA
from candlewick.models import Candle
from candlewick.risk import RiskSettings
from candlewick.strategies import Strategy

FAST, SLOW = 20, 60
NO_LIMITS = RiskSettings(
    daily_loss=0.0, default_stop=0.0, max_leverage=0.0, max_orders_per_minute=0
)


class Cross(Strategy):
    """One unit long or short, by two averages; like theirs from their second value on."""

    def on_start(self) -> None:
        self.fast, self.slow = SMA(FAST), SMA(SLOW)
        self.seen = 0

    def averages(self, candle: Candle) -> tuple[float, float]:
        self.seen += 1
        fast, slow = self.fast.update(candle.close), self.slow.update(candle.close)
        return (fast, slow) if self.seen > SLOW else (0.0, 0.0)

    def on_candle(self, candle: Candle) -> None:
        fast, slow = self.averages(candle)
        if fast > slow and not self.position.is_long:
            self.buy(size=1.0)
        elif fast < slow and not self.position.is_short:
            self.sell(size=1.0)


class Bracket(Cross):
    """Long only, with a stop and a target."""

    def on_candle(self, candle: Candle) -> None:
        fast, slow = self.averages(candle)
        if fast > slow and self.position.is_flat:
            self.buy(size=1.0, stop=candle.close - 150.0, target=candle.close + 200.0)


def their_trades(market: Market, kind: str) -> list[tuple[Any, ...]]:
    """(quantity, entry row, exit row, entry price, exit price) of each trade."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, of their own dependencies
        import pandas as pd
        from backtesting import Backtest
        from backtesting import Strategy as Theirs

        def average(values: Any, period: int) -> list[float]:
            sma = SMA(period)
            return [sma.update(float(value)) for value in values]

        class TheirCross(Theirs):
            def init(self) -> None:
                self.fast = self.I(average, self.data.Close, FAST)
                self.slow = self.I(average, self.data.Close, SLOW)

            def next(self) -> None:
                fast, slow = self.fast[-1], self.slow[-1]
                if fast > slow and not self.position.is_long:
                    self.position.close()
                    self.buy(size=1)
                elif fast < slow and not self.position.is_short:
                    self.position.close()
                    self.sell(size=1)

        class TheirBracket(TheirCross):
            def next(self) -> None:
                close = self.data.Close[-1]
                if self.fast[-1] > self.slow[-1] and not self.position:
                    self.buy(size=1, sl=close - 150.0, tp=close + 200.0)

        table = market.tables[0]
        frame = pd.DataFrame(
            {
                "Open": table.open, "High": table.high, "Low": table.low, "Close": table.close,
                "Volume": table.volume,
            },
            index=pd.to_datetime(table.open_time, unit="ms"),
        )  # fmt: skip
        strategy = TheirCross if kind == "cross" else TheirBracket
        run = Backtest(frame, strategy, cash=1e7, commission=0.0, finalize_trades=True)
        trades = run.run()["_trades"].sort_values("EntryBar", kind="stable")
    columns = ("Size", "EntryBar", "ExitBar", "EntryPrice", "ExitPrice")
    return list(zip(*(trades[name].tolist() for name in columns), strict=True))


def our_trades(market: Market, strategy: type[Strategy]) -> list[tuple[Any, ...]]:
    result = backtest(strategy, market, cash=1e7, fee_taker=0.0, fee_maker=0.0, risk=NO_LIMITS)
    start = int(market.tables[0].open_time[0])
    return [
        (
            trade.quantity, (trade.opened_time - start) // 60_000,
            (trade.closed_time - start) // 60_000, trade.entry_price, trade.exit_price,
        )
        for trade in result.trade_list
    ]  # fmt: skip


@pytest.fixture(scope="module")
def slice_of_january(btc_month: Path) -> Market:
    return load_market([btc_month], candles=6_000)


def test_an_sma_cross_makes_the_same_trades(slice_of_january: Market) -> None:
    theirs, ours = their_trades(slice_of_january, "cross"), our_trades(slice_of_january, Cross)
    assert len(ours) > 100
    assert ours[:-1] == theirs[:-1]
    assert ours[-1][:2] == theirs[-1][:2], "the last is open at the end: each closes it its way"


def test_stops_and_targets_end_the_same_trades_at_the_same_prices(
    slice_of_january: Market,
) -> None:
    """Both take the stop first when a candle holds both, and the open when it has jumped."""
    theirs, ours = their_trades(slice_of_january, "bracket"), our_trades(slice_of_january, Bracket)
    assert len(ours) > 30
    assert ours[:-1] == theirs[:-1]
