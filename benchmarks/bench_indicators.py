"""What one `update` of each indicator costs; the SMA beside one written as a method."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import nan
from typing import Any

from benchmarks.rows import Row
from benchmarks.timing import in_turns, progress
from candlewick import indicators
from candlewick.data import synthetic_market

_UPDATES = 100_000


class MethodSMA:
    """The usual running mean: a window, a sum, and a method; its rounding errors pile up."""

    def __init__(self, period: int) -> None:
        self.period = period
        self.window: deque[float] = deque(maxlen=period)
        self.total = 0.0
        self.value = nan

    def update(self, value: float) -> float:
        """Take the next value; return the average, nan until ready."""
        if len(self.window) == self.period:
            self.total -= self.window[0]
        self.window.append(value)
        self.total += value
        if len(self.window) == self.period:
            self.value = self.total / self.period
        return self.value


_OF_PRICES: dict[str, Callable[[], Any]] = {
    "SMA(30)": lambda: indicators.SMA(30),
    "SMA(30) as a method": lambda: MethodSMA(30),
    "SMA(1000)": lambda: indicators.SMA(1_000),
    "EMA(30)": lambda: indicators.EMA(30),
    "WMA(30)": lambda: indicators.WMA(30),
    "RSI(14)": lambda: indicators.RSI(14),
    "MACD(12, 26, 9)": indicators.MACD,
    "Bollinger(20)": indicators.Bollinger,
    "RollingMax(55)": lambda: indicators.RollingMax(55),
}
_OF_CANDLES: dict[str, Callable[[], Any]] = {
    "ATR(14)": indicators.ATR,
    "Donchian(55)": lambda: indicators.Donchian(55),
    "VWAP": indicators.VWAP,
}


def _feed(make: Callable[[], Any], items: Sequence[Any]) -> Callable[[], None]:
    def work() -> None:
        indicator = make()
        for item in items:
            indicator.update(item)

    return work


def run() -> list[Row]:
    progress("indicators")
    (table,) = synthetic_market(["BTCUSDT"], "1m", _UPDATES, seed=1)
    prices, candles = table.close.tolist(), list(table)
    work = {name: _feed(make, prices) for name, make in _OF_PRICES.items()}
    work |= {name: _feed(make, candles) for name, make in _OF_CANDLES.items()}
    taken = {name: timing.each_ns(_UPDATES) for name, timing in in_turns(work).items()}
    method = taken.pop("SMA(30) as a method")
    peers: dict[str, dict[str, Any]] = {"SMA(30)": {"peer": "a method", "peer_value": method}}
    return [
        Row(
            area="indicators", name=f"{name}, one update", value=found, unit="ns",
            better="lower", **peers.get(name, {}),
        )
        for name, found in taken.items()
    ]  # fmt: skip
