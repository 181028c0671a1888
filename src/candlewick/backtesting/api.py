"""`backtest`: one call from a strategy and candles to a result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from candlewick.backtesting.loop import Loop
from candlewick.backtesting.setup import Account, Run, prepare
from candlewick.backtesting.summary import Summary, summarise
from candlewick.data import Market, OnProblem, load_market, market_of
from candlewick.engine import StopPolicy, Trade, TradingEngine
from candlewick.errors import repr_of
from candlewick.exchange import ExchangeSettings, SimulatedExchange
from candlewick.models import CandleTable, Fill, History
from candlewick.risk import RiskSettings
from candlewick.strategies import Strategy, describe_failure

__all__ = ["Result", "backtest", "run_backtest"]

HISTORY = 1_000
END_OF_DATA = "the end of the data"


class Result(Summary, frozen=True, kw_only=True):
    """A `Summary` with what it was computed from.

    ``market``, ``account`` and ``risk`` are what the run was made on. ``fill_list`` and
    ``trade_list`` are in order of time; ``equity_curve`` holds the equity at each close of
    base candles, once where those of several symbols close together; ``equity_times`` holds these
    close times (UTC ms).
    """

    fill_list: list[Fill]
    trade_list: list[Trade]
    equity_curve: list[float]
    equity_times: list[int]
    market: Market
    account: Account
    risk: RiskSettings

    def report(self, path: str | Path) -> Path:
        """Write a report, one HTML file that opens offline, and return its path.

        Raises ConfigError for a path that cannot be written to.
        """
        from candlewick.backtesting.report import write_report  # loaded when it is wanted

        return write_report(self, path)


def backtest(
    strategy: str | type[Strategy],
    data: str | Path | CandleTable | Market | Sequence[str | Path] | Sequence[CandleTable] = (),
    *,
    params: Mapping[str, Any] | None = None,
    symbols: Sequence[str] = (),
    interval: str = "",
    candles: int = 0,
    cash: float = 10_000.0,
    fee_taker: float | None = None,
    fee_maker: float | None = None,
    slippage_bps: float = 0.0,
    funding: Mapping[str, Sequence[tuple[int, float]]] | None = None,
    risk: RiskSettings | None = None,
    exchange: ExchangeSettings | None = None,
    seed: int = 0,
    on_gap: OnProblem | str = OnProblem.REPORT,
    on_problem: OnProblem | str = OnProblem.FAIL,
) -> Result:
    """Run a strategy over candles with the same engine that trades live.

    Args:
        strategy: a `Strategy` class, a built-in's name, or ``path/to/file.py:Class``.
        data: candle files or folders, tables, or a `Market`; nothing means a synthetic market.
        params: the strategy's parameters.
        symbols, interval, candles, seed, on_gap, on_problem: see `load_market`.
        cash: the wallet at the start, quote currency.
        fee_taker, fee_maker: fractions of the notional; the instruments' own by default.
        slippage_bps: how much worse a taker's price is, in basis points.
        funding: recorded (time, rate) pairs by symbol.
        risk: the limits.
        exchange: leverage, margin type and the like; ``slippage_bps`` is added to it.

    Positions that are open at the end are closed at the last prices.
    """
    market = _market_of(data, symbols, interval, candles, seed, on_problem, on_gap)
    settings = exchange or ExchangeSettings()
    if slippage_bps:
        settings = ExchangeSettings(
            **{name: getattr(settings, name) for name in settings.__struct_fields__}
            | {"slippage_bps": slippage_bps}
        )
    account = Account(
        cash=cash,
        fee_taker=fee_taker,
        fee_maker=fee_maker,
        exchange=settings,
        funding=funding or {},
    )
    return run_backtest(prepare(strategy, market, params=params, account=account), risk=risk)


def _market_of(
    data: str | Path | CandleTable | Market | Sequence[str | Path] | Sequence[CandleTable],
    symbols: Sequence[str],
    interval: str,
    candles: int,
    seed: int,
    on_problem: OnProblem | str,
    on_gap: OnProblem | str,
) -> Market:
    if isinstance(data, Market):
        return data.first(candles)
    if isinstance(data, CandleTable):
        return market_of([data]).first(candles)
    if isinstance(data, str | Path):
        data = [data]
    tables = [item for item in data if isinstance(item, CandleTable)]
    if tables:
        return market_of(tables).first(candles)
    paths = [item for item in data if isinstance(item, str | Path)]
    return load_market(
        paths, symbols=symbols, interval=interval, candles=candles, seed=seed,
        on_problem=on_problem, on_gap=on_gap,
    )  # fmt: skip


def run_backtest(
    run: Run,
    *,
    risk: RiskSettings | None = None,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Run what `prepare` has put together; ``progress`` is called with the candles done."""
    histories = [History.over(table, HISTORY) for table in run.tables]
    account = run.account
    engine = TradingEngine(
        run.strategy,
        run.instruments,
        balance=account.cash,
        interval=run.market.interval,
        risk=risk,
        run_id="backtest",
        histories={(h.symbol, h.interval): h for h in histories},
    )
    exchange = SimulatedExchange(run.instruments, account.cash, account.exchange, account.funding)
    loop = Loop(engine, exchange)
    start = time.perf_counter()
    loop.run(run.tables, histories, progress)
    reason = END_OF_DATA if engine.failure is None else repr_of(engine.failure)
    loop.stop(StopPolicy.FLATTEN, reason)
    elapsed_s = time.perf_counter() - start
    failure = engine.failure  # also one that the end itself has brought
    base = Summary(
        strategy=run.name,
        params=run.params,
        symbols=run.market.symbols,
        interval=run.market.interval,
        candles=loop.candles,
        signals=loop.signals,
        orders=loop.orders,
        rejections=loop.rejections,
        missing_candles=run.market.missing_candles,
        elapsed_s=elapsed_s,
        ended_by=END_OF_DATA if failure is None else "the strategy raised",
        failure="" if failure is None else describe_failure(failure),
    )
    summary = summarise(
        base,
        start_equity=account.cash,
        final_equity=engine.equity,
        fills=loop.fills,
        trades=loop.trades,
        funding=exchange.funding_received,
        times=loop.times,
        curve=loop.curve,
        denials=loop.denials,
    )
    figures = {name: getattr(summary, name) for name in Summary.__struct_fields__}
    return Result(
        **figures,
        fill_list=loop.fills,
        trade_list=loop.trades,
        equity_curve=loop.curve,
        equity_times=loop.times,
        market=run.market,
        account=account,
        risk=risk or RiskSettings(),
    )
