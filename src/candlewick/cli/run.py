"""``candlewick run``: the whole system in one process, until the data ends or a signal comes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from candlewick.audit import AuditLogger
from candlewick.backtesting import Run, prepare
from candlewick.cli import options
from candlewick.cli.backtest import account
from candlewick.cli.display import show
from candlewick.cli.summary import console_for, print_summary
from candlewick.config import Config
from candlewick.errors import ConfigError, nearest
from candlewick.live import Outcome, SystemSettings, TradingSystem, observed
from candlewick.live.loop import run_async
from candlewick.live.notices import JournalRoom, notified
from candlewick.logs import LogSystem, hide
from candlewick.notifications import senders_from

app = typer.Typer()

VENUES = ("simulated",)


@app.command()
def run(
    config: options.ConfigFile = None,
    strategy: Annotated[
        str | None, typer.Option("--strategy", "-s", help="Built-in name, or FILE.py:Class.")
    ] = None,
    param: options.Params = None,
    venue: Annotated[str | None, typer.Option("--venue", help="Where orders go.")] = None,
    data: options.Data = None,
    symbol: options.Symbols = None,
    interval: options.Interval = None,
    speed: Annotated[
        str | None, typer.Option("--speed", help="Times real time, or max (the default).")
    ] = None,
    candles: options.Candles = None,
    journal: Annotated[
        Path | None, typer.Option("--journal", "-j", help="Directory of the audit journal.")
    ] = None,
    on_stop: Annotated[
        str | None, typer.Option("--on-stop", help="flatten closes positions; keep leaves them.")
    ] = None,
    seed: options.Seed = None,
    cash: options.Cash = None,
    fee_taker: options.FeeTaker = None,
    fee_maker: options.FeeMaker = None,
    slippage_bps: options.Slippage = None,
    on_gap: options.OnGap = None,
    on_problem: options.OnProblem = None,
    metrics_port: Annotated[
        int | None, typer.Option("--metrics-port", help="Of /metrics and /status; 0: any free.")
    ] = None,
    json: options.Json = False,
) -> int:
    """Run a strategy: candles in, journaled and filled orders out; Ctrl+C cleans up."""
    settings = options.combine(
        config, params=param, strategy_name=strategy, run_venue=venue, data_files=data,
        data_symbols=symbol, data_interval=interval, data_speed=_speed(speed),
        data_candles=candles, journal_directory=None if journal is None else str(journal),
        run_on_stop=on_stop, data_seed=seed, account_cash=cash, account_fee_taker=fee_taker,
        account_fee_maker=fee_maker, account_slippage_bps=slippage_bps, data_on_gap=on_gap,
        data_on_problem=on_problem, monitoring_port=metrics_port,
    )  # fmt: skip
    if settings.run.venue not in VENUES:
        hint = nearest(settings.run.venue, VENUES)
        raise ConfigError(
            f"unknown venue {settings.run.venue!r}{hint} (known: {', '.join(VENUES)})"
        )
    market = options.market_from(settings)
    parts = prepare(
        settings.strategy.name, market, params=settings.strategy.params, account=account(settings)
    )
    console = console_for(stderr=json)
    for line in options.problem_lines(market):
        console.print(f"[yellow]{line}[/]", soft_wrap=True)
    with LogSystem(settings.log.level, settings.log.file or None):
        outcome = run_async(_run(parts, settings, console, quiet=json))
    if json:
        typer.echo(msgspec.json.encode(outcome.summary.as_json()).decode())
    else:
        print_summary(outcome.summary, market.label, console)
    for problem in outcome.problems:
        console.print(f"[red]not as it should be: {problem}[/]", soft_wrap=True)
    if outcome.error:
        console.print(f"[red]stopped by an unexpected error: {outcome.error}[/]", soft_wrap=True)
    return outcome.exit_code


def _speed(text: str | None) -> float | str | None:
    if text is None or text == "max":
        return text
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--speed {text!r} must be a number or max") from None


async def _run(parts: Run, settings: Config, console: Console, *, quiet: bool) -> Outcome:
    speed = settings.data.speed
    run_id = f"sim{settings.data.seed}"
    senders, room = senders_from(os.environ, hide), JournalRoom()
    # realtime: allow RT101 - nothing else runs before the journal is open
    journal = AuditLogger(
        settings.journal.directory,
        run_id=run_id,
        durability=settings.journal.durability,
        segment_bytes=settings.journal.segment_mb * 1024 * 1024,
        on_state=room,
    )
    system = TradingSystem.simulated(
        parts,
        journal,
        risk=settings.risk,
        settings=SystemSettings(
            run_id=run_id,
            speed=None if speed == "max" else float(speed),
            on_stop=settings.run.on_stop,
            drain_timeout_s=settings.run.drain_timeout_s,
            tune_collector=True,
        ),
    )
    with journal:
        async with (
            observed(system, settings.monitoring),
            notified(system, senders, settings.notifications, room),
        ):
            return await _shown(system, console, quiet=quiet)


async def _shown(system: TradingSystem, console: Console, *, quiet: bool) -> Outcome:
    """Run the system, with its figures on the screen."""
    _stop_on_signals(system, console)
    display = asyncio.create_task(show(system.status, console)) if not quiet else None
    try:
        return await system.run()
    finally:
        if display is not None:
            display.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await display


def _stop_on_signals(system: TradingSystem, console: Console) -> None:
    """The first signal begins the cleanup; a later one says what is left of it."""

    def stop(name: str) -> None:
        if not system.stopping.is_set():
            console.print(f"{name}: stopping, {system.settings.on_stop} positions", soft_wrap=True)
            system.request_stop(name)
            return
        left = "; ".join(system.what_is_left()) or "nothing but the end of the journal"
        console.print(f"{name}: still cleaning up; left: {left}", soft_wrap=True)

    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, stop, signal_number.name)
