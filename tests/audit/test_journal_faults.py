"""A full, failing, hanging or forbidden disk; another process; a fork."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from candlewick.audit import AuditLogger, JournalState, read, verify
from candlewick.audit import logger as logger_module
from candlewick.audit.keeper import Keeper
from candlewick.audit.segment import Segment
from candlewick.errors import JournalError

Recorded = Callable[[Path], list[dict[str, Any]]]
Ready = Callable[[AuditLogger], None]
SEGMENT = 65_536
MEBIBYTE = 1024 * 1024


class States:
    """What `on_state` was told; can be waited for."""

    def __init__(self) -> None:
        self.seen: list[tuple[JournalState, str]] = []
        self._changed = threading.Condition()

    def __call__(self, state: JournalState, reason: str) -> None:
        with self._changed:
            self.seen.append((state, reason))
            self._changed.notify_all()

    def wait_for(self, state: JournalState) -> str:
        with self._changed:
            assert self._changed.wait_for(lambda: state in [s for s, _ in self.seen], 60)
            return next(reason for s, reason in self.seen if s is state)


# -- a full disk -----------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte."""
    directory = tmp_path / "small"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "candlewick-test", str(directory)],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def _fill(directory: Path) -> Path:
    """Take all blocks that are left."""
    path = directory / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 4_096):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return path


def test_a_full_disk_is_a_state_and_room_ends_it_without_a_lost_record(
    small_disk: Path, recorded: Recorded, ready: Ready
) -> None:
    states = States()
    directory = small_disk / "journal"
    journal = AuditLogger(
        directory, segment_bytes=SEGMENT, sync_interval_s=0.02, on_state=states
    )  # fmt: skip
    ready(journal)
    filler = _fill(small_disk)
    number = 0
    while journal.state is JournalState.OK:  # until the prepared segment is in use too
        number += 1
        assert journal.log_event("order_planned", {"number": number, "pad": "x" * 100})
    assert "No space left" in states.wait_for(JournalState.WITHOUT_ROOM)
    while not journal.stats().held:  # closing orders still go out, and are recorded
        number += 1
        assert journal.log_event("order_planned", {"number": number, "pad": "x" * 100})
    for _ in range(200):
        number += 1
        assert journal.log_event("order_planned", {"number": number})
    stats = journal.stats()
    assert stats.state is JournalState.WITHOUT_ROOM
    assert (stats.held, stats.lost) == (201, 0)
    assert "No space left" in stats.error
    assert verify(directory).ok, "what is on the disk is whole at any time"
    filler.unlink()
    states.wait_for(JournalState.OK)
    number += 1
    assert journal.log_event("order_planned", {"number": number})
    journal.stop()
    records = recorded(directory)
    planned = [r["data"]["number"] for r in records if r["type"] == "order_planned"]
    assert planned == list(range(1, number + 1))
    assert [r["data"] for r in records if r["type"] == "journal_recovered"] == [{"lost": 0}]
    assert verify(directory).closed
    assert [state for state, _ in states.seen] == [JournalState.WITHOUT_ROOM, JournalState.OK]


def test_the_state_changes_while_a_whole_segment_is_still_free(
    small_disk: Path, ready: Ready
) -> None:
    """Entries stop early; what closes positions has room in the kernel for long."""
    states = States()
    journal = AuditLogger(
        small_disk / "journal", segment_bytes=SEGMENT, sync_interval_s=0.02, on_state=states
    )
    ready(journal)
    filler = _fill(small_disk)
    while journal.stats().segments == 1:
        journal.log_event("order_planned", {"pad": "x" * 100})
    states.wait_for(JournalState.WITHOUT_ROOM)
    for _ in range(100):
        journal.log_event("order_planned", {"pad": "x" * 100})
    assert journal.stats().held == 0, "the second segment takes them"
    filler.unlink()
    journal.stop()


