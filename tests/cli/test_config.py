"""The configuration: complete comments, strict keys, types and limits."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from candlewick.config import Config, commented_toml, load_config, parse_config
from candlewick.errors import ConfigError


def test_the_commented_file_is_the_default() -> None:
    text = commented_toml()
    assert parse_config(tomllib.loads(text)) == Config()
    for section in Config.__struct_fields__:
        for key in getattr(Config(), section).__struct_fields__:
            lines = [line for line in text.splitlines() if line.lstrip("# ").startswith(f"{key} =")]
            assert lines, key
            assert all("# " in line.split("=", 1)[1] for line in lines), key


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"risk": {"max_levrage": 1.0}}, ("risk.max_levrage", "did you mean 'max_leverage'?")),
        ({"rsk": {}}, ("unknown section 'rsk'", "did you mean 'risk'?")),
        ({"risk": {"max_leverage": "high"}}, ("risk.max_leverage", "`float`", "`str`")),
        ({"risk": {"max_leverage": -1.0}}, ("risk.max_leverage -1.0", "from 0 to 125")),
        ({"risk": 3}, ("'risk' is a section",)),
        ({"data": {"speed": "fast"}}, ("data.speed", "'fast'")),
        ({"data": {"speed": -2.0}}, ("data.speed -2.0",)),
        ({"data": {"on_gap": "ignore"}}, ("data.on_gap", "'ignore'")),
        ({"data": {"interval": "1x"}}, ("data.interval '1x'",)),
        ({"run": {"on_stop": "run away"}}, ("run.on_stop",)),
        ({"account": {"leverage": "20"}}, ("account.leverage", "`int`")),
    ],
)
def test_a_bad_value_is_named_with_what_is_wrong(values: dict[str, Any], words: tuple[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(values)
    for word in words:
        assert word in str(caught.value)


def test_whole_numbers_are_taken_for_floats() -> None:
    assert parse_config({"risk": {"max_leverage": 2}}).risk.max_leverage == 2.0


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"c\.toml is not UTF-8 text"):
        load_config(path)
