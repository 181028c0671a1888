"""The rooms keep their order, and the contract is the page's."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")


def contracts() -> dict[str, dict[str, object]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    return {contract["type"]: contract for contract in settings["contracts"]}


def rooms_of_the_page() -> list[str]:
    """Names in the first column of the table, as in ``| `config.py`, `cli/` | ... |``."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| (`.+?) \|", page, re.MULTILINE)
    names = (name for row in rows for name in re.findall(r"`([a-z_]+)(?:/|\.py)`", row))
    return list(names)


def test_the_contract_lists_the_rooms_of_the_page_in_the_order_of_the_page() -> None:
    """Rooms that share a row of the page may stand in any order among themselves."""
    layers = [
        name.strip()
        for layer in reversed(contracts()["layers"]["layers"])  # type: ignore[call-overload]
        for name in layer.split(":")
    ]
    page = rooms_of_the_page()
    assert len(page) > 10
    assert sorted(layers) == sorted(page)
    last_row = {"config", "logs", "cli"}
    assert [n for n in layers if n not in last_row] == [n for n in page if n not in last_row]


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT, "--no-cache"],
        cwd=root,
        env={"PYTHONPATH": str(root / "src"), "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_rooms_keep_the_contract() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("room", "line", "broken"),
    [
        ("models", "from candlewick.engine import TradingEngine", "models -> candlewick.engine"),
        ("strategies", "import random", "strategies -> random"),
        ("engine", "import asyncio", "engine -> asyncio"),
        ("venues", "from candlewick import config", "venues -> candlewick.config"),
    ],
)
def test_an_arrow_the_other_way_is_found(tmp_path: Path, room: str, line: str, broken: str) -> None:
    """The check can fail: one import added to a copy of the package breaks it."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    ignored = shutil.ignore_patterns("__pycache__")
    package = tmp_path / "src" / "candlewick"
    shutil.copytree(ROOT / "src" / "candlewick", package, ignore=ignored)
    with (package / room / "__init__.py").open("a") as file:
        file.write(f"\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"candlewick.{broken}" in done.stdout


def test_a_room_that_the_contract_does_not_know_is_found(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    ignored = shutil.ignore_patterns("__pycache__")
    package = tmp_path / "src" / "candlewick"
    shutil.copytree(ROOT / "src" / "candlewick", package, ignore=ignored)
    (package / "cellar.py").write_text('"""A room nobody placed."""\n')
    done = lint(tmp_path)
    assert done.returncode == 1
    assert "cellar" in done.stdout + done.stderr