def test_a_disk_that_stays_full_fails_the_stop_and_keeps_what_it_has(
    small_disk: Path, ready: Ready
) -> None:
    directory = small_disk / "journal"
    journal = AuditLogger(directory, segment_bytes=SEGMENT, sync_interval_s=0.02)
    ready(journal)
    filler = _fill(small_disk)
    while not journal.stats().held:
        journal.log_event("order_planned", {"pad": "x" * 100})
    with pytest.raises(JournalError, match="lacks 2 records"):  # the last one, and the closing one
        journal.stop()
    left = verify(directory)
    assert left.ok, left.problems
    assert not left.closed
    filler.unlink()
    with AuditLogger(directory, segment_bytes=SEGMENT):
        pass
    assert verify(directory).ok
    assert [r.data["after"] for r in read(directory, types=["journal_opened"])][1:] == ["killed"]


def test_no_room_at_the_start_is_an_error_that_says_so(small_disk: Path) -> None:
    _fill(small_disk)
    with pytest.raises(JournalError, match=r"No space left.*free some space|cannot be written"):
        AuditLogger(small_disk / "journal", segment_bytes=SEGMENT)


def test_memory_is_bounded_and_the_lost_records_are_counted_and_journaled(
    tmp_path: Path, recorded: Recorded, monkeypatch: pytest.MonkeyPatch, ready: Ready
) -> None:
    """A disk without room, made of errors where segments are made and grow."""
    monkeypatch.setattr(logger_module, "_HELD_BYTES", 10_000)
    states = States()
    journal = AuditLogger(
        tmp_path, segment_bytes=SEGMENT, sync_interval_s=0.02, on_state=states
    )  # fmt: skip
    ready(journal)
    with monkeypatch.context() as full:

        def no_room(*_: Any, **__: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        full.setattr(Segment, "_grow", no_room)
        full.setattr(Segment, "__init__", no_room)
        results = [journal.log_event("order_planned", {"pad": "x" * 100}) for _ in range(1_000)]
        stats = journal.stats()
        assert 0 < stats.held <= 10_000 // 200
        assert stats.lost == results.count(0) > 0
        accepted = [r for r in results if r]
    states.wait_for(JournalState.OK)
    journal.stop()
    records = recorded(tmp_path)
    assert sum(r["type"] == "order_planned" for r in records) == len(accepted)
    assert [r["data"]["lost"] for r in records if r["type"] == "journal_recovered"] == [stats.lost]
    assert verify(tmp_path).closed


def test_a_file_size_limit_is_met_in_a_defined_way(tmp_path: Path) -> None:
    """A quota of the process: the kernel refuses to let a file grow."""
    program = (
        "import json, resource, sys, threading\n"
        "from candlewick.audit import AuditLogger, JournalState\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, resource.RLIM_INFINITY))\n"
        "from candlewick.audit.keeper import Keeper\n"
        "Keeper._prepare = lambda self: None\n"  # no next segment: the file has to grow
        "told = threading.Event()\n"
        "journal = AuditLogger(sys.argv[1], segment_bytes=65536, sync_interval_s=0.02,\n"
        "                      on_state=lambda state, reason: told.set())\n"
        "sequences = [journal.log_event('order_planned', {'pad': 'x' * 100}) for _ in range(500)]\n"
        "assert told.wait(60)\n"
        "held = journal.stats().held\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)\n"
        "journal.stop()\n"
        "print(json.dumps([sequences, held]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    sequences, held = json.loads(done.stdout)
    assert sequences == list(range(2, 502))
    assert held > 0
    result = verify(tmp_path)
    assert result.ok
    assert result.closed


# -- a disk that fails or hangs --------------------------------------------------------------------


def test_a_failing_sync_is_a_state_and_a_later_success_ends_it(
    tmp_path: Path, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = States()
    failing = threading.Event()
    failing.set()
    original = Segment.sync

    def sync(self: Segment) -> None:
        if failing.is_set():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        original(self)

    monkeypatch.setattr(Segment, "sync", sync)
    with AuditLogger(tmp_path, sync_interval_s=0.01, on_state=states) as journal:
        journal.log_event("order_planned", {"n": 1})
        assert "Input/output" in states.wait_for(JournalState.WITHOUT_ROOM)
        with pytest.raises(JournalError, match="cannot be written to the disk"):
            journal.flush()
        journal.log_event("order_planned", {"n": 2})
        failing.clear()
        states.wait_for(JournalState.OK)
    records = recorded(tmp_path)
    assert [r["data"]["n"] for r in records if r["type"] == "order_planned"] == [1, 2]
    assert "journal_recovered" in [r["type"] for r in records]


def test_a_hanging_disk_shows_in_the_lag_and_not_in_the_records(
    tmp_path: Path, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, released = threading.Event(), threading.Event()
    original = Segment.sync

    def sync(self: Segment) -> None:
        hanging.set()
        assert released.wait(60)
        original(self)

    monkeypatch.setattr(Segment, "sync", sync)
    with AuditLogger(tmp_path, sync_interval_s=0.01, segment_bytes=SEGMENT) as journal:
        journal.log_event("order_planned", {"n": 0})
        assert hanging.wait(60)
        for number in range(1, 2_000):  # far more than the segments that are there
            assert journal.log_event("order_planned", {"n": number})
        assert journal.state is JournalState.OK
        assert journal.stats().sync_lag_s > 0.0
        in_kernel = [r for r in recorded(tmp_path) if r["type"] == "order_planned"]
        assert len(in_kernel) == 2_000
        released.set()
    assert verify(tmp_path).closed


def test_a_disk_that_hangs_at_the_end_does_not_hold_the_process(
    tmp_path: Path, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, done = threading.Event(), threading.Event()
    original = Segment.seal

    def seal(self: Segment) -> None:
        assert released.wait(60)
        original(self)
        done.set()

    monkeypatch.setattr(Segment, "seal", seal)
    journal = AuditLogger(tmp_path)
    journal.log_event("order_planned", {"n": 1})
    with pytest.raises(JournalError, match=r"the disk has not answered for 0\.05 s"):
        journal.stop(timeout_s=0.05)
    assert [r["type"] for r in recorded(tmp_path)][1:] == ["order_planned", "journal_closed"]
    released.set()
    assert done.wait(60)
    assert verify(tmp_path).closed


def test_a_deleted_file_is_noticed(tmp_path: Path) -> None:
    states = States()
    journal = AuditLogger(tmp_path, sync_interval_s=0.01, on_state=states)
    for path in tmp_path.glob("*.jsonl"):
        path.unlink()
    journal.log_event("order_planned", {"n": 1})
    assert "was deleted" in states.wait_for(JournalState.WITHOUT_ROOM)
    for end in (journal.flush, journal.stop):
        with pytest.raises(JournalError, match="was deleted"):
            end()


def test_a_defect_of_the_keeper_is_a_state_and_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = States()
    original = Keeper._sync_active
    calls = 0

    def broken(self: Keeper) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError("a defect")
        original(self)

    monkeypatch.setattr(Keeper, "_sync_active", broken)
    with AuditLogger(tmp_path, sync_interval_s=0.01, on_state=states) as journal:
        journal.log_event("order_planned", {"n": 1})
        assert "a defect" in states.wait_for(JournalState.WITHOUT_ROOM)
        states.wait_for(JournalState.OK)
    assert verify(tmp_path).closed


# -- permissions -----------------------------------------------------------------------------------


def _let_others_in(tmp_path: Path) -> None:
    """Open the way to a directory below that of all temporary files."""
    for parent in (tmp_path, *tmp_path.parents):
        if Path(tempfile.gettempdir()) in parent.parents:
            parent.chmod(0o755)


def _as_nobody(directory: Path) -> subprocess.CompletedProcess[str]:
    program = (
        "import os, sys\n"
        "from candlewick.audit import AuditLogger\n"
        "from candlewick.errors import JournalError\n"
        "if os.getuid() == 0:\n"
        "    os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        "    AuditLogger(sys.argv[1]).stop()\n"
        "except JournalError as error:\n"
        "    print(error)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program, str(directory)], capture_output=True, text=True, check=True
    )


def test_a_directory_without_permission_is_an_error_that_says_so(tmp_path: Path) -> None:
    _let_others_in(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    for directory in (closed, closed / "below"):
        told = _as_nobody(directory).stdout
        assert f"the journal directory {directory} cannot be written: Permission denied" in told


def test_a_file_without_permission_is_an_error_that_says_so(tmp_path: Path) -> None:
    _let_others_in(tmp_path)
    directory = tmp_path / "journal"
    with AuditLogger(directory):
        pass
    directory.chmod(0o777)
    (directory / ".lock").chmod(0o666)
    next(directory.glob("*.jsonl")).chmod(0o000)
    if os.getuid() != 0:
        pytest.skip("only root can leave a file that its owner may not read")
    assert "jsonl: Permission denied" in _as_nobody(directory).stdout


def test_a_read_only_file_system_is_an_error_that_says_so(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(JournalError, match="cannot be written: Read-only file system"):
        AuditLogger(small_disk / "journal")


def test_a_file_in_the_place_of_the_directory_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("not a directory")
    with pytest.raises(JournalError, match="cannot be written: File exists"):
        AuditLogger(tmp_path / "journal")


# -- other processes -------------------------------------------------------------------------------


def test_a_second_process_is_told_who_writes_the_journal(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from candlewick.audit import AuditLogger\n"
        "journal = AuditLogger(sys.argv[1])\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()\n"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert first.stdin is not None
    assert first.stdout is not None
    assert first.stdout.readline() == "open\n"
    with pytest.raises(JournalError, match=rf"is being written by process {first.pid} \("):
        AuditLogger(tmp_path)
    first.kill()
    first.wait(20)
    first.stdin.close()
    first.stdout.close()
    with AuditLogger(tmp_path) as journal:
        assert journal.log_event("order_planned", {}) == 3
    assert verify(tmp_path).closed


def test_two_journals_of_one_process_do_not_share_a_directory(tmp_path: Path) -> None:
    with AuditLogger(tmp_path), pytest.raises(JournalError, match=f"process {os.getpid()} "):
        AuditLogger(tmp_path)
    with AuditLogger(tmp_path):
        pass


FORK = """
import os, sys
from candlewick.audit import AuditLogger
from candlewick.errors import JournalError

journal = AuditLogger(sys.argv[1], segment_bytes=65536)
journal.log_event("order_planned", {"from": "parent"})
down, up = os.pipe()
child = os.fork()
if child == 0:
    try:
        journal.log_event("order_planned", {"from": "child"})
    except JournalError as error:
        print(error)
    journal.flush()
    journal.stop()
    with AuditLogger(sys.argv[2]) as own:
        own.log_event("order_planned", {"from": "child"})
    sys.stdout.flush()
    os.close(up)
    os.read(down, 1)  # until the parent has gone
    os._exit(0)
os.close(down)
for number in range(2000):
    journal.log_event("order_planned", {"from": "parent", "number": number})
print(os.getpid(), child, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_forked_child_leaves_the_journal_to_its_parent(
    tmp_path: Path, recorded: Recorded
) -> None:
    ours, childs = tmp_path / "parents", tmp_path / "childs"
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(ours), str(childs)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    parent = next(line.split()[0] for line in lines if line[0].isdigit())
    assert f"the journal {ours} belongs to process {parent}" in done.stdout
    assert {r["data"].get("from") for r in recorded(ours)} - {None} == {"parent"}
    assert [r["type"] for r in recorded(ours)].count("order_planned") == 2_001
    assert [r["data"].get("from") for r in recorded(childs)] == [None, "child", None]
    with AuditLogger(ours):  # the child lives on, and does not hold the lock
        pass
    assert verify(ours).ok


def test_open_files_are_closed_again(tmp_path: Path) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    with AuditLogger(tmp_path):
        pass
    before = count()
    for _ in range(5):
        with AuditLogger(tmp_path, segment_bytes=SEGMENT) as journal:
            for _ in range(1_000):
                journal.log_event("order_planned", {"pad": "x" * 100})
    assert count() == before
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert before < limit
