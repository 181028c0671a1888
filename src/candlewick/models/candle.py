"""`Candle`: one bar of one symbol and interval."""

from __future__ import annotations

import msgspec

from candlewick.errors import ValidationError
from candlewick.models.intervals import interval_ms

__all__ = ["Candle"]

_HUGE = 1e300  # beyond any price; also turns away infinity in one comparison


class Candle(msgspec.Struct, frozen=True, gc=False):
    """One bar. Times are UTC milliseconds; prices in quote currency; volume as the source gives it.

    The plain constructor checks nothing, because the hot path builds candles from data that
    was checked when it entered. Code at the border (readers, decoders, users' own feeds) builds
    them with `Candle.checked`.
    """

    symbol: str
    interval: str
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    close_time: int
    is_closed: bool = False

    @classmethod
    def checked(
        cls,
        symbol: str,
        interval: str,
        open_time: int,
        open: float,
        high: float,
        low: float,
        close: float,
        volume: float,
        close_time: int | None = None,
        is_closed: bool = False,
    ) -> Candle:
        """Build a candle from outside data, or raise `ValidationError` naming the broken value.

        ``close_time`` defaults to the last millisecond of the interval, as the exchange has it.
        """
        length = interval_ms(interval)
        if close_time is None:
            close_time = open_time + length - 1
        reason = impossible(open_time, open, high, low, close, volume, close_time)
        if not symbol:
            reason = "symbol is empty"
        if reason:
            raise ValidationError(f"impossible candle {symbol} {interval} at {open_time}: {reason}")
        return cls(
            symbol, interval, open_time, open, high, low, close, volume, close_time, is_closed
        )


def impossible(
    open_time: int,
    open_: float,
    high: float,
    low: float,
    close: float,
    volume: float,
    close_time: int,
) -> str:
    """Say what is impossible about these values, or return an empty string."""
    for name, value in (("open", open_), ("high", high), ("low", low), ("close", close)):
        if not 0.0 < value < _HUGE:  # false for NaN and infinity too
            return f"{name} {value!r} is not a positive finite price"
    if not 0.0 <= volume < _HUGE:
        return f"volume {volume!r} is not a finite number of at least 0"
    if high < low:
        return f"high {high!r} is below low {low!r}"
    if high < open_ or high < close:
        return f"high {high!r} is below {'open' if high < open_ else 'close'} {max(open_, close)!r}"
    if low > open_ or low > close:
        return f"low {low!r} is above {'open' if low > open_ else 'close'} {min(open_, close)!r}"
    if open_time < 0 or close_time <= open_time:
        return f"close_time {close_time} is not after open_time {open_time}"
    return ""
