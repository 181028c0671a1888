"""Nothing that was acknowledged is lost, whatever kills the process or the machine."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from candlewick.audit import AuditLogger, ProblemKind, read, verify
from candlewick.errors import JournalError

Recorded = Callable[[Path], list[dict[str, Any]]]
SEGMENT = 65_536
PAGE = 4096


def _kill_often(victims: Any, recorded: Recorded, tmp_path: Path, times: int, seed: int) -> None:
    """Kill children at random moments; each one goes on with the same journal."""
    random_ = random.Random(seed)
    torn = acknowledged_total = 0
    expected: list[int] = []
    directory = tmp_path
    for number in range(times):
        if number % 10 == 0:
            directory, expected = tmp_path / f"{number}", []
            directory.mkdir()
        after_s = random_.choice((0.005, 0.03, 0.1)) * random_.random()
        acknowledged = victims.run_and_kill(directory, after_s, SEGMENT)
        acknowledged_total += len(acknowledged)
        expected += acknowledged
        if not any(p.read_bytes()[:1] == b"{" for p in directory.glob("*.jsonl")):
            continue  # it died before its first record
        records = recorded(directory)
        sequences = {r["seq"] for r in records if r["type"] == "order_planned"}
        missing = [sequence for sequence in expected if sequence not in sequences]
        assert not missing, f"acknowledged records are missing: {missing[:5]}"
        result = verify(directory)
        assert result.ok, result.problems
        assert result.records == len(records)
        assert not result.closed
        torn += bool(result.torn) + any(r["type"] == "journal_torn_tail" for r in records)
    print(f"{times} kills, {acknowledged_total:,} acknowledged records, {torn} torn tails seen")
    assert acknowledged_total > 100 * times, "the children were killed before they wrote anything"


def test_kill_9_at_random_moments_loses_no_acknowledged_record(
    victims: Any, recorded: Recorded, tmp_path: Path
) -> None:
    _kill_often(victims, recorded, tmp_path, times=30, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kill_9_a_thousand_times(victims: Any, recorded: Recorded, tmp_path: Path) -> None:
    _kill_often(victims, recorded, tmp_path, times=1_000, seed=2)


def _killed(directory: Path, records: int, segment_bytes: int = SEGMENT) -> None:
    """Leave a journal behind as SIGKILL does."""
    program = (
        "import os, sys, time\n"
        "from candlewick.audit import AuditLogger\n"
        "journal = AuditLogger(sys.argv[1], segment_bytes=int(sys.argv[3]))\n"
        "for number in range(int(sys.argv[2])):\n"
        "    while not journal._keeper.has_ready: time.sleep(0.001)\n"
        "    journal.log_event('order_planned', {'number': number})\n"
        "journal.flush()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", program, str(directory), str(records), str(segment_bytes)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


def _last_file(directory: Path) -> Path:
    return max(p for p in directory.glob("20*.jsonl"))


def _end_of(path: Path) -> int:
    return len(path.read_bytes().rstrip(b"\0"))


def test_a_record_that_was_cut_short_is_reported_and_never_taken_for_tampering(
    tmp_path: Path, recorded: Recorded
) -> None:
    _killed(tmp_path, 10)
    path = _last_file(tmp_path)
    torn = b'{"seq":12,"time_ns":17'
    with path.open("r+b") as file:
        file.seek(_end_of(path))
        file.write(torn)
    result = verify(tmp_path)
    assert result.ok
    assert result.torn == len(torn)
    assert result.last_sequence == 11
    with AuditLogger(tmp_path) as journal:
        assert journal.log_event("order_planned", {}) == 14
    records = recorded(tmp_path)
    assert records[11]["type"] == "journal_opened"
    assert records[11]["data"]["after"] == "killed"
    assert records[12]["type"] == "journal_torn_tail"
    assert records[12]["data"] == {"bytes": len(torn), "kept": [], "text": torn.decode()}
    assert verify(tmp_path).ok


def test_a_record_whose_last_bytes_arrived_before_its_first_is_a_torn_tail_too(
    tmp_path: Path,
) -> None:
    _killed(tmp_path, 10)
    path = _last_file(tmp_path)
    with path.open("r+b") as file:
        file.seek(_end_of(path) + 200)
        file.write(b'"hash":"abc"}')
    result = verify(tmp_path)
    assert result.ok
    assert result.torn
    with AuditLogger(tmp_path):
        pass
    assert verify(tmp_path).ok


def test_a_hole_of_a_power_cut_is_found_and_what_follows_it_is_put_aside(
    tmp_path: Path, recorded: Recorded
) -> None:
    """The disk got a later page and not an earlier one."""
    _killed(tmp_path, 200)
    path = _last_file(tmp_path)
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(3 * PAGE)
        file.write(bytes(PAGE))
    before_hole = content[: 3 * PAGE].count(b"\n")
    (problem,) = verify(tmp_path).problems
    assert problem.kind is ProblemKind.HOLE
    assert (problem.line, problem.sequence) == (before_hole + 1, before_hole + 1)
    with AuditLogger(tmp_path) as journal:
        assert journal.log_event("order_planned", {}) == before_hole + 3
    assert verify(tmp_path).ok
    report = recorded(tmp_path)[before_hole + 1]
    assert report["type"] == "journal_torn_tail"
    (kept,) = report["data"]["kept"]
    assert content[4 * PAGE :].rstrip(b"\0") in (tmp_path / kept).read_bytes()


def test_a_hole_before_the_last_file_puts_the_files_behind_it_aside(
    tmp_path: Path, recorded: Recorded
) -> None:
    """Power can fail when the file before the last is not on the disk yet."""
    _killed(tmp_path, 600)
    *_, before, last = sorted(tmp_path.glob("20*.jsonl"))
    content, behind = before.read_bytes(), last.read_bytes()
    kept_until = content[: 5 * PAGE].rfind(b"\n") + 1
    before.write_bytes(content[: 5 * PAGE] + bytes(SEGMENT - 5 * PAGE))
    last_kept = int(content[:kept_until].splitlines()[-1].split(b":")[1].split(b",")[0])
    assert not verify(tmp_path).ok
    with AuditLogger(tmp_path) as journal:
        assert journal.log_event("order_planned", {}) == last_kept + 3
    assert verify(tmp_path).ok
    (report,) = [r for r in recorded(tmp_path) if r["type"] == "journal_torn_tail"]
    kept = [(tmp_path / name).read_bytes() for name in report["data"]["kept"]]
    assert behind in kept
    assert sorted(r["seq"] for r in recorded(tmp_path)) == list(range(1, last_kept + 5))


def test_a_prepared_segment_that_was_in_use_gets_its_name_at_the_next_start(
    tmp_path: Path, recorded: Recorded
) -> None:
    """The process died after the journal had gone on in it, before it was named."""
    _killed(tmp_path, 600)
    last = _last_file(tmp_path)
    (tmp_path / "next.jsonl").unlink(missing_ok=True)
    last.rename(tmp_path / "next.jsonl")
    count = len(list(read(tmp_path)))
    assert verify(tmp_path).ok
    assert verify(tmp_path).records == count
    with AuditLogger(tmp_path) as journal:
        assert journal.log_event("order_planned", {}) == count + 2
    assert last.exists()
    assert verify(tmp_path).ok
    assert len(recorded(tmp_path)) == count + 3


def test_segments_that_were_prepared_and_never_used_go_away(tmp_path: Path) -> None:
    _killed(tmp_path, 10)
    day = _last_file(tmp_path).name[:10]
    (tmp_path / f"{day}.0002.jsonl").write_bytes(bytes(SEGMENT))
    (tmp_path / "next.jsonl").write_bytes(bytes(SEGMENT))
    assert verify(tmp_path).ok
    with AuditLogger(tmp_path):
        pass
    assert verify(tmp_path).ok
    assert [p.name for p in sorted(tmp_path.glob("*.jsonl"))] == [
        f"{day}.0001.jsonl", f"{day}.0002.jsonl",
    ]  # fmt: skip
    assert (tmp_path / f"{day}.0002.jsonl").read_bytes().count(b"\n") == 2


def test_a_start_that_died_before_it_cut_the_torn_tail_is_finished_by_the_next(
    tmp_path: Path,
) -> None:
    _killed(tmp_path, 10)
    first = _last_file(tmp_path)
    with first.open("r+b") as file:
        file.seek(_end_of(first))
        file.write(b'{"seq":12,"ti')
    torn = first.read_bytes()
    _killed(tmp_path, 5)
    first.write_bytes(torn)  # as if it had not been cut
    result = verify(tmp_path)
    assert result.ok, result.problems
    assert "torn tail" in result.notes[0]
    with AuditLogger(tmp_path):
        pass
    assert first.read_bytes() == torn[: torn.find(b"\0") - len(b'{"seq":12,"ti')]
    assert verify(tmp_path).ok


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[:-3] + b"x}\n", "not a record"),
        (lambda text: text.replace(b'"number":9', b'"number":8'), "does not follow"),
    ],
)
def test_a_start_refuses_a_journal_whose_end_no_crash_can_have_left(
    tmp_path: Path, change: Callable[[bytes], bytes], words: str
) -> None:
    _killed(tmp_path, 10)
    path = _last_file(tmp_path)
    path.write_bytes(change(path.read_bytes().rstrip(b"\0")))
    with pytest.raises(JournalError, match=words):
        AuditLogger(tmp_path)


def test_an_interrupt_in_the_middle_of_a_record_breaks_nothing(
    tmp_path: Path, recorded: Recorded
) -> None:
    """Ctrl+C raises between any two steps of `log_event`; the chain must go on whole."""
    program = (
        "import signal, sys\n"
        "from candlewick.audit import AuditLogger\n"
        "journal = AuditLogger(sys.argv[1], segment_bytes=65536)\n"
        "class Stop(BaseException): pass\n"
        "def interrupt(*_): raise Stop\n"
        "signal.signal(signal.SIGALRM, interrupt)\n"
        "returned, interrupts = [], 0\n"
        "while interrupts < 2000:\n"
        "    try:\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0.00002 + interrupts % 37 / 1e6)\n"
        "        while True:\n"
        "            returned.append(journal.log_event('order_planned', {'n': len(returned)}))\n"
        "    except Stop:\n"
        "        interrupts += 1\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "journal.stop()\n"
        "print(len(returned))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    records = recorded(tmp_path)
    planned = [r for r in records if r["type"] == "order_planned"]
    assert int(done.stdout) <= len(planned) <= int(done.stdout) + 2_000
    assert verify(tmp_path).closed


def test_a_signal_handler_may_record_in_the_middle_of_a_record(
    tmp_path: Path, recorded: Recorded
) -> None:
    program = (
        "import signal, sys\n"
        "from candlewick.audit import AuditLogger\n"
        "journal = AuditLogger(sys.argv[1], segment_bytes=65536)\n"
        "inner = 0\n"
        "def handler(*_):\n"
        "    global inner\n"
        "    inner += 1\n"
        "    journal.log_event('notification', {'n': inner})\n"
        "signal.signal(signal.SIGALRM, handler)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)\n"
        "outer = 0\n"
        "while inner < 2000:\n"
        "    outer += 1\n"
        "    journal.log_event('order_planned', {'n': outer})\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "journal.stop()\n"
        "print(outer, inner)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    outer, inner = map(int, done.stdout.split())
    records = recorded(tmp_path)
    by_type = {
        kind: [r["data"]["n"] for r in records if r["type"] == kind]
        for kind in ("order_planned", "notification")
    }
    assert by_type["order_planned"] == list(range(1, outer + 1))
    assert sorted(by_type["notification"]) == list(range(1, inner + 1))


def test_a_process_that_just_ends_closes_its_journal(tmp_path: Path, recorded: Recorded) -> None:
    program = (
        "import sys\n"
        "from candlewick.audit import AuditLogger\n"
        "journal = AuditLogger(sys.argv[1])\n"
        "journal.log_event('order_planned', {'n': 1})\n"
        "raise SystemExit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == 7
    assert [r["type"] for r in recorded(tmp_path)] == [
        "journal_opened", "order_planned", "journal_closed",
    ]  # fmt: skip
    assert verify(tmp_path).closed
    assert os.path.getsize(_last_file(tmp_path)) == _end_of(_last_file(tmp_path))
