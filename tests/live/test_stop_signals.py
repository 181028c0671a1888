"""SIGINT and SIGTERM at random moments: the exit code tells the truth, as the books show.

0: flat, or kept with stops, and confirmed. 130 or death by the signal: nothing had been touched.
6: not confirmed, with a list of what is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from candlewick.sandbox import Fault, Sandbox
from candlewick.sandbox.faults import FaultKind
from tests.live.bench import Bench, ended

_UNBORN = "Fatal Python error: init_import_site"  # the interpreter was not up yet
SIGNALS = (signal.SIGINT, signal.SIGTERM)
Moment = Callable[[Bench, random.Random], Awaitable[None]]


async def while_starting(bench: Bench, chance: random.Random) -> None:
    """From before the interpreter is up to after the account is known."""
    await asyncio.sleep(chance.uniform(0.0, 1.5))


async def mid_order(bench: Bench, chance: random.Random) -> None:
    """As an order is on its way: the exchange is slow to answer."""
    bench.sandbox.world.add_fault(Fault(kind=FaultKind.SLOW, match="POST *", delay_ms=200))
    before = len(bench.orders)
    await bench.until(lambda: len(bench.orders) > before)
    await asyncio.sleep(chance.uniform(0.0, 0.1))


async def mid_reconnect(bench: Bench, chance: random.Random) -> None:
    """While streams are lost and cannot be had back for a moment."""
    await bench.until_known(len(bench.tail.read().known) + 1)
    refused = Fault(kind=FaultKind.REFUSE_USER_STREAM, count=2)
    bench.sandbox.world.add_fault(refused)
    bench.sandbox.cut()
    await asyncio.sleep(chance.uniform(0.0, 0.3))


async def any_time(bench: Bench, chance: random.Random) -> None:
    await bench.until_known(len(bench.tail.read().known) + 1)
    await asyncio.sleep(chance.uniform(0.0, 0.6))


MOMENTS: tuple[Moment, ...] = (while_starting, mid_order, mid_reconnect, any_time)


async def stop_again_and_again(bench: Bench, rounds: int, seed: int) -> set[int]:
    """Stop runs at random moments, once or several times; returns the exit codes that were seen."""
    chance, codes = random.Random(seed), set()
    for number in range(rounds):
        moment = MOMENTS[number % len(MOMENTS)]
        policy = chance.choice(("flatten", "keep"))
        trades, orders = len(bench.trades), len(bench.orders)
        held = dict(_positions(bench))
        engine = await bench.start("run", "--on-stop", policy)
        await moment(bench, chance)
        for _ in range(chance.randint(1, 3)):  # the later ones in the middle of the cleanup
            with contextlib.suppress(ProcessLookupError):
                engine.send_signal(chance.choice(SIGNALS))
            await asyncio.sleep(chance.uniform(0.0, 0.1))
        output = await ended(engine)
        code = engine.returncode
        assert code is not None
        where = f"round {number} of seed {seed}, {moment.__name__}, {policy}: {code}\n{output}"
        codes.add(code)
        if code == 0 and policy == "flatten":
            assert bench.is_flat, where
        elif code == 0:
            assert bench.is_protected(), where
            assert not _entries(bench), where
        elif code in (130, -signal.SIGINT, -signal.SIGTERM) or _UNBORN in output:
            assert len(bench.orders) == orders, where  # it has sent nothing; a stop may have filled
            assert len(bench.trades) == trades or held, where
        else:
            assert code == 6, where
            assert "not as it should be" in output, where
        bench.sandbox.world.clear_faults()
    return codes


def _positions(bench: Bench) -> list[tuple[str, float]]:
    return [(held.symbol, held.quantity) for held in bench.exchange.positions()]


def _entries(bench: Bench) -> list[str]:
    """Entries of ours that still rest."""
    account = bench.sandbox.first.account
    return [o.client_id for o in account.open_orders() if o.client_id.endswith("-entry")]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2])
async def test_the_exit_code_tells_the_truth_at_random_moments(
    sandbox: Sandbox, tmp_path: Path, seed: int
) -> None:
    bench = Bench(sandbox, tmp_path)
    codes = await stop_again_and_again(bench, rounds=8, seed=seed)
    assert 0 in codes
    bench.check_journal()


@pytest.mark.slow
@pytest.mark.timeout(7200)
async def test_soak_the_exit_code_tells_the_truth_three_hundred_times(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    bench = Bench(sandbox, tmp_path)
    await stop_again_and_again(bench, rounds=300, seed=7)
    bench.check_journal()
