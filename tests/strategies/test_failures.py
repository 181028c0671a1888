"""What a strategy raised is told with the line of its own file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from candlewick import backtest
from candlewick.strategies import describe_failure

HEAD = "import json\nfrom candlewick import Strategy\nclass Mine(Strategy):\n"


def failure_of(path: Path, body: str) -> str:
    path.write_text(HEAD + body)
    return backtest(f"{path}:Mine", candles=50).failure


def test_the_line_is_the_strategys_own(tmp_path: Path) -> None:
    told = failure_of(
        tmp_path / "mine.py",
        "    def on_candle(self, candle):\n        self.deeper({})\n"
        "    def deeper(self, found):\n        return found['x']\n",
    )
    assert told == "KeyError('x') in deeper, mine.py:7"


def test_also_where_a_library_or_the_engine_raised_it(tmp_path: Path) -> None:
    told = failure_of(tmp_path / "one.py", "    def on_start(self):\n        json.loads('{')\n")
    assert told.startswith("JSONDecodeError(")
    assert told.endswith(" in on_start, one.py:5")
    told = failure_of(
        tmp_path / "two.py",
        "    def on_candle(self, candle):\n        self.buy(size=1.0, risk=0.5)\n",
    )
    assert told.endswith("not both') in on_candle, two.py:5")


def test_an_error_without_a_file_of_the_users_is_told_as_it_is() -> None:
    result = backtest("sma_cross", params={"fast": 0}, candles=5)
    assert result.failure == "ConfigError('SMA needs a whole period of at least 1, not 0')"
    with pytest.raises(json.JSONDecodeError) as raised:
        json.loads("{")
    assert "test_failures.py" in describe_failure(raised.value)
