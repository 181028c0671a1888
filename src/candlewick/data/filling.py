"""`SymbolFilling`: one symbol's candle files, from the archive, and over REST what it lacks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from candlewick.data.archive import Span, month_of
from candlewick.data.fetching import Archive
from candlewick.data.problems import OnProblem, Problem
from candlewick.data.reading import load_candles
from candlewick.data.shelf import Shelf
from candlewick.errors import VenueError
from candlewick.models import Candle, CandleTable, interval_ms

__all__ = ["CandleListing", "LazyListing", "Progress", "Sources", "Step", "SymbolFilling"]

_DAY_MS = 86_400_000


class CandleListing(Protocol):
    """The exchange's list of candles, for what the archive does not have."""

    async def first_open(self, symbol: str, interval: str) -> int:
        """Open time of the first candle there is, UTC ms; 0 when there is none."""

    async def between(self, symbol: str, interval: str, start: int, end: int) -> list[Candle]:
        """Closed candles with open times from ``start`` to before ``end``, oldest first."""


class LazyListing:
    """Opens the exchange's list of candles when it is needed for the first time."""

    def __init__(self, opens: Callable[[], AbstractAsyncContextManager[CandleListing]]) -> None:
        self._opens = opens
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._listing: CandleListing | None = None

    async def __aenter__(self) -> LazyListing:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def get(self) -> CandleListing:
        """The list; raises VenueError when the exchange cannot be reached."""
        async with self._opening:
            if self._listing is None:
                self._listing = await self._stack.enter_async_context(self._opens())
            return self._listing


class Step(msgspec.Struct, frozen=True):
    """One file is done. ``how`` is kept, fetched, asked (over REST) or missing."""

    name: str
    how: str
    done: int
    total: int


class Progress:
    """Counts files, and tells of each."""

    def __init__(self, total: int, on_step: Callable[[Step], None]) -> None:
        self.total = total
        self.done = 0
        self._on_step = on_step

    def step(self, name: str, how: str) -> None:
        """A file is done."""
        self.done += 1
        self._on_step(Step(name, how, self.done, max(self.total, self.done)))


class Sources(msgspec.Struct, frozen=True):
    """What all symbols share."""

    archive: Archive
    listing: LazyListing
    shelf: Shelf
    progress: Progress


