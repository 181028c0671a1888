"""Exits: keep a stop and a target at the exchange for what is held, and close positions.

The rules, in order: a stop covers the whole position, or several do where it is larger than one
market order may be; the target goes out once the stop is
confirmed, and goes with it; a replacement is confirmed before the old order is cancelled; when the
position is gone, nothing of it keeps resting. What cannot be protected is closed.
"""

from __future__ import annotations

import msgspec

from candlewick.engine.decisions import AlarmKind
from candlewick.engine.desk import Desk
from candlewick.engine.symbol import Plan, SymbolState
from candlewick.models import Order, OrderPurpose, OrderUpdate, Side
from candlewick.models.members import (
    BUY,
    CANCELED,
    CLOSE,
    EXPIRED,
    FILLED,
    MARKET,
    REJECTED,
    SELL,
    STOP,
    STOP_MARKET,
    TAKE_PROFIT_MARKET,
    TARGET,
    TRAILING_STOP_MARKET,
)
from candlewick.risk import RiskSettings

__all__ = ["WOULD_TRIGGER", "Exits"]

WOULD_TRIGGER = -2021
"""The exchange's code for a stop or target that the price has passed already."""
_NOTHING_TO_REDUCE = -2022
_ATTEMPTS = 5
_LEAST_TRAIL = 0.001  # the exchange's smallest distance of a trailing stop
_NO_PLAN = Plan()
_TOO_LATE = "no confirmed stop in time"


