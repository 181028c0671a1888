"""What `log_event` promises: order, time, immutability, and figures for monitoring."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from candlewick.audit import AuditLogger, EventType, JournalState, Record, read, verify
from candlewick.audit.segment import Segment
from candlewick.errors import ConfigError, JournalError

Recorded = Callable[[Path], list[dict[str, Any]]]
Ready = Callable[[AuditLogger], None]
DAY_NS = 86_400_000_000_000


def test_records_are_numbered_chained_and_framed(tmp_path: Path, recorded: Recorded) -> None:
    with AuditLogger(tmp_path / "a" / "journal", run_id="r1") as journal:
        first = journal.log_event(EventType.ORDER_PLANNED, {"quantity": 0.1})
        second = journal.log_event("my_own_type", [1, None, "x"])
    records = recorded(tmp_path / "a" / "journal")
    assert [r["type"] for r in records] == [
        "journal_opened", "order_planned", "my_own_type", "journal_closed",
    ]  # fmt: skip
    assert (first, second) == (2, 3)
    assert records[0]["data"] == {
        "format": 1, "run_id": "r1", "segment_bytes": 16 * 1024 * 1024, "previous": "0" * 64,
        "process": os.getpid(), "after": "nothing",
    }  # fmt: skip
    assert records[2]["data"] == [1, None, "x"]
    assert records[3]["data"] == {"records": 4, "lost": 0}


def test_the_next_run_goes_on_with_sequence_and_chain(tmp_path: Path, recorded: Recorded) -> None:
    for number in range(3):
        with AuditLogger(tmp_path, run_id=f"r{number}") as journal:
            journal.log_event("order_planned", {"number": number})
    records = recorded(tmp_path)
    assert [r["data"]["after"] for r in records if r["type"] == "journal_opened"] == [
        "nothing", "closed", "closed",
    ]  # fmt: skip
    assert len(records) == 9
    assert verify(tmp_path).records == 9


def test_later_changes_to_the_data_do_not_reach_the_record(tmp_path: Path) -> None:
    data: dict[str, Any] = {"items": [1]}
    with AuditLogger(tmp_path) as journal:
        journal.log_event("order_planned", data)
        data["items"].append(2)
        journal.log_event("order_planned", data)
    planned = [r.data["items"] for r in read(tmp_path, types=["order_planned"])]
    assert planned == [[1], [1, 2]]


def test_a_record_can_be_read_by_another_process_as_soon_as_it_is_written(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from candlewick.audit import read\n"
        "print([r.data['n'] for r in read(sys.argv[1], types=['order_planned'])])\n"
    )
    with AuditLogger(tmp_path) as journal:
        journal.log_event("order_planned", {"n": 17})
        seen = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert seen.stdout == "[17]\n"


@pytest.mark.parametrize("name", ['with "quotes"', "line\nbreak", "ünïcode", "x" * 5000, ""])
def test_any_text_can_be_an_event_type(tmp_path: Path, recorded: Recorded, name: str) -> None:
    with AuditLogger(tmp_path) as journal:
        journal.log_event(name, {})
    assert recorded(tmp_path)[1]["type"] == name[:100]


def test_files_end_at_their_size_and_each_begins_with_what_it_follows(
    tmp_path: Path, recorded: Recorded, ready: Ready
) -> None:
    with AuditLogger(tmp_path, segment_bytes=65_536) as journal:
        for number in range(2_000):
            ready(journal)
            journal.log_event("order_planned", {"number": number, "pad": "x" * 100})
        segments = journal.stats().segments
    files = sorted(tmp_path.glob("20*.jsonl"))
    assert len(files) == segments > 2
    records = recorded(tmp_path)
    assert [r["data"]["number"] for r in records if r["type"] == "order_planned"] == [*range(2_000)]
    heads = [json.loads(path.read_bytes().partition(b"\n")[0]) for path in files]
    assert {head["type"] for head in heads[1:]} == {"journal_segment"}
    for head in heads[1:]:
        assert head["data"]["previous"] == records[head["seq"] - 2]["hash"]
    assert not (tmp_path / "next.jsonl").exists()


def test_records_go_on_when_the_keeper_is_late_with_the_next_segment(
    tmp_path: Path, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written behind the map: no record waits for a segment."""
    made = 0
    release = threading.Event()
    original = Segment.__init__

    def slow(self: Segment, *arguments: Any, **named: Any) -> None:
        nonlocal made
        made += 1
        if made > 1:
            assert release.wait(60)
        original(self, *arguments, **named)

    monkeypatch.setattr(Segment, "__init__", slow)
    journal = AuditLogger(tmp_path, segment_bytes=65_536)
    for number in range(1_000):
        assert journal.log_event("order_planned", {"number": number, "pad": "x" * 100})
    assert journal.state is JournalState.OK
    assert len(recorded(tmp_path)) == 1_001
    assert verify(tmp_path).ok
    release.set()
    journal.stop()
    assert len(recorded(tmp_path)) == 1_002
    assert verify(tmp_path).closed


