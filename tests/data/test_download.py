"""Candles of the past: from a server with the archive's layout, and over REST from the sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from candlewick.cli.main import run_command
from candlewick.data import describe_all, load_market, parse_day, spans_of
from candlewick.data.download import Downloaded, download
from candlewick.data.fetching import ArchiveSettings
from candlewick.data.filling import Step
from candlewick.data.shelf import Shelf
from candlewick.errors import ConfigError, DataError, ExitCode, VenueError
from candlewick.models import Candle, utc_now_ms
from candlewick.sandbox import Fault, FaultKind, Limits, Sandbox, SandboxSettings
from candlewick.venues.binance import BinanceSettings, candle_source
from tests.data.archive_server import ArchiveServer, cut_after, damaged, ms, refuse

COMMAND = (sys.executable, "-c", "from candlewick.cli.main import main; main()")
BTC = "BTCUSDT"
NOW = ms("2024-03-10") + 12 * 3_600_000
Fetch = Callable[..., Awaitable[Downloaded]]


class Listed:
    """The exchange's list: hours from a first one to a last, the one after it open."""

    def __init__(self, begin: str, end: str) -> None:
        self.begin, self.end = ms(begin), ms(end)
        self.asked: list[tuple[int, int]] = []

    async def __aenter__(self) -> Listed:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def first_open(self, symbol: str, interval: str) -> int:
        return self.begin if symbol == BTC else 0

    async def between(self, symbol: str, interval: str, start: int, end: int) -> list[Candle]:
        self.asked.append((start, end))
        times = range(max(start, self.begin), min(end, self.end), 3_600_000)
        return [
            Candle(symbol, interval, t, 1.0, 2.0, 0.5, 1.5, 1.0, t + 3_599_999, True)
            for t in times
        ]  # fmt: skip


class Nowhere:
    """An exchange that cannot be reached."""

    async def __aenter__(self) -> Listed:
        raise VenueError("GET /fapi/v1/time: no answer")

    async def __aexit__(self, *error: object) -> None:
        pass


@pytest.fixture
async def archive() -> AsyncIterator[ArchiveServer]:
    server = ArchiveServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def fetch(archive: ArchiveServer, tmp_path: Path) -> Fetch:
    """Downloads into a folder of the test."""

    async def fetched(
        first: str, last: str, *, symbol: str = BTC, ending: str = ".parquet",
        listing: AbstractAsyncContextManager[Any] | None = None, steps: list[Step] | None = None,
        **settings: Any,
    ) -> Downloaded:  # fmt: skip
        (found,) = await download(
            [symbol], "1h", parse_day(first), parse_day(last, is_end=True),
            Shelf(tmp_path / "candles", ending),
            archive=ArchiveSettings(
                **{"url": archive.url, "pause_s": 0.01, "timeout_s": 5.0, **settings}
            ),
            listing=lambda: listing or Nowhere(), now_ms=NOW,
            on_step=(steps if steps is not None else []).append,
        )  # fmt: skip
        return found

    return fetched


def files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "candles").iterdir() if path.is_file())


def test_whole_months_that_are_over_are_months_and_the_rest_days() -> None:
    today = date(2024, 3, 10)
    spans = spans_of(date(2024, 1, 30), date(2024, 3, 2), "1m", today)
    assert [span.label for span in spans] == [
        "2024-01-30", "2024-01-31", "2024-02", "2024-03-01", "2024-03-02",
    ]  # fmt: skip
    assert [s.label for s in spans_of(date(2024, 2, 28), date(2024, 3, 1), "1w", today)] == [
        "2024-02", "2024-03",
    ]  # fmt: skip
    assert spans[2].path("BTCUSDT", "1m") == (
        "/data/futures/um/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-02.zip"
    )
    assert spans[0].path("BTCUSDT", "1m") == (
        "/data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-01-30.zip"
    )
    assert (spans[2].start, spans[2].end) == (ms("2024-02-01"), ms("2024-03-01"))


