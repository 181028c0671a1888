"""The pages are right: their code runs, their commands print what they show, their links lead on.

Blocks of a page share one folder and one namespace, in the order of the page:

- ``python`` is run; with a title it is a file. A ``text`` block behind it is what it printed.
- ``toml`` with a title is a file.
- ``console`` holds commands after ``$`` and what they print; ``...`` stands for anything.
- ``sh`` is not run, but its commands exist.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from candlewick.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
WITH_CODE = [
    page for page in PAGES if re.search(r"^```(python|console|sh)", page.read_text(), re.M)
]
_BLOCK = re.compile(r"^```(\w+)(?: title=\"(.+?)\")?[^\n]*\n(.*?)^```$", re.M | re.S)
_TIMING = re.compile(r"[\d.]+ s \([\d,]+ candles/s\)")


class Block(NamedTuple):
    language: str
    title: str
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(found[1], found[2] or "", found[3], text.count("\n", 0, found.start()) + 1)
        for found in _BLOCK.finditer(text)
    ]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def run_python(text: str, namespace: dict[str, object], where: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, where, "exec"), namespace)
    return printed.getvalue()


def run_console(text: str, folder: Path) -> tuple[str, str]:
    """Run the commands of a block; returns what the page shows and what they print."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shown, printed = "", ""
    for part in re.split(r"^(?=\$ )", text, flags=re.M):
        command, _, output = part.removeprefix("$ ").partition("\n")
        if not part.startswith("$ "):
            continue
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env={"PATH": path, "HOME": str(folder), "TERM": "dumb", "COLUMNS": "100"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
            check=False,
        )
        shown += f"$ {command}\n{output}"
        printed += f"$ {command}\n{done.stdout}"
    return shown, printed


def same(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed; speeds and blanks at line ends do not count."""
    wanted, got = (
        "\n".join(line.rstrip() for line in _TIMING.sub("N s", text).strip().splitlines()) + "\n"
        for text in (shown, printed)
    )
    return doctest.OutputChecker().check_output(wanted, got, doctest.ELLIPSIS)


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_the_code_of_a_page_does_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "page"}
    printed = ""
    for block in blocks_of(page):
        where = f"{name_of(page)}:{block.line}"
        if block.title:
            (tmp_path / block.title).write_text(block.text)
        match block.language:
            case "python":
                printed = run_python(block.text, namespace, where)
            case "text" if printed:
                assert same(block.text, printed), f"{where} printed:\n{printed}"
                printed = ""
            case "console":
                shown, printed = run_console(block.text, tmp_path)
                assert same(shown, printed), f"{where} printed:\n{printed}"
                printed = ""


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_the_commands_that_a_page_names_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for block in blocks_of(page):
        if block.language in ("sh", "console"):
            for name in re.findall(r"(?:^|\$ )candlewick (\w+)", block.text, re.M):
                assert name in COMMANDS, f"{name_of(page)}:{block.line}: candlewick {name}"
            for name in re.findall(r"(?:^|\$ )make (\w+)", block.text, re.M):
                assert name in targets, f"{name_of(page)}:{block.line}: make {name}"


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {re.sub(r"[ ]+", "-", heading.strip()) for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_links_of_a_page_lead_to_files_and_headings_that_exist(page: Path) -> None:
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"(https?|mailto):", target):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), f"{name_of(page)} links to {target}"
        if anchor:
            assert anchor in anchors_of(other), f"{name_of(page)} links to {target}"


def test_the_readme_has_a_strategy_of_at_most_twelve_lines() -> None:
    block = next(b for b in blocks_of(ROOT / "README.md") if b.language == "python")
    assert "Strategy" in block.text
    assert len([line for line in block.text.splitlines() if line.strip()]) <= 12


@pytest.mark.parametrize(
    ("shown", "printed", "equal"),
    [
        ("profit  +1.00\n", "profit  +1.00   \n", True),
        ("profit  +1.00\n", "profit  +2.00\n", False),
        ("time 0.03 s (337,357 candles/s)", "time 0.12 s (99 candles/s)", True),
        ("a\n...\nz\n", "a\nb\nc\nz\n", True),
        ("a\n...\nz\n", "a\nb\nc\n", False),
    ],
)
def test_the_comparison_tells_right_from_wrong(shown: str, printed: str, equal: bool) -> None:
    assert same(shown, printed) is equal


def test_every_page_has_its_place_in_the_navigation() -> None:
    listed = set(re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert pages == listed, "list the page in mkdocs.yml, under `nav`"


def test_each_test_that_the_table_of_failures_names_exists() -> None:
    """Whoever reads what happens at a failure can run what shows it."""
    page = (ROOT / "docs" / "operations.md").read_text()
    table = page[page.index("## What happens when something fails") :]
    named = re.findall(r"`(tests/[\w/.]+)::(\w+)`", table)
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(named) >= len(rows) > 15
    for loss in ("network", "exchange", "process", "machine", "disk", "clock"):
        assert f"**{loss}**" in table
    for row in rows:
        assert "::" in row, f"no test for: {row}"
    for path, name in named:
        found = re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
        assert found, f"{path} has no {name}"
