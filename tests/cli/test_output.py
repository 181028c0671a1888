"""Where output goes away: a reader ends, a terminal closes, a disk is full, a stream is missing."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-c", "from candlewick.cli.main import main; main()"]
LONG = ("run", "--speed", "30000", "--candles", "5000")  # some 10 s if nobody stops it
SHORT = ("--candles", "300", "--seed", "5")


def records_of(directory: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(directory.glob("*.jsonl"))
        for line in path.read_bytes().rstrip(b"\0").splitlines()
    ]


def verified(journal: Path) -> list[bool]:
    found = records_of(journal)
    assert found[-1]["type"] == "journal_closed"
    return [r["data"]["verified"] for r in found if r["type"] == "reconciled"]


def test_a_run_goes_on_when_the_reader_of_its_output_has_gone(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [*COMMAND, *LONG], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    assert run.stderr is not None
    assert "running" in run.stdout.readline()
    run.stdout.close()
    with run.stderr:
        errors = run.stderr.read()
    assert run.wait(60) == 0, errors
    assert "the output has gone ([Errno 32] Broken pipe); the run goes on" in errors
    assert verified(tmp_path / "journal") == [True]
    kinds = [record["type"] for record in records_of(tmp_path / "journal")]
    assert kinds.count("candle_closed") == 5_000


def test_a_run_cleans_up_when_its_terminal_is_closed(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:  # the new process has the terminal
        os.chdir(tmp_path)
        os.execv(COMMAND[0], [*COMMAND, *LONG])
    seen = b""
    while b"fills" not in seen:  # the panel: it trades
        seen += os.read(terminal, 65_536)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 1), seen  # 1: its last words were lost
    assert verified(tmp_path / "journal") == [True]
    stops = [r["data"] for r in records_of(tmp_path / "journal") if r["type"] == "stop_requested"]
    assert stops[0]["reason"] == "SIGHUP"


@pytest.mark.parametrize(
    "command", [("backtest", *SHORT), ("backtest", *SHORT, "--json"), ("--help",)]
)
def test_a_reader_that_has_seen_enough_is_nothing_wrong(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, *command], cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, timeout=100
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_what_follows_a_journal_ends_with_its_reader(tmp_path: Path) -> None:
    subprocess.run([*COMMAND, "run", *SHORT], cwd=tmp_path, capture_output=True, timeout=100)
    reading, writing = os.pipe()
    os.close(reading)
    follow = (*COMMAND, "audit", "show", "journal", "--follow")
    done = subprocess.run(follow, cwd=tmp_path, stdout=writing, stderr=-1, timeout=100)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("command", ["run", "backtest"])
def test_a_full_disk_under_the_output_is_told(tmp_path: Path, command: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, command, *SHORT],
            cwd=tmp_path,
            stdout=full,
            stderr=-1,
            timeout=100,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr.endswith("error: the output could not be written: No space left on device\n")
    assert "Traceback" not in done.stderr
    if command == "run":
        assert verified(tmp_path / "journal") == [True]


@pytest.mark.parametrize("command", ["run", "backtest"])
@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_a_stream_that_the_process_was_started_without_is_none(
    tmp_path: Path, command: str, closed: tuple[int, ...]
) -> None:
    shut = " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in closed)
    line = f'exec "$@" {shut}'
    done = subprocess.run(
        ["sh", "-c", line, "sh", *COMMAND, command, *SHORT],
        cwd=tmp_path, capture_output=True, timeout=100, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if closed == (2,):
        assert "profit" in done.stdout
    if command == "run":
        assert verified(tmp_path / "journal") == [True]
