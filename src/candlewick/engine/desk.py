"""`Desk`: where orders are written out. It owns the client ids and the list of decisions."""

from __future__ import annotations

from candlewick.engine.client_ids import ClientIds
from candlewick.engine.decisions import Alarm, AlarmKind, AskAccount, Cancel, Decision, Submit
from candlewick.engine.symbol import SymbolState
from candlewick.models import Order, OrderPurpose, OrderType, Side, TriggerPrice
from candlewick.models.members import ENTRY, LAST
from candlewick.risk import Guardrails

__all__ = ["Desk"]


class Desk:
    """Collects the decisions of one event; the engine takes them away when it is done.

    ``can_ask`` is true where the account can be asked for beside the events, as it is over a
    network.
    """

    __slots__ = ("can_ask", "guardrails", "ids", "now", "out")

    def __init__(self, run_id: str, guardrails: Guardrails, can_ask: bool = False) -> None:
        self.can_ask = can_ask
        self.ids = ClientIds(run_id)
        self.guardrails = guardrails
        self.now = 0
        self.out: list[Decision] = []

    def take(self) -> list[Decision]:
        """Hand over the decisions made so far."""
        out = self.out
        self.out = []
        return out

    def submit(
        self,
        state: SymbolState,
        side: Side,
        type: OrderType,
        quantity: float,
        purpose: OrderPurpose,
        *,
        price: float = 0.0,
        trigger_price: float = 0.0,
        callback_rate: float = 0.0,
        trigger_by: TriggerPrice = LAST,
        parent_id: str = "",
        reason: str = "",
    ) -> Order:
        """Write out an order and decide to send it; exits are always reduce-only."""
        order = Order(
            self.ids.make(purpose),
            state.instrument.symbol,
            side,
            type,
            quantity,
            price,
            trigger_price,
            callback_rate,
            reduce_only=purpose is not ENTRY,
            trigger_by=trigger_by,
            purpose=purpose,
            parent_id=parent_id,
            created_time=self.now,
            reference_price=state.price,
            reason=reason,
        )
        state.orders[order.client_id] = order
        self.guardrails.sent(self.now)
        self.out.append(Submit(order))
        return order

    def cancel(self, state: SymbolState, client_id: str) -> None:
        """Decide to cancel an order, unless it is final or being cancelled already."""
        order = state.orders.get(client_id)
        if order is None or order.status.is_final or client_id in state.cancelling:
            return
        state.cancelling.add(client_id)
        self.out.append(Cancel(order, self.now))

    def ask_account(self, state: SymbolState, reason: str, *, block: bool = True) -> None:
        """Have the account asked for; until it has answered, ``block`` denies entries."""
        if self.can_ask:
            if block:
                state.unknown = reason
            self.out.append(AskAccount(state.instrument.symbol, self.now, reason))

    def alarm(self, state: SymbolState, kind: AlarmKind, text: str) -> None:
        """Tell people, once while it lasts."""
        if kind not in state.alarms:
            state.alarms.add(kind)
            self.out.append(Alarm(kind, state.instrument.symbol, self.now, text))
