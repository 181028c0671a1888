"""The benchmark runner: what a row says, how peers are timed, what the table marks."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import __main__ as runner
from benchmarks.rows import Row
from benchmarks.timing import Timing, in_turns, installed, median, percentile


def row(**changes: object) -> Row:
    values = {"area": "bus", "name": "an event", "value": 100.0, "unit": "ns"}
    return Row(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("better", "peer_value", "ratio"),
    [("higher", 50.0, 2.0), ("lower", 50.0, 0.5), ("lower", 400.0, 4.0), ("higher", None, None)],
)
def test_a_ratio_above_one_is_always_better(
    better: str, peer_value: float | None, ratio: float | None
) -> None:
    assert row(better=better, peer="x", peer_value=peer_value).ratio == ratio


@pytest.mark.parametrize(
    ("changes", "met"),
    [
        ({}, None),
        ({"limit": 100.0}, True),
        ({"limit": 101.0}, False),
        ({"limit": 100.0, "better": "lower"}, True),
        ({"limit": 99.0, "better": "lower"}, False),
        ({"peer_value": 50.0, "target_ratio": 2.0}, True),
        ({"peer_value": 50.0, "target_ratio": 2.1}, False),
        ({"peer_value": None, "target_ratio": 2.0}, None),
        ({"peer_value": 50.0, "target_ratio": 2.0, "limit": 101.0}, False),
        ({"peer_value": None, "target_ratio": 2.0, "limit": 100.0}, True),
    ],
)
def test_a_target_is_met_missed_or_not_measured(changes: dict[str, object], met: bool) -> None:
    assert row(**changes).met is met


def test_peers_take_turns_and_warm_up_rounds_do_not_count() -> None:
    calls: list[str] = []
    taken = in_turns(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=3, warm_up=1
    )
    assert calls == ["a", "b"] * 4
    assert {name: len(timing.seconds) for name, timing in taken.items()} == {"a": 3, "b": 3}


def test_a_timing_gives_rates_and_durations() -> None:
    timing = Timing((0.2, 0.1, 0.4))
    assert (timing.median, timing.best) == (0.2, 0.1)
    assert timing.rate(1_000) == 5_000.0
    assert timing.each_ns(1_000) == pytest.approx(200_000.0)


def test_median_and_percentiles_of_known_values() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert median(values) == 3.0
    assert median([1.0, 2.0, 3.0, 10.0]) == 2.5
    assert [percentile(values, f) for f in (0.0, 0.2, 0.21, 0.5, 0.99, 1.0)] == [1, 1, 2, 3, 5, 5]


def test_what_is_installed_is_known_without_importing_it() -> None:
    assert installed("json", "candlewick")
    assert not installed("json", "no_such_package_anywhere")


@pytest.fixture
def bench_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of benchmarks that the runner takes for its own."""
    import benchmarks

    monkeypatch.setattr(runner, "__file__", str(tmp_path / "__main__.py"))
    monkeypatch.setattr(benchmarks, "__path__", [str(tmp_path), *benchmarks.__path__])
    for name in ("fine", "broken", "peerless"):
        monkeypatch.delitem(sys.modules, f"benchmarks.bench_{name}", raising=False)
    (tmp_path / "bench_fine.py").write_text(
        "from benchmarks.rows import Row\n"
        "def run():\n"
        "    return [Row(area='fine', name='slow', value=9.0, unit='s', limit=1.0, "
        "better='lower'),\n"
        "            Row(area='fine', name='quick', value=9.0, unit='1/s', peer='x', "
        "peer_value=3.0, target_ratio=2.0)]\n"
    )
    return tmp_path


def test_all_modules_beside_the_runner_are_found_and_run(
    bench_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.areas() == ["fine"]
    assert runner.main(["--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert [(r["name"], r["met"], r["ratio"]) for r in result["rows"]] == [
        ("slow", False, None),
        ("quick", True, 3.0),
    ]
    assert result["troubles"] == {}
    assert "fine ..." in err


def test_a_missed_target_is_marked_and_is_no_failure(
    bench_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("slow" in line and "MISSED" in line for line in lines)
    assert any("quick" in line and "met" in line for line in lines)
    assert lines[-1] == "2 rows, 1 targets met, 1 missed"


def test_a_module_whose_peer_is_missing_says_so(
    bench_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench_folder / "bench_peerless.py").write_text("import no_such_peer\n")
    assert runner.main(["peerless"]) == 0
    assert "no_such_peer is not installed" in capsys.readouterr().out


def test_a_benchmark_that_raises_fails_and_the_others_still_run(
    bench_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench_folder / "bench_broken.py").write_text("def run():\n    raise OSError('no disk')\n")
    assert runner.main([]) == 1
    out, err = capsys.readouterr()
    assert "broken failed: OSError('no disk')" in out
    assert "Traceback" in err
    assert "2 rows" in out


def test_an_unknown_area_is_refused(bench_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        runner.main(["fien"])
    assert stopped.value.code == 2
    assert "known: fine" in capsys.readouterr().err


def test_a_peer_that_is_not_installed_is_named_in_the_table() -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(runner.table([row(peer="pyee", target_ratio=2.0)]))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "pyee (not installed)" in shown
    assert "not measured" in shown
