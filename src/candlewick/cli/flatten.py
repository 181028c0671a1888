"""``candlewick flatten``: close all positions and cancel all orders of ours, and verify it."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from candlewick.audit import holder_of
from candlewick.cli import options
from candlewick.cli.cleaning import clean_up
from candlewick.cli.signals import StopSignals
from candlewick.cli.summary import console_for
from candlewick.cli.venues import Place, check_lasting, place_of
from candlewick.config import Config
from candlewick.engine import StopPolicy
from candlewick.errors import ExitCode, UnverifiedError
from candlewick.live import TradingSystem
from candlewick.live.cleanup import Cleaned
from candlewick.live.guard import LastRun, last_run
from candlewick.live.loop import run_async
from candlewick.logs import LogSystem
from candlewick.monitoring import find_engines

app = typer.Typer(add_completion=False)

_MARGIN_S = 30.0  # beyond its own patience, for an engine to end


@app.command()
def flatten(
    config: options.ConfigFile = None,
    venue: Annotated[str | None, typer.Option("--venue", help="Where the account is.")] = None,
    rest: Annotated[str | None, typer.Option("--rest", help="REST address of a server.")] = None,
    ws: Annotated[str | None, typer.Option("--ws", help="WebSocket address of it.")] = None,
    symbol: options.Symbols = None,
    journal: Annotated[
        Path | None, typer.Option("--journal", "-j", help="Directory of the audit journal.")
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option("--wait", min=0.0, help="Seconds for an engine to end; by its own patience."),
    ] = None,
    kill_hung: Annotated[
        bool, typer.Option("--kill-hung", help="Kill an engine that does not end when asked to.")
    ] = False,
    json: options.Json = False,
) -> int:
    """Close positions and cancel our orders, whether an engine runs on the journal or not.

    A running engine is asked to stop and flatten; then, or without one, the exchange is asked and
    what is left is closed. Without --symbol it is about the symbols of the journal's last run. Ends
    with 0 only when the exchange has confirmed that all is flat, with 6 and what is left otherwise.
    """
    settings = options.combine(
        config, run_venue=venue, run_rest=rest, run_ws=ws, data_symbols=symbol,
        journal_directory=None if journal is None else str(journal),
    )  # fmt: skip
    check_lasting(settings, "flatten")
    place = place_of(settings)
    console = console_for(stderr=json)
    directory = Path(settings.journal.directory).resolve()
    with StopSignals() as signals, LogSystem(settings.log.level, settings.log.file or None):
        patience_s = settings.run.cleanup_timeout_s + _MARGIN_S if wait is None else wait
        _stop_engine(directory, patience_s, console, kill=kill_hung)
        run = last_run(directory)
        symbols, interval = _what(settings, run, given=bool(symbol))
        cleaned = run_async(_flatten(settings, place, signals, console, symbols, interval))
        signals.end()
    if json:
        result = {"verified": not cleaned.problems, "problems": cleaned.problems}
        typer.echo(msgspec.json.encode(result).decode())
    for problem in cleaned.problems:
        console.print(f"[red]{problem}[/]", soft_wrap=True)
    if not cleaned.problems:
        what = ", ".join(symbols) or "the account"
        console.print(f"{what}: flat, as the exchange has confirmed", soft_wrap=True)
    return ExitCode.ACCOUNT_UNVERIFIED if cleaned.problems else ExitCode.OK


def _what(settings: Config, run: LastRun | None, *, given: bool) -> tuple[tuple[str, ...], str]:
    """Which symbols it is about, and the interval whose last close is their price."""
    named = tuple(symbol.upper() for symbol in settings.data.symbols)
    if given or run is None:
        return named, settings.data.interval
    return tuple(dict.fromkeys((*run.symbols, *named))), run.interval


async def _flatten(
    settings: Config,
    place: Place,
    signals: StopSignals,
    console: Console,
    symbols: tuple[str, ...],
    interval: str,
) -> Cleaned:
    """Clean up; a signal does not end it, as what is left would not be known, but says what is."""
    signals.begin()

    def watch(system: TradingSystem) -> None:
        def say(name: str) -> None:
            left = "; ".join(system.what_is_left()) or "to verify"
            console.print(f"{name}: still flattening; left: {left}", soft_wrap=True)

        signals.hand_to(say)

    return await clean_up(
        settings, place, StopPolicy.FLATTEN, name="flatten", symbols=symbols, interval=interval,
        on_system=watch,
    )  # fmt: skip


def _stop_engine(directory: Path, patience_s: float, console: Console, *, kill: bool) -> None:
    """Ask the engine that runs on the journal to stop, and wait for its process to end.

    Raises:
        UnverifiedError: it has not ended, and still holds the account.
    """
    pid = _engine_on(directory)
    if not pid:
        return
    console.print(f"asking the engine (process {pid}) to stop")
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if _ends(process, signal.SIGTERM, patience_s):
            return
        if kill:
            console.print(f"the engine (process {pid}) does not end; it is killed")
            if _ends(process, signal.SIGKILL, _MARGIN_S):
                return
    finally:
        os.close(process)
    raise UnverifiedError(
        f"the engine (process {pid}) has not ended and still holds the account;"
        " --kill-hung ends it first"
    )


def _engine_on(directory: Path) -> int:
    """The process of the engine that holds the journal; 0 for none."""
    for engine in find_engines():
        if Path(engine.journal).resolve() == directory:
            return engine.pid
    holder = holder_of(directory)  # an engine without monitoring, or one that has just begun
    is_engine = holder is not None and holder.command.split()[1:2] == ["run"]
    return holder.pid if holder is not None and is_engine else 0


def _ends(process: int, number: signal.Signals, patience_s: float) -> bool:
    """Send a signal to a process, and say whether it has ended in time."""
    try:
        signal.pidfd_send_signal(process, number)
    except ProcessLookupError:
        return True
    ended, _, _ = select.select([process], [], [], patience_s)
    return bool(ended)
