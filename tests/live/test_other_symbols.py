"""A restart with other symbols: what an earlier run has left is told of, and still cleaned up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from candlewick.data import load_market
from candlewick.sandbox import Limits, Sandbox, SandboxSettings
from tests.live.bench import CONFIG, Bench, ended

PLENTY = 1_000_000_000
NO_SYMBOL = CONFIG.replace('symbols = ["BTCUSDT"]', "")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    market = load_market([], symbols=["BTCUSDT", "ETHUSDT"], candles=40_000, seed=11)
    limits = Limits(weight=PLENTY, orders_10s=PLENTY, orders_1m=PLENTY)
    async with Sandbox(market, SandboxSettings(speed=600.0, history=200, limits=limits)) as made:
        yield made


@pytest.mark.parametrize("command", [("flatten",), ("guard", "--after", "0.5", "--once")])
async def test_what_an_earlier_run_has_left_elsewhere_is_cleaned_up_too(
    sandbox: Sandbox, tmp_path: Path, command: tuple[str, ...]
) -> None:
    bench = Bench(sandbox, tmp_path, NO_SYMBOL)
    first = await bench.start("run", "--symbol", "BTCUSDT")
    await bench.until(lambda: bool(bench.exchange.positions()) and bench.is_protected())
    first.kill()
    await first.wait()
    second = await bench.start("run", "--symbol", "ETHUSDT")
    await bench.until_known(2, second)
    second.kill()
    output = await ended(second)
    assert "left positions or orders in BTCUSDT, which this run does not trade" in output
    cleaning = await bench.start(*command)
    said = await ended(cleaning)
    assert cleaning.returncode == 0, said
    assert bench.is_flat, said
