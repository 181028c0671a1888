"""Small markets for backtests, and a run whose exchange can be looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

from candlewick.backtesting import Account, Loop, prepare
from candlewick.data import Market, market_of
from candlewick.engine import StopPolicy, TradingEngine
from candlewick.exchange import SimulatedExchange
from candlewick.models import CandleTable, History
from candlewick.risk import RiskSettings
from candlewick.strategies import Strategy

MINUTE = 60_000


def table_of(
    closes: Sequence[float],
    symbol: str = "BTCUSDT",
    *,
    opens: Sequence[float] | None = None,
    spread: float = 0.0,
    start: int = 0,
    interval: str = "1m",
    step: int = MINUTE,
) -> CandleTable:
    """Candles whose open is the close before, unless given; high and low lie ``spread`` beyond."""
    close = np.asarray(closes, dtype=float)
    first = [close[0], *close[:-1]] if opens is None else opens
    open_ = np.asarray(first, dtype=float)
    return CandleTable(
        symbol, interval, start + step * np.arange(len(close)), open_,
        np.maximum(open_, close) + spread, np.minimum(open_, close) - spread, close,
        np.ones(len(close)),
    )  # fmt: skip


class Ran(NamedTuple):
    """A finished run with all of its parts."""

    engine: TradingEngine
    exchange: SimulatedExchange
    loop: Loop


def run_parts(
    strategy: str | type[Strategy],
    market: Market,
    *,
    params: dict[str, Any] | None = None,
    account: Account | None = None,
    risk: RiskSettings | None = None,
    policy: StopPolicy = StopPolicy.FLATTEN,
) -> Ran:
    """What `backtest` does, with the exchange kept for inspection."""
    parts = prepare(strategy, market, params=params, account=account)
    histories = [History.over(table) for table in parts.tables]
    engine = TradingEngine(
        parts.strategy, parts.instruments, balance=parts.account.cash,
        interval=market.interval, risk=risk, run_id="backtest",
        histories={(h.symbol, h.interval): h for h in histories},
    )  # fmt: skip
    exchange = SimulatedExchange(
        parts.instruments, parts.account.cash, parts.account.exchange, parts.account.funding
    )
    loop = Loop(engine, exchange)
    loop.run(parts.tables, histories)
    loop.stop(policy, "the end of the data")
    return Ran(engine, exchange, loop)


@pytest.fixture
def run_with_parts() -> Callable[..., Ran]:
    return run_parts


@pytest.fixture
def table() -> Callable[..., CandleTable]:
    return table_of


@pytest.fixture
def small_market() -> Callable[..., Market]:
    """A market of one or more tables made by `table_of`."""

    def make(*tables: CandleTable) -> Market:
        return market_of(tables)

    return make
