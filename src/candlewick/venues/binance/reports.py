"""`Reporter`: turns what the exchange says of orders into events that the engine can rely on.

Fills come first: an update that says more was filled than the fills that were told add up to is
held back until they are here, from the stream or from the list of trades. So an order that is told
to be final has all its fills told, whatever was lost, late or out of order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from candlewick.models import Event, EventKind, Fill, Instrument, OrderUpdate
from candlewick.venues.binance.failures import Code
from candlewick.venues.binance.messages import AlgoUpdate, OrderTradeUpdate, TradeLite
from candlewick.venues.binance.orders import (
    ALGO_STATUS,
    algo_link,
    fill_of,
    update_of_state,
)
from candlewick.venues.binance.register import Register
from candlewick.venues.binance.tally import Tally

__all__ = ["Reporter"]

_STOP_TRIGGERED = "8"  # expiry reason: the trigger has replaced the order by another


class Reporter:
    """Publishes fills and order updates, in an order that adds up.

    ``fetch`` is called with (symbol, order id) when trades are missing; ``ask`` with a client id
    when only a question can tell what became of the order.
    """

    def __init__(
        self,
        publish: Callable[[Event], None],
        register: Register,
        instruments: Mapping[str, Instrument],
        tally: Tally,
        fetch: Callable[[str, int], None],
        ask: Callable[[str], None],
    ) -> None:
        self._publish = publish
        self._register = register
        self._instruments = instruments
        self._tally = tally
        self._fetch = fetch
        self._ask = ask
        self._held: dict[int, OrderUpdate] = {}

    # -- the account's stream --------------------------------------------------------------------

    def on_order(self, message: OrderTradeUpdate) -> None:
        """A normal order was accepted, filled, cancelled or ended otherwise."""
        state = message.o
        if state.s not in self._instruments:
            self._tally.events["other_symbol"] += 1
            return
        if state.x == "EXPIRED" and state.er == _STOP_TRIGGERED:
            return
        client_id = self._register.owner(state.i, state.c)
        tracked = self._register.get(client_id)
        if tracked is not None:
            tracked.heard = tracked.accepted = True
        time = message.T or state.T or message.E
        fill = fill_of(state, client_id, time)
        if fill is not None:
            self.fill(state.i, fill)
        update = update_of_state(state, client_id, time)
        if update is None:
            self._tally.saw_unknown(f"order status {state.X}")
        else:
            self.update(state.i, update)

    def on_algo(self, message: AlgoUpdate) -> None:
        """A conditional order was accepted, triggered, or has ended."""
        state = message.o
        if state.s not in self._instruments:
            self._tally.events["other_symbol"] += 1
            return
        tracked = self._register.get(state.caid)
        if tracked is not None:
            tracked.heard = tracked.accepted = True
        self._register.link(algo_link(state), state.caid)
        if state.X == "FINISHED":
            if tracked is not None and not tracked.is_final:
                self._ask(state.caid)  # its last trades may be under way still
            return
        status = ALGO_STATUS.get(state.X)
        if status is None:
            self._tally.saw_unknown(f"conditional order status {state.X}")
            return
        reason = state.rm if status.is_final else ""
        time = message.T or message.E
        self.told(OrderUpdate(state.caid, state.s, status, time, str(state.aid), message=reason))

    def on_lite(self, message: TradeLite) -> bool:
        """The short notice of a fill; False when the fill itself has not been told yet."""
        if message.s not in self._instruments:
            return True
        return self._register.has_trade(message.i, message.t)

    # -- events ----------------------------------------------------------------------------------

    def fill(self, order_id: int, fill: Fill) -> None:
        """Tell of a trade, unless it was told before."""
        if not self._register.book(order_id, fill):
            self._tally.events["duplicate_fills"] += 1
            return
        self._publish(Event(EventKind.FILL_RECEIVED, fill, fill.time))
        held = self._held.get(order_id)
        if held is not None and not self._lacks(order_id, held):
            del self._held[order_id]
            self.told(held)

    def update(self, order_id: int, update: OrderUpdate) -> None:
        """Tell of an order's state, as soon as all its trades were told."""
        held = self._held.get(order_id)
        if held is not None and (held.status.is_final or held.filled > update.filled):
            update = held
        if self._lacks(order_id, update):
            self._held[order_id] = update
            self._tally.events["fills_missing"] += 1
            self._fetch(update.symbol, order_id)
            return
        self._held.pop(order_id, None)
        self.told(update)

    def lacks(self, order_id: int) -> bool:
        """True while an update of this order waits for trades."""
        held = self._held.get(order_id)
        return held is not None and self._lacks(order_id, held)

    def release(self, order_id: int) -> None:
        """Tell the update that waits for trades, with or without them; a snapshot sets it right."""
        held = self._held.pop(order_id, None)
        if held is not None:
            self.told(held)

    def told(self, update: OrderUpdate) -> None:
        """Publish an update, unless the order's end was told already and this is older."""
        tracked = self._register.get(update.client_id)
        if tracked is not None:
            if tracked.is_final and not update.status.is_final:
                self._tally.events["old_updates"] += 1
                return
            if update.status.is_final and update.code != Code.UNKNOWN_ORDER:
                tracked.is_final = True
        self._publish(Event(EventKind.ORDER_UPDATED, update, update.time))

    def step_of(self, symbol: str) -> float:
        """The unit of quantity of a symbol."""
        return self._instruments[symbol].step

    def _lacks(self, order_id: int, update: OrderUpdate) -> bool:
        if update.filled <= 0.0:
            return False
        half_step = self.step_of(update.symbol) / 2
        return self._register.filled(order_id) < update.filled - half_step
