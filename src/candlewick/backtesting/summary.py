"""`Summary`: what came out of a run, and how its figures are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from candlewick.backtesting.table import as_text
from candlewick.engine import Trade
from candlewick.models import Fill

__all__ = ["Summary", "max_drawdown", "sharpe_of_daily", "sharpe_ratio", "summarise"]

_DAY_MS = 86_400_000
_DAYS_A_YEAR = 365.0  # the market never closes


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a run; money is in quote currency, fractions are not percent.

    ``net_profit`` is after fees and funding. ``fees`` is what was paid, ``funding`` what was
    received (negative: paid). ``max_drawdown`` is the largest fall of equity from a peak, as a
    fraction of that peak. ``sharpe`` is annualised from daily returns; ``win_rate`` and
    ``profit_factor`` are over closed trades; all three are 0.0 where they are not defined.
    ``elapsed_s`` is the time the run took, without reading the data. It prints as a table.
    """

    strategy: str
    params: dict[str, Any]
    symbols: tuple[str, ...]
    interval: str
    venue: str = "backtest"
    candles: int = 0
    signals: int = 0
    orders: int = 0
    fills: int = 0
    trades: int = 0
    rejections: int = 0
    denials: dict[str, int] = {}
    start_equity: float = 0.0
    final_equity: float = 0.0
    net_profit: float = 0.0
    total_return: float = 0.0
    fees: float = 0.0
    funding: float = 0.0
    max_drawdown: float = 0.0
    sharpe: float = 0.0
    win_rate: float = 0.0
    profit_factor: float = 0.0
    first_time: int = 0
    last_time: int = 0
    missing_candles: int = 0
    elapsed_s: float = 0.0
    ended_by: str = "the end of the data"
    failure: str = ""
    journal: str | None = None

    def __str__(self) -> str:
        return as_text(self)

    __repr__ = __str__

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON types."""
        fields = {name: getattr(self, name) for name in Summary.__struct_fields__}
        converted: dict[str, Any] = msgspec.to_builtins(fields)
        return converted


def max_drawdown(curve: npt.ArrayLike) -> float:
    """Return the largest fall from a running peak, as a fraction of that peak; 0.0 when empty."""
    values = np.asarray(curve, dtype=np.float64)
    if len(values) == 0:
        return 0.0
    peaks = np.maximum.accumulate(values)
    return float(np.max((peaks - values) / np.where(peaks > 0.0, peaks, np.inf)))


def sharpe_ratio(times: npt.ArrayLike, curve: npt.ArrayLike) -> float:
    """Return `sharpe_of_daily` of an equity curve; ``times`` (UTC ms) and it have shape (n,)."""
    days = np.asarray(times, dtype=np.int64) // _DAY_MS
    values = np.asarray(curve, dtype=np.float64)
    if len(values) < 2:
        return 0.0
    return sharpe_of_daily(values[np.append(np.flatnonzero(np.diff(days)), len(values) - 1)])


def sharpe_of_daily(closes: npt.ArrayLike) -> float:
    """Return the annualised Sharpe ratio of daily returns, without a risk-free rate.

    ``closes`` are the last equities of each UTC day, shape (n,). The ratio is ``mean / standard
    deviation (n - 1) * sqrt(365)`` of the returns from day to day. W. F. Sharpe, "The Sharpe
    Ratio", *Journal of Portfolio Management* 21, 1994. 0.0 for fewer than three days or without
    variance.
    """
    values = np.asarray(closes, dtype=np.float64)
    if len(values) < 3 or np.any(values <= 0.0):
        return 0.0
    returns = np.diff(values) / values[:-1]
    deviation = float(np.std(returns, ddof=1))
    return float(np.mean(returns)) / deviation * _DAYS_A_YEAR**0.5 if deviation > 0.0 else 0.0


def summarise(
    base: Summary,
    *,
    start_equity: float,
    final_equity: float,
    fills: Sequence[Fill],
    trades: Sequence[Trade],
    funding: float,
    times: Sequence[int],
    curve: Sequence[float],
    denials: Mapping[str, int],
) -> Summary:
    """Fill in the figures that follow from fills, trades and the equity curve."""
    values = np.asarray(curve, dtype=np.float64)
    profits = [trade.profit for trade in trades]
    gained = sum(profit for profit in profits if profit > 0.0)
    lost = -sum(profit for profit in profits if profit < 0.0)
    return msgspec.structs.replace(
        base,
        fills=len(fills),
        trades=len(trades),
        denials=dict(sorted(denials.items())),
        start_equity=start_equity,
        final_equity=final_equity,
        net_profit=final_equity - start_equity,
        total_return=final_equity / start_equity - 1.0 if start_equity else 0.0,
        fees=sum(fill.fee for fill in fills),
        funding=funding,
        max_drawdown=max_drawdown(np.append(start_equity, values)),
        sharpe=sharpe_ratio(times, values),
        win_rate=sum(profit > 0.0 for profit in profits) / len(profits) if profits else 0.0,
        profit_factor=gained / lost if lost > 0.0 else 0.0,
        first_time=times[0] if times else 0,
        last_time=times[-1] if times else 0,
    )
