"""``candlewick audit`` as a user runs it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars
import pytest

from candlewick.audit import AuditLogger, anchors_of, read
from candlewick.cli.main import run_command
from candlewick.errors import ExitCode
from candlewick.models import Order, OrderType, Side

COMMAND = [sys.executable, "-c", "from candlewick.cli.main import main; main()"]
DAY_NS = 86_400_000_000_000
Ready = Callable[[AuditLogger], None]


@pytest.fixture
def journal(tmp_path: Path, clock: Any, ready: Ready) -> Path:
    """Three days from 2023-11-14T22:13:20Z on; each day an order is planned, sent and filled."""
    directory = tmp_path / "journal"
    start = clock.now_ns
    with AuditLogger(directory, clock=clock, segment_bytes=65_536) as journal:
        for day in range(3):
            clock.now_ns = start + day * DAY_NS
            ready(journal)
            name = {"client_id": f"cw-x-{day}-entry", "symbol": "BTCUSDT"}
            order = Order(f"cw-x-{day}-entry", "BTCUSDT", Side.BUY, OrderType.MARKET, 0.5)
            journal.log_event("order_planned", order)
            clock.now_ns += 6_000
            journal.log_event("order_sent", name)
            clock.now_ns += 2_500_000
            journal.log_event("order_acknowledged", name | {"venue_id": f"77{day}"})
            clock.now_ns += 3_000_000_000
            journal.log_event("order_filled", name | {"filled": 0.5})
    return directory


class Audit:
    """Runs a command in this process; the last output is kept."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str | Path) -> int:
        code = run_command(["audit", *map(str, arguments)])
        self.out, self.err = self._capsys.readouterr()
        return code

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def audit(capsys: pytest.CaptureFixture[str]) -> Audit:
    return Audit(capsys)


