"""`SymbolState`: all that the engine knows of one symbol; the engine is its only writer."""

from __future__ import annotations

import msgspec

from candlewick.engine.decisions import AlarmKind
from candlewick.engine.ledger import Ledger
from candlewick.models import (
    History,
    Instrument,
    Order,
    OrderPurpose,
    OrderUpdate,
    Signal,
)
from candlewick.models.members import UNKNOWN

__all__ = ["Plan", "SymbolState"]

_ENDED = 1_000  # orders whose end is remembered


class Plan(msgspec.Struct, frozen=True, gc=False):
    """The exits that a position is to have. Prices are on ticks; 0.0 means none.

    ``trail`` is the distance of a trailing stop as a fraction of the price, ``target_trail`` that
    of a target which trails from its price on.
    """

    stop: float = 0.0
    target: float = 0.0
    trail: float = 0.0
    entry_id: str = ""
    target_trail: float = 0.0


class SymbolState:
    """Price, position, orders and planned exits of one symbol.

    ``orders`` holds what is not final. ``stop_ids`` and ``target_id`` name the orders that protect
    the position now, more than one stop where one order cannot close all of it; ``successor`` maps
    an exit that is being replaced to the one that will take its place. ``booked`` is what the fills
    of each order have come to; an order that is final by the exchange's word stays in ``orders``
    until all its fills are booked, and ``awaited`` has that word. ``ending`` are those that were
    not there to be cancelled, and whose end is still to be told; ``ended`` has the times and
    numbers of the last ends. ``foreign`` are orders that are not ours, as last listed.
    ``unprotected_since`` is the time of the fill that no confirmed stop covers, or 0, ``looked_at``
    when something was last done about that; ``alarms`` are those that last.
    ``after_close`` is an entry that waits for the opposite position to be closed. ``tightened`` is
    the level to which a stop policy has brought the stop, or 0.0. ``kept`` are the histories to
    append to; None when somebody else moves them.
    """

    __slots__ = (
        "after_close", "alarms", "awaited", "booked", "cancelling", "close_attempts",
        "closing_reason", "ended", "ending", "foreign", "histories", "instrument", "kept", "ledger",
        "looked_at", "orders", "plan", "plans", "position", "price", "refused_at", "stale",
        "stop_attempts", "stop_ids", "successor", "target_id", "tightened", "unknown",
        "unprotected_since", "unrealized", "verify",
    )  # fmt: skip

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.ledger = Ledger(instrument)
        self.position = self.ledger.position
        self.price = 0.0
        self.unrealized = 0.0
        self.orders: dict[str, Order] = {}
        self.booked: dict[str, float] = {}
        self.awaited: dict[str, OrderUpdate] = {}
        self.ended: dict[str, tuple[int, int]] = {}
        self.foreign: dict[str, Order] = {}
        self.plans: dict[str, Plan] = {}  # by the entry's client id
        self.plan = Plan()
        self.stop_ids: list[str] = []
        self.target_id = ""
        self.successor: dict[str, str] = {}
        self.unprotected_since = 0
        self.looked_at = 0
        self.alarms: set[AlarmKind] = set()
        self.verify = ""  # why the account is to be asked for once the position is closed
        self.closing_reason = ""
        self.close_attempts = 0
        self.stop_attempts = 0
        self.refused_at = 0  # when the last stop was refused, or ended by itself
        self.cancelling: set[str] = set()
        self.ending: set[str] = set()
        self.after_close: Signal | None = None
        self.tightened = 0.0
        self.unknown = ""  # why the state is unknown; empty when it is known
        self.stale = ""  # why the market data cannot be acted on; empty when it can
        self.histories: dict[str, History] = {}
        self.kept: dict[str, History] | None = None

    def pending(self, purpose: OrderPurpose) -> list[Order]:
        """Orders of one purpose that are not final, oldest first."""
        orders = self.orders
        return [order for order in orders.values() if order.purpose is purpose] if orders else []

    def book(self, client_id: str, quantity: float) -> float:
        """Count a fill of an open order; returns what its fills have come to."""
        before = self.booked.get(client_id, 0.0)
        total = self.instrument.nearest_quantity(before + quantity) if before else quantity
        self.booked[client_id] = total
        return total

    def end(self, client_id: str, time: int, number: int) -> None:
        """Take an order that is final out of the open ones.

        ``time`` is that of its end, UTC ms; ``number`` counts the ends of the run.
        """
        del self.orders[client_id]
        self.booked.pop(client_id, None)
        self.awaited.pop(client_id, None)
        self.cancelling.discard(client_id)
        self.ending.discard(client_id)
        ended = self.ended
        ended[client_id] = (time, number)
        if len(ended) > _ENDED:
            del ended[next(iter(ended))]

    def left(self, order: Order) -> float:
        """What is left of an order after the fills that the position knows of."""
        booked = self.booked.get(order.client_id)
        if booked is None:
            return order.quantity
        return self.instrument.nearest_quantity(order.quantity - booked)

    def covered(self) -> float:
        """What the stops that rest can close, as the exchange has confirmed."""
        working = [
            self.left(order)
            for order in map(self.orders.get, self.stop_ids)
            if order is not None and order.status.is_working
        ]
        if len(working) < 2:
            return working[0] if working else 0.0
        return self.instrument.nearest_quantity(sum(working))

    def replace_stop(self, old_id: str, new_id: str) -> None:
        """Put a stop into the place of another."""
        if new_id not in self.stop_ids:
            self.stop_ids = [name for name in self.stop_ids if name != old_id] + [new_id]

    def is_unknown(self) -> str:
        """Say why the state of the symbol is not known, or return an empty string."""
        if self.unknown:
            return self.unknown
        for order in self.orders.values():
            if order.status is UNKNOWN:
                return f"order {order.client_id} has no answer"
        return ""
