"""`NetworkDriver`: a run on a venue over a network, in real time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from candlewick.data import Aggregator
from candlewick.live.shell import EngineShell
from candlewick.models import (
    AccountSnapshot,
    Candle,
    Event,
    EventKind,
    StreamKind,
    StreamState,
    interval_ms,
    utc_now_ms,
)
from candlewick.venues import Venue
from candlewick.venues.binance.backoff import Outage

__all__ = ["NetworkDriver", "NetworkSettings"]

_log = logging.getLogger(__name__)
_CANDLE_CLOSED = EventKind.CANDLE_CLOSED
_MOST_PATIENT = 10.0  # times ``retry_s``


class NetworkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a live run keeps its books in line with the exchange's.

    ``reconcile_every_s`` is the time between two snapshots of the account, ``retry_s`` that after
    one which failed, doubled up to ten times that while more fail. ``candles`` ends the run after
    so many closed base candles; 0 means never.
    ``only_clean_up`` ends it once the account has been asked for: what is held is then treated as
    the stop policy says.
    """

    reconcile_every_s: float = 30.0
    retry_s: float = 1.0
    candles: int = 0
    only_clean_up: bool = False


class NetworkDriver:
    """Connects, reconciles, and then lets the venue's streams do the moving.

    Entries stay blocked until the first snapshot has been taken in, and after every loss of the
    account stream until the next one.

    ``since`` is the time (UTC ms) from which fills are not known yet; 0 means now. ``warm_up`` are
    closed candles from before the start, oldest first; ``intervals`` are higher ones, made from
    the base candles as they close. ``now`` tells the market's time.
    """

    def __init__(
        self,
        venue: Venue,
        symbols: Sequence[str],
        interval: str,
        settings: NetworkSettings,
        stopping: asyncio.Event,
        warm_up: Sequence[Candle] = (),
        since: int = 0,
        intervals: Sequence[str] = (),
        *,
        now: Callable[[], int] = utc_now_ms,
    ) -> None:
        self._venue = venue
        self._symbols = tuple(symbols)
        self._interval = interval
        self._settings = settings
        self._stopping = stopping
        self._warm_up = warm_up
        longest_first = sorted(intervals, key=interval_ms, reverse=True)
        self._aggregators = {
            symbol: [Aggregator(interval, target) for target in longest_first]
            for symbol in self._symbols
        }
        self._wanted = asyncio.Event()
        self._is_old = False  # true when what is being asked for may be from before a reconnect
        self._asked_at = 0.0
        self._outage = Outage(_log)
        self._retry_s = settings.retry_s
        self._since = since
        self._begins_anew = not since  # what was traded before the first answer is not ours
        self._before: set[tuple[str, int]] = set()
        self._now = now
        self._shell: EngineShell | None = None
        self._candles = 0

    @property
    def shell(self) -> EngineShell:
        """The shell that `prepare` was given."""
        assert self._shell is not None, "prepare comes first"
        return self._shell

    @property
    def progress(self) -> float:
        """Fraction of the candles asked for; 0.0 where the run has no end."""
        wanted = self._settings.candles
        return min(1.0, self._candles / wanted) if wanted else 0.0

    async def prepare(self, shell: EngineShell) -> int:
        """Note the time from which fills matter; the streams start with `feed`."""
        self._shell = shell
        shell.ask_account = self._ask_account
        now = self._now()
        self._since = self._since or now
        kinds = [EventKind.STREAM_CHANGED]
        if self._settings.candles:  # only then are they counted
            kinds.append(_CANDLE_CLOSED)
        shell.bus.subscribe(kinds, self._on_event, name="driver")
        await self._venue.connect(self._publish, self._symbols, self._interval)
        return now

    def _publish(self, event: Event) -> None:
        """Publish what the venue tells; longer candles come before the one that completes them."""
        if event.kind is _CANDLE_CLOSED and event.payload.interval == self._interval:
            for longer in self._longer(event.payload):
                self.shell.publish(Event(EventKind.CANDLE_CLOSED, longer, event.time))
        self.shell.publish(event)

    def _longer(self, candle: Candle) -> list[Candle]:
        made = [aggregator.update(candle) for aggregator in self._aggregators[candle.symbol]]
        return [longer for longer in made if longer is not None]

    async def _on_event(self, event: Event) -> None:
        if event.kind is EventKind.CANDLE_CLOSED:
            if event.payload.interval == self._interval:
                self._candles += 1
                if self._candles >= self._settings.candles:
                    self._stopping.set()
            return
        status = event.payload
        if status.kind is StreamKind.ACCOUNT and status.state is StreamState.LIVE:
            self._is_old = True
            self._wanted.set()

    def _ask_account(self) -> None:
        """Have the account fetched at once, or a little later when it has just been."""
        loop = asyncio.get_running_loop()
        delay = self._asked_at + self._settings.retry_s - loop.time()
        loop.call_later(max(0.0, delay), self._wanted.set)

    async def feed(self) -> None:
        """Reconcile now, after each reconnect and periodically, until the system stops."""
        self._show_the_past()
        await self.shell.act(())  # a strategy may have raised at the past already
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                self._wanted.clear()
                done = await self._reconcile_until(stopping)
                if self._settings.only_clean_up:
                    return  # the cleanup asks again, and knows when to give up
                delay = self._settings.reconcile_every_s if done else self._retry_s
                wanted = asyncio.ensure_future(self._wanted.wait())
                try:
                    await asyncio.wait(
                        [stopping, wanted], timeout=delay, return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    wanted.cancel()
        finally:
            stopping.cancel()

    async def _reconcile_until(self, stopping: asyncio.Future[Any]) -> bool:
        """Reconcile, and give that up when the system stops: an answer may take its time."""
        asking = asyncio.ensure_future(self._reconcile())
        try:
            await asyncio.wait([stopping, asking], return_when=asyncio.FIRST_COMPLETED)
            return asking.done() and await asking
        finally:
            if not asking.done():
                asking.cancel()
                await asyncio.wait([asking])

    def _show_the_past(self) -> None:
        engine, recorder = self.shell.engine, self.shell.recorder
        for candle in self._warm_up:
            for shown in (*self._longer(candle), candle):
                recorder.shown(shown)
                engine.warm_up(shown)

    async def _reconcile(self) -> bool:
        """Fetch the account and hand it to the engine; False when the exchange did not answer."""
        try:
            snapshot = await self.snapshot()
        except Exception as error:  # noqa: BLE001 - it is asked again, entries stay blocked
            self._outage.failed(f"the account could not be fetched: {error}")
            self._retry_s = min(2.0 * self._retry_s, _MOST_PATIENT * self._settings.retry_s)
            return False
        self._outage.over("the account could be fetched again")
        self._retry_s = self._settings.retry_s
        if self._is_old:
            return False  # the account's stream has come back meanwhile: ask again
        await self._hand_over(snapshot)
        self.shell.tally.begin(self.shell.engine.equity)
        return True

    async def snapshot(self) -> AccountSnapshot:
        """Fetch the account with the fills that may be missing; it knows what we knew before."""
        engine = self.shell.engine
        fills, ends = engine.fills_booked, engine.orders_ended
        self._is_old = False
        self._asked_at = asyncio.get_running_loop().time()
        snapshot = await self._venue.snapshot(self._since)
        if self._begins_anew:
            self._before = {(fill.symbol, fill.trade_id) for fill in snapshot.fills}
        told = snapshot.fills
        if self._before:
            told = tuple(f for f in told if (f.symbol, f.trade_id) not in self._before)
        return msgspec.structs.replace(snapshot, fills=told, fills_known=fills, ends_known=ends)

    async def _hand_over(self, snapshot: AccountSnapshot, timeout_s: float | None = None) -> None:
        """Have the engine bring its books in line."""
        self._begins_anew = False  # from now on orders can be sent
        if snapshot.fills:
            # the last fills are asked for again: a later answer may bring older ones
            self._since = max(self._since, snapshot.fills[-1].time - 60_000)
        self.shell.publish(Event(EventKind.ACCOUNT_UPDATED, snapshot, snapshot.time))
        await self.shell.bus.drain(timeout_s)

    async def settle(self, timeout_s: float) -> None:
        """Wait until no order is under way and nothing is to be closed."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._settle()
        except TimeoutError:
            _log.warning("orders are still under way after %g s", timeout_s)

    async def _settle(self) -> None:
        shell = self.shell
        while True:
            if shell.sender is not None:
                await shell.sender.drain()
            await shell.bus.drain()
            if not shell.engine.is_closing:
                return
            await shell.progress()

    async def learn(self, snapshot: AccountSnapshot, timeout_s: float) -> None:
        """Bring the engine's books in line with an answer, and settle what follows."""
        await self._hand_over(snapshot, timeout_s)
        await self.settle(timeout_s)

    async def close(self) -> None:
        """End the streams; orders and positions stay as they are."""
        await self._venue.close()
