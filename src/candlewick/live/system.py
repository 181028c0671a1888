"""`TradingSystem`: feed, bus, engine, venue and journal in one process, up to a clean stop."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import msgspec

from candlewick.audit import AuditLogger, JournalState
from candlewick.backtesting import Run, Summary
from candlewick.bus import BusReport, EventBus
from candlewick.engine import EngineState, Memory, StateChanged, StopPolicy, TradingEngine
from candlewick.errors import ExitCode, JournalError, repr_of
from candlewick.exchange import SimulatedExchange
from candlewick.live.cleanup import Cleaned, Cleanup, CleanupSettings
from candlewick.live.driver import Driver, SimulatedDriver
from candlewick.live.recording import Recorder
from candlewick.live.shell import EngineShell
from candlewick.live.status import PositionStatus, Status
from candlewick.live.tally import Tally
from candlewick.live.verification import what_is_left
from candlewick.models import Event, EventKind, OrderPurpose
from candlewick.monitoring import tuned_collector
from candlewick.risk import RiskSettings
from candlewick.strategies import describe_failure
from candlewick.venues import SimulatedVenue, Venue

__all__ = ["Outcome", "SystemSettings", "TradingSystem"]

_log = logging.getLogger(__name__)

END_OF_DATA = "the end of the data"
HISTORY = 1_000


class SystemSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the system runs. ``speed`` is a multiple of real time, None for no pace.

    ``account`` is what tells one account from another in the journal, without a secret.
    ``cleanup`` is how patiently positions are closed at the end, and after a halt.
    ``tune_collector`` is for a process that does nothing else: see `tuned_collector`.
    """

    run_id: str = "sim0"
    account: str = ""
    speed: float | None = None
    on_stop: StopPolicy = StopPolicy.FLATTEN
    drain_timeout_s: float = 10.0
    cleanup: CleanupSettings = CleanupSettings()
    tune_collector: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """How a run ended. ``problems`` says what of the account is not as the policy wants it.

    ``journal_problem`` says what the journal lacks at the end, empty when it is whole.
    """

    summary: Summary
    exit_code: ExitCode
    problems: tuple[str, ...] = ()
    error: str = ""
    journal_problem: str = ""


