"""`paper_account`: a paper account out of the journal, as the last run on it has left it.

The journal is all there is of such an account: what stands in it has happened, what does not has
not.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from candlewick.audit import EventType, read
from candlewick.exchange import AccountState
from candlewick.live.recovery import Record
from candlewick.models import AccountSnapshot, Fill, Order, OrderStatus, Position

__all__ = ["account_from", "paper_account"]

_RESTS = (OrderStatus.ACKNOWLEDGED, OrderStatus.PARTIALLY_FILLED)


class _Books:
    """What the records have said of the account so far."""

    def __init__(self) -> None:
        self.is_known = False
        self.balance = 0.0
        self.positions: dict[str, Position] = {}
        self.orders: dict[str, Order] = {}
        self.planned: dict[str, Order] = {}
        self.last_trade = self.last_order = self.time = 0

    def take(self, kind: str, data: dict[str, Any]) -> None:
        """Note one record."""
        if kind == EventType.ACCOUNT_SNAPSHOT:
            self._snapshot(msgspec.convert(data, AccountSnapshot))
        elif kind == EventType.ORDER_PLANNED:
            self.planned[data["client_id"]] = msgspec.convert(data, Order)
        elif kind == EventType.FILL:
            self._fill(msgspec.convert(data, Fill))
        elif kind == EventType.FUNDING:
            self.balance += data["amount"]
            self.at(data["time"])
        elif kind == EventType.ORDER_UPDATED:
            self._update(data)
        elif kind in (EventType.POSITION_OPENED, EventType.POSITION_CHANGED):
            position = msgspec.convert(data["after"], Position)
            self.positions[position.symbol] = position
        elif kind == EventType.POSITION_CLOSED:
            self.positions.pop(data["after"]["symbol"], None)
        elif kind == EventType.CANDLE_CLOSED:
            self.at(data["close_time"])

    def at(self, time: int) -> None:
        """Everything up to this market time is known."""
        self.time = max(self.time, time)

    def _snapshot(self, snapshot: AccountSnapshot) -> None:
        self.is_known = True
        self.balance = snapshot.balance
        self.positions = {position.symbol: position for position in snapshot.positions}
        self.orders = {order.client_id: order for order in snapshot.orders}
        for order in snapshot.orders:
            self._number(order.venue_id)
        for fill in snapshot.fills:
            self.last_trade = max(self.last_trade, fill.trade_id)
        self.at(snapshot.time)

    def _fill(self, fill: Fill) -> None:
        self.balance += fill.realized - fill.fee
        self.last_trade = max(self.last_trade, fill.trade_id)
        self.at(fill.time)

    def _update(self, data: dict[str, Any]) -> None:
        client_id, status = data["client_id"], data["status"]
        self._number(data["venue_id"])
        self.at(data["time"])
        order = self.orders.get(client_id) or self.planned.get(client_id)
        if status in _RESTS and order is not None:
            self.orders[client_id] = msgspec.structs.replace(
                order, venue_id=data["venue_id"], filled=data["filled"],
                average_price=data["average_price"],
            )  # fmt: skip
        elif OrderStatus(status).is_final and data["code"] != -2011:
            self.orders.pop(client_id, None)

    def _number(self, venue_id: str) -> None:
        if venue_id.isdecimal():
            self.last_order = max(self.last_order, int(venue_id))

    def state(self) -> AccountState:
        """The account as it stands."""
        positions = tuple(self.positions.values())
        balance = self.balance if positions else max(self.balance, 0.0)  # as the insurance has it
        return AccountState(
            balance, positions, tuple(self.orders.values()), self.last_trade, self.last_order,
            self.time,
        )  # fmt: skip


def account_from(records: Iterable[Record], account: str) -> AccountState | None:
    """Read what the runs on ``account`` have left; None when no record tells its wallet."""
    books, ours = _Books(), False
    for record in records:
        kind, data = record.type, record.data
        if not isinstance(data, dict):
            continue
        if kind == EventType.ENGINE_STARTED:
            ours = data["account"] == account
            if ours:
                _remember(books, data["memory"])
        elif ours:
            books.take(kind, data)
    return books.state() if books.is_known else None


def _remember(books: _Books, memory: dict[str, Any] | None) -> None:
    """Numbers that were used before the run."""
    for symbol in (memory or {}).get("symbols", {}).values():
        books.last_trade = max([books.last_trade, *symbol["trade_ids"]])


def paper_account(directory: Path, account: str, balance: float) -> AccountState:
    """Find the account in a journal, or make a new one with ``balance`` in its wallet."""
    if any(directory.glob("*.jsonl*")):
        starts = [
            record.time_ns // 1_000_000
            for record in read(directory, types=[EventType.ENGINE_STARTED])
            if record.data["account"] == account
        ]
        for started in reversed(starts):  # a run that ended at once may not have told the wallet
            found = account_from(read(directory, since=started), account)
            if found is not None:
                return found
    return AccountState(balance)
