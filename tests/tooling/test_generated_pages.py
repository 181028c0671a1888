"""The pages that follow from the code are those the code writes today."""

from __future__ import annotations

from pathlib import Path

import pytest

from candlewick.config import Config
from candlewick.errors import ExitCode
from candlewick.risk import DenialCode
from tools.generated_pages import PAGES, commands, configuration, denials, main, outdated


def test_the_pages_in_the_repository_are_up_to_date() -> None:
    assert not outdated(), "run: python -m tools.generated_pages"


def test_a_page_that_the_code_would_write_differently_is_found_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outdated(tmp_path) == list(PAGES)
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    (tmp_path / "denials.md").write_text("# Denials\n")
    capsys.readouterr()
    assert main(["--check"], tmp_path) == 1
    assert "docs/denials.md is out of date" in capsys.readouterr().out
    assert (tmp_path / "denials.md").read_text() == "# Denials\n"


def test_every_denial_has_a_row_with_its_explanation() -> None:
    rows = denials().splitlines()
    for code in DenialCode:
        assert f"| `{code}` | {code.explanation} |" in rows


def test_every_key_has_a_row() -> None:
    page = configuration()
    for section in Config.__struct_fields__:
        for key in getattr(Config(), section).__struct_fields__:
            assert page.count(f"| `{section}.{key}` |") == 1


def test_every_exit_code_has_a_row() -> None:
    page = commands()
    for code in ExitCode:
        assert f"\n| {int(code)} | " in page
