"""Describing, writing and converting candle files, also when the process is killed at it."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars
import pytest

from candlewick.data import (
    aggregate,
    convert,
    describe,
    describe_all,
    load_candles,
    synthetic_market,
    write_candles,
)
from candlewick.errors import ConfigError, DataError
from tests.data.candle_files import HEADER, MINUTE, START, assert_equal, row, small_table

Write = Callable[..., Path]
FORMATS = ["btc.parquet", "btc.csv", "btc.csv.gz"]


# -- describing --------------------------------------------------------------------------------


def test_the_real_month_is_described(btc_month: Path) -> None:
    entry = describe(btc_month)
    assert (entry.symbol, entry.interval, entry.candles) == ("BTCUSDT", "1m", 45_031)
    assert (entry.gaps, entry.missing, entry.problems, entry.error) == (0, 0, (), "")
    assert entry.size_bytes == btc_month.stat().st_size
    found = entry.as_json()
    assert found["first"] == "2021-12-31T23:01:00+00:00"
    assert found["last"] == "2022-02-01T05:31:59.999000+00:00"
    assert found["path"] == str(btc_month)


def test_the_ten_pairs_are_described_with_their_gaps(ten_pairs: list[Path]) -> None:
    entries = describe_all(ten_pairs)
    assert sum(entry.candles for entry in entries) == 57_546
    assert [entry.gaps for entry in entries] == [5, 2, 0, 0, 0, 0, 6, 0, 2, 2]
    assert [entry.missing for entry in entries] == [40, 2, 0, 0, 0, 0, 6, 0, 2, 2]
    assert {entry.interval for entry in entries} == {"5m"}


def test_a_folder_is_described_whole_and_a_file_that_is_none_says_why(
    write: Write, tmp_path: Path
) -> None:
    write([HEADER, row(0), row(1), row(4), "rubbish"], "btc-1m.csv")
    write(["funding_time,funding_rate", "1,2"], "xrp-funding.csv")
    write(["notes"], "notes.txt")
    good, bad = describe_all([tmp_path])
    assert (good.candles, good.gaps, good.missing, len(good.problems)) == (3, 1, 2, 2)
    assert (good.first_time, good.last_time) == (START, START + 5 * MINUTE - 1)
    assert (bad.symbol, bad.candles) == ("", 0)
    assert "no column 'open_time' (it has: funding_time, funding_rate)" in bad.error
    assert bad.as_json()["first"] == ""
    with pytest.raises(DataError, match="does not exist"):
        describe(tmp_path / "none.csv")


# -- writing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_reads_back_bit_for_bit(btc_month: Path, tmp_path: Path, name: str) -> None:
    table = load_candles(btc_month).table
    write_candles(table, tmp_path / name)
    loaded = load_candles(tmp_path / name)
    assert loaded.problems == ()
    assert_equal(loaded.table, table)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", FORMATS)
def test_floats_of_any_size_survive(tmp_path: Path, name: str) -> None:
    (table,) = synthetic_market(["BTCUSDT"], "1m", 50, seed=1)
    for scale in (1e-9, 1 / 3, 1e12):
        for column in (table.open, table.high, table.low, table.close, table.volume):
            column *= scale
        write_candles(table, tmp_path / name, force=True)
        assert_equal(load_candles(tmp_path / name).table, table)


def test_other_tools_read_what_is_written(tmp_path: Path) -> None:
    table = small_table(5)
    write_candles(table, tmp_path / "btc.parquet")
    frame = polars.read_parquet(tmp_path / "btc.parquet")
    assert frame.columns == [*HEADER.split(","), "close_time"]
    assert frame["open_time"].to_list() == table.open_time.tolist()
    assert frame["open_time"].dtype == polars.Int64
    write_candles(table, tmp_path / "btc.csv")
    assert (tmp_path / "btc.csv").read_text() == "\n".join([HEADER, *map(row, range(5)), ""])


def test_the_same_candles_give_the_same_gzip_bytes(tmp_path: Path) -> None:
    for name in ("one.csv.gz", "two.csv.gz"):
        write_candles(small_table(50), tmp_path / name)
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "two.csv.gz").read_bytes()


def test_a_file_that_exists_is_not_replaced_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "btc.csv"
    write_candles(small_table(3), path)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"btc\.csv exists already; --force"):
        write_candles(small_table(9), path)
    assert path.read_bytes() == before
    write_candles(small_table(9), path, force=True)
    assert len(load_candles(path).table) == 9


@pytest.mark.parametrize("name", ["btc.txt", "btc.json", "btc.gz", "btc"])
def test_an_unknown_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"candles are written to \.parquet, \.csv, \.csv\.gz"):
        write_candles(small_table(3), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=f"{name} cannot be written"):
        write_candles(small_table(3), tmp_path / "file" / name)


WRITER = """
import resource, sys
from candlewick.data import synthetic_market, write_candles, writing
from candlewick.errors import DataError

