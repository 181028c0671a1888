"""``candlewick status``: finding an engine from another terminal, and its leftovers."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from candlewick.errors import ConfigError, ExitCode
from candlewick.monitoring import Beacon, EngineAddress, find_engines
from candlewick.monitoring.beacon import runtime_directory

from .conftest import COMMAND, Engine

Start = Callable[..., Engine]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

PACED = ("--candles", "5000", "--speed", "6000", "--seed", "5")


def test_without_an_engine_it_says_so_with_a_code_of_its_own(status: Run) -> None:
    for arguments in ((), ("--json",), ("--watch",), ("--pid", "1"), ("--journal", "there")):
        done = status(*arguments)
        assert done.returncode == ExitCode.NOT_RUNNING
        assert "no engine runs" in done.stderr
        assert done.stdout == ""


def test_it_finds_the_engine_and_prints_its_status(
    start_engine: Start, command: Run, status: Run
) -> None:
    engine = start_engine(*PACED, "--journal", "here")
    done = command("status", "--json")
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert body["process"]["pid"] == engine.process.pid
    assert body["strategy"] == "sma_cross"
    assert body["journal_state"] == "ok"
    while not re.search(r"^BTCUSDT [+-][\d.]+ at [\d,.]+, stop [\d,.]+$", status().stdout, re.M):
        time.sleep(0.05)  # it has no position in this moment
    text = status().stdout
    assert "equity" in text
    assert "loop lag p99" in text
    assert status("--journal", "here").returncode == 0
    assert status("--journal", "elsewhere").returncode == ExitCode.NOT_RUNNING


def test_of_several_engines_one_is_to_be_chosen(start_engine: Start, status: Run) -> None:
    first = start_engine(*PACED, "--journal", "first")
    second = start_engine(*PACED, "--journal", "second", "--strategy", "donchian_breakout")
    done = status()
    assert done.returncode == ExitCode.BAD_INPUT
    assert f"--pid {first.process.pid}  sma_cross" in done.stderr
    assert f"--pid {second.process.pid}  donchian_breakout" in done.stderr
    for arguments in (("--pid", str(second.process.pid)), ("--journal", "second")):
        chosen = json.loads(status("--json", *arguments).stdout)
        assert chosen["strategy"] == "donchian_breakout"


def test_watching_ends_with_the_engine(start_engine: Start, runtime: Path, tmp_path: Path) -> None:
    engine = start_engine(*PACED)
    with subprocess.Popen(
        [*COMMAND, "status", "--watch", "--json"], text=True, cwd=tmp_path, stdout=subprocess.PIPE
    ) as watching:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        second = json.loads(watching.stdout.readline())
        engine.process.send_signal(signal.SIGTERM)
        watching.stdout.read()
        assert watching.wait(timeout=30) == 0
    assert second["process"]["uptime_s"] > first["process"]["uptime_s"]
    assert engine.process.wait(timeout=30) == 0
    assert not list(runtime.rglob("*.json"))


def test_what_a_killed_engine_leaves_is_recognised_and_removed(
    start_engine: Start, status: Run, runtime: Path
) -> None:
    engine = start_engine(*PACED)
    (left,) = runtime.rglob("*.json")
    engine.process.kill()
    engine.process.wait()
    assert left.exists()
    assert status().returncode == ExitCode.NOT_RUNNING
    assert not left.exists()


def test_an_engine_that_does_not_answer_is_not_called_ended(
    start_engine: Start, status: Run
) -> None:
    engine = start_engine(*PACED)
    engine.process.send_signal(signal.SIGSTOP)
    done = status()
    engine.process.send_signal(signal.SIGCONT)
    assert done.returncode == ExitCode.UNEXPECTED
    assert f"process {engine.process.pid} does not answer" in done.stderr
    assert status().returncode == 0


def address(pid: int = 1, port: int = 9_464, started: int = 0) -> EngineAddress:
    return EngineAddress(pid, "127.0.0.1", port, "sim0", "sma_cross", "simulated", "/j", started)


def test_a_beacon_is_seen_while_it_is_lit(runtime: Path) -> None:
    old, young = address(1, started=5), address(2, started=9)
    beacons = [Beacon(young), Beacon(old)]
    assert find_engines() == [old, young]
    assert (beacons[0].path.stat().st_mode & 0o777, runtime_directory().stat().st_mode & 0o777) == (
        0o600, 0o700,
    )  # fmt: skip
    beacons[0].remove()
    beacons[0].remove()
    assert find_engines() == [old]
    os.close(beacons[1]._fd)  # as the kernel does it when the process ends
    beacons[1]._fd = -1
    assert find_engines() == []
    assert not list(runtime.rglob("*.json"))


def test_a_beacon_of_another_version_is_left_alone(runtime: Path) -> None:
    path = runtime_directory() / "7-7.json"
    with path.open("w") as held:
        held.write('{"pid": "seven"}')
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        assert find_engines() == []
        assert path.exists()


def test_a_runtime_directory_that_cannot_be_used_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "candlewick").write_text("in the way")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match="XDG_RUNTIME_DIR"):
        runtime_directory()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "candlewick"))
    with pytest.raises(ConfigError, match="XDG_RUNTIME_DIR"):
        Beacon(address())


def test_an_engine_runs_without_a_beacon(tmp_path: Path, command: Run) -> None:
    (tmp_path / "runtime" / "candlewick").write_text("in the way")
    done = command("run", "--candles", "300", "--json")
    assert done.returncode == 0, done.stderr
    assert "will not find this engine" in done.stderr


def test_a_port_that_is_taken_ends_the_run_before_it_begins(
    start_engine: Start, command: Run, tmp_path: Path
) -> None:
    engine = start_engine(*PACED, "--journal", "first")
    port = engine.url.rpartition(":")[2]
    done = command("run", "--candles", "300", "--metrics-port", port, "--journal", "second")
    assert done.returncode == ExitCode.BAD_INPUT
    assert "monitoring.port" in done.stderr
    kinds = [
        json.loads(line)["type"]
        for path in (tmp_path / "second").glob("*.jsonl")
        for line in path.read_bytes().rstrip(b"\0").splitlines()
    ]
    assert kinds == ["journal_opened", "journal_closed"]
