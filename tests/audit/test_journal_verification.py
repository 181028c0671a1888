"""Every change of a journal is found, and found where it was made."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from candlewick.audit import (
    Anchor,
    AuditLogger,
    ProblemKind,
    Verification,
    anchors_of,
    read,
    read_anchors,
    verify,
)
from candlewick.audit.verification import Problem
from candlewick.errors import DataError

Ready = Callable[[AuditLogger], None]
SEGMENT = 65_536
RECORDS = 1_200


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed journal of several files."""
    directory = tmp_path_factory.mktemp("closed")
    with AuditLogger(directory, segment_bytes=SEGMENT) as journal:
        for number in range(RECORDS):
            while not journal._keeper.has_ready:
                journal.flush()
            journal.log_event("order_planned", {"number": number, "price": 42_000.5})
    assert len(list(directory.glob("*.jsonl"))) > 2
    return directory


@pytest.fixture
def journal_copy(closed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(closed, tmp_path / "copy"))


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def _change(path: Path, change: Callable[[list[bytes]], Any]) -> None:
    lines = _lines(path)
    change(lines)
    path.write_bytes(b"".join(lines))


def _files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.jsonl"))


def _sequence(line: bytes) -> int:
    return int(json.loads(line)["seq"])


def _only(result: Verification) -> Problem:
    (problem,) = result.problems
    return problem


def test_an_untouched_journal_verifies(closed: Path) -> None:
    result = verify(closed)
    assert result.ok
    assert result.closed
    assert (result.first_sequence, result.last_sequence) == (1, result.records)
    assert result.notes == ()
    assert result.torn == 0
    last = json.loads(_lines(_files(closed)[-1])[-1])
    assert result.last_hash == last["hash"]


@pytest.mark.parametrize(
    "edit",
    [
        (b'"price":42000.5', b'"price":42000.6'),
        (b'"number":', b'"Number":'),
        (b"order_planned", b"order_sent"),
        (b'"time_ns":1', b'"time_ns":2'),
    ],
)
def test_an_edited_record_is_found(journal_copy: Path, edit: tuple[bytes, bytes]) -> None:
    path = _files(journal_copy)[1]
    lines = _lines(path)
    _change(path, lambda lines: lines.__setitem__(30, lines[30].replace(*edit)))
    problem = _only(verify(journal_copy))
    assert problem.kind is ProblemKind.ALTERED
    assert (problem.file, problem.line) == (path.name, 31)
    assert problem.offset == sum(map(len, lines[:30]))
    assert problem.sequence == _sequence(lines[30])


def test_an_edited_record_whose_hash_was_made_anew_is_found_at_its_successor(
    journal_copy: Path,
) -> None:
    path = _files(journal_copy)[0]
    lines = _lines(path)
    previous = json.loads(lines[29])["hash"].encode()
    body = lines[30].replace(b"42000.5", b"1.5")[: -len(b',"hash":""}\n') - 64]
    digest = hashlib.sha256(previous + body).hexdigest().encode()
    _change(path, lambda lines: lines.__setitem__(30, body + b',"hash":"' + digest + b'"}\n'))
    problem = _only(verify(journal_copy))
    assert (problem.kind, problem.line) == (ProblemKind.ALTERED, 32)


def test_a_deleted_record_is_found(journal_copy: Path) -> None:
    path = _files(journal_copy)[1]
    sequence = _sequence(_lines(path)[30])
    _change(path, lambda lines: lines.pop(30))
    problem = _only(verify(journal_copy))
    assert (problem.kind, problem.line, problem.sequence) == (ProblemKind.MISSING, 31, sequence)
    assert f"record {sequence} is missing" in problem.message


def test_an_inserted_record_is_found(journal_copy: Path) -> None:
    path = _files(journal_copy)[1]
    _change(path, lambda lines: lines.insert(30, lines[10]))
    problem = _only(verify(journal_copy))
    assert (problem.kind, problem.line) == (ProblemKind.DISORDER, 31)


def test_an_inserted_line_that_is_no_record_is_found(journal_copy: Path) -> None:
    path = _files(journal_copy)[1]
    _change(path, lambda lines: lines.insert(30, b"\n"))
    assert verify(journal_copy).problems[0].kind is ProblemKind.NOT_A_RECORD
    assert verify(journal_copy).problems[0].line == 31


def test_records_in_another_order_are_found(journal_copy: Path) -> None:
    path = _files(journal_copy)[1]

    def swap(lines: list[bytes]) -> None:
        lines[30], lines[31] = lines[31], lines[30]

    _change(path, swap)
    kinds = [(p.kind, p.line) for p in verify(journal_copy).problems]
    assert kinds == [(ProblemKind.MISSING, 31), (ProblemKind.DISORDER, 32)]


