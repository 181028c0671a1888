"""Real processes, real sockets, real `kill -9`: protected, booked once, recovered."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from pathlib import Path

import pytest

from candlewick.sandbox import Fault, Sandbox
from candlewick.sandbox.faults import FaultKind
from tests.live.bench import CONFIG, LATE_S, PROTECT_S, Bench, ended

FAULTS = (
    (Fault(kind=FaultKind.LOSE_REPLY, match="POST *", rate=0.2),),
    (Fault(kind=FaultKind.LOSE_REQUEST, rate=0.1),),
    (Fault(kind=FaultKind.HTTP_ERROR, rate=0.1, status=503),),
    (Fault(kind=FaultKind.SLOW, rate=0.3, delay_ms=150),),
    (Fault(kind=FaultKind.DROP, route="private", rate=0.2),),
    (Fault(kind=FaultKind.DUPLICATE, rate=0.3),),
    (Fault(kind=FaultKind.REORDER, rate=0.2),),
    (Fault(kind=FaultKind.CUT, rate=0.02),),
    (Fault(kind=FaultKind.PARTIAL_FILLS, value=4),),
    (
        Fault(kind=FaultKind.PARTIAL_FILLS, value=3),
        Fault(kind=FaultKind.DROP, route="private", rate=0.2),
    ),
)


async def kill(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.wait()


async def torture(bench: Bench, rounds: int, seed: int) -> None:
    """Kill an engine again and again, at random moments; after each round all must be well."""
    chance, known = random.Random(seed), 0
    for number in range(rounds):
        engine = await bench.start("run")
        if chance.random() < 0.25:
            await asyncio.sleep(chance.uniform(0.2, 1.2))  # in the middle of its start
            await kill(engine)
            engine = await bench.start("run")
        known = await after_start(bench, engine, known, f"round {number} of seed {seed}")
        if chance.random() < 0.5:
            for fault in chance.choice(FAULTS):
                bench.sandbox.world.add_fault(fault)
        await asyncio.sleep(chance.uniform(0.0, 0.6))
        await kill(engine)
        bench.sandbox.world.clear_faults()
    engine = await bench.start("run")
    await after_start(bench, engine, known, "the last start")
    engine.send_signal(signal.SIGINT)
    output = await ended(engine)
    assert engine.returncode == 0, output
    assert bench.is_flat
    bench.check_journal()
    await bench.until_booked()
    bench.check_fills()
    bench.check_profit()
    bench.check_replay()


async def after_start(
    bench: Bench, engine: asyncio.subprocess.Process, known: int, where: str
) -> int:
    """A start makes good what the crash has left; returns how many runs knew the account."""
    await bench.until_known(known + 1, engine)
    watching = asyncio.create_task(bench.watch())
    try:
        await bench.until(bench.is_protected, PROTECT_S + LATE_S)
        await bench.until_booked()
        assert engine.returncode is None, f"{where}: {await ended(engine)}"
        bench.check_journal()
        bench.check_fills()
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    assert bench.unprotected_s <= PROTECT_S + LATE_S, where
    return len(bench.tail.known)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2])
async def test_an_engine_killed_again_and_again_recovers(
    sandbox: Sandbox, tmp_path: Path, seed: int
) -> None:
    await torture(Bench(sandbox, tmp_path), rounds=10, seed=seed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
async def test_soak_an_engine_killed_fifty_times_recovers(
    sandbox: Sandbox, tmp_path: Path, seed: int
) -> None:
    await torture(Bench(sandbox, tmp_path), rounds=50, seed=100 + seed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_flatten_stops_a_running_engine_and_verifies(
    sandbox: Sandbox, tmp_path: Path, number: signal.Signals
) -> None:
    """Also with a signal at flatten itself, which would leave what is left unknown."""
    bench = Bench(sandbox, tmp_path)
    engine = await bench.start("run")
    await bench.until(lambda: bool(bench.exchange.positions()))
    flatten = await bench.start("flatten", "--json")
    await asyncio.wait_for(engine.wait(), 60)
    assert engine.returncode == 0
    flatten.send_signal(number)
    output = await ended(flatten)
    assert flatten.returncode in (0, 130), output
    if flatten.returncode == 0:
        assert '{"verified":true,"problems":[]}' in output.splitlines()
    assert bench.is_flat


async def test_flatten_works_without_an_engine_and_knows_its_symbols(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    bench = Bench(sandbox, tmp_path)
    engine = await bench.start("run", "--on-stop", "keep")
    await bench.until(lambda: bool(bench.exchange.positions()) and bench.is_protected())
    engine.send_signal(signal.SIGTERM)
    output = await ended(engine)
    assert engine.returncode == 0, output
    if bench.exchange.positions():
        assert bench.is_protected()
    (tmp_path / "c.toml").write_text(CONFIG.replace('symbols = ["BTCUSDT"]', ""))
    flatten = await bench.start("flatten")
    assert "BTCUSDT: flat, as the exchange has confirmed" in await ended(flatten)
    assert bench.is_flat


async def test_flatten_ends_an_engine_without_monitoring(sandbox: Sandbox, tmp_path: Path) -> None:
    bench = Bench(sandbox, tmp_path, CONFIG + "[monitoring]\nenabled = false\n")
    engine = await bench.start("run")
    await bench.until(lambda: bool(bench.exchange.positions()))
    flatten = await bench.start("flatten")
    assert "flat, as the exchange has confirmed" in await ended(flatten)
    assert await engine.wait() == 0
    assert bench.is_flat


async def test_flatten_says_what_an_engine_that_hangs_still_holds(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    bench = Bench(sandbox, tmp_path)
    engine = await bench.start("run")
    await bench.until(lambda: bool(bench.exchange.positions()))
    engine.send_signal(signal.SIGSTOP)
    flatten = await bench.start("flatten", "--wait", "1")
    output = await ended(flatten)
    assert flatten.returncode == 6, output
    assert "still holds the account" in output
    flatten = await bench.start("flatten", "--wait", "1", "--kill-hung")
    output = await ended(flatten)
    assert flatten.returncode == 0, output
    assert bench.is_flat
    await engine.wait()
