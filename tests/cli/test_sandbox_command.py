"""`candlewick sandbox` in a process of its own: one JSON line, and a clean end at a signal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from candlewick.cli.main import run_command
from candlewick.errors import ExitCode

PROGRAM = Path(sys.executable).with_name("candlewick")


class Served:
    """A sandbox process and what it said when it was ready."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [PROGRAM, "sandbox", *options], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.communicate()
            raise AssertionError("the sandbox ended without a word")
        self.ready: dict[str, str] = json.loads(line)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.ready["rest"] + path, timeout=10) as answer:
            return json.load(answer)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; returns exit code and what else was printed."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=20)
        return self.process.returncode, rest


@pytest.fixture
def served() -> Iterator[list[Served]]:
    started: list[Served] = []
    yield started
    for one in started:
        one.process.kill()
        one.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_line_says_where_it_is_and_a_signal_ends_it(
    served: list[Served], number: signal.Signals
) -> None:
    sandbox = Served("--balance", "2500", "--seed", "3")
    served.append(sandbox)
    assert list(sandbox.ready) == ["rest", "ws", "api_key", "api_secret"]
    assert sandbox.ready["rest"].startswith("http://127.0.0.1:")
    assert sandbox.ready["ws"] == sandbox.ready["rest"].replace("http", "ws")
    contracts = [one["symbol"] for one in sandbox.get("/fapi/v1/exchangeInfo")["symbols"]]
    assert contracts == ["BTCUSDT"]
    account = sandbox.get("/sandbox")["accounts"][sandbox.ready["api_key"]]
    assert account["balance"] == 2500.0
    assert sandbox.stop(number) == (0, "")


def test_candles_and_faults_from_files(served: list[Served], tmp_path: Path) -> None:
    candles = tmp_path / "ethusdt-1m.csv"
    rows = [f"{1_700_000_040_000 + n * 60_000},3000,3010,2990,{3000 + n},5" for n in range(10)]
    candles.write_text("open_time,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    faults = tmp_path / "faults.toml"
    faults.write_text('[[fault]]\nkind = "drop"\nmatch = "kline"\nrate = 0.5\n')
    sandbox = Served("-d", str(candles), "--faults", str(faults), "--history", "5")
    served.append(sandbox)
    klines = sandbox.get("/fapi/v1/klines?symbol=ETHUSDT&interval=1m&limit=5")
    closes = [float(row[4]) for row in klines][:4]
    assert closes in ([3000.0, 3001.0, 3002.0, 3003.0], [3001.0, 3002.0, 3003.0, 3004.0])
    assert [fault["kind"] for fault in sandbox.get("/sandbox/faults")] == ["drop"]
    assert sandbox.stop()[0] == 0


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--speed", "fast"], "--speed 'fast'"),
        (["--speed", "-1"], "speed -1.0"),
        (["--faults", "nowhere.toml"], "nowhere.toml"),
        (["--data", "nowhere.csv"], "nowhere.csv"),
        (["--data", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--host", "256.1.1.1"], "256.1.1.1"),
        (["--candles", "5", "--history", "5"], "history 5"),
    ],
)
def test_what_cannot_be_is_named(
    options: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["sandbox", *options]) == ExitCode.BAD_INPUT
    said = capsys.readouterr()
    assert said.out == ""
    assert word in said.err
