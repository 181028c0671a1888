"""The configuration: complete comments, strict keys, types and limits."""

from __future__ import annotations

import tomllib
from math import nan
from pathlib import Path
from typing import Any

import pytest

from candlewick.cli.main import run_command
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


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("account", "cash", -5.0), ("account", "leverage", 500), ("account", "slippage_bps", nan),
        ("account", "funding_rate", 5.0), ("account", "fee_taker", 5.0),
        ("run", "leverage", -3), ("run", "drain_timeout_s", 0.0), ("run", "cleanup_timeout_s", nan),
        ("run", "reconcile_every_s", 0.0), ("run", "connect_timeout_s", -1.0),
        ("journal", "directory", ""), ("journal", "segment_mb", 0),
    ],
)  # fmt: skip
def test_a_value_that_no_run_can_use_is_refused_with_the_name_of_its_key(
    section: str, key: str, value: Any
) -> None:
    with pytest.raises(ConfigError, match=rf"^{section}\.{key} "):
        parse_config({section: {key: value}})


def test_a_key_outside_its_section_is_told_where_it_belongs() -> None:
    with pytest.raises(ConfigError, match=r"^'venue' is a key of \[run\]: write it there$"):
        parse_config({"venue": "paper"})
    with pytest.raises(ConfigError, match=r"is a key of \[run\] or \[account\]: write"):
        parse_config({"leverage": 3})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[run]\nvenue = "sandbx"', "unknown venue 'sandbx'; did you mean 'sandbox'?"),
        ('[run]\nrest = "http://x"', "--rest and --ws belong together"),
        ('[run]\nvenue = "paper"\n[account]\nfunding_rate = 0.001', "leave it 0"),
        ('[run]\nkeys_file = "none.keys"', "none.keys"),
        ('[data]\nsymbols = ["BTCUSDT", "btcusdt"]', "a symbol occurs twice"),
        ("[strategy]\nparams = { fast = 0 }", "SmaCross: fast=0 must be at least 1"),
    ],
)
def test_config_check_refuses_what_a_run_would_refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    file = tmp_path / "c.toml"
    file.write_text(text)
    assert run_command(["config", "check", str(file)]) == 2
    assert told in capsys.readouterr().err


def test_whole_numbers_are_taken_for_floats() -> None:
    assert parse_config({"risk": {"max_leverage": 2}}).risk.max_leverage == 2.0


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"c\.toml is not UTF-8 text"):
        load_config(path)
