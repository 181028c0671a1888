"""Not one fill changes unless somebody means it: runs are held to the bytes that they once gave.

A change that is faster must leave all of these as they are. One that trades in another way, on
purpose, changes them and says so in the changelog.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from candlewick import backtest
from candlewick.backtesting import Result
from candlewick.data import Market, load_market, market_of
from candlewick.exchange import ExchangeSettings, MarginType
from candlewick.indicators import EMA
from candlewick.models import Candle, CandleTable
from candlewick.risk import RiskSettings
from candlewick.strategies import Strategy

FREE = RiskSettings(daily_loss=0.0, default_stop=0.0, max_leverage=0.0, max_orders_per_minute=0)


def fingerprint(result: Result) -> str:
    """Of all fills, trades and denials, and of the equity at each close."""
    parts = [
        msgspec.json.encode(part)
        for part in (result.fill_list, result.trade_list, result.denials, result.equity_curve)
    ]
    return hashlib.sha256(b"\n".join(parts)).hexdigest()[:16]


class TwoIntervals(Strategy):
    """Trades minutes in the direction of the hour, and reads all that it may."""

    intervals = ("1h",)

    def on_start(self) -> None:
        self.hour, self.minute = EMA(5), EMA(30)
        self.trend = 0.0

    def on_candle(self, candle: Candle) -> None:
        if candle.interval == "1h":
            self.trend = candle.close - self.hour.update(candle.close)
            return
        average = self.minute.update(candle.close)
        size = 0.2 * self.equity / candle.close
        if self.trend > 0.0 and candle.close > average and not self.position.is_long:
            self.buy(size=size, trail=0.004, reason="with the hour")
        elif self.trend < 0.0 and candle.close < average and not self.position.is_short:
            self.sell(size=size, stop=candle.close * 1.004, target=candle.close * 0.99)


class Limits(Strategy):
    """Rests limits below the last closes of its history, and closes by the clock."""

    def on_candle(self, candle: Candle) -> None:
        if len(self.history) < 20:
            return
        low = float(self.history.low[-20:].min())
        if self.position.is_flat and not self.orders:
            self.buy(risk=0.01, price=low, stop=low * 0.995, reason="limit")
        elif self.now // 60_000 % 240 == 0:
            self.cancel_entries()
            self.close(reason="the clock")


def walk() -> Market:
    """Candles from integers alone: the same on every machine, without any file."""
    state, price = 1, 20_000
    rows: list[tuple[float, float, float, float]] = []
    for _ in range(4_000):
        steps = []
        for _ in range(4):
            state = (state * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**64
            steps.append(state // 2**40 % 121 - 60)
        path = [price]
        for step in steps:
            path.append(path[-1] + step)
        price = path[-1]
        rows.append((path[0] / 10, max(path) / 10, min(path) / 10, price / 10))
    columns = zip(*rows, strict=True)
    times = [60_000 * number for number in range(len(rows))]
    table = CandleTable("BTCUSDT", "1m", times, *columns, [1.0] * len(rows))
    return market_of([table])


@pytest.mark.parametrize(
    ("strategy", "options", "expected"),
    [
        ("sma_cross", {"params": {"fast": 5, "slow": 20}, "risk": FREE}, "5da042a2a3a31ac1"),
        ("sma_cross", {"slippage_bps": 2.0}, "d0b71f96507b4c84"),
        ("donchian_breakout", {"params": {"period": 20}}, "f84aad604a79341b"),
        (TwoIntervals, {"risk": FREE}, "b5a622e071ed1c5a"),
        (Limits, {}, "d79db436da021594"),
    ],
)
def test_runs_on_a_walk(strategy: Any, options: dict[str, Any], expected: str) -> None:
    result = backtest(strategy, walk(), **options)
    assert result.fills > 50
    assert fingerprint(result) == expected


@pytest.mark.parametrize(
    ("strategy", "options", "expected"),
    [
        ("sma_cross", {"params": {"fast": 50, "slow": 200}, "risk": FREE}, "211e6b623325b696"),
        ("sma_cross", {"params": {"fast": 50, "slow": 200}, "cash": 300.0}, "deaf8af8d1e71824"),
        (
            "donchian_breakout",
            {
                "params": {"period": 20},
                "exchange": ExchangeSettings(
                    funding_rate=0.0001, fill_parts=2, margin_type=MarginType.ISOLATED
                ),
            },
            "f01f624894aa6452",
        ),
        (TwoIntervals, {"slippage_bps": 0.5}, "f3c0f813d3830f79"),
        (Limits, {}, "0f85b7169bcd37b0"),
    ],
)
def test_runs_on_a_recorded_month(
    btc_month: Path, strategy: Any, options: dict[str, Any], expected: str
) -> None:
    result = backtest(strategy, load_market([btc_month], candles=20_000), **options)
    assert result.fills > 50
    assert fingerprint(result) == expected


def test_a_portfolio_of_ten(ten_pairs: list[Path]) -> None:
    result = backtest("donchian_breakout", ten_pairs, candles=3_000, cash=10.0)
    assert len({fill.symbol for fill in result.fill_list}) == 10
    assert fingerprint(result) == "c6c775708d597c97"
