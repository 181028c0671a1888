"""Reading candles: all real files, all formats, and everything that can be broken in a file."""

from __future__ import annotations

import csv
import gzip
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

from candlewick.data import OnProblem, ProblemKind, load_candles
from candlewick.data.reading import symbol_of
from candlewick.errors import DataError
from candlewick.models import CandleTable, interval_ms
from tests.data.candle_files import HEADER, MINUTE, START, assert_equal, row, small_table

Write = Callable[..., Path]
ROWS = [row(number) for number in range(6)]

# gaps of the real files, and the candles they lack
GAPS = {"ADA": (5, 40), "DASH": (2, 2), "TRX": (6, 6), "XMR": (2, 2), "ZEC": (2, 2)}


# -- real files --------------------------------------------------------------------------------


def rows_by_hand(path: Path) -> list[list[str]]:
    with gzip.open(path, "rt") as file:
        return list(csv.reader(file))[1:]


def test_the_real_month_is_read_whole_and_has_no_gap(btc_month: Path) -> None:
    loaded = load_candles(btc_month)
    table = loaded.table
    assert loaded.problems == ()
    assert (table.symbol, table.interval, len(table)) == ("BTCUSDT", "1m", 45_031)
    rows = rows_by_hand(btc_month)
    assert table.open_time.tolist() == [int(r[0]) for r in rows]
    for place, name in enumerate(("open", "high", "low", "close", "volume"), 1):
        assert getattr(table, name).tolist() == [float(r[place]) for r in rows]
    assert np.all(table.close_time == table.open_time + 59_999)


def test_every_gap_of_the_ten_pairs_is_found(ten_pairs: list[Path]) -> None:
    assert len(ten_pairs) == 10
    for path in ten_pairs:
        loaded = load_candles(path)
        assert {p.kind for p in loaded.problems} <= {ProblemKind.GAP}
        base = loaded.table.symbol.removesuffix("BTC")
        found = len(loaded.problems), sum(problem.count for problem in loaded.problems)
        assert found == GAPS.get(base, (0, 0)), base
        assert loaded.table.interval == "5m"
        times = [int(r[0]) for r in rows_by_hand(path)]
        assert loaded.table.open_time.tolist() == times
        holes = set(range(times[0], times[-1], 300_000)) - set(times)
        told = {
            problem.time + 300_000 * number
            for problem in loaded.problems
            for number in range(problem.count)
        }
        assert told == holes


def test_a_gap_is_said_in_utc_and_can_be_refused_or_passed_over(ten_pairs: list[Path]) -> None:
    ada = ten_pairs[0]
    first = load_candles(ada).problems[0]
    assert str(first) == (
        f"{ada}: gap: 1 candle of 5m missing from 2018-01-15 10:10 to 2018-01-15 10:15"
    )
    with pytest.raises(DataError, match="gap: 1 candle of 5m missing from 2018-01-15 10:10"):
        load_candles(ada, on_gap="fail")
    assert load_candles(ada, on_gap="skip").problems == ()
    assert len(load_candles(ada, on_gap="skip").table) == 5_720


# -- formats -----------------------------------------------------------------------------------


def test_plain_gzipped_and_zipped_files_give_the_same(write: Write, tmp_path: Path) -> None:
    plain = write([HEADER, *ROWS])
    packed = tmp_path / "btc.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    with zipfile.ZipFile(tmp_path / "btc.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(plain, "btc-1m.csv")
        archive.writestr("__MACOSX/._btc-1m.csv", "rubbish")
        archive.writestr("README.txt", "not candles")
    for path in (plain, packed, tmp_path / "btc.zip"):
        loaded = load_candles(path)
        assert loaded.problems == ()
        assert_equal(loaded.table, small_table(6))


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([HEADER, *ROWS], id="header"),
        pytest.param(ROWS, id="no header"),
        pytest.param(
            [f"{r},{START + MINUTE * n + 59_999},12.5,3,0.5,9.9,0" for n, r in enumerate(ROWS)],
            id="the exchange's twelve kline columns",
        ),
        pytest.param(
            ["Open time, Open ,HIGH,Low,Close,Volume,Close time", *(f"{r},1" for r in ROWS)],
            id="the exchange's header",
        ),
        pytest.param(
            ["v,c,l,h,o,extra,timestamp", *(",".join([*r.split(",")[:0:-1], "x", r.split(",")[0]])
                                            for r in ROWS)],
            id="another order, short names, a column that is no number",
        ),
        pytest.param(
            [",".join(f'"{cell}"' for cell in line.split(",")) for line in (HEADER, *ROWS)],
            id="quoted",
        ),
        pytest.param(["\ufeff" + HEADER, *ROWS], id="byte order mark"),
        pytest.param([HEADER, *ROWS[:3], "", *ROWS[3:], ""], id="blank lines"),
        pytest.param([HEADER, *(" " + r.replace(",", ", ") for r in ROWS)], id="spaces"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_the_shapes_a_csv_comes_in(write: Write, lines: list[str], end: str) -> None:
    loaded = load_candles(write(lines, end=end))
    assert loaded.problems == ()
    assert_equal(loaded.table, small_table(6))


def iso(time: int, pattern: str) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).strftime(pattern)


