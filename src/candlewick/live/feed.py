"""`CandleFeed`: recorded or synthetic candles as a stream, at a chosen pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from time import monotonic

from candlewick.backtesting import merge_order
from candlewick.models import Candle, CandleTable

__all__ = ["CandleFeed"]


class CandleFeed:
    """Yields the closed candles of all tables in the order in which they closed.

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

    async def candles(self) -> AsyncIterator[Candle]:
        """Yield candles, each when its close is due."""
        rows = [iter(table) for table in self._tables]
        began = monotonic()
        for number in merge_order(self._tables).tolist():
            candle = next(rows[number])
            if self._speed is not None:
                await self._wait_until(
                    began + (candle.close_time - self.first_time) / 1e3 / self._speed
                )
            if self._stopping.is_set():
                return
            yield candle

    async def _wait_until(self, due: float) -> None:
        delay = due - monotonic()
        if delay <= 0.0:
            await asyncio.sleep(0)
            return
        try:
            await asyncio.wait_for(self._stopping.wait(), delay)
        except TimeoutError:
            return
