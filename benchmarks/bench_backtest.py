"""Backtests beside their peers: candles a second, and what an order costs, now and a million later.

Where rows name orders: an order's whole life is its signal, sizing, checks, acceptance, fill, the
books of exchange and engine, and every report between them.
"""

from __future__ import annotations

import time
from functools import partial

from benchmarks.backtest_peers import (
    CANDLES,
    CASH,
    FEE,
    backtrader_backtest,
    bare_loop,
    frame_of,
    one_year,
    peer_backtest,
)
from benchmarks.rows import Row
from benchmarks.timing import in_turns, installed, progress
from candlewick.backtesting import Account, Result, prepare, run_backtest
from candlewick.data import Market
from candlewick.models import Candle
from candlewick.risk import RiskSettings
from candlewick.strategies import Strategy

_row = partial(Row, area="backtest")
_ACCOUNT = Account(cash=CASH, fee_taker=FEE, fee_maker=FEE)
_FREE = Account(cash=CASH, fee_taker=0.0, fee_maker=0.0)  # fees would end it before the orders do
_NO_STOP = RiskSettings(daily_loss=0.0, default_stop=0.0, max_orders_per_minute=0)
_WITH_STOP = RiskSettings(daily_loss=0.0, default_stop=0.1, max_orders_per_minute=0)
_FAST, _SLOW = 50, 200
_ORDERS = 1_000_000
_PART = 50_000


def run() -> list[Row]:
    market = one_year()
    return [*_candles(market), *_slow_peers(market), *_orders(market), *_millionth()]


def _backtest(
    market: Market,
    fast: int,
    slow: int,
    risk: RiskSettings = _NO_STOP,
    account: Account = _ACCOUNT,
) -> Result:
    run = prepare("sma_cross", market, params={"fast": fast, "slow": slow}, account=account)
    result = run_backtest(run, risk=risk)
    if result.denials or result.rejections:
        raise RuntimeError(f"not only orders were measured: {result.denials}")
    return result


# -- candles ---------------------------------------------------------------------------------------


def _candles(market: Market) -> list[Row]:
    """A year of minutes: the same trades in all of them."""
    table = market.tables[0]
    progress(f"an SMA cross ({_FAST}/{_SLOW}) over {CANDLES:,} candles: {market.label}")
    works = {
        "ours": lambda: _backtest(market, _FAST, _SLOW),
        "with stops": lambda: _backtest(market, _FAST, _SLOW, _WITH_STOP),
        "bare": lambda: bare_loop(table, _FAST, _SLOW),
    }
    peer = "backtesting.py"
    if installed("backtesting", "pandas"):
        frame = frame_of(table)
        works[peer] = lambda: peer_backtest(frame, _FAST, _SLOW)
    taken = in_turns(works, repeats=5)
    rate = {name: timing.rate(CANDLES) for name, timing in taken.items()}
    result = _backtest(market, _FAST, _SLOW)
    fills, _ = bare_loop(table, _FAST, _SLOW)
    note = f"{result.orders:,} orders, {result.fills:,} fills; the loop's {fills:,}"
    return [
        _row(
            name="SMA cross, next-open fills, fees, equity at each candle", value=rate["ours"],
            unit="candles/s", peer="bare Python loop", peer_value=rate["bare"],
            limit=1e6, target_ratio=0.7, note=note,
        ),
        _row(
            name="the same", value=rate["ours"], unit="candles/s", peer=peer,
            peer_value=rate.get(peer), target_ratio=1.0,
        ),
        _row(
            name="the same, with a stop at the exchange for every position",
            value=rate["with stops"], unit="candles/s", peer="bare loop without stops",
            peer_value=rate["bare"],
        ),
    ]  # fmt: skip


def _slow_peers(market: Market) -> list[Row]:
    """Peers that would take minutes for a year: over a part of it, as ours beside them."""
    if not installed("backtrader", "pandas"):
        return []
    part = market.first(_PART)
    progress(f"the same over {_PART:,} candles, beside backtrader")
    frame = frame_of(part.tables[0])
    works = {
        "ours": lambda: _backtest(part, _FAST, _SLOW),
        "backtrader": lambda: backtrader_backtest(frame, _FAST, _SLOW),
    }
    rate = {name: timing.rate(_PART) for name, timing in in_turns(works, repeats=3).items()}
    return [
        _row(
            name=f"the same, the first {_PART:,} candles", value=rate["ours"], unit="candles/s",
            peer="backtrader", peer_value=rate["backtrader"], target_ratio=1.0,
        )
    ]  # fmt: skip


# -- orders ----------------------------------------------------------------------------------------


def _orders(market: Market) -> list[Row]:
    """An order's life: a run with many orders less one over the same candles with hardly any."""
    part = market.first(100_000)
    rows = []
    for name, risk in (("market orders", _NO_STOP), ("market orders and stops", _WITH_STOP)):
        progress(f"an order's life: {name}")
        many = partial(_backtest, part, 10, 30, risk, _FREE)
        few = partial(_backtest, part, 5_000, 20_000, risk, _FREE)
        taken = in_turns({"many": many, "few": few}, repeats=5)
        orders = many().orders - few().orders
        each_us = (taken["many"].median - taken["few"].median) / orders * 1e6
        rows.append(
            _row(
                name=f"an order's whole life, {name}", value=each_us, unit="us", better="lower",
                limit=15.0, note=f"{orders:,} orders",
            )
        )  # fmt: skip
    return rows


class _Turns(Strategy):
    """Turns its position round at every candle: two orders each."""

    def on_candle(self, candle: Candle) -> None:
        if self.position.quantity > 0.0:
            self.sell(size=0.01)
        else:
            self.buy(size=0.01)


def _millionth() -> list[Row]:
    """The millionth order beside the first ones."""
    progress(f"{_ORDERS:,} orders in one run")
    market = one_year().first(_ORDERS // 2 + _PART)
    run = prepare(_Turns, market, account=Account(cash=1e8, fee_taker=FEE))
    marks: list[tuple[float, int]] = []
    result = run_backtest(
        run, risk=_NO_STOP, progress=lambda done: marks.append((time.perf_counter(), done))
    )
    share = _PART / (_ORDERS / 2)
    count = max(int(len(marks) * share), 1)
    first, last = (
        (marks[end][0] - marks[begin][0]) / (marks[end][1] - marks[begin][1]) / 2.0 * 1e6
        for begin, end in ((0, count), (len(marks) - 2 - count, len(marks) - 2))
    )
    return [
        _row(
            name=f"an order after {result.orders:,} others, its candle included", value=last,
            unit="us", better="lower", peer="one of the first", peer_value=first,
            target_ratio=0.9, note=f"{result.fills:,} fills kept",
        )
    ]  # fmt: skip