@pytest.mark.parametrize(
    "write_time",
    [
        lambda time: str(time),
        lambda time: f"{time}.0",
        lambda time: str(time // 1_000),
        lambda time: str(time * 1_000),
        lambda time: str(time * 1_000_000),
        lambda time: iso(time, "%Y-%m-%dT%H:%M:%SZ"),
        lambda time: iso(time, "%Y-%m-%d %H:%M:%S"),
        lambda time: iso(time, "%Y-%m-%d %H:%M"),
        lambda time: iso(time + 5 * 3_600_000, "%Y-%m-%dT%H:%M:%S+05:00"),
    ],
    ids=["ms", "float", "s", "us", "ns", "zulu", "naive", "minutes", "offset"],
)  # fmt: skip
@pytest.mark.parametrize("header", [True, False], ids=["header", "headerless"])
def test_the_units_a_time_comes_in(
    write: Write, write_time: Callable[[int], str], header: bool
) -> None:
    lines = [row(number, write_time(START + MINUTE * number)) for number in range(6)]
    table = load_candles(write([HEADER] * header + lines)).table
    assert_equal(table, small_table(6))


def test_a_file_may_change_its_unit_as_the_exchanges_archive_did(write: Write) -> None:
    late = [row(number, (START + MINUTE * number) * 1_000) for number in range(3, 6)]
    assert_equal(load_candles(write([HEADER, *ROWS[:3], *late])).table, small_table(6))


@pytest.mark.parametrize("dtype", ["ms", "datetime", "zone", "date text"])
def test_parquet(tmp_path: Path, dtype: str) -> None:
    model = small_table(6)
    frame = polars.DataFrame(
        {"Volume": model.volume, "close": model.close, "low": model.low.astype(np.float32),
         "high": model.high, "open": model.open, "timestamp": model.open_time}
    )  # fmt: skip
    time = polars.col("timestamp")
    if dtype == "datetime":
        frame = frame.with_columns(polars.from_epoch(time, "ms").cast(polars.Datetime("us")))
    elif dtype == "zone":
        moment = polars.from_epoch(time, "ms").dt.replace_time_zone("UTC")
        frame = frame.with_columns(moment.dt.convert_time_zone("Asia/Tokyo"))
    elif dtype == "date text":
        frame = frame.with_columns(polars.from_epoch(time, "ms").dt.to_string("iso:strict"))
    path = tmp_path / "btc-1m.parquet"
    frame.write_parquet(path)
    loaded = load_candles(path)
    assert loaded.problems == ()
    assert_equal(loaded.table, model)


def test_what_a_parquet_file_lacks_is_named(tmp_path: Path) -> None:
    path = tmp_path / "btc.parquet"
    model = small_table(4)
    columns: dict[str, Any] = {
        "open_time": model.open_time, "open": model.open, "high": model.high, "low": model.low,
        "close": [100.5, None, 102.5, 103.5], "volume": model.volume,
    }  # fmt: skip
    polars.DataFrame(columns).write_parquet(path)
    with pytest.raises(DataError, match=rf"{path}:2: broken row: close nan is not"):
        load_candles(path)
    polars.DataFrame(columns).drop("volume").write_parquet(path)
    with pytest.raises(DataError, match=r"no column 'volume' \(it has: open_time, open"):
        load_candles(path)
    polars.DataFrame(columns | {"open_time": ["a", "b", "c", "d"]}).write_parquet(path)
    with pytest.raises(DataError, match=f"{path} cannot be read as candles in Parquet"):
        load_candles(path)
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match=f"{path} cannot be read as candles in Parquet"):
        load_candles(path)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("btc-perp-1m-2022-01.csv.gz", "BTCUSDT"), ("adabtc-5m-2018-01.csv.gz", "ADABTC"),
        ("BTCUSDT-1m-2024-01-05.zip", "BTCUSDT"), ("ethusd_perp.csv", "ETHUSD"),
        ("sol.parquet", "SOLUSDT"), ("1000shib-1h.csv", "1000SHIBUSDT"), ("eth.csv", "ETHUSDT"),
    ],
)  # fmt: skip
def test_the_symbol_is_told_from_the_name_of_a_file(name: str, symbol: str) -> None:
    assert symbol_of(Path("/somewhere/2022") / name) == symbol


