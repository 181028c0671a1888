"""`Cleanup`: the one way in which an account is brought to what a stop policy wants.

discard entries -> close while the stops rest, or see to the stops -> verify -> cancel what rests,
normal and conditional -> verify again; each step is journaled, and all of it is tried again with
growing pauses until the exchange confirms it or the time is up.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback

import msgspec

from candlewick.engine import EngineState, StopPolicy
from candlewick.live.driver import Driver
from candlewick.live.shell import EngineShell
from candlewick.live.verification import Findings, examine, what_is_left
from candlewick.models import Event, EventKind, SignalAction

__all__ = ["Cleaned", "Cleanup", "CleanupSettings"]

_log = logging.getLogger(__name__)


class CleanupSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a cleanup is.

    ``timeout_s`` bounds all of it, ``settle_s`` the waiting for orders in one attempt, ``answer_s``
    one question to the exchange. ``attempts`` bounds it where waiting does not help: on a venue in
    this process. ``pause_s`` is the first pause between two attempts, doubled up to
    ``longest_pause_s``.
    """

    timeout_s: float = 60.0
    settle_s: float = 10.0
    answer_s: float = 30.0
    attempts: int = 6
    pause_s: float = 0.25
    longest_pause_s: float = 5.0


class Cleaned(msgspec.Struct, frozen=True):
    """What a cleanup has come to: what was held when it began, and what is not as it should be."""

    policy: StopPolicy
    reason: str
    held: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    attempts: int = 1
    stops: bool = True


class Cleanup:
    """Cleans up once: `run` it.

    Args:
        shell, driver: of the system whose account it is.
        policy: what to do with positions.
        reason: stands in the journal, and with the orders.
        settings: patience.
        stops: the engine stops; otherwise it only closes what is held, as after a halt.
    """

    def __init__(
        self,
        shell: EngineShell,
        driver: Driver,
        policy: StopPolicy,
        reason: str,
        settings: CleanupSettings,
        *,
        stops: bool = True,
    ) -> None:
        self._shell = shell
        self._driver = driver
        self._policy = policy
        self._reason = reason
        self._settings = settings
        self._stops = stops
        self._deadline = time.monotonic() + settings.timeout_s
        self._is_patient = shell.sender is not None
        self.attempts = 0

    async def run(self) -> Cleaned:
        """Do it; what comes back has no problems when the exchange has confirmed it."""
        symbols = self._shell.engine.symbols
        held = tuple(name for name, state in symbols.items() if not state.position.is_flat)
        self._discard()
        pause_s = self._settings.pause_s
        while True:
            self.attempts += 1
            problems = await self._attempt()
            if not problems or not self._may_go_on(pause_s):
                break
            self._step("again", problems=problems, pause_s=pause_s)
            if self._is_patient:
                await asyncio.sleep(pause_s)
                pause_s = min(2.0 * pause_s, self._settings.longest_pause_s)
        if problems:
            self._step("alarm", problems=problems)
            _log.error("cleanup is not verified: %s", "; ".join(problems))
        self._shell.recorder.reconciled(not problems, problems)
        return Cleaned(
            self._policy, self._reason, held, tuple(problems), self.attempts, self._stops
        )

    def _may_go_on(self, pause_s: float) -> bool:
        if not self._stops and self._shell.engine.state is not EngineState.HALTED:
            return False  # a new day: the engine may hold something again
        if self._is_patient:
            return time.monotonic() + pause_s < self._deadline
        return self.attempts < self._settings.attempts

    def _step(self, step: str, **figures: object) -> None:
        self._shell.recorder.cleanup(
            step, attempt=self.attempts, policy=self._policy, reason=self._reason, **figures
        )

    # -- the steps -------------------------------------------------------------------------------

    def _discard(self) -> None:
        """No entry that waits for its turn may follow."""
        discarded = self._shell.bus.discard(_is_entry)
        self._step("discard entries", entries=len(discarded))
        if discarded:
            self._shell.recorder.discarded(discarded)

    async def _attempt(self) -> list[str]:
        await self._act("close" if self._policy is StopPolicy.FLATTEN else "see to the stops")
        found = await self._verify("verify")
        if not found.held and (found.resting or self._is_patient):
            if found.resting:
                await self._act("cancel what rests", orders=list(found.resting))
            found = await self._verify("verify again")  # positions and orders are asked for apart
        return found.problems

    async def _act(self, step: str, **figures: object) -> None:
        """Let the engine decide what the policy asks for, and wait until that is done."""
        self._step(step, **figures)
        engine, recorder = self._shell.engine, self._shell.recorder
        if self._stops:
            recorder.stop_requested(self._policy, self._reason)
            decisions = engine.begin_stop(self._policy, self._reason)
        else:
            recorder.flatten_requested(self._reason)
            decisions = engine.flatten(self._reason)
        await self._shell.act(decisions)
        await self._driver.settle(self._left(self._settings.settle_s))

    async def _verify(self, step: str) -> Findings:
        """Ask the exchange whether the account is as the policy wants it.

        The engine learns the answer: it books fills that no stream has told, claims what is ours,
        and acts on it.
        """
        try:
            async with asyncio.timeout(self._left(self._settings.answer_s)):
                snapshot = await self._driver.snapshot()
        except Exception as error:  # noqa: BLE001 - not knowing is not being flat
            self._shell.recorder.error(error, traceback.format_exc(), "verifying")
            reason = str(error) or "no answer in time"
            left = what_is_left(self._shell.engine)
            found = Findings((f"the account could not be asked for: {reason}", *left))
        else:
            await self._driver.learn(snapshot, self._left(self._settings.settle_s))
            found = examine(snapshot, self._shell.engine, self._policy)
        self._step(step, held=list(found.held), resting=list(found.resting))
        return found

    def _left(self, seconds: float) -> float:
        """So many seconds, or what is left until the deadline; a second at least, to be told."""
        return max(1.0, min(seconds, self._deadline - time.monotonic()))


def _is_entry(event: Event) -> bool:
    """True for a signal that would open a position; closing ones keep their turn."""
    return event.kind is EventKind.SIGNAL_GENERATED and event.payload.action in (
        SignalAction.BUY,
        SignalAction.SELL,
    )
