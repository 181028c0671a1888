"""`notified`: which events of a system become notices for a person."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import monotonic

from candlewick.audit import Anchor, JournalState
from candlewick.engine import (
    Alarm,
    AlarmKind,
    DayStarted,
    EngineState,
    ForeignOrder,
    OrderChanged,
    StateChanged,
    StopPolicy,
)
from candlewick.live.cleanup import Cleaned
from candlewick.live.system import Outcome, TradingSystem
from candlewick.models import Event, EventKind, utc_now_ms
from candlewick.notifications import Notice, NotificationSettings, Notifier, Sender, Severity
from candlewick.risk import Denial

__all__ = ["JournalNews", "notice_of", "notified"]

_log = logging.getLogger(__name__)

_WITHOUT_ROOM = "entries are refused until there is room, orders that close positions still go out"
_ALARMS = {
    AlarmKind.UNPROTECTED: "no stop is confirmed in time, the position is being closed",
    AlarmKind.CANNOT_CLOSE: "the position cannot be closed",
    AlarmKind.CLOSED_BY_EXCHANGE: "the exchange has closed a position",
}
_STOP_S = 10.0
_DAY_MS = 86_400_000


class JournalNews:
    """What the journal has to tell, from a thread of its own: handed to the event loop, or logged.

    `on_state` and `on_anchor` are the journal's hooks.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watcher: _Watcher | None = None

    def tell(self, loop: asyncio.AbstractEventLoop, watcher: _Watcher) -> None:
        """Say who wants to know."""
        self._watcher = watcher
        self._loop = loop

    def on_state(self, state: JournalState, reason: str) -> None:
        """It ran out of room, or has room again."""
        if self._watcher is not None and self._hand_over(self._watcher.on_journal, state, reason):
            return
        if state is not JournalState.OK:
            _log.error("the journal cannot be written: %s; %s", reason, _WITHOUT_ROOM)

    def on_anchor(self, day: str, sequence: int, digest: str) -> None:
        """A day's last record is known; kept elsewhere, its hash vouches for all before it."""
        anchor = Anchor(sequence, digest, day)
        if self._watcher is None or not self._hand_over(self._watcher.on_anchor, anchor):
            _log.info("anchor of the journal: %s", anchor)

    def _hand_over(self, callback: Callable[..., object], *arguments: object) -> bool:
        if self._loop is None or self._loop.is_closed():
            return False
        self._loop.call_soon_threadsafe(callback, *arguments)
        return True


@asynccontextmanager
async def notified(
    system: TradingSystem,
    senders: Sequence[Sender],
    settings: NotificationSettings,
    news: JournalNews | None = None,
) -> AsyncIterator[Notifier]:
    """Tell of what happens in a system until the context ends: in the log, and by the senders."""
    notifier = Notifier(senders, settings, system.recorder.not_told)
    watcher = _Watcher(system, notifier, settings)
    notifier.start()
    system.bus.subscribe(
        EventKind.ENGINE_STATE_CHANGED, watcher.on_event, name="notifications",
        overflow="drop_oldest",
    )  # fmt: skip
    system.on_outcome = watcher.on_outcome
    system.on_cleaned = watcher.on_cleaned
    if news is not None:
        news.tell(asyncio.get_running_loop(), watcher)
    blocked = asyncio.create_task(watcher.watch_blocked(), name="notices of blocked symbols")
    try:
        yield notifier
    finally:
        blocked.cancel()
        await asyncio.wait([blocked])
        await notifier.stop(_STOP_S)


def notice_of(cleaned: Cleaned) -> Notice:
    """What a person must know of a cleanup."""
    verb = "were" if len(cleaned.held) > 1 else "was"
    held = f"{cleaned.reason}; {', '.join(cleaned.held) or 'nothing'} {verb} held"
    if cleaned.problems:
        text = f"{'; '.join(cleaned.problems)}. {held}"
        title = "the account could not be verified"
        return Notice("unverified", "critical", title, text, utc_now_ms())
    kept = {
        StopPolicy.FLATTEN: ("flattened", "flat, as the exchange has confirmed"),
        StopPolicy.KEEP: ("kept", "positions are kept, their stops are confirmed"),
        StopPolicy.TIGHTEN: ("tightened", "stops are tightened, as the exchange has confirmed"),
    }
    kind, title = kept[cleaned.policy]
    return Notice(kind, "warning" if cleaned.held else "info", title, held, utc_now_ms())


