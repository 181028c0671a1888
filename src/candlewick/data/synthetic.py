"""A synthetic market: seeded, any number of symbols. It is not a record of any real market.

The volatility of log returns follows the recursion of GARCH(1,1) (Bollerslev, *Journal of
Econometrics* 31, 1986), driven by shocks of its own, so that it clusters; a slow regime adds
trends, rare jumps fat tails, and a factor shared by all symbols correlation. Prices lie on ticks.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec
import numpy as np

from candlewick.errors import ConfigError
from candlewick.models import CandleTable, Instrument, interval_ms

__all__ = ["SyntheticMarket", "synthetic_market"]

_STEPS = 6  # price steps inside a candle, from which high and low come
_YEAR_MS = 365 * 86_400_000


class SyntheticMarket(msgspec.Struct, frozen=True):
    """How the synthetic market moves.

    ``volatility`` is annual (0.6 is 60 %); ``alpha`` and ``beta`` are GARCH's; ``jumps`` is the
    number of jumps a day, ``jump_size`` their standard deviation; ``trend`` is the annual drift
    of a regime and ``regime_days`` how long one lasts on average; ``correlation`` is that of any
    two symbols' returns.
    """

    volatility: float = 0.6
    alpha: float = 0.08
    beta: float = 0.9
    jumps: float = 0.5
    jump_size: float = 0.01
    trend: float = 6.0
    regime_days: float = 1.0
    correlation: float = 0.6
    start_price: float = 40_000.0
    start_time: int = 1_704_067_200_000  # 2024-01-01 UTC

    def __post_init__(self) -> None:
        if not (self.alpha >= 0.0 and self.beta >= 0.0 and self.alpha + self.beta < 1.0):
            raise ConfigError(
                f"alpha {self.alpha!r} and beta {self.beta!r} must be positive and sum below 1"
            )
        if not 0.0 <= self.correlation < 1.0:
            raise ConfigError(f"correlation {self.correlation!r} must be from 0 to below 1")
        for name in ("volatility", "regime_days", "start_price"):
            value = getattr(self, name)
            if not 0.0 < value < 1e12:
                raise ConfigError(f"{name} {value!r} must be positive")
        for name in ("jumps", "jump_size", "start_time"):
            value = getattr(self, name)
            if not 0.0 <= value < 1e15:
                raise ConfigError(f"{name} {value!r} must be at least 0")


def synthetic_market(
    symbols: Sequence[str],
    interval: str = "1m",
    candles: int = 10_000,
    seed: int = 0,
    market: SyntheticMarket | None = None,
    instruments: Sequence[Instrument] = (),
) -> list[CandleTable]:
    """Make ``candles`` candles for each symbol; the same seed gives the same bytes.

    Prices begin at ``market.start_price`` for the first symbol and at a quarter of the last one's
    for each that follows, six times, then all over again a little lower.
    """
    if candles < 1:
        raise ConfigError(f"candles {candles!r} must be at least 1")
    if seed < 0:
        raise ConfigError(f"seed {seed!r} must be at least 0")
    market = market or SyntheticMarket()
    ticks = {item.symbol: item.tick for item in instruments}
    shared = np.random.default_rng([seed, 0]).standard_normal(candles * _STEPS)
    return [
        _one(symbol, number, interval, candles, seed, market, shared, ticks.get(symbol, 0.1))
        for number, symbol in enumerate(symbols)
    ]


def _one(
    symbol: str,
    number: int,
    interval: str,
    candles: int,
    seed: int,
    market: SyntheticMarket,
    shared: np.ndarray[tuple[int], np.dtype[np.float64]],
    tick: float,
) -> CandleTable:
    random = np.random.default_rng([seed, number + 1])
    length = interval_ms(interval)
    steps = candles * _STEPS
    own = random.standard_normal(steps)
    rho = market.correlation
    shocks = np.sqrt(rho) * shared + np.sqrt(1.0 - rho) * own
    step_ms = length / _STEPS
    base = market.volatility * np.sqrt(step_ms / _YEAR_MS)
    scale = np.repeat(_garch(random, candles, market), _STEPS)
    returns = base * scale * shocks + _regimes(random, candles, length, market)
    jumps = random.random(steps) < market.jumps * step_ms / 86_400_000
    returns += jumps * random.normal(0.0, market.jump_size, steps)
    start = market.start_price / 4.0 ** (number % 6) / (1.0 + number // 6 / 8.0)
    path = start * np.exp(np.cumsum(returns))
    ticks = np.maximum(np.rint(np.append(start, path) / tick), 1.0)
    inside = ticks[1:].reshape(candles, _STEPS)
    open_ = ticks[:-1:_STEPS]
    high = np.maximum(inside.max(axis=1), open_)
    low = np.minimum(inside.min(axis=1), open_)
    volume = np.round(random.gamma(2.0, 5.0, candles) * scale[::_STEPS], 3)
    times = market.start_time + length * np.arange(candles)
    numerator, denominator = Decimal(repr(tick)).as_integer_ratio()
    opens, highs, lows, closes = (
        column * numerator / denominator for column in (open_, high, low, inside[:, -1])
    )
    return CandleTable(symbol, interval, times, opens, highs, lows, closes, volume)


def _garch(
    random: np.random.Generator, candles: int, market: SyntheticMarket
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Volatility of each candle relative to the average one, shape (candles,)."""
    squares = (random.standard_normal(candles) ** 2).tolist()
    omega = 1.0 - market.alpha - market.beta
    alpha, beta = market.alpha, market.beta
    variance = 1.0
    variances = []
    for square in squares:
        variances.append(variance)
        variance = omega + variance * (alpha * square + beta)
    return np.asarray(np.sqrt(np.array(variances)), dtype=np.float64)


def _regimes(
    random: np.random.Generator, candles: int, length: int, market: SyntheticMarket
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Drift of each step: the sign and strength change when a regime ends."""
    per_candle = min(1.0, length / (market.regime_days * 86_400_000))
    changes = random.random(candles) < per_candle
    strengths = random.normal(0.0, market.trend, candles)
    changes[0] = True
    drift = strengths[np.maximum.accumulate(np.where(changes, np.arange(candles), 0))]
    return np.repeat(drift * (length / _STEPS / _YEAR_MS), _STEPS)
