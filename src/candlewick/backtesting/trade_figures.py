"""What the closed trades of a run have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np

from candlewick.engine import Trade

__all__ = ["Group", "TradeFigures", "grouped", "trade_figures"]


class TradeFigures(msgspec.Struct, frozen=True):
    """Figures over closed trades; profits are net, in quote currency, durations in ms.

    All are 0 without trades. ``exposure`` is the fraction of the run in which any position was
    held; ``most_wins`` and ``most_losses`` are the longest rows of them, by the time of closing.
    """

    count: int
    long: int
    wins: int
    losses: int
    average: float
    average_win: float
    average_loss: float
    best: float
    worst: float
    most_wins: int
    most_losses: int
    median_duration: int
    exposure: float


class Group(msgspec.Struct, frozen=True):
    """Trades that share something, as their symbol; ``profit`` is net, in quote currency."""

    name: str
    count: int
    wins: int
    profit: float
    fees: float
    funding: float


def trade_figures(trades: Sequence[Trade], first_time: int, last_time: int) -> TradeFigures:
    """Compute the figures of a run from ``first_time`` to ``last_time``, UTC ms."""
    profits = [trade.profit for trade in trades]
    wins = [profit for profit in profits if profit > 0.0]
    losses = [profit for profit in profits if profit < 0.0]
    durations = [trade.closed_time - trade.opened_time for trade in trades]
    span = last_time - first_time
    return TradeFigures(
        count=len(trades),
        long=sum(trade.quantity > 0.0 for trade in trades),
        wins=len(wins),
        losses=len(losses),
        average=_mean(profits),
        average_win=_mean(wins),
        average_loss=_mean(losses),
        best=max(profits, default=0.0),
        worst=min(profits, default=0.0),
        most_wins=_longest_row(profit > 0.0 for profit in profits),
        most_losses=_longest_row(profit < 0.0 for profit in profits),
        median_duration=int(np.median(durations)) if durations else 0,
        exposure=min(_time_held(trades) / span, 1.0) if span > 0 else 0.0,
    )


def grouped(trades: Iterable[Trade], key: Callable[[Trade], str]) -> list[Group]:
    """Put trades together by what ``key`` says of them, the most numerous first."""
    sets: dict[str, list[Trade]] = {}
    for trade in trades:
        sets.setdefault(key(trade), []).append(trade)
    groups = [
        Group(
            name,
            len(members),
            sum(trade.profit > 0.0 for trade in members),
            sum(trade.profit for trade in members),
            sum(trade.fees for trade in members),
            sum(trade.funding for trade in members),
        )
        for name, members in sets.items()
    ]
    return sorted(groups, key=lambda group: (-group.count, group.name))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _longest_row(hits: Iterable[bool]) -> int:
    longest = row = 0
    for hit in hits:
        row = row + 1 if hit else 0
        longest = max(longest, row)
    return longest


def _time_held(trades: Iterable[Trade]) -> int:
    """Milliseconds in which at least one position was held."""
    total = end = 0
    for opened, closed in sorted((trade.opened_time, trade.closed_time) for trade in trades):
        total += max(0, closed - max(opened, end))
        end = max(end, closed)
    return total
