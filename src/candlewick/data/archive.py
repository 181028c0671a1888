"""`Span`: the months and days of the exchange's archive of candles, and what its files are called.

The layout is that of https://data.binance.vision: a zip with one CSV for each month and day, and
beside it a file with its SHA-256.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import msgspec

from candlewick.errors import ConfigError
from candlewick.models import interval_ms

__all__ = ["ARCHIVE_URL", "Span", "month_of", "parse_day", "spans_of", "today_utc"]

ARCHIVE_URL = "https://data.binance.vision"
_DAY = timedelta(days=1)
_DAY_MS = 86_400_000
_MONTH = re.compile(r"^(\d{4})-(\d{2})$")


class Span(msgspec.Struct, frozen=True, order=True):
    """A month or a day, ``first`` and ``last`` included."""

    first: date
    last: date

    @property
    def is_month(self) -> bool:
        """True for a month, whose files lie apart from those of days."""
        return self.first != self.last

    @property
    def label(self) -> str:
        """2024-01 or 2024-01-31."""
        return self.first.isoformat()[: 7 if self.is_month else 10]

    @property
    def start(self) -> int:
        """The first moment, UTC ms."""
        return _ms(self.first)

    @property
    def end(self) -> int:
        """The first moment that is not in it any more, UTC ms."""
        return _ms(self.last + _DAY)

    def name(self, symbol: str, interval: str) -> str:
        """What its file is called, without an ending."""
        return f"{symbol}-{interval}-{self.label}"

    def path(self, symbol: str, interval: str) -> str:
        """Where its zip lies in the archive."""
        folder = "monthly" if self.is_month else "daily"
        name = self.name(symbol, interval)
        return f"/data/futures/um/{folder}/klines/{symbol}/{interval}/{name}.zip"

    def days(self) -> Iterator[Span]:
        """Its days."""
        day = self.first
        while day <= self.last:
            yield Span(day, day)
            day += _DAY


def _ms(day: date) -> int:
    return calendar.timegm(day.timetuple()) * 1_000


def month_of(day: date) -> Span:
    """The month of a day."""
    first = day.replace(day=1)
    return Span(first, day.replace(day=calendar.monthrange(day.year, day.month)[1]))


def spans_of(first: date, last: date, interval: str, today: date) -> list[Span]:
    """What to ask the archive for, to have all of ``first`` to ``last``: months where they are
    whole and over, days otherwise. Candles that are longer than a day are filed by the month.
    """
    found = []
    day = first
    while day <= last:
        month = month_of(day)
        whole = day == month.first and month.last <= last and month.last < today
        span = month if whole or interval_ms(interval) > _DAY_MS else Span(day, day)
        found.append(span)
        day = span.last + _DAY
    return found


def parse_day(text: str, *, is_end: bool = False) -> date:
    """Read 2024-01-31, or 2024-01 for the month's first (at the end of a range: last) day."""
    month = _MONTH.match(text.strip())
    try:
        if month is None:
            return date.fromisoformat(text.strip())
        whole = month_of(date(int(month[1]), int(month[2]), 1))
    except ValueError:
        raise ConfigError(f"{text!r} is no date: write 2024-01-31, or 2024-01") from None
    return whole.last if is_end else whole.first


def today_utc(now_ms: int) -> date:
    """The day of a time, UTC."""
    return datetime.fromtimestamp(now_ms / 1_000.0, UTC).date()