def test_several_changes_are_found_each_in_its_place(journal_copy: Path) -> None:
    first, second, *_ = _files(journal_copy)
    _change(first, lambda lines: lines.__setitem__(10, lines[10].replace(b"42000", b"42001")))
    _change(first, lambda lines: lines.__setitem__(20, lines[20].replace(b"42000", b"42001")))
    _change(second, lambda lines: lines.pop(5))
    assert [(p.file, p.line) for p in verify(journal_copy).problems] == [
        (first.name, 11), (first.name, 21), (second.name, 6),
    ]  # fmt: skip


@pytest.mark.parametrize("which", [0, 1])
def test_a_missing_file_is_found(journal_copy: Path, which: int) -> None:
    _files(journal_copy)[which].unlink()
    problem = _only(verify(journal_copy))
    assert (problem.kind, problem.line) == (ProblemKind.MISSING, 1)
    assert problem.file == _files(journal_copy)[which].name


def test_files_with_each_others_names_are_found(journal_copy: Path) -> None:
    first, second, *_ = _files(journal_copy)
    first.rename(journal_copy / "x")
    second.rename(first)
    (journal_copy / "x").rename(second)
    kinds = {p.kind for p in verify(journal_copy).problems}
    assert kinds == {ProblemKind.MISSING, ProblemKind.DISORDER}


def test_a_missing_last_file_is_found(journal_copy: Path) -> None:
    _files(journal_copy)[-1].unlink()
    problem = _only(verify(journal_copy))
    assert problem.kind is ProblemKind.CUT
    assert problem.file == _files(journal_copy)[-1].name


@pytest.mark.parametrize("left", [0, 3, 20])
def test_a_cut_end_is_found(journal_copy: Path, left: int) -> None:
    path = _files(journal_copy)[-1]
    lines = _lines(path)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:left])
    problems = verify(journal_copy).problems
    assert ProblemKind.CUT in {p.kind for p in problems}


def test_a_cut_end_with_zeros_behind_it_is_found_by_its_size(journal_copy: Path) -> None:
    path = _files(journal_copy)[-1]
    path.write_bytes(b"".join(_lines(path)[:-2]) + bytes(100))
    assert _only(verify(journal_copy)).kind is ProblemKind.CUT


def test_a_faked_death_is_found_by_an_anchor_only(journal_copy: Path) -> None:
    """What no chain can show: zeros over the last records look like a process that died."""
    anchor = anchors_of(journal_copy)[-1]
    path = _files(journal_copy)[-1]
    kept = b"".join(_lines(path)[:-5])
    path.write_bytes(kept + bytes(SEGMENT - len(kept)))
    assert verify(journal_copy).ok
    problem = _only(verify(journal_copy, anchors=[anchor]))
    assert problem.kind is ProblemKind.CUT
    assert str(anchor.sequence) in problem.message


def _rewritten(directory: Path) -> None:
    """What somebody who knows the format does: change a record, and hash all behind it anew."""
    previous = b"0" * 64
    for path in _files(directory):
        out = []
        for line in _lines(path):
            body = line.replace(b'"number":3,', b'"number":999,')[: -len(b',"hash":""}\n') - 64]
            previous = hashlib.sha256(previous + body).hexdigest().encode()
            out.append(body + b',"hash":"' + previous + b'"}\n')
        path.write_bytes(b"".join(out))


@pytest.mark.parametrize("content", [b"", bytes(100_000)])
def test_a_journal_that_was_emptied_is_found_by_an_anchor_only(
    journal_copy: Path, content: bytes
) -> None:
    """A process that died while it opened its journal leaves such a file, too."""
    anchor = anchors_of(journal_copy)[-1]
    for path in journal_copy.glob("*.jsonl"):
        path.write_bytes(content)
    result = verify(journal_copy)
    assert (result.ok, result.records) == (True, 0)
    assert "no record is there" in result.notes[0]
    problem = _only(verify(journal_copy, anchors=[anchor]))
    assert problem.kind is ProblemKind.CUT
    assert str(anchor.sequence) in problem.message


def test_a_chain_that_was_made_anew_is_found_by_an_anchor_only(journal_copy: Path) -> None:
    day_end = anchors_of(journal_copy)[-1]
    early = read_anchors(f"{2}:{list(read(journal_copy))[1].hash}", "early")[0]
    _rewritten(journal_copy)
    assert verify(journal_copy).ok
    assert verify(journal_copy, anchors=[early]).ok, "it stands before the change"
    problem = _only(verify(journal_copy, anchors=[early, day_end]))
    assert problem.kind is ProblemKind.ANCHOR
    assert str(day_end.sequence) in problem.message
    assert problem.line == len(_lines(_files(journal_copy)[-1]))


def test_anchors_of_the_untouched_journal_hold(closed: Path) -> None:
    anchors = anchors_of(closed)
    text = "\n".join(map(str, anchors))
    assert read_anchors(f"# comment\n\n{text}\n", "file") == anchors
    assert verify(closed, anchors=anchors).ok


