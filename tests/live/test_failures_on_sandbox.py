"""Failures of placing stop, target and close over real sockets: protected, flat, or exit code 6.

The same combinations are played exhaustively in virtual time in tests/engine.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from candlewick.engine import StopPolicy
from candlewick.errors import ExitCode
from candlewick.live.replay import replay
from candlewick.models import Candle, Fill, SignalAction, TriggerPrice
from candlewick.sandbox import Fault, FaultKind, Sandbox
from candlewick.strategies import Strategy
from tests.live.on_sandbox import PRICE, SYMBOL, Player, market_at, play_on

K = FaultKind
POST = "POST /fapi/v1/*rder"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with market_at([PRICE] * 600) as made:
        yield made


WAYS = {
    "refused": (K.HTTP_ERROR, {"status": 400, "code": -4005}),
    "-2021": (K.HTTP_ERROR, {"status": 400, "code": -2021}),
    "-2022": (K.HTTP_ERROR, {"status": 400, "code": -2022}),
    "503": (K.HTTP_ERROR, {"status": 503, "code": -1007}),
    "reply lost": (K.LOSE_REPLY, {}),
    "request lost": (K.LOSE_REQUEST, {}),
    "timeout": (K.SLOW, {"delay_ms": 3_500}),
}


class EntersOnce(Strategy):
    """Buys with a stop and a target, until something has filled."""

    done = False

    def on_candle(self, candle: Candle) -> None:
        if not self.done and not self.orders:
            self.buy(size=0.01, stop=candle.close * 0.9, target=candle.close * 1.1)

    def on_fill(self, fill: Fill) -> None:
        self.done = True


class Case(NamedTuple):
    """Which orders fail, how, and how often (0: always)."""

    stop: tuple[str, int] | None = None
    target: tuple[str, int] | None = None
    close: tuple[str, int] | None = None

    def __str__(self) -> str:
        return ", ".join(
            f"{name} {failure[0]} {failure[1] or 'always'}"
            for name, failure in zip(("stop", "target", "close"), self, strict=True)
            if failure is not None
        )

    def faults(self, run: str) -> list[Fault]:
        """Faults that strike the orders of one run only."""
        made = []
        for purpose, failure in zip(("stop", "target", "close"), self, strict=True):
            if failure is not None:
                kind, more = WAYS[failure[0]]
                made.append(
                    Fault(
                        kind=kind, match=POST, order=f"cw-{run}-*-{purpose}", count=failure[1],
                        **more,  # type: ignore[arg-type]
                    )
                )  # fmt: skip
        return made


ONCE = [Case(**{purpose: (way, 1)}) for purpose in Case._fields for way in WAYS]
ALWAYS = [Case(stop=(way, 0)) for way in WAYS if way not in ("reply lost", "timeout")]
MIXED = [
    Case(("refused", 2), ("503", 1), ("request lost", 1)),
    Case(("reply lost", 1), ("reply lost", 1), ("reply lost", 1)),
    Case(("503", 1), None, ("503", 2)),
    Case(("-2021", 1), None, ("refused", 2)),
    Case(("request lost", 1), ("-2021", 1), ("timeout", 1)),
    Case(("timeout", 1), None, ("refused", 1)),
]
HOPELESS = [
    Case(("refused", 0), None, ("refused", 0)),
    pytest.param(Case(("503", 0), None, ("503", 0)), marks=pytest.mark.slow),
    Case(("-2021", 0), None, ("-2022", 0)),
]


async def survive(sandbox: Sandbox, directory: Path, number: int, case: Case) -> list[str]:
    """Play one case; returns what is wrong with how it ended."""
    run = f"c{number}"
    wrong = []

    async def script(player: Player) -> None:
        await player.until(lambda: player.system.tally.fills > 0)
        state = player.engine_symbol
        await player.until(
            lambda: player.is_safe and not state.unprotected_since and not state.unknown, 60.0
        )

    outcome, player = await play_on(
        sandbox, directory, script, name=run, strategy=EntersOnce(), faults=case.faults(run),
        protect_within_ms=1_500,
    )  # fmt: skip
    if outcome.exit_code is not ExitCode.OK:
        wrong.append(f"exit code {outcome.exit_code}: {outcome.problems}")
    if player.held or player.resting:
        wrong.append(f"left: {player.held:g} and {player.resting}")
    if not (replayed := replay(directory / run, strategy=EntersOnce)).same:
        wrong.append(f"replays otherwise: {replayed.first_difference}")
    return [f"{case}: {what}" for what in wrong]


async def play_all(directory: Path, cases: list[Case]) -> None:
    """Play cases beside each other, each on an account of its own.

    The exchange counts requests by address: a few systems share an exchange.
    """
    async with market_at([PRICE] * 600) as sandbox:
        played = [survive(sandbox, directory, n, case) for n, case in enumerate(cases)]
        assert [what for found in await asyncio.gather(*played) for what in found] == []
        struck = {rule["order"]: rule["hit"] for rule in sandbox.world.faults.report()}
    for number, case in enumerate(cases):
        assert sum(n for name, n in struck.items() if f"-c{number}-" in name), f"{case}: no fault"


async def test_failures_of_stop_target_and_close_end_protected_and_then_flat(
    tmp_path: Path,
) -> None:
    cases = [*ONCE, *ALWAYS, *MIXED]
    groups = {str(n): cases[n::3] for n in range(3)}
    await asyncio.gather(*(play_all(tmp_path / name, group) for name, group in groups.items()))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(20))
async def test_soak_random_combinations_end_protected_and_then_flat(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)

    def failure() -> tuple[str, int] | None:
        return (chance.choice(list(WAYS)), chance.randint(1, 3)) if chance.random() < 0.7 else None

    cases = [Case(failure() or ("refused", 1), failure(), failure()) for _ in range(12)]
    await play_all(tmp_path, cases)


@pytest.mark.parametrize("case", HOPELESS, ids=str)
async def test_without_stop_and_close_a_person_is_alarmed_and_the_exit_code_is_six(
    sandbox: Sandbox, tmp_path: Path, case: Case
) -> None:
    async def script(player: Player) -> None:
        alarms = player.engine_symbol.alarms
        player.signal(SignalAction.BUY, size=0.01, stop=PRICE * 0.9)
        await player.until(lambda: len(alarms) == 2, 60.0)
        assert not player.is_safe

    outcome, player = await play_on(
        sandbox, tmp_path, script, faults=case.faults("net"), protect_within_ms=500,
        cleanup_timeout_s=0.5,
    )  # fmt: skip
    assert outcome.exit_code is ExitCode.ACCOUNT_UNVERIFIED
    assert player.held == 0.01
    assert outcome.problems == ("BTCUSDT holds 0.01 still, without a stop",)


# -- replacing a stop ---------------------------------------------------------------------------


@pytest.mark.parametrize("over_ws", [False, True])
async def test_replacing_the_stop_leaves_no_moment_without_one(
    sandbox: Sandbox, tmp_path: Path, over_ws: bool
) -> None:
    """The exchange's books are looked at whenever they change."""
    ways = [way for way in WAYS if way not in ("-2021", "timeout")]
    # -2021 closes the position; a timeout is like a lost request, and takes its time

    async def replace(number: int, way: str) -> None:
        run = f"r{number}"
        uncovered: list[str] = []
        kind, more = WAYS[way]
        match = "WS *.place" if over_ws else POST
        fault = Fault(kind=kind, match=match, order=f"cw-{run}-*-stop", count=2, **more)  # type: ignore[arg-type]

        async def script(player: Player) -> None:
            player.signal(SignalAction.BUY, size=0.01, stop=PRICE * 0.9)
            state = player.engine_symbol
            await player.until(lambda: bool(state.stop_ids) and not state.unprotected_since)
            watch(player, uncovered)
            sandbox.world.add_fault(fault)
            for step in range(1, 6):
                level = PRICE * (0.9 + step / 100)
                player.signal(SignalAction.MOVE_STOP, stop=level)
                await player.until(lambda: state.plan.stop > PRICE * 0.9 or step > 1)  # noqa: B023
            await player.until(
                lambda: not state.successor and len(player.resting) == 1 and not state.cancelling
            )
            assert player.stops() == player.held == 0.01
            player.signal(SignalAction.CLOSE, size=0.004)
            await player.until(lambda: player.stops() == player.held == 0.006)

        outcome, _ = await play_on(
            sandbox, tmp_path, script, name=run, policy=StopPolicy.KEEP, over_ws=over_ws
        )
        assert uncovered == [], way
        assert outcome.exit_code is ExitCode.OK, (way, outcome.problems)

    await asyncio.gather(*(replace(number, way) for number, way in enumerate(ways)))


