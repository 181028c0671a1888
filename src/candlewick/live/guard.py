"""`Guard`: watches an engine from another process, and cleans up when it is gone.

The journal's directory is the lease: whoever holds its lock may send orders. An engine holds it for
as long as its process lives, so the guard cannot act beside a living one; the lock of a process
that was killed is free at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import msgspec

from candlewick.audit import EventType, read
from candlewick.errors import CandlewickError, JournalError
from candlewick.live.system import Outcome
from candlewick.monitoring import EngineAddress, find_engines

__all__ = ["Guard", "GuardSettings", "LastRun", "Sight", "last_run"]

_log = logging.getLogger(__name__)


class GuardSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``after_s`` is how long an engine may show no life; ``every_s`` how often it is looked at.

    ``kill_hung`` ends a process that lives but does not answer, so that its lease becomes free.
    ``once`` ends the guard after it has acted.
    """

    after_s: float = 10.0
    every_s: float = 1.0
    timeout_s: float = 2.0
    kill_hung: bool = False
    once: bool = False


class LastRun(msgspec.Struct, frozen=True):
    """What the journal says of the last run: what it traded, and whether it said goodbye."""

    symbols: tuple[str, ...]
    interval: str
    account: str
    ended_well: bool


class Sight(StrEnum):
    """What the guard sees of the engine."""

    ALIVE = "alive"
    HUNG = "hung"
    GONE = "gone"


def last_run(directory: Path) -> LastRun | None:
    """Read how the last run in a journal ended; None when there was none."""
    found: LastRun | None = None
    kinds = [EventType.ENGINE_STARTED, EventType.ENGINE_STOPPED]
    for record in read(directory, types=kinds):
        data: dict[str, Any] = record.data
        if record.type == EventType.ENGINE_STARTED:
            found = LastRun(tuple(data["instruments"]), data["interval"], data["account"], False)
        elif found is not None:
            found = msgspec.structs.replace(found, ended_well=data["exit_code"] == 0)
    return found


class Guard:
    """Looks at the engine of one journal, and calls ``act`` when nobody looks after the account.

    Args:
        directory: the journal's, absolute, where the engine holds the lease.
        act: takes the lease, applies the policy, verifies; raises JournalError while the lease is
            somebody else's.
        settings: patience.
        tell: takes one line for people.
    """

    def __init__(
        self,
        directory: Path,
        act: Callable[[LastRun], Awaitable[Outcome]],
        settings: GuardSettings,
        tell: Callable[[str], None],
    ) -> None:
        self._directory = directory
        self._act = act
        self._settings = settings
        self._tell = tell

    async def run(self, stopping: asyncio.Event) -> Outcome | None:
        """Watch until ``stopping`` is set; returns the last outcome of its own acting."""
        outcome: Outcome | None = None
        seen = monotonic()
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_s)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while not stopping.is_set():
                sight, engine = await self._look(session)
                if sight is Sight.ALIVE:
                    seen = monotonic()
                elif monotonic() - seen >= self._settings.after_s:
                    acted = await self._nobody_there(sight, engine)
                    outcome = acted or outcome
                    if acted is not None and self._settings.once:
                        break
                await self._pause(stopping)
        return outcome

    async def _pause(self, stopping: asyncio.Event) -> None:
        try:
            await asyncio.wait_for(stopping.wait(), self._settings.every_s)
        except TimeoutError:
            return

    async def _look(self, session: aiohttp.ClientSession) -> tuple[Sight, EngineAddress | None]:
        engines = await asyncio.to_thread(find_engines)
        engine = next((e for e in engines if Path(e.journal) == self._directory), None)
        if engine is None:
            return Sight.GONE, None
        try:
            async with session.get(f"http://{engine.host}:{engine.port}/health") as answer:
                return (Sight.ALIVE if answer.status == 200 else Sight.HUNG), engine
        except (aiohttp.ClientError, TimeoutError, OSError):
            return Sight.HUNG, engine

    async def _nobody_there(self, sight: Sight, engine: EngineAddress | None) -> Outcome | None:
        """Decide whether the guard is needed, and act; None when it is not, or may not."""
        run = await asyncio.to_thread(self._last_run)
        if run is None or (sight is Sight.GONE and run.ended_well):
            return None
        if sight is Sight.HUNG and engine is not None:
            if not self._settings.kill_hung:
                _log.warning("the engine (process %d) lives but does not answer", engine.pid)
                return None
            self._tell(f"the engine (process {engine.pid}) does not answer; it is killed")
            os.kill(engine.pid, signal.SIGKILL)
        try:
            self._tell(f"no engine looks after {', '.join(run.symbols)}: cleaning up")
            return await self._act(run)
        except JournalError as error:
            _log.info("the lease is not free: %s", error)
        except CandlewickError as error:
            self._tell(f"could not clean up, trying again: {error}")
        return None

    def _last_run(self) -> LastRun | None:
        if not any(self._directory.glob("*.jsonl*")):
            return None
        return last_run(self._directory)
