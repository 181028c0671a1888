"""``candlewick guard``: a second process that cleans up when the engine is gone."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from candlewick.audit import holder_of
from candlewick.cli import options
from candlewick.cli.cleaning import clean_up
from candlewick.cli.signals import stop_signals
from candlewick.cli.summary import console_for
from candlewick.cli.venues import Place, check_lasting, place_of
from candlewick.config import Config
from candlewick.engine import StopPolicy
from candlewick.errors import ExitCode, JournalError
from candlewick.live import TradingSystem
from candlewick.live.cleanup import Cleaned
from candlewick.live.guard import Guard, GuardSettings, LastRun, Tell
from candlewick.live.loop import run_async
from candlewick.live.notices import notice_of
from candlewick.live.service import ServiceManager
from candlewick.logs import LogSystem, hide
from candlewick.models import utc_now_ms
from candlewick.notifications import Notice, Notifier, Severity, senders_from

app = typer.Typer(add_completion=False)

_log = logging.getLogger(__name__)
_STOP_S = 10.0


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
        StopPolicy,
        typer.Option("--policy", help="flatten closes; keep sees to stops; tighten moves them."),
    ] = StopPolicy.FLATTEN,
    after: Annotated[
        float, typer.Option("--after", min=0.1, help="Seconds without a sign of life.")
    ] = 10.0,
    kill_hung: Annotated[
        bool, typer.Option("--kill-hung", help="End an engine that lives without a heartbeat.")
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
    watch = GuardSettings(
        after_s=after,
        every_s=min(1.0, after / 2.0),
        patience_s=settings.run.cleanup_timeout_s + 30.0,
        kill_hung=kill_hung,
        once=once,
    )
    with LogSystem(settings.log.level, settings.log.file or None):
        cleaned = run_async(_watch(_Act(settings, place, policy), watch, console_for()))
    return ExitCode.ACCOUNT_UNVERIFIED if cleaned is not None and cleaned.problems else ExitCode.OK


async def _watch(act: _Act, watch: GuardSettings, console: Console) -> Cleaned | None:
    """Guard until a signal comes; one that comes while it acts waits until that is done."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in stop_signals():
        loop.add_signal_handler(number, stopping.set)
    settings = act.settings
    directory = act.directory
    notifier = Notifier(senders_from(os.environ, hide), settings.notifications, _not_told)
    notifier.start()

    def tell(kind: str, severity: Severity, text: str) -> None:
        console.print(text, soft_wrap=True)
        notifier.tell(Notice(kind, severity, f"guard: {kind}", text, utc_now_ms()))

    act.tell, act.notify = tell, notifier.tell
    service = ServiceManager.from_environment(os.environ)
    service.ready(f"watching the journal {directory}")
    console.print(f"watching the journal {directory}", soft_wrap=True)
    try:
        async with service.beating():
            return await Guard(directory, act, watch, tell).run(stopping)
    finally:
        await notifier.stop(_STOP_S)
        service.close()


def _not_told(sender: str, notice: Notice, reason: str) -> None:
    _log.error("%s was not told of %r: %s", sender, notice.title, reason)


class _Act:
    """Treats what a dead engine has left as the policy says."""

    def __init__(self, settings: Config, place: Place, policy: StopPolicy) -> None:
        self.settings = settings
        self.directory = Path(settings.journal.directory).resolve()
        self.tell: Tell = lambda kind, severity, text: None
        self.notify: Callable[[Notice], None] = lambda notice: None
        self._place = place
        self._policy = policy
        self._system: TradingSystem | None = None
        self._tightened: set[str] = set()  # stops are moved once, then kept

    async def __call__(self, run: LastRun) -> Cleaned:
        policy = self._policy
        if policy is StopPolicy.TIGHTEN and run.run_id in self._tightened:
            policy = StopPolicy.KEEP
        if (holder := await asyncio.to_thread(holder_of, self.directory)) is not None:
            raise JournalError(f"process {holder.pid} ({holder.command}) holds {self.directory}")
        self.tell("gone", "critical", f"no engine looks after {', '.join(run.symbols)}: {policy}")
        cleaned = await clean_up(
            self.settings, self._place, policy, name="guard", symbols=run.symbols,
            interval=run.interval, on_system=self._began,
        )  # fmt: skip
        self.notify(notice_of(cleaned))
        self._note_tightened()
        words = "; ".join(cleaned.problems) or f"done and verified: {policy}"
        self.tell("acted", "info", words)
        return cleaned

    def _began(self, system: TradingSystem) -> None:
        self._system = system

    def _note_tightened(self) -> None:
        """Where all stops were moved, the next attempt after this run of ours only keeps them."""
        system = self._system
        if system is not None:
            held = [s for s in system.engine.symbols.values() if not s.position.is_flat]
            if held and all(state.tightened for state in held):
                self._tightened.add(system.settings.run_id)