def watch(player: Player, uncovered: list[str]) -> None:
    """Note every moment at which the exchange holds a position that no stop covers."""
    exchange = player.client.account.exchange
    submit, cancel = exchange.submit, exchange.cancel

    def look(what: str) -> None:
        if not player.is_safe:
            uncovered.append(what)

    def submit_and_look(order, time):  # type: ignore[no-untyped-def]
        found = submit(order, time)
        look(f"after {order.client_id}")
        return found

    def cancel_and_look(client_id, symbol, time):  # type: ignore[no-untyped-def]
        found = cancel(client_id, symbol, time)
        look(f"after the cancel of {client_id}")
        return found

    exchange.submit, exchange.cancel = submit_and_look, cancel_and_look  # type: ignore[method-assign]


# -- the price at the moment of sending ---------------------------------------------------------


@pytest.mark.parametrize("by", list(TriggerPrice))
async def test_a_stop_that_the_price_passes_on_its_way_is_not_sent(
    tmp_path: Path, by: TriggerPrice
) -> None:
    """The market falls inside each candle: the engine knows its last close, the venue more."""

    async def script(player: Player) -> None:
        player.signal(SignalAction.BUY, size=0.01, stop=PRICE * 0.5)
        state, venue = player.engine_symbol, player.system.venue
        await player.until(lambda: bool(state.stop_ids) and not state.unprotected_since)
        while not player.system.tally.withheld:
            heard = venue.price_of(SYMBOL, by)
            if 0.0 < heard < state.price * 0.996:
                player.signal(SignalAction.MOVE_STOP, stop=(heard + state.price) / 2)
            await asyncio.sleep(0.05)  # the market goes on meanwhile
        await player.until(lambda: not player.held and not player.resting)

    falling = [PRICE] * 2 + [PRICE * 0.99**n for n in range(60)]
    async with market_at(falling) as sandbox:
        outcome, player = await play_on(sandbox, tmp_path, script, stop_trigger=by)
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    assert player.system.tally.withheld == {"trigger_passed": 1}
    algos = player.client.account.algos.values()
    expected = "MARK_PRICE" if by is TriggerPrice.MARK else "CONTRACT_PRICE"
    assert {algo.working_type for algo in algos} == {expected}
    assert all(algo.trigger == PRICE * 0.5 for algo in algos), "only the first stop was sent"