async def test_months_and_days_become_a_catalog_that_loads_as_one_market(
    archive: ArchiveServer, fetch: Fetch, tmp_path: Path
) -> None:
    archive.put("2024-01", "2024-01-01", "2024-02-01", header=False)
    archive.put("2024-02", "2024-02-01", "2024-03-01")
    archive.put("2024-03-01", "2024-03-01", "2024-03-02")
    steps: list[Step] = []
    found = await fetch("2024-01", "2024-03-01", steps=steps)
    assert (found.candles, found.gaps, found.missing) == ((31 + 29 + 1) * 24, 0, 0)
    assert (found.fetched, found.kept, found.asked) == (3, 0, 0)
    assert sorted(step.name for step in steps) == [
        "BTCUSDT-1h-2024-01", "BTCUSDT-1h-2024-02", "BTCUSDT-1h-2024-03-01",
    ]  # fmt: skip
    assert {(step.how, step.total) for step in steps} == {("fetched", 3)}
    assert files(tmp_path) == [f"{name}.parquet" for name in sorted(s.name for s in steps)]
    market = load_market([tmp_path / "candles"], on_problem="fail", on_gap="fail")
    assert (market.symbols, market.interval) == ((BTC,), "1h")
    assert len(market.tables[0]) == found.candles
    assert market.tables[0].close[5] == 1_001.0 + ms("2024-01-01") // 3_600_000 % 500 + 5
    assert not [entry for entry in describe_all([tmp_path / "candles"]) if entry.error]


async def test_what_is_there_and_verified_is_not_fetched_again(
    archive: ArchiveServer, fetch: Fetch, tmp_path: Path
) -> None:
    archive.put("2024-01", "2024-01-01", "2024-02-01")
    archive.put("2024-02", "2024-02-01", "2024-03-01")
    await fetch("2024-01", "2024-02")
    archive.requests.clear()
    again = await fetch("2024-01", "2024-02")
    assert (again.kept, again.fetched, archive.requests) == (2, 0, [])
    path = tmp_path / "candles" / "BTCUSDT-1h-2024-01.parquet"
    path.write_bytes(path.read_bytes()[:-10])  # damaged on the disk
    repaired = await fetch("2024-01", "2024-02")
    assert (repaired.kept, repaired.fetched) == (1, 1)
    assert archive.fetched() == ["BTCUSDT-1h-2024-01"]
    inside = await fetch("2024-01-05", "2024-01-06")  # days of a month that is there
    assert inside.kept == 2
    assert len(files(tmp_path)) == 2


async def test_a_month_that_is_there_at_last_takes_the_place_of_its_days(
    archive: ArchiveServer, fetch: Fetch, tmp_path: Path
) -> None:
    for day in ("2024-01-30", "2024-01-31"):
        archive.put(day, day, f"2024-0{'2-01' if day.endswith('31') else '1-31'}")
    await fetch("2024-01-30", "2024-01-31")
    assert len(files(tmp_path)) == 2
    archive.put("2024-01", "2024-01-01", "2024-02-01")
    await fetch("2024-01", "2024-01")
    assert files(tmp_path) == ["BTCUSDT-1h-2024-01.parquet"]
    assert load_market([tmp_path / "candles"], on_problem="fail", on_gap="fail")


async def test_a_month_that_is_missing_comes_by_days_and_their_gaps_from_the_list(
    archive: ArchiveServer, fetch: Fetch, tmp_path: Path
) -> None:
    for day in range(1, 32):
        if day not in (10, 11, 20):
            following = f"2024-01-{day + 1:02d}" if day < 31 else "2024-02-01"
            archive.put(f"2024-01-{day:02d}", f"2024-01-{day:02d}", following)
    listed = Listed("2020-01-01", "2024-03-10")
    found = await fetch("2024-01", "2024-01", listing=listed)
    assert (found.fetched, found.asked, found.candles, found.gaps) == (28, 3, 31 * 24, 0)
    assert listed.asked == [
        (ms("2024-01-10"), ms("2024-01-12")), (ms("2024-01-20"), ms("2024-01-21")),
    ]  # fmt: skip
    again = await fetch("2024-01", "2024-01", listing=listed)
    assert (again.kept, again.asked, len(listed.asked)) == (31, 0, 2)


