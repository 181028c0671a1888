"""Candles over REST: the last ones, and those that a stream did not bring."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from candlewick.errors import ValidationError
from candlewick.models import Candle, interval_ms
from candlewick.venues.binance import endpoints
from candlewick.venues.binance.answers import KlineRow
from candlewick.venues.binance.clock import ServerClock
from candlewick.venues.binance.limits import Limits
from candlewick.venues.binance.rest import RestClient
from candlewick.venues.binance.settings import BinanceSettings
from candlewick.venues.binance.tally import Tally

__all__ = ["CandleSource", "ask_time", "candle_source"]

_MOST = 1_000  # rows of one answer, at the weight of 5
_GAP = 99  # rows of one answer, at the weight of 1


class CandleSource:
    """Asks for candles.

    The last row of an answer is taken to be open still: whether a candle is closed is told by the
    one after it, not by a clock, which may be another than the market's.
    """

    def __init__(self, rest: RestClient, tally: Tally) -> None:
        self._rest = rest
        self._tally = tally

    async def last(self, symbol: str, interval: str, count: int) -> list[Candle]:
        """The last ``count`` closed candles, oldest first; fewer where there are no more."""
        found: list[Candle] = []
        end = 0
        while len(found) < count:
            limit = min(_MOST, count - len(found) + (0 if end else 1))
            params: dict[str, str | int] = {"symbol": symbol, "interval": interval, "limit": limit}
            if end:
                params["endTime"] = end
            rows = await self._rows(params)
            kept = rows if end else rows[:-1]
            found = self._candles(symbol, interval, kept) + found
            if len(rows) < limit or (end and rows[0][0] > end):
                break  # there are no more, or the answer is not what was asked for
            end = rows[0][0] - 1
        return found[-count:] if count else []

    async def since(
        self, symbol: str, interval: str, start: int, known_open: int
    ) -> tuple[list[Candle], int, bool]:
        """Closed candles from the open time ``start`` on.

        ``known_open`` is the newest open time of which something was heard: the candle before it
        is closed. Returns the candles, the newest open time that the exchange lists (0: none),
        and whether there may be more.
        """
        params: dict[str, str | int] = {
            "symbol": symbol, "interval": interval, "startTime": start, "limit": _GAP,
        }  # fmt: skip
        rows = await self._rows(params)
        listed = rows[-1][0] if rows else 0
        follows = known_open == listed + interval_ms(interval)
        closed = [row for row in rows if row[0] < listed or follows]
        return self._candles(symbol, interval, closed), listed, len(rows) == _GAP

    async def first_open(self, symbol: str, interval: str) -> int:
        """Open time of the first candle that the exchange has, UTC ms; 0 when there is none."""
        rows = await self._rows(
            {"symbol": symbol, "interval": interval, "startTime": 1, "limit": 1}
        )
        return rows[0][0] if rows else 0

    async def between(self, symbol: str, interval: str, start: int, end: int) -> list[Candle]:
        """Closed candles with open times from ``start`` to before ``end``, oldest first."""
        found: list[KlineRow] = []
        while start < end:
            rows = await self._rows(
                {"symbol": symbol, "interval": interval, "startTime": start, "limit": _MOST}
            )
            closed = rows[:-1]  # whether the last one is, the next answer tells
            found += [row for row in closed if start <= row[0] < end]
            if len(rows) < _MOST or rows[-1][0] <= start:
                break  # there are no more, or the answer is not what was asked for
            start = rows[-1][0]
        return self._candles(symbol, interval, found)

    async def _rows(self, params: dict[str, str | int]) -> list[KlineRow]:
        rows = await self._rest.call(endpoints.KLINES, params, weight=_weight(params["limit"]))
        return sorted(rows, key=lambda row: row[0])

    def _candles(self, symbol: str, interval: str, rows: Iterable[KlineRow]) -> list[Candle]:
        candles = []
        for row in rows:
            try:
                candle = Candle.checked(symbol, interval, *row[:7], is_closed=True)
            except ValidationError as error:
                self._tally.saw_malformed("rest klines", error, repr(row))
            else:
                candles.append(candle)
        return candles


def _weight(limit: str | int) -> int:
    """What a request for so many rows costs."""
    for below, weight in ((100, 1), (500, 2), (1_001, 5)):
        if int(limit) < below:
            return weight
    return 10


async def ask_time(settings: BinanceSettings) -> int:
    """Ask the exchange for its time, UTC ms: it needs neither keys nor a venue.

    Raises VenueError where it cannot be reached, or does not answer.
    """
    clock, tally = ServerClock(), Tally()
    async with RestClient(settings, None, clock, Limits(settings, clock), tally) as rest:
        return (await rest.call(endpoints.TIME, weight=0)).serverTime


@asynccontextmanager
async def candle_source(settings: BinanceSettings) -> AsyncIterator[CandleSource]:
    """A source that needs neither keys nor a venue, for as long as the context lasts.

    It knows the limits of the exchange, and obeys them; ``settings.max_wait_s`` is how long it
    waits for them.
    """
    clock, tally = ServerClock(), Tally()
    limits = Limits(settings, clock)
    async with RestClient(settings, None, clock, limits, tally) as rest:
        await rest.sync_clock()
        limits.adopt((await rest.call(endpoints.INFO)).rateLimits)
        yield CandleSource(rest, tally)
