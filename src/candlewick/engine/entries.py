"""Entries: from a signal to a sized order, or to a denial with its code."""

from __future__ import annotations

import math
from collections.abc import Mapping

from candlewick.engine.decisions import EngineState
from candlewick.engine.desk import Desk
from candlewick.engine.exits import Exits
from candlewick.engine.symbol import Plan, SymbolState
from candlewick.models import Side, Signal, SignalAction
from candlewick.models.members import BUY, CLOSE, ENTRY, LIMIT, MARKET, SELL
from candlewick.risk import Denial, DenialCode, Exposure, RiskSettings, size_entry, trail_of

__all__ = ["Entries"]

Context = dict[str, float | int | str]


class Entries:
    """Decides what becomes of a signal."""

    __slots__ = ("desk", "exits", "settings", "symbols")

    def __init__(
        self, desk: Desk, exits: Exits, symbols: Mapping[str, SymbolState], settings: RiskSettings
    ) -> None:
        self.desk = desk
        self.exits = exits
        self.symbols = symbols
        self.settings = settings

    def on_signal(self, signal: Signal, engine_state: EngineState, equity: float) -> None:
        """Turn a signal into orders; a denial stands in the decisions with its code."""
        state = self.symbols.get(signal.symbol)
        side = signal.action.side
        if state is None:
            self._deny(signal, DenialCode.UNKNOWN_SYMBOL, known=",".join(self.symbols))
        elif side is not None:
            self._enter(state, signal, side, engine_state, equity)
        elif signal.action is SignalAction.CLOSE:
            self._close(state, signal)
        elif signal.action is SignalAction.MOVE_STOP:
            self._move_stop(state, signal)
        else:
            self.cancel_entries(state)

    def deny_late(self, signal: Signal, age_ms: int) -> None:
        """Deny an entry that was asked for too long ago, as candles that were missed are late."""
        self._deny(signal, DenialCode.STALE_DATA, age_ms=age_ms)

    def blocked(self, state: SymbolState, engine_state: EngineState) -> DenialCode | None:
        """Why no entry may be sent now; asked when deciding and again when sending."""
        if engine_state is EngineState.STOPPING or engine_state is EngineState.STOPPED:
            return DenialCode.ENGINE_STOPPING
        if self.desk.guardrails.halted:
            return DenialCode.DAILY_LOSS
        if engine_state is not EngineState.RUNNING:
            return DenialCode.ENGINE_HALTED
        if state.is_unknown():
            return DenialCode.UNKNOWN_STATE
        return DenialCode.STALE_DATA if state.stale else None

    def cancel_entries(self, state: SymbolState) -> None:
        """Cancel the entries that still rest or wait."""
        state.after_close = None
        for order in state.pending(ENTRY):
            self.desk.cancel(state, order.client_id)

    def _deny(self, signal: Signal, code: DenialCode, **context: float | str) -> None:
        self.desk.out.append(Denial(code, signal, dict(context)))

    def _close(self, state: SymbolState, signal: Signal) -> None:
        state.after_close = None
        if state.position.is_flat:
            self._deny(signal, DenialCode.NO_POSITION)
        elif not 0.0 <= signal.size < math.inf:
            self._deny(signal, DenialCode.SIZE_INVALID, size=signal.size)
        elif signal.size and state.pending(CLOSE):
            self._deny(signal, DenialCode.CLOSE_PENDING)
        elif signal.size and not state.instrument.round_quantity(signal.size):
            self._deny(signal, DenialCode.SIZE_TOO_SMALL, size=signal.size)
        else:
            self.exits.close(state, signal.reason or "close", signal.size)

    def _move_stop(self, state: SymbolState, signal: Signal) -> None:
        held = state.position
        if held.is_flat:
            self._deny(signal, DenialCode.NO_POSITION)
            return
        if signal.trail:
            trail = trail_of(signal.trail)
            if trail:
                self.exits.move_stop(state, 0.0, trail)
            else:
                self._deny(signal, DenialCode.TRAIL_OUT_OF_RANGE, trail=signal.trail)
            return
        side = SELL if held.is_long else BUY
        usable = 0.0 < signal.stop < math.inf
        stop = state.instrument.round_stop(signal.stop, side) if usable else 0.0
        if side.sign * (stop - state.price) <= 0.0 or not stop > 0.0:
            self._deny(signal, DenialCode.STOP_WRONG_SIDE, price=state.price, stop=signal.stop)
            return
        self.exits.move_stop(state, stop)

    def _enter(
        self,
        state: SymbolState,
        signal: Signal,
        side: Side,
        engine_state: EngineState,
        equity: float,
    ) -> None:
        code = self.blocked(state, engine_state)
        if code is not None:
            self._deny(
                signal, code, state=str(engine_state), unknown=state.is_unknown() or state.stale
            )
            return
        if state.pending(ENTRY) or state.after_close is not None:
            self._deny(signal, DenialCode.ENTRY_PENDING)
            return
        held = state.position.quantity
        asked_at = signal.held
        if asked_at is not None and side.sign * held > max(0.0, side.sign * asked_at):
            self._deny(signal, DenialCode.POSITION_GREW, held=held, asked_at=asked_at)
            return
        if side.sign * held < 0.0:
            state.after_close = signal
            self.exits.close(state, signal.reason or "reversed")
            return
        if held == 0.0 and state.pending(CLOSE):
            state.after_close = signal  # what still closes must not hit the new position
            return
        if not self.desk.guardrails.may_send(self.desk.now):
            self._deny(signal, DenialCode.MAX_ORDERS, limit=self.settings.max_orders_per_minute)
            return
        self._send(state, signal, side, equity)

    def _send(self, state: SymbolState, signal: Signal, side: Side, equity: float) -> None:
        instrument = state.instrument
        others = [s for s in self.symbols.values() if s is not state and s.position.quantity]
        exposure = Exposure(
            equity,
            state.position.quantity,
            sum(abs(s.position.quantity) * s.price for s in others),
            len(others),
            len(self.symbols),
        )
        usable = 0.0 < signal.price < math.inf
        limit = instrument.round_price(signal.price, side) if usable else 0.0
        sized = size_entry(signal, side, limit or state.price, instrument, exposure, self.settings)
        if sized.code is not None:
            self._deny(signal, sized.code, **sized.context)
            return
        order = self.desk.submit(
            state,
            side,
            LIMIT if limit else MARKET,
            sized.quantity,
            ENTRY,
            price=limit,
            reason=signal.reason,
        )
        stop = 0.0 if signal.trail else sized.stop
        trail = trail_of(signal.trail) if signal.trail else 0.0
        target_trail = trail_of(signal.target_trail) if signal.target_trail else 0.0
        state.plans[order.client_id] = Plan(
            stop, sized.target, trail, order.client_id, target_trail
        )