def test_symbol_and_interval_can_be_given(write: Write) -> None:
    path = write([HEADER, ROWS[0]], "§.csv")
    with pytest.raises(DataError, match="no symbol can be told from the name"):
        load_candles(path)
    with pytest.raises(DataError, match="one candle does not tell its interval; name it"):
        load_candles(path, "ETHUSDT")
    with pytest.raises(DataError, match="unknown interval '7m'"):
        load_candles(path, "ETHUSDT", "7m")
    table = load_candles(path, "ETHUSDT", "5m").table
    assert (table.symbol, table.interval, table.close_time.tolist()) == (
        "ETHUSDT", "5m", [START + 299_999],
    )  # fmt: skip


@pytest.mark.parametrize("interval", ["1s", "3m", "1h", "8h", "1d", "3d", "1w"])
def test_the_interval_is_told_from_the_usual_spacing(write: Write, interval: str) -> None:
    length = interval_ms(interval)
    first = 1_641_168_000_000 if interval == "1w" else START  # a Monday
    lines = [row(number, first + length * number) for number in (0, 1, 2, 3, 10, 11)]
    loaded = load_candles(write([HEADER, *lines]))
    assert loaded.table.interval == interval
    assert [problem.count for problem in loaded.problems] == [6]


def test_spacing_of_no_interval_is_refused(write: Write) -> None:
    with pytest.raises(DataError, match="candles 45000 ms apart are of no known interval"):
        load_candles(write([HEADER, *(row(n, START + 45_000 * n) for n in range(5))]))


# -- broken rows -------------------------------------------------------------------------------


def broken(cells: dict[int, str], number: int = 3) -> list[str]:
    """A file whose data row ``number`` has other cells."""
    values = row(number).split(",")
    for place, text in cells.items():
        values[place] = text
    return [HEADER, *ROWS[:number], ",".join(values), *ROWS[number + 1 :]]


@pytest.mark.parametrize(
    ("lines", "line", "reason"),
    [
        (broken({1: "abc"}), 5, "could not convert string to float: 'abc'"),
        (broken({4: ""}), 5, "could not convert string to float: ''"),
        (broken({2: "50.0"}), 5, "high 50.0 is below low 102.0"),
        (broken({2: "103.2"}), 5, "high 103.2 is below close 103.5"),
        (broken({3: "103.1"}), 5, "low 103.1 is above open 103.0"),
        (broken({3: "0"}), 5, "low 0.0 is not a positive finite price"),
        (broken({4: "nan"}), 5, "close nan is not a positive finite price"),
        (broken({2: "inf"}), 5, "high inf is not a positive finite price"),
        (broken({5: "-1"}), 5, "volume -1.0 is not a finite number of at least 0"),
        (broken({5: "nan"}), 5, "volume nan is not"),
        (broken({0: "nan"}), 5, "open_time nan is not a time"),
        (broken({0: "yesterday"}), 5, "Invalid isoformat string: 'yesterday'"),
        (broken({0: "-5"}), 5, "open_time -5000 is not a time in ms"),
        (broken({0: str(START + 3 * MINUTE + 500)}), 5,
         "open_time 2022-01-01 00:03:00.500 is not the start of a candle of 1m"),
        ([HEADER, *ROWS[:3], "1640995380000,103.0", *ROWS[4:]], 5, "2 columns where 6 are needed"),
        ([HEADER, *ROWS[:2], "", "", *broken({1: "x"})[3:]], 7, "could not convert"),
        ([*ROWS[:2], "", *broken({5: "-2"})[3:]], 5, "volume -2.0 is not"),
        ([HEADER, *ROWS[:3], ",,,,,", *ROWS[4:]], 5, "Invalid isoformat string: ''"),
        (broken({1: "0x64"}, 0), 2, "could not convert string to float: '0x64'"),
        ([*ROWS[:5], "cut off in the mid"], 6, "1 columns where 6 are needed"),
    ],
)  # fmt: skip
def test_a_broken_row_names_file_line_and_reason(
    write: Write, lines: list[str], line: int, reason: str
) -> None:
    path = write(lines)
    with pytest.raises(DataError) as caught:
        load_candles(path)
    assert str(caught.value).startswith(f"{path}:{line}: broken row: {reason}")
    assert "--on-problem report" in str(caught.value)

    loaded = load_candles(path, on_problem=OnProblem.REPORT)
    (problem,) = (p for p in loaded.problems if p.kind is ProblemKind.BROKEN_ROW)
    assert (problem.source, problem.line) == (str(path), line)
    assert problem.reason.startswith(reason)
    assert len(loaded.table) == 5

    skipped = load_candles(path, on_problem="skip", on_gap="skip")
    assert skipped.problems == ()
    assert_equal(skipped.table, loaded.table)


