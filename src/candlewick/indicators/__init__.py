"""Incremental indicators: one `update` a candle, O(1), nan until there are enough values.

Comparisons with nan are false, so a strategy that writes ``if fast > slow`` needs no other check.
"""

from candlewick.indicators.averages import EMA, SMA, VWAP, WMA
from candlewick.indicators.extremes import Channel, Donchian, RollingMax, RollingMin
from candlewick.indicators.momentum import ATR, MACD, RSI, Bands, Bollinger, MacdLines

__all__ = [
    "ATR",
    "EMA",
    "MACD",
    "RSI",
    "SMA",
    "VWAP",
    "WMA",
    "Bands",
    "Bollinger",
    "Channel",
    "Donchian",
    "MacdLines",
    "RollingMax",
    "RollingMin",
]
