"""`replay`: run the recorded inputs through a fresh engine, and compare what it decides.

Whatever the engine decided is in the journal beside what it was told. The same inputs must give
the same decisions again, in the same order and to the last bit. Where they do not, the strategy or
the engine is another one than it was, or it depends on something that is no input.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from candlewick.audit import AuditLogger, EventType, JournalState, Record, read
from candlewick.audit.encoding import Encoder
from candlewick.engine import Decision, Memory, StopPolicy, TradingEngine
from candlewick.errors import DataError, repr_of
from candlewick.live.recording import Recorder
from candlewick.models import (
    AccountSnapshot,
    Candle,
    EventKind,
    Fill,
    Funding,
    Instrument,
    OrderUpdate,
    Signal,
    StreamStatus,
)
from candlewick.risk import RiskSettings
from candlewick.strategies import Strategy, build_strategy, load_strategy

__all__ = ["Difference", "Replayed", "replay"]

_OUTPUTS = frozenset(
    {
        EventType.RISK_DENIED,
        EventType.ORDER_PLANNED,
        EventType.ORDER_CANCEL_PLANNED,
        EventType.ORDER_ACKNOWLEDGED,
        EventType.ORDER_PARTIALLY_FILLED,
        EventType.ORDER_FILLED,
        EventType.ORDER_CANCELED,
        EventType.ORDER_REJECTED,
        EventType.ORDER_EXPIRED,
        EventType.ORDER_UNKNOWN,
        EventType.POSITION_OPENED,
        EventType.POSITION_CHANGED,
        EventType.POSITION_CLOSED,
        EventType.TRADE_COMPLETED,
        EventType.ENGINE_STATE_CHANGED,
        EventType.DAY_STARTED,
        EventType.ACCOUNT_ASKED_FOR,
        EventType.FOREIGN_ORDER,
        EventType.ALARM,
    }
)
_CLEANERS = ("flatten", "guard")  # what these commands run has no strategy
_DISCARDED_SIGNAL = str(EventKind.SIGNAL_GENERATED)


class Difference(msgspec.Struct, frozen=True):
    """The first place where journal and engine part.

    ``sequence`` is that of the record; ``recorded`` and ``replayed`` are type and data of the
    decision, None where there was none.
    """

    sequence: int
    time_ns: int
    run_id: str
    reason: str
    recorded: Any = None
    replayed: Any = None


class Replayed(msgspec.Struct, frozen=True):
    """What was replayed: how many runs, records, inputs, and decisions that were compared.

    ``unrecorded`` are decisions at the end of runs whose process was killed before it could
    record them.
    """

    runs: int
    records: int
    inputs: int
    compared: int
    unrecorded: int = 0
    first_difference: Difference | None = None

    @property
    def same(self) -> bool:
        """True when every recorded decision was made again."""
        return self.first_difference is None


def replay(
    directory: str | Path, *, strategy: str | type[Strategy] = "", run_id: str = ""
) -> Replayed:
    """Replay the runs of a journal, up to the first difference.

    Args:
        directory: of the journal.
        strategy: name, ``file.py:Class`` or class to take instead of the recorded one.
        run_id: replay the runs of this id only; empty for all.

    Raises:
        DataError: there is no journal, no run in it, or a record cannot be read.
        ConfigError: the strategy cannot be found, or has other parameters by now.
    """
    done: list[_Run] = []
    current: _Run | None = None
    records = 0
    for record in read(directory):
        records += 1
        if record.type == EventType.ENGINE_STARTED:
            if current is not None and current.end():
                break
            wanted = not run_id or _fields(record).get("run_id") == run_id
            current = _Run(record, strategy) if wanted else None
            if current is not None:
                done.append(current)
        if current is not None:
            current.take(record)
            if current.difference is not None:
                break
    if not done:
        what = f"no run {run_id!r}" if run_id else "no run of an engine"
        raise DataError(f"the journal {directory} holds {what}; there is nothing to replay")
    done[-1].end()
    difference = done[-1].difference
    if difference is not None and (lost := _lost_in(directory, difference)):
        reason = f"{difference.reason}; {lost} records of this run were lost on a full disk"
        difference = msgspec.structs.replace(difference, reason=reason)
    return Replayed(
        len(done), records, sum(run.inputs for run in done), sum(run.compared for run in done),
        sum(run.unrecorded for run in done), difference,
    )  # fmt: skip


def _lost_in(directory: str | Path, difference: Difference) -> int:
    """How many records the journal says were lost in the run that differs."""
    lost = 0
    of_run = False
    for record in read(directory, types=[EventType.ENGINE_STARTED, EventType.JOURNAL_RECOVERED]):
        if record.type == EventType.JOURNAL_RECOVERED:
            lost += _fields(record).get("lost", 0) if of_run else 0
        elif record.sequence <= difference.sequence:
            of_run, lost = True, 0
        else:
            break
    return lost


def _fields(record: Record) -> dict[str, Any]:
    return record.data if isinstance(record.data, dict) else {}


class _Captured:
    """Stands where a `Recorder` has its journal, and keeps what it would write."""

    run_id = ""
    state = JournalState.OK

    def __init__(self) -> None:
        self.records: list[tuple[str, Any]] = []
        self._encode = Encoder().encode

    def log_event(self, event_type: str, data: Any = None) -> int:
        self.records.append((event_type, msgspec.json.decode(self._encode(data))))
        return len(self.records)


class _Made(msgspec.Struct):
    """The decisions that followed from one input and have not been found in the journal yet."""

    sequence: int
    time_ns: int
    decisions: deque[tuple[str, Any]]


class _Run:
    """One run of an engine: the recorded and the fresh one, side by side."""

    def __init__(self, started: Record, strategy: str | type[Strategy]) -> None:
        data = _fields(started)
        self.run_id = str(data.get("run_id", ""))
        self.inputs = self.compared = self.unrecorded = 0
        self.difference: Difference | None = None
        self._stopped = False
        self._captured = _Captured()
        self._recorder = Recorder(cast("AuditLogger", self._captured))
        # realtime: allow RT103 - offline: decisions of the inputs not compared yet
        self._made: deque[_Made] = deque()
        # realtime: allow RT103 - offline, as above
        self._signals: deque[Any] = deque()
        self._engine = _engine_of(started, strategy)
        self._decides: dict[str, Callable[[Any], Sequence[Decision]]] = self._inputs()

    def _inputs(self) -> dict[str, Callable[[Any], Sequence[Decision]]]:
        """What the engine does with each kind of input."""
        engine = self._engine

        def given(kind: Any, method: Callable[[Any], Any]) -> Callable[[Any], Any]:
            return lambda data: method(msgspec.convert(data, kind, strict=False))

        return {
            EventType.ENGINE_STARTED: lambda data: engine.start(data["time"]),
            EventType.CANDLE_CLOSED: given(Candle, engine.on_candle),
            EventType.CANDLE_SHOWN: given(Candle, engine.warm_up),
            EventType.SIGNAL_GENERATED: given(Signal, engine.on_signal),
            EventType.ORDER_UPDATED: given(OrderUpdate, engine.on_order_update),
            EventType.FILL: given(Fill, engine.on_fill),
            EventType.FUNDING: given(Funding, engine.on_funding),
            EventType.ACCOUNT_SNAPSHOT: given(AccountSnapshot, engine.on_snapshot),
            EventType.STREAM_CHANGED: given(StreamStatus, engine.on_stream),
            EventType.TIMER_FIRED: lambda data: engine.on_timer(data["time"]),
            EventType.STOP_REQUESTED: self._stop,
        }

    def _stop(self, data: dict[str, Any]) -> Sequence[Decision]:
        if data["policy"] == "finish":
            return self._engine.finish()
        if data["policy"] == "halt":
            return self._engine.flatten(data["reason"])
        return self._engine.begin_stop(StopPolicy(data["policy"]), data["reason"])

    # -- going on --------------------------------------------------------------------------------

    def take(self, record: Record) -> None:
        """Take the next record: feed an input, compare an output, note an end."""
        kind, data = record.type, record.data
        if kind in _OUTPUTS or (kind == EventType.ORDER_UPDATED and "order" not in data):
            self._compare(record)
        elif kind in self._decides:
            if kind == EventType.SIGNAL_GENERATED:
                self._compare_signal(record)
            if self.difference is None:
                self._feed(record)
        elif kind == EventType.EVENTS_DISCARDED:
            self._discard(data)
        elif kind == EventType.ENGINE_STOPPED:
            self._stopped = True

    def _feed(self, record: Record) -> None:
        self.inputs += 1
        try:
            decisions = self._decides[record.type](record.data) or ()
        except msgspec.ValidationError as error:
            self._differs(record, f"the recorded input cannot be read: {error}")
            return
        except Exception as error:  # noqa: BLE001 - a defect of the engine is a difference too
            self._differs(record, f"the engine raised {repr_of(error)} at this input")
            return
        captured = self._captured.records
        for decision in decisions:
            if isinstance(decision, Signal):
                self._signals.append(msgspec.to_builtins(decision))
            else:
                self._recorder.decision(decision)
        if captured:
            self._made.append(_Made(record.sequence, record.time_ns, deque(captured)))
            captured.clear()

    def _compare(self, record: Record) -> None:
        """Find a recorded decision among those that were made again and not found yet.

        Decisions of one input keep their order. Those of a stop, which begins beside the events,
        may be recorded between those of the next input.
        """
        found = (record.type, record.data)
        for made in self._made:
            if made.decisions[0] == found:
                made.decisions.popleft()
                if not made.decisions:
                    self._made.remove(made)
                self.compared += 1
                return
        if self._made:
            first = self._made[0]
            self._differs(
                record, f"another decision after the input in record {first.sequence}",
                recorded=found, replayed=first.decisions[0],
            )  # fmt: skip
        else:
            self._differs(record, "a decision that is not made again", recorded=found)

    def _compare_signal(self, record: Record) -> None:
        """A signal is recorded when its turn comes; it must be the next one that was made."""
        made = self._signals.popleft() if self._signals else None
        if made == record.data:
            self.compared += 1
        else:
            self._differs(
                record, "another signal" if made else "a signal that is not made again",
                recorded=record.data, replayed=made,
            )  # fmt: skip

    def _discard(self, data: dict[str, Any]) -> None:
        """Signals that the run threw away at its stop were made, and never taken up."""
        for event in data.get("events", ()):
            if event["kind"] == _DISCARDED_SIGNAL and event["payload"] in self._signals:
                self._signals.remove(event["payload"])
        if "not_handled" in data:
            self._signals.clear()

    def _differs(
        self, record: Record, reason: str, *, recorded: Any = None, replayed: Any = None
    ) -> None:
        self.difference = Difference(
            record.sequence, record.time_ns, self.run_id, reason, recorded, replayed
        )

    def end(self) -> Difference | None:
        """No record of this run follows: what was decided must have been recorded by now.

        Only a process that was killed leaves decisions out, behind its last records.
        """
        if self.difference is not None:
            return self.difference
        if not self._stopped:
            self.unrecorded = len(self._signals) + sum(len(m.decisions) for m in self._made)
        elif self._made:
            first = self._made[0]
            self.difference = Difference(
                first.sequence, first.time_ns, self.run_id,
                "a decision after this input that was not recorded",
                replayed=first.decisions[0],
            )  # fmt: skip
        elif self._signals:
            self.difference = Difference(
                0, 0, self.run_id, "a signal that was not recorded", replayed=self._signals[0]
            )
        return self.difference


def _engine_of(started: Record, strategy: str | type[Strategy]) -> TradingEngine:
    """Build the engine that a run's first record describes."""
    data = _fields(started)
    try:
        settings = msgspec.convert(data, _Started, strict=False)
    except msgspec.ValidationError as error:
        raise DataError(
            f"record {started.sequence} does not describe an engine: {error}"
        ) from error
    if settings.strategy in _CLEANERS:
        strategy = Strategy
    elif not isinstance(strategy, type):
        strategy = load_strategy(strategy or settings.strategy)
    made = build_strategy(strategy, settings.params)
    engine = TradingEngine(
        made,
        settings.instruments,
        balance=settings.balance,
        interval=settings.interval,
        risk=settings.risk,
        run_id=settings.run_id,
        history=settings.history,
        awaits_snapshot=settings.awaits_snapshot,
    )
    if settings.memory is not None:
        engine.restore(settings.memory)
    return engine


class _Started(msgspec.Struct, frozen=True):
    """The data of ENGINE_STARTED that make an engine."""

    run_id: str
    time: int
    strategy: str
    params: dict[str, Any]
    interval: str
    balance: float
    history: int
    risk: RiskSettings
    instruments: dict[str, Instrument]
    awaits_snapshot: bool = False
    memory: Memory | None = None
