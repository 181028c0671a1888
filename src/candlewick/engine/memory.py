"""`Memory`: what an engine must know of the runs before it, to go on after a restart.

It comes from the journal. What the exchange says afterwards is right; the memory makes sure that
no fill is booked twice, that positions keep their planned exits, and that orders without an answer
are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from candlewick.engine.symbol import Plan, SymbolState
from candlewick.models import Order, OrderPurpose, OrderStatus, Position

__all__ = ["Memory", "SymbolMemory", "recall"]


class SymbolMemory(msgspec.Struct, frozen=True):
    """One symbol: the position by our books, its planned exits, and what was still open.

    ``trade_ids`` are the fills that have been booked, ``orders`` those that were not final.
    Prices are 0.0 where nothing was planned; ``trail`` and ``target_trail`` are fractions of the
    price.
    """

    position: Position
    stop: float = 0.0
    target: float = 0.0
    trail: float = 0.0
    trade_ids: tuple[int, ...] = ()
    orders: tuple[Order, ...] = ()
    target_trail: float = 0.0


class Memory(msgspec.Struct, frozen=True):
    """All symbols, the day's loss counter, and the strategy's own state.

    ``last_time`` is the time until which all fills are surely known (UTC ms): those from then on
    are fetched from the exchange. ``candle_time`` is the close of the last candle that the
    strategy had seen when its state was saved.
    """

    symbols: dict[str, SymbolMemory] = {}
    day_end: int = 0
    day_start_equity: float = 0.0
    last_time: int = 0
    strategy: Mapping[str, Any] = {}
    candle_time: int = 0

    def left_in(self) -> tuple[str, ...]:
        """The symbols in which something was held, or an order was open."""
        return tuple(
            name
            for name, known in self.symbols.items()
            if not known.position.is_flat or known.orders
        )


def recall(state: SymbolState, memory: SymbolMemory) -> None:
    """Put the memory of one symbol into its books; its orders count as unknown until asked for."""
    state.ledger.adopt(memory.position)
    state.ledger.remember(memory.trade_ids)
    state.position = state.ledger.position
    if not state.position.is_flat:
        state.plan = Plan(
            memory.stop, memory.target, memory.trail, target_trail=memory.target_trail
        )
        _recall_exits(state, memory.orders)
    for order in memory.orders:
        state.orders[order.client_id] = msgspec.structs.replace(order, status=OrderStatus.UNKNOWN)
        if order.filled > 0.0:
            state.booked[order.client_id] = order.filled
        if not state.position.is_flat:
            continue
        # an entry that may have filled: what it was to be protected with
        state.plans[order.client_id] = Plan(
            memory.stop, memory.target, memory.trail, order.client_id, memory.target_trail
        )


def _recall_exits(state: SymbolState, orders: Sequence[Order]) -> None:
    """Name the exits that protect the position, and their successors that were under way."""
    held, covered = abs(state.position.quantity), 0.0
    for order in orders:
        if order.purpose is OrderPurpose.STOP:
            if covered < held:
                state.stop_ids.append(order.client_id)
                covered += order.quantity - order.filled
            else:
                old_id = next((o for o in state.stop_ids if o not in state.successor), "")
                state.successor[old_id or state.stop_ids[-1]] = order.client_id
        elif order.purpose is OrderPurpose.TARGET and not state.target_id:
            state.target_id = order.client_id
