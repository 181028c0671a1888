"""Reconciliation: bring the books in line with what the exchange reports. The exchange is right.

Pure: one `AccountSnapshot` in, changed books and decisions out. Twice in a row without a change at
the exchange, the second time decides nothing.
"""

from __future__ import annotations

import msgspec

from candlewick.engine.client_ids import parse_client_id
from candlewick.engine.decisions import Alarm, AlarmKind, ForeignOrder, OrderChanged, Query
from candlewick.engine.desk import Desk
from candlewick.engine.exits import Exits
from candlewick.engine.origin import BY_EXCHANGE
from candlewick.engine.symbol import SymbolState
from candlewick.models import (
    AccountSnapshot,
    Order,
    Position,
)
from candlewick.models.members import (
    ACKNOWLEDGED,
    BUY,
    CLOSE,
    ENTRY,
    PARTIALLY_FILLED,
    SELL,
    STOP,
    TARGET,
    UNKNOWN,
)
from candlewick.risk import RiskSettings

__all__ = ["Reconciler", "reported_position"]

_GRACE_MS = 2_000  # an order younger than that may not be listed yet


def reported_position(snapshot: AccountSnapshot, symbol: str) -> Position:
    """The position that a snapshot reports of a symbol; flat where it reports none."""
    return next((p for p in snapshot.positions if p.symbol == symbol), Position(symbol))


