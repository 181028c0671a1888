"""The simplest strategy that trades: two moving averages, always in the market."""

from __future__ import annotations

from candlewick.errors import ConfigError
from candlewick.indicators import SMA
from candlewick.models import Candle
from candlewick.strategies.base import Strategy

__all__ = ["SmaCross"]


class SmaCross(Strategy):
    """Long while the fast average is above the slow one, short while it is below."""

    fast = 10
    slow = 30

    def check_parameters(self) -> None:
        if not 1 <= self.fast < self.slow:
            raise ConfigError(f"fast={self.fast} must be at least 1 and below slow={self.slow}")

    def on_start(self) -> None:
        self.averages = self.each(lambda: (SMA(self.fast), SMA(self.slow)))

    def on_candle(self, candle: Candle) -> None:
        price, (fast, slow) = candle.close, self.averages[candle.symbol]
        distance = fast.update(price) - slow.update(price)
        if distance > 0.0 and self.position.quantity <= 0.0:
            self.buy(reason="fast above slow")
        elif distance < 0.0 and self.position.quantity >= 0.0:
            self.sell(reason="fast below slow")
