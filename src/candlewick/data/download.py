"""`download`: candles of the past into a folder, and what is there of them in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date
from typing import Any

import msgspec

from candlewick.data.archive import Span, spans_of, today_utc
from candlewick.data.fetching import Archive, ArchiveSettings
from candlewick.data.filling import (
    CandleListing,
    LazyListing,
    Progress,
    Sources,
    Step,
    SymbolFilling,
)
from candlewick.data.joining import join
from candlewick.data.problems import OnProblem, Problem, ProblemKind, check_gaps, utc
from candlewick.data.reading import load_candles
from candlewick.data.shelf import Shelf
from candlewick.errors import DataError
from candlewick.models import CandleTable, interval_ms

__all__ = ["Downloaded", "download"]


class Downloaded(msgspec.Struct, frozen=True, kw_only=True):
    """What is there of one symbol now.

    ``first_time`` is the open time of the first candle, ``last_time`` the close time of the last,
    UTC ms. ``gaps`` counts the holes in the days that were asked for, ``missing`` the candles that
    they lack. ``kept``, ``fetched`` and ``asked`` count files: those that were there, came from the
    archive, came over REST.
    """

    symbol: str
    interval: str
    candles: int
    first_time: int
    last_time: int
    gaps: int
    missing: int
    kept: int
    fetched: int
    asked: int
    problems: tuple[Problem, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON-like values."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


async def download(
    symbols: Sequence[str],
    interval: str,
    first: date,
    last: date,
    shelf: Shelf,
    *,
    archive: ArchiveSettings,
    listing: Callable[[], AbstractAsyncContextManager[CandleListing]],
    now_ms: int,
    on_step: Callable[[Step], None] = lambda _: None,
) -> list[Downloaded]:
    """Bring the candles of all days from ``first`` to ``last`` into a folder.

    What is there and is what was written is not fetched again. The archive is asked for months
    and days, the exchange's list for the days that it does not have; the open candle is left out.

    Args:
        symbols, interval: what to bring.
        first, last: days of UTC, both included; the future is left out.
        shelf: the folder.
        archive: where the archive is.
        listing: opens the exchange's list of candles; used when the archive lacks something.
        now_ms: the time now, UTC ms.
        on_step: told of each file.

    Raises:
        DataError: a file is damaged at its source, or there is no candle of a symbol.
        VenueError: the archive or the exchange cannot be reached, or refuses.
    """
    today = today_utc(now_ms)
    last = min(last, today)
    if first > last:
        raise DataError(f"there are no candles from {first} to {last} yet")
    spans = spans_of(first, last, interval, today)
    progress = Progress(len(spans) * len(symbols), on_step)
    async with Archive(archive) as files, LazyListing(listing) as listed:
        sources = Sources(files, listed, shelf, progress)
        fillings = [SymbolFilling(symbol, interval, sources, today) for symbol in symbols]
        for filling in fillings:
            await filling.from_archive(spans)
        for filling in fillings:
            await filling.from_listing()
    # the candle before the open one may not be known to have closed yet
    wanted = Span(first, last).start, min(Span(last, last).end, now_ms - interval_ms(interval))
    return [await asyncio.to_thread(_look, filling, *wanted) for filling in fillings]


def _look(filling: SymbolFilling, begin: int, end: int) -> Downloaded:
    """Read all files again and say what they hold, and lack from ``begin`` to ``end`` (UTC ms)."""
    symbol, interval = filling.symbol, filling.interval
    if not filling.files:
        raise DataError(
            f"neither the archive nor the exchange has {interval} candles of {symbol} from"
            f" {utc(begin)} to {utc(end)}; check symbol and dates"
        )
    files = sorted(filling.files)
    tables = [
        load_candles(file, symbol, interval, OnProblem.FAIL, OnProblem.SKIP).table for file in files
    ]
    table, doubled = join(tables, [str(file) for file in files], OnProblem.REPORT)
    inside = check_gaps(table, f"{symbol} {interval}", OnProblem.REPORT)
    gaps = [*inside, *_edges(table, begin, end)]
    return Downloaded(
        symbol=symbol,
        interval=interval,
        candles=len(table),
        first_time=int(table.open_time[0]),
        last_time=int(table.close_time[-1]),
        gaps=len(gaps),
        missing=sum(problem.count for problem in gaps),
        kept=filling.counts["kept"],
        fetched=filling.counts["fetched"],
        asked=filling.counts["asked"],
        problems=(*filling.problems, *doubled, *gaps),
    )


def _edges(table: CandleTable, begin: int, end: int) -> list[Problem]:
    """What is lacking between the time that was asked for and the first and last candle."""
    length = interval_ms(table.interval)
    first, last = int(table.open_time[0]), int(table.close_time[-1]) + 1
    found = []
    for count, time, place in (
        ((first - begin) // length, begin, f"before {utc(first)}"),
        ((end - last) // length, last, f"after {utc(last)}"),
    ):
        if count > 0:
            reason = f"{count} candle{'s' if count > 1 else ''} of {table.interval} {place}"
            source = f"{table.symbol} {table.interval}"
            found.append(Problem(ProblemKind.GAP, source, reason, time, count))
    return found
