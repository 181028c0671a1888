"""`notified`: which events of a system become notices for a person."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from candlewick.audit import JournalState
from candlewick.engine import Alarm, AlarmKind, DayStarted, EngineState, ForeignOrder, StateChanged
from candlewick.live.system import Outcome, TradingSystem
from candlewick.models import Event, EventKind, StreamState, StreamStatus, utc_now_ms
from candlewick.notifications import Notice, NotificationSettings, Notifier, Sender

__all__ = ["JournalRoom", "notified"]

_log = logging.getLogger(__name__)

_KINDS = (EventKind.ENGINE_STATE_CHANGED, EventKind.STREAM_CHANGED)
_ALARMS = {
    AlarmKind.UNPROTECTED: "no stop is confirmed in time, the position is being closed",
    AlarmKind.CANNOT_CLOSE: "the position cannot be closed",
    AlarmKind.CLOSED_BY_EXCHANGE: "the exchange has closed a position",
}
_STOP_S = 10.0
_DAY_MS = 86_400_000


class JournalRoom:
    """The journal's ``on_state``: logs its news, and hands them to the event loop.

    They come from the journal's thread.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._callback: Callable[[JournalState, str], None] | None = None

    def tell(
        self, loop: asyncio.AbstractEventLoop, callback: Callable[[JournalState, str], None]
    ) -> None:
        """Say who wants to know."""
        self._callback = callback
        self._loop = loop

    def __call__(self, state: JournalState, reason: str) -> None:
        """Take the news, on any thread."""
        if state is JournalState.OK:
            _log.warning("the journal has room again")
        else:
            _log.error(
                "the journal cannot be written: %s; entries are refused until there is room, orders"
                " that close positions still go out",
                reason,
            )
        loop, callback = self._loop, self._callback
        if loop is not None and callback is not None and not loop.is_closed():
            loop.call_soon_threadsafe(callback, state, reason)


@asynccontextmanager
async def notified(
    system: TradingSystem,
    senders: Sequence[Sender],
    settings: NotificationSettings,
    room: JournalRoom | None = None,
) -> AsyncIterator[Notifier | None]:
    """Tell of what happens in a system until the context ends; nothing without a sender."""
    if not senders:
        yield None
        return
    notifier = Notifier(senders, settings, system.recorder.not_told)
    watcher = _Watcher(system, notifier, settings)
    notifier.start()
    system.bus.subscribe(_KINDS, watcher.on_event, name="notifications", overflow="drop_oldest")
    system.on_outcome = watcher.on_outcome
    if room is not None:
        room.tell(asyncio.get_running_loop(), watcher.on_journal)
    try:
        yield notifier
    finally:
        await notifier.stop(_STOP_S)


class _Watcher:
    """Puts events into words."""

    def __init__(
        self, system: TradingSystem, notifier: Notifier, settings: NotificationSettings
    ) -> None:
        self._system = system
        self._notifier = notifier
        self._settings = settings
        self._told: set[str] = set()
        self._day_start = 0.0

    async def on_event(self, event: Event) -> None:
        """Look at an event of the bus."""
        payload = event.payload
        if isinstance(payload, StateChanged):
            self._on_state(payload)
        elif isinstance(payload, DayStarted):
            self._on_day(payload)
        elif isinstance(payload, StreamStatus):
            self._on_stream(payload)
        elif isinstance(payload, Alarm):
            title = f"{payload.symbol}: {_ALARMS[payload.kind]}"
            self._critical(str(payload.kind), title, payload.text, subject=payload.symbol)
        elif isinstance(payload, ForeignOrder):
            self._on_foreign(payload)

    def on_journal(self, state: JournalState, reason: str) -> None:
        """The journal ran out of room, or has room again."""
        if state is JournalState.OK:
            self._info("journal has room", "the journal has room again", reason)
        else:
            text = f"{reason}; entries are refused until there is room"
            self._critical("journal", "the journal cannot be written", text)

    def on_outcome(self, outcome: Outcome) -> None:
        """The run has ended."""
        summary = outcome.summary
        text = (
            f"{summary.trades} trades, profit {summary.net_profit:+,.2f},"
            f" equity {summary.final_equity:,.2f}; ended by {summary.ended_by}"
        )
        if outcome.problems:
            left = "; ".join(outcome.problems)
            self._critical("unverified", "the account could not be verified", f"{left}. {text}")
        else:
            self._info("ended", "stopped, and the account is as it should be", text)

    def _on_state(self, change: StateChanged) -> None:
        if change.state is EngineState.HALTED:
            self._critical("halted", "trading is halted", change.reason)
        elif change.state is EngineState.STOPPING:
            self._warning("stopping", "the system is stopping", change.reason)

    def _on_day(self, day: DayStarted) -> None:
        before, self._day_start = self._day_start, day.equity
        if not before or not self._settings.daily_summary:
            return
        date = datetime.fromtimestamp((day.day_end - 2 * _DAY_MS) / 1e3, UTC).date()
        tally = self._system.tally
        text = (
            f"equity {day.equity:,.2f} ({day.equity - before:+,.2f} on the day),"
            f" {tally.trades} trades and {tally.fees:,.2f} fees so far"
        )
        self._info("daily", f"summary of {date}", text, subject=str(date))

    def _on_stream(self, status: StreamStatus) -> None:
        name = f"{status.kind} stream{' of ' + status.symbol if status.symbol else ''}"
        if status.state is not StreamState.LIVE:
            self._told.add(name)
            text = f"{status.reason}; entries are blocked until it is back"
            self._warning("stream", f"the {name} is {status.state}", text, subject=name)
        elif name in self._told:
            self._told.discard(name)
            self._info("stream is back", f"the {name} is back", "", subject=name)

    def _on_foreign(self, found: ForeignOrder) -> None:
        order = found.order
        text = (
            f"{order.client_id}: {order.side} {order.quantity:g} {order.type}; it is not ours and"
            " is left alone"
        )
        self._warning("foreign order", f"another's order in {order.symbol}", text, order.symbol)

    def _critical(self, kind: str, title: str, text: str, subject: str = "") -> None:
        self._notifier.tell(Notice(kind, "critical", title, text, utc_now_ms(), subject))

    def _warning(self, kind: str, title: str, text: str, subject: str = "") -> None:
        self._notifier.tell(Notice(kind, "warning", title, text, utc_now_ms(), subject))

    def _info(self, kind: str, title: str, text: str, subject: str = "") -> None:
        self._notifier.tell(Notice(kind, "info", title, text, utc_now_ms(), subject))
