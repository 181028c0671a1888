"""`EngineView`: the state of an engine, and what a strategy and the shell may read of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from candlewick.engine.decisions import EngineState
from candlewick.engine.desk import Desk
from candlewick.engine.entries import Entries
from candlewick.engine.exits import Exits
from candlewick.engine.reconciliation import Reconciler
from candlewick.engine.symbol import SymbolState
from candlewick.errors import ValidationError
from candlewick.models import History, Instrument, Order, Position, interval_ms
from candlewick.models.members import CLOSE, ENTRY
from candlewick.risk import DenialCode, Guardrails, RiskSettings
from candlewick.strategies import Strategy

__all__ = ["EngineView"]


class EngineView:
    """Puts an engine together, and answers questions; `TradingEngine` adds what events do.

    Args:
        strategy: an instance with its parameters set.
        instruments: what is traded, by symbol.
        balance: wallet balance at the start, quote currency.
        interval: the interval the strategy is started with.
        risk: the limits.
        run_id: 1 to 16 of a-z and 0-9, never used before on this account.
        history: how many closed candles a strategy can look back on.
        histories: histories that somebody else fills, by (symbol, interval); the engine
            fills its own where none is given.
        awaits_snapshot: the account is not known before the first snapshot; no entry until then.
    """

    def __init__(
        self,
        strategy: Strategy,
        instruments: Mapping[str, Instrument],
        *,
        balance: float,
        interval: str = "1m",
        risk: RiskSettings | None = None,
        run_id: str = "run",
        history: int = 1_000,
        histories: Mapping[tuple[str, str], History] | None = None,
        awaits_snapshot: bool = False,
    ) -> None:
        if not instruments:
            raise ValidationError("an engine needs at least one instrument")
        self.risk = risk or RiskSettings()
        self.strategy = strategy
        self.run_id = run_id
        self.interval = interval
        self._interval_ms = interval_ms(interval)
        self._newest_close = 0  # of all base candles, UTC ms
        self.balance = balance
        self.equity = balance
        self.state = EngineState.STARTING
        self.failure: BaseException | None = None
        self.fills_booked = 0
        self.orders_ended = 0
        self.symbols = {symbol: SymbolState(item) for symbol, item in instruments.items()}
        self._guardrails = Guardrails(self.risk)
        self._desk = Desk(run_id, self._guardrails, can_ask=awaits_snapshot)
        self._exits = Exits(self._desk, self.risk)
        self._entries = Entries(self._desk, self._exits, self.symbols, self.risk)
        self._reconciler = Reconciler(self._desk, self._exits, self.risk)
        self._held: list[SymbolState] = []
        self._shown: SymbolState | None = None
        self._alert = 0  # the time of a candle from which more is due than to ask the strategy
        self._account_lost = ""  # why news of the account may be missing
        self._flatten = ""  # why nothing may be held any more: what still fills is closed
        self._strategy_state: Mapping[str, Any] = {}
        self._state_saved = 0  # close of the last candle that the saved strategy had seen
        self._is_funded = not awaits_snapshot  # False until the account's equity is known
        if awaits_snapshot:
            for state in self.symbols.values():
                state.unknown = "the account has not been asked for yet"
        self._attach_histories(history, histories)
        strategy.attach(self, tuple(instruments), interval)

    def _attach_histories(
        self, capacity: int, given: Mapping[tuple[str, str], History] | None
    ) -> None:
        intervals = dict.fromkeys((self.interval, *self.strategy.intervals))
        for symbol, state in self.symbols.items():
            for interval in intervals:
                state.histories[interval] = (
                    History(symbol, interval, capacity)
                    if given is None
                    else given[symbol, interval]
                )
            state.kept = state.histories if given is None else None

    # -- what a strategy and the shell may read --------------------------------------------------

    @property
    def now(self) -> int:
        """Time of the last event, UTC ms."""
        return self._desk.now

    def position_of(self, symbol: str) -> Position:
        """The position in a symbol."""
        return self._state_of(symbol).position

    def orders_of(self, symbol: str) -> Sequence[Order]:
        """Orders of a symbol that are not final, oldest first."""
        return tuple(self._state_of(symbol).orders.values())

    def history_of(self, symbol: str, interval: str) -> History:
        """The closed candles of a symbol and interval."""
        histories = self._state_of(symbol).histories
        if interval not in histories:
            raise ValidationError(
                f"no history of {symbol} {interval}: the run has {', '.join(histories)};"
                " name it in the strategy's `intervals`"
            )
        return histories[interval]

    def _state_of(self, symbol: str) -> SymbolState:
        state = self.symbols.get(symbol)
        if state is None:
            known = ", ".join(self.symbols)
            raise ValidationError(f"the run has no symbol {symbol!r} (it has: {known})")
        return state

    @property
    def is_settled(self) -> bool:
        """True when no position is held and no order is open."""
        return all(s.position.is_flat and not s.orders for s in self.symbols.values())

    @property
    def is_closing(self) -> bool:
        """True while an order is on its way that closes a position or must be confirmed yet."""
        return any(
            order.purpose is CLOSE
            or not order.status.is_working
            or order.client_id in state.cancelling
            or order.client_id in state.ending
            for state in self.symbols.values()
            for order in state.orders.values()
        )

    @property
    def next_deadline(self) -> int:
        """When `on_timer` must be called at the latest, UTC ms; 0 for never."""
        deadlines = [self._exits.deadline(s) for s in self.symbols.values()]
        return min((d for d in deadlines if d), default=0)

    def refuses(self, order: Order) -> DenialCode | None:
        """Say why an entry may no longer be sent, asked at the moment of sending."""
        if order.purpose is not ENTRY:
            return None
        return self._entries.blocked(self._state_of(order.symbol), self.state)
