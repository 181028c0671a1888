"""`TradingEngine`: takes one event, returns the decisions that follow from it.

No clock, no I/O, no randomness: time arrives in the events, and the same events give the same
decisions in any process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isclose

import msgspec

from candlewick.engine.decisions import (
    Decision,
    EngineState,
    OrderChanged,
    PositionChanged,
)
from candlewick.engine.lifecycle import apply_update
from candlewick.engine.memory import Memory, recall
from candlewick.engine.origin import cause_of
from candlewick.engine.reconciliation import reported_position
from candlewick.engine.stopping import StoppingEngine
from candlewick.engine.symbol import SymbolState
from candlewick.models import (
    AccountSnapshot,
    Candle,
    Event,
    EventKind,
    Fill,
    Funding,
    History,
    Order,
    OrderUpdate,
    Position,
    Signal,
    StreamKind,
    StreamState,
    StreamStatus,
)
from candlewick.models.members import CLOSE, ENTRY

__all__ = ["TradingEngine"]

_NOTHING: tuple[Decision, ...] = ()
_NEVER = float("-inf")
_DUST = 1e-12  # sums of the same amounts, in another order, differ by less: they are the same
_UNKNOWN_ON_CANCEL = -2011
_RUNNING = EngineState.RUNNING


class TradingEngine(StoppingEngine):
    """Runs one strategy over one or more symbols of one account; see `EngineView` for arguments.

    Each ``on_...`` method takes one event and returns the decisions, in the order in which they
    are to be acted on. `process` does the same for an `Event`.
    """

    # -- events ---------------------------------------------------------------------------------

    def process(self, event: Event) -> Sequence[Decision]:
        """Take any event; kinds that decide nothing return nothing."""
        match event.kind:
            case EventKind.CANDLE_CLOSED:
                return self.on_candle(event.payload)
            case EventKind.SIGNAL_GENERATED:
                return self.on_signal(event.payload)
            case EventKind.ORDER_UPDATED:
                return self.on_order_update(event.payload)
            case EventKind.FILL_RECEIVED:
                return self.on_fill(event.payload)
            case EventKind.FUNDING_PAID:
                return self.on_funding(event.payload)
            case EventKind.ACCOUNT_UPDATED:
                return self.on_snapshot(event.payload)
            case EventKind.STREAM_CHANGED:
                return self.on_stream(event.payload)
            case EventKind.TIMER_FIRED:
                return self.on_timer(event.time)
            case _:
                return _NOTHING

    def restore(self, memory: Memory) -> None:
        """Take over what earlier runs have left, before the start; a snapshot must follow."""
        for symbol, state in self.symbols.items():
            known = memory.symbols.get(symbol)
            if known is not None:
                recall(state, known)
                if not state.position.is_flat:
                    self._held.append(state)
        if memory.day_end:
            self._guardrails.day_end = memory.day_end
            self._guardrails.resume_day(memory.day_start_equity)
        self._strategy_state = memory.strategy
        self._state_saved = memory.candle_time

    def start(self, now: int) -> Sequence[Decision]:
        """Start the strategy; from now on candles are decided on."""
        self._desk.now = now
        self._change_state(EngineState.RUNNING, "started")
        self._guarded("on_start", self.strategy.on_start)
        return self._take()

    def _load_state(self) -> None:
        """Give the strategy back what it had saved, at the place in the history where it was."""
        saved, self._strategy_state = self._strategy_state, {}
        self._guarded("load_state", self.strategy.load_state, saved)

    def on_candle(self, candle: Candle) -> Sequence[Decision]:
        """Mark the account to the close, and let the strategy see the candle."""
        state = self.symbols[candle.symbol]
        now = candle.close_time
        if self._strategy_state:
            self._load_state()
        if now > self._desk.now:
            self._desk.now = now
        if state.kept is not None:
            state.kept[candle.interval].append(candle)
        if candle.interval == self.interval:
            price = state.price = candle.close
            if now > self._newest_close:
                self._newest_close = now
            if self._held:
                held = state.position
                state.unrealized = held.quantity * (price - held.entry_price)
                equity = self.balance
                for other in self._held:
                    equity += other.unrealized
                self.equity = equity
            guardrails = self._guardrails
            if not self._is_funded:
                pass  # neither a day nor a loss can be counted from an equity that is not known
            elif now >= guardrails.day_end:
                self._new_day(now)
            elif self.equity < guardrails.halt_below:
                self._halt_for_the_day()
            self._alert = guardrails.day_end if self.state is _RUNNING else 0
        if self.state is not _RUNNING:
            return self._take()
        if state is not self._shown:
            self._show(state)
        strategy = self.strategy
        try:
            strategy.on_candle(candle)
        except KeyboardInterrupt:  # Ctrl+C, not the strategy
            raise
        except BaseException as error:  # noqa: BLE001 - `sys.exit` too: the positions come first
            self._fail("on_candle", error)
        if strategy._signals and now < self._desk.now:  # a candle that was late: so are its signals
            strategy._signals = [msgspec.structs.replace(s, time=now) for s in strategy._signals]
        if strategy._signals or self._desk.out:
            return self._take()
        return _NOTHING

    def take_quiet(
        self,
        candles: Iterator[Candle],
        history: History,
        curve: list[float],
        band: tuple[float, float, int],
    ) -> tuple[Candle | None, Sequence[Decision]]:
        """Take candles while nothing is due but to ask the strategy; stop where something is.

        For a run over one symbol and interval, whose ``history`` reads the candles' table and is
        moved along, as the equity after each is added to ``curve``. ``band`` is within which
        prices, and before which time (UTC ms), nothing can happen on the exchange.

        Returns the first candle that may be more than quiet, untouched: the exchange has to play
        it, and `on_candle` takes it. Or None, and the decisions that the last taken candle led to,
        without its equity; or None and nothing, when there are no more candles. The decisions are
        those that `on_candle` would have made, candle by candle: all that stays the same between
        two decisions is looked up once here.
        """
        state = self._state_of(history.symbol)
        position, balance, strategy, desk = state.position, self.balance, self.strategy, self._desk
        quantity, entry_price = position.quantity, position.entry_price
        lower, upper, until = band
        until = min(until, self._alert)
        halt_below = self._guardrails.halt_below if quantity else _NEVER
        ask, signals, add = strategy.on_candle, strategy._signals, curve.append
        end = history.end
        try:
            for candle in candles:
                price, now = candle.close, candle.close_time
                equity = balance + quantity * (price - entry_price)
                if (
                    candle.low <= lower
                    or candle.high >= upper
                    or now >= until
                    or equity < halt_below
                ):
                    return candle, _NOTHING
                end += 1
                history.end = end
                desk.now = now
                state.price = price
                self.equity = equity
                ask(candle)
                if signals:
                    return None, self._take()
                add(equity)
        except KeyboardInterrupt:  # Ctrl+C, not the strategy
            raise
        except BaseException as error:  # noqa: BLE001 - `sys.exit` too: the positions come first
            self._fail("on_candle", error)
            return None, self._take()
        finally:
            state.unrealized = quantity * (state.price - entry_price)
        return None, _NOTHING

    def _show(self, state: SymbolState) -> None:
        """Make a symbol the one that the strategy's callbacks are about."""
        self._shown = state
        self.strategy._symbol = state.instrument.symbol
        self.strategy.position = state.position

    def on_signal(self, signal: Signal) -> Sequence[Decision]:
        """Size a signal into orders, or deny it: an entry that was asked for at a candle comes too
        late once the next one has closed.
        """
        age_ms = self._newest_close - signal.time
        if age_ms >= self._interval_ms and signal.action.side is not None:
            self._entries.deny_late(signal, age_ms)
        else:
            self._entries.on_signal(signal, self.state, self.equity)
        return self._take()

    def on_order_update(self, update: OrderUpdate) -> Sequence[Decision]:
        """Move an order on in its life; old news changes nothing."""
        desk = self._desk
        if update.time > desk.now:
            desk.now = update.time
        state = self.symbols.get(update.symbol)
        order = state.orders.get(update.client_id) if state is not None else None
        if state is None or order is None:
            return _NOTHING  # somebody else's, or old news
        if update.code == _UNKNOWN_ON_CANCEL:
            state.cancelling.discard(update.client_id)
            state.ending.add(update.client_id)  # it is final; another update says how
            return _NOTHING
        changed = apply_update(order, update)
        if changed is order:
            if state.ending:
                state.ending.discard(update.client_id)  # it was asked for, and rests still
            return _NOTHING
        desk.out.append(OrderChanged(changed, update.code, update.message))
        client_id = changed.client_id
        if not changed.status.is_final:
            state.orders[client_id] = changed
            self._after_update(state, changed, update)
        elif changed.filled > state.booked.get(client_id, 0.0):
            state.orders[client_id] = changed  # its fills are still to come
            state.awaited[client_id] = update
        else:
            self._end_order(state, changed, update)
        return desk.take()

    def _end_order(self, state: SymbolState, order: Order, update: OrderUpdate) -> None:
        """An order is final and all its fills are booked: what follows from it may follow."""
        self.orders_ended += 1
        state.end(order.client_id, update.time, self.orders_ended)
        self._after_update(state, order, update)

    def _after_update(self, state: SymbolState, order: Order, update: OrderUpdate) -> None:
        purpose = order.purpose
        is_final = order.status.is_final
        if purpose is ENTRY:
            if is_final:
                state.plans.pop(order.client_id, None)
            return
        if purpose is CLOSE:
            if is_final:
                self._exits.on_close_ended(state, order, update)
        else:
            self._exits.on_update(state, order, update)
        if is_final and state.after_close is not None:
            self._enter_after_close(state)

    def _enter_after_close(self, state: SymbolState) -> None:
        """An entry that waited for the opposite position to close goes out now."""
        signal = state.after_close
        if signal is None or state.pending(CLOSE):
            return
        state.after_close = None
        self._entries.on_signal(signal, self.state, self.equity)

    def on_fill(self, fill: Fill) -> Sequence[Decision]:
        """Book a fill, once, and protect what is held after it."""
        if fill.time > self._desk.now:
            self._desk.now = fill.time
        state = self.symbols.get(fill.symbol)
        if state is None or state.ledger.has_seen(fill.trade_id):
            return _NOTHING
        self._take_fill(state, fill)
        return self._take()

    def _take_fill(self, state: SymbolState, fill: Fill, at_once: bool = True) -> None:
        """Book a fill, and do what follows; ``at_once`` False leaves the protection for later."""
        order = state.orders.get(fill.client_id)
        booked = state.book(fill.client_id, fill.quantity) if order is not None else 0.0
        self.fills_booked += 1
        before = state.ledger.position
        cause = cause_of(fill.client_id) if order is None else ""
        self._book(state, fill, order.reason if order else cause or fill.client_id, cause)
        if order is None:
            self._reconciler.ensure_plan(state)
        elif order.purpose is ENTRY:
            self._exits.take_plan(state, order.client_id, order.side)
        if state.position.quantity and fill.client_id not in state.stop_ids:
            state.unprotected_since = state.unprotected_since or self._needs_stop(state)
        if at_once or not state.position.quantity:
            self._exits.protect(state, fill.client_id)
        if cause:
            self._reconciler.judge(state, before, cause)
        if self._flatten and state.position.quantity:
            self._exits.close(state, self._flatten)
        if self.state is _RUNNING:
            if state is not self._shown:
                self._show(state)
            try:
                self.strategy.on_fill(fill)
            except KeyboardInterrupt:  # Ctrl+C, not the strategy
                raise
            except BaseException as error:  # noqa: BLE001 - `sys.exit` too: the positions come first
                self._fail("on_fill", error)
        if order is not None and order.status.is_final and booked >= order.filled:
            self._end_order(state, order, state.awaited[fill.client_id])

    def _book(self, state: SymbolState, fill: Fill, reason: str, cause: str) -> None:
        """Move the position by a fill, unless it was adopted with it."""
        ledger = state.ledger
        if fill.time <= ledger.adopted_until:
            ledger.note_late(fill)
            if fill.time == ledger.adopted_until:
                self._desk.ask_account(state, "a trade came in the moment of the last answer")
            return
        before, realized = ledger.position, ledger.realized
        trade = ledger.book_fill(fill, reason)
        self.balance += ledger.realized - realized - ledger.fee_of(fill)
        self._set_position(state, before, cause)
        if trade is not None:
            self._desk.out.append(trade)

    def _needs_stop(self, state: SymbolState) -> int:
        plan = state.plan
        return self._desk.now if plan.stop or plan.trail else 0

    def _set_position(self, state: SymbolState, before: Position, cause: str = "") -> None:
        after = state.position = state.ledger.position
        self._alert = 0
        if state is self._shown:
            self.strategy.position = after
        if before.quantity == 0.0:
            self._held.append(state)
        elif before.quantity * after.quantity < 0.0:
            self._exits.clear(state)  # turned round: nothing of the old one may rest
        if after.quantity == 0.0:
            self._held.remove(state)
            state.unrealized = 0.0
        else:
            state.unrealized = after.quantity * (
                (state.price or after.entry_price) - after.entry_price
            )
        profit = 0.0
        for held in self._held:
            profit += held.unrealized
        self.equity = self.balance + profit
        self._desk.out.append(PositionChanged(before, after, cause))

    def on_funding(self, funding: Funding) -> Sequence[Decision]:
        """Book a funding payment."""
        self._desk.now = max(self._desk.now, funding.time)
        state = self.symbols.get(funding.symbol)
        if state is not None:
            state.ledger.book_funding(funding.amount)
        self.balance += funding.amount
        self.equity += funding.amount
        self._alert = 0
        return _NOTHING

    def on_snapshot(self, snapshot: AccountSnapshot) -> Sequence[Decision]:
        """Bring the books in line with the exchange: book fills, adopt positions, claim orders.

        An answer that is older than what is known changes no position; it is asked for again.
        """
        self._desk.now = max(self._desk.now, snapshot.time)
        if self._strategy_state:
            self._load_state()
        is_current = self._is_current(snapshot)
        late = self._book_missed(snapshot)
        for symbol, state in self.symbols.items():
            reported = reported_position(snapshot, symbol)
            fits = is_current and (
                symbol not in late or reported.quantity == state.position.quantity
            )
            if fits:
                self._adopt(state, snapshot)
                state.unknown = self._account_lost
            self._reconciler.reconcile_orders(state, snapshot)
            if not fits:
                is_current = False
                self._desk.ask_account(state, "the answer was an old one", block=False)
        if is_current and not isclose(self.balance, snapshot.balance, rel_tol=_DUST):
            self.balance = snapshot.balance
        self._is_funded = self._is_funded or is_current
        self.equity = self.balance + sum(state.unrealized for state in self._held)
        self._alert = 0
        return self._take()

    def _book_missed(self, snapshot: AccountSnapshot) -> set[str]:
        """Book the fills that were not told.

        Returns the symbols of those that may be too young for the positions in the same answer.
        """
        late = set()
        for fill in sorted(snapshot.fills, key=lambda fill: (fill.time, fill.trade_id)):
            state = self.symbols.get(fill.symbol)
            if state is None or state.ledger.has_seen(fill.trade_id):
                continue
            self._desk.now = max(self._desk.now, fill.time)
            self._take_fill(state, fill, at_once=False)
            if fill.time >= snapshot.time:
                late.add(fill.symbol)
        return late

    def _adopt(self, state: SymbolState, snapshot: AccountSnapshot) -> None:
        """Take over what the exchange says is held of a symbol."""
        before = state.position
        if self._reconciler.adopt_position(state, snapshot):
            cause = self._reconciler.cause_of_adoption(state, before)
            self._set_position(state, before, cause)
            if cause:
                self._reconciler.judge(state, before, cause)
        for client_id, update in list(state.awaited.items()):
            self._end_order(state, state.orders[client_id], update)  # it has those fills by now

    def _is_current(self, snapshot: AccountSnapshot) -> bool:
        """False for an answer that is older than a fill which has been booked."""
        if snapshot.fills_known >= 0:
            return snapshot.fills_known == self.fills_booked
        newest = max(state.position.updated_time for state in self.symbols.values())
        return newest <= snapshot.time

    def on_stream(self, status: StreamStatus) -> Sequence[Decision]:
        """Block entries while a stream is not live.

        News of the account that may have been missed are made up for by the next snapshot.
        """
        self._desk.now = max(self._desk.now, status.time)
        is_live = status.state is StreamState.LIVE
        reason = f"the {status.kind} stream is {status.state}: {status.reason}"
        for name, state in self.symbols.items():
            if status.symbol and name != status.symbol:
                continue
            if status.kind is StreamKind.MARKET:
                state.stale = "" if is_live else reason
            elif not is_live:
                state.unknown = reason
        if status.kind is StreamKind.ACCOUNT:
            self._account_lost = "" if is_live else reason
        return _NOTHING

    def warm_up(self, candle: Candle) -> None:
        """Show the strategy a candle from before the start; what it asks for is not acted on."""
        state = self._state_of(candle.symbol)
        self._desk.now = max(self._desk.now, candle.close_time)
        if self._strategy_state and candle.close_time > self._state_saved:
            self._load_state()
        if state.kept is not None:
            state.kept[candle.interval].append(candle)
        if candle.interval == self.interval:
            state.price = candle.close
        self._show(state)
        if candle.close_time <= state.position.opened_time:
            self.strategy.position = Position(candle.symbol)  # it was not held yet
            self._shown = None
        self._guarded("on_candle", self.strategy.on_candle, candle)
        self.strategy._signals = []

    def on_timer(self, now: int) -> Sequence[Decision]:
        """Do what is due at ``now``: close what has been unprotected for too long."""
        self._desk.now = max(self._desk.now, now)
        for state in self.symbols.values():
            self._exits.on_timer(state)
        return self._take()
