"""`CandleFeed`: recorded or synthetic candles as a stream, at a chosen pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from time import monotonic

from candlewick.backtesting import closing_together
from candlewick.models import Candle, CandleTable

__all__ = ["CandleFeed"]


class CandleFeed:
    """Yields the closed candles of all tables in the order in which they closed, in groups.

    ``speed`` is a multiple of real time; None means as fast as they are taken. It ends with the
    data, or at once when ``stopping`` is set.
    """

    def __init__(
        self, tables: Sequence[CandleTable], speed: float | None, stopping: asyncio.Event
    ) -> None:
        self._tables = tables
        self._speed = speed
        self._stopping = stopping
        self.total = sum(len(table) for table in tables)
        self.first_time = min(int(table.open_time[0]) for table in tables if len(table))

    async def candles(self) -> AsyncIterator[list[Candle]]:
        """Yield the candles that close together, when their close is due."""
        began = monotonic()
        for group in closing_together(self._tables):
            together = [candle for _, candle in group]
            if self._speed is not None:
                elapsed_s = (together[0].close_time - self.first_time) / 1e3
                await self._wait_until(began + elapsed_s / self._speed)
            if self._stopping.is_set():
                return
            yield together

    async def _wait_until(self, due: float) -> None:
        delay = due - monotonic()
        if delay <= 0.0:
            await asyncio.sleep(0)
            return
        try:
            await asyncio.wait_for(self._stopping.wait(), delay)
        except TimeoutError:
            return
