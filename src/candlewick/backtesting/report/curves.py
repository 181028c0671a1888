"""The report's charts of a run: equity, drawdown, prices with trades, profits of trades."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from candlewick.backtesting.report.charts import Plane, area, bars, chart, dots, line
from candlewick.backtesting.report.scales import extremes
from candlewick.engine import Trade
from candlewick.models import CandleTable

__all__ = ["equity_charts", "price_chart", "profit_chart", "shown_trades"]

_POINTS = 1_200  # of a line: about as many as a screen has columns
_PARTS = 400  # of the band between high and low
_TRADES = 400  # in one price chart
_CROWD = 80  # more trades get smaller dots
_BARS = 40

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def equity_charts(
    times: Ints, curve: Floats, start_equity: float, decimals: int
) -> tuple[str, int]:
    """The equity with its drawdown below; and how many moments of the curve they show.

    The places are those of the extremes of both, so that the deepest point is the real one.
    """
    drawdown = _drawdown(curve, start_equity)
    places = np.union1d(extremes(curve, _POINTS), extremes(drawdown, _POINTS))
    at, equity, fall = times[places], curve[places], drawdown[places]
    low, high = _with_margin(min(float(equity.min()), start_equity), float(equity.max()))
    plane = Plane(float(times[0]), float(times[-1]), low, high)
    x, y = plane.x(at), plane.y(equity)
    hover = {
        "from": int(times[0]), "to": int(times[-1]), "t": at.tolist(),
        "show": [
            ["equity", [round(value, decimals) for value in equity.tolist()], decimals, ""],
            ["drawdown", [round(value * 100.0, 3) for value in fall.tolist()], 2, "%"],
        ],
    }  # fmt: skip
    start = plane.y([start_equity, start_equity])
    upper = chart(
        "Equity over time", plane,
        [
            area("equity", x, y, np.full(len(x), 1000.0)),
            line("start", np.array([0.0, 1000.0]), start),
            line("equity", x, y),
        ],
        form=_form(low, high), hover=hover,
    )  # fmt: skip
    deepest = Plane(plane.start, plane.end, min(float(fall.min()) * 1.05, -1e-4), 0.0)
    y = deepest.y(fall)
    lower = chart(
        "Drawdown over time", deepest,
        [area("fall", x, np.zeros(len(x)), y), line("fall", x, y)],
        form=".1%" if deepest.low < -0.005 else ".4%", height="low", hover=hover,
    )  # fmt: skip
    return upper + lower, len(places)


def _drawdown(curve: Floats, start_equity: float) -> Floats:
    """The fall from the highest equity so far, as a fraction of it: 0 or negative."""
    peaks = np.maximum(np.maximum.accumulate(curve), start_equity)
    return np.asarray(curve / peaks - 1.0, dtype=np.float64)


def shown_trades(trades: Sequence[Trade]) -> list[Trade]:
    """The trades that a price chart has room for: those with the largest profits and losses."""
    if len(trades) <= _TRADES:
        return list(trades)
    largest = sorted(trades, key=lambda trade: -abs(trade.profit))[:_TRADES]
    return sorted(largest, key=lambda trade: trade.opened_time)


def price_chart(table: CandleTable, trades: Sequence[Trade]) -> str:
    """The prices of one symbol with the entries and exits of ``trades``."""
    low, high = _with_margin(float(table.low.min()), float(table.high.max()))
    plane = Plane(float(table.open_time[0]), float(table.close_time[-1]), low, high)
    places = extremes(table.close, _POINTS)
    at, close = table.close_time[places], table.close[places]
    parts = np.unique(np.linspace(0, len(table), _PARTS + 1).astype(np.int64)[:-1])
    edges = np.append(table.open_time[parts], table.close_time[-1])
    highs, lows = np.maximum.reduceat(table.high, parts), np.minimum.reduceat(table.low, parts)
    shapes = [
        area(
            "range", plane.x(edges), plane.y(np.append(highs, highs[-1])),
            plane.y(np.append(lows, lows[-1])),
        ),
        line("price", plane.x(at), plane.y(close)),
        *_marks(plane, trades),
    ]  # fmt: skip
    hover = {
        "from": int(plane.start), "to": int(plane.end), "t": at.tolist(),
        "show": [["close", close.tolist(), 10, ""]],
    }  # fmt: skip
    return chart(
        f"Price of {table.symbol} with entries and exits", plane, shapes, form=_form(low, high),
        height="high", hover=hover,
    )  # fmt: skip


def _marks(plane: Plane, trades: Sequence[Trade]) -> list[str]:
    """A line from entry to exit for each trade, and a dot at each end."""
    size = " many" if len(trades) > _CROWD else ""
    shapes = []
    for kind, own in (
        ("win", [t for t in trades if t.profit > 0.0]),
        ("loss", [t for t in trades if t.profit <= 0.0]),
    ):
        begin = plane.x([t.opened_time for t in own]), plane.y([t.entry_price for t in own])
        end = plane.x([t.closed_time for t in own]), plane.y([t.exit_price for t in own])
        path = "".join(
            f"M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}" for a, b, c, d in zip(*begin, *end, strict=True)
        )
        if path:
            shapes += [f'<path class="line {kind}" d="{path}"/>', dots(f"exit {kind}{size}", *end)]
    for kind, sign in (("long", 1.0), ("short", -1.0)):
        own = [t for t in trades if t.quantity * sign > 0.0]
        shapes.append(
            dots(
                f"entry {kind}{size}",
                plane.x([t.opened_time for t in own]),
                plane.y([t.entry_price for t in own]),
            )
        )
    return shapes


def profit_chart(profits: Floats) -> str:
    """How many trades brought how much: losses left of zero, wins right of it."""
    least, most = min(float(profits.min()), 0.0), max(float(profits.max()), 0.0)
    width = (most - least) / _BARS or 1.0
    # one bar stands on zero: it holds what is next to nothing
    middles = np.arange(np.rint(least / width), np.rint(most / width) + 1.0) * width
    borders = np.append(middles - width / 2.0, middles[-1] + width / 2.0)
    counts = np.histogram(profits, borders)[0].astype(np.float64)
    plane = Plane(float(borders[0]), float(borders[-1]), 0.0, max(float(counts.max()) * 1.05, 5.0))
    side = np.sign(np.rint(middles / width))
    shapes = []
    for kind, sign in (("bad", -1), ("even", 0), ("good", 1)):
        own = (side == sign) & (counts > 0.0)
        left, right = plane.x(borders[:-1][own]), plane.x(borders[1:][own])
        shapes.append(bars(kind, left + 1.5, right - 1.5, plane.y(counts[own]), 1000.0))
    return chart("Distribution of the trades' profits", plane, shapes, form=",.0f", times=False)


def _with_margin(low: float, high: float) -> tuple[float, float]:
    margin = (high - low) * 0.04 or abs(high) * 0.01 or 1.0
    return low - margin, high + margin


def _form(low: float, high: float) -> str:
    """As many decimals as tell the axis' values apart."""
    span = high - low
    decimals = 0 if span >= 8.0 else min(int(-np.floor(np.log10(span / 8.0))), 10)
    return f",.{decimals}f"