class Reconciler:
    """Compares one symbol's books with a snapshot and corrects them."""

    __slots__ = ("desk", "exits", "settings")

    def __init__(self, desk: Desk, exits: Exits, settings: RiskSettings) -> None:
        self.desk = desk
        self.exits = exits
        self.settings = settings

    def adopt_position(self, state: SymbolState, snapshot: AccountSnapshot) -> bool:
        """Take over the reported position into the ledger; True when it differs from ours.

        The fills that the snapshot brings have been booked before.
        """
        reported = reported_position(snapshot, state.instrument.symbol)
        if reported.quantity == state.position.quantity:
            return False
        until = reported.updated_time if reported.quantity else snapshot.time
        state.ledger.adopt(reported, until)
        return True

    def cause_of_adoption(self, state: SymbolState, before: Position) -> str:
        """Say what made the difference: empty when an order of ours may have, which is open."""
        added = state.ledger.position.quantity - before.quantity
        for order in state.orders.values():
            left = order.quantity - state.booked.get(order.client_id, 0.0)
            if order.side.sign * added > 0.0 and left >= abs(added):
                if order.purpose is ENTRY:
                    self.exits.take_plan(state, order.client_id, order.side)
                return ""
        return "not by an order of ours"

    def judge(self, state: SymbolState, before: Position, cause: str) -> None:
        """A position has changed by what others did: close it where the policy says so."""
        held, was = state.position.quantity, before.quantity
        if cause in BY_EXCHANGE:
            what = "closed the position" if not held else f"cut it from {was:g} to {held:g}"
            text = f"{cause}: the exchange has {what}"
            self.desk.out.append(
                Alarm(AlarmKind.CLOSED_BY_EXCHANGE, before.symbol, self.desk.now, text)
            )
        grew = held * was <= 0.0 or abs(held) > abs(was)
        if held and grew and self.settings.foreign_positions == "close":
            self.exits.close(state, f"opened {cause}, and risk.foreign_positions is close")

    def reconcile_orders(self, state: SymbolState, snapshot: AccountSnapshot) -> None:
        """Claim what is ours, ask for what is missing, and protect what is held."""
        listed = {
            order.client_id: order
            for order in snapshot.orders
            if order.symbol == state.instrument.symbol
        }
        self._note_foreign(state, listed)
        for order in sorted(listed.values(), key=lambda order: -order.quantity):
            if not _has_ended_since(state, order, snapshot):
                self._claim(state, order)
        for order in list(state.orders.values()):
            if order.client_id not in listed:
                self._ask_for(order)
        self.ensure_plan(state)
        self.exits.settle(state)
        self.exits.protect(state)
        self.exits.resume_close(state)

    def _note_foreign(self, state: SymbolState, listed: dict[str, Order]) -> None:
        """Tell of orders that are not ours when they are first seen."""
        found = {name: o for name, o in listed.items() if parse_client_id(name) is None}
        for name, order in found.items():
            if name not in state.foreign:
                self.desk.out.append(ForeignOrder(order))
        state.foreign = found

    # -- orders ----------------------------------------------------------------------------------

    def _claim(self, state: SymbolState, order: Order) -> None:
        """Take an order that rests at the exchange into the books, if it is ours."""
        name = parse_client_id(order.client_id)
        if name is None:
            return  # somebody else's: left alone
        known = state.orders.get(order.client_id)
        if known is not None:
            self._confirm(state, known, order)
        else:
            claimed = msgspec.structs.replace(order, purpose=name[2])
            state.orders[order.client_id] = claimed
            if order.filled > 0.0:
                state.booked[order.client_id] = order.filled  # the position has it already
            self.desk.out.append(OrderChanged(claimed, message="claimed"))
        if known is None or name[0] != self.desk.ids.run_id:
            self._employ(state, state.orders[order.client_id])

    def _employ(self, state: SymbolState, order: Order) -> None:
        """Give an order that was not in the books its part in protecting, or cancel it."""
        client_id, purpose = order.client_id, order.purpose
        if client_id in (*state.stop_ids, state.target_id, *state.successor.values()):
            return
        if purpose is ENTRY or not self._fits(state, order):
            self.desk.cancel(state, client_id)
        elif purpose is STOP and self._lacks_stop(state, order):
            state.stop_ids.append(client_id)
            state.plan = msgspec.structs.replace(
                state.plan, stop=order.trigger_price, trail=order.callback_rate
            )
        elif purpose is TARGET and state.target_id not in state.orders:
            state.target_id = client_id
            state.plan = msgspec.structs.replace(
                state.plan, target=order.trigger_price, target_trail=order.callback_rate
            )
        elif purpose is not CLOSE:
            self.desk.cancel(state, client_id)

    @staticmethod
    def _lacks_stop(state: SymbolState, stop: Order) -> bool:
        """True when a stop is the first one, or covers with its like what one cannot."""
        plan = state.plan
        like = (plan.stop, plan.trail) == (stop.trigger_price, stop.callback_rate)
        is_first = not any(name in state.orders for name in state.stop_ids)
        return is_first or (like and state.covered() < abs(state.position.quantity))

    def _confirm(self, state: SymbolState, known: Order, listed: Order) -> None:
        """An order without an answer is listed: it exists."""
        if known.status.is_working:
            return
        filled = max(known.filled, listed.filled)
        status = PARTIALLY_FILLED if filled > 0.0 else ACKNOWLEDGED
        changed = msgspec.structs.replace(
            known, status=status, filled=filled, venue_id=listed.venue_id or known.venue_id
        )
        state.orders[known.client_id] = changed
        self.desk.out.append(OrderChanged(changed, message="listed"))

    def _ask_for(self, order: Order) -> None:
        """An order that should rest is not listed: ask what became of it."""
        newest = max(order.created_time, order.updated_time)
        if self.desk.now - newest >= _GRACE_MS or order.status is UNKNOWN:
            self.desk.out.append(Query(order))

    def _fits(self, state: SymbolState, order: Order) -> bool:
        """True when an order reduces the position that is held."""
        return order.side.sign * state.position.quantity < 0.0

    # -- protection ------------------------------------------------------------------------------

    def ensure_plan(self, state: SymbolState) -> None:
        """A position without a plan (adopted, or from a former run) gets the default stop."""
        held = state.position
        plan = state.plan
        if held.is_flat or plan.stop or plan.trail or not self.settings.default_stop:
            return
        price = state.price or held.entry_price
        sign = 1.0 if held.is_long else -1.0
        side = SELL if held.is_long else BUY
        stop = state.instrument.round_stop(price * (1.0 - sign * self.settings.default_stop), side)
        state.plan = msgspec.structs.replace(plan, stop=stop)
        state.unprotected_since = state.unprotected_since or self.desk.now


def _has_ended_since(state: SymbolState, order: Order, snapshot: AccountSnapshot) -> bool:
    """True for an order whose end was heard of after the account was asked for: it is old news."""
    ended = state.ended.get(order.client_id)
    if ended is None:
        return False
    time, number = ended
    return number > snapshot.ends_known if snapshot.ends_known >= 0 else time >= snapshot.time
