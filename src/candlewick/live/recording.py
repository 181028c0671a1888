"""`Recorder`: writes what goes into the engine and what comes out of it to the audit journal.

The order of the records is the order of events: replaying the inputs through a fresh engine must
give the recorded outputs. A signal is recorded when the engine takes it up to size it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import candlewick
from candlewick.audit import AuditLogger, EventType, JournalState
from candlewick.bus import BusReport
from candlewick.engine import (
    Alarm,
    AskAccount,
    Cancel,
    DayStarted,
    Decision,
    ForeignOrder,
    Memory,
    OrderChanged,
    PositionChanged,
    StateChanged,
    StopPolicy,
    Submit,
    Trade,
    TradingEngine,
)
from candlewick.errors import JournalError, repr_of
from candlewick.exchange import ExchangeSettings
from candlewick.models import Candle, Event, EventKind, Order, OrderStatus
from candlewick.risk import Denial, DenialCode
from candlewick.venues.binance import Malformed

__all__ = ["Recorder"]

_ORDER_PLANNED = EventType.ORDER_PLANNED
_ORDER_SENT = EventType.ORDER_SENT
_MALFORMED = 1_000  # messages that are recorded one by one

_INPUTS = {
    EventKind.CANDLE_CLOSED: EventType.CANDLE_CLOSED,
    EventKind.SIGNAL_GENERATED: EventType.SIGNAL_GENERATED,
    EventKind.ORDER_UPDATED: EventType.ORDER_UPDATED,
    EventKind.FILL_RECEIVED: EventType.FILL,
    EventKind.FUNDING_PAID: EventType.FUNDING,
    EventKind.ACCOUNT_UPDATED: EventType.ACCOUNT_SNAPSHOT,
    EventKind.STREAM_CHANGED: EventType.STREAM_CHANGED,
}
_CHANGES = {
    OrderStatus.ACKNOWLEDGED: EventType.ORDER_ACKNOWLEDGED,
    OrderStatus.PARTIALLY_FILLED: EventType.ORDER_PARTIALLY_FILLED,
    OrderStatus.FILLED: EventType.ORDER_FILLED,
    OrderStatus.CANCELED: EventType.ORDER_CANCELED,
    OrderStatus.REJECTED: EventType.ORDER_REJECTED,
    OrderStatus.EXPIRED: EventType.ORDER_EXPIRED,
    OrderStatus.UNKNOWN: EventType.ORDER_UNKNOWN,
}


class Recorder:
    """Names each input and each decision in the journal's words."""

    def __init__(self, journal: AuditLogger) -> None:
        self.journal = journal
        self._log = journal.log_event
        self._malformed = 0

    @property
    def has_room(self) -> bool:
        """False when an entry would leave no trace."""
        return self.journal.state is JournalState.OK

    # -- inputs ---------------------------------------------------------------------------------

    def started(
        self,
        engine: TradingEngine,
        *,
        strategy: str,
        params: dict[str, Any],
        balance: float,
        history: int,
        time: int,
        venue: str,
        exchange: ExchangeSettings | None,
        data: str,
        awaits_snapshot: bool = False,
        memory: Memory | None = None,
        account: str = "",
    ) -> None:
        """Record all that rebuilds the engine."""
        self._log(
            EventType.ENGINE_STARTED,
            {
                "version": candlewick.__version__,
                "run_id": engine.run_id,
                "time": time,
                "venue": venue,
                "strategy": strategy,
                "params": params,
                "interval": engine.interval,
                "balance": balance,
                "history": history,
                "risk": engine.risk,
                "instruments": {symbol: s.instrument for symbol, s in engine.symbols.items()},
                "exchange": exchange,
                "data": data,
                "awaits_snapshot": awaits_snapshot,
                "memory": memory,
                "account": account,
            },
        )

    def input(self, event: Event) -> None:
        """Record an event that the engine is about to take."""
        kind = _INPUTS.get(event.kind)
        if kind is not None:
            self._log(kind, event.payload)
        elif event.kind is EventKind.TIMER_FIRED:
            self._log(EventType.TIMER_FIRED, {"time": event.time})

    def shown(self, candle: Candle) -> None:
        """Record a candle from before the start that the engine is about to be shown."""
        self._log(EventType.CANDLE_SHOWN, candle)

    def stop_requested(self, policy: StopPolicy, reason: str) -> None:
        """Record that a stop begins."""
        self._log(EventType.STOP_REQUESTED, {"policy": policy, "reason": reason})

    def flatten_requested(self, reason: str) -> None:
        """Record that everything is to be closed, while the engine goes on."""
        self._log(EventType.STOP_REQUESTED, {"policy": "halt", "reason": reason})

    def finishing(self) -> None:
        """Record that the strategy's `on_stop` comes next."""
        self._log(EventType.STOP_REQUESTED, {"policy": "finish", "reason": ""})

    # -- outputs ----------------------------------------------------------------------------------

    def decision(self, decision: Decision) -> None:
        """Record a decision; a signal is recorded when it is taken up."""
        if isinstance(decision, Submit):
            self._log(_ORDER_PLANNED, decision.order)
        elif isinstance(decision, OrderChanged):
            self._order_changed(decision)
        elif isinstance(decision, PositionChanged):
            self._position_changed(decision)
        elif isinstance(decision, Cancel):
            order = decision.order
            self._log(
                EventType.ORDER_CANCEL_PLANNED,
                {"client_id": order.client_id, "symbol": order.symbol, "time": decision.time},
            )
        elif isinstance(decision, Denial):
            self._log(EventType.RISK_DENIED, decision)
        elif isinstance(decision, Trade):
            self._log(EventType.TRADE_COMPLETED, decision)
        elif isinstance(decision, StateChanged):
            self._log(EventType.ENGINE_STATE_CHANGED, decision)
        elif isinstance(decision, DayStarted):
            self._log(EventType.DAY_STARTED, decision)
        elif isinstance(decision, AskAccount):
            self._log(EventType.ACCOUNT_ASKED_FOR, decision)
        elif isinstance(decision, ForeignOrder):
            self._log(EventType.FOREIGN_ORDER, decision.order)
        elif isinstance(decision, Alarm):
            self._log(EventType.ALARM, decision)

    def _order_changed(self, change: OrderChanged) -> None:
        order = change.order
        self._log(
            _CHANGES.get(order.status, EventType.ORDER_UPDATED),
            {
                "client_id": order.client_id,
                "symbol": order.symbol,
                "status": order.status,
                "filled": order.filled,
                "average_price": order.average_price,
                "venue_id": order.venue_id,
                "time": order.updated_time,
                "code": change.code,
                "message": change.message,
            },
        )

    def _position_changed(self, change: PositionChanged) -> None:
        if change.before.is_flat:
            kind = EventType.POSITION_OPENED
        elif change.after.is_flat:
            kind = EventType.POSITION_CLOSED
        else:
            kind = EventType.POSITION_CHANGED
        self._log(kind, change)

    # -- the shell's own ------------------------------------------------------------------------

    def sent(self, order: Order) -> None:
        """Record that an order leaves now."""
        self._log(_ORDER_SENT, {"client_id": order.client_id, "symbol": order.symbol})

    def withheld(self, order: Order, code: DenialCode) -> None:
        """Record that an order was refused at the moment of sending."""
        self._log(
            EventType.ORDER_WITHHELD,
            {"client_id": order.client_id, "symbol": order.symbol, "code": code},
        )

    def strategy_state(self, state: Mapping[str, Any]) -> None:
        """Record what the strategy wants back after a restart."""
        self._log(EventType.STRATEGY_STATE, dict(state))

    def strategy_failed(self, error: BaseException, trace: str) -> None:
        """Record what the strategy raised."""
        self._log(EventType.STRATEGY_FAILED, {"error": repr_of(error), "traceback": trace})

    def error(self, error: BaseException, trace: str, where: str) -> None:
        """Record an error that stops the system."""
        self._log(EventType.ERROR, {"error": repr_of(error), "where": where, "traceback": trace})

    def malformed(self, message: Malformed) -> None:
        """Record a message that could not be understood; of a flood, one in a thousand."""
        self._malformed += 1
        number = self._malformed
        if number > _MALFORMED and number % _MALFORMED:
            return
        if self.journal.state is not JournalState.CLOSED:
            self._log(
                EventType.MESSAGE_MALFORMED,
                {
                    "source": message.source,
                    "error": message.error,
                    "text": message.text,
                    "number": number,
                },
            )

    def bus_report(self, report: BusReport) -> None:
        """Record what the bus found amiss."""
        self._log(EventType.BUS_REPORT, report)

    def discarded(self, events: list[Event]) -> None:
        """Record the events that a stop has thrown away."""
        self._log(
            EventType.EVENTS_DISCARDED,
            {"events": [{"kind": event.kind, "payload": event.payload} for event in events]},
        )

    def not_handled(self, left: dict[str, int]) -> None:
        """Record what the queues still held when time was up."""
        self._log(EventType.EVENTS_DISCARDED, {"not_handled": left})

    def not_told(self, sender: str, notice: Any, reason: str) -> None:
        """Record a notification that could not be delivered."""
        with contextlib.suppress(JournalError):  # it may be closed by now
            self._log(
                EventType.NOTIFICATION, {"sender": sender, "notice": notice, "reason": reason}
            )

    def cleanup(self, step: str, **figures: Any) -> None:
        """Record one step of the cleanup."""
        self._log(EventType.CLEANUP_STEP, {"step": step, **figures})

    def reconciled(self, verified: bool, problems: list[str]) -> None:
        """Record what the exchange said about the account."""
        self._log(EventType.RECONCILED, {"verified": verified, "problems": problems})

    def stopped(self, time: int, exit_code: int) -> None:
        """Record the end of the run; ``time`` is that of the last event, UTC ms."""
        self._log(EventType.ENGINE_STOPPED, {"time": time, "exit_code": exit_code})