@pytest.mark.parametrize("text", ["x", "1:2", "2024-01-01 x abc", f"a b c {'0' * 64}"])
def test_what_is_no_anchor_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="here:1"):
        read_anchors(text, "here")


def test_a_directory_without_a_journal_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no journal"):
        verify(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        verify(tmp_path / "nothing")


def test_a_journal_that_is_being_written_verifies_at_any_moment(
    tmp_path: Path, ready: Ready
) -> None:
    with AuditLogger(tmp_path, segment_bytes=SEGMENT) as journal:
        for number in range(2_000):
            if number % 50 == 0:
                ready(journal)
            journal.log_event("order_planned", {"number": number, "pad": "x" * 50})
            if number % 20 == 0:
                result = verify(tmp_path)
                assert result.ok, result.problems
                assert not result.closed
                assert result.last_sequence == journal.stats().records


def test_very_many_problems_end_the_search(journal_copy: Path) -> None:
    for path in _files(journal_copy):
        path.write_bytes(path.read_bytes().replace(b"42000.5", b"42000.6"))
    result = verify(journal_copy)
    assert len(result.problems) == 100
    assert "more problems" in result.notes[-1]


# -- properties ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_closed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The one file of a closed journal."""
    directory = tmp_path_factory.mktemp("small")
    with AuditLogger(directory, segment_bytes=SEGMENT) as journal:
        for number in range(8):
            journal.log_event("order_planned", {"number": number})
    (path,) = _files(directory)
    return path.read_bytes()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


NAME = "2026-11-23.0001.jsonl"


def test_a_hash_that_is_no_text_is_told_as_the_damage_it_is(
    small_closed: bytes, scratch: Path
) -> None:
    at = small_closed.rstrip(b"\0").rindex(b'"}')
    (scratch / NAME).write_bytes(small_closed[: at - 1] + b"\x80" + small_closed[at:])
    result = verify(scratch)
    assert not result.ok
    assert result.last_hash.isascii()


@given(data=st.data())
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_of_any_bytes_of_a_closed_journal_is_detected(
    small_closed: bytes, scratch: Path, data: st.DataObject
) -> None:
    """Bytes replaced, deleted or inserted anywhere; only zeros at the end are no change."""
    size = len(small_closed)
    start = data.draw(st.integers(0, size))
    end = data.draw(st.integers(start, min(size, start + 400)))
    line_ends = [i + 1 for i, byte in enumerate(small_closed) if byte == 10]
    piece = st.builds(
        lambda a, b: small_closed[min(a, b) : max(a, b)],
        st.sampled_from([0, *line_ends]), st.sampled_from([0, *line_ends]),
    )  # fmt: skip
    new = data.draw(st.binary(max_size=80) | piece | st.just(bytes(end - start)))
    changed = small_closed[:start] + new + small_closed[end:]
    if changed.rstrip(b"\0") == small_closed:
        return
    (scratch / NAME).write_bytes(changed)
    try:
        result = verify(scratch)
    except DataError:
        return  # nothing is left of it
    assert not result.ok


@given(data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_of_a_killed_journal_is_detected_or_within_its_torn_tail(
    small_closed: bytes, scratch: Path, data: st.DataObject
) -> None:
    """What passes is the beginning of what was written, and never anything else."""
    lines = small_closed.splitlines(keepends=True)[:-1]
    whole = b"".join(lines)
    killed = whole + bytes(SEGMENT - len(whole))
    start = data.draw(st.integers(0, len(whole) + 200))
    end = data.draw(st.integers(start, len(whole) + 400))
    new = data.draw(st.binary(max_size=80) | st.just(bytes(end - start)))
    changed = killed[:start] + new + killed[end:]
    (scratch / NAME).write_bytes(changed)
    try:
        result = verify(scratch)
    except DataError:
        return
    if result.ok:
        kept = b"".join(lines[: result.records])
        assert changed.startswith(kept)
        assert set(changed[len(kept) + result.torn :]) <= {0}, "a tail of zeros"


@given(order=st.permutations(range(10)))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_other_order_of_the_records_is_detected(
    small_closed: bytes, scratch: Path, order: list[int]
) -> None:
    lines = small_closed.splitlines(keepends=True)
    (scratch / NAME).write_bytes(b"".join(lines[number] for number in order))
    assert verify(scratch).ok == (order == sorted(order))


@given(kept=st.sets(st.integers(0, 9), min_size=1))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_missing_record_is_detected(small_closed: bytes, scratch: Path, kept: set[int]) -> None:
    lines = small_closed.splitlines(keepends=True)
    (scratch / NAME).write_bytes(b"".join(lines[number] for number in sorted(kept)))
    assert verify(scratch).ok == (len(kept) == 10)


def test_an_anchor_prints_and_reads_as_a_line() -> None:
    anchor = Anchor(12, "ab" * 32, "2026-11-23")
    assert str(anchor) == f"2026-11-23 12 {'ab' * 32}"
