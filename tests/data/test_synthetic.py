"""The synthetic market: the same bytes for the same seed, prices on ticks, and looks like one."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from candlewick.data import SyntheticMarket, guess_instrument, load_market, synthetic_market
from candlewick.errors import ConfigError, ValidationError
from candlewick.models import CandleTable, Instrument, interval_ms
from candlewick.models.candle import impossible
from tests.data import digest as digest_script
from tests.data.digest import digest

ROOT = Path(__file__).parents[2]


def one(symbol: str = "BTCUSDT", **how: Any) -> CandleTable:
    (table,) = synthetic_market([symbol], **how)
    return table


# -- the same bytes ----------------------------------------------------------------------------


def test_a_seed_gives_the_same_bytes_in_every_process() -> None:
    """Whatever the order of sets and dictionaries, and whatever numpy has drawn before."""
    np.random.default_rng(1).standard_normal(10)
    here = digest(synthetic_market(["BTCUSDT", "ETHUSDT"], "1m", 3_000, 7))
    script = str(digest_script.__file__)
    for hash_seed in ("0", "1", "4711"):
        done = subprocess.run(
            [sys.executable, script, "7"], capture_output=True, text=True, check=True, cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )  # fmt: skip
        assert done.stdout.strip() == here


def test_another_seed_gives_another_market() -> None:
    digests = {digest(synthetic_market(["BTCUSDT"], "1m", 100, seed)) for seed in range(20)}
    assert len(digests) == 20


def test_a_symbol_does_not_depend_on_the_symbols_after_it() -> None:
    alone, together = one(candles=500, seed=3), synthetic_market(["BTCUSDT", "X"], "1m", 500, 3)
    assert digest([alone]) == digest([together[0]])
    assert together[1].close.tolist() != together[0].close.tolist()


# -- possible candles --------------------------------------------------------------------------


@pytest.mark.parametrize("tick", [0.1, 0.01, 0.25, 0.5, 5.0, 1e-8, 0.0005])
def test_prices_are_exact_multiples_of_the_tick(tick: float) -> None:
    item = Instrument("X", tick=tick)
    market = SyntheticMarket(start_price=2_000 * tick)
    table = one("X", candles=300, market=market, instruments=[item])
    for name in ("open", "high", "low", "close"):
        for price in getattr(table, name).tolist():
            assert item.is_price(price)
            assert Decimal(repr(price)) % Decimal(repr(tick)) == 0
    assert len(set(table.close.tolist())) > 5


@pytest.mark.parametrize("interval", ["1s", "1m", "1h", "1d", "1w"])
def test_every_candle_is_possible_and_follows_the_one_before(interval: str) -> None:
    table = one(interval=interval, candles=2_000, seed=11)
    for candle in table:
        values = (candle.open, candle.high, candle.low, candle.close, candle.volume)
        assert impossible(candle.open_time, *values, candle.close_time) == ""
        assert candle.is_closed
    assert np.all(np.diff(table.open_time) == interval_ms(interval))
    assert table.open[1:].tolist() == table.close[:-1].tolist()


def test_as_many_symbols_as_wanted_all_move() -> None:
    symbols = [f"S{number}USDT" for number in range(30)]
    tables = synthetic_market(symbols, "1m", 400, seed=2)
    assert [table.symbol for table in tables] == symbols
    for table in tables:
        assert np.mean(table.high > table.low) > 0.2, table.symbol


# -- like a market -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long() -> CandleTable:
    return one(candles=100_000, seed=5)


def autocorrelation(values: np.ndarray[Any, Any], lag: int) -> float:
    return float(np.corrcoef(values[:-lag], values[lag:])[0, 1])


def test_volatility_clusters(long: CandleTable) -> None:
    """Sizes of returns are correlated over time; shuffled, as without memory, they are not."""
    returns = np.diff(np.log(long.close))
    calm = np.minimum(np.abs(returns), np.quantile(np.abs(returns), 0.999))
    shuffled = np.random.default_rng(0).permutation(calm)
    noise = 4.0 / np.sqrt(len(returns))
    for lag in (1, 5, 20):
        assert autocorrelation(calm, lag) > 0.02 + noise
        assert abs(autocorrelation(shuffled, lag)) < noise
    assert abs(autocorrelation(returns, 1)) < 0.02


def test_returns_have_fat_tails_and_jumps(long: CandleTable) -> None:
    returns = np.diff(np.log(long.close))
    kurtosis = float(np.mean((returns - returns.mean()) ** 4) / returns.var() ** 2)
    assert kurtosis > 4.0  # 3 for a normal distribution
    days = len(long) / 1_440
    typical = float(np.median(np.abs(returns))) / 0.6745
    jumps = int(np.sum(np.abs(returns) > 8 * typical))
    assert 0.1 * days < jumps < 2 * days


def test_volatility_is_about_what_was_asked_for() -> None:
    for asked in (0.3, 0.6, 1.2):
        market = SyntheticMarket(volatility=asked, jumps=0.0, trend=0.0)
        returns = np.diff(np.log(one(candles=60_000, seed=1, market=market).close))
        assert returns.std() * np.sqrt(365 * 1_440) == pytest.approx(asked, rel=0.1)


def test_symbols_are_correlated_as_asked() -> None:
    for asked in (0.0, 0.6, 0.9):
        market = SyntheticMarket(correlation=asked, jumps=0.0, trend=0.0, alpha=0.0, beta=0.0)
        pair = synthetic_market(["A", "B"], "1m", 20_000, 4, market)
        returns = [np.diff(np.log(table.close)) for table in pair]
        assert float(np.corrcoef(*returns)[0, 1]) == pytest.approx(asked, abs=0.04)


def test_regimes_give_trends() -> None:
    calm = SyntheticMarket(trend=0.0, jumps=0.0)
    trending = SyntheticMarket(trend=200.0, jumps=0.0)
    spread = [
        np.std(np.diff(np.log(one(interval="1h", candles=20_000, seed=6, market=m).close[::24])))
        for m in (calm, trending)
    ]
    assert spread[1] > 1.5 * spread[0]


# -- labels and errors -------------------------------------------------------------------------


def test_a_synthetic_market_says_what_it_is() -> None:
    market = load_market([], seed=42, candles=50)
    assert market.label == "synthetic market (seed 42)"
    assert (market.symbols, market.interval, market.missing_candles) == (("BTCUSDT",), "1m", 0)
    assert market.instruments["BTCUSDT"] == guess_instrument("BTCUSDT")
    pair = load_market([], symbols=["ETHUSDT", "SOLUSDT"], interval="1h", synthetic_candles=80)
    assert [len(table) for table in pair.tables] == [80, 80]
    assert pair.interval == "1h"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: one(candles=0), "candles 0 must be at least 1"),
        (lambda: one(seed=-1), "seed -1 must be at least 0"),
        (lambda: SyntheticMarket(alpha=0.5, beta=0.5), "alpha 0.5 and beta 0.5 must be"),
        (lambda: SyntheticMarket(alpha=-0.1), "alpha -0.1 and beta"),
        (lambda: SyntheticMarket(correlation=1.0), "correlation 1.0 must be from 0 to below 1"),
        (lambda: SyntheticMarket(volatility=0.0), "volatility 0.0 must be positive"),
        (lambda: SyntheticMarket(regime_days=float("nan")), "regime_days nan must be positive"),
        (lambda: SyntheticMarket(start_price=-5.0), "start_price -5.0 must be positive"),
        (lambda: SyntheticMarket(jumps=-1.0), "jumps -1.0 must be at least 0"),
    ],
)
def test_a_market_that_cannot_be_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()


def test_an_unknown_interval_is_refused() -> None:
    with pytest.raises(ValidationError, match="unknown interval '2min'"):
        one(interval="2min")
