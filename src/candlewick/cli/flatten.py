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

from candlewick.cli import options
from candlewick.cli.cleaning import clean_up
from candlewick.cli.summary import console_for
from candlewick.cli.venues import check_lasting, place_of
from candlewick.engine import StopPolicy
from candlewick.errors import ConfigError, ExitCode
from candlewick.live.loop import run_async
from candlewick.logs import LogSystem
from candlewick.monitoring import find_engines

app = typer.Typer()


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
    json: options.Json = False,
) -> int:
    """Close positions and cancel our orders, whether an engine runs on the journal or not.

    A running engine is asked to stop and flatten; then, or without one, the exchange is asked and
    what is left is closed. Ends with 0 only when the exchange has confirmed that all is flat.
    """
    settings = options.combine(
        config, run_venue=venue, run_rest=rest, run_ws=ws, data_symbols=symbol,
        journal_directory=None if journal is None else str(journal),
    )  # fmt: skip
    check_lasting(settings, "flatten")
    place = place_of(settings)
    console = console_for(stderr=json)
    _stop_engine(Path(settings.journal.directory), settings.run.cleanup_timeout_s, console)
    with LogSystem(settings.log.level, settings.log.file or None):
        outcome = run_async(clean_up(settings, place, StopPolicy.FLATTEN, name="flatten"))
    if json:
        result = {"verified": not outcome.problems, "problems": outcome.problems}
        typer.echo(msgspec.json.encode(result).decode())
    for problem in outcome.problems:
        console.print(f"[red]{problem}[/]", soft_wrap=True)
    if not outcome.problems:
        console.print("flat, as the exchange has confirmed", soft_wrap=True)
    return outcome.exit_code if outcome.problems else ExitCode.OK


def _stop_engine(directory: Path, patience_s: float, console: Console) -> None:
    """Ask the engine that runs on the journal to stop, and wait for its process to end."""
    wanted = directory.resolve()
    for engine in find_engines():
        if Path(engine.journal) != wanted:
            continue
        console.print(f"asking the engine (process {engine.pid}) to stop")
        try:
            process = os.pidfd_open(engine.pid)
        except ProcessLookupError:
            return
        try:
            os.kill(engine.pid, signal.SIGTERM)
            ended, _, _ = select.select([process], [], [], patience_s + 30.0)
        finally:
            os.close(process)
        if not ended:
            raise ConfigError(
                f"the engine (process {engine.pid}) has not ended; it still holds the account"
            )
