"""`recover`: the engine's `Memory` out of the journal's records."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from candlewick.audit import EventType, read
from candlewick.engine import Memory, SymbolMemory
from candlewick.errors import DataError, JournalError
from candlewick.models import Order, OrderPurpose, Position, Signal, SignalAction

__all__ = ["Record", "recover", "recover_from"]

_REMEMBERED = 10_000
_OVERLAP_MS = 60_000
_INPUTS = frozenset(
    {
        EventType.CANDLE_CLOSED,
        EventType.SIGNAL_GENERATED,
        EventType.ORDER_UPDATED,
        EventType.FILL,
        EventType.FUNDING,
        EventType.ACCOUNT_SNAPSHOT,
        EventType.STREAM_CHANGED,
        EventType.TIMER_FIRED,
        EventType.STOP_REQUESTED,
        EventType.ORDER_SENT,
    }
)
_ENDED = frozenset(
    {
        EventType.ORDER_FILLED,
        EventType.ORDER_CANCELED,
        EventType.ORDER_REJECTED,
        EventType.ORDER_EXPIRED,
    }
)


class Record(Protocol):
    @property
    def type(self) -> str: ...
    @property
    def data(self) -> Any: ...


class _Symbol:
    """What the records have said of one symbol so far."""

    def __init__(self, symbol: str) -> None:
        self.position = Position(symbol)
        self.stop = self.target = self.trail = self.target_trail = 0.0
        self.trade_ids: deque[int] = deque(maxlen=_REMEMBERED)
        self.orders: dict[str, Order] = {}
        self._unbooked: deque[int] = deque(maxlen=_REMEMBERED)
        self._before: tuple[Position, float, float, float, float] | None = None

    @classmethod
    def of(cls, known: SymbolMemory) -> _Symbol:
        """Begin with what the run itself remembered."""
        made = cls(known.position.symbol)
        made.position = known.position
        made.stop, made.target, made.trail = known.stop, known.target, known.trail
        made.target_trail = known.target_trail
        made.trade_ids.extend(known.trade_ids)
        made.orders = {order.client_id: order for order in known.orders}
        return made

    # -- fills: one counts as booked once all that follows from it is recorded -------------------

    def filled(self, trade_id: int) -> None:
        if trade_id not in self.trade_ids and trade_id not in self._unbooked:
            self._unbooked.append(trade_id)

    def changed(self, after: Position) -> None:
        self.position = after
        self._book()

    def closed(self) -> None:
        self._before = (self.position, self.stop, self.target, self.trail, self.target_trail)
        self.position = Position(self.position.symbol)
        self.forget_exits()

    def traded(self) -> None:
        self._before = None
        self._book()

    def _book(self) -> None:
        if self._unbooked:
            self.trade_ids.append(self._unbooked.popleft())

    def settle(self) -> None:
        """Another event came: the engine was done with the one before."""
        self._before = None
        self.trade_ids.extend(self._unbooked)
        self._unbooked.clear()

    def _take_back(self) -> None:
        """The process was killed amid a fill: it is fetched again, and booked then."""
        if self._before is not None:
            self.position, self.stop, self.target, self.trail, self.target_trail = self._before
            self._before = None
        self._unbooked.clear()

    def forget_exits(self) -> None:
        self.stop = self.target = self.trail = self.target_trail = 0.0

    def signal(self, signal: Signal) -> None:
        entry = signal.action in (SignalAction.BUY, SignalAction.SELL)
        if entry and self.position.is_flat:
            self.stop, self.target, self.trail = signal.stop, signal.target, signal.trail
            self.target_trail = signal.target_trail

    def planned(self, order: Order) -> None:
        self.orders[order.client_id] = order
        if order.purpose is OrderPurpose.STOP:
            self.stop, self.trail = order.trigger_price, order.callback_rate
        elif order.purpose is OrderPurpose.TARGET:
            self.target, self.target_trail = order.trigger_price, order.callback_rate

    def memory(self) -> SymbolMemory:
        self._take_back()
        return SymbolMemory(
            self.position, self.stop, self.target, self.trail, tuple(self.trade_ids),
            tuple(self.orders.values()), self.target_trail,
        )  # fmt: skip


def recover(records: Iterable[Record], account: str) -> Memory | None:
    """Read what earlier runs on ``account`` have left; None when there was none.

    Each run's first record holds the memory it began with, so the records may start with the last
    run's. Runs on other accounts are skipped.
    """
    symbols: dict[str, _Symbol] = {}
    day_end, day_start, last_time, candle_time, last_candle = 0, 0.0, 0, 0, 0
    strategy: Mapping[str, Any] = {}
    ours = found = False
    for record in records:
        kind, data = record.type, record.data
        if kind == EventType.ENGINE_STARTED:
            ours = data["account"] == account
            if ours:
                found = True
                began = msgspec.convert(data["memory"], Memory | None) or Memory()
                symbols = {name: _Symbol.of(known) for name, known in began.symbols.items()}
                day_end, day_start = began.day_end, began.day_start_equity
                last_time, strategy = began.last_time or data["time"], began.strategy
                candle_time = last_candle = began.candle_time
        if not ours or not isinstance(data, dict):
            continue
        if kind in _INPUTS:
            for symbol in symbols.values():
                symbol.settle()
        if kind == EventType.DAY_STARTED:
            day_end, day_start = data["day_end"], data["equity"]
        elif kind == EventType.ACCOUNT_SNAPSHOT:
            last_time = max(last_time, data["time"] - _OVERLAP_MS)  # it told all fills until then
            for fill in data["fills"]:
                _take(symbols, EventType.FILL, fill)
        elif kind == EventType.STRATEGY_STATE:
            strategy, candle_time = data, last_candle
        elif kind in (EventType.CANDLE_CLOSED, EventType.CANDLE_SHOWN):
            last_candle = max(last_candle, data["close_time"])
        else:
            _take(symbols, kind, data)
    if not found:
        return None
    memories = {name: symbol.memory() for name, symbol in symbols.items()}
    return Memory(memories, day_end, day_start, last_time, strategy, candle_time)


def recover_from(directory: Path, account: str, *, skip_broken: bool = False) -> Memory | None:
    """Do it for a journal directory, reading no further back than the last run on ``account``.

    ``skip_broken`` makes do with what of a damaged journal can be read.

    Raises:
        JournalError: the journal is damaged.
    """
    try:
        return _recover_from(directory, account, skip_broken)
    except DataError as error:
        raise JournalError(
            f"{error}; what is held keeps its stops, 'candlewick flatten' closes it, and --journal"
            " with a new directory goes on with what the exchange knows"
        ) from None


def _recover_from(directory: Path, account: str, skip_broken: bool) -> Memory | None:
    if not any(directory.glob("*.jsonl*")):
        return None
    started = 0
    for record in read(directory, types=[EventType.ENGINE_STARTED], skip_broken=skip_broken):
        if record.data["account"] == account:
            started = record.time_ns // 1_000_000
    records = read(directory, since=started, skip_broken=skip_broken)
    return recover(records, account) if started else None


def _take(symbols: dict[str, _Symbol], kind: str, data: dict[str, Any]) -> None:
    """Note one record."""
    after = data.get("after")
    name = after.get("symbol") if isinstance(after, dict) else data.get("symbol")
    if not isinstance(name, str) or not name:
        return
    symbol = symbols.setdefault(name, _Symbol(name))
    if kind == EventType.SIGNAL_GENERATED:
        symbol.signal(msgspec.convert(data, Signal))
    elif kind == EventType.ORDER_PLANNED:
        symbol.planned(msgspec.convert(data, Order))
    elif kind in _ENDED:
        symbol.orders.pop(data["client_id"], None)
    elif kind == EventType.FILL:
        symbol.filled(data["trade_id"])
    elif kind in (EventType.POSITION_OPENED, EventType.POSITION_CHANGED):
        symbol.changed(msgspec.convert(data["after"], Position))
    elif kind == EventType.POSITION_CLOSED:
        symbol.closed()
    elif kind == EventType.TRADE_COMPLETED:
        symbol.traded()
