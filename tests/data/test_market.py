"""Markets of files: folders, symbols, joined months, instruments guessed, and funding."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from candlewick.data import (
    OnProblem,
    ProblemKind,
    aggregate,
    guess_instrument,
    load_candles,
    load_funding,
    load_market,
    market_of,
)
from candlewick.data.instruments import quote_of
from candlewick.errors import ConfigError, DataError
from candlewick.models import CandleTable
from tests.data.candle_files import HEADER, MINUTE, START, assert_equal, row, small_table

Write = Callable[..., Path]


# -- files and folders -------------------------------------------------------------------------


def test_ten_pairs_are_one_market_with_their_gaps(ten_pairs: list[Path]) -> None:
    market = load_market(ten_pairs)
    assert market.symbols == (
        "ADABTC", "DASHBTC", "ETCBTC", "ETHBTC", "LTCBTC", "NXTBTC", "TRXBTC", "XLMBTC",
        "XMRBTC", "ZECBTC",
    )  # fmt: skip
    assert market.interval == "5m"
    assert len(market.problems) == 17
    assert market.missing_candles == sum(problem.count for problem in market.problems) == 52
    assert {item.quote for item in market.instruments.values()} == {"BTC"}
    assert market.label == (
        "adabtc-5m-2018-01.csv.gz, dashbtc-5m-2018-01.csv.gz, etcbtc-5m-2018-01.csv.gz, ..."
    )
    quiet = load_market(ten_pairs, on_gap="skip")
    assert (quiet.problems, quiet.missing_candles) == ((), 52)
    with pytest.raises(DataError, match=r"adabtc-5m-2018-01\.csv\.gz: gap"):
        load_market(ten_pairs, on_gap="fail")


def test_a_part_of_a_market_has_the_problems_of_that_part(ten_pairs: list[Path]) -> None:
    market = load_market(ten_pairs)
    assert market.first(0) is market
    part = market.first(1_000)
    assert [len(table) for table in part.tables] == [1_000] * 10
    end = max(int(table.close_time[-1]) for table in part.tables)
    assert part.problems == tuple(p for p in market.problems if p.time <= end)
    assert load_market(ten_pairs, candles=1_000).missing_candles == part.missing_candles


def test_symbols_pick_files_and_only_those_are_read(ten_pairs: list[Path], tmp_path: Path) -> None:
    seen: list[str] = []
    market = load_market(ten_pairs, symbols=["XMRBTC", "ADABTC"], progress=seen.append)
    assert market.symbols == ("XMRBTC", "ADABTC")
    assert seen == ["xmrbtc-5m-2018-01.csv.gz", "adabtc-5m-2018-01.csv.gz"]
    with pytest.raises(ConfigError, match=r"no symbol DOGEBTC \(it has: ADABTC, DASHBTC"):
        load_market(ten_pairs, symbols=["ADABTC", "DOGEBTC"])


def test_symbols_never_rename_files_that_have_them_in_another_order(ten_pairs: list[Path]) -> None:
    market = load_market(ten_pairs[:2], symbols=["DASHBTC", "ADABTC"])
    assert market.symbols == ("DASHBTC", "ADABTC")
    assert_equal(market.tables[0], load_candles(ten_pairs[1]).table)


def test_symbols_name_files_whose_names_tell_none_of_them(write: Write) -> None:
    files = [write([HEADER, row(0), row(1)], name) for name in ("first.csv", "2.csv")]
    market = load_market(files, symbols=["ETHUSDT", "SOLUSDT"])
    assert market.symbols == ("ETHUSDT", "SOLUSDT")
    with pytest.raises(DataError, match=r"no symbol can be told from the name of .*2\.csv"):
        load_market(files)


def test_a_folder_stands_for_its_candle_files(write: Write, tmp_path: Path) -> None:
    write([HEADER, row(0), row(1)], "eth-1m.csv")
    write([HEADER, row(0), row(1)], "btc-1m.csv")
    write(["nothing to see"], "notes.txt")
    assert load_market([tmp_path]).symbols == ("BTCUSDT", "ETHUSDT")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no candle file"):
        load_market([tmp_path / "empty"])


def test_a_higher_interval_is_made_from_the_files(btc_month: Path) -> None:
    market = load_market([btc_month], interval="1h")
    assert market.interval == "1h"
    assert_equal(market.tables[0], aggregate(load_candles(btc_month).table, "1h"))
    with pytest.raises(ConfigError, match="has candles of 1m; 1s cannot be made from them"):
        load_market([btc_month], interval="1s")


# -- joining -----------------------------------------------------------------------------------


def parts(write: Write, *spans: range, **more: str) -> list[Path]:
    return [
        write([HEADER, *(row(number) for number in span)], f"btc-1m-{place}.csv")
        for place, span in enumerate(spans)
    ]


def test_months_of_one_symbol_are_one_series_whatever_their_order(write: Write) -> None:
    files = parts(write, range(4, 6), range(4), range(6, 9))
    market = load_market(files)
    assert_equal(market.tables[0], small_table(9))
    assert market.problems == ()


def test_a_gap_between_two_files_is_a_gap(write: Write) -> None:
    files = parts(write, range(3), range(5, 8))
    market = load_market(files)
    assert [(p.kind, p.count, p.source) for p in market.problems] == [
        (ProblemKind.GAP, 2, "BTCUSDT, 2 files")
    ]
    assert market.missing_candles == 2
    with pytest.raises(DataError, match="2 candles of 1m missing from 2022-01-01 00:03"):
        load_market(files, on_gap=OnProblem.FAIL)


def test_files_that_overlap_are_a_problem_and_the_later_one_counts(write: Write) -> None:
    files = parts(write, range(5), range(3))
    files[1].write_text("\n".join([HEADER, *(row(n).replace(".5,", ".75,") for n in (3, 4, 5))]))
    with pytest.raises(DataError, match=r"1\.csv: duplicate: 2 candles from 2022-01-01 00:03"):
        load_market(files)
    market = load_market(files, on_problem="report")
    assert [(p.kind, p.count) for p in market.problems] == [(ProblemKind.DUPLICATE, 2)]
    assert market.tables[0].close.tolist() == [100.5, 101.5, 102.5, 103.75, 104.75, 105.75]
    assert np.all(np.diff(market.tables[0].open_time) == MINUTE)


def test_files_of_different_intervals_are_not_joined(write: Write) -> None:
    one = write([HEADER, *(row(number) for number in range(4))], "btc-1m.csv")
    other = write([HEADER, *(row(n, START + 300_000 * n) for n in range(4))], "btc-5m.csv")
    with pytest.raises(DataError, match="BTCUSDT has files of 1m and 5m; name those of one"):
        load_market([one, other])


# -- tables ------------------------------------------------------------------------------------


def test_tables_that_do_not_fit_together_are_refused() -> None:
    one, five = small_table(3), aggregate(small_table(20), "5m")
    with pytest.raises(DataError, match="tables: no candles"):
        market_of([])
    with pytest.raises(DataError, match="tables: no candles"):
        market_of([one, small_table(0, "ETHUSDT")])
    with pytest.raises(DataError, match="one base interval is needed, not 1m, 5m"):
        market_of([one, five])
    with pytest.raises(DataError, match="a symbol occurs twice in BTCUSDT, BTCUSDT"):
        market_of([one, one])
    with pytest.raises(DataError, match="one account has one quote currency, not BTC, USDT"):
        market_of([one, small_table(3, "ADABTC")])


# -- instruments -------------------------------------------------------------------------------


def at_prices(symbol: str, *prices: float) -> CandleTable:
    times = [START + MINUTE * number for number in range(len(prices))]
    return CandleTable(symbol, "1m", times, prices, prices, prices, prices, [1.0] * len(prices))


@pytest.mark.parametrize(
    ("table", "tick", "step"),
    [
        (at_prices("SOLUSDT", 98.21, 98.3), 0.01, 0.01),
        (at_prices("DOGEUSDT", 0.08123, 0.08124), 1e-5, 10.0),
        (at_prices("XUSDT", 12_345.0, 12_340.0), 1.0, 1e-5),
        (at_prices("ADABTC", 5.33e-05, 5.330000000000001e-05), 1e-7, 1.0),
        (at_prices("XUSDT", 1e-9, 2e-9), 1e-8, 1e6),
    ],
)
def test_units_are_guessed_from_the_prices(table: CandleTable, tick: float, step: float) -> None:
    item = guess_instrument(table.symbol, table)
    assert (item.tick, item.step, item.min_quantity) == (tick, step, step)


def test_a_known_contract_is_taken_where_the_prices_lie_on_its_ticks(btc_month: Path) -> None:
    known = guess_instrument("BTCUSDT")
    assert (known.tick, known.step, known.min_notional) == (0.1, 0.001, 100.0)
    assert guess_instrument("BTCUSDT", load_candles(btc_month).table) is known
    assert guess_instrument("BTCUSDT", at_prices("BTCUSDT", 100.01, 100.02)).tick == 0.01
    assert guess_instrument("NEWUSDT").tick == 0.01


def test_the_real_pairs_lie_on_the_ticks_guessed_for_them(ten_pairs: list[Path]) -> None:
    for path in ten_pairs:
        table = load_candles(path).table
        item = guess_instrument(table.symbol, table)
        ticks = table.close / item.tick
        assert np.abs(ticks - np.rint(ticks)).max() < 1e-6, table.symbol
        worth = item.step * float(np.median(table.close))
        assert 1e-5 < worth <= 1e-4


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [("BTCUSDT", ("BTC", "USDT")), ("ADABTC", ("ADA", "BTC")), ("BTCUSD", ("BTC", "USD")),
     ("ETHBTC", ("ETH", "BTC")), ("USDT", ("USDT", "USDT")), ("GOLD", ("GOLD", "USDT"))],
)  # fmt: skip
def test_a_symbol_is_split_into_base_and_quote(symbol: str, expected: tuple[str, str]) -> None:
    assert quote_of(symbol) == expected


# -- funding -----------------------------------------------------------------------------------


def test_the_recorded_funding_is_read(shared_dir: Path) -> None:
    path = shared_dir / "data" / "xrpusdt-perp-funding-8h-2021-11.csv"
    rates = load_funding(path)
    assert len(rates) == 91
    assert rates[0] == (1_637_193_600_000, 0.0001)
    times = np.array([time for time, _ in rates])
    assert np.all(times % (8 * 3_600_000) == 0)
    assert np.all(np.diff(times) == 8 * 3_600_000)
    lines = path.read_text().splitlines()[1:]
    assert sorted(rate for _, rate in rates) == sorted(float(ln.split(",")[1]) for ln in lines)


def test_funding_comes_sorted_and_once(write: Write) -> None:
    path = write(["7200007,0.0002", "", "3600012,-0.0001", "7200007,0.0002"], "funding.csv")
    assert load_funding(path) == [(3_600_000, -0.0001), (7_200_000, 0.0002)]
    packed = path.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert load_funding(packed) == load_funding(path)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["funding_time,funding_rate", "x,0.1"], ":2: broken funding row"),
        (["1,0.0001", "2"], ":2: broken funding row"),
        (["1,nan"], ":1: funding rate nan is not a fraction"),
        (["1,5.0"], ":1: funding rate 5.0 is not a fraction"),
        (["1,0.1", "1,0.2"], ":2: another rate for 0"),
    ],
)
def test_a_broken_funding_row_is_named(write: Write, lines: list[str], words: str) -> None:
    path = write(lines, "funding.csv")
    with pytest.raises(DataError) as caught:
        load_funding(path)
    assert f"{path}{words}" in str(caught.value)


def test_a_funding_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"funding file .*none\.csv does not exist"):
        load_funding(tmp_path / "none.csv")


def test_a_single_candle_takes_the_interval_that_is_asked_for(write: Write) -> None:
    file = write([HEADER, row(0)], "eth.csv")
    with pytest.raises(DataError, match=r"one candle does not tell its interval; name it"):
        load_market([file])
    assert load_market([file], interval="5m").interval == "5m"
