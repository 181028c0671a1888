"""What an equity curve says beyond its end: yearly figures, drawdowns in time, months."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["DAY_MS", "Performance", "daily_closes", "monthly_returns", "performance"]

DAY_MS = 86_400_000
_DAYS_A_YEAR = 365.0  # the market never closes
_LEAST_DAYS = 30  # a shorter run says nothing about a year

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Performance(msgspec.Struct, frozen=True):
    """Figures of an equity curve; fractions are not percent, times are ms.

    ``annual_return`` is compound, None for runs below 30 days; ``volatility`` the annualised
    deviation of daily returns; ``sortino`` their mean over the root mean square of the losing
    ones, annualised; ``calmar`` is ``annual_return`` over the largest drawdown. ``drawdown_start``
    to ``drawdown_end`` is the longest time below a peak, UTC ms, to the end of the curve where
    the peak was not reached again.
    """

    annual_return: float | None
    volatility: float
    sortino: float
    calmar: float | None
    drawdown_start: int
    drawdown_end: int


def daily_closes(times: npt.ArrayLike, curve: npt.ArrayLike) -> Floats:
    """The last value of each UTC day; ``times`` (UTC ms) and ``curve`` have shape (n,)."""
    days = np.asarray(times, dtype=np.int64) // DAY_MS
    values = np.asarray(curve, dtype=np.float64)
    if len(values) == 0:
        return values
    last: Ints = np.append(np.flatnonzero(np.diff(days)), len(values) - 1)
    return values[last]


def performance(
    times: npt.ArrayLike, curve: npt.ArrayLike, start_equity: float, max_drawdown: float
) -> Performance:
    """Compute the figures of a curve that began at ``start_equity`` before its first value.

    Volatility and the Sortino ratio (F. A. Sortino and R. van der Meer, "Downside risk", *Journal
    of Portfolio Management* 17, 1991) are over the returns from UTC day to UTC day, as the Sharpe
    ratio of a `Summary`; 0.0 where they are not defined.
    """
    at = np.asarray(times, dtype=np.int64)
    values = np.asarray(curve, dtype=np.float64)
    closes = daily_closes(at, values)
    deviation = sortino = 0.0
    if len(closes) >= 3 and bool(np.all(closes > 0.0)):
        returns = np.diff(closes) / closes[:-1]
        deviation = float(np.std(returns, ddof=1))
        downside = float(np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2)))
        sortino = float(np.mean(returns)) / downside * _DAYS_A_YEAR**0.5 if downside else 0.0
    annual = _annual_return(at, values, start_equity)
    start, end = _longest_drawdown(at, values, start_equity)
    return Performance(
        annual_return=annual,
        volatility=deviation * _DAYS_A_YEAR**0.5,
        sortino=sortino,
        calmar=annual / max_drawdown if annual is not None and max_drawdown > 0.0 else None,
        drawdown_start=start,
        drawdown_end=end,
    )


def _annual_return(times: Ints, curve: Floats, start_equity: float) -> float | None:
    days = (int(times[-1]) - int(times[0])) / DAY_MS if len(times) else 0.0
    if days < _LEAST_DAYS or curve[-1] <= 0.0 or start_equity <= 0.0:
        return None
    return float((curve[-1] / start_equity) ** (_DAYS_A_YEAR / days) - 1.0)


def _longest_drawdown(times: Ints, curve: Floats, start_equity: float) -> tuple[int, int]:
    """The longest time from a peak until it was reached again; (0, 0) without any fall."""
    if len(curve) == 0:
        return 0, 0
    values = np.append(start_equity, curve)
    at = np.append(times[0], times)
    at_peak = np.flatnonzero(values >= np.maximum.accumulate(values))
    ends = np.append(at_peak[1:], len(values) - 1)
    falls = ends - at_peak > 1  # between two neighbours at the peak nothing lies below it
    falls[-1] = ends[-1] > at_peak[-1]
    spans = np.where(falls, at[ends] - at[at_peak], 0)
    longest = int(np.argmax(spans))
    if spans[longest] == 0:
        return 0, 0
    return int(at[at_peak[longest]]), int(at[ends[longest]])


def monthly_returns(
    times: npt.ArrayLike, curve: npt.ArrayLike, start_equity: float
) -> dict[tuple[int, int], float]:
    """The return of each UTC month by (year, month), from the last equity before it to its own."""
    at = np.asarray(times, dtype=np.int64)
    values = np.asarray(curve, dtype=np.float64)
    if len(values) == 0:
        return {}
    months = at.astype("datetime64[ms]").astype("datetime64[M]")
    last = np.append(np.flatnonzero(np.diff(months.astype(np.int64))), len(values) - 1)
    returns: dict[tuple[int, int], float] = {}
    before = start_equity
    for place in last.tolist():
        month = datetime.fromtimestamp(int(at[place]) / 1e3, UTC)
        after = float(values[place])
        returns[month.year, month.month] = after / before - 1.0 if before > 0.0 else 0.0
        before = after
    return returns
