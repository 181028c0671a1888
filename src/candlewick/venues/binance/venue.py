"""`BinanceVenue`: one account on Binance USDⓈ-M futures, or on a server that speaks like it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from candlewick.errors import VenueError
from candlewick.models import (
    AccountSnapshot,
    Candle,
    Event,
    Instrument,
    Order,
    OrderUpdate,
    TriggerPrice,
)
from candlewick.venues.base import Publish
from candlewick.venues.binance import endpoints
from candlewick.venues.binance.account import AccountFeed
from candlewick.venues.binance.clock import EventClock, ServerClock
from candlewick.venues.binance.execution import Execution
from candlewick.venues.binance.funding import FundingBook
from candlewick.venues.binance.history import CandleSource
from candlewick.venues.binance.keys import ApiKeys
from candlewick.venues.binance.limits import Limits
from candlewick.venues.binance.market import MarketFeed
from candlewick.venues.binance.register import Register
from candlewick.venues.binance.reports import Reporter
from candlewick.venues.binance.resolver import Resolver
from candlewick.venues.binance.rest import RestClient
from candlewick.venues.binance.sequence import CandleSequence
from candlewick.venues.binance.settings import BinanceSettings
from candlewick.venues.binance.snapshot import SnapshotTaker
from candlewick.venues.binance.start import fetch_instruments, prepare_account
from candlewick.venues.binance.tally import OnMalformed, PublishError, Tally
from candlewick.venues.binance.watching import MarketWatcher
from candlewick.venues.binance.wsapi import WsApi

__all__ = ["BinanceVenue"]

Part = TypeVar("Part")

_log = logging.getLogger(__name__)
_START_WAIT_S = 65.0  # a minute's limits may be used up by what ran before: they are waited for
_MOST_SYMBOLS = 500  # two streams each, and a connection carries 1,024


class BinanceVenue:
    """The `Venue` of one account.

    Args:
        settings: where the exchange is.
        keys: the account's keys; None for market data only, as paper trading needs it.
        on_malformed: gets every message that could not be understood; for the journal.
        hide: gets every secret that comes up at runtime, for the log to leave out.
        on_fatal: gets what ends a stream for good: an event that found no room, or a bug. The
            system must stop; the venue still takes orders, so that it can clean up. Without it,
            the next call raises instead, once.
        watcher: gets every trade and mark price; None: they are not asked for.

    Call `instruments` and `candles` first, as often as needed, then `connect` once, then the
    rest, then `close`. `connect` publishes before it returns: closed candles that follow those
    that `candles` gave, and STREAM_CHANGED when a stream is live.
    """

    def __init__(
        self,
        settings: BinanceSettings,
        keys: ApiKeys | None,
        *,
        on_malformed: OnMalformed | None = None,
        hide: Callable[[str], None] | None = None,
        on_fatal: Callable[[BaseException], None] | None = None,
        watcher: MarketWatcher | None = None,
    ) -> None:
        self.name = settings.name
        self.settings = settings
        self._keys = keys
        self._hide = hide or (lambda _secret: None)
        self.on_fatal = on_fatal
        self._watcher = watcher
        if keys is not None:
            self._hide(keys.key)
            self._hide(keys.secret)
        self.tally = Tally(on_malformed, self._redacted)
        self.clock = EventClock(ServerClock())
        self.limits = Limits(settings, self.clock.server)
        self.limits.max_wait_s = max(settings.max_wait_s, _START_WAIT_S)
        self.rest = RestClient(settings, keys, self.clock.server, self.limits, self.tally)
        self._source = CandleSource(self.rest, self.tally)
        self._sequences: dict[tuple[str, str], CandleSequence] = {}
        self._instruments: dict[str, Instrument] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._follow_ups: set[asyncio.Task[None]] = set()
        self._publisher: Publish | None = None
        self._market: MarketFeed | None = None
        self._account: AccountFeed | None = None
        self._ws_api: WsApi | None = None
        self._execution: Execution | None = None
        self._resolver: Resolver | None = None
        self._snapshots: SnapshotTaker | None = None
        self._failure: BaseException | None = None
        self._has_failed = False
        self._is_closing = False
        self._is_synced = False

    def report_to(
        self, on_fatal: Callable[[BaseException], None], on_malformed: OnMalformed
    ) -> None:
        """Replace ``on_fatal`` and ``on_malformed``."""
        self.on_fatal = on_fatal
        self.tally.on_malformed = on_malformed

    def _redacted(self, text: str) -> str:
        if self._keys is not None:
            text = self._keys.redact(text)
        return text if self._account is None else self._account.redact(text)

    def now(self) -> int:
        """The exchange's time, UTC ms; ours before `instruments` was called."""
        return self.clock.server.now()

    # -- before the streams ------------------------------------------------------------------------

    async def instruments(self, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        """Return what can be traded, with units, limits, fees and margin tiers.

        Without keys, fees and tiers are the defaults of `Instrument`.
        """
        await self._sync()
        missing = [symbol for symbol in symbols if symbol not in self._instruments]
        if missing:
            self._instruments |= await fetch_instruments(
                self.rest, self.limits, missing, with_account=self._keys is not None
            )
        return {symbol: self._instruments[symbol] for symbol in symbols}

    async def candles(self, symbol: str, interval: str, count: int) -> Sequence[Candle]:
        """Fetch the last closed candles, oldest first; the stream goes on where they end."""
        found = await self._source.last(symbol, interval, count)
        if found:
            self._sequence(symbol, interval).begin_after(found[-1].open_time)
        return found

    async def funding(self, symbol: str, since: int) -> list[tuple[int, float]]:
        """Fetch the (time, rate) pairs of funding from ``since`` (UTC ms) on, oldest first."""
        rows = await self.rest.call(
            endpoints.FUNDING, {"symbol": symbol, "startTime": since, "limit": 1_000}
        )
        return sorted((row.fundingTime, row.fundingRate) for row in rows if row.symbol == symbol)

    def _sequence(self, symbol: str, interval: str) -> CandleSequence:
        known = self._sequences.get((symbol, interval))
        if known is None:
            known = self._sequences[symbol, interval] = CandleSequence(symbol, interval)
        return known

    async def _sync(self) -> None:
        if not self._is_synced:
            await self.rest.sync_clock()
            self._is_synced = True

    # -- connecting --------------------------------------------------------------------------------

    async def connect(self, publish: Publish, symbols: Sequence[str], interval: str) -> None:
        """Connect, start the streams and publish what they bring; raises VenueError.

        The account's position mode, margin type and leverage are checked or set first.
        """
        if self._publisher is not None:
            raise VenueError("the venue is connected already")
        if not 1 <= len(symbols) <= _MOST_SYMBOLS:
            raise VenueError(f"{len(symbols)} symbols: it must be 1 to {_MOST_SYMBOLS}")
        self._publisher = publish
        try:
            traded = await self.instruments(symbols)
            if self._keys is not None:
                await prepare_account(self.rest, self.settings, symbols)
            sequences = [self._sequence(symbol, interval) for symbol in symbols]
            self._market = self._market_feed(sequences)
            if self._keys is not None:
                self._build_account(self._keys, traded)
            await self._start()
        except BaseException:
            await self.close()
            raise
        self.limits.max_wait_s = self.settings.max_wait_s

    def _market_feed(self, sequences: Sequence[CandleSequence]) -> MarketFeed:
        return MarketFeed(
            self.settings, self.rest, self.clock, self.tally, self._publish, self._follow_up,
            sequences, self._watcher,
        )  # fmt: skip

    def _build_account(self, keys: ApiKeys, traded: Mapping[str, Instrument]) -> None:
        """Put together what speaks for the account."""
        settings, rest, tally, clock = self.settings, self.rest, self.tally, self.clock
        register = Register()
        resolver = Resolver(rest, register, clock, settings, tally, self._spawn)
        reporter = Reporter(
            self._publish, register, traded, tally, resolver.fetch,
            lambda client_id: self._ask(register, resolver, client_id),
        )  # fmt: skip
        resolver.reporter = reporter
        market = self._market
        funding = FundingBook(
            rest, clock, tally, self._publish, self._follow_up, traded,
            lambda symbol: market.funding_rates.get(symbol, 0.0) if market else 0.0,
        )  # fmt: skip
        account = AccountFeed(
            settings, rest, clock, tally, self._publish, reporter, resolver, funding, self._hide
        )
        if settings.orders_over_ws and settings.ws_api_url:
            self._ws_api = WsApi(settings, keys, clock.server, self.limits, tally, rest)
        self._execution = Execution(
            settings, rest, self._ws_api, clock, tally, register, reporter, resolver, traded,
            self._spawn, account.suspect,
        )  # fmt: skip
        self._snapshots = SnapshotTaker(settings, rest, clock, register, reporter, traded)
        self._resolver, self._account = resolver, account
        funding.begin()

    @staticmethod
    def _ask(register: Register, resolver: Resolver, client_id: str) -> None:
        tracked = register.get(client_id)
        if tracked is not None:
            resolver.start(tracked.order)

    async def _start(self) -> None:
        """Open the streams, the account's first: no news of the account may be missed."""
        account, market = self._account, self._market
        keepers = [f.keeper for f in (account, self._ws_api, market) if f is not None]
        for keeper in keepers:
            keeper.companions = [other for other in keepers if other is not keeper]
        if account is not None:
            await account.keeper.open()
            self._spawn(account.keeper.run(), "account stream")
            self._spawn(account.keep_key(), "listen key")
        if self._ws_api is not None:
            self._spawn(self._ws_api.keeper.run(), "order connection")
        if market is not None:
            await market.keeper.open()
            self._spawn(market.keeper.run(), "market stream")
            self._spawn(market.watch(), "market age")
        self._spawn(self._keep_time(), "clock")

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(self.settings.clock_every_s)
            try:
                await self.rest.sync_clock()
            except VenueError as error:
                _log.warning("the exchange's clock could not be read: %s", error)

    # -- events and tasks --------------------------------------------------------------------------

    def _publish(self, event: Event) -> None:
        if self._is_closing or self._publisher is None:
            return
        try:
            self._publisher(event)
        except Exception as error:
            raise PublishError(f"{event.kind} could not be published: {error}") from error

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run something in the background until it is done or the venue closes."""
        self._run(work, name)

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None] | None:
        if self._is_closing:
            work.close()
            return None
        task = asyncio.create_task(work, name=f"binance: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _follow_up(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run what a message has made necessary; `settle` waits for it."""
        task = self._run(work, name)
        if task is not None:
            self._follow_ups.add(task)
            task.add_done_callback(self._follow_ups.discard)

    async def settle(self) -> None:
        """Wait until everything that has come in is told: candles fetched, funding looked up."""
        while self._follow_ups:
            await asyncio.wait(self._follow_ups)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not self._is_closing:
            _log.error("%s has failed: %s", task.get_name(), error)
            if self.on_fatal is not None:
                self.on_fatal(error)
            elif not self._has_failed:
                self._has_failed = True
                self._failure = error

    # -- the account -------------------------------------------------------------------------------

    async def submit(self, order: Order) -> None:
        """Send an order that is in the journal already.

        A closing order waits as long as limits and lost connections make it; an opening one is
        refused instead. An order whose outcome is not known is told to be UNKNOWN, and asked for
        until the exchange answers.
        """
        await self._connected(self._execution).submit(order)

    async def cancel(self, order: Order, time: int) -> None:
        """Cancel an order; ``time`` (UTC ms) is when that was decided.

        Where there is nothing to cancel, an update with the code -2011 is published, and then how
        the order has ended.
        """
        await self._connected(self._execution).cancel(order)

    async def query(self, order: Order) -> OrderUpdate | None:
        """Ask what became of an order; None when the exchange does not know it.

        Where it does not answer, or the order may still be under way, the update says UNKNOWN, and
        the answer is published later. Fills that were not told are published before it returns.
        """
        return await self._connected(self._resolver).query(order)

    async def snapshot(self, since: int = 0) -> AccountSnapshot:
        """Fetch balance, positions, all open orders, and the fills since ``since`` (UTC ms).

        No fills for 0. All of it is of the symbols that `connect` was given, the balance apart.
        """
        return await self._connected(self._snapshots).take(since)

    def _connected(self, part: Part | None) -> Part:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise VenueError(f"a stream has ended for good: {failure}")
        if part is None:
            reason = "it is not connected" if self._keys is not None else "it has no API keys"
            raise VenueError(f"the venue has no account: {reason}")
        return part

    def price_of(self, symbol: str, by: TriggerPrice) -> float:
        """Return the last or the mark price, as the stream told it; 0.0 where none is fresh."""
        return 0.0 if self._market is None else self._market.price_of(symbol, by)

    async def close(self) -> None:
        """End the streams and connections; orders and positions stay as they are."""
        self._is_closing = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for feed in (self._account, self._market, self._ws_api):
            if feed is not None:
                await feed.keeper.close()
        await self.rest.close()
