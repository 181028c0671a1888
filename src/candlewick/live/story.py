"""`Story`: the equity of a run and what has happened lately, in bounded memory, for a dashboard."""

from __future__ import annotations

from collections import deque

import msgspec

from candlewick.engine import Decision, StateChanged, Trade
from candlewick.models import Event, EventKind, Fill
from candlewick.risk import Denial

__all__ = ["Happening", "Story", "StorySample"]

_FILL_RECEIVED = EventKind.FILL_RECEIVED
_POINTS = 1_024
_LATELY = 40


class Happening(msgspec.Struct, frozen=True, gc=False):
    """Something that a person would like to know of; ``time`` is UTC ms of the market."""

    time: int
    kind: str
    symbol: str
    text: str


class StorySample(msgspec.Struct, frozen=True):
    """What `/story` shows: an equity curve (UTC ms, quote currency), and happenings, newest first.

    ``times`` and ``equity`` have the same length, at most 1,024.
    """

    times: list[int]
    equity: list[float]
    lately: list[Happening]


class Story:
    """Keeps an equity curve of bounded length over the whole run, and the latest happenings.

    When the curve is full, every second point is dropped and only every second later candle is
    taken, so its points stay evenly spaced; the newest point is always there.
    """

    def __init__(self) -> None:
        self._times: list[int] = []
        self._equity: list[float] = []
        self._stride = 1
        self._skipped = 0
        self._newest = (0, 0.0)
        self._lately: deque[Happening] = deque(maxlen=_LATELY)

    def candle(self, time: int, equity: float) -> None:
        """Take the equity after a candle; of candles that close together the last counts."""
        if time == self._newest[0]:
            self._newest = (time, equity)
            if self._times and self._times[-1] == time:
                self._equity[-1] = equity
            return
        self._newest = (time, equity)
        self._skipped += 1
        if self._skipped < self._stride:
            return
        self._skipped = 0
        self._times.append(time)
        self._equity.append(equity)
        if len(self._times) >= _POINTS:
            del self._times[1::2]
            del self._equity[1::2]
            self._skipped = self._stride  # the newest point was one of those that went
            self._stride *= 2

    def input(self, event: Event) -> None:
        """Note a fill."""
        if event.kind is _FILL_RECEIVED:
            fill: Fill = event.payload
            text = f"{fill.side} {fill.quantity:.10g} at {fill.price:.10g}, fee {fill.fee:.4f}"
            self._note(fill.time, "fill", fill.symbol, text)

    def decision(self, decision: Decision) -> None:
        """Note a completed trade, a denial, or a change of the engine's state."""
        if isinstance(decision, Trade):
            text = f"{decision.profit:+,.2f} ({decision.exit_reason or 'closed'})"
            self._note(decision.closed_time, "trade", decision.symbol, text)
        elif isinstance(decision, Denial):
            signal = decision.signal
            self._note(signal.time, "denied", signal.symbol, f"{signal.action}: {decision.code}")
        elif isinstance(decision, StateChanged):
            self._note(self._newest[0], "engine", "", f"{decision.state}: {decision.reason}")

    def _note(self, time: int, kind: str, symbol: str, text: str) -> None:
        self._lately.appendleft(Happening(time, kind, symbol, text))

    def sample(self) -> StorySample:
        """Return the story so far."""
        times, equity = self._times.copy(), self._equity.copy()
        if self._newest[0] and (not times or times[-1] != self._newest[0]):
            times.append(self._newest[0])
            equity.append(self._newest[1])
        return StorySample(times, equity, list(self._lately))
