"""Axes: round values and dates for ticks, and long series made short without losing extremes."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

__all__ = ["extremes", "time_ticks", "value_ticks"]

_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000
_STEPS = (
    _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE, _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR,
    _DAY, 2 * _DAY, 5 * _DAY, 10 * _DAY,
)  # fmt: skip
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120)


def value_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round values from ``low`` to ``high``, about ``wanted`` of them."""
    span = high - low
    if not span > 0.0:
        return [low]
    rough = span / wanted
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * size >= rough)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def time_ticks(start: int, end: int, wanted: int = 6) -> list[tuple[int, str]]:
    """Round UTC times from ``start`` to ``end`` (ms) with their labels, at most ``wanted``."""
    span = max(end - start, 1)
    for step in _STEPS:
        if span / step <= wanted:
            first = -(-start // step)
            form = "%d %b" if step >= _DAY else "%d %b %H:%M" if span > _DAY else "%H:%M"
            return [
                (number * step, datetime.fromtimestamp(number * step / 1e3, UTC).strftime(form))
                for number in range(first, end // step + 1)
            ]
    return _month_ticks(start, end, wanted)


def _month_ticks(start: int, end: int, wanted: int) -> list[tuple[int, str]]:
    first, last = (datetime.fromtimestamp(time / 1e3, UTC) for time in (start, end))
    months = (last.year - first.year) * 12 + last.month - first.month + 1
    step = next((step for step in _MONTHS if months / step <= wanted), _MONTHS[-1])
    ticks = []
    for month in range(first.year * 12 // step * step, last.year * 12 + last.month, step):
        date = datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
        time = int(date.timestamp() * 1e3)
        if start <= time <= end:
            ticks.append((time, date.strftime("%Y" if step >= 12 else "%b %Y")))
    return ticks


def extremes(values: npt.NDArray[np.float64], most: int) -> npt.NDArray[np.int64]:
    """Places of at most ``most`` values that show the same curve, in their order.

    Of each of equally long parts the lowest and the highest are taken, and the first and the last
    of all: no peak and no trough is lost. Fewer values than that are all taken.
    """
    count = len(values)
    if count <= most:
        return np.arange(count, dtype=np.int64)
    borders = np.linspace(0, count, (most - 2) // 2 + 1).astype(np.int64)
    places = {0, count - 1}
    for start, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        part = values[start:end]
        places.add(start + int(np.argmin(part)))
        places.add(start + int(np.argmax(part)))
    return np.array(sorted(places), dtype=np.int64)
