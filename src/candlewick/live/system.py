"""`TradingSystem`: feed, bus, engine, venue and journal in one process, up to a clean stop."""

from __future__ import annotations

import asyncio
import time
import traceback
from pathlib import Path

import msgspec

from candlewick.audit import AuditLogger
from candlewick.backtesting import Run, Summary
from candlewick.bus import EventBus
from candlewick.engine import EngineState, StopPolicy, TradingEngine
from candlewick.errors import ExitCode
from candlewick.exchange import SimulatedExchange
from candlewick.live.feed import CandleFeed
from candlewick.live.recording import Recorder
from candlewick.live.shell import EngineShell
from candlewick.live.status import PositionStatus, Status
from candlewick.live.tally import Tally
from candlewick.live.verification import problems_with
from candlewick.models import Candle, Event, EventKind, OrderPurpose, SignalAction
from candlewick.risk import RiskSettings
from candlewick.venues import SimulatedVenue

__all__ = ["Outcome", "SystemSettings", "TradingSystem"]

END_OF_DATA = "the end of the data"
HISTORY = 1_000


class SystemSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the system runs. ``speed`` is a multiple of real time, None for no pace."""

    run_id: str = "sim0"
    speed: float | None = None
    on_stop: StopPolicy = StopPolicy.FLATTEN
    drain_timeout_s: float = 10.0


class Outcome(msgspec.Struct, frozen=True):
    """How a run ended. ``problems`` says what of the account is not as the policy wants it."""

    summary: Summary
    exit_code: ExitCode
    problems: tuple[str, ...] = ()
    error: str = ""


class TradingSystem:
    """One run on the simulated venue.

    Args:
        run: strategy, instruments, candles and account, from `prepare`.
        journal: an open journal; the system stops it at the end.
        risk: the limits.
        settings: pace, stop policy, deadlines.
    """

    def __init__(
        self,
        run: Run,
        journal: AuditLogger,
        *,
        risk: RiskSettings | None = None,
        settings: SystemSettings | None = None,
    ) -> None:
        self.settings = settings or SystemSettings()
        self.run_parts = run
        self.journal = journal
        self.stopping = asyncio.Event()
        self.stop_reason = ""
        self.fatal: BaseException | None = None
        account = run.account
        self.engine = TradingEngine(
            run.strategy,
            run.instruments,
            balance=account.cash,
            interval=run.market.interval,
            risk=risk,
            run_id=self.settings.run_id,
            history=HISTORY,
        )
        exchange = SimulatedExchange(
            run.instruments, account.cash, account.exchange, account.funding
        )
        self.venue = SimulatedVenue(exchange, run.instruments)
        self.bus = EventBus()
        self.recorder = Recorder(journal)
        self.tally = Tally(account.cash)
        self.shell = EngineShell(
            self.engine, self.venue, self.bus, self.recorder, self.tally, self._on_fatal
        )
        self.feed = CandleFeed(run.tables, self.settings.speed, self.stopping)
        self._last: Candle | None = None
        self._fed = 0

    # -- asking it to stop -----------------------------------------------------------------------

    def request_stop(self, reason: str) -> None:
        """Stop taking candles; the cleanup follows. Safe to call again: the first reason stays."""
        if not self.stopping.is_set():
            self.stop_reason = reason
            self.stopping.set()

    def _on_fatal(self, error: BaseException) -> None:
        self.fatal = self.fatal or error
        self.request_stop(f"an unexpected error: {error!r}")

    def what_is_left(self) -> list[str]:
        """Say what a cleanup still has to do, by the engine's books."""
        left = []
        for symbol, state in self.engine.symbols.items():
            if not state.position.is_flat:
                left.append(f"{symbol} holds {state.position.quantity:g}")
            left += [f"{order.client_id} is {order.status}" for order in state.orders.values()]
        return left

    # -- running ---------------------------------------------------------------------------------

    async def run(self) -> Outcome:
        """Run to the end of the data or until a stop is asked for; always cleans up."""
        started = time.perf_counter()
        self.bus.start()
        market = self.run_parts.market
        await self.venue.connect(self.shell.publish, market.symbols, market.interval)
        self._record_start()
        try:
            await self.shell.act(self.engine.start(self.feed.first_time))
            await self.bus.drain()
            await self._feed()
        except Exception as error:  # noqa: BLE001 - whatever it is, the positions come first
            self.recorder.error(error, traceback.format_exc(), "feed")
            self._on_fatal(error)
        problems = await self._shut_down()
        return self._outcome(problems, time.perf_counter() - started)

    def _record_start(self) -> None:
        run = self.run_parts
        self.recorder.started(
            self.engine,
            strategy=run.name,
            params=run.params,
            balance=run.account.cash,
            history=HISTORY,
            time=self.feed.first_time,
            venue=self.venue.name,
            exchange=run.account.exchange,
            data=run.market.label,
        )

    async def _feed(self) -> None:
        base, bus, engine = self.engine.interval, self.bus, self.engine
        async for candle in self.feed.candles():
            is_base = candle.interval == base
            if is_base:
                while self.venue.advance(candle):
                    await bus.drain()
            self.shell.publish(Event(EventKind.CANDLE_CLOSED, candle, candle.close_time))
            await bus.drain()
            self._fed += 1
            if is_base:
                self._last = candle
                self.tally.candle(candle.close_time, engine.equity)
            if engine.failure is not None:
                return

    # -- stopping --------------------------------------------------------------------------------

    async def _shut_down(self) -> list[str]:
        """Discard entries, apply the policy, verify, drain, flush: in this order."""
        policy = self.settings.on_stop
        if self.engine.failure is not None or self.fatal is not None:
            policy = StopPolicy.FLATTEN if self.engine.failure is not None else policy
        reason = str(self.engine.failure or self.stop_reason or END_OF_DATA)
        discarded = self.bus.discard(_is_entry)
        if discarded:
            self.recorder.discarded(discarded)
        self.recorder.stop_requested(policy, reason)
        await self.shell.act(self.engine.begin_stop(policy, reason))
        await self.bus.drain()
        if policy is StopPolicy.FLATTEN:
            await self._flatten()
        problems = problems_with(await self.venue.snapshot(), self.engine, policy)
        self.recorder.reconciled(not problems, problems)
        self.recorder.finishing()
        await self.shell.act(self.engine.finish())
        left = await self.bus.stop(self.settings.drain_timeout_s)
        if left:
            self.recorder.not_handled(dict(left))
        await self.venue.close()
        self.recorder.stopped(self._last, self._exit_code(problems))
        self.journal.stop()
        return problems

    async def _flatten(self) -> None:
        """Let the simulated market trade at its last prices until nothing is left to do."""
        for symbol, state in self.engine.symbols.items():
            while state.orders and state.price:
                if not self.venue.tick(symbol, state.price, self.engine.now):
                    break
                await self.bus.drain()

    def _exit_code(self, problems: list[str]) -> ExitCode:
        if problems:
            return ExitCode.ACCOUNT_UNVERIFIED
        if self.engine.failure is not None:
            return ExitCode.STRATEGY_FAILED
        return ExitCode.UNEXPECTED if self.fatal is not None else ExitCode.OK

    def _outcome(self, problems: list[str], elapsed_s: float) -> Outcome:
        run, failure = self.run_parts, self.engine.failure
        ended_by = "the strategy raised" if failure else self.stop_reason or END_OF_DATA
        base = Summary(
            strategy=run.name,
            params=run.params,
            symbols=run.market.symbols,
            interval=run.market.interval,
            venue=self.venue.name,
            missing_candles=run.market.missing_candles,
            elapsed_s=elapsed_s,
            ended_by=ended_by,
            failure=repr(failure) if failure else "",
            journal=str(Path(self.journal.directory).resolve()),
        )
        return Outcome(
            self.tally.summary(base, self.engine.equity),
            self._exit_code(problems),
            tuple(problems),
            repr(self.fatal) if self.fatal else "",
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
            self._fed / self.feed.total,
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


def _is_entry(event: Event) -> bool:
    """True for a signal that would open a position; closing ones keep their turn."""
    return event.kind is EventKind.SIGNAL_GENERATED and event.payload.action in (
        SignalAction.BUY,
        SignalAction.SELL,
    )
