"""`Strategy`: what a user writes. It sees closed candles and says what it wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, Protocol, SupportsFloat, TypeVar, cast

from candlewick.errors import StrategyError
from candlewick.models import Candle, Fill, History, Order, Position, Signal, SignalAction

__all__ = ["Account", "Each", "Strategy"]

T = TypeVar("T")
Floats = tuple[float, float, float, float, float, float, float]

_FLOAT = {float}
_NUMBERS = ("size", "risk", "price", "stop", "target", "trail", "target_trail")


class Account(Protocol):
    """What a strategy may read of the engine; the engine itself is one."""

    balance: float
    equity: float

    @property
    def now(self) -> int:
        """Time of the event at hand, UTC ms."""

    def position_of(self, symbol: str) -> Position:
        """The position in a symbol; flat when nothing is held."""

    def orders_of(self, symbol: str) -> Sequence[Order]:
        """Orders of a symbol that are not final."""

    def history_of(self, symbol: str, interval: str) -> History:
        """The closed candles of a symbol and interval."""


class Each(dict[str, T]):
    """One object for each symbol, made when it is first asked for."""

    def __init__(self, make: Callable[[], T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, symbol: str) -> T:
        made = self[symbol] = self._make()
        return made


class Strategy:
    """Base class of strategies.

    Public class attributes are parameters: ``fast = 10`` can be set from the command line and
    the configuration, checked against the type of its default. ``intervals`` may name higher
    intervals that the strategy wants beside the one it is started with.

    During a callback ``candle`` is the candle at hand and ``position`` the position in its
    symbol. ``buy``, ``sell`` and ``close`` mean that symbol unless another is named; they ask,
    and the engine decides after the callback returns.
    """

    intervals: tuple[str, ...] = ()

    position: Position
    symbols: tuple[str, ...]
    interval: str

    _account: Account
    _symbol: str
    _signals: list[Signal]

    # -- what a user overrides ----------------------------------------------------------------

    def check_parameters(self) -> None:
        """Raise ConfigError, or any ValueError, where the parameters make no sense together.

        Called once, with all of them set, before anything of a run starts.
        """

    def on_start(self) -> None:
        """Called once, before the first candle, with all parameters set."""

    def on_candle(self, candle: Candle) -> None:
        """Called with each closed candle, in order, once."""

    def on_fill(self, fill: Fill) -> None:
        """Called with each fill, after the position has changed."""

    def on_stop(self) -> None:
        """Called once, when the run ends; signals given here are not acted on."""

    def save_state(self) -> Mapping[str, Any]:
        """Return what a restart needs beyond the history; must be JSON-like."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `save_state` returned.

        After a restart the past candles are shown first, up to the one after which the state was
        saved; those that were missed meanwhile follow. Signals given at past candles are not acted
        on.
        """

    # -- what a user calls ----------------------------------------------------------------------

    def buy(
        self,
        symbol: str = "",
        *,
        size: float = 0.0,
        risk: float = 0.0,
        price: float = 0.0,
        stop: float = 0.0,
        target: float = 0.0,
        trail: float = 0.0,
        target_trail: float = 0.0,
        reason: str = "",
    ) -> None:
        """Ask to be long, or longer. A short position is closed first.

        Args:
            symbol: another than that of the candle at hand.
            size: quantity in base units.
            risk: instead, the fraction of equity to lose if the stop is hit.
            price: makes the entry a limit order; otherwise it is a market order.
            stop: price of the protective stop.
            target: price at which to take the profit.
            trail: distance of a trailing stop, as a fraction of the price; instead of ``stop``.
            target_trail: lets the profit run from the target on: what is given back of the best
                price since, as a fraction of it, closes the position.
            reason: words for the journal and the report.
        """
        self._ask(
            SignalAction.BUY, symbol, size, risk, price, stop, target, trail, reason, target_trail
        )

    def sell(
        self,
        symbol: str = "",
        *,
        size: float = 0.0,
        risk: float = 0.0,
        price: float = 0.0,
        stop: float = 0.0,
        target: float = 0.0,
        trail: float = 0.0,
        target_trail: float = 0.0,
        reason: str = "",
    ) -> None:
        """Ask to be short, or shorter. A long position is closed first. Arguments as for `buy`."""
        self._ask(
            SignalAction.SELL, symbol, size, risk, price, stop, target, trail, reason, target_trail
        )

    def close(self, symbol: str = "", *, size: float = 0.0, reason: str = "") -> None:
        """Ask to close the position, or ``size`` base units of it.

        Raises StrategyError for a size that is no quantity: an exit must not get lost.
        """
        if not 0.0 <= size < inf:
            raise StrategyError(f"{type(self).__name__}.close: size={size!r} is no quantity")
        self._ask(SignalAction.CLOSE, symbol, size, 0.0, 0.0, 0.0, 0.0, 0.0, reason)

    def move_stop(
        self, stop: float = 0.0, symbol: str = "", *, trail: float = 0.0, reason: str = ""
    ) -> None:
        """Ask to move the protective stop of the position to the price ``stop``.

        ``trail``, a fraction of the price, asks for the exchange's own trailing stop instead.
        Raises StrategyError for both or neither.
        """
        if bool(stop) is bool(trail):
            raise StrategyError(
                f"{type(self).__name__}.move_stop: give stop={stop!r} or trail={trail!r}"
            )
        self._ask(SignalAction.MOVE_STOP, symbol, 0.0, 0.0, 0.0, stop, 0.0, trail, reason)

    def cancel_entries(self, symbol: str = "", *, reason: str = "") -> None:
        """Ask to cancel entry orders that still rest."""
        self._ask(SignalAction.CANCEL, symbol, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, reason)

    def each(self, make: Callable[[], T]) -> Each[T]:
        """Return a mapping that makes one object (an indicator, say) for each symbol."""
        return Each(make)

    @property
    def now(self) -> int:
        """Time of the event at hand, UTC ms; never the wall clock."""
        return self._account.now

    @property
    def balance(self) -> float:
        """Wallet balance without open profit, quote currency."""
        return self._account.balance

    @property
    def equity(self) -> float:
        """Wallet balance with open profit at the last closes, quote currency."""
        return self._account.equity

    @property
    def orders(self) -> Sequence[Order]:
        """Orders of the symbol at hand that are not final."""
        return self._account.orders_of(self._symbol)

    @property
    def history(self) -> History:
        """Closed candles of the symbol at hand, in the interval the run was started with."""
        return self._account.history_of(self._symbol, self.interval)

    def position_of(self, symbol: str) -> Position:
        """The position in any symbol of the run."""
        return self._account.position_of(symbol)

    def orders_of(self, symbol: str) -> Sequence[Order]:
        """Orders of any symbol of the run that are not final."""
        return self._account.orders_of(symbol)

    def history_of(self, symbol: str, interval: str = "") -> History:
        """Closed candles of any symbol and interval of the run."""
        return self._account.history_of(symbol, interval or self.interval)

    # -- between the engine and the strategy ------------------------------------------------------

    def attach(self, account: Account, symbols: Sequence[str], interval: str) -> None:
        """Connect the strategy to the engine that runs it."""
        self._account = account
        self._signals = []
        self.symbols = tuple(symbols)
        self.interval = interval
        self._symbol = self.symbols[0] if self.symbols else ""
        self.position = Position(self._symbol)

    def _ask(
        self,
        action: SignalAction,
        symbol: str,
        size: float,
        risk: float,
        price: float,
        stop: float,
        target: float,
        trail: float,
        reason: str,
        target_trail: float = 0.0,
    ) -> None:
        if not isinstance(symbol, str):
            raise StrategyError(
                f"{type(self).__name__}.{action}: {symbol!r} is no symbol;"
                " numbers are named, as size=0.5"
            )
        if size and risk:
            raise StrategyError(
                f"{type(self).__name__}.{action}: give size={size!r} or risk={risk!r}, not both"
            )
        numbers = (size, risk, price, stop, target, trail, target_trail)
        if {*map(type, numbers)} != _FLOAT:
            numbers = self._floats(action, numbers)
        size, risk, price, stop, target, trail, target_trail = numbers
        held: float | None = None
        if not symbol or symbol == self._symbol:
            held = self.position.quantity
        elif symbol in self.symbols:
            held = self._account.position_of(symbol).quantity
        self._signals.append(
            Signal(
                symbol or self._symbol, action, self._account.now,
                size, risk, price, stop, target, trail, str(reason), held, target_trail,
            )
        )  # fmt: skip

    def _floats(self, action: SignalAction, numbers: Sequence[object]) -> Floats:
        """Whole numbers, and those of numpy or decimal, as floats."""
        made: list[float] = []
        for name, value in zip(_NUMBERS, numbers, strict=True):
            if not isinstance(value, SupportsFloat) or isinstance(value, bool):
                raise StrategyError(
                    f"{type(self).__name__}.{action}: {name}={value!r} is no number;"
                    " leave out what is not wanted"
                )
            made.append(float(value))
        return cast("Floats", tuple(made))