def test_all_broken_rows_of_a_file_are_reported_with_their_lines(write: Write) -> None:
    lines = [HEADER, *ROWS]
    lines[2], lines[4], lines[6] = "x", lines[4].replace("104.0", "1e999"), "1,2"
    loaded = load_candles(write(lines), "", "1m", on_problem="report", on_gap="skip")
    assert sorted(problem.line for problem in loaded.problems) == [3, 5, 7]
    assert len(loaded.table) == 3


# -- duplicates and disorder -------------------------------------------------------------------


def test_of_two_candles_with_the_same_time_the_later_row_is_kept(write: Write) -> None:
    again = row(2).replace("102.5", "102.75")
    path = write([HEADER, *ROWS[:3], again, *ROWS[3:]])
    with pytest.raises(
        DataError,
        match=rf"{path}:4: duplicate: 2022-01-01 00:02 is there again in line 5, which is kept",
    ):
        load_candles(path)
    loaded = load_candles(path, on_problem="report")
    assert [(p.kind, p.line, p.time) for p in loaded.problems] == [
        (ProblemKind.DUPLICATE, 4, START + 2 * MINUTE)
    ]
    assert loaded.table.close.tolist() == [100.5, 101.5, 102.75, 103.5, 104.5, 105.5]


def test_a_row_out_of_order_is_named_and_put_where_it_belongs(write: Write) -> None:
    path = write([HEADER, *ROWS[:2], ROWS[4], ROWS[2], ROWS[3], ROWS[5]])
    with pytest.raises(
        DataError, match=rf"{path}:5: disorder: 2022-01-01 00:02 after 2022-01-01 00:04, and so"
    ):
        load_candles(path)
    loaded = load_candles(path, on_problem="report")
    assert [(p.kind, p.line, p.count) for p in loaded.problems] == [(ProblemKind.DISORDER, 5, 2)]
    assert_equal(loaded.table, small_table(6))


def test_a_duplicate_that_is_far_from_its_twin_is_both_problems(write: Write) -> None:
    path = write([HEADER, *ROWS, row(1).replace("101.5", "101.25")])
    loaded = load_candles(path, on_problem="report")
    assert [(p.kind, p.line) for p in loaded.problems] == [
        (ProblemKind.DISORDER, 8), (ProblemKind.DUPLICATE, 3),
    ]  # fmt: skip
    assert loaded.table.close.tolist() == [100.5, 101.25, 102.5, 103.5, 104.5, 105.5]


def test_a_file_that_begins_with_its_newest_candle_is_one_problem(write: Write) -> None:
    loaded = load_candles(write([HEADER, *ROWS[::-1]]), on_problem="report")
    assert [(p.kind, p.count) for p in loaded.problems] == [(ProblemKind.DISORDER, 5)]
    assert_equal(loaded.table, small_table(6))


