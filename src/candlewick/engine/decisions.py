"""What the engine answers to an event: the closed set of its decisions.

`Submit`, `Cancel`, `Query` and `AskAccount` are commands for the venue; `Signal` goes back to the
engine through the bus; the others tell the journal, the metrics and people what has changed.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from candlewick.models import Order, Position, Signal
from candlewick.models.enums import direct
from candlewick.risk import Denial

__all__ = [
    "Alarm",
    "AlarmKind",
    "AskAccount",
    "Cancel",
    "DayStarted",
    "Decision",
    "EngineState",
    "ForeignOrder",
    "OrderChanged",
    "PositionChanged",
    "Query",
    "StateChanged",
    "StopPolicy",
    "Submit",
    "Trade",
]


@direct
class EngineState(StrEnum):
    """What the engine does: only RUNNING makes new positions."""

    STARTING = "starting"
    RUNNING = "running"
    HALTED = "halted"
    STOPPING = "stopping"
    STOPPED = "stopped"


class StopPolicy(StrEnum):
    """What a stop does with positions: close them, keep them with their stops, or bring the stops
    nearer to the price and keep them with those."""

    FLATTEN = "flatten"
    KEEP = "keep"
    TIGHTEN = "tighten"


class Submit(msgspec.Struct, frozen=True, gc=False):
    """Send this order."""

    order: Order


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """Cancel this order; decided at ``time``, UTC ms."""

    order: Order
    time: int = 0


class Query(msgspec.Struct, frozen=True, gc=False):
    """Ask the exchange what became of this order."""

    order: Order


class AskAccount(msgspec.Struct, frozen=True, gc=False):
    """Fetch the account: what is held of a symbol is not known for sure. ``time`` is UTC ms."""

    symbol: str
    time: int
    reason: str


class OrderChanged(msgspec.Struct, frozen=True, gc=False):
    """An order moved on in its life; ``order`` is its new value."""

    order: Order
    code: int = 0
    message: str = ""


class PositionChanged(msgspec.Struct, frozen=True, gc=False):
    """A position was opened, changed or closed; ``before`` and ``after`` it.

    ``cause`` says what did it where no order of ours did; empty otherwise.
    """

    before: Position
    after: Position
    cause: str = ""


class ForeignOrder(msgspec.Struct, frozen=True, gc=False):
    """An order that is not ours rests at the exchange; it is left alone."""

    order: Order


class AlarmKind(StrEnum):
    """What a person must know at once."""

    UNPROTECTED = "unprotected"
    CANNOT_CLOSE = "cannot_close"
    CLOSED_BY_EXCHANGE = "closed_by_exchange"


class Alarm(msgspec.Struct, frozen=True, gc=False):
    """Something a person must know at once; ``time`` is UTC ms."""

    kind: AlarmKind
    symbol: str
    time: int
    text: str


class StateChanged(msgspec.Struct, frozen=True, gc=False):
    """The engine changed its state, and why."""

    state: EngineState
    reason: str


class DayStarted(msgspec.Struct, frozen=True, gc=False):
    """A UTC day began; the daily loss counts from ``equity``. ``day_end`` is UTC ms."""

    day_end: int
    equity: float


class Trade(msgspec.Struct, frozen=True, gc=False):
    """A position's whole life, once it is closed.

    ``quantity`` is the largest held, signed; prices are averages; ``profit`` is net of fees and
    funding, in quote currency; times are UTC ms.
    """

    symbol: str
    quantity: float
    entry_price: float
    exit_price: float
    opened_time: int
    closed_time: int
    profit: float
    fees: float
    funding: float = 0.0
    exit_reason: str = ""
    entry_reason: str = ""


Decision = (
    Signal
    | Submit
    | Cancel
    | Query
    | AskAccount
    | Denial
    | OrderChanged
    | PositionChanged
    | ForeignOrder
    | Alarm
    | StateChanged
    | DayStarted
    | Trade
)
