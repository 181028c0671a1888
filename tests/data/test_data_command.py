"""``candlewick data``, as it is called from a shell."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from candlewick.cli.main import run_command
from candlewick.data import load_candles, load_market
from tests.data.candle_files import HEADER, assert_equal, row

Write = Callable[..., Path]


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """What a command that succeeds prints as JSON."""
    assert run_command(["data", *map(str, arguments), "--json"]) == 0
    out = capsys.readouterr()
    assert out.err == ""
    found: dict[str, Any] = json.loads(out.out)
    return found


def test_show_as_a_process_prints_a_table_and_the_gaps(shared_dir: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from candlewick.cli.main import main; main()", "data", "show",
         str(shared_dir / "data")],
        cwd=tmp_path, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 2  # the folder also holds a file of funding rates
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    month = next(line for line in lines if "btc-perp" in line).split()
    assert month == [
        "btc-perp-1m-2022-01.csv.gz", "BTCUSDT", "1m", "45,031", "2021-12-31", "23:01",
        "2022-02-01", "05:31", "0", "0",
    ]  # fmt: skip
    assert sum(": gap: " in line for line in lines) == 17
    assert "33 candles of 5m missing from 2018-01-15 12:00 to 2018-01-15 14:45" in done.stdout
    assert "funding" in next(line for line in lines if "cannot be read" in line)
    assert "no column 'open_time'" in done.stdout


def test_show_for_programs(
    btc_month: Path, ten_pairs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files = printed(capsys, "show", btc_month, ten_pairs[0])["files"]
    assert [file["symbol"] for file in files] == ["BTCUSDT", "ADABTC"]
    assert [file["candles"] for file in files] == [45_031, 5_720]
    assert [file["missing"] for file in files] == [0, 40]
    assert [problem["kind"] for problem in files[1]["problems"]] == ["gap"] * 5


def test_many_problems_are_cut_short_for_people(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write([HEADER, *map(row, range(50)), *map(row, range(51, 110, 2))])
    assert run_command(["data", "show", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.count(": gap: ") == 20
    assert "... and 10 more; --json lists all" in out
    assert len(printed(capsys, "show", path)["files"][0]["problems"]) == 30


def test_convert(btc_month: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "btc-1h.parquet"
    (file,) = printed(capsys, "convert", btc_month, out, "--interval", "1h")["files"]
    assert (file["interval"], file["candles"], file["path"]) == ("1h", 749, str(out))
    assert len(load_candles(out).table) == 749
    assert run_command(["data", "convert", str(btc_month), str(out)]) == 2
    assert f"{out} exists already; --force" in capsys.readouterr().err
    (file,) = printed(capsys, "convert", btc_month, out, "--force")["files"]
    assert file["candles"] == 45_031


def test_convert_takes_several_sources(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [
        write([HEADER, *map(row, span)], f"btc-{place}.csv")
        for place, span in enumerate((range(3), range(3, 6)))
    ]
    (file,) = printed(capsys, "convert", *parts, tmp_path / "o" / "btc.csv", "--on-gap", "fail")[
        "files"
    ]
    assert file["candles"] == 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["convert", "btc.csv"], "needs a source and a destination"),
        (["convert", "none.csv", "out.parquet"], "data file none.csv does not exist"),
        (["convert", "{good}", "out.txt"], "candles are written to"),
        (["convert", "{good}", "out.csv", "--on-gap", "perhaps"], "'perhaps' is not one of"),
        (["convert", "{broken}", "out.csv"], "btc-2.csv:3: broken row"),
        (["synthetic", "out.csv", "--symbol", "A", "--symbol", "B"], "give a folder for 2 symbols"),
        (["synthetic", "out.csv", "--interval", "7m"], "unknown interval '7m'"),
        (["synthetic", "out.csv", "--candles", "0"], "--candles"),
        (["show", "none.csv", "--jason"], "--jason"),
        (["shwo"], "shwo"),
    ],
)
def test_what_cannot_be_done_ends_with_code_2_and_says_why(
    arguments: list[str],
    words: str,
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    good = write([HEADER, row(0), row(1)], "btc-1.csv")
    broken = write([HEADER, row(0), "x", row(1)], "btc-2.csv")
    filled = [item.format(good=good, broken=broken) for item in arguments]
    assert run_command(["data", *filled]) == 2
    assert words in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["btc-1.csv", "btc-2.csv"]


def test_a_synthetic_market_is_written_and_labelled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = printed(
        capsys, "synthetic", tmp_path, "--symbol", "btcusdt", "--symbol", "ETHUSDT",
        "--candles", 300, "--seed", 3, "--interval", "5m",
    )  # fmt: skip
    assert found["source"] == "synthetic market (seed 3)"
    names = [Path(file["path"]).name for file in found["files"]]
    assert names == ["btcusdt-5m-synthetic-3.csv.gz", "ethusdt-5m-synthetic-3.csv.gz"]
    written = load_market([tmp_path])
    made = load_market([], symbols=["BTCUSDT", "ETHUSDT"], interval="5m", candles=300, seed=3)
    for one, other in zip(written.tables, made.tables, strict=True):
        assert_equal(one, other)


def test_one_synthetic_symbol_goes_into_the_file_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "play.parquet"
    assert run_command(["data", "synthetic", str(out), "--candles", "50"]) == 0
    assert "synthetic market (seed 0)" in capsys.readouterr().out
    assert len(load_candles(out, "BTCUSDT").table) == 50
    (file,) = printed(capsys, "synthetic", tmp_path / "one.csv", "--candles", "1")["files"]
    assert (file["candles"], file["interval"], file["symbol"]) == (1, "1m", "BTCUSDT")


def test_without_polars_the_file_that_is_wanted_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    out = tmp_path / "btcusdt-1m.parquet"
    assert run_command(["data", "synthetic", str(out), "--candles", "10"]) == 2
    told = capsys.readouterr().err
    assert f"writing {out} needs polars: pip install 'candlewick[parquet]'" in told
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_symbol_in_its_name_is_told_how_to_get_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "s.csv"
    assert run_command(["data", "synthetic", str(out), "--candles", "10"]) == 0
    assert run_command(["data", "show", str(out)]) == 2
    assert "name the file after it, as btcusdt-1m.csv" in " ".join(capsys.readouterr().out.split())
