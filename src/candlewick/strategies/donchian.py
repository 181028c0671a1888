"""A breakout with a stop and a target, sized from the stop distance."""

from __future__ import annotations

from candlewick.errors import ConfigError
from candlewick.indicators import ATR, Donchian
from candlewick.models import Candle
from candlewick.strategies.base import Strategy

__all__ = ["DonchianBreakout"]


class DonchianBreakout(Strategy):
    """Enter when a close leaves the channel of the candles before it.

    The stop lies ``stop_atr`` average true ranges away, the target ``target_atr``; ``risk`` is
    the fraction of equity lost when the stop is hit.
    """

    period = 55
    atr_period = 14
    stop_atr = 2.0
    target_atr = 6.0
    risk = 0.01

    def check_parameters(self) -> None:
        for name in ("period", "atr_period"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("stop_atr", "target_atr"):
            if getattr(self, name) <= 0.0:
                raise ConfigError(f"{name}={getattr(self, name)} must be above 0")
        if not 0.0 < self.risk < 1.0:
            raise ConfigError(f"risk={self.risk} must be a fraction of equity, as 0.01")

    def on_start(self) -> None:
        self.channel = self.each(lambda: Donchian(self.period))
        self.atr = self.each(lambda: ATR(self.atr_period))

    def on_candle(self, candle: Candle) -> None:
        channel = self.channel[candle.symbol]
        upper, _, lower = channel.value  # of the candles before this one
        channel.update(candle)
        atr = self.atr[candle.symbol].update(candle)
        if not self.position.is_flat:
            return
        price, stop, target = candle.close, self.stop_atr * atr, self.target_atr * atr
        if price > upper:
            self.buy(risk=self.risk, stop=price - stop, target=price + target, reason="breakout")
        elif price < lower and price > target:
            self.sell(risk=self.risk, stop=price + stop, target=price - target, reason="breakdown")
