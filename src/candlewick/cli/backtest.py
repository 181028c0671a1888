"""``candlewick backtest``: a strategy over candles, in a plain loop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress

from candlewick.backtesting import Account, Result, Run, prepare, run_backtest
from candlewick.cli import options
from candlewick.cli.summary import console_for, print_summary
from candlewick.config import Config
from candlewick.data import load_funding
from candlewick.data.reading import symbol_of
from candlewick.errors import ConfigError, DataError, ExitCode

app = typer.Typer(add_completion=False)

_WORTH_A_BAR = 200_000


@app.command()
def backtest(
    strategy: Annotated[
        str | None, typer.Argument(help="Built-in name, or path/to/file.py:Class.")
    ] = None,
    config: options.ConfigFile = None,
    param: options.Params = None,
    data: options.Data = None,
    symbol: options.Symbols = None,
    interval: options.Interval = None,
    candles: options.Candles = None,
    seed: options.Seed = None,
    cash: options.Cash = None,
    fee_taker: options.FeeTaker = None,
    fee_maker: options.FeeMaker = None,
    slippage_bps: options.Slippage = None,
    funding: options.Funding = None,
    on_gap: options.OnGap = None,
    on_problem: options.OnProblem = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write an HTML report to this file.")
    ] = None,
    json: options.Json = False,
) -> int:
    """Run a strategy over candles as fast as possible, with the engine that trades live."""
    settings = options.combine(
        config, params=param, strategy_name=strategy, data_files=data, data_symbols=symbol,
        data_interval=interval, data_candles=candles, data_seed=seed, account_cash=cash,
        account_fee_taker=fee_taker, account_fee_maker=fee_maker,
        account_slippage_bps=slippage_bps, account_funding=funding, data_on_gap=on_gap,
        data_on_problem=on_problem,
    )  # fmt: skip
    if report is not None:
        from candlewick.backtesting.report import check_path  # loaded when it is wanted

        check_path(report)
    given = account(settings)
    market = options.market_from(settings)
    run = prepare(settings.strategy.name, market, params=settings.strategy.params, account=given)
    errors = console_for(stderr=True)
    for line in options.problem_lines(market):
        errors.print(f"[yellow]{line}[/]")
    result = _with_progress(run, settings, errors)
    written = result.report(report) if report is not None else None
    if json:
        typer.echo(msgspec.json.encode(result.as_json()).decode())
    else:
        print_summary(result, market.label, console_for(), written)
    return ExitCode.STRATEGY_FAILED if result.failure else ExitCode.OK


def account(settings: Config) -> Account:
    """The simulated account of a configuration."""
    chosen = settings.account
    return Account(
        cash=chosen.cash,
        fee_taker=chosen.fee_taker,
        fee_maker=chosen.fee_maker,
        exchange=chosen.exchange,
        funding=_recorded(chosen.funding),
    )


def _recorded(items: Sequence[str]) -> dict[str, list[tuple[int, float]]]:
    """The funding rates of ``FILE`` or ``SYMBOL=FILE``, by symbol."""
    rates = {}
    for item in items:
        symbol, named, file = item.rpartition("=")
        if not named:
            try:
                symbol = symbol_of(Path(file))
            except DataError:
                raise ConfigError(f"--funding {item!r}: name its symbol, as SYMBOL=FILE") from None
        rates[symbol.upper()] = load_funding(file)
    return rates


def _with_progress(run: Run, settings: Config, console: Console) -> Result:
    total = sum(len(table) for table in run.market.tables)
    if not console.is_terminal or total < _WORTH_A_BAR:
        return run_backtest(run, risk=settings.risk)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("candles", total=total)
        return run_backtest(
            run, risk=settings.risk, progress=lambda done: progress.update(task, completed=done)
        )