async def test_nothing_is_asked_for_before_the_first_candle_of_the_list(
    archive: ArchiveServer, fetch: Fetch
) -> None:
    archive.put("2024-02", "2024-02-01", "2024-03-01")
    listed = Listed("2024-02-01", "2024-03-10")
    found = await fetch("2023-11", "2024-02", listing=listed)
    assert found.candles == 29 * 24
    assert not listed.asked
    assert not [path for path, _ in archive.requests if "/daily/" in path]
    (edge,) = found.problems
    assert (edge.count, edge.kind) == ((30 + 31 + 31) * 24, "gap")
    assert "before 2024-02-01 00:00" in edge.reason


async def test_today_comes_over_rest_without_the_open_candle(
    archive: ArchiveServer, fetch: Fetch, tmp_path: Path
) -> None:
    archive.put("2024-03-09", "2024-03-09", "2024-03-10")
    listed = Listed("2020-01-01", "2024-03-10T12:00")
    found = await fetch("2024-03-09", "2024-12-31", listing=listed)  # the future is left out
    assert (found.candles, found.fetched, found.asked, found.gaps) == (24 + 12, 1, 1, 0)
    again = await fetch("2024-03-09", "2024-03-10", listing=listed)
    assert (again.kept, again.asked) == (1, 1)  # the day is not over: it is asked for again


async def test_gaps_are_reported(archive: ArchiveServer, fetch: Fetch) -> None:
    hole = (ms("2024-01-03"), ms("2024-01-03") + 3_600_000)
    archive.put("2024-01", "2024-01-01", "2024-02-01", leave_out=hole)
    found = await fetch("2024-01", "2024-01")
    assert (found.gaps, found.missing) == (1, 2)
    assert "2 candles of 1h missing from 2024-01-03 00:00 to 2024-01-03 02:00" in str(
        found.problems[0]
    )


async def test_a_damaged_file_is_fetched_once_more(
    archive: ArchiveServer, fetch: Fetch, tmp_path: Path
) -> None:
    path = archive.put("2024-01", "2024-01-01", "2024-02-01")
    archive.answers[path].append(damaged())
    found = await fetch("2024-01", "2024-01")
    assert found.candles == 31 * 24
    assert archive.fetched() == ["BTCUSDT-1h-2024-01"] * 2
    path = archive.put("2024-02", "2024-02-01", "2024-03-01")
    archive.answers[path].extend([damaged(), damaged()])
    with pytest.raises(DataError, match=r"2024-02\.zip has the checksum .* twice"):
        await fetch("2024-01", "2024-02")
    assert files(tmp_path) == ["BTCUSDT-1h-2024-01.parquet"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"a" * 64 + b"  other.zip\n"])
async def test_a_checksum_that_is_none_is_an_error(
    archive: ArchiveServer, fetch: Fetch, content: bytes
) -> None:
    path = archive.put("2024-01", "2024-01-01", "2024-02-01")
    archive.files[f"{path}.CHECKSUM"] = content
    with pytest.raises(DataError, match="not a SHA-256"):
        await fetch("2024-01", "2024-01")


async def test_a_cut_connection_is_taken_up_where_it_was_cut(
    archive: ArchiveServer, fetch: Fetch, tmp_path: Path
) -> None:
    path = archive.put("2024-01", "2024-01-01", "2024-02-01")
    archive.answers[path].extend([cut_after(1_000), cut_after(0)])
    found = await fetch("2024-01", "2024-01")
    assert found.candles == 31 * 24
    asked = [span for seen, span in archive.requests if seen == path]
    assert asked[0] == ""
    assert asked[-1] == "bytes=1000-"
    assert not list((tmp_path / "candles" / ".download").glob("*.part"))
    assert not list((tmp_path / "candles" / ".download").glob("*.zip"))


