"""`import candlewick` loads next to nothing; what is heavy comes when it is used.

How long it takes is a row of `make bench AREAS=cold_start`.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

import candlewick

HEAVY = {
    "aiohttp", "asyncio", "msgspec", "numpy", "polars", "prometheus_client", "rich", "typer",
    "uvloop", "zstandard",
}  # fmt: skip


def imported_by(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter holds after a statement."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint('loaded:', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.rpartition("loaded:")[2].split())


def test_the_package_alone_loads_nothing_heavy() -> None:
    found = imported_by("import candlewick")
    assert "candlewick" in found
    assert not HEAVY & found
    rooms = {name for name in found if name.startswith("candlewick.")}
    assert rooms == {"candlewick.__about__"}


def test_a_value_loads_its_room_and_no_more() -> None:
    found = imported_by("from candlewick import Candle")
    assert {"candlewick.models", "msgspec"} <= found
    assert not (HEAVY - {"msgspec", "numpy"}) & found


def test_a_backtest_from_python_needs_no_network_and_no_terminal() -> None:
    found = imported_by("from candlewick import Strategy, backtest")
    assert "candlewick.backtesting" in found
    assert not {"aiohttp", "prometheus_client", "rich", "typer", "uvloop"} & found


@pytest.mark.parametrize("arguments", ["['--version']", "['--help']", "['nonsense']"])
def test_the_command_line_answers_simple_questions_without_loading_a_command(
    arguments: str,
) -> None:
    found = imported_by(f"from candlewick.cli.main import run_command; run_command({arguments})")
    assert "candlewick.cli.main" in found
    assert not HEAVY & found


def test_every_public_name_is_there_and_is_listed() -> None:
    for name in candlewick.__all__:
        assert getattr(candlewick, name) is not None
    assert set(dir(candlewick)) == set(candlewick.__all__)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'candlewick' has no attribute 'Candel'"):
        candlewick.Candel  # noqa: B018


def test_backtest_is_the_function_whatever_was_imported_before() -> None:
    """The room must not take the name of the function: see decision 4."""
    statement = (
        "import candlewick.backtesting.api; from candlewick import backtest; backtest.__call__"
    )
    assert "candlewick.backtesting.api" in imported_by(statement)