class SymbolFilling:
    """Fills a shelf with the candles of one symbol.

    ``files`` are those that hold them in the end, ``counts`` how many were kept, fetched, asked for
    and missing, ``problems`` what was wrong inside the archive's files.
    """

    def __init__(self, symbol: str, interval: str, sources: Sources, today: date) -> None:
        self.symbol = symbol
        self.interval = interval
        self.counts = dict.fromkeys(("kept", "fetched", "asked", "missing"), 0)
        self.problems: list[Problem] = []
        self.files: set[Path] = set()
        self._by_day = interval_ms(interval) <= _DAY_MS
        self._lacking: list[Span] = []
        self._sources = sources
        self._shelf = sources.shelf
        self._today = today
        self._begin: int | None = None  # of the exchange's list, once it was asked for
        self._asking = asyncio.Lock()

    def _done(self, span: Span, how: str) -> None:
        self.counts[how] += 1
        if how != "missing":
            self.files.add(self._shelf.file(self.symbol, self.interval, span))
        self._sources.progress.step(span.name(self.symbol, self.interval), how)

    # -- the archive -----------------------------------------------------------------------------

    async def from_archive(self, spans: Sequence[Span]) -> None:
        """Bring what the archive has, and note what it lacks."""
        await _together([self._span(span) for span in spans])
        self._lacking.sort()

    async def _span(self, span: Span) -> None:
        holder = await asyncio.to_thread(self._holder, span)
        if holder is not None:
            self._done(holder, "kept")
        elif span.last < self._today and await self._fetch(span):
            self._done(span, "fetched")
        elif span.is_month and self._by_day:
            await self._days(span)
        else:
            self._lacking.append(span)

    def _holder(self, span: Span) -> Span | None:
        """What is there of a span: its own file, or that of its month."""
        month = month_of(span.first)
        for holder in (month, span):
            if self._shelf.holds(self.symbol, self.interval, holder):
                self._shelf.drop_remains(self.symbol, self.interval, holder)
                if holder.is_month:
                    self._shelf.drop_days(self.symbol, self.interval, holder)
                return holder
        return None

    async def _days(self, month: Span) -> None:
        """A month is not in the archive: its days may be, if there were candles at all."""
        if 0 < month.end <= await self._first_open():
            self._done(month, "missing")
            return
        days = list(month.days())
        self._sources.progress.total += len(days) - 1
        await _together([self._span(day) for day in days])

    async def _first_open(self) -> int:
        """When the exchange's list begins, UTC ms; 0 when it does not tell."""
        async with self._asking:
            if self._begin is None:
                try:
                    listing = await self._sources.listing.get()
                    self._begin = await listing.first_open(self.symbol, self.interval)
                except VenueError:
                    self._begin = 0  # the archive may do without
            return self._begin

    async def _fetch(self, span: Span) -> bool:
        """Bring one file of the archive and take its candles out; False when there is none."""
        zip_file = self._shelf.zip(self.symbol, self.interval, span)
        path = span.path(self.symbol, self.interval)
        checksum = await self._sources.archive.fetch(path, zip_file)
        if not checksum:
            return False
        await asyncio.to_thread(self._take_out, span, path, zip_file, checksum)
        return True

    def _take_out(self, span: Span, path: str, zip_file: Path, checksum: str) -> None:
        loaded = load_candles(
            zip_file, self.symbol, self.interval, OnProblem.REPORT, OnProblem.SKIP
        )
        for problem in loaded.problems:
            self.problems.append(msgspec.structs.replace(problem, source=path))
        self._shelf.put(loaded.table, span, path, source_sha256=checksum)
        if span.is_month:
            self._shelf.drop_days(self.symbol, self.interval, span)
        self._shelf.drop_remains(self.symbol, self.interval, span)

    # -- REST ------------------------------------------------------------------------------------

    async def from_listing(self) -> None:
        """Ask the exchange for what the archive lacks, from the first candle that there is."""
        if not self._lacking:
            return
        listing = await self._sources.listing.get()
        begin = await listing.first_open(self.symbol, self.interval)
        wanted = [span for span in self._lacking if 0 < begin < span.end]
        for span in self._lacking:
            if span not in wanted:
                self._done(span, "missing")
        for run in _runs(wanted):
            candles = await listing.between(self.symbol, self.interval, run[0].start, run[-1].end)
            await asyncio.to_thread(self._put, run, candles)

    def _put(self, run: Sequence[Span], candles: Sequence[Candle]) -> None:
        length = interval_ms(self.interval)
        newest = candles[-1].open_time if candles else 0
        for span in run:
            own = [candle for candle in candles if span.start <= candle.open_time < span.end]
            if not own:
                self._done(span, "missing")
                continue
            # a span is over when its last candle is there, or a later one
            complete = newest >= span.end or own[-1].open_time + length >= span.end
            table = _table(self.symbol, self.interval, own)
            self._shelf.put(table, span, "rest", complete=complete)
            self._done(span, "asked")


async def _together(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Do all of it; of what fails the first error is raised, and the rest is cancelled."""
    async with _plain_errors(), asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(one)


@asynccontextmanager
async def _plain_errors() -> AsyncIterator[None]:
    """The first error of a group, instead of the group."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


def _runs(spans: Sequence[Span]) -> list[list[Span]]:
    """Spans that follow one another, together."""
    runs: list[list[Span]] = []
    for span in spans:
        if runs and runs[-1][-1].end == span.start:
            runs[-1].append(span)
        else:
            runs.append([span])
    return runs


def _table(symbol: str, interval: str, candles: Sequence[Candle]) -> CandleTable:
    columns = {
        name: np.array([getattr(candle, name) for candle in candles])
        for name in ("open", "high", "low", "close", "volume", "close_time")
    }
    return CandleTable(symbol, interval, [candle.open_time for candle in candles], **columns)
