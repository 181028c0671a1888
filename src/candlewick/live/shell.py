"""`EngineShell`: the thin async functions that connect the engine to the bus, journal and venue.

It decides nothing. Every event and every decision is in the journal before it has an effect.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterable

from candlewick.bus import EventBus
from candlewick.engine import (
    Alarm,
    AskAccount,
    Cancel,
    DayStarted,
    Decision,
    ForeignOrder,
    OrderChanged,
    Query,
    StateChanged,
    Submit,
    TradingEngine,
)
from candlewick.engine.exits import WOULD_TRIGGER
from candlewick.live.recording import Recorder
from candlewick.live.sender import Command, Sender
from candlewick.live.tally import Tally
from candlewick.models import Event, EventKind, Order, OrderStatus, OrderUpdate, Signal
from candlewick.models.members import REJECTED
from candlewick.monitoring import Journey
from candlewick.risk import Denial, DenialCode
from candlewick.strategies import Strategy
from candlewick.venues import Venue

__all__ = ["EngineShell", "LostEventError"]

_log = logging.getLogger(__name__)
_ORDER_KINDS = (EventKind.ORDER_UPDATED, EventKind.FILL_RECEIVED, EventKind.FUNDING_PAID)
_QUEUE = 100_000
_CANDLE_CLOSED = EventKind.CANDLE_CLOSED
_ORDER_UPDATED = EventKind.ORDER_UPDATED
_FILL_RECEIVED = EventKind.FILL_RECEIVED
_SIGNAL_GENERATED = EventKind.SIGNAL_GENERATED
_COMMANDS = (Submit, Cancel, Query)
_TOLD = (StateChanged, DayStarted, Alarm, ForeignOrder)


class LostEventError(RuntimeError):
    """An event that must not be lost found no room; the system stops."""


class EngineShell:
    """The engine's place on the bus.

    One subscription takes all kinds, so that the engine sees them in the order in which they were
    published. ``on_fatal`` is called with an error that is not the strategy's: the system must
    stop and clean up. A venue over a network gets its commands through a `Sender`; the simulated
    one is called directly, which keeps the order of a backtest. ``on_failed`` is called once, when
    the strategy has raised. ``journey``, where it is set, measures what candles and orders take;
    ``ask_account`` has the account fetched soon. ``keeps_time`` off leaves the engine's deadlines
    to a market that stands still between its steps.
    """

    def __init__(
        self,
        engine: TradingEngine,
        venue: Venue,
        bus: EventBus,
        recorder: Recorder,
        tally: Tally,
        on_fatal: Callable[[BaseException], None],
        *,
        over_network: bool = False,
        on_failed: Callable[[], None] | None = None,
    ) -> None:
        self._on_failed = on_failed
        self.engine = engine
        self.venue = venue
        self.bus = bus
        self.recorder = recorder
        self.tally = tally
        self.journey: Journey | None = None
        self.ask_account: Callable[[], None] | None = None
        self.keeps_time = over_network
        self._on_fatal = on_fatal
        self._failure_recorded = False
        self._told_of_state = False
        self._has_state = type(engine.strategy).save_state is not Strategy.save_state
        self._progress = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0
        self.sender = Sender(self._carry, self._withdraw, on_fatal) if over_network else None
        handlers = {
            EventKind.CANDLE_CLOSED: self.on_candle_closed,
            EventKind.SIGNAL_GENERATED: self.on_signal_generated,
            **dict.fromkeys(_ORDER_KINDS, self.on_order_updated),
            EventKind.ACCOUNT_UPDATED: self.on_order_updated,
            EventKind.STREAM_CHANGED: self.on_order_updated,
            EventKind.TIMER_FIRED: self.on_timer_fired,
        }
        self._handlers = handlers
        self._subscription = bus.subscribe(handlers, self._handle, name="engine", queue_size=_QUEUE)

    def publish(self, event: Event) -> None:
        """Publish an event that must not be lost.

        Raises:
            LostEventError: the engine's queue is full.
        """
        if not self.bus.publish(event):
            raise LostEventError(f"the engine's queue of {_QUEUE} events is full at {event.kind}")
        if self.journey is not None:
            if event.kind is _CANDLE_CLOSED:
                self.journey.arrived(event)
            elif event.kind is _FILL_RECEIVED:
                self.journey.filled(event.payload.symbol)

    async def _handle(self, event: Event) -> None:
        try:
            self.tally.input(event)
            self.recorder.input(event)
            await self._handlers[event.kind](event)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the positions come first
            self.recorder.error(error, traceback.format_exc(), f"engine handler, {event.kind}")
            self._on_fatal(error)
        self._progress.set()
        if self.keeps_time and self.engine.next_deadline != self._deadline:
            self._set_timer()

    def _set_timer(self) -> None:
        """Have the engine called when its next deadline has passed, in real time from now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._deadline = self.engine.next_deadline
        if deadline:
            delay_s = max(0, deadline - self.engine.now) / 1e3
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._fire, deadline)

    def _fire(self, deadline: int) -> None:
        self._timer, self._deadline = None, 0
        time = max(deadline, self.engine.now)
        self.publish(Event(EventKind.TIMER_FIRED, None, time))

    async def close(self) -> None:
        """End the timer and the sending; nothing more goes out."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.sender is not None:
            await self.sender.stop()

    async def progress(self) -> None:
        """Wait until the engine has taken another event."""
        self._progress.clear()
        await self._progress.wait()

    # -- the three handlers, and the timer -------------------------------------------------------

    async def on_candle_closed(self, event: Event) -> None:
        """A candle has closed: let the engine see it."""
        candle = event.payload
        decisions = self.engine.on_candle(candle)
        if self.journey is not None:
            self.journey.decided(event)
        if decisions:
            await self.act(decisions)
        self.save_strategy()
        if candle.interval == self.engine.interval:
            self.tally.candle(candle.close_time, self.engine.equity)

    def save_strategy(self) -> None:
        """Journal what the strategy wants back after a restart, when it wants anything."""
        strategy = self.engine.strategy
        if not self._has_state or self.engine.failure is not None:
            return
        try:
            self.recorder.strategy_state(strategy.save_state())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's code may raise anything
            self.recorder.error(error, traceback.format_exc(), "save_state")
            if not self._told_of_state:
                self._told_of_state = True
                _log.error(
                    "save_state raised %r: what the strategy knows will not survive a restart",
                    error,
                )

    async def on_signal_generated(self, event: Event) -> None:
        """A signal's turn has come: let the engine size it or deny it."""
        await self.act(self.engine.on_signal(event.payload))

    async def on_order_updated(self, event: Event) -> None:
        """The exchange told of an order, a fill, funding, the account or its streams."""
        if self.journey is not None and event.kind is _ORDER_UPDATED:
            self.journey.answered(event.payload)
        booked = self.engine.fills_booked
        decisions = self.engine.process(event)
        fills_came = self.engine.fills_booked != booked  # told, or found in the account's answer
        if fills_came:
            ledgers = [state.ledger for state in self.engine.symbols.values()]
            self.tally.booked(self.engine.fills_booked, sum(ledger.fees for ledger in ledgers))
        await self.act(decisions)
        if fills_came:
            self.save_strategy()
        if self.journey is not None:
            self._watch_protection(self.journey)

    def _watch_protection(self, journey: Journey) -> None:
        for symbol, state in self.engine.symbols.items():
            journey.protection(
                symbol, waits=state.unprotected_since > 0, is_flat=state.position.is_flat
            )

    async def on_timer_fired(self, event: Event) -> None:
        """A deadline has passed."""
        await self.act(self.engine.on_timer(event.time))

    # -- acting ----------------------------------------------------------------------------------

    async def act(self, decisions: Iterable[Decision]) -> None:
        """Journal decisions and carry them out, in order."""
        for decision in decisions:
            if self.journey is not None and isinstance(decision, Submit):
                self.journey.planned(decision.order.client_id)
            self.tally.decision(decision)
            self.recorder.decision(decision)
            if isinstance(decision, _COMMANDS):
                if self.sender is not None:
                    self.sender.put(decision)
                else:
                    await self._carry(decision)
            elif isinstance(decision, Signal):
                self.publish(Event(_SIGNAL_GENERATED, decision, decision.time))
            elif isinstance(decision, AskAccount):
                if self.ask_account is not None:
                    self.ask_account()
            elif isinstance(decision, _TOLD) or self._is_first_of_its_kind(decision):
                self.bus.publish(Event(EventKind.ENGINE_STATE_CHANGED, decision, self.engine.now))
        failure = self.engine.failure
        if failure is not None and not self._failure_recorded:
            self._failure_recorded = True
            trace = "".join(traceback.format_exception(failure))
            self.recorder.strategy_failed(failure, trace)
            if self._on_failed is not None:
                self._on_failed()

    def _is_first_of_its_kind(self, decision: Decision) -> bool:
        """True for the first denial or rejection with its code: people should know of it once."""
        if isinstance(decision, Denial):
            return self.tally.denials[decision.code] == 1
        if not isinstance(decision, OrderChanged) or decision.order.status is not REJECTED:
            return False
        return self.tally.rejection_codes[str(decision.code or "local")] == 1

    async def _carry(self, command: Command) -> None:
        if isinstance(command, Submit):
            await self._submit(command.order)
        elif isinstance(command, Cancel):
            await self.venue.cancel(command.order, command.time)
        else:
            await self._ask(command.order)

    async def _submit(self, order: Order) -> None:
        """Send an order whose intent is in the journal; ask once more whether it may go."""
        code = self._why_not(order)
        if code is not None:
            self._withhold(order, code)
            return
        self.recorder.sent(order)
        if self.journey is not None:
            self.journey.sent(order.client_id)
        try:
            await self.venue.submit(order)
        except Exception as error:  # noqa: BLE001 - the outcome is unknown, not a rejection
            self.recorder.error(error, traceback.format_exc(), f"sending {order.client_id}")
            await self._resolve(order)
            self._on_fatal(error)

    def _why_not(self, order: Order) -> DenialCode | None:
        """Say why an order must not go out at this moment."""
        code = self.engine.refuses(order)
        if code is None and not order.reduce_only and not self.recorder.has_room:
            return DenialCode.JOURNAL_UNAVAILABLE
        if code is None and order.trigger_price:
            price = self.venue.price_of(order.symbol, order.trigger_by)
            if order.is_passed_by(price):
                return DenialCode.TRIGGER_PASSED
        return code

    def _withhold(self, order: Order, code: DenialCode) -> None:
        """Keep an order back; a stop that the price has passed is refused as the exchange would."""
        if self.journey is not None:
            self.journey.withheld(order.client_id)
        self.tally.withheld[code] += 1
        self.recorder.withheld(order, code)
        update = OrderUpdate(
            order.client_id, order.symbol, OrderStatus.REJECTED, order.created_time,
            code=WOULD_TRIGGER if code is DenialCode.TRIGGER_PASSED else 0,
            message=f"withheld: {code}",
        )  # fmt: skip
        self.publish(Event(EventKind.ORDER_UPDATED, update, update.time))

    def _withdraw(self, order: Order) -> None:
        """An order was cancelled before its turn to be sent has come."""
        code = DenialCode.WITHDRAWN
        if self.journey is not None:
            self.journey.withheld(order.client_id)
        self.tally.withheld[code] += 1
        self.recorder.withheld(order, code)
        update = OrderUpdate(
            order.client_id, order.symbol, OrderStatus.CANCELED, self.engine.now,
            message="cancelled before it was sent",
        )  # fmt: skip
        self.publish(Event(EventKind.ORDER_UPDATED, update, update.time))

    async def _resolve(self, order: Order) -> None:
        """Find out what became of an order whose sending failed."""
        unknown = OrderUpdate(
            order.client_id, order.symbol, OrderStatus.UNKNOWN, order.created_time
        )
        self.publish(Event(EventKind.ORDER_UPDATED, unknown, unknown.time))
        await self._ask(order)

    async def _ask(self, order: Order) -> None:
        """Ask the exchange about an order; one that it does not know has never arrived."""
        update = await self.venue.query(order) or OrderUpdate(
            order.client_id, order.symbol, OrderStatus.REJECTED, order.created_time,
            message="the exchange does not know it",
        )  # fmt: skip
        self.publish(Event(EventKind.ORDER_UPDATED, update, update.time))