class Exits:
    """Decides the orders that protect and close positions."""

    __slots__ = ("desk", "settings")

    def __init__(self, desk: Desk, settings: RiskSettings) -> None:
        self.desk = desk
        self.settings = settings

    # -- protection --------------------------------------------------------------------------------

    def protect(self, state: SymbolState, filled_id: str = "") -> None:
        """Bring the resting exits in line with the position and its plan.

        ``filled_id`` is the order whose fill is the occasion: its end needs no cancel.
        """
        held = state.position.quantity
        if held == 0.0:
            self.clear(state, filled_id)
            return
        plan = state.plan
        if not plan.stop and not plan.trail:
            return
        side = SELL if held > 0.0 else BUY
        quantity = abs(held)
        self._align_stops(state, side, quantity)
        covered = state.covered()
        if not covered:
            state.unprotected_since = state.unprotected_since or self.desk.now
            for target in state.pending(TARGET):  # one never rests without a stop
                self.desk.cancel(state, target.client_id)
            return
        if covered >= quantity:
            state.unprotected_since = state.looked_at = 0
            state.alarms.discard(AlarmKind.UNPROTECTED)
        else:
            state.unprotected_since = state.unprotected_since or self.desk.now
        if plan.target:
            largest = min(quantity, state.instrument.largest_market_order)
            state.target_id = self._align(state, state.target_id, TARGET, side, largest)

    def _align_stops(self, state: SymbolState, side: Side, quantity: float) -> None:
        """Bring the stops in line: one for each part of the position that one order can close."""
        level = _planned(state.plan, STOP)
        stops = [state.orders[name] for name in state.stop_ids if name in state.orders]
        fitting = [order for order in stops if _level(order) == level]
        if len(fitting) == len(stops) > 1:
            left = state.instrument.nearest_quantity(sum(map(state.left, stops)))
            if left == quantity:  # also while they fill
                state.stop_ids = [order.client_id for order in stops]
                return
        kept: list[str] = []
        missing: list[float] = []
        for part in state.instrument.market_orders(quantity):
            fits = next((order for order in fitting if state.left(order) == part), None)
            if fits is None:
                missing.append(part)
            else:
                fitting.remove(fits)
                stops.remove(fits)
                kept.append(fits.client_id)
        for part in missing:
            old = stops.pop(0).client_id if stops else ""
            kept.append(self._align(state, old, STOP, side, part))
        state.stop_ids = [name for name in kept if name]
        for spare in stops:
            self._spare(state, spare, quantity)

    def _spare(self, state: SymbolState, stop: Order, quantity: float) -> None:
        """Cancel a stop that has no part to close, once the others cover the position."""
        if state.covered() >= quantity:
            self.desk.cancel(state, stop.client_id)
        else:
            state.stop_ids.append(stop.client_id)

    def _align(
        self, state: SymbolState, client_id: str, purpose: OrderPurpose, side: Side, quantity: float
    ) -> str:
        """Send an exit that is missing, or the successor of one that no longer fits."""
        order = state.orders.get(client_id)
        may_send = self._may_send(state)
        if order is None:
            if may_send:
                client_id = self._send_exit(state, purpose, side, quantity).client_id
            return client_id
        fits = state.left(order) == quantity and _level(order) == _planned(state.plan, purpose)
        settled = order.status.is_working and client_id not in state.successor
        if not fits and settled and may_send:
            state.successor[client_id] = self._send_exit(state, purpose, side, quantity).client_id
        return client_id

    def _may_send(self, state: SymbolState) -> bool:
        """False once an exit was refused too often in a short time; then only a close helps."""
        return state.stop_attempts < _ATTEMPTS or self._is_long_ago(state)

    def _is_long_ago(self, state: SymbolState) -> bool:
        return self.desk.now - state.refused_at > self.settings.protect_within_ms

    def _count_refusal(self, state: SymbolState, attempts: int = 1) -> None:
        if self._is_long_ago(state):
            state.stop_attempts = 0
        state.stop_attempts = min(_ATTEMPTS, state.stop_attempts + attempts)
        state.refused_at = self.desk.now

    def _send_exit(
        self, state: SymbolState, purpose: OrderPurpose, side: Side, quantity: float
    ) -> Order:
        plan = state.plan
        trigger, callback = plan.stop, 0.0
        if purpose is TARGET:
            type, trigger, reason = TAKE_PROFIT_MARKET, plan.target, "target"
            if plan.target_trail:  # not active before the price has reached the target
                type, callback, reason = TRAILING_STOP_MARKET, plan.target_trail, "trailing target"
        elif plan.trail:
            type, trigger, callback = TRAILING_STOP_MARKET, 0.0, plan.trail
            reason = "trailing stop"
        else:
            type, reason = STOP_MARKET, "stop"
        return self.desk.submit(
            state, side, type, quantity, purpose,
            trigger_price=trigger, callback_rate=callback, trigger_by=self.settings.stop_trigger,
            parent_id=plan.entry_id, reason=reason,
        )  # fmt: skip

    def clear(self, state: SymbolState, filled_id: str = "") -> None:
        """The position is gone: cancel all that protected it."""
        for client_id, order in state.orders.items():
            exits = order.purpose is STOP or order.purpose is TARGET
            if exits and client_id != filled_id:
                self.desk.cancel(state, client_id)
        state.stop_ids = []
        state.target_id = ""
        state.tightened = 0.0
        state.successor.clear()
        state.plan = _NO_PLAN
        state.unprotected_since = state.looked_at = 0
        state.closing_reason = ""
        state.close_attempts = state.stop_attempts = 0
        state.alarms.clear()
        if state.verify:
            self.desk.ask_account(state, f"is the position closed ({state.verify})?")
            state.verify = ""

    def take_plan(self, state: SymbolState, entry_id: str, side: Side) -> None:
        """An entry fills: the exits that were planned with it hold from now on.

        Not those of an entry that has only reduced a position of others.
        """
        if side.sign * state.ledger.position.quantity <= 0.0:
            return
        plan = state.plans.get(entry_id, state.plan)
        if plan is not state.plan:
            state.plan = plan
            state.stop_attempts = 0

    def move_stop(self, state: SymbolState, stop: float, trail: float = 0.0) -> None:
        """Plan another stop price, or the distance of a trailing stop, and replace the order."""
        state.plan = msgspec.structs.replace(state.plan, stop=stop, trail=trail)
        state.stop_attempts = 0
        self.protect(state)

    def tighten(self, state: SymbolState) -> None:
        """Bring the stop nearer to the price, once; the old one rests until the new one does.

        What is left of its distance is ``risk.tighten_to`` of the present one.
        """
        plan, price = state.plan, state.price or state.position.entry_price
        if state.position.is_flat or state.tightened or not (plan.stop or plan.trail):
            return
        share = self.settings.tighten_to
        if plan.trail:
            state.tightened = max(_LEAST_TRAIL, round(plan.trail * share, 4))
            state.plan = msgspec.structs.replace(plan, trail=min(plan.trail, state.tightened))
            state.stop_attempts = 0
            self.protect(state)
            return
        side = SELL if state.position.is_long else BUY
        state.tightened = state.instrument.round_stop(price + (plan.stop - price) * share, side)
        self.move_stop(state, state.tightened)

    # -- what the exchange says about exits --------------------------------------------------

    def on_update(self, state: SymbolState, order: Order, update: OrderUpdate) -> None:
        """React to a stop or target that was confirmed, refused, cancelled or triggered."""
        old_id = ""
        if state.successor:
            old_id = next((o for o, new in state.successor.items() if new == order.client_id), "")
        if order.status.is_working and old_id:
            self._succeed(state, old_id, order)
        elif (
            order.status is REJECTED
            or order.status is EXPIRED
            or (order.status is CANCELED and (old_id or order.client_id in state.stop_ids))
        ):
            self._refused(state, order, update, old_id)
        if order.status.is_final:
            state.successor.pop(old_id, None)
            self._inherit(state, order.client_id)
        self.protect(state)

    def _inherit(self, state: SymbolState, ended_id: str) -> None:
        """An exit has ended while its successor was under way: that one takes its place."""
        successor = state.successor.pop(ended_id, "")
        if successor in state.orders:
            if state.orders[successor].purpose is STOP:
                state.replace_stop(ended_id, successor)
            elif state.target_id == ended_id:
                state.target_id = successor

    def settle(self, state: SymbolState) -> None:
        """Let exits that are known to rest by now take the place of those they replace.

        What rests and has no part in the protection is cancelled.
        """
        for old_id, new_id in list(state.successor.items()):
            order = state.orders.get(new_id)
            if order is not None and order.status.is_working:
                self._succeed(state, old_id, order)
        parts = {*state.stop_ids, state.target_id, *state.successor.values()}
        for order in (*state.pending(STOP), *state.pending(TARGET)):
            if order.status.is_working and order.client_id not in parts:
                self.desk.cancel(state, order.client_id)

    def _succeed(self, state: SymbolState, old_id: str, order: Order) -> None:
        """The new exit is confirmed: it takes the place, and the old one goes."""
        del state.successor[old_id]
        if order.purpose is STOP:
            state.replace_stop(old_id, order.client_id)
        else:
            state.target_id = order.client_id
        self.desk.cancel(state, old_id)

    def _refused(self, state: SymbolState, order: Order, update: OrderUpdate, old_id: str) -> None:
        """An exit that does not rest: keep the old one, or close the position."""
        old = None
        if old_id:
            del state.successor[old_id]
            old = state.orders.get(old_id)
            if old is not None:  # plan what still rests, so that it is not replaced for ever
                state.plan = _as_it_rests(state.plan, old)
        if state.position.is_flat:
            return
        passed = update.code == WOULD_TRIGGER
        if order.purpose is TARGET:
            if old is None:
                state.plan = msgspec.structs.replace(state.plan, target=0.0)
            else:
                self._count_refusal(state)
            if passed:
                self.close(state, "the target was reached before it rested")
            return
        self._count_refusal(state, _ATTEMPTS if passed else 1)
        if passed:
            self.close(state, "the stop was passed before it rested", verify=True)
        elif state.stop_attempts >= _ATTEMPTS and state.covered() < abs(state.position.quantity):
            self.close(state, f"no stop could be placed: {update.message}", verify=True)

    # -- closing ---------------------------------------------------------------------------------

    def close(
        self, state: SymbolState, reason: str, quantity: float = 0.0, *, verify: bool = False
    ) -> None:
        """Close the position at market, reduce-only, while its stop still rests.

        ``quantity`` closes a part. What exceeds the exchange's largest market order goes out in
        slices, one after the other. ``verify`` has the account asked for when it is done.
        """
        held = state.position
        if held.is_flat:
            return
        if verify:
            state.verify = reason
        if not quantity:
            state.closing_reason = reason
        if state.pending(CLOSE):
            return
        instrument = state.instrument
        wanted = min(quantity, abs(held.quantity)) if quantity else abs(held.quantity)
        wanted = instrument.round_quantity(min(wanted, instrument.largest_market_order))
        if wanted <= 0.0:
            return
        side = SELL if held.is_long else BUY
        self.desk.submit(
            state, side, MARKET, wanted, CLOSE,
            parent_id=state.plan.entry_id, reason=reason,
        )  # fmt: skip

    def on_close_ended(self, state: SymbolState, order: Order, update: OrderUpdate) -> None:
        """Go on closing after a slice, or after a refusal that may pass."""
        if state.position.is_flat or not state.closing_reason:
            return
        if order.status is FILLED:
            state.close_attempts = 0
            self.close(state, state.closing_reason)
            return
        state.close_attempts += 1
        if update.code == _NOTHING_TO_REDUCE:
            state.unknown = "the exchange holds no position to reduce"
            if state.close_attempts < _ATTEMPTS:
                self.desk.ask_account(state, state.unknown)
        elif state.close_attempts < _ATTEMPTS:
            self.close(state, state.closing_reason)
        else:
            state.unknown = f"the position could not be closed: {update.message}"
        if state.close_attempts >= _ATTEMPTS:
            self.desk.alarm(state, AlarmKind.CANNOT_CLOSE, update.message)

    def resume_close(self, state: SymbolState) -> None:
        """Try again to close what was to be closed, after the account has been asked for."""
        if state.closing_reason:
            self.close(state, state.closing_reason)

    # -- time -------------------------------------------------------------------------------------

    def deadline(self, state: SymbolState) -> int:
        """When the position must be protected at the latest, UTC ms; 0 when it is."""
        since = state.unprotected_since
        return (state.looked_at or since) + self.settings.protect_within_ms if since else 0

    def on_timer(self, state: SymbolState) -> None:
        """Close a position that has been without a confirmed stop for too long.

        Should that fail too, a stop is tried again beside the close, each time the deadline comes.
        """
        deadline = self.deadline(state)
        if deadline and self.desk.now >= deadline:
            state.looked_at = self.desk.now
            self.desk.alarm(state, AlarmKind.UNPROTECTED, _TOO_LATE)
            state.stop_attempts = 0
            self.protect(state)
            self.close(state, _TOO_LATE, verify=True)


def _level(order: Order) -> float:
    """What makes an exit fit its plan: the trigger, or the distance of a trailing stop."""
    if order.purpose is TARGET:
        return order.trigger_price
    return order.callback_rate or order.trigger_price


def _planned(plan: Plan, purpose: OrderPurpose) -> float:
    if purpose is TARGET:
        return plan.target
    return plan.trail or plan.stop


def _as_it_rests(plan: Plan, order: Order) -> Plan:
    """The plan that an exit which rests fits."""
    if order.purpose is TARGET:
        return msgspec.structs.replace(
            plan, target=order.trigger_price, target_trail=order.callback_rate
        )
    return msgspec.structs.replace(plan, stop=order.trigger_price, trail=order.callback_rate)
