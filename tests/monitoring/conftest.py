"""Helpers for tests of monitoring: engines in processes of their own, and their figures."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from candlewick.cli.main import run_command

COMMAND = [sys.executable, "-c", "from candlewick.cli.main import main; main()"]


class Engine:
    """A running ``candlewick run`` and the address that it logged."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    def get(self, path: str) -> tuple[int, str]:
        """Fetch a page; returns the HTTP status and the body."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10.0) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def json(self, path: str) -> Any:
        """Fetch a page of JSON."""
        return json.loads(self.get(path)[1])


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime directory of this test's own, for its process and its children."""
    path = tmp_path / "runtime"
    path.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    return path


@pytest.fixture
def start_engine(tmp_path: Path, runtime: Path) -> Iterator[Callable[..., Engine]]:
    """Starts engines that are ended with the test; arguments are those of ``candlewick run``."""
    engines: list[Engine] = []

    def start(*arguments: str) -> Engine:
        process = subprocess.Popen(
            [*COMMAND, "run", "--json", *arguments], cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"metrics at (\S+)/metrics", line):
                engines.append(Engine(process, found[1]))
                return engines[-1]
        raise AssertionError(f"the engine ended with {process.wait()}")

    yield start
    for engine in engines:
        with engine.process as process:
            process.send_signal(signal.SIGCONT)
            process.kill()


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path, runtime: Path) -> Command:
    """Runs a command of candlewick to its end, in a process of its own."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )

    return run


@pytest.fixture
def status(
    tmp_path: Path,
    runtime: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Command:
    """Runs ``candlewick status`` in this process, as another terminal would."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        code = run_command(["status", *arguments])
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run


def program(name: str) -> str:
    """The path of one of Prometheus' programs; skips the test where there is none."""
    kept = Path(__file__).parents[2] / ".venv" / "prometheus" / "usr" / "bin" / name
    found = shutil.which(name) or (str(kept) if kept.is_file() else None)
    if found is None:
        pytest.skip(f"{name} is not installed: it comes with the Debian package prometheus")
    return found


@pytest.fixture
def promtool() -> str:
    """The path of promtool."""
    return program("promtool")


@pytest.fixture
def prometheus() -> str:
    """The path of the Prometheus server."""
    return program("prometheus")


@pytest.fixture
def without_file_space() -> Callable[[], Any]:
    """A context in which the kernel lets this process make no file larger than 4 KiB."""
    import resource

    @contextmanager
    def limited() -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
