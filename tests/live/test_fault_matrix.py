"""The whole engine on the sandbox, over sockets, with each fault alone and with random mixtures.

Whatever went wrong, in the end the engine's books and its journal equal the sandbox's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fault_rules import ALONE, STATES, goes_over_ws, mixture
from tests.live.engine_on_sandbox import Played, compare, play

_TOGETHER = 10  # runs beside each other: they mostly wait
_NAMES = list(ALONE)


async def alone(name: str, directory: Path, starting: asyncio.Lock) -> Played:
    """Play one fault."""
    faults, seed = ALONE[name], _NAMES.index(name)
    over_ws = goes_over_ws(faults, seed)
    return await play(faults, seed, 60, directory, over_ws=over_ws, starting=starting)


async def mixed(seed: int, candles: int, directory: Path, starting: asyncio.Lock) -> Played:
    """Play a mixture; in every fourth run the faults go on while the engine cleans up."""
    faults = mixture(seed)
    return await play(
        faults, seed, candles, directory, over_ws=goes_over_ws(faults, seed),
        to_the_end=seed % 4 == 3, starting=starting,
    )  # fmt: skip


def has_struck(played: Played) -> None:
    """The fault has met a client that traded."""
    assert len(played.sandbox.first.account.trades) > 5
    for rule in played.report:
        assert rule["hit"] or rule["kind"] in STATES, f"{rule} has not struck"


async def check(
    runs: Mapping[Any, Coroutine[Any, Any, Played]], *checks: Callable[[Played], None]
) -> None:
    """Let them run side by side, then check each; tells all that failed."""
    failed: dict[Any, BaseException] = {}
    results = await asyncio.gather(*runs.values(), return_exceptions=True)
    for name, result in zip(runs, results, strict=True):
        try:
            if isinstance(result, BaseException):
                raise result
            for one in checks:
                one(result)
        except (Exception, asyncio.CancelledError) as error:
            failed[name] = error
    if failed:
        raise BaseExceptionGroup(f"failed: {list(failed)}", list(failed.values()))


@pytest.mark.parametrize("first", range(0, len(_NAMES), _TOGETHER))
async def test_each_fault_alone(first: int, tmp_path: Path) -> None:
    starting, names = asyncio.Lock(), _NAMES[first : first + _TOGETHER]
    runs = {name: alone(name, tmp_path / name, starting) for name in names}
    await check(runs, compare, has_struck)


async def some(seeds: Sequence[int], candles: int, directory: Path) -> None:
    starting = asyncio.Lock()
    runs = {seed: mixed(seed, candles, directory / str(seed), starting) for seed in seeds}
    await check(runs, compare)


@pytest.mark.parametrize("first", range(0, 50, _TOGETHER))
async def test_faults_in_random_mixtures(first: int, tmp_path: Path) -> None:
    await some(range(first, first + _TOGETHER), 20, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(14_400)
async def test_faults_in_a_thousand_random_mixtures(tmp_path: Path) -> None:
    for first in range(50, 1_050, _TOGETHER):
        await some(range(first, first + _TOGETHER), 40, tmp_path)
