"""The guard beside real engines that are killed, stopped, or end without being flat."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from candlewick.audit import holder_of
from candlewick.sandbox import Fault, FaultKind, Sandbox
from candlewick.sandbox.records import AlgoRecord
from tests.live.bench import CONFIG, Bench, Proxy, ended

AFTER_S = 0.5
BOUND_S = 60.0  # to notice, connect, learn, close and verify, on a machine that is busy


@asynccontextmanager
async def guarded(bench: Bench, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A guard beside whatever the bench starts; it ends with 0."""
    guard = await bench.start("guard", "--after", str(AFTER_S), *arguments)
    try:
        yield guard
    finally:
        if guard.returncode is None:
            guard.send_signal(signal.SIGTERM)
    output = await ended(guard)
    assert guard.returncode == 0, output


def stop_of(bench: Bench) -> AlgoRecord | None:
    """The stop that rests, when there is one."""
    return next(iter(bench.sandbox.first.account.open_algos()), None)


async def until_held(bench: Bench) -> None:
    await bench.until(lambda: bool(bench.exchange.positions()) and bench.is_protected())


async def test_a_living_engine_is_left_alone_and_a_killed_one_made_good(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    bench = Bench(sandbox, tmp_path)
    async with guarded(bench, "--once") as guard:
        engine = await bench.start("run")
        await bench.until_known(1)
        known = len(bench.trades)
        await bench.until(lambda: len(bench.trades) >= known + 4)  # it trades beside the guard
        assert guard.returncode is None
        assert engine.returncode is None
        await until_held(bench)
        engine.kill()
        await engine.wait()
        output = await ended(guard)
        assert "done and verified: flatten" in output
    assert bench.is_flat
    bench.check_journal()
    bench.check_fills()
    bench.check_profit()
    bench.check_replay()


@pytest.mark.timeout(600)
async def test_whenever_an_engine_is_killed_the_guard_makes_the_account_flat(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    await guard_torture(Bench(sandbox, tmp_path), rounds=4, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_soak_the_guard_makes_the_account_flat_a_hundred_times(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    await guard_torture(Bench(sandbox, tmp_path), rounds=100, seed=2)


async def guard_torture(bench: Bench, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    async with guarded(bench):
        for number in range(rounds):
            ended_before = len(bench.tail.read().of["engine_stopped"])
            engine = await bench.start("run")
            await bench.until_known(len(bench.tail.read().known) + 1)
            await asyncio.sleep(chance.uniform(0.0, 1.0))
            engine.kill()
            await engine.wait()

            def acted(before: int = ended_before) -> bool:
                return len(bench.tail.read().of["engine_stopped"]) > before

            await bench.until(acted, BOUND_S)
            assert bench.tail.of["engine_stopped"][-1]["exit_code"] == 0
            assert bench.is_flat, f"round {number} of seed {seed}"
            bench.check_journal()
    bench.check_fills()
    bench.check_profit()
    bench.check_replay()


async def test_by_policy_keep_the_guard_sees_to_the_stops(sandbox: Sandbox, tmp_path: Path) -> None:
    bench = Bench(sandbox, tmp_path)
    engine = await bench.start("run")
    await until_held(bench)
    engine.kill()
    await engine.wait()
    async with guarded(bench, "--once", "--policy", "keep") as guard:
        assert "done and verified: keep" in await ended(guard)
    assert bench.is_protected()
    bench.check_journal()


async def test_by_policy_tighten_the_guard_moves_the_stops_nearer(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    bench = Bench(sandbox, tmp_path)
    engine = await bench.start("run")
    await until_held(bench)
    engine.kill()
    await engine.wait()
    before = stop_of(bench)
    async with guarded(bench, "--once", "--policy", "tighten") as guard:
        output = await ended(guard)
        assert "done and verified: tighten" in output
    planned = [o for o in bench.tail.read().of["order_planned"] if o["purpose"] == "stop"]
    cancelled = bench.tail.of["order_cancel_planned"]
    if before is not None and bench.exchange.positions():
        after = stop_of(bench)
        assert after is not None
        assert after.client_id != before.client_id
        nearer = after.trigger > before.trigger
        assert nearer == (before.side == "SELL")
        assert planned[-1]["client_id"] == after.client_id
        assert cancelled[-1]["client_id"] == before.client_id  # the old one went last
    else:  # the market reached a stop meanwhile
        assert bench.is_flat


async def test_a_hanging_engine_is_told_of_and_killed_only_when_that_is_allowed(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    bench = Bench(sandbox, tmp_path)
    engine = await bench.start("run")
    await until_held(bench)
    engine.send_signal(signal.SIGSTOP)
    async with guarded(bench) as guard:
        assert guard.stdout is not None
        async for line in guard.stdout:
            if b"does not answer" in line:
                break
        assert engine.returncode is None
        guard.send_signal(signal.SIGTERM)
    async with guarded(bench, "--once", "--kill-hung") as guard:
        output = await ended(guard)
        assert "it is killed" in output
    await engine.wait()
    assert bench.is_flat
    bench.check_journal()


async def test_an_engine_that_hung_for_a_moment_is_left_alone(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """Its loop was late in the last seconds, and turns again: it lives."""
    bench = Bench(sandbox, tmp_path)
    engine = await bench.start("run")
    await until_held(bench)
    async with guarded(bench, "--once", "--kill-hung", "--after", "3") as guard:
        assert guard.stdout is not None
        assert b"watching" in await guard.stdout.readline()
        engine.send_signal(signal.SIGSTOP)
        await asyncio.sleep(1.0)  # so long does its loop stand still
        engine.send_signal(signal.SIGCONT)
        seen = len(bench.tail.read().of["candle_closed"])
        await bench.until(lambda: len(bench.tail.read().of["candle_closed"]) > seen + 120)
        assert engine.returncode is None
        engine.kill()
        await engine.wait()
        output = await ended(guard)
    assert "no sign of life" not in output
    assert "done and verified: flatten" in output


@pytest.mark.timeout(300)
async def test_an_engine_that_takes_its_time_to_start_is_not_called_gone(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """The last run was killed, and the next one holds the lease before it can be looked at."""
    bench = Bench(sandbox, tmp_path)
    engine = await bench.start("run")
    await until_held(bench)
    engine.kill()
    await engine.wait()
    slow = Fault(kind=FaultKind.SLOW, match="GET /fapi/v1/klines", delay_ms=4_000)
    bench.sandbox.world.add_fault(slow)
    engine = await bench.start("run")
    await bench.until(lambda: holder_of(bench.journal) is not None)
    async with guarded(bench) as guard:
        assert guard.stdout is not None
        async for line in guard.stdout:
            assert b"no engine looks after" not in line
            if b"the lease is not free" in line:
                break
        await bench.until_known(2, engine)
        engine.send_signal(signal.SIGTERM)
        output = await ended(engine)
        assert engine.returncode == 0, output
    assert bench.is_flat


@pytest.mark.timeout(300)
async def test_an_engine_that_is_cut_off_is_asked_to_stop_and_made_good(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """It answers the guard, but knows neither market nor account; its goodbye is not flat."""
    config = CONFIG.replace("cleanup_timeout_s = 20.0", "cleanup_timeout_s = 2.0")
    bench, direct = Bench(sandbox, tmp_path, config), Bench(sandbox, tmp_path)
    async with Proxy(sandbox) as proxy:
        proxy.point(bench)
        engine = await bench.start("run")
        await until_held(bench)
        proxy.cut()
        async with guarded(direct, "--once", "--kill-hung") as guard:
            output = await ended(engine)
            assert engine.returncode == 6, output
            assert "could not be asked" in output
            said = await ended(guard)
            assert "it is asked to stop" in said
            assert "done and verified: flatten" in said
    assert bench.is_flat
    bench.check_journal()
