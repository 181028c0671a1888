"""Where the sandbox's market comes from: candles or recorded trades, as steps in time.

A step is a trade, the end of a base interval, or a whole candle. Inside a candle the price goes
from the open over the nearer extreme and the other one to the close, on ticks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import groupby
from pathlib import Path

import msgspec

from candlewick.data import Market, load_capture
from candlewick.errors import DataError
from candlewick.models import INTERVAL_MS, Candle, CandleTable, Instrument
from candlewick.sandbox.settings import SandboxSettings

__all__ = ["CandleStep", "CloseStep", "Step", "TradeStep", "read_capture", "steps_of"]

_WEEK_MS = 7 * 86_400_000
_FINEST_MS = 250
_SHORTEST_PAUSE_MS = 20.0
_FEWEST = 4


class TradeStep(msgspec.Struct, frozen=True, gc=False):
    """The market trades once."""

    time: int
    symbol: str
    price: float
    quantity: float
    buyer_is_maker: bool


class CloseStep(msgspec.Struct, frozen=True, gc=False):
    """A base interval ends; ``candle`` is the record, None where trades make the candles."""

    time: int
    symbol: str
    candle: Candle | None


class CandleStep(msgspec.Struct, frozen=True, gc=False):
    """Candles that close at the same time, which the accounts walk through as in a backtest.

    All of them are played before the first is shown, so that no order meets a price from before
    the decision that made it.
    """

    time: int
    candles: tuple[Candle, ...]


Step = TradeStep | CloseStep | CandleStep


def read_capture(path: str | Path) -> list[TradeStep]:
    """Read the trades of a raw capture, oldest first; whose price falls, the buyer was the maker.

    Raises:
        DataError: the file cannot be read, or holds no trade.
    """
    before: dict[str, float] = {}
    steps = []
    for trade in load_capture(path).prices():
        falls = trade.price < before.get(trade.symbol, trade.price)
        steps.append(TradeStep(trade.time, trade.symbol, trade.price, trade.quantity, falls))
        before[trade.symbol] = trade.price
    if not steps:
        raise DataError(f"{path} holds no trade")
    return sorted(steps, key=lambda step: step.time)


def shift_for(first_time: int, settings: SandboxSettings, interval_ms: int, now_ms: int) -> int:
    """By how much the market's times are moved, ms (see `SandboxSettings.start`).

    ``first_time`` is where the market's clock begins: the first candle that is not history.
    """
    start = settings.start or ("now" if settings.speed == 1.0 and not settings.stepped else "week")
    if start == "data":
        return 0
    unit = interval_ms if start == "now" else _WEEK_MS
    missing = now_ms - first_time
    return -(-missing // unit) * unit


def steps_of(market: Market, settings: SandboxSettings, shift: int) -> Iterator[Step]:
    """The steps of all symbols, in the order of their times; history is left out."""
    tables = [table[settings.history :] for table in market.tables]
    if settings.by_candles:
        return _candle_steps(tables, shift)
    count = settings.ticks or _ticks_for(INTERVAL_MS[market.interval], settings.speed or 1.0)
    sources = [
        _tick_steps(table, market.instruments[table.symbol], count, shift) for table in tables
    ]
    return merge(*sources, key=lambda step: step.time)


def _candle_steps(tables: Sequence[CandleTable], shift: int) -> Iterator[Step]:
    """Candles in the order in which they close; at the same time in the order of the tables."""
    # merge is stable: what closes at the same time comes in the order of the tables
    merged = merge(*tables, key=_close_time)
    for _, together in groupby(merged, key=_close_time):
        candles = tuple(shifted(candle, shift) for candle in together)
        yield CandleStep(candles[0].open_time, candles)


def _close_time(candle: Candle) -> int:
    return candle.close_time


def shifted(candle: Candle, shift: int) -> Candle:
    """The candle at another time."""
    if not shift:
        return candle
    return msgspec.structs.replace(
        candle, open_time=candle.open_time + shift, close_time=candle.close_time + shift
    )


def _ticks_for(interval_ms: int, speed: float) -> int:
    """As many prices a candle as come at least 250 ms of market and 20 ms of real time apart."""
    by_pace = interval_ms / speed / _SHORTEST_PAUSE_MS
    return int(max(_FEWEST, min(interval_ms / _FINEST_MS, by_pace)))


def _tick_steps(
    table: CandleTable, instrument: Instrument, count: int, shift: int
) -> Iterator[Step]:
    for candle in table:
        moved = shifted(candle, shift)
        yield from ticks_of(moved, instrument, count)
        yield CloseStep(moved.close_time, moved.symbol, moved)


def ticks_of(candle: Candle, instrument: Instrument, count: int) -> Iterator[TradeStep]:
    """``count`` trades that make up a candle: its open, extremes and close are all met."""
    length = candle.close_time + 1 - candle.open_time
    quantity = max(instrument.round_quantity(candle.volume / count), instrument.step)
    before = candle.open
    for number, price in enumerate(path_of(candle, instrument, count)):
        time = candle.open_time + length * number // count
        yield TradeStep(time, candle.symbol, price, quantity, price < before)
        before = price


def path_of(candle: Candle, instrument: Instrument, count: int) -> list[float]:
    """Prices from the open over both extremes to the close, evenly spaced on straight legs."""
    low_first = candle.close >= candle.open
    extremes = (candle.low, candle.high) if low_first else (candle.high, candle.low)
    corners = (candle.open, *extremes, candle.close)
    prices = []
    for number in range(count):
        place = 3.0 * number / (count - 1)
        leg = min(int(place), 2)
        part = place - leg
        if part in (0.0, 1.0):
            prices.append(corners[leg + int(part)])
            continue
        price = corners[leg] + (corners[leg + 1] - corners[leg]) * part
        on_tick = instrument.nearest_price(price)
        prices.append(min(max(on_tick, candle.low), candle.high))
    for corner, extreme in ((1, extremes[0]), (2, extremes[1])):
        prices[round(corner * (count - 1) / 3.0)] = extreme
    return prices


def capture_steps(trades: Sequence[TradeStep], interval: str, shift: int) -> Iterator[Step]:
    """Recorded trades, with the ends of the intervals between them."""
    length = INTERVAL_MS[interval]
    ends: dict[str, int] = {}
    for trade in trades:
        time = trade.time + shift
        for symbol, end in sorted(ends.items(), key=lambda item: item[1]):
            if end <= time:
                yield CloseStep(end - 1, symbol, None)
                del ends[symbol]
        ends.setdefault(trade.symbol, time // length * length + length)
        yield msgspec.structs.replace(trade, time=time)
