"""A damaged journal: a run refuses it, and whoever cleans up does so all the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from candlewick.sandbox import Sandbox
from tests.live.bench import CONFIG, Bench, ended

Damage = Callable[[Path], None]


def _in_a_record(journal: Path, kind: bytes) -> None:
    """Break the last record of a kind, in its middle."""
    path = max(journal.glob("20*.jsonl"))
    content = bytearray(path.read_bytes())
    at = content.rindex(b'"type":"' + kind) + 60
    content[at : at + 4] = b"\x01{{,"
    path.write_bytes(content)


def of_the_start(journal: Path) -> None:
    _in_a_record(journal, b"engine_started")


def of_an_order(journal: Path) -> None:
    _in_a_record(journal, b"order_planned")


def at_the_end(journal: Path) -> None:
    path = max(journal.glob("20*.jsonl"))
    path.write_bytes(path.read_bytes().rstrip(b"\0") + b"this is not a record\n")


DAMAGES = [of_the_start, of_an_order, at_the_end]


async def left_behind(sandbox: Sandbox, directory: Path, damage: Damage) -> Bench:
    """A killed run with a position, whose journal is damaged and whose configuration is another."""
    bench = Bench(sandbox, directory)
    engine = await bench.start("run")
    await bench.until(lambda: bool(bench.exchange.positions()) and bench.is_protected())
    engine.kill()
    await engine.wait()
    damage(bench.journal)
    return bench


@pytest.mark.parametrize("damage", DAMAGES)
async def test_flatten_closes_what_is_held_although_the_journal_is_damaged(
    sandbox: Sandbox, tmp_path: Path, damage: Damage
) -> None:
    bench = await left_behind(sandbox, tmp_path, damage)
    flatten = await bench.start("flatten")
    output = await ended(flatten)
    assert flatten.returncode == 0, output
    assert "flat, as the exchange has confirmed" in output
    assert bench.is_flat


@pytest.mark.parametrize("damage", DAMAGES)
async def test_the_guard_acts_although_the_journal_is_damaged(
    sandbox: Sandbox, tmp_path: Path, damage: Damage
) -> None:
    bench = await left_behind(sandbox, tmp_path, damage)
    guard = await bench.start("guard", "--after", "0.5", "--once")
    output = await ended(guard)
    assert guard.returncode == 0, output
    assert "done and verified: flatten" in output
    assert bench.is_flat


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_run_refuses_a_damaged_journal_and_touches_nothing(
    sandbox: Sandbox, tmp_path: Path, damage: Damage
) -> None:
    bench = await left_behind(sandbox, tmp_path, damage)
    orders = len(bench.orders)
    engine = await bench.start("run")
    output = await ended(engine)
    assert engine.returncode == 4, output
    assert "candlewick audit verify" in output
    assert len(bench.orders) == orders
    assert bench.is_protected()


async def test_with_a_new_journal_a_run_takes_up_what_the_exchange_has(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """Position and stop are those of a run that nobody remembers."""
    bench = await left_behind(sandbox, tmp_path, shutil.rmtree)
    (tmp_path / "c.toml").write_text(CONFIG.replace("fast = 3, slow = 6", "fast = 300, slow = 600"))
    stops = {order.client_id for order in bench.sandbox.first.account.open_algos()}
    assert stops
    next_run = Bench(sandbox, tmp_path, (tmp_path / "c.toml").read_text())
    engine = await next_run.start("run", "--on-stop", "keep")
    await next_run.until_known(1, engine)
    engine.terminate()
    output = await ended(engine)
    assert engine.returncode == 0, output
    assert {order.client_id for order in bench.sandbox.first.account.open_algos()} <= stops
    assert bench.is_protected()
