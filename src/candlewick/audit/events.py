"""`EventType`: every kind of record the journal can hold, and `JournalState`."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["EventType", "JournalState"]


class EventType(StrEnum):
    """What a record tells. Inputs of the engine are marked; `audit replay` feeds them again."""

    ENGINE_STARTED = "engine_started"  # the configuration that rebuilds the engine
    ENGINE_STATE_CHANGED = "engine_state_changed"
    ENGINE_STOPPED = "engine_stopped"
    RUN_RESUMED = "run_resumed"
    DAY_STARTED = "day_started"
    STOP_REQUESTED = "stop_requested"  # input

    CANDLE_CLOSED = "candle_closed"  # input
    CANDLE_SHOWN = "candle_shown"  # input: one from before the start
    STREAM_CHANGED = "stream_changed"  # input
    TIMER_FIRED = "timer_fired"  # input

    SIGNAL_GENERATED = "signal_generated"
    RISK_DENIED = "risk_denied"

    ORDER_PLANNED = "order_planned"  # the intent, before the order leaves
    ORDER_SENT = "order_sent"
    ORDER_CANCEL_PLANNED = "order_cancel_planned"
    ORDER_UPDATED = "order_updated"  # input: what the exchange said
    ORDER_ACKNOWLEDGED = "order_acknowledged"
    ORDER_PARTIALLY_FILLED = "order_partially_filled"
    ORDER_FILLED = "order_filled"
    ORDER_CANCELED = "order_canceled"
    ORDER_REJECTED = "order_rejected"
    ORDER_EXPIRED = "order_expired"
    ORDER_UNKNOWN = "order_unknown"
    ORDER_WITHHELD = "order_withheld"  # decided, but refused at the moment of sending

    FILL = "fill"  # input
    FUNDING = "funding"  # input
    POSITION_OPENED = "position_opened"
    POSITION_CHANGED = "position_changed"
    POSITION_CLOSED = "position_closed"
    TRADE_COMPLETED = "trade_completed"
    ACCOUNT_SNAPSHOT = "account_snapshot"  # input
    RECONCILED = "reconciled"
    ACCOUNT_ASKED_FOR = "account_asked_for"  # what is held is not known for sure
    FOREIGN_ORDER = "foreign_order"  # one that is not ours rests; it is left alone
    ALARM = "alarm"  # what a person must know at once
    CLEANUP_STEP = "cleanup_step"
    GUARD = "guard"
    NOTIFICATION = "notification"

    STRATEGY_STATE = "strategy_state"
    STRATEGY_FAILED = "strategy_failed"
    ERROR = "error"
    BUS_REPORT = "bus_report"
    EVENTS_DISCARDED = "events_discarded"
    MESSAGE_MALFORMED = "message_malformed"

    JOURNAL_OPENED = "journal_opened"
    JOURNAL_SEGMENT = "journal_segment"
    JOURNAL_TORN_TAIL = "journal_torn_tail"
    JOURNAL_CLOCK_STEPPED = "journal_clock_stepped"
    JOURNAL_RECOVERED = "journal_recovered"
    JOURNAL_CLOSED = "journal_closed"

    __hash__ = str.__hash__  # that of enums is a Python function, and log_event looks types up


class JournalState(StrEnum):
    """Whether the journal takes records.

    OK: every record is in the kernel when `log_event` returns. WITHOUT_ROOM: the disk is full or
    does not answer; records wait in bounded memory, and entries must not be sent. CLOSED: no
    record is taken any more.
    """

    OK = "ok"
    WITHOUT_ROOM = "without_room"
    CLOSED = "closed"