async def test_a_server_that_fails_is_asked_again_and_given_up_in_the_end(
    archive: ArchiveServer, fetch: Fetch
) -> None:
    path = archive.put("2024-01", "2024-01-01", "2024-02-01")
    archive.answers[path].extend([refuse(503), refuse(500)])
    assert (await fetch("2024-01", "2024-01")).candles == 31 * 24
    path = archive.put("2024-02", "2024-02-01", "2024-03-01")
    archive.answers[path].extend([refuse(503)] * 3)
    with pytest.raises(VenueError, match=r"2024-02\.zip: HTTP 503; try again later"):
        await fetch("2024-02", "2024-02", attempts=3)
    archive.answers[path].append(refuse(403))
    with pytest.raises(VenueError, match="HTTP 403; check the address"):
        await fetch("2024-02", "2024-02")


@pytest.mark.parametrize("status", [429, 418])
async def test_retry_after_is_obeyed(archive: ArchiveServer, fetch: Fetch, status: int) -> None:
    path = archive.put("2024-01", "2024-01-01", "2024-02-01")
    archive.answers[path].append(refuse(status, **{"Retry-After": "1"}))
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert (await fetch("2024-01", "2024-01")).candles == 31 * 24
    assert loop.time() - began >= 1.0
    path = archive.put("2024-02", "2024-02-01", "2024-03-01")
    archive.answers[path].append(refuse(status, **{"Retry-After": "259200"}))
    with pytest.raises(VenueError, match="nothing may be asked for 259200 s"):
        await fetch("2024-02", "2024-02")


async def test_an_archive_that_is_not_there(fetch: Fetch) -> None:
    with pytest.raises(VenueError, match="try again later"):
        await fetch("2024-01", "2024-01", url="http://127.0.0.1:9", attempts=2)
    with pytest.raises(ConfigError, match="http or https"):
        ArchiveSettings(url="ftp://x")


async def test_a_symbol_without_candles_is_an_error(archive: ArchiveServer, fetch: Fetch) -> None:
    listed = Listed("2020-01-01", "2024-03-10")
    with pytest.raises(DataError, match="neither the archive nor the exchange has 1h candles"):
        await fetch("2024-02-01", "2024-02-02", symbol="NOPEUSDT", listing=listed)
    with pytest.raises(VenueError, match="no answer"):
        await fetch("2024-02-01", "2024-02-02")  # the list is needed, and cannot be had


async def test_a_folder_may_hold_several_intervals(
    archive: ArchiveServer, fetch: Fetch, tmp_path: Path
) -> None:
    archive.put("2024-01", "2024-01-01", "2024-02-01")
    await fetch("2024-01", "2024-01")
    four = 4 * 3_600_000
    archive.put("2024-01", "2024-01-01", "2024-02-01", interval="4h", length=four)
    await download(
        [BTC], "4h", date(2024, 1, 1), date(2024, 1, 31), Shelf(tmp_path / "candles", ".parquet"),
        archive=ArchiveSettings(url=archive.url), listing=Nowhere, now_ms=NOW,
    )  # fmt: skip
    assert len(load_market([tmp_path / "candles"], interval="4h").tables[0]) == 31 * 6
    assert len(load_market([tmp_path / "candles"], interval="1h").tables[0]) == 31 * 24
    with pytest.raises(DataError, match="has files of 1h and 4h; name those of one interval"):
        load_market([tmp_path / "candles"])


async def test_a_single_candle_is_told_by_the_name_of_its_file(
    archive: ArchiveServer, tmp_path: Path
) -> None:
    day = 86_400_000
    archive.put("2024-02-05", "2024-02-05", "2024-02-06", interval="1d", length=day)
    (found,) = await download(
        [BTC], "1d", date(2024, 2, 5), date(2024, 2, 5), Shelf(tmp_path / "candles", ".parquet"),
        archive=ArchiveSettings(url=archive.url), listing=Nowhere, now_ms=NOW,
    )  # fmt: skip
    assert (found.candles, found.gaps) == (1, 0)
    market = load_market([tmp_path / "candles"])
    assert (market.interval, len(market.tables[0])) == ("1d", 1)


