"""`CandleSequence`: each closed candle once, in order, or the hole is known. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from candlewick.models import Candle, interval_ms

__all__ = ["CandleSequence"]


class CandleSequence:
    """The closed candles of one symbol and interval, from several sources that overlap.

    Candles are known by their open time. What comes too early is held until the candles before it
    are there; what comes again is dropped. ``next_open`` is the open time of the candle that comes
    next, 0 while none is known; ``newest_open`` the newest of which anything was seen.
    """

    __slots__ = ("_held", "duplicates", "interval", "length", "newest_open", "next_open", "symbol")

    def __init__(self, symbol: str, interval: str) -> None:
        self.symbol = symbol
        self.interval = interval
        self.length = interval_ms(interval)
        self.next_open = 0
        self.newest_open = 0
        self.duplicates = 0
        self._held: dict[int, Candle] = {}

    @property
    def has_hole(self) -> bool:
        """True while a closed candle waits for one before it."""
        return bool(self._held)

    def begin_after(self, open_time: int) -> None:
        """The candle with this open time was brought by other means."""
        self.next_open = max(self.next_open, open_time + self.length)
        self.newest_open = max(self.newest_open, open_time)

    def take(self, candles: Iterable[Candle]) -> list[Candle]:
        """Take closed candles from anywhere; returns those whose turn it is, in order."""
        for candle in candles:
            open_time = candle.open_time
            self.newest_open = max(self.newest_open, open_time)
            if self.next_open == 0:
                self.next_open = open_time
            if open_time < self.next_open or open_time in self._held:
                self.duplicates += 1
            else:
                self._held[open_time] = candle
        return self._release()

    def _release(self) -> list[Candle]:
        ready = []
        while candle := self._held.pop(self.next_open, None):
            ready.append(candle)
            self.next_open += self.length
        return ready

    def correct(self, listed: int) -> None:
        """The exchange lists nothing newer than this open time: what told of more was wrong."""
        last = max(listed, self.next_open - self.length) + self.length
        self.newest_open = min(self.newest_open, last)

    def skip(self, listed: int) -> tuple[int, int, list[Candle]]:
        """Go on behind a hole that cannot be filled.

        ``listed`` is the newest open time that the exchange lists; candles that are newer by more
        than one are wrong and thrown away. Returns the open times of the first and last candle that
        is missing, and those that follow; (0, 0, []) where no candle was right.
        """
        for open_time in [t for t in self._held if t > listed + self.length]:
            del self._held[open_time]
        if not self._held:
            return 0, 0, []
        first = self.next_open
        self.next_open = min(self._held)
        return first, self.next_open - self.length, self._release()
