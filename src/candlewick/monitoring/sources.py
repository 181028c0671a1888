"""What monitoring reads of a running system: values it is handed when somebody asks.

Nothing here is kept up to date on the way of an event; the live system fills these values from
its own state at the moment of a scrape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from candlewick.audit import JournalStats
from candlewick.bus import HandlerInfo

__all__ = [
    "BusFigures",
    "EngineSample",
    "PositionSample",
    "Sources",
    "StreamSample",
    "VenueSample",
]


class PositionSample(msgspec.Struct, frozen=True):
    """A symbol's position. ``quantity`` is signed, in base units; money in quote currency.

    ``unprotected_s`` is for how long a fill has waited for a confirmed stop, 0.0 when it does not.
    """

    symbol: str
    quantity: float = 0.0
    notional: float = 0.0
    unrealized: float = 0.0
    unprotected_s: float = 0.0


class EngineSample(msgspec.Struct, frozen=True, kw_only=True):
    """The engine's books. Money in quote currency; ratios are fractions.

    ``realized`` is closed profit before fees and funding. ``peak`` is the highest equity so far,
    ``drawdown`` the fall from it as it is now. ``rejections`` counts by the exchange's code,
    ``denials`` and ``withheld`` by `DenialCode`: signals that did not become an order, and orders
    that were not sent. ``alarms`` counts by `AlarmKind`, ``foreign_orders`` by symbol. ``unknown``
    maps a symbol to why its state is not known.
    """

    state: str = "running"
    market_time: int = 0
    equity: float = 0.0
    peak: float = 0.0
    balance: float = 0.0
    realized: float = 0.0
    unrealized: float = 0.0
    fees: float = 0.0
    funding: float = 0.0
    drawdown: float = 0.0
    max_drawdown: float = 0.0
    open_orders: int = 0
    candles: int = 0
    signals: int = 0
    orders: int = 0
    fills: int = 0
    trades: int = 0
    rejections: dict[str, int] = {}
    denials: dict[str, int] = {}
    withheld: dict[str, int] = {}
    alarms: dict[str, int] = {}
    foreign_orders: dict[str, int] = {}
    positions: tuple[PositionSample, ...] = ()
    unknown: dict[str, str] = {}


class StreamSample(msgspec.Struct, frozen=True):
    """A stream of market or account data.

    ``age_s`` is the time since it brought anything, None where only the venue knows. It is stale
    above ``stale_after_s`` (0.0: nothing is expected of it), or when the venue says so.
    """

    name: str
    age_s: float | None = None
    stale_after_s: float = 0.0
    reconnects: int = 0
    connected: bool = True
    said_stale: bool = False

    @property
    def is_stale(self) -> bool:
        """True when it has been silent for longer than it may be."""
        return self.said_stale or 0.0 < self.stale_after_s < (self.age_s or 0.0)


class VenueSample(msgspec.Struct, frozen=True):
    """What a venue over a network tells.

    ``limits`` has what is used of each rate limit, and the limit; ``blocked_s`` for how long the
    exchange wants nothing to be sent. The rest are counts: messages and unknown ones by kind,
    malformed ones by source, what happened by name.
    """

    limits: Mapping[str, tuple[int, int]] = {}
    blocked_s: float = 0.0
    messages: Mapping[str, int] = {}
    unknown: Mapping[str, int] = {}
    malformed: Mapping[str, int] = {}
    events: Mapping[str, int] = {}


class BusFigures(Protocol):
    """What is read of the `EventBus`."""

    @property
    def published(self) -> int:
        """Events that were published."""

    @property
    def refused(self) -> int:
        """Events not taken because a queue was full."""

    def handlers(self) -> list[HandlerInfo]:
        """The inventory of subscribers with their counts."""


class Sources(msgspec.Struct, frozen=True):
    """Where the figures come from; each is called when somebody asks, on the event loop.

    ``status`` and ``story`` give the values that `/status` and `/story` show; ``reports`` counts
    the bus's by kind, ``stalls`` how often the event loop stood still.
    """

    engine: Callable[[], EngineSample]
    status: Callable[[], msgspec.Struct]
    story: Callable[[], msgspec.Struct]
    bus: BusFigures
    reports: Mapping[str, int]
    journal: Callable[[], JournalStats]
    stalls: Callable[[], int] = lambda: 0
    streams: Callable[[], Sequence[StreamSample]] = tuple
    venue: Callable[[], VenueSample | None] = lambda: None
