"""`MarketFeed`: candles and prices of some symbols, over one connection that is kept alive."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence

from candlewick.errors import VenueError
from candlewick.models import (
    Candle,
    Event,
    EventKind,
    StreamKind,
    StreamState,
    StreamStatus,
    TriggerPrice,
)
from candlewick.models.candle import impossible
from candlewick.venues.binance.backoff import Backoff
from candlewick.venues.binance.clock import EventClock
from candlewick.venues.binance.connection import Connection
from candlewick.venues.binance.decoding import Reply, market_decoder
from candlewick.venues.binance.history import CandleSource
from candlewick.venues.binance.keeper import Keeper
from candlewick.venues.binance.messages import AggTrade, Kline, MarketMessage, MarkPrice, number
from candlewick.venues.binance.rest import RestClient
from candlewick.venues.binance.sequence import CandleSequence
from candlewick.venues.binance.settings import BinanceSettings
from candlewick.venues.binance.tally import Tally
from candlewick.venues.binance.watching import MarketWatcher, TradeTape

__all__ = ["MarketFeed"]

_log = logging.getLogger(__name__)
_PRICE_UPDATED = EventKind.PRICE_UPDATED
_CANDLE_CLOSED = EventKind.CANDLE_CLOSED
_FILL_ATTEMPTS = 6
_SURELY_MISSING = 2  # so often the exchange lists what follows, and not what is missing
_MOST_PATIENT_S = 60.0
_TIMED_EVERY_S = 0.001  # how often a price may look at the clock


class Line:
    """One symbol and interval: its sequence, and the state of the work on it."""

    __slots__ = ("filling", "last_event", "overdue_since", "patience_s", "sequence")

    def __init__(self, sequence: CandleSequence, patience_s: float) -> None:
        self.sequence = sequence
        self.last_event = 0
        self.filling = False
        self.overdue_since = 0.0
        self.patience_s = patience_s


class MarketFeed:
    """The market's side of the venue, for the symbols of one connection.

    Closed candles are published once each and in order, whatever the stream repeats, loses or
    brings late: what is missing is asked for over REST, and a hole that cannot be filled is told as
    a STREAM_CHANGED event. Candles that are open still are published as PRICE_UPDATED.

    Data is stale by its age alone: of the whole connection, then it is replaced, or of one symbol.
    The mark price, which comes every second, keeps the data of a quiet symbol young.

    A ``watcher`` is told every trade and mark price, over the same connection as the candles.
    """

    def __init__(
        self,
        settings: BinanceSettings,
        rest: RestClient,
        clock: EventClock,
        tally: Tally,
        publish: Callable[[Event], None],
        follow_up: Callable[..., None],
        sequences: Iterable[CandleSequence],
        watcher: MarketWatcher | None = None,
    ) -> None:
        self._settings = settings
        self._rest = rest
        self._clock = clock
        self._tally = tally
        self._publish = publish
        self._follow_up = follow_up
        self._source = CandleSource(rest, tally)
        self._decode = market_decoder(tally).decode
        self._lines = {(s.symbol, s.interval): Line(s, settings.late_candle_s) for s in sequences}
        self._symbols = tuple(dict.fromkeys(symbol for symbol, _ in self._lines))
        self._seen = dict.fromkeys(self._symbols, 0.0)
        self._stale: dict[str, bool] = {}  # by symbol; true once the connection was given up for it
        self._is_live = False
        self._timed_at = 0.0
        self.funding_rates: dict[str, float] = {}
        self._watcher = watcher
        self._tape = TradeTape(tally)
        self._last_prices: dict[str, float] = {}
        self._mark_prices: dict[str, float] = {}
        self.keeper = Keeper(
            "market", settings, tally, self._connect, self._streams(), self._on_frame,
            self._on_up, self._on_down,
        )  # fmt: skip

    def _streams(self) -> Sequence[str]:
        candles = [f"{symbol.lower()}@kline_{interval}" for symbol, interval in self._lines]
        marks = [f"{symbol.lower()}@markPrice@1s" for symbol in self._symbols]
        watched = self._symbols if self._watcher is not None else ()
        return candles + marks + [f"{symbol.lower()}@aggTrade" for symbol in watched]

    async def _connect(self) -> Connection:
        url = f"{self._settings.ws_url}/market/stream"
        return await Connection.open(self._rest.session, url, self._settings, "market")

    # -- connections -----------------------------------------------------------------------------

    def _on_up(self, earlier: int) -> None:
        now = time.monotonic()
        self._seen = dict.fromkeys(self._symbols, now)
        if earlier:
            for line in self._lines.values():
                if line.sequence.next_open:
                    self._fill(line)
                elif self._watcher is not None:
                    self._watcher.caught_up(line.sequence.symbol)

    def _on_down(self, reason: str) -> None:
        self._is_live = False
        self._tape.clear()
        if self._watcher is not None:
            self._watcher.interrupted()
        self._stale.clear()
        self._last_prices.clear()
        self._mark_prices.clear()
        self._tell(StreamState.LOST, reason)

    def _tell(self, state: StreamState, reason: str = "", symbol: str = "") -> None:
        status = StreamStatus(StreamKind.MARKET, state, self._clock.now(), reason, symbol)
        self._publish(Event(EventKind.STREAM_CHANGED, status, status.time))

    # -- frames ----------------------------------------------------------------------------------

    def _on_frame(self, connection: Connection, frame: bytes | str) -> None:
        message = self._decode(frame)
        if isinstance(message, Kline):
            self._on_kline(connection, message)
        elif isinstance(message, MarkPrice):
            self._on_mark_price(connection, message)
        elif isinstance(message, Reply):
            self._tally.messages["Reply"] += 1
            connection.answered(message.id, error=message.error)
        elif message is not None:
            self._on_other(connection, message)

    def _on_other(self, connection: Connection, message: MarketMessage) -> None:
        self._tally.messages[type(message).__name__] += 1
        if isinstance(message, AggTrade) and self._watcher is not None:  # else: not subscribed to
            self._on_trade(connection, message, self._watcher)

    def _on_trade(self, connection: Connection, message: AggTrade, watcher: MarketWatcher) -> None:
        if message.s not in self._seen:
            self._tally.events["other_symbol"] += 1
            return
        self._clock.seen(message.E)
        self._alive(connection, message.s)
        if self._tape.is_next(message):
            if self._tape.take(message):
                watcher.skipped(message.s)
            watcher.traded(message.s, message.p, message.q, message.T)

    def _alive(self, connection: Connection, symbol: str) -> None:
        """Data of a symbol has come."""
        self._seen[symbol] = connection.last_data
        if not self._is_live:
            self._is_live = True
            self._tell(StreamState.LIVE)
        if self._stale and symbol in self._stale:
            del self._stale[symbol]
            self._tell(StreamState.LIVE, symbol=symbol)

    def _on_mark_price(self, connection: Connection, message: MarkPrice) -> None:
        self._tally.messages["MarkPrice"] += 1
        if message.s in self._seen:
            self.funding_rates[message.s] = _rate(message.r, self.funding_rates.get(message.s, 0.0))
            self._clock.seen(message.E)
            self._mark_prices[message.s] = message.p
            self._alive(connection, message.s)
            if self._watcher is not None and message.p > 0.0:
                rate = self.funding_rates[message.s]
                self._watcher.marked(message.s, message.p, rate, message.T, message.E)

    def _on_kline(self, connection: Connection, message: Kline) -> None:
        """Most of what comes passes here; it does as little as it can."""
        self._tally.messages["Kline"] += 1
        bar = message.k
        low, high = bar.l, bar.h
        if not (
            0.0 < low <= bar.o <= high
            and low <= bar.c <= high
            and bar.v >= 0.0
            and 0 <= bar.t < bar.T
        ):
            reason = impossible(bar.t, bar.o, high, low, bar.c, bar.v, bar.T)
            self._tally.saw_malformed("market", reason, repr(message))
            return
        symbol = message.s
        line = self._lines.get((symbol, bar.i))
        if line is None:
            self._tally.events["other_symbol"] += 1
            return
        time = message.E
        if connection.last_data - self._timed_at > _TIMED_EVERY_S:
            self._timed_at = connection.last_data
            self._clock.seen(time)
        self._seen[symbol] = connection.last_data
        if self._stale or not self._is_live:
            self._alive(connection, symbol)
        sequence = line.sequence
        candle = Candle(symbol, bar.i, bar.t, bar.o, high, low, bar.c, bar.v, bar.T, bar.x)
        if bar.x:
            if bar.t >= sequence.newest_open:
                self._last_prices[symbol] = bar.c
            self._take(line, (candle,), time)
        elif bar.t > sequence.newest_open or (
            bar.t == sequence.newest_open and line.last_event <= time
        ):
            line.last_event = time
            sequence.newest_open = bar.t
            self._last_prices[symbol] = bar.c
            self._publish(Event(_PRICE_UPDATED, candle, time))
        else:
            self._tally.events["old_prices"] += 1

    def price_of(self, symbol: str, by: TriggerPrice) -> float:
        """The price that sets off orders, as heard last; 0.0 where none is fresh."""
        if not self._is_live or symbol in self._stale:
            return 0.0
        prices = self._mark_prices if by is TriggerPrice.MARK else self._last_prices
        return prices.get(symbol, 0.0)

    # -- the order of candles --------------------------------------------------------------------

    def _take(self, line: Line, candles: Iterable[Candle], event_time: int) -> bool:
        """Publish what is next in turn; True when something was."""
        sequence = line.sequence
        known = sequence.duplicates
        ready = sequence.take(candles)
        if sequence.duplicates != known:
            self._tally.events["duplicate_candles"] += sequence.duplicates - known
        self._publish_closed(ready, event_time)
        if ready:
            line.overdue_since = 0.0
            line.patience_s = self._settings.late_candle_s
        if sequence.has_hole:
            self._fill(line)
        return bool(ready)

    def _publish_closed(self, candles: Iterable[Candle], event_time: int) -> None:
        for candle in candles:
            time = max(event_time, candle.close_time)
            self._publish(Event(_CANDLE_CLOSED, candle, time))

    def _fill(self, line: Line) -> None:
        if not line.filling:
            line.filling = True
            self._follow_up(self._fill_hole(line), f"candles of {line.sequence.symbol}")

    async def _fill_hole(self, line: Line) -> None:
        """Ask for the candles that are missing, until there is no hole, or it cannot be filled."""
        sequence = line.sequence
        backoff = Backoff(self._settings.backoff_min_s, self._settings.backoff_max_s)
        listed = left_out = 0
        try:
            while backoff.attempts < _FILL_ATTEMPTS and left_out < _SURELY_MISSING:
                try:
                    candles, listed, more = await self._source.since(
                        sequence.symbol, sequence.interval, sequence.next_open,
                        sequence.newest_open,
                    )  # fmt: skip
                except VenueError as error:
                    _log.warning("candles of %s are asked for again: %s", sequence.symbol, error)
                    await backoff.pause()
                    continue
                self._tally.events["candles_asked_for"] += 1
                sequence.correct(listed)
                came = self._take(line, candles, self._clock.now())
                if came and more:
                    backoff.reset()
                    continue
                if not sequence.has_hole:
                    return
                left_out += not came and listed > sequence.next_open
                if left_out < _SURELY_MISSING:
                    await backoff.pause()
            if sequence.has_hole:
                self._give_up(line, listed)
        finally:
            line.filling = False
            if self._watcher is not None:
                self._watcher.caught_up(sequence.symbol)

    def _give_up(self, line: Line, listed: int) -> None:
        """Report a hole that the exchange cannot fill, and go on behind it."""
        sequence = line.sequence
        first, last, candles = sequence.skip(listed)
        if not candles:
            self._tally.events["impossible_candles"] += 1
            return
        self._tally.events["holes"] += 1
        missing = (last - first) // sequence.length + 1
        reason = f"{missing} candles of {sequence.interval} are missing, {first} to {last}"
        if not self._settings.holes_are_known:
            _log.warning("%s: %s", sequence.symbol, reason)
        self._tell(StreamState.STALE, reason, sequence.symbol)
        self._tell(StreamState.LIVE, reason, sequence.symbol)
        self._publish_closed(candles, self._clock.now())

    # -- age -------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Look for data that is old and candles that are late, until cancelled."""
        step_s = min(0.5, self._settings.stale_after_s / 4, self._settings.late_candle_s / 4)
        while True:
            await asyncio.sleep(step_s)
            now = time.monotonic()
            connection = self.keeper.connection
            if connection is not None:
                self._look_for_stale(connection, now)
            self._look_for_late(now)

    def _look_for_stale(self, connection: Connection, now: float) -> None:
        limit = self._settings.stale_after_s
        newest = max(self._seen.values())
        if now - newest > limit:
            reason = f"no data for {now - newest:.1f} s"
            self._tally.events["market_stale"] += 1
            self._tell(StreamState.STALE, reason)
            self._seen = dict.fromkeys(self._symbols, now)  # the next one gets its time
            self.keeper.renew(reason)
            return
        for symbol, seen in self._seen.items():
            age_s = now - seen
            if age_s > limit and symbol not in self._stale:
                self._stale[symbol] = False
                self._tally.events["symbols_stale"] += 1
                self._tell(StreamState.STALE, f"no data for {age_s:.1f} s", symbol)
            elif age_s > 4 * limit and not self._stale.get(symbol, True):
                self._stale[symbol] = True
                self.keeper.renew(f"no data of {symbol} for {age_s:.1f} s")

    def _look_for_late(self, now: float) -> None:
        """Ask for a closed candle that should have come: later things were heard of already."""
        market_time = self._clock.now()
        for line in self._lines.values():
            sequence = line.sequence
            is_due = sequence.next_open and (
                sequence.newest_open > sequence.next_open
                or market_time > sequence.next_open + sequence.length
            )
            if not is_due or line.filling:
                line.overdue_since = 0.0
            elif not line.overdue_since:
                line.overdue_since = now
            elif now - line.overdue_since > line.patience_s:
                line.overdue_since = 0.0
                line.patience_s = min(2 * line.patience_s, _MOST_PATIENT_S)
                self._tally.events["late_candles"] += 1
                self._fill(line)


def _rate(text: str, otherwise: float) -> float:
    """The funding rate in a message; some have none."""
    try:
        return number(text) if text else otherwise
    except ValueError:
        return otherwise