how, path = sys.argv[1:]
if how == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
if how == "killed":
    def wait(path):
        print("written", flush=True)
        sys.stdin.read()
    writing._sync = wait
try:
    write_candles(synthetic_market(["BTCUSDT"], "1m", 20_000)[0], path, force=True)
except DataError as error:
    print(error)
"""


@pytest.mark.parametrize("name", FORMATS)
def test_a_kill_in_the_middle_leaves_what_was_there_before(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_candles(small_table(3), path)
    before = path.read_bytes()
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, "killed", str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as writer:  # fmt: skip
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        os.kill(writer.pid, signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
    assert path.read_bytes() == before
    left = [other.name for other in tmp_path.iterdir() if other != path]
    assert left == [f".{name}.{writer.pid}.part"]
    assert [entry.path for entry in describe_all([tmp_path])] == [str(path)]


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_leaves_what_was_there_before(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_candles(small_table(3), path)
    before = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", WRITER, "full", str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"{path}" in done.stdout
    assert "cannot be written" in done.stdout
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# -- converting --------------------------------------------------------------------------------


def test_a_csv_becomes_parquet_with_the_same_candles(btc_month: Path, tmp_path: Path) -> None:
    entry = convert([btc_month], tmp_path / "btc.parquet")
    assert entry == describe(tmp_path / "btc.parquet")
    assert_equal(load_candles(tmp_path / "btc.parquet").table, load_candles(btc_month).table)
    hours = convert([btc_month], tmp_path / "btc-1h.parquet", interval="1h")
    assert (hours.interval, hours.candles) == ("1h", 749)
    table = aggregate(load_candles(btc_month).table, "1h")
    assert_equal(load_candles(tmp_path / "btc-1h.parquet").table, table)


def test_months_are_joined_into_one_file(write: Write, tmp_path: Path) -> None:
    first = write([HEADER, *map(row, range(4))], "btc-1.csv")
    second = write([HEADER, *map(row, range(6, 9))], "btc-2.csv")
    entry = convert([second, first], tmp_path / "out" / "btc.csv.gz")
    assert (entry.candles, entry.gaps, entry.missing) == (7, 1, 2)
    text = gzip.decompress((tmp_path / "out" / "btc.csv.gz").read_bytes()).decode()
    assert text.splitlines() == [HEADER, *map(row, [0, 1, 2, 3, 6, 7, 8])]
    with pytest.raises(DataError, match="2 candles of 1m missing"):
        convert([tmp_path], tmp_path / "out" / "again.csv", on_gap="fail")
    assert not (tmp_path / "out" / "again.csv").exists()


def test_one_file_is_of_one_symbol(ten_pairs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds ADABTC, DASHBTC; one file is of one symbol"):
        convert(ten_pairs[:2], tmp_path / "pairs.parquet")
    entry = convert(ten_pairs, tmp_path / "dash.csv", symbol="DASHBTC")
    assert (entry.symbol, entry.candles) == ("DASHBTC", 5_758)
    with pytest.raises(ConfigError, match="no symbol DOGEBTC"):
        convert(ten_pairs, tmp_path / "doge.csv", symbol="DOGEBTC")


def test_a_broken_source_gives_no_file_unless_that_is_chosen(write: Write, tmp_path: Path) -> None:
    source = write([HEADER, row(0), "rubbish", row(1)], "btc-1m.csv")
    with pytest.raises(DataError, match=r"btc-1m\.csv:3: broken row"):
        convert([source], tmp_path / "btc.parquet")
    assert not (tmp_path / "btc.parquet").exists()
    entry = convert([source], tmp_path / "btc.parquet", on_problem="report")
    assert (entry.candles, len(entry.problems)) == (2, 1)
    assert describe(tmp_path / "btc.parquet").problems == ()