def test_midnight_begins_a_new_file_while_records_go_on(
    tmp_path: Path, recorded: Recorded, clock: Any, ready: Ready
) -> None:
    clock.now_ns = 1_700_006_399_000_000_000  # one second before midnight
    anchors: list[tuple[str, int, str]] = []
    journal = AuditLogger(
        tmp_path, clock=clock, on_anchor=lambda *anchor: anchors.append(anchor)
    )  # fmt: skip
    for number in range(4):
        clock.now_ns += 400_000_000
        ready(journal)
        journal.log_event("order_planned", {"number": number})
    clock.now_ns += 3 * DAY_NS
    ready(journal)
    journal.log_event("order_planned", {"number": 4})
    journal.stop()
    files = sorted(path.name for path in tmp_path.glob("*.jsonl"))
    assert files == ["2023-11-14.0001.jsonl", "2023-11-15.0001.jsonl", "2023-11-18.0001.jsonl"]
    records = recorded(tmp_path)
    last_of_day = {r["time_ns"] // DAY_NS: (r["seq"], r["hash"]) for r in records}
    assert anchors == [
        (day, *last)
        for day, last in zip(
            ("2023-11-14", "2023-11-15", "2023-11-18"), last_of_day.values(), strict=True
        )
    ]
    assert [r["time_ns"] for r in records] == sorted(r["time_ns"] for r in records)


def test_a_clock_that_jitters_backwards_does_not_make_time_run_backwards(
    tmp_path: Path, recorded: Recorded, clock: Any
) -> None:
    with AuditLogger(tmp_path, clock=clock) as journal:
        for step in (1_000_000, -900_000, 5, 2_000_000):
            clock.now_ns += step
            journal.log_event("order_planned", {})
    times = [r["time_ns"] for r in recorded(tmp_path)]
    assert times == sorted(times)
    assert "journal_clock_stepped" not in [r["type"] for r in recorded(tmp_path)]


def test_a_clock_that_is_set_back_is_recorded_once_and_followed(
    tmp_path: Path, recorded: Recorded, clock: Any
) -> None:
    start = clock.now_ns
    with AuditLogger(tmp_path, clock=clock) as journal:
        clock.now_ns -= 2 * DAY_NS
        for _ in range(3):
            clock.now_ns += 1
            journal.log_event("order_planned", {})
    records = recorded(tmp_path)
    assert [r["type"] for r in records] == [
        "journal_opened", "journal_clock_stepped", *["order_planned"] * 3, "journal_closed",
    ]  # fmt: skip
    assert records[1]["data"] == {"from_ns": start, "to_ns": start - 2 * DAY_NS + 1}
    assert [r["time_ns"] for r in records[2:5]] == [start - 2 * DAY_NS + n for n in (1, 2, 3)]
    assert len(list(tmp_path.glob("*.jsonl"))) == 1, "the file of a day is not left for one before"


def test_a_start_with_a_clock_behind_the_journal_keeps_the_files_in_order(
    tmp_path: Path, recorded: Recorded, clock: Any
) -> None:
    with AuditLogger(tmp_path, clock=clock) as journal:
        journal.log_event("order_planned", {"n": 1})
    clock.now_ns -= 3 * DAY_NS
    with AuditLogger(tmp_path, clock=clock) as journal:
        journal.log_event("order_planned", {"n": 2})
    assert [r["data"]["n"] for r in recorded(tmp_path) if r["type"] == "order_planned"] == [1, 2]
    assert [r["type"] for r in recorded(tmp_path)].count("journal_clock_stepped") == 1
    assert verify(tmp_path).ok


def test_threads_write_one_whole_chain(tmp_path: Path, recorded: Recorded) -> None:
    count, each = 4, 3_000
    returned: list[list[int]] = [[] for _ in range(count)]
    barrier = threading.Barrier(count)
    with AuditLogger(tmp_path, segment_bytes=65_536) as journal:

        def write(number: int) -> None:
            barrier.wait()
            for item in range(each):
                returned[number].append(
                    journal.log_event("order_planned", {"thread": number, "item": item})
                )

        threads = [threading.Thread(target=write, args=(n,)) for n in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    by_sequence = {r["seq"]: r["data"] for r in recorded(tmp_path)}
    for number, sequences in enumerate(returned):
        assert sequences == sorted(set(sequences))
        told = [by_sequence[sequence] for sequence in sequences]
        assert told == [{"thread": number, "item": item} for item in range(each)]


def test_sync_durability_waits_for_the_disk_in_each_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    original = Segment.sync

    def counted(self: Segment) -> None:
        original(self)
        synced.append(self.synced)

    monkeypatch.setattr(Segment, "sync", counted)
    with AuditLogger(tmp_path, durability="sync", sync_interval_s=1e6) as journal:
        for _ in range(5):
            journal.log_event("order_planned", {})
            assert synced[-1] == journal.stats().bytes
    assert len(synced) >= 5


def test_async_durability_syncs_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()
    original = Segment.sync

    def seen(self: Segment) -> None:
        was_dirty = self.is_dirty
        original(self)
        if was_dirty:
            done.set()

    monkeypatch.setattr(Segment, "sync", seen)
    with AuditLogger(tmp_path, sync_interval_s=0.01) as journal:
        journal.log_event("order_planned", {})
        assert done.wait(60)
        assert threading.current_thread() is threading.main_thread()


def test_flush_leaves_nothing_that_the_disk_does_not_have(tmp_path: Path) -> None:
    with AuditLogger(tmp_path, sync_interval_s=1e6, segment_bytes=65_536) as journal:
        for _ in range(1_000):
            journal.log_event("order_planned", {"pad": "x" * 100})
        assert journal.stats().sync_lag_s > 0.0
        journal.flush()
        assert journal.stats().sync_lag_s == 0.0


def test_the_figures_are_those_of_the_files(tmp_path: Path, recorded: Recorded) -> None:
    journal = AuditLogger(tmp_path, segment_bytes=65_536)
    for number in range(1_000):
        journal.log_event("order_planned", {"number": number})
    stats = journal.stats()
    journal.flush()
    text = b"".join(p.read_bytes().rstrip(b"\0") for p in sorted(tmp_path.glob("*.jsonl")))
    assert stats.bytes == len(text)
    assert stats.records == text.count(b"\n")
    assert stats.segments == len(list(tmp_path.glob("20*.jsonl")))
    assert (stats.held, stats.lost, stats.encoding_failures) == (0, 0, 0)
    assert stats.state is JournalState.OK
    assert sum(stats.write_latency) == pytest.approx(stats.records / 64, abs=1)
    assert 0 < stats.write_ns_last <= stats.write_ns_max <= stats.write_ns_total
    journal.stop()
    after = journal.stats()
    assert after.state is JournalState.CLOSED
    assert after.records == len(recorded(tmp_path))
    assert after.sync_lag_s == 0.0


def test_a_stopped_journal_refuses_records_and_can_be_stopped_again(tmp_path: Path) -> None:
    journal = AuditLogger(tmp_path)
    journal.stop()
    journal.stop()
    journal.flush()
    with pytest.raises(JournalError, match="is stopped"):
        journal.log_event("order_planned", {})


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"durability": "maybe"}, "durability 'maybe'"),
        ({"segment_bytes": 100}, "segment_bytes 100"),
        ({"sync_interval_s": 0.0}, "sync_interval_s 0.0"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    tmp_path: Path, named: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        AuditLogger(tmp_path, **named)


def test_a_hook_that_raises_does_not_end_the_keeper(
    tmp_path: Path, clock: Any, ready: Ready
) -> None:
    calls: list[str] = []

    def hook(day: str, sequence: int, digest: str) -> None:
        calls.append(day)
        raise RuntimeError("a hook's own fault")

    with AuditLogger(tmp_path, clock=clock, on_anchor=hook) as journal:
        for _ in range(3):
            clock.now_ns += DAY_NS
            ready(journal)
            journal.log_event("order_planned", {})
    assert len(calls) == 4
    assert verify(tmp_path).closed


def test_records_are_what_the_public_type_says(tmp_path: Path) -> None:
    with AuditLogger(tmp_path) as journal:
        journal.log_event("order_planned", {"n": 1})
    record = list(read(tmp_path))[1]
    assert isinstance(record, Record)
    assert (record.sequence, record.type, record.data) == (2, "order_planned", {"n": 1})
