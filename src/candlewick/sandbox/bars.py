"""`Bars`: the klines of one symbol, of its base interval and of all that can be made from it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from candlewick.models import INTERVAL_MS, Candle, Instrument
from candlewick.sandbox.wire import number, price_text

__all__ = ["Bar", "Bars"]

_WEEK_MS = 7 * 86_400_000
_MONDAY_MS = 4 * 86_400_000  # 1970-01-05 was a Monday


def span_start(time: int, length: int) -> int:
    """Open time of the interval of ``length`` ms that holds ``time``; weeks begin on Monday."""
    offset = _MONDAY_MS if length == _WEEK_MS else 0
    return (time - offset) // length * length + offset


class Bar:
    """One kline in the making, or closed."""

    __slots__ = (
        "buy", "buy_quote", "close", "close_time", "first_id", "high", "last_id", "low", "open",
        "open_time", "quote", "trades", "volume",
    )  # fmt: skip

    def __init__(self, open_time: int, length: int, price: float, trade_id: int) -> None:
        self.open_time = open_time
        self.close_time = open_time + length - 1
        self.open = self.high = self.low = self.close = price
        self.volume = self.quote = self.buy = self.buy_quote = 0.0
        self.trades = 0
        self.first_id = self.last_id = trade_id

    def add(self, price: float, quantity: float, trade_id: int, *, buyer_is_maker: bool) -> None:
        """Take a trade in."""
        if price > self.high:
            self.high = price
        if price < self.low:
            self.low = price
        self.close = price
        self.volume = round(self.volume + quantity, 8)
        self.quote = round(self.quote + quantity * price, 8)
        if not buyer_is_maker:
            self.buy = round(self.buy + quantity, 8)
            self.buy_quote = round(self.buy_quote + quantity * price, 8)
        self.trades += 1
        self.last_id = trade_id

    def settle(self, candle: Candle) -> None:
        """Take over the prices and the volume of the recorded candle."""
        self.open, self.high, self.low = candle.open, candle.high, candle.low
        self.close, self.volume = candle.close, candle.volume

    def row(self, instrument: Instrument) -> list[Any]:
        """The twelve columns of a REST answer."""
        return [
            self.open_time, price_text(instrument, self.open), price_text(instrument, self.high),
            price_text(instrument, self.low), price_text(instrument, self.close),
            number(self.volume), self.close_time, number(self.quote), self.trades,
            number(self.buy), number(self.buy_quote), "0",
        ]  # fmt: skip

    def message(self, instrument: Instrument, interval: str, closed: bool) -> dict[str, Any]:
        """The ``k`` of a kline event, without the symbol."""
        return {
            "t": self.open_time, "T": self.close_time, "i": interval, "f": self.first_id,
            "L": self.last_id, "o": price_text(instrument, self.open),
            "c": price_text(instrument, self.close), "h": price_text(instrument, self.high),
            "l": price_text(instrument, self.low), "v": number(self.volume), "n": self.trades,
            "x": closed, "q": number(self.quote), "V": number(self.buy),
            "Q": number(self.buy_quote), "B": "0",
        }  # fmt: skip


def joined(bars: Iterable[Bar], open_time: int, length: int) -> Bar | None:
    """One bar of all that several say; None when there are none."""
    whole: Bar | None = None
    for bar in bars:
        if whole is None:
            whole = Bar(open_time, length, bar.open, bar.first_id)
        whole.high = max(whole.high, bar.high)
        whole.low = min(whole.low, bar.low)
        whole.close = bar.close
        whole.volume = round(whole.volume + bar.volume, 8)
        whole.quote = round(whole.quote + bar.quote, 8)
        whole.buy = round(whole.buy + bar.buy, 8)
        whole.buy_quote = round(whole.buy_quote + bar.buy_quote, 8)
        whole.trades += bar.trades
        whole.last_id = bar.last_id
    return whole


class Bars:
    """Closed bars of the base interval, oldest first, and the one that is open."""

    def __init__(self, interval: str) -> None:
        self.interval = interval
        self.length = INTERVAL_MS[interval]
        self.closed: list[Bar] = []
        self.open: Bar | None = None

    def offers(self, interval: str) -> bool:
        """True for an interval that the base interval fits into."""
        length = INTERVAL_MS.get(interval, 0)
        return length >= self.length and length % self.length == 0

    def close(self) -> Bar | None:
        """End the open bar and return it."""
        bar, self.open = self.open, None
        if bar is not None:
            self.closed.append(bar)
        return bar

    def current(self, interval: str) -> Bar | None:
        """The newest bar of an interval, with all that is known of it."""
        newest = self.open or (self.closed[-1] if self.closed else None)
        if newest is None or interval == self.interval:
            return newest
        return self._join(span_start(newest.open_time, INTERVAL_MS[interval]), interval)

    def rows(self, interval: str, start: int, end: int, limit: int) -> list[Bar]:
        """Bars whose open time lies from ``start`` to ``end``; 0 leaves a bound open.

        With a start the first ``limit``, without one the last: as the exchange has it.
        """
        if start:
            return list(islice(self._spans(interval, start, end), limit))
        newest = self.open or (self.closed[-1] if self.closed else None)
        if newest is None:
            return []
        length = INTERVAL_MS[interval]
        last = span_start(min(end or newest.open_time, newest.open_time), length)
        return list(self._spans(interval, max(0, last - (limit - 1) * length), end))

    def _spans(self, interval: str, start: int, end: int) -> Iterator[Bar]:
        length = INTERVAL_MS[interval]
        index = self._index(start)
        while True:
            first = self._at(index)
            if first is None or (end and first.open_time > end):
                return
            begin = span_start(first.open_time, length)
            bar = first if length == self.length else self._join(begin, interval)
            if bar is not None and bar.open_time >= start:
                yield bar
            if first is self.open:
                return
            index = index + 1 if length == self.length else self._index(begin + length)
            following = self._at(index)
            if following is not None and following.open_time < begin + length:
                return  # the open bar: it has been joined already

    def _at(self, index: int) -> Bar | None:
        if index < len(self.closed):
            return self.closed[index]
        return self.open if index == len(self.closed) else None

    def _index(self, time: int) -> int:
        return bisect_left(self.closed, time, key=lambda bar: bar.open_time)

    def _join(self, begin: int, interval: str) -> Bar | None:
        length = INTERVAL_MS[interval]
        parts = self.closed[self._index(begin) : self._index(begin + length)]
        if self.open is not None and begin <= self.open.open_time < begin + length:
            parts = [*parts, self.open]
        return joined(parts, begin, length)