def test_order_is_judged_on_the_rows_that_are_left(write: Write) -> None:
    """Lines are those of the file, although a row before them was left out."""
    lines = [HEADER, "rubbish", *ROWS[:3], ROWS[2], *ROWS[3:]]
    loaded = load_candles(write(lines), on_problem="report")
    assert [(p.kind, p.line) for p in loaded.problems] == [
        (ProblemKind.BROKEN_ROW, 2), (ProblemKind.DUPLICATE, 5),
    ]  # fmt: skip


# -- files that are none -----------------------------------------------------------------------


def zip_of(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def flipped(path: Path) -> Path:
    """A gzip file whose first block is of a kind that does not exist."""
    data = bytearray(gzip.compress("\n".join([HEADER, *ROWS]).encode()))
    data[10] |= 0b110
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: d / "btc.csv", "does not exist"),
        (lambda d: d, "is a folder, not a file"),
        (lambda d: (d / "btc.csv", b""), "is empty"),
        (lambda d: (d / "btc.csv", b"\n\n"), "is empty"),
        (lambda d: (d / "btc.csv", HEADER.encode()), "holds no candle"),
        (lambda d: (d / "btc.csv", f"{HEADER}\nx\ny".encode()), "btc.csv:2: broken row"),
        (lambda d: (d / "btc.csv", b"time,open,high,low,price\n"), "btc.csv:1: no column 'close'"),
        (lambda d: (d / "btc.csv", b"1,2,3\n"), "3 columns without a header; the exchange's"),
        (lambda d: (d / "btc.csv", b"\nopen_time,open\n"), "btc.csv:1: the first line is blank"),
        (lambda d: (d / "btc.csv", b"time;open;high\n"), "separated by ';'; commas are needed"),
        (lambda d: (d / "btc.csv", b"1\t2\t3\n"), r"separated by '\t'; commas are needed"),
        (lambda d: (d / "btc.csv", b"\xff\xfe\x00binary"), "cannot be read: it is not UTF-8 text"),
        (lambda d: (d / "btc.csv.gz", b"not gzip"), "cannot be read: Not a gzipped file"),
        (lambda d: (d / "btc.csv.gz", gzip.compress(b"1" * 9999)[:-20]), "cannot be read"),
        (lambda d: flipped(d / "btc.csv.gz"), "cannot be read: Error -3"),
        (lambda d: (d / "btc.zip", b"not a zip"), "cannot be read: File is not a zip file"),
        (lambda d: zip_of(d / "btc.zip", a="x"), "holds 0 CSV files; one is expected"),
        (lambda d: zip_of(d / "btc.zip", **{"a.csv": "x", "b.csv": "y"}), "holds 2 CSV files"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_refused_by_name(
    tmp_path: Path, make: Callable[[Path], Any], words: str
) -> None:
    made = make(tmp_path)
    if isinstance(made, tuple):
        path, data = made
        path.write_bytes(data)
    else:
        path = made
    with pytest.raises(DataError) as caught:
        load_candles(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("choice", ["report", "skip"])
def test_a_file_of_nothing_but_broken_rows_is_no_file(write: Write, choice: str) -> None:
    for lines in ([HEADER, "x", "y"], [HEADER, row(0).replace("99.0", "0"), "y"]):
        with pytest.raises(DataError, match="holds no candle that can be used"):
            load_candles(write(lines), on_problem=choice)


def test_an_unknown_choice_is_refused(write: Write) -> None:
    with pytest.raises(ValueError, match="ignore"):
        load_candles(write([HEADER, *ROWS]), on_problem="ignore")


def test_both_ways_to_parse_agree(btc_month: Path, tmp_path: Path) -> None:
    """One blank line sends a whole file down the slow way, row by row."""
    text = gzip.decompress(btc_month.read_bytes()).decode()
    (tmp_path / "btc-fast.csv").write_text(text)
    (tmp_path / "btc-slow.csv").write_text(text.replace("\n", "\n\n", 1))
    fast, slow = (load_candles(tmp_path / f"btc-{way}.csv") for way in ("fast", "slow"))
    assert_equal(fast.table, slow.table)
    assert fast.problems == slow.problems == ()


def test_tables_are_plain_arrays(write: Write) -> None:
    table = load_candles(write([HEADER, *ROWS])).table
    assert isinstance(table, CandleTable)
    assert table.open_time.dtype == np.int64
    assert table.volume.dtype == np.float64
    assert table.close.flags.c_contiguous
