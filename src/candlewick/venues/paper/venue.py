"""`PaperVenue`: real prices, simulated fills: no order leaves the process, and none needs keys."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from candlewick.data import guess_instrument
from candlewick.errors import VenueError
from candlewick.exchange import (
    AccountState,
    ExchangeSettings,
    Report,
    SimulatedExchange,
    resume,
)
from candlewick.models import (
    AccountSnapshot,
    Candle,
    Event,
    EventKind,
    Fill,
    Instrument,
    Order,
    OrderUpdate,
    TriggerPrice,
    interval_ms,
)
from candlewick.venues.base import Publish
from candlewick.venues.binance import BinanceSettings, BinanceVenue, OnMalformed
from candlewick.venues.paper.marks import FundingClock, MarkTriggers, waits_for_mark
from candlewick.venues.paper.seen import Tape, Tick

__all__ = ["PaperVenue"]

_log = logging.getLogger(__name__)
_FILLS_KEPT = 1_000  # what a real exchange gives in one answer
_ENDS_KEPT = 10_000
_MOST_MISSED = 50_000  # candles that are walked through after a restart
_CANDLE, _PRICE = EventKind.CANDLE_CLOSED, EventKind.PRICE_UPDATED


class PaperVenue:
    """One account on a `SimulatedExchange` that is moved by the market of a real one.

    The market comes over a `BinanceVenue` without keys: its connections, its filling of gaps and
    its judgement of stale data are those of live trading. Orders meet the prices of the trade
    stream, one by one: a market order executes against the first that comes after it, a stop or a
    target when one reaches it, a limit order when one is at least as good. Orders that look at
    the mark price are set off by that, and funding is paid when the market pays it.

    Prices that the stream did not bring are made up for by the candles, which are filled over REST:
    see `Tape`.

    Args:
        settings: where the market is.
        account: the account as an earlier run has left it, or a new one.
        exchange: slippage, leverage and margin type of the account.
        fee_taker, fee_maker: fractions of the notional; None: those of `Instrument`.
    """

    name = "paper"

    def __init__(
        self,
        settings: BinanceSettings,
        account: AccountState,
        exchange: ExchangeSettings | None = None,
        fee_taker: float | None = None,
        fee_maker: float | None = None,
    ) -> None:
        self.market = BinanceVenue(settings, None, watcher=self, on_fatal=self._failed)
        self.tally = self.market.tally
        self.limits = self.market.limits
        self._state = account
        self._settings = exchange or ExchangeSettings()
        self._fees = {"fee_taker": fee_taker, "fee_maker": fee_maker}
        self._exchange: SimulatedExchange | None = None
        self._tapes: dict[str, Tape] = {}
        self._fills: deque[Fill] = deque(maxlen=_FILLS_KEPT)
        self._last: OrderedDict[str, OrderUpdate] = OrderedDict()
        self._publisher: Publish | None = None
        self._failure: BaseException | None = None

    def now(self) -> int:
        """The exchange's time, UTC ms; ours before `instruments` was called."""
        return self.market.now()

    def report_to(
        self, on_fatal: Callable[[BaseException], None], on_malformed: OnMalformed
    ) -> None:
        """Tell what has ended a stream for good, and every message that cannot be understood."""
        self.market.report_to(on_fatal, on_malformed)

    @property
    def exchange(self) -> SimulatedExchange:
        """The exchange that fills the orders; there from `connect` on."""
        if self._exchange is None:
            raise VenueError("the paper account is not connected")
        return self._exchange

    def _failed(self, error: BaseException) -> None:
        self._failure = self._failure or error

    def _check(self) -> SimulatedExchange:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise VenueError(f"a stream has ended for good: {failure}")
        return self.exchange

    # -- before the streams ----------------------------------------------------------------------

    async def instruments(self, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        """Return what can be traded: the exchange's units, and margin tiers and fees of our own.

        What an account pays and may borrow is told to the account only.
        """
        given = {name: value for name, value in self._fees.items() if value is not None}
        return {
            symbol: msgspec.structs.replace(
                item, brackets=guess_instrument(symbol).brackets, **given
            )
            for symbol, item in (await self.market.instruments(symbols)).items()
        }

    async def candles(self, symbol: str, interval: str, count: int) -> Sequence[Candle]:
        """Fetch the last closed candles, oldest first; the stream goes on where they end."""
        return await self.market.candles(symbol, interval, count)

    async def connect(self, publish: Publish, symbols: Sequence[str], interval: str) -> None:
        """Take up the account, bring it up to date, and follow the market; raises VenueError."""
        state = self._state
        instruments = await self.instruments(symbols)
        funding = {s: await self._funding_since(s, state.time) for s in symbols}
        exchange = SimulatedExchange(instruments, state.balance, self._settings, funding)
        self._exchange = exchange
        self._triggers = MarkTriggers(exchange)
        self._funding = FundingClock(exchange)
        by_mark = [order for order in state.orders if waits_for_mark(order)]
        others = tuple(order for order in state.orders if not waits_for_mark(order))
        resume(exchange, msgspec.structs.replace(state, orders=others))
        for order in by_mark:
            self._triggers.put(order)
        for symbol in symbols:
            self._tapes[symbol] = Tape(interval, state.time)
            await self._catch_up(symbol, interval)
        self._publisher = publish
        await self.market.connect(self._from_market, symbols, interval)

    async def _funding_since(self, symbol: str, left: int) -> list[tuple[int, float]]:
        """What was paid in the market since the account was left."""
        if not left:
            return []
        try:
            return await self.market.funding(symbol, left + 1)
        except VenueError as error:
            _log.warning("funding of %s in the meantime is not known: %s", symbol, error)
            return []

    async def _catch_up(self, symbol: str, interval: str) -> None:
        """Walk through the candles that have closed since the account was left."""
        left, length = self._state.time, interval_ms(interval)
        if not left:
            for candle in await self.market.candles(symbol, interval, 1):
                self.exchange.tick(symbol, candle.close, candle.close_time)  # the price so far
            return
        missed = max(0, self.market.clock.now() - left) // length + 2
        for candle in await self.market.candles(symbol, interval, min(missed, _MOST_MISSED)):
            if candle.open_time > left:
                self._walk(candle)
            elif candle.close_time > left:  # of this one only the close surely came afterwards
                self._tell(self.exchange.tick(symbol, candle.close, candle.close_time))

    # -- the market ------------------------------------------------------------------------------

    def _from_market(self, event: Event) -> None:
        """Pass on what the market tells; a candle may tell of prices that were missed."""
        if event.kind is _CANDLE:
            candle = event.payload
            missed = self._tapes[candle.symbol].closed(candle)
            if missed is not None:
                self.tally.events["candles_walked"] += 1
                self._walk(missed)
        elif event.kind is _PRICE:
            self._look_at(event.payload)
        self._publish(event)

    def _look_at(self, candle: Candle) -> None:
        """The open candle: it may show what was missed, and end the holding back of prices."""
        tape, held = self._tapes[candle.symbol], list[Tick]()
        if tape.can_release:
            missed, held = tape.release(candle)
        elif not tape.is_holding:
            missed = tape.look(candle)
        else:
            return
        if missed is not None:
            self.tally.events["candles_walked"] += 1
            now = max(missed.open_time, self.market.clock.now())
            self._walk(msgspec.structs.replace(missed, close_time=now))
        for tick in held:
            self._meet(candle.symbol, tick)

    def traded(self, symbol: str, price: float, quantity: float, time: int) -> None:
        """A trade of the market: the account meets its price."""
        tape, tick = self._tapes[symbol], Tick(price, time)
        if tape.is_holding:
            tape.keep(tick)
        else:
            tape.saw(tick)
            self._meet(symbol, tick)

    def _meet(self, symbol: str, tick: Tick) -> None:
        self._tell(self.exchange.tick(symbol, tick.price, tick.time))

    def _walk(self, candle: Candle) -> None:
        """Meet the prices of a candle, in the order that hurts, as a backtest does.

        While a market order waits for its price, only the close is met: which of the candle's
        prices came after the order cannot be known.
        """
        exchange = self.exchange
        if exchange.book(candle.symbol).arrivals and self._publisher is not None:
            self._tell(exchange.tick(candle.symbol, candle.close, candle.close_time))
            return
        while reports := exchange.advance(candle):
            self._tell(list(reports))

    def marked(self, symbol: str, price: float, rate: float, next_funding: int, time: int) -> None:
        """A mark price: it triggers orders, and tells when funding is paid."""
        self._tell(self._triggers.marked(symbol, price, time))
        self._tell(list(self._funding.marked(symbol, price, rate, next_funding)))

    def skipped(self, symbol: str) -> None:
        """Some trades were not told."""
        self._tapes[symbol].suspect()

    def interrupted(self) -> None:
        """Prices are missing from now on."""
        for tape in self._tapes.values():
            tape.hold()

    def caught_up(self, symbol: str) -> None:
        """The closed candles are complete again."""
        self._tapes[symbol].filled()

    # -- orders ----------------------------------------------------------------------------------

    async def submit(self, order: Order) -> None:
        """Take an order; the answer is published, its execution waits for the next price."""
        exchange, now = self._check(), self.market.clock.now()
        if order.symbol in self._tapes and waits_for_mark(order):
            self._tell(self._triggers.submit(order, now))
        else:
            self._tell(exchange.submit(order, now))

    async def cancel(self, order: Order, time: int) -> None:
        """Cancel an order; the answer is published."""
        exchange, now = self._check(), self.market.clock.now()
        reports = self._triggers.cancel(order.client_id, now)
        self._tell(reports or exchange.cancel(order.client_id, order.symbol, now))

    async def query(self, order: Order) -> OrderUpdate | None:
        """Return the last that was told of an order; None for one that was never received."""
        self._check()
        return self._last.get(order.client_id)

    async def snapshot(self, since: int = 0) -> AccountSnapshot:
        """Return the account as it is now, and its fills since ``since`` (UTC ms; 0: none)."""
        exchange = self._check()
        return AccountSnapshot(
            self.market.clock.now(),
            exchange.balance,
            tuple(exchange.positions()),
            (*exchange.open_orders(), *self._triggers.orders()),
            tuple(fill for fill in self._fills if since and fill.time >= since),
        )

    def price_of(self, symbol: str, by: TriggerPrice) -> float:
        """Return the last or the mark price of the live market; 0.0 where none is fresh."""
        return self.market.price_of(symbol, by)

    async def close(self) -> None:
        """End the streams; the account is what the journal says of it."""
        await self.market.close()

    # -- telling ---------------------------------------------------------------------------------

    def _tell(self, reports: Iterable[Report]) -> None:
        told = list(reports)
        if told and len(self._triggers):
            told += self._triggers.expire_closers(told)
        for report in told:
            kind = EventKind.FUNDING_PAID
            if isinstance(report, OrderUpdate):
                kind = EventKind.ORDER_UPDATED
                self._note(report)
            elif isinstance(report, Fill):
                kind = EventKind.FILL_RECEIVED
                self._fills.append(report)
            self._publish(Event(kind, report, report.time))

    def _note(self, update: OrderUpdate) -> None:
        """Remember how an order stands; a refused cancellation says nothing about it."""
        if update.client_id in self._last and update.code == -2011:
            return
        self._last[update.client_id] = update
        self._last.move_to_end(update.client_id)
        if len(self._last) > _ENDS_KEPT:
            self._last.popitem(last=False)

    def _publish(self, event: Event) -> None:
        if self._publisher is not None:
            self._publisher(event)