def _break(directory: Path) -> Path:
    path = min(directory.glob("*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'"quantity":0.5', b'"quantity":0.6'))
    return path


def test_verify_ends_with_0_for_a_whole_journal(audit: Audit, journal: Path) -> None:
    assert audit("verify", journal) == ExitCode.OK
    count = len(list(read(journal)))
    assert f"verified: {count} records in 3 files" in audit.out
    assert audit("verify", journal, "--json") == ExitCode.OK
    assert audit.json["ok"] is True
    assert (audit.json["records"], audit.json["problems"]) == (count, [])


def test_verify_ends_with_4_and_says_where(audit: Audit, journal: Path) -> None:
    path = _break(journal)
    assert audit("verify", journal) == ExitCode.JOURNAL_UNTRUSTED == 4
    assert re.search(rf"altered {path.name}:2 \(byte \d+\): record 2 ", audit.out)
    assert "does not verify" in audit.out
    assert audit("verify", journal, "--json") == 4
    (problem,) = audit.json["problems"]
    assert (problem["kind"], problem["file"], problem["line"]) == ("altered", path.name, 2)


def test_verify_of_nothing_ends_with_2(audit: Audit, tmp_path: Path) -> None:
    assert audit("verify", tmp_path) == ExitCode.BAD_INPUT
    assert "holds no journal" in audit.err
    assert audit("verify", tmp_path / "nowhere") == ExitCode.BAD_INPUT


def test_anchors_are_printed_and_checked(audit: Audit, journal: Path, tmp_path: Path) -> None:
    assert audit("anchor", journal) == 0
    lines = audit.out.splitlines()
    assert lines == [str(anchor) for anchor in anchors_of(journal)]
    assert [line[:10] for line in lines] == ["2023-11-14", "2023-11-15", "2023-11-16"]
    kept = tmp_path / "anchors"
    kept.write_text(audit.out)
    _, sequence, digest = lines[1].split()
    assert audit("verify", journal, "--anchors", kept, "--anchor", f"{sequence}:{digest}") == 0
    assert audit("verify", journal, "--anchor", f"{sequence}:{'0' * 64}") == 4
    assert "anchored hash" in audit.out
    assert audit("verify", journal, "--anchor", "1:x") == 2
    assert audit("verify", journal, "--anchors", tmp_path / "none") == 2
    assert audit("anchor", journal, "--json") == 0
    assert audit.json[2]["day"] == "2023-11-16"


def test_show_filters_and_keeps_the_order(audit: Audit, journal: Path) -> None:
    assert audit("show", journal) == 0
    assert len(audit.out.splitlines()) == len(list(read(journal)))
    assert "2023-11-14 22:13:20.000000" in audit.out.splitlines()[0]
    assert audit("show", journal, "--type", "order_s*", "--json") == 0
    rows = [json.loads(line) for line in audit.out.splitlines()]
    assert [row["data"]["client_id"] for row in rows] == [f"cw-x-{day}-entry" for day in range(3)]
    assert {row["type"] for row in rows} == {"order_sent"}
    assert audit("show", journal, "--order", "cw-x-1-entry", "--last", "2") == 0
    assert [line.split()[3] for line in audit.out.splitlines()] == [
        "order_acknowledged", "order_filled",
    ]  # fmt: skip
    assert audit("show", journal, "--order", "771", "--json") == 0
    assert len(audit.out.splitlines()) == 1
    assert audit("show", journal, "--since", "2023-11-15", "--until", "2023-11-16", "--json") == 0
    days = {json.loads(line)["time_ns"] // DAY_NS for line in audit.out.splitlines()}
    assert len(days) == 1
    assert audit("show", journal, "--since", "1h") == 0
    assert audit.out == ""
    assert audit("show", journal, "--symbol", "ETHUSDT") == 0
    assert audit.out == ""


def test_show_says_what_happened_in_words(audit: Audit, journal: Path) -> None:
    assert audit("show", journal, "--order", "cw-x-1-entry") == 0
    words = [line.split(maxsplit=4)[4] for line in audit.out.splitlines()]
    assert words[0].startswith("cw-x-1-entry entry buy 0.5 BTCUSDT market")
    assert words[2:] == ["cw-x-1-entry BTCUSDT venue id 771", "cw-x-1-entry BTCUSDT filled 0.5"]


def test_show_knows_the_types_that_a_program_has_made_up(audit: Audit, tmp_path: Path) -> None:
    with AuditLogger(tmp_path) as journal:
        journal.log_event("mine", {"since": 1_700_000_000_000, "at_time": 1_700_000_000_000})
    assert audit("show", tmp_path, "--type", "min*") == 0
    assert audit.out.endswith(
        "mine                   since 1700000000000 at time 2023-11-14 22:13:20\n"
    )
    assert audit("show", tmp_path, "--type", "nime") == 2
    assert "did you mean 'mine'?" in audit.err


def test_show_fits_its_lines_to_a_terminal(journal: Path) -> None:
    """In a pipe lines are whole; on a terminal there is a heading, and no line is broken."""
    program = (
        "import sys; from rich.console import Console; import candlewick.cli.audit as audit\n"
        "audit.console_for = lambda: Console(force_terminal=True, width=80, color_system=None)\n"
        "from candlewick.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "audit", "show", str(journal)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    heading, *lines = done.stdout.splitlines()
    assert heading.split() == ["record", "time", "(UTC)", "type", "what"]
    assert len(lines) == len(list(read(journal)))
    assert max(map(len, lines)) == 80
    assert any(line.endswith("…") for line in lines)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--type", "order_plannd", "did you mean 'order_planned'?"),
        ("--since", "yesterday", "--since 'yesterday' is no time"),
        ("--until", "2023-13-01", "--until '2023-13-01' is no time"),
        ("--since", "99999999999d", "--since '99999999999d' is no time"),
        ("--since", "9999999d", "--since '9999999d' is no time"),
    ],
)
def test_show_refuses_filters_that_mean_nothing(
    audit: Audit, journal: Path, option: str, value: str, words: str
) -> None:
    assert audit("show", journal, option, value) == 2
    assert words in audit.err


def test_show_says_that_nothing_matches(audit: Audit, journal: Path) -> None:
    """On standard error: a program that reads the records reads none."""
    assert audit("show", journal, "--symbol", "ETHUSDT", "--json") == 0
    assert (audit.out, audit.err) == ("", f"no record of {journal} is of that kind\n")


def test_show_follow_prints_what_is_written_until_ctrl_c(tmp_path: Path) -> None:
    with AuditLogger(tmp_path) as journal:
        process = subprocess.Popen(
            [*COMMAND, "audit", "show", str(tmp_path), "--follow", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["type"] == "journal_opened"
        for number in range(5):
            journal.log_event("order_planned", {"n": number})
            assert json.loads(process.stdout.readline())["data"] == {"n": number}
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == ExitCode.INTERRUPTED
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        process.stderr.close()


def test_a_closed_pipe_is_no_error(journal: Path) -> None:
    line = f"{' '.join(map(repr, COMMAND))} audit show {journal} | head -1"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_stats_count_days_and_types(audit: Audit, journal: Path) -> None:
    assert audit("stats", journal, "--json") == 0
    found = audit.json
    assert found["by_type"]["order_planned"] == 3
    assert list(found["by_day"]) == ["2023-11-14", "2023-11-15", "2023-11-16"]
    assert audit("stats", journal) == 0
    assert re.search(r"order_planned\s+3", audit.out)


def test_order_tells_the_story(audit: Audit, journal: Path) -> None:
    assert audit("order", "cw-x-1-entry", journal) == 0
    assert "planned to sent: 6.0 µs" in audit.out
    assert "sent to acknowledged: 2.500 ms" in audit.out
    assert "acknowledged to filled: 3.000 s" in audit.out
    assert audit("order", "771", journal, "--json") == 0
    assert audit.json["order_id"] == "cw-x-1-entry"
    assert audit("order", "cw-x-1-entri", journal) == 2
    assert "did you mean 'cw-x-1-entry'?" in audit.err


def test_export_writes_what_was_asked_for(audit: Audit, journal: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    assert audit("export", journal, out, "--type", "order_filled") == 0
    assert "wrote 3 records" in audit.out
    assert polars.read_parquet(out)["type"].to_list() == ["order_filled"] * 3
    assert audit("export", journal, tmp_path / "no" / "out.parquet") == 2


def test_compress_packs_old_days_and_the_journal_still_verifies(
    audit: Audit, journal: Path
) -> None:
    assert audit("compress", journal, "--json") == 0
    assert audit.json["compressed"] == ["2023-11-14.0001.jsonl"]
    assert audit("verify", journal) == 0
    assert audit("compress", journal, "--keep-days", "30") == 0
    assert "removed 1" in audit.out
    assert audit("verify", journal) == 0
    assert "removed by retention" in audit.out


def test_replay_compares_a_recorded_run(audit: Audit, tmp_path: Path) -> None:
    run = subprocess.run(
        [*COMMAND, "run", "--candles", "500", "--seed", "2", "--journal", "j",
         "--metrics-port", "0"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.returncode == 0
    assert audit("replay", tmp_path / "j") == 0
    assert "no difference" in audit.out
    assert audit("replay", tmp_path / "j", "--json") == 0
    assert audit.json["same"] is True
    assert audit.json["compared"] > 50
    other = tmp_path / "other.py"
    other.write_text(
        "from candlewick.strategies.sma_cross import *\n"
        "from candlewick.strategies import load_strategy\n"
        "class Other(load_strategy('sma_cross')):\n"
        "    def on_candle(self, candle):\n"
        "        if candle.open_time % 7 == 0: self.sell(size=0.01)\n"
        "        super().on_candle(candle)\n"
    )
    assert audit("replay", tmp_path / "j", "--strategy", f"{other}:Other") == 4
    assert re.search(r"first difference at record \d+ \(.* UTC, run sim2\)", audit.out)
    assert audit("replay", tmp_path / "j", "--strategy", f"{other}:Other", "--json") == 4
    assert audit.json["first_difference"]["sequence"] > 0
    assert audit("replay", tmp_path / "j", "--run", "nobody") == 2
    path = min((tmp_path / "j").glob("*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'"high":', b'"High":', 1))
    assert audit("replay", tmp_path / "j") == 4
    assert "does not verify" in audit.err


def test_the_directory_is_journal_when_none_is_named(
    audit: Audit, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(journal.parent)
    for command in ("verify", "stats", "anchor", "show"):
        assert audit(command) == 0


def test_help_names_every_command(audit: Audit) -> None:
    assert audit("--help") == 0
    for command in (
        "verify", "anchor", "show", "stats", "export", "order", "compress", "replay",
    ):  # fmt: skip
        assert command in audit.out
