"""The strategies that can be named without a file."""

from __future__ import annotations

from candlewick.strategies.base import Strategy
from candlewick.strategies.donchian import DonchianBreakout
from candlewick.strategies.sma_cross import SmaCross

__all__ = ["BUILT_IN"]

BUILT_IN: dict[str, type[Strategy]] = {
    "sma_cross": SmaCross,
    "donchian_breakout": DonchianBreakout,
}
