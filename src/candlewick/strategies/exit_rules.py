"""Exit rules that strategies can share: trailing and break-even stops, time exits, partial targets.

A rule looks at each closed candle and asks the strategy to move the stop or to close. The stop it
moves rests at the exchange; between candles it protects as any other. Use them so::

    def on_start(self):
        self.exits = ExitRules(self, Trailing(0.02), BreakEven(0.01), TimeExit(240))

    def on_candle(self, candle):
        self.exits.on_candle(candle)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, Protocol

import msgspec

from candlewick.errors import ConfigError
from candlewick.models import Candle, Order, OrderPurpose, Position
from candlewick.strategies.base import Strategy

__all__ = [
    "BreakEven",
    "ExitRule",
    "ExitRules",
    "NativeTrailing",
    "PartialTargets",
    "TimeExit",
    "Trailing",
]


class ExitRule(Protocol):
    """What a rule must have."""

    def start(self, position: Position) -> None:
        """A position was opened."""

    def apply(self, strategy: Strategy, position: Position, candle: Candle) -> float:
        """Look at a closed candle while the position is held; return a stop, or 0.0."""


class ExitRules:
    """Applies rules to whatever the strategy holds, symbol by symbol.

    Rules keep what they know of one position; each symbol gets copies of its own.
    """

    def __init__(self, strategy: Strategy, *rules: ExitRule) -> None:
        self._strategy = strategy
        self._rules = rules
        self._at_work: dict[str, Sequence[ExitRule]] = {}
        self._opened: dict[str, int] = {}

    def on_candle(self, candle: Candle) -> None:
        """Apply the rules to the position in the candle's symbol; call it from `on_candle`."""
        strategy, symbol = self._strategy, candle.symbol
        position = strategy.position_of(symbol)
        if position.is_flat:
            self._opened.pop(symbol, None)
            return
        if self._opened.get(symbol) != position.opened_time:
            self._opened[symbol] = position.opened_time
            self._at_work[symbol] = [copy(rule) for rule in self._rules]
            for rule in self._at_work[symbol]:
                rule.start(position)
        stops = [rule.apply(strategy, position, candle) for rule in self._at_work[symbol]]
        self._tighten(position, [stop for stop in stops if stop])

    def _tighten(self, position: Position, stops: Sequence[float]) -> None:
        """Ask for the tightest of the stops, if it is tighter than the one that rests."""
        if not stops:
            return
        sign, symbol = _direction(position), position.symbol
        stop = max(stops, key=lambda price: sign * price)
        orders = self._strategy.orders_of(symbol)
        if _trails(orders):
            return  # at the exchange, which follows every price
        resting = [order for order in orders if order.purpose is OrderPurpose.STOP]
        if all(sign * (stop - order.trigger_price) > 0.0 for order in resting):
            self._strategy.move_stop(stop, symbol, reason="exit rule")

    def save_state(self) -> Mapping[str, Any]:
        """What the rules know of the positions that are held, for the strategy's `save_state`."""
        return {
            symbol: {
                "opened": opened,
                "rules": [msgspec.to_builtins(rule) for rule in self._at_work[symbol]],
            }
            for symbol, opened in self._opened.items()
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `save_state` returned; of the same rules, in the same order."""
        for symbol, known in state.items():
            if len(known["rules"]) == len(self._rules):
                self._opened[symbol] = known["opened"]
                self._at_work[symbol] = [
                    msgspec.convert(saved, type(rule), strict=False)
                    for rule, saved in zip(self._rules, known["rules"], strict=True)
                ]


def _direction(position: Position) -> float:
    return 1.0 if position.is_long else -1.0


def _trails(orders: Sequence[Order]) -> bool:
    """True when the stop is one that trails at the exchange, or will be."""
    return any(o.purpose is OrderPurpose.STOP and o.callback_rate for o in orders)


def _reached(profit: float, wanted: float) -> bool:
    """Compare fractions; 120 is 20 % above 100, although the floats say a hair less."""
    return profit >= wanted - 1e-9


def _check(name: str, value: float) -> None:
    if not 0.0 < value < 1.0:
        raise ConfigError(f"{name} {value!r} must be a fraction between 0 and 1, as 0.02")


class Trailing(msgspec.Struct):
    """A stop that follows the best close at ``distance``, a fraction of it; it never goes back."""

    distance: float
    best: float = 0.0

    def __post_init__(self) -> None:
        _check("Trailing distance", self.distance)

    def start(self, position: Position) -> None:
        """Begin at the entry price."""
        self.best = position.entry_price

    def apply(self, strategy: Strategy, position: Position, candle: Candle) -> float:
        """Follow the best close so far."""
        sign = _direction(position)
        self.best = sign * max(sign * self.best, sign * candle.close)
        return self.best * (1.0 - sign * self.distance)


class BreakEven(msgspec.Struct):
    """Once the close is ``trigger`` in profit, the stop moves to the entry price, once.

    ``offset`` puts it that fraction of the entry price into profit, to pay the fees.
    """

    trigger: float
    offset: float = 0.0
    done: bool = False

    def __post_init__(self) -> None:
        _check("BreakEven trigger", self.trigger)
        if not 0.0 <= self.offset < self.trigger:
            raise ConfigError(f"BreakEven offset {self.offset!r} must be from 0 to the trigger")

    def start(self, position: Position) -> None:
        """Wait for the profit."""
        self.done = False

    def apply(self, strategy: Strategy, position: Position, candle: Candle) -> float:
        """Move the stop when the profit is there."""
        sign, entry = _direction(position), position.entry_price
        if self.done or not _reached(sign * (candle.close / entry - 1.0), self.trigger):
            return 0.0
        self.done = True
        return entry * (1.0 + sign * self.offset)


class NativeTrailing(msgspec.Struct):
    """Hand the stop to the exchange's own trailing stop, once the close is ``after`` in profit.

    It follows every price at ``distance`` (a fraction from 0.001 to 0.1), not only closes, and
    goes on while this program does not run. Until then the position keeps the stop it has.
    """

    distance: float
    after: float = 0.0
    reached: bool = False

    def __post_init__(self) -> None:
        if not 0.001 <= self.distance <= 0.1:
            raise ConfigError(
                f"NativeTrailing distance {self.distance!r} must be from 0.001 to 0.1, which"
                " exchanges take; Trailing knows no such limit"
            )
        if not 0.0 <= self.after < 1.0:
            raise ConfigError(f"NativeTrailing after {self.after!r} must be from 0 to below 1")

    def start(self, position: Position) -> None:
        """Wait for the profit."""
        self.reached = False

    def apply(self, strategy: Strategy, position: Position, candle: Candle) -> float:
        """Ask for the trailing stop when the profit was there; again, should it be refused."""
        profit = _direction(position) * (candle.close / position.entry_price - 1.0)
        self.reached = self.reached or _reached(profit, self.after)
        if self.reached and not _trails(strategy.orders_of(candle.symbol)):
            strategy.move_stop(symbol=candle.symbol, trail=self.distance, reason="exit rule")
        return 0.0


class TimeExit(msgspec.Struct):
    """Close a position that has been held for so many closed candles."""

    candles: int
    seen: int = 0

    def __post_init__(self) -> None:
        if self.candles < 1:
            raise ConfigError(f"TimeExit candles {self.candles!r} must be at least 1")

    def start(self, position: Position) -> None:
        """Count from nothing."""
        self.seen = 0

    def apply(self, strategy: Strategy, position: Position, candle: Candle) -> float:
        """Count, and close when it is time; again at each candle until it is closed."""
        self.seen += 1
        if self.seen >= self.candles:
            strategy.close(candle.symbol, reason=f"held for {self.seen} candles")
        return 0.0


class PartialTargets(msgspec.Struct):
    """Close parts of the position at profits: pairs of (profit, share), both fractions.

    Shares are of the quantity at the opening; a step beyond what is left closes the rest.
    """

    steps: tuple[tuple[float, float], ...]
    quantity: float = 0.0
    reached: int = 0

    def __post_init__(self) -> None:
        for profit, share in self.steps:
            _check("PartialTargets profit", profit)
            if not 0.0 < share <= 1.0:
                raise ConfigError(f"PartialTargets share {share!r} must be above 0 and at most 1")
        if list(self.steps) != sorted(self.steps):
            raise ConfigError("PartialTargets steps must come with rising profits")

    def start(self, position: Position) -> None:
        """Note the quantity that the shares are of."""
        self.quantity, self.reached = abs(position.quantity), 0

    def apply(self, strategy: Strategy, position: Position, candle: Candle) -> float:
        """Close what the steps reached by this close ask for, in one order."""
        entry = position.entry_price
        profit = _direction(position) * (candle.close / entry - 1.0)
        size = 0.0
        while self.reached < len(self.steps) and _reached(profit, self.steps[self.reached][0]):
            size += self.steps[self.reached][1] * self.quantity
            self.reached += 1
        if size:
            strategy.close(candle.symbol, size=size, reason=f"target {self.reached}")
        return 0.0
