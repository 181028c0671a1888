"""Every failure of placing stop, target and close, in all combinations, in virtual time.

Each ends protected or flat, as the exchange itself has it; or a person was alarmed, and the cleanup
says that it could not verify, from which the command's exit code 6 follows.
"""

from __future__ import annotations

import math
from itertools import product

import pytest

from candlewick.engine import AlarmKind, StopPolicy
from candlewick.models import OrderPurpose, SignalAction
from tests.engine.stubborn import FOR_EVER, Failure, Stubborn

_, STOP, TARGET, CLOSE = OrderPurpose
LARGEST = (math.inf, 0.4)  # what one stop may close; the positions are of 1.0
KINDS: tuple[str | int, ...] = (-1000, -2021, -2022, "lost reply", "lost request", "timeout")
FAILURES = (None, *(Failure(kind, times) for kind in KINDS for times in (1, FOR_EVER)))


def fails_for_ever(failure: Failure | None) -> bool:
    """True where no order of that purpose ever reaches the exchange."""
    return failure is not None and failure.times == FOR_EVER and failure.kind != "lost reply"


def name_of(failure: Failure | None) -> str:
    if failure is None:
        return "well"
    return f"{failure.kind} {'always' if failure.times == FOR_EVER else 'once'}"


@pytest.mark.parametrize("largest", LARGEST)
@pytest.mark.parametrize("stop", FAILURES, ids=name_of)
def test_every_combination_ends_protected_or_flat_or_alarmed(
    stop: Failure | None, largest: float
) -> None:
    for target, close in product(FAILURES, FAILURES):
        said = f"stop {name_of(stop)}, target {name_of(target)}, close {name_of(close)}"
        failures = {STOP: stop, TARGET: target, CLOSE: close}
        game = Stubborn({purpose: f for purpose, f in failures.items() if f is not None}, largest)
        game.enter()
        game.run(90_000)
        assert not game.gaps, said
        alarms = {alarm.kind for alarm in game.alarms}
        if not game.is_covered:
            assert fails_for_ever(stop), said
            assert fails_for_ever(close), said
            assert alarms == {AlarmKind.UNPROTECTED, AlarmKind.CANNOT_CLOSE}, said
        assert len(game.alarms) == len(alarms), f"{said}: told more than once"
        _check_the_end(game, close, said)


def _check_the_end(game: Stubborn, close: Failure | None, said: str) -> None:
    """The cleanup tells the truth, and fails only where closing fails for good."""
    problems = game.stop(StopPolicy.FLATTEN)
    is_clean = not game.held and not game.resting
    assert is_clean is not bool(problems), f"{said}: {problems}"
    if problems:
        assert fails_for_ever(close), f"{said}: {problems}"


@pytest.mark.parametrize("stop", [f for f in FAILURES if f != FAILURES[0]], ids=name_of)
@pytest.mark.parametrize("close", FAILURES, ids=name_of)
def test_keeping_a_position_is_verified_only_with_its_stop(
    stop: Failure, close: Failure | None
) -> None:
    failures = {STOP: stop} | ({CLOSE: close} if close is not None else {})
    game = Stubborn(failures)
    game.enter()
    game.run(300)
    problems = game.stop(StopPolicy.KEEP)
    assert bool(problems) is not game.is_covered


@pytest.mark.parametrize("largest", LARGEST)
@pytest.mark.parametrize("wish", ["tighter", "part", "more"])
@pytest.mark.parametrize("times", [1, 3, FOR_EVER])
@pytest.mark.parametrize("kind", KINDS)
def test_replacing_a_stop_leaves_no_moment_without_one_however_it_fails(
    kind: str | int, times: int, wish: str, largest: float
) -> None:
    placed = 1 if largest > 1.0 else 3
    failures = {STOP: Failure(kind, times, after=placed), TARGET: Failure(kind, times, after=1)}
    game = Stubborn(failures, largest)
    game.enter()
    game.run(300)
    game.watches_cover = wish != "more"  # what is added may wait for its stop, within the bound
    if wish == "tighter":
        game.signal(SignalAction.MOVE_STOP, stop=95.0)
    elif wish == "part":
        game.signal(SignalAction.CLOSE, size=0.4)
    else:
        game.buy(1.0)
    game.run(3_200)
    assert game.is_covered
    game.watches_cover = True
    game.run(90_000)
    assert not game.gaps
    assert {o.trigger_price for o in game.resting.values()} <= {90.0, 95.0, 120.0}


@pytest.mark.parametrize("largest", LARGEST)
@pytest.mark.parametrize("times", [1, FOR_EVER])
@pytest.mark.parametrize("kind", [k for k in KINDS if k != "lost reply"])
def test_the_time_without_stop_or_close_is_bounded(
    kind: str | int, times: int, largest: float
) -> None:
    """Whatever the stop does, the position is covered or gone soon after the bound."""
    game = Stubborn({STOP: Failure(kind, times)}, largest)
    game.enter()
    game.run(3_000 + 100)
    assert game.is_covered


def test_without_a_failure_stop_and_target_rest_and_nothing_is_told() -> None:
    """Without this the tests above could be about an engine that never holds anything."""
    game = Stubborn({})
    game.enter()
    game.run(90_000)
    assert (game.held, game.is_covered, game.alarms) == (1.0, True, [])
    assert sorted(order.purpose for order in game.resting.values()) == [STOP, TARGET]
    assert [order.purpose for order in game.sent] == [OrderPurpose.ENTRY, STOP, TARGET]
