"""``candlewick guard``: a second process that cleans up when the engine is gone."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from candlewick.cli import options
from candlewick.cli.cleaning import clean_up
from candlewick.cli.summary import console_for
from candlewick.cli.venues import Place, check_lasting, place_of
from candlewick.config import Config
from candlewick.engine import StopPolicy
from candlewick.errors import ExitCode
from candlewick.live import Outcome
from candlewick.live.guard import Guard, GuardSettings, LastRun
from candlewick.live.loop import run_async
from candlewick.logs import LogSystem

app = typer.Typer()


@app.command()
def guard(
    config: options.ConfigFile = None,
    venue: Annotated[str | None, typer.Option("--venue", help="Where the account is.")] = None,
    rest: Annotated[str | None, typer.Option("--rest", help="REST address of a server.")] = None,
    ws: Annotated[str | None, typer.Option("--ws", help="WebSocket address of it.")] = None,
    journal: Annotated[
        Path | None, typer.Option("--journal", "-j", help="The engine's journal: its lease.")
    ] = None,
    policy: Annotated[
        StopPolicy, typer.Option("--policy", help="flatten closes; keep sees to the stops.")
    ] = StopPolicy.FLATTEN,
    after: Annotated[
        float, typer.Option("--after", min=0.1, help="Seconds without a sign of life.")
    ] = 10.0,
    kill_hung: Annotated[
        bool, typer.Option("--kill-hung", help="Kill an engine that lives but does not answer.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="End after having acted.")] = False,
) -> int:
    """Watch the engine that runs on a journal; clean up by policy when it is gone.

    It acts only with the lease of the journal in hand, so never beside a living engine.
    """
    settings = options.combine(
        config, run_venue=venue, run_rest=rest, run_ws=ws,
        journal_directory=None if journal is None else str(journal),
    )  # fmt: skip
    check_lasting(settings, "guard")
    place = place_of(settings)
    directory = Path(settings.journal.directory).resolve()
    watch = GuardSettings(
        after_s=after, every_s=min(1.0, after / 2.0), kill_hung=kill_hung, once=once
    )
    with LogSystem(settings.log.level, settings.log.file or None):
        outcome = run_async(_watch(settings, place, directory, policy, watch, console_for()))
    return outcome.exit_code if outcome is not None and outcome.problems else ExitCode.OK


async def _watch(
    settings: Config,
    place: Place,
    directory: Path,
    policy: StopPolicy,
    watch: GuardSettings,
    console: Console,
) -> Outcome | None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)

    def tell(line: str) -> None:
        console.print(line, soft_wrap=True)

    async def act(run: LastRun) -> Outcome:
        outcome = await clean_up(
            settings, place, policy, name="guard", symbols=run.symbols, interval=run.interval
        )
        tell("; ".join(outcome.problems) or f"done and verified: {policy}")
        return outcome

    tell(f"watching the journal {directory}")
    return await Guard(directory, act, watch, tell).run(stopping)
