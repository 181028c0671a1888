"""`CandleBuilder`: closed candles from single prices; nothing that has not been heard whole."""

from __future__ import annotations

from math import fsum

from candlewick.data.aggregation import span_start
from candlewick.errors import ConfigError
from candlewick.models import Candle, PriceUpdate, interval_ms

__all__ = ["CandleBuilder"]


class CandleBuilder:
    """Makes the candles of one symbol from its trades, in base units of volume.

    A candle comes out once something was heard from its span's end on: a trade of the next span,
    or, by `heard`, anything else ``grace_ms`` after the end (trades reach a client some
    milliseconds after quotes of the same moment). The span in which listening began gives no
    candle, and neither do the two spans around a silence that is longer than a span, because their
    ends were not heard. A span that was heard without a trade has the last close as its four prices
    and no volume, as on the exchange.

    ``late`` counts trades that came after their candle had closed.
    """

    __slots__ = (
        "_close", "_end", "_grace", "_high", "_length", "_low", "_open", "_volumes", "_whole",
        "interval", "late", "symbol",
    )  # fmt: skip

    def __init__(self, symbol: str, interval: str = "1m", grace_ms: int = 250) -> None:
        self._length = interval_ms(interval)
        if not 0 <= grace_ms < self._length:
            raise ConfigError(f"grace_ms {grace_ms!r} must be from 0 to below {self._length}")
        self.symbol = symbol
        self.interval = interval
        self.late = 0
        self._grace = grace_ms
        self._end = 0  # of the span at hand, UTC ms; 0 before anything was heard
        self._whole = False  # whether its beginning was heard
        self._open = self._high = self._low = self._close = 0.0
        self._volumes: list[float] = []

    def update(self, price: PriceUpdate) -> Candle | None:
        """Take a trade; return the candle that it ends, or None."""
        if price.symbol != self.symbol:
            raise ConfigError(f"a trade of {price.symbol} among those of {self.symbol}")
        time, value = price.time, price.price
        if time < self._end - self._length:
            self.late += 1
            return None
        made = self._move(time) if time >= self._end else None
        if not self._volumes:
            self._open = self._high = self._low = value
        elif value > self._high:
            self._high = value
        elif value < self._low:
            self._low = value
        self._close = value
        self._volumes.append(price.quantity)
        return made

    def heard(self, time: int) -> Candle | None:
        """Say that the market was heard at ``time``; return the candle that has ended, or None."""
        if time - self._grace < self._end:
            return None
        return self._move(time - self._grace)

    def _move(self, time: int) -> Candle | None:
        """End the span at hand, and go to the one that holds ``time``."""
        start = span_start(time, self._length)
        follows = start == self._end
        made = self._candle() if follows and self._whole and self._close else None
        self._whole = follows
        self._end = start + self._length
        self._open = self._high = self._low = self._close  # should no trade come
        self._volumes = []
        return made

    def _candle(self) -> Candle:
        return Candle(
            self.symbol, self.interval, self._end - self._length, self._open, self._high, self._low,
            self._close, fsum(self._volumes), self._end - 1, True,
        )  # fmt: skip