class _Watcher:
    """Puts events into words."""

    def __init__(
        self, system: TradingSystem, notifier: Notifier, settings: NotificationSettings
    ) -> None:
        self._system = system
        self._notifier = notifier
        self._settings = settings
        self._day_start = 0.0

    async def on_event(self, event: Event) -> None:
        """Look at an event of the bus."""
        payload = event.payload
        if isinstance(payload, StateChanged):
            self._on_state(payload)
        elif isinstance(payload, DayStarted):
            self._on_day(payload)
        elif isinstance(payload, Alarm):
            title = f"{payload.symbol}: {_ALARMS[payload.kind]}"
            self._tell(str(payload.kind), "critical", title, payload.text, payload.symbol)
        elif isinstance(payload, ForeignOrder):
            self._on_foreign(payload)
        elif isinstance(payload, Denial):
            _log.info("denied: %s; %s", payload, payload.code.explanation)
        elif isinstance(payload, OrderChanged):
            _log.info("rejected: %s: %s", payload.order.client_id, payload.message)

    def on_journal(self, state: JournalState, reason: str) -> None:
        """The journal ran out of room, or has room again."""
        if state is JournalState.OK:
            self._tell("journal has room", "info", "the journal has room again", reason)
        else:
            text = f"{reason}; {_WITHOUT_ROOM}"
            self._tell("journal", "critical", "the journal cannot be written", text)

    def on_cleaned(self, cleaned: Cleaned) -> None:
        """A cleanup is over."""
        self._notifier.tell(notice_of(cleaned))

    def on_anchor(self, anchor: Anchor) -> None:
        """The hash of a day's last record is known: out of the reach of who writes the journal."""
        text = f"check it with: candlewick audit verify --anchor {anchor.sequence}:{anchor.hash}"
        title = f"anchor of the journal, {anchor.day}"
        self._tell("anchor", "info", title, text, subject=anchor.day)

    def on_outcome(self, outcome: Outcome) -> None:
        """The run has ended."""
        summary = outcome.summary
        text = (
            f"{summary.trades} trades, profit {summary.net_profit:+,.2f},"
            f" equity {summary.final_equity:,.2f}; ended by {summary.ended_by}"
        )
        self._tell("ended", "info", "the run has ended", text)

    def _on_state(self, change: StateChanged) -> None:
        if change.state is EngineState.HALTED:
            self._tell("halted", "critical", "trading is halted", change.reason)
        elif change.state is EngineState.STOPPING:
            self._tell("stopping", "warning", "the system is stopping", change.reason)

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
        self._tell("daily", "info", f"summary of {date}", text, subject=str(date))

    def _on_foreign(self, found: ForeignOrder) -> None:
        order = found.order
        text = (
            f"{order.client_id}: {order.side} {order.quantity:g} {order.type}; it is not ours and"
            " is left alone"
        )
        title = f"another's order in {order.symbol}"
        self._tell("foreign order", "warning", title, text, order.symbol)

    async def watch_blocked(self) -> None:
        """Tell of symbols whose entries are blocked for long, and when they no longer are.

        A lost stream that is back soon is nobody's business: its reconnects are in the metrics.
        """
        if not self._system.over_network:
            return
        patience_s = self._settings.reconnecting_after_s
        since: dict[str, float] = {}
        told: set[str] = set()
        while True:
            await asyncio.sleep(min(1.0, patience_s / 4.0))
            now = monotonic()
            for symbol, state in self._system.engine.symbols.items():
                reason = state.is_unknown() or state.stale
                if not reason:
                    since.pop(symbol, None)
                    if symbol in told:
                        told.discard(symbol)
                        title = f"{symbol} can be traded again"
                        self._tell("reconnected", "info", title, "", symbol)
                elif now - since.setdefault(symbol, now) >= patience_s and symbol not in told:
                    told.add(symbol)
                    title = f"{symbol} has been blocked for {patience_s:g} s"
                    text = f"{reason}; no entry is sent until that is over, stops rest"
                    self._tell("reconnecting", "warning", title, text, symbol)

    def _tell(
        self, kind: str, severity: Severity, title: str, text: str, subject: str = ""
    ) -> None:
        self._notifier.tell(Notice(kind, severity, title, text, utc_now_ms(), subject))
