"""Charts as SVG that stretches with the page: lines in the SVG, words around it.

The plane of a chart is 1000 by 1000 units, stretched to whatever room there is; strokes keep their
width. Labels are HTML, placed in percent, so that they stay readable on any screen. What is shown
under the pointer stands beside the chart as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

import msgspec
import numpy as np
import numpy.typing as npt

from candlewick.backtesting.report.scales import time_ticks, value_ticks

__all__ = ["Plane", "area", "bars", "chart", "dots", "json_text", "line"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SIZE = 1000.0


class Plane(msgspec.Struct, frozen=True):
    """What a chart shows: from left to right (UTC ms, or values), from low to high."""

    start: float
    end: float
    low: float
    high: float

    def x(self, times: npt.ArrayLike) -> Floats:
        """Where times lie, from left to right."""
        share = (np.asarray(times, dtype=np.float64) - self.start) / max(self.end - self.start, 1)
        return share * _SIZE

    def y(self, values: npt.ArrayLike) -> Floats:
        """Where values lie, from top to bottom."""
        span = self.high - self.low
        share = (self.high - np.asarray(values, dtype=np.float64)) / (span if span > 0.0 else 1.0)
        return share * _SIZE


def _points(x: Floats, y: Floats) -> list[str]:
    return [f"{a:.1f} {b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True)]


def line(kind: str, x: Floats, y: Floats) -> str:
    """A line through points; ``kind`` is its class in the style sheet."""
    points = _points(x, y)
    if len(points) == 1:
        points *= 2
    return f'<path class="line {kind}" d="M{"L".join(points)}"/>' if points else ""


def area(kind: str, x: Floats, upper: Floats, lower: Floats) -> str:
    """The room between two lines over the same points."""
    if len(x) == 0:
        return ""
    there, back = _points(x, upper), _points(x[::-1], lower[::-1])
    return f'<path class="area {kind}" d="M{"L".join(there + back)}Z"/>'


def dots(kind: str, x: Floats, y: Floats) -> str:
    """Points, as strokes of no length: they stay round however the chart is stretched."""
    points = _points(x, y)
    return f'<path class="dots {kind}" d="{"".join(f"M{p}h0" for p in points)}"/>' if points else ""


def bars(kind: str, left: Floats, right: Floats, top: Floats, bottom: float) -> str:
    """Upright bars that stand on ``bottom``."""
    path = "".join(
        f"M{a:.1f} {bottom:.1f}V{t:.1f}H{b:.1f}V{bottom:.1f}Z"
        for a, b, t in zip(left.tolist(), right.tolist(), top.tolist(), strict=True)
    )
    return f'<path class="bars {kind}" d="{path}"/>' if path else ""


def chart(
    title: str,
    plane: Plane,
    shapes: Sequence[str],
    *,
    form: str,
    height: str = "",
    times: bool = True,
    hover: object = None,
) -> str:
    """Put shapes on axes.

    ``form`` formats the values of the left axis; ``height`` is a class of the style sheet;
    ``hover`` is JSON for the pointer; without ``times`` the lower axis counts in values.
    """
    rows = [(value, float(plane.y(value)) / 10.0) for value in value_ticks(plane.low, plane.high)]
    ticks = (
        [
            (float(plane.x(time)) / 10.0, label)
            for time, label in time_ticks(int(plane.start), int(plane.end))
        ]
        if times
        else [
            (float(plane.x(value)) / 10.0, f"{value:,.10g}")
            for value in value_ticks(plane.start, plane.end, 6)
        ]
    )
    grid = "".join(f"M0 {at * 10.0:.1f}H1000" for _, at in rows)
    grid += "".join(f"M{at * 10.0:.1f} 0V1000" for at, _ in ticks)
    left = "".join(f'<i style="top:{at:.2f}%">{value:{form}}</i>' for value, at in rows)
    below = "".join(
        f'<i style="left:{at:.2f}%">{escape(label)}</i>' for at, label in ticks if 2.0 < at < 98.0
    )
    data = "" if hover is None else f'<script type="application/json">{json_text(hover)}</script>'
    return (
        f'<figure class="chart {height}" role="img" aria-label="{escape(title)}">'
        f'<div class="left">{left}</div><div class="plot">'
        '<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="grid" d="{grid}"/>{"".join(shapes)}</svg>{data}</div>'
        f'<div class="below">{below}</div></figure>'
    )


def json_text(value: object) -> str:
    """JSON that may stand in a page: nothing in it can end a script."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text
