"""``candlewick run``: the whole system in one process, until the data ends or a signal comes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer
from rich.console import Console

from candlewick.audit import AuditLogger
from candlewick.backtesting import Run, prepare
from candlewick.bus import LoopStalledError
from candlewick.cli import options
from candlewick.cli.backtest import account
from candlewick.cli.display import show
from candlewick.cli.reaching import wait_for_exchange
from candlewick.cli.signals import StopSignals
from candlewick.cli.summary import console_for, print_summary
from candlewick.cli.venues import (
    VENUES,
    Connection,
    Place,
    check_venue,
    embedded,
    is_embedded,
    opened,
    place_of,
    server_of,
)
from candlewick.config import Config
from candlewick.errors import ConfigError, ExitCode
from candlewick.live import Outcome, SystemSettings, TradingSystem, observed
from candlewick.live.assembly import network_system, new_run_id
from candlewick.live.cleanup import CleanupSettings
from candlewick.live.loop import run_async
from candlewick.live.notices import JournalNews, notified
from candlewick.live.service import ServiceManager, serviced
from candlewick.logs import LogSystem, hide
from candlewick.notifications import senders_from
from candlewick.strategies import Strategy, build_strategy, load_strategy

app = typer.Typer(add_completion=False)


class Terminal(NamedTuple):
    """Where a command speaks and listens; ``quiet`` leaves the figures out."""

    console: Console
    signals: StopSignals
    quiet: bool


@app.command()
def run(
    config: options.ConfigFile = None,
    strategy: Annotated[
        str | None, typer.Option("--strategy", "-s", help="Built-in name, or FILE.py:Class.")
    ] = None,
    param: options.Params = None,
    venue: Annotated[
        str | None, typer.Option("--venue", help=f"Where orders go: {', '.join(VENUES)}.")
    ] = None,
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
    rest: Annotated[
        str | None, typer.Option("--rest", help="REST address of a server that speaks like it.")
    ] = None,
    ws: Annotated[
        str | None, typer.Option("--ws", help="WebSocket address of that server.")
    ] = None,
    real_money: Annotated[
        bool, typer.Option("--real-money", help="Yes, trade on the exchange itself.")
    ] = False,
    on_stop: Annotated[
        str | None,
        typer.Option(
            "--on-stop", help="flatten closes positions; keep leaves stops; tighten moves them."
        ),
    ] = None,
    seed: options.Seed = None,
    cash: options.Cash = None,
    fee_taker: options.FeeTaker = None,
    fee_maker: options.FeeMaker = None,
    slippage_bps: options.Slippage = None,
    funding: options.Funding = None,
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
        run_on_stop=on_stop, run_rest=rest, run_ws=ws, data_seed=seed, account_cash=cash,
        account_fee_taker=fee_taker, account_fee_maker=fee_maker,
        account_slippage_bps=slippage_bps, account_funding=funding, data_on_gap=on_gap,
        data_on_problem=on_problem, monitoring_port=metrics_port,
    )  # fmt: skip
    check_venue(settings, real_money=real_money)
    if funding and not (settings.run.venue == "simulated" or is_embedded(settings)):
        raise ConfigError(
            f"--funding does not go with --venue {settings.run.venue}: its funding is the market's"
            " own; leave it out"
        )
    with StopSignals() as signals:
        return _run(settings, signals, json=json)


def _run(settings: Config, signals: StopSignals, *, json: bool) -> int:
    console = console_for(stderr=json)
    terminal = Terminal(console, signals, json)
    if settings.run.venue == "simulated" or is_embedded(settings):
        outcome, label = _on_candles(settings, terminal)
    else:
        outcome, label = _on_network(settings, terminal)
    if json:
        typer.echo(msgspec.json.encode(outcome.summary.as_json()).decode())
    else:
        print_summary(outcome.summary, label, console)
    for problem in outcome.problems:
        console.print(f"[red]not as it should be: {problem}[/]", soft_wrap=True)
    if outcome.journal_problem:
        console.print(f"[red]{outcome.journal_problem}[/]", soft_wrap=True)
    if outcome.error:
        console.print(f"[red]an unexpected error: {outcome.error}[/]", soft_wrap=True)
    return outcome.exit_code


def _on_candles(settings: Config, terminal: Terminal) -> tuple[Outcome, str]:
    """Run on an exchange that plays known candles and ends with them."""
    given = account(settings)
    market = options.market_from(settings)
    parts = prepare(settings.strategy.name, market, params=settings.strategy.params, account=given)
    for line in options.problem_lines(market):
        terminal.console.print(f"[yellow]{line}[/]", soft_wrap=True)
    run = _run_simulated if settings.run.venue == "simulated" else _run_embedded
    with LogSystem(settings.log.level, settings.log.file or None):
        return run_async(run(parts, settings, terminal)), market.label


def _on_network(settings: Config, terminal: Terminal) -> tuple[Outcome, str]:
    strategy = build_strategy(load_strategy(settings.strategy.name), settings.strategy.params)
    where = place_of(settings)
    with LogSystem(settings.log.level, settings.log.file or None):
        outcome = run_async(_run_network(strategy, where, settings, terminal))
    return outcome, f"the market of {settings.run.rest or settings.run.venue}"


def _speed(text: str | None) -> float | str | None:
    if text is None or text == "max":
        return text
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--speed {text!r} must be a number or max") from None


def _journal(settings: Config, run_id: str, news: JournalNews) -> AuditLogger:
    return AuditLogger(
        settings.journal.directory,
        run_id=run_id,
        durability=settings.journal.durability,
        segment_bytes=settings.journal.segment_mb * 1024 * 1024,
        on_state=news.on_state,
        on_anchor=news.on_anchor,
    )


def _system_settings(settings: Config, run_id: str, account: str = "") -> SystemSettings:
    speed = settings.data.speed
    return SystemSettings(
        run_id=run_id,
        account=account,
        speed=None if speed == "max" else float(speed),
        on_stop=settings.run.on_stop,
        drain_timeout_s=settings.run.drain_timeout_s,
        cleanup=CleanupSettings(
            timeout_s=settings.run.cleanup_timeout_s, settle_s=settings.run.drain_timeout_s
        ),
        tune_collector=True,
    )


def _run_id(settings: Config) -> str:
    """The name of a run on an account of its own: the same for every run like it."""
    return f"sim{settings.data.seed}"


async def _run_simulated(parts: Run, settings: Config, terminal: Terminal) -> Outcome:
    terminal.signals.begin()
    run_id, news = _run_id(settings), JournalNews()
    # realtime: allow RT101 - nothing else runs before the journal is open
    with _journal(settings, run_id, news) as journal:
        system = TradingSystem.simulated(
            parts, journal, risk=settings.risk, settings=_system_settings(settings, run_id)
        )
        return await _watched(system, settings, news, terminal)


async def _run_embedded(parts: Run, settings: Config, terminal: Terminal) -> Outcome:
    terminal.signals.begin()
    run_id, news = _run_id(settings), JournalNews()
    # realtime: allow RT101 - nothing else runs before the journal is open
    with _journal(settings, run_id, news) as journal:
        async with embedded(settings, parts) as connection:
            system = await _connected(connection, journal, parts.strategy, settings, run_id)
            return await _watched(system, settings, news, terminal)


async def _run_network(
    strategy: Strategy, where: Place, settings: Config, terminal: Terminal
) -> Outcome:
    terminal.signals.begin()
    await wait_for_exchange(server_of(settings), settings.run.connect_timeout_s, terminal.signals)
    run_id, news = new_run_id(), JournalNews()
    # realtime: allow RT101 - nothing else runs before the journal is open
    with _journal(settings, run_id, news) as journal:
        async with opened(settings, where) as connection:
            system = await _connected(connection, journal, strategy, settings, run_id)
            return await _watched(system, settings, news, terminal)


async def _connected(
    connection: Connection, journal: AuditLogger, strategy: Strategy, settings: Config, run_id: str
) -> TradingSystem:
    return await network_system(
        connection.venue,
        journal,
        strategy=strategy,
        name=settings.strategy.name,
        symbols=connection.symbols,
        interval=connection.interval,
        risk=settings.risk,
        settings=_system_settings(settings, run_id, connection.account),
        network=connection.network,
        embedded=connection.embedded,
    )


async def _watched(
    system: TradingSystem, settings: Config, news: JournalNews, terminal: Terminal
) -> Outcome:
    """Run a system with its metrics served, its notices told and its figures shown."""
    senders = senders_from(os.environ, hide)
    try:
        async with (
            observed(system, settings.monitoring),
            notified(system, senders, settings.notifications, news),
            serviced(system, ServiceManager.from_environment(os.environ)),
        ):
            outcome = await _shown(system, terminal)
    except LoopStalledError as error:
        code = outcome.exit_code or ExitCode.UNEXPECTED
        outcome = msgspec.structs.replace(outcome, exit_code=code, error=str(error))
    return outcome


async def _shown(system: TradingSystem, terminal: Terminal) -> Outcome:
    """Run the system, with its figures on the screen."""
    console = terminal.console
    terminal.signals.hand_to(_stopper(system, console))
    display = asyncio.create_task(show(system.status, console)) if not terminal.quiet else None
    try:
        outcome = await system.run()
        terminal.signals.end()
        return outcome
    finally:
        if display is not None:
            display.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await display


def _stopper(system: TradingSystem, console: Console) -> Callable[[str], None]:
    """The first signal begins the cleanup; a later one says what is left of it."""

    def stop(name: str) -> None:
        if not system.stopping.is_set():
            console.print(f"{name}: stopping, {system.settings.on_stop} positions", soft_wrap=True)
            system.request_stop(name)
            return
        left = "; ".join(system.what_is_left()) or "nothing but the end of the journal"
        console.print(f"{name}: still cleaning up; left: {left}", soft_wrap=True)

    return stop
