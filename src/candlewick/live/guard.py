"""`Guard`: watches an engine from another process, and cleans up when it is gone.

The journal's directory is the lease: whoever holds its lock may send orders. An engine holds it for
as long as its process lives, so the guard cannot act beside a living one; the lock of a process
that was killed is free at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from enum import StrEnum
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import aiohttp
import msgspec

from candlewick.audit import EventType, read
from candlewick.engine import Memory
from candlewick.errors import CandlewickError, DataError, JournalError
from candlewick.live.cleanup import Cleaned
from candlewick.monitoring import EngineAddress, Problem, find_engines
from candlewick.notifications import Severity

__all__ = ["Guard", "GuardSettings", "LastRun", "Sight", "Tell", "last_run"]

_log = logging.getLogger(__name__)
_VITAL = ("account", "data")  # of the checks; that its loop turns is told by the answer itself
_REST = 20.0
_READY = msgspec.json.Decoder(dict[str, Any], strict=False)


class GuardSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``after_s`` is how long an engine may show no life; ``every_s`` how often it is looked at.

    ``kill_hung`` ends a process that lives without a heartbeat, so that its lease becomes free: at
    once when it does not answer, and when it answers but its account or its data is not known,
    by asking it to stop and waiting for ``patience_s``. ``once`` ends the guard after it has acted.
    """

    after_s: float = 10.0
    every_s: float = 1.0
    timeout_s: float = 2.0
    patience_s: float = 90.0
    kill_hung: bool = False
    once: bool = False


class LastRun(msgspec.Struct, frozen=True):
    """What the journal says of the last run: its goodbye, and the symbols that need a look.

    Those are what it traded, and where earlier runs have left something that it did not trade.
    """

    run_id: str
    symbols: tuple[str, ...]
    interval: str
    account: str
    ended_well: bool


class Sight(StrEnum):
    """What the guard sees of the engine: a heartbeat, or why there is none."""

    ALIVE = "alive"
    UNWELL = "unwell"  # it answers, but its data is old or its account unknown
    HUNG = "hung"  # it does not answer
    GONE = "gone"


class Tell(Protocol):
    """Tells a person: what kind of event, how bad, and one line about it."""

    def __call__(self, kind: str, severity: Severity, text: str) -> None:
        """Tell it; returns at once."""


def last_run(directory: Path) -> LastRun | None:
    """Read how the last run in a journal ended; None when there was none.

    A journal that is damaged tells what it still can, and that nobody knows how the run ended.
    """
    if not any(directory.glob("*.jsonl*")):
        return None
    try:
        return _told_by(directory)
    except DataError as error:
        _log.error("the journal is damaged: %s", error)
        return _told_by(directory, skip_broken=True) or LastRun("", (), "", "", False)


def _told_by(directory: Path, *, skip_broken: bool = False) -> LastRun | None:
    found: LastRun | None = None
    kinds = [EventType.ENGINE_STARTED, EventType.ENGINE_STOPPED]
    for record in read(directory, types=kinds, skip_broken=skip_broken):
        data: dict[str, Any] = record.data
        if record.type == EventType.ENGINE_STARTED:
            before = msgspec.convert(data["memory"], Memory | None) or Memory()
            symbols = tuple(dict.fromkeys((*data["instruments"], *before.left_in())))
            found = LastRun(data["run_id"], symbols, data["interval"], data["account"], False)
        elif found is not None:
            found = msgspec.structs.replace(found, ended_well=data["exit_code"] == 0)
    return found