async def test_csv_holds_the_same_candles(
    archive: ArchiveServer, fetch: Fetch, tmp_path: Path
) -> None:
    archive.put("2024-01", "2024-01-01", "2024-02-01")
    await fetch("2024-01", "2024-01", ending=".csv.gz")
    assert files(tmp_path) == ["BTCUSDT-1h-2024-01.csv.gz"]
    assert len(load_market([tmp_path / "candles"], on_gap="fail").tables[0]) == 31 * 24


# -- the command, in a process of its own -------------------------------------------------------


async def start(
    archive: ArchiveServer, directory: Path, *arguments: str, rest: str = ""
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *COMMAND, "data", "download", *arguments, "--archive", archive.url,
        "--rest", rest or "http://127.0.0.1:9", "--json", cwd=directory,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def ended(process: asyncio.subprocess.Process) -> tuple[dict[str, Any], str]:
    out, error = await asyncio.wait_for(process.communicate(), 60)
    return json.loads(out) if out else {}, error.decode()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, ExitCode.INTERRUPTED)]
)
async def test_a_process_that_is_killed_in_the_middle_leaves_no_half_file(
    archive: ArchiveServer, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    archive.put("2024-01", "2024-01-01", "2024-02-01")
    path = archive.put("2024-02", "2024-02-01", "2024-03-01")
    hold = asyncio.Event()
    archive.answers[path].append(cut_after(1_000, hold))
    arguments = ("BTCUSDT", "1h", "--from", "2024-01", "--to", "2024-02")
    process = await start(archive, tmp_path, *arguments)
    part = tmp_path / "candles" / ".download" / "BTCUSDT-1h-2024-02.zip.part"
    done = tmp_path / "candles" / ".download" / "BTCUSDT-1h-2024-01.parquet.json"
    async with asyncio.timeout(30):
        while not (  # noqa: ASYNC110 - there is no event across processes
            done.exists() and part.exists() and part.stat().st_size == 1_000
        ):
            await asyncio.sleep(0.02)
    process.send_signal(number)
    _, error = await ended(process)
    assert process.returncode == code, error
    hold.set()
    assert files(tmp_path) == ["BTCUSDT-1h-2024-01.parquet"]
    archive.requests.clear()
    found, error = await ended(await start(archive, tmp_path, *arguments))
    (symbol,) = found["symbols"]
    assert (symbol["kept"], symbol["fetched"], symbol["candles"]) == (1, 1, (31 + 29) * 24)
    assert error == ""
    assert [span for seen, span in archive.requests if seen == path] == ["bytes=1000-"]
    assert sorted(os.listdir(tmp_path / "candles" / ".download")) == [
        "BTCUSDT-1h-2024-01.parquet.json", "BTCUSDT-1h-2024-02.parquet.json",
    ]  # fmt: skip


async def test_what_a_killed_process_has_left_of_a_finished_file_is_removed(
    archive: ArchiveServer, fetch: Fetch, tmp_path: Path
) -> None:
    archive.put("2024-01", "2024-01-01", "2024-02-01")
    await fetch("2024-01", "2024-01")
    over = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await over.wait()
    candles, notes = tmp_path / "candles", tmp_path / "candles" / ".download"
    name = "BTCUSDT-1h-2024-01"
    writing = notes / f"{name}.parquet.{os.getppid()}.part"
    left = [
        notes / f"{name}.zip", notes / f"{name}.zip.part", writing,
        notes / f"{name}.parquet.{over.pid}.part", candles / f".{name}.parquet.{over.pid}.part",
    ]  # fmt: skip
    for path in left:
        path.write_bytes(b"a part")
    await fetch("2024-01", "2024-01")
    assert [path for path in left if path.exists()] == [writing]
    assert files(tmp_path) == [f"{name}.parquet"]


async def test_the_rest_of_the_days_comes_from_an_exchange_and_backtests(
    archive: ArchiveServer, tmp_path: Path
) -> None:
    """The sandbox's market ends now; its last candle is open, and two symbols need one command."""
    market = load_market([], symbols=[BTC, "ETHUSDT"], candles=5_000, seed=3)
    settings = SandboxSettings(history=4_000, speed=1.0)
    today = utc_now_ms() // 86_400_000 * 86_400_000
    yesterday = datetime.fromtimestamp(today / 1e3 - 43_200, UTC).date()
    async with Sandbox(market, settings) as sandbox:
        process = await start(
            archive, tmp_path, "btcusdt", "ETHUSDT", "5m", "--from", str(yesterday),
            rest=sandbox.rest_url,
        )  # fmt: skip
        found, error = await ended(process)
        assert process.returncode == 0, error
        newest = {symbol: sandbox.world.market(symbol).bars for symbol in (BTC, "ETHUSDT")}
        for symbol in found["symbols"]:
            bars = newest[symbol["symbol"]]
            assert symbol["first_time"] == today - 86_400_000
            assert symbol["last_time"] < bars.closed[-1].close_time + 1
            assert symbol["last_time"] >= bars.closed[-1].close_time - 2 * 300_000
            assert (symbol["gaps"], symbol["fetched"]) == (0, 0)
            assert symbol["asked"] in (1, 2)  # just after midnight no candle of today has closed
    done = await asyncio.to_thread(
        run_command, ["backtest", "sma_cross", "--data", str(tmp_path / "candles"), "--json"]
    )
    assert done == 0


async def test_the_limits_of_the_exchange_are_obeyed(
    archive: ArchiveServer, tmp_path: Path
) -> None:
    """Of 30 weight a minute four answers are read; then the next minute is waited for, or told."""
    market = load_market([], candles=5_000, seed=3)
    settings = SandboxSettings(history=4_900, speed=1.0, limits=Limits(weight=30))
    async with Sandbox(market, settings) as sandbox:
        patient = BinanceSettings(rest_url=sandbox.rest_url, max_wait_s=0.5)
        async with candle_source(patient) as source:
            begin = await source.first_open(BTC, "1m")

            async def ask_for_all() -> None:
                for _ in range(3):
                    await source.between(BTC, "1m", begin, begin + 4_000 * 60_000)

            with pytest.raises(VenueError, match="limits leave no room"):
                await ask_for_all()


@pytest.mark.parametrize("status", [429, 418])
async def test_a_limit_that_the_exchange_tells_is_waited_for(status: int) -> None:
    market = load_market([], candles=3_000, seed=3)
    limited = Fault(
        kind=FaultKind.HTTP_ERROR, match="GET /fapi/v1/klines", status=status, skip=1, count=1,
        retry_after_s=1,
    )  # fmt: skip
    async with Sandbox(market, SandboxSettings(history=2_500, speed=1.0), [limited]) as sandbox:
        settings = BinanceSettings(rest_url=sandbox.rest_url, max_wait_s=900.0)
        async with candle_source(settings) as source:
            begin = await source.first_open(BTC, "1m")
            loop = asyncio.get_running_loop()
            asked = loop.time()
            found = await source.between(BTC, "1m", begin, begin + 2_400 * 60_000)
            assert loop.time() - asked >= 1.0
    assert [candle.open_time for candle in found] == [begin + n * 60_000 for n in range(2_400)]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["BTCUSDT"], "the last argument 'BTCUSDT' must be an interval"),
        (["1m"], "name a symbol before the interval"),
        (["BTCUSDT", "1mm"], "did you mean '1m'?"),
        (["BTC/USDT", "1m"], "'BTC/USDT' is not the symbol"),
        (["BTCUSDT", "1m", "--from", "last week"], "'last week' is no date"),
        (["BTCUSDT", "1m", "--from", "2024-02", "--to", "2024-01"], "is after --to 2024-01-31"),
        (["BTCUSDT", "1m", "--from", "2095-02"], "is in the future"),
        (["BTCUSDT", "1m", "--archive", "data.binance.vision"], "must be an http or https"),
    ],
)
def test_what_cannot_be_is_said(
    arguments: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run_command(["data", "download", *arguments]) == ExitCode.BAD_INPUT
    assert word in capsys.readouterr().err


def test_without_polars_it_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    monkeypatch.chdir(tmp_path)
    assert run_command(["data", "download", "BTCUSDT", "1h"]) == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert "pip install 'candlewick[parquet]'" in said
    assert "--format csv" in said
    assert not (tmp_path / "candles").exists()
