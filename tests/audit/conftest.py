"""What the tests of the journal share: an independent check of the chain, and a child to kill."""

from __future__ import annotations

import hashlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from candlewick.audit import AuditLogger

ZYGOTE = """
import os, sys
from candlewick.audit import AuditLogger

def write(directory, segment_bytes):
    journal = AuditLogger(directory, run_id="kill", segment_bytes=segment_bytes)
    number = 0
    while True:
        number += 1
        data = {"number": number, "pad": "x" * (number % 300)}
        sequence = journal.log_event("order_planned", data)
        os.write(1, b"%d\\n" % sequence)

for line in sys.stdin:
    directory, segment_bytes = line.split()
    pid = os.fork()
    if pid == 0:
        os.close(0)
        write(directory, int(segment_bytes))
    os.write(1, b"pid %d\\n" % pid)
    os.waitpid(pid, 0)
    os.write(1, b"dead\\n")
"""


class Victims:
    """Starts children that log as fast as they can and say each returned sequence; kills them."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", ZYGOTE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        self._out = self.process.stdout.fileno()
        self._text = b""

    def run_and_kill(self, directory: Path, after_s: float, segment_bytes: int) -> list[int]:
        """Let a child write for a while, kill it with SIGKILL, return what it acknowledged."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{directory} {segment_bytes}\n".encode())
        self.process.stdin.flush()
        lines: list[bytes] = []
        while not any(line.startswith(b"pid ") for line in lines):
            lines += self._read(None)
        pid = int(next(line for line in lines if line.startswith(b"pid ")).split()[1])
        remaining = after_s
        while remaining > 0.0:  # the pipe must not fill up: a child that waits is easy to kill
            before = os.times().elapsed
            lines += self._read(remaining)
            remaining -= max(os.times().elapsed - before, 1e-4)
        os.kill(pid, 9)
        while b"dead" not in lines:
            lines += self._read(None)
        return [int(line) for line in lines if line.isdigit()]

    def _read(self, timeout: float | None) -> list[bytes]:
        if not select.select([self._out], [], [], timeout)[0]:
            return []
        self._text += os.read(self._out, 1 << 20)
        *lines, self._text = self._text.split(b"\n")
        return lines

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    """Children to kill, forked from one process that has loaded everything."""
    found = Victims()
    yield found
    found.close()


def records_of(directory: Path) -> list[dict[str, Any]]:
    """Read a journal with nothing of the package, and check sequence and chain by its documents."""
    previous = "0" * 64
    found: list[dict[str, Any]] = []
    names = [p for p in sorted(directory.glob("*.jsonl")) if p.read_bytes()[:1] not in (b"", b"\0")]
    for path in names:
        content = path.read_bytes()
        whole = content.partition(b"\0")[0]
        for line in whole[: whole.rfind(b"\n") + 1].splitlines():
            record = json.loads(line)
            body, separator, tail = line.rpartition(b',"hash":"')
            assert separator
            digest = hashlib.sha256(previous.encode() + body).hexdigest()
            assert tail == f'{digest}"}}'.encode(), f"{path.name}: record {record['seq']}"
            assert record["seq"] == len(found) + 1
            assert list(record) == ["seq", "time_ns", "type", "data", "hash"]
            previous = digest
            found.append(record)
    return found


@pytest.fixture
def recorded() -> Callable[[Path], list[dict[str, Any]]]:
    """`records_of`: an independent reader."""
    return records_of


class Clock:
    """UTC nanoseconds under the test's control."""

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until it is moved."""
    return Clock()


def wait_for_segment(journal: AuditLogger) -> None:
    """Return when the keeper has the next segment ready; it makes it in a thread of its own."""
    for _ in range(6_000):
        if journal._keeper.has_ready:
            return
        time.sleep(0.01)
    pytest.fail("the keeper has made no segment within a minute")


@pytest.fixture
def ready() -> Callable[[AuditLogger], None]:
    """`wait_for_segment`."""
    return wait_for_segment