class Guard:
    """Looks at the engine of one journal, and calls ``act`` when nobody looks after the account.

    Args:
        directory: the journal's, resolved, where the engine holds the lease.
        act: takes the lease, applies the policy, verifies; raises JournalError while the lease is
            somebody else's, which is told when it lasts for longer than ``patience_s``.
        settings: patience.
        tell: tells a person.
    """

    def __init__(
        self,
        directory: Path,
        act: Callable[[LastRun], Awaitable[Cleaned]],
        settings: GuardSettings,
        tell: Tell,
    ) -> None:
        self._directory = directory
        self._act = act
        self._settings = settings
        self._tell = tell
        self._asked: dict[int, float] = {}  # when a process was asked to stop
        self._judge_after = 0.0
        self._held_since = 0.0  # since when the lease is held without a heartbeat

    async def run(self, stopping: asyncio.Event) -> Cleaned | None:
        """Watch until ``stopping`` is set; returns what its last acting has come to."""
        cleaned: Cleaned | None = None
        seen = monotonic()
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_s)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while not stopping.is_set():
                sight, engine, why = await self._look(session)
                if sight is Sight.ALIVE:
                    seen, self._judge_after, self._held_since = monotonic(), 0.0, 0.0
                elif engine is not None and monotonic() - seen >= self._settings.after_s:
                    self._without_heartbeat(sight, engine, why)
                elif monotonic() - seen >= self._settings.after_s:
                    acted = await self._nobody_there()
                    cleaned = acted or cleaned
                    if acted is not None and self._settings.once:
                        break
                await self._pause(stopping)
        return cleaned

    async def _pause(self, stopping: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), self._settings.every_s)

    # -- looking ---------------------------------------------------------------------------------

    async def _look(
        self, session: aiohttp.ClientSession
    ) -> tuple[Sight, EngineAddress | None, str]:
        engine = await asyncio.to_thread(self._find)
        if engine is None:
            return Sight.GONE, None, ""
        host = f"[{engine.host}]" if ":" in engine.host else engine.host
        try:
            async with session.get(f"http://{host}:{engine.port}/ready") as answer:
                lacks = _vital_of(await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Sight.HUNG, engine, f"it does not answer ({type(error).__name__})"
        except (msgspec.DecodeError, msgspec.ValidationError):
            return Sight.HUNG, engine, "it answers what cannot be understood"
        return (Sight.UNWELL if lacks else Sight.ALIVE), engine, lacks

    def _find(self) -> EngineAddress | None:
        engines = find_engines()
        return next((e for e in engines if Path(e.journal).resolve() == self._directory), None)

    def _without_heartbeat(self, sight: Sight, engine: EngineAddress, why: str) -> None:
        """A living engine keeps its lease; it can only be told of, or ended."""
        text = f"the engine (process {engine.pid}) gives no sign of life: {why}"
        if not self._settings.kill_hung:
            self._tell(
                "no heartbeat", "critical", f"{text}; it holds the lease, so nothing is done"
            )
            return
        asked = self._asked.get(engine.pid)
        if sight is Sight.UNWELL and asked is None:
            self._asked[engine.pid] = monotonic()
            self._tell("no heartbeat", "critical", f"{text}; it is asked to stop")
            _signal(engine.pid, signal.SIGTERM)
        elif sight is Sight.HUNG or monotonic() - (asked or 0.0) > self._settings.patience_s:
            self._tell("killed", "critical", f"{text}; it is killed")
            _signal(engine.pid, signal.SIGKILL)

    # -- acting ----------------------------------------------------------------------------------

    async def _nobody_there(self) -> Cleaned | None:
        """Act when the last run has not said that all is well; None when it has, or may not."""
        if monotonic() < self._judge_after:
            return None
        began = monotonic()
        run = await asyncio.to_thread(last_run, self._directory)
        if run is None or run.ended_well:
            # reading a large journal again and again must not load the machine
            self._judge_after = monotonic() + _REST * (monotonic() - began)
            return None
        try:
            cleaned = await self._act(run)
            self._held_since = 0.0
            return cleaned
        except JournalError as error:
            self._held_by_another(error)
        except CandlewickError as error:
            self._tell("unverified", "critical", f"could not clean up, trying again: {error}")
        return None

    def _held_by_another(self, error: JournalError) -> None:
        """The lease is held without a heartbeat: an engine begins, ends, or cannot be looked at."""
        if not self._held_since:
            self._held_since = monotonic()
            _log.info("the lease is not free: %s", error)
        elif self._held_since < monotonic() - self._settings.patience_s:
            self._held_since = inf
            self._tell("no heartbeat", "critical", f"an engine cannot be looked at: {error}")


def _vital_of(body: bytes) -> str:
    """What an answer of /ready says against the heartbeat; empty when it beats."""
    found = msgspec.convert(_READY.decode(body)["not_ready"], list[Problem])
    return "; ".join(item.problem for item in found if item.check in _VITAL)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
