"""`Tape`: which prices of a symbol the paper account has seen, and which it has missed. Pure."""

from __future__ import annotations

import msgspec

from candlewick.data.aggregation import span_start
from candlewick.models import Candle, interval_ms

__all__ = ["Tape", "Tick"]

_KEPT = 3  # candles whose prices are remembered: one can close a little after the next has begun


class Tick(msgspec.Struct, frozen=True, gc=False):
    """One price of the market and when it was traded, UTC ms."""

    price: float
    time: int


class Span:
    """The prices seen within one candle: the range, and the last."""

    __slots__ = ("high", "last", "low", "time")

    def __init__(self, price: float, time: int) -> None:
        self.low = self.high = self.last = price
        self.time = time

    def add(self, price: float, time: int) -> None:
        self.low = min(self.low, price)
        self.high = max(self.high, price)
        self.last, self.time = price, time


class Tape:
    """Prices of one symbol, and whether they are held back.

    A closed candle whose range is wider than what was seen tells of prices that the stream did not
    bring. After an interruption new prices are held until the candles in between are known: else
    an order would meet them before those that came first. ``left`` is the market time up to which
    an earlier run has seen everything, UTC ms; 0 for a new account.
    """

    def __init__(self, interval: str, left: int = 0) -> None:
        self._length = interval_ms(interval)
        self._left = left
        self._spans: dict[int, Span] = {}
        self._is_fresh = left == 0  # the candle of the start was not seen from its beginning
        self._is_suspect = False
        self._held: list[Tick] | None = None if left == 0 else []
        self._is_filled = left != 0

    # -- holding back ----------------------------------------------------------------------------

    @property
    def is_holding(self) -> bool:
        """True while prices wait for those before them."""
        return self._held is not None

    @property
    def can_release(self) -> bool:
        """True when the next look at the open candle may end the holding."""
        return self._held is not None and self._is_filled

    def hold(self) -> None:
        """Something is missing from now on."""
        self._held = [] if self._held is None else self._held
        self._is_filled = False

    def filled(self) -> None:
        """All closed candles have been told."""
        self._is_filled = True

    def keep(self, tick: Tick) -> None:
        """Hold one price back."""
        assert self._held is not None, "it is asked whether prices are held"
        self._held.append(tick)

    def release(self, candle: Candle) -> tuple[Candle | None, list[Tick]]:
        """End the holding at a look at the open ``candle``.

        Returns what of the candle was missed, and the prices that were held, to be met after it.
        """
        held, self._held = self._held or [], None
        own = [tick for tick in held if tick.time >= candle.open_time]
        span = self._spans.get(candle.open_time)
        missed = None
        if candle.open_time > self._left:
            missed = _beyond(candle, span, own)
        self._learn(candle)
        return missed, own

    # -- prices ----------------------------------------------------------------------------------

    def saw(self, tick: Tick) -> None:
        """A price was met."""
        start = span_start(tick.time, self._length)
        span = self._spans.get(start)
        if span is None:
            self._spans[start] = Span(tick.price, tick.time)
            while len(self._spans) > _KEPT:
                del self._spans[min(self._spans)]
        else:
            span.add(tick.price, tick.time)

    def suspect(self) -> None:
        """Trades were left out of the stream: the open candle is to be looked at."""
        self._is_suspect = True

    def look(self, candle: Candle) -> Candle | None:
        """Look at the open candle; returns the part of it that was missed.

        Only when something is known to be missing: candles come a little before the trades that
        they are made of. What nobody knows to be missing is told by the closed candle.
        """
        if self._is_fresh:
            self._learn(candle)
            return None
        if not self._is_suspect:
            return None
        missed = _beyond(candle, self._spans.get(candle.open_time), [])
        self._learn(candle)
        return missed

    def _learn(self, candle: Candle) -> None:
        """All prices of the open candle so far count as seen."""
        self._is_fresh = self._is_suspect = False
        span = self._spans.get(candle.open_time)
        if span is None:
            self.saw(Tick(candle.close, candle.open_time))
            span = self._spans[span_start(candle.open_time, self._length)]
        span.low = min(span.low, candle.low)
        span.high = max(span.high, candle.high)

    def closed(self, candle: Candle) -> Candle | None:
        """Take a closed candle; returns the part of it that was missed."""
        span = self._spans.pop(candle.open_time, None)
        if self._held is not None:
            self._held = [tick for tick in self._held if tick.time > candle.close_time]
        if self._is_fresh:
            self._is_fresh = False
            return None
        return _beyond(candle, span, [])


def _beyond(candle: Candle, span: Span | None, held: list[Tick]) -> Candle | None:
    """What of a candle lies beyond the prices that are known, as a candle that can be walked."""
    if span is None:
        return candle
    low = min([span.low, *(tick.price for tick in held)])
    high = max([span.high, *(tick.price for tick in held)])
    if candle.low >= low and candle.high <= high:
        return None
    close = held[0].price if held else candle.close
    return msgspec.structs.replace(
        candle,
        open_time=max(span.time, candle.open_time),
        open=span.last,
        high=max(candle.high, span.last, close),
        low=min(candle.low, span.last, close),
        close=close,
    )