class TradingSystem:
    """One run: the engine on a bus, moved by a driver, journaled, up to a verified stop.

    Args:
        run: strategy, instruments, candles and account, from `prepare`.
        journal: an open journal; the system stops it at the end.
        engine: the engine, not yet started.
        venue: where its orders go.
        driver: what moves it; made by a function that gets the event that asks for the stop.
        settings: pace, stop policy, deadlines.
        over_network: the venue takes its time, so commands are sent beside the engine.
        memory: what earlier runs on this account have left, from `recover`.
    """

    def __init__(
        self,
        run: Run,
        journal: AuditLogger,
        engine: TradingEngine,
        venue: Venue,
        driver: Callable[[asyncio.Event], Driver],
        settings: SystemSettings,
        *,
        over_network: bool = False,
        memory: Memory | None = None,
    ) -> None:
        self.settings = settings
        self.memory = memory
        self.run_parts = run
        self.journal = journal
        self.engine = engine
        self.venue = venue
        self.stopping = asyncio.Event()
        self.stop_reason = ""
        self.fatal: BaseException | None = None
        self.journal_problem = ""
        self.on_outcome: Callable[[Outcome], None] | None = None
        self.on_cleaned: Callable[[Cleaned], None] | None = None
        self._halting: asyncio.Task[None] | None = None
        self.over_network = over_network
        self.bus_reports: Counter[str] = Counter()
        self.bus = EventBus(on_report=self._on_bus_report)
        self.recorder = Recorder(journal)
        self.tally = Tally(engine.balance)
        self.shell = EngineShell(
            engine, venue, self.bus, self.recorder, self.tally, self.fail,
            over_network=over_network, on_failed=self.stopping.set,
        )  # fmt: skip
        self.driver = driver(self.stopping)
        if over_network:
            self.bus.subscribe(EventKind.ENGINE_STATE_CHANGED, self._on_state, name="halts")

    @classmethod
    def simulated(
        cls,
        run: Run,
        journal: AuditLogger,
        *,
        risk: RiskSettings | None = None,
        settings: SystemSettings | None = None,
    ) -> TradingSystem:
        """A system on the simulated venue, in this process."""
        settings = settings or SystemSettings()
        account = run.account
        engine = TradingEngine(
            run.strategy,
            run.instruments,
            balance=account.cash,
            interval=run.market.interval,
            risk=risk,
            run_id=settings.run_id,
            history=HISTORY,
        )
        exchange = SimulatedExchange(
            run.instruments, account.cash, account.exchange, account.funding
        )
        venue = SimulatedVenue(exchange, run.instruments)
        return cls(
            run, journal, engine, venue,
            lambda stopping: SimulatedDriver(run, venue, settings.speed, stopping), settings,
        )  # fmt: skip

    # -- asking it to stop -----------------------------------------------------------------------

    def request_stop(self, reason: str) -> None:
        """Stop taking candles; the cleanup follows. Safe to call again: the first reason stays."""
        if not self.stopping.is_set():
            self.stop_reason = reason
            self.stopping.set()

    def fail(self, error: BaseException) -> None:
        """Stop because of an error that is not the strategy's; the first one stays."""
        self.fatal = self.fatal or error
        self.request_stop(f"an unexpected error: {repr_of(error)}")

    def _on_bus_report(self, report: BusReport) -> None:
        self.bus_reports[report.kind] += 1
        if self.journal.state is not JournalState.CLOSED:
            self.recorder.bus_report(report)

    def what_is_left(self) -> list[str]:
        """Say what a cleanup still has to do, by the engine's books."""
        return what_is_left(self.engine)

    # -- running ---------------------------------------------------------------------------------

    async def run(self) -> Outcome:
        """Run to the end of the data or until a stop is asked for; always cleans up."""
        started = time.perf_counter()
        self.bus.start()
        start = await self._prepare()
        try:
            if self.memory is not None:
                self.engine.restore(self.memory)
            self._record_start(start)
            await self.shell.act(self.engine.start(start))
            await self.bus.drain()
            with tuned_collector() if self.settings.tune_collector else nullcontext():
                await self.driver.feed()
        except Exception as error:  # noqa: BLE001 - whatever it is, the positions come first
            self.recorder.error(error, traceback.format_exc(), "feed")
            self.fail(error)
        problems = await self._shut_down()
        outcome = self._outcome(problems, time.perf_counter() - started)
        if self.on_outcome is not None:
            self.on_outcome(outcome)
        return outcome

    async def _prepare(self) -> int:
        """Connect; what fails here ends the run before anything was done."""
        try:
            return await self.driver.prepare(self.shell)
        except Exception as error:
            self.recorder.error(error, traceback.format_exc(), "connecting")
            await self.driver.close()
            await self.bus.stop(self.settings.drain_timeout_s)
            self.journal.stop()
            raise

    def _record_start(self, start: int) -> None:
        run = self.run_parts
        self.recorder.started(
            self.engine,
            strategy=run.name,
            params=run.params,
            balance=self.engine.balance,
            history=HISTORY,
            time=start,
            venue=self.venue.name,
            exchange=run.account.exchange,
            data=run.market.label,
            awaits_snapshot=self.over_network,
            memory=self.memory,
            account=self.settings.account or self.venue.name,
        )

    # -- stopping --------------------------------------------------------------------------------

    async def _on_state(self, event: Event) -> None:
        """A halt for the day ends as a stop does: closed, cancelled, and verified."""
        change = event.payload
        halted = isinstance(change, StateChanged) and change.state is EngineState.HALTED
        if halted and self.engine.failure is None and not self.stopping.is_set():
            self._halting = asyncio.create_task(self._after_halt(change.reason), name="halt")

    async def _after_halt(self, reason: str) -> None:
        try:
            await self._clean_up(StopPolicy.FLATTEN, reason, stops=False)
        except Exception as error:  # noqa: BLE001 - the stop that follows cleans up again
            self.recorder.error(error, traceback.format_exc(), "after a halt")
            self.fail(error)

    async def _shut_down(self) -> list[str]:
        """Clean up by policy, drain, flush: in this order."""
        if self._halting is not None:
            self._halting.cancel()
            await asyncio.wait([self._halting])
        failure = self.engine.failure
        policy = self.settings.on_stop if failure is None else StopPolicy.FLATTEN
        reason = repr_of(failure) if failure is not None else self.stop_reason or END_OF_DATA
        problems = await self._clean_up(policy, reason)
        self.shell.save_strategy()
        self.recorder.finishing()
        await self.shell.act(self.engine.finish())
        await self._let_go()
        left = await self.bus.stop(self.settings.drain_timeout_s)
        if left:
            self.recorder.not_handled(dict(left))
        self.recorder.stopped(self.engine.now, self._exit_code(problems))
        try:
            await asyncio.to_thread(self.journal.stop)
        except JournalError as error:
            self.journal_problem = str(error)
        return problems

    async def _clean_up(self, policy: StopPolicy, reason: str, *, stops: bool = True) -> list[str]:
        """Apply the policy until the exchange confirms it, or the time is up.

        Returns what is not as it should be. Stops stay at the exchange all the while.
        """
        settings = self.settings.cleanup
        work = Cleanup(self.shell, self.driver, policy, reason, settings, stops=stops)
        cleaned = await work.run()
        if self.on_cleaned is not None:
            self.on_cleaned(cleaned)
        return list(cleaned.problems)

    async def _let_go(self) -> None:
        """End the sending and the streams; what the exchange does not answer is not waited for."""
        try:
            async with asyncio.timeout(self.settings.drain_timeout_s):
                await self.shell.close()
                await self.driver.close()
        except TimeoutError:
            _log.warning("the venue did not close within %g s", self.settings.drain_timeout_s)

    def _exit_code(self, problems: list[str]) -> ExitCode:
        if problems:
            return ExitCode.ACCOUNT_UNVERIFIED
        if self.engine.failure is not None:
            return ExitCode.STRATEGY_FAILED
        if self.fatal is not None:
            return ExitCode.UNEXPECTED
        return ExitCode.JOURNAL_UNTRUSTED if self.journal_problem else ExitCode.OK

    def _outcome(self, problems: list[str], elapsed_s: float) -> Outcome:
        run, failure = self.run_parts, self.engine.failure
        stopped_by = self.stop_reason or END_OF_DATA
        ended_by = stopped_by if failure is None else "the strategy raised"
        base = Summary(
            strategy=run.name,
            params=run.params,
            symbols=run.market.symbols,
            interval=run.market.interval,
            venue=self.venue.name,
            missing_candles=run.market.missing_candles,
            elapsed_s=elapsed_s,
            ended_by=ended_by,
            failure="" if failure is None else describe_failure(failure),
            journal=str(Path(self.journal.directory).resolve()),
        )
        return Outcome(
            self.tally.summary(base, self.engine.equity),
            self._exit_code(problems),
            tuple(problems),
            "" if self.fatal is None else repr_of(self.fatal),
            self.journal_problem,
        )

    # -- looking at it ---------------------------------------------------------------------------

    def status(self) -> Status:
        """Return the figures of this moment."""
        engine, tally = self.engine, self.tally
        positions = []
        for state in engine.symbols.values():
            if not state.position.is_flat:
                stops = state.pending(OrderPurpose.STOP)
                stop = stops[0].trigger_price if stops and stops[0].status.is_working else 0.0
                positions.append(PositionStatus.of(state.position, state.price, stop))
        return Status(
            self.settings.run_id,
            self.venue.name,
            self.run_parts.name,
            str(EngineState(engine.state)),
            engine.now,
            self.driver.progress,
            engine.equity,
            engine.equity - tally.start_equity,
            tally.max_drawdown,
            tally.candles,
            tally.signals,
            tally.orders,
            tally.fills,
            tally.trades,
            tally.fees,
            sum(len(state.orders) for state in engine.symbols.values()),
            tuple(positions),
            dict(tally.denials),
            str(self.journal.directory),
            str(self.journal.state),
        )
