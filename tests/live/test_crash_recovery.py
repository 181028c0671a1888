"""Real processes, real sockets, real `kill -9`: protected, booked once, recovered."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from candlewick.audit import EventType, read, verify
from candlewick.data import load_market
from candlewick.exchange import SimulatedExchange
from candlewick.live.replay import replay
from candlewick.models import OrderType
from candlewick.sandbox import Limits, Sandbox, SandboxSettings

COMMAND = (sys.executable, "-c", "from candlewick.cli.main import main; main()")
PLENTY = 1_000_000_000
CONFIG = """
[strategy]
name = "sma_cross"
params = {fast = 3, slow = 6}
[data]
symbols = ["BTCUSDT"]
interval = "1m"
[risk]
daily_loss = 0.0
default_stop = 0.05
[run]
venue = "binance"
cleanup_timeout_s = 20.0
[account]
fee_taker = 0.0005
"""


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """An exchange whose minutes pass in 50 milliseconds."""
    market = load_market([], candles=40_000, seed=11)
    settings = SandboxSettings(
        speed=1_200.0, history=200,
        limits=Limits(weight=PLENTY, orders_10s=PLENTY, orders_1m=PLENTY), seed=1,
    )  # fmt: skip
    async with Sandbox(market, settings) as made:
        yield made


class Bench:
    """Starts commands against a sandbox, and looks into its books."""

    def __init__(self, sandbox: Sandbox, directory: Path) -> None:
        self.sandbox = sandbox
        self.directory = directory
        self.journal = directory / "journal"
        (directory / "c.toml").write_text(CONFIG)

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *COMMAND, *arguments, "-c", "c.toml", "--rest", self.sandbox.rest_url,
            "--ws", self.sandbox.ws_url, cwd=self.directory,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env={
                **os.environ,
                "CANDLEWICK_API_KEY": self.sandbox.api_key,
                "CANDLEWICK_API_SECRET": self.sandbox.api_secret,
                "XDG_RUNTIME_DIR": str(self.directory),
            },
        )  # fmt: skip

    @property
    def exchange(self) -> SimulatedExchange:
        return self.sandbox.first.account.exchange

    @property
    def trades(self) -> int:
        return len(self.sandbox.first.account.trades)

    def is_protected(self) -> bool:
        """Flat, or a stop at the exchange that covers the position."""
        for held in self.exchange.positions():
            stops = sum(
                order.quantity
                for order in self.exchange.open_orders(held.symbol)
                if order.type is OrderType.STOP_MARKET and order.side.sign * held.quantity < 0.0
            )
            if stops < abs(held.quantity):
                return False
        return True

    async def until(self, reached: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait for something that another process brings about."""
        async with asyncio.timeout(seconds):
            while not reached():  # noqa: ASYNC110 - there is no event across processes
                await asyncio.sleep(0.01)

    def check_books(self) -> None:
        """The journal verifies, replays, and agrees with the exchange on every order and fill."""
        verified = verify(self.journal)
        assert verified.ok, verified.problems
        replayed = replay(self.journal)
        assert replayed.same, replayed.first_difference
        assert replayed.compared
        planned = {r.data["client_id"] for r in read(self.journal, types=[EventType.ORDER_PLANNED])}
        account = self.sandbox.first.account
        ours = {order.client_id for order in account.orders.values()}
        ours |= {algo.client_id for algo in account.algos.values()}
        assert {name for name in ours if name.startswith("cw-")} <= planned
        fills = [r.data for r in read(self.journal, types=[EventType.FILL])]
        booked = [fill["trade_id"] for fill in fills]
        assert sorted(booked) == sorted(trade.id for trade in account.trades)
        assert sum(fill["fee"] for fill in fills) == pytest.approx(
            self.exchange.fees_paid, rel=1e-12
        )


async def ended(process: asyncio.subprocess.Process) -> str:
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return output.decode()


async def torture(bench: Bench, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(rounds):
        before = bench.trades
        engine = await bench.start("run")
        await bench.until(lambda before=before: bench.trades > before)  # type: ignore[misc]
        await asyncio.sleep(chance.uniform(0.0, 0.6))
        engine.kill()
        await engine.wait()
    engine = await bench.start("run")
    before = bench.trades
    await bench.until(lambda: bench.trades > before)
    await bench.until(bench.is_protected, 5.0)
    engine.send_signal(signal.SIGINT)
    output = await ended(engine)
    assert engine.returncode == 0, output
    assert not bench.exchange.positions()
    assert not bench.exchange.open_orders()
    bench.check_books()


async def test_an_engine_killed_again_and_again_recovers(sandbox: Sandbox, tmp_path: Path) -> None:
    await torture(Bench(sandbox, tmp_path), rounds=4, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
async def test_soak_an_engine_killed_fifty_times_recovers(
    sandbox: Sandbox, tmp_path: Path, seed: int
) -> None:
    await torture(Bench(sandbox, tmp_path), rounds=50, seed=seed)


async def test_the_guard_closes_what_a_killed_engine_has_left(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    bench = Bench(sandbox, tmp_path)
    engine = await bench.start("run")
    await bench.until(lambda: bool(bench.exchange.positions()))
    guard = await bench.start("guard", "--after", "0.5", "--once")
    await asyncio.sleep(1.5)  # it watches a living engine, and leaves it alone
    assert guard.returncode is None
    assert engine.returncode is None
    await bench.until(lambda: bool(bench.exchange.positions()))
    engine.kill()
    await engine.wait()
    output = await ended(guard)
    assert guard.returncode == 0, output
    assert "done and verified" in output
    assert not bench.exchange.positions()
    assert not bench.exchange.open_orders()
    bench.check_books()


async def test_flatten_stops_a_running_engine_and_verifies(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    bench = Bench(sandbox, tmp_path)
    engine = await bench.start("run")
    await bench.until(lambda: bool(bench.exchange.positions()))
    flatten = await bench.start("flatten", "--json")
    output = await ended(flatten)
    assert flatten.returncode == 0, output
    assert '{"verified":true,"problems":[]}' in output.splitlines()
    await asyncio.wait_for(engine.wait(), 30)
    assert engine.returncode == 0
    assert not bench.exchange.positions()
    assert not bench.exchange.open_orders()


async def test_flatten_works_without_an_engine(sandbox: Sandbox, tmp_path: Path) -> None:
    bench = Bench(sandbox, tmp_path)
    engine = await bench.start("run", "--on-stop", "keep")
    await bench.until(lambda: bool(bench.exchange.positions()) and bench.is_protected())
    engine.send_signal(signal.SIGTERM)
    output = await ended(engine)
    assert engine.returncode == 0, output
    if bench.exchange.positions():
        assert bench.is_protected()
    flatten = await bench.start("flatten")
    assert "flat, as the exchange has confirmed" in await ended(flatten)
    assert not bench.exchange.positions()
    assert not bench.exchange.open_orders()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_during_the_start_is_as_safe_as_later(
    sandbox: Sandbox, tmp_path: Path, number: signal.Signals
) -> None:
    bench = Bench(sandbox, tmp_path)
    engine = await bench.start("run")
    await bench.until(lambda: bench.journal.exists() and any(bench.journal.glob("*.jsonl")))
    engine.send_signal(number)
    engine.send_signal(number)
    output = await ended(engine)
    assert engine.returncode in (0, 130), output
    assert not bench.exchange.positions()
