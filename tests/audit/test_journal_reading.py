"""Reading a journal: filters, following, figures, an order's story, export, archives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars
import pytest

from candlewick.audit import (
    AuditLogger,
    EventType,
    Filter,
    Record,
    RelatedOrder,
    archive,
    export,
    export_parquet,
    follow,
    order_story,
    read,
    summarize,
    verify,
)
from candlewick.errors import ConfigError, DataError, JournalError
from candlewick.models import Order, OrderPurpose, OrderType, Side

Ready = Callable[[AuditLogger], None]
DAY_NS = 86_400_000_000_000
START_NS = 1_700_000_000_000_000_000  # 2023-11-14T22:13:20Z
SEGMENT = 65_536


def _order(client_id: str, parent_id: str = "", symbol: str = "BTCUSDT") -> Order:
    return Order(client_id, symbol, Side.BUY, OrderType.LIMIT, 0.5, 42_000.5, parent_id=parent_id)


@pytest.fixture
def week(tmp_path: Path, clock: Any, ready: Ready) -> Path:
    """A journal of seven days with the same records each day; one second between records."""
    clock.now_ns = START_NS
    with AuditLogger(tmp_path / "week", clock=clock, segment_bytes=SEGMENT) as journal:
        for day in range(7):
            for data in (
                (EventType.CANDLE_CLOSED, {"symbol": "BTCUSDT", "day": day}),
                (EventType.CANDLE_CLOSED, {"symbol": "ETHUSDT", "day": day}),
                (EventType.ORDER_PLANNED, _order(f"o-{day}")),
                (EventType.ORDER_PLANNED, _order(f"s-{day}", f"o-{day}")),
                (EventType.POSITION_OPENED, {"before": None, "after": {"symbol": "ETHUSDT"}}),
            ):
                clock.now_ns += 1_000_000_000
                ready(journal)
                journal.log_event(*data)
            if day < 6:
                clock.now_ns = START_NS + (day + 1) * DAY_NS
    return tmp_path / "week"


def _days(records: Any) -> list[int]:
    return [record.data["day"] for record in records]


def test_everything_comes_back_in_order(week: Path) -> None:
    records = list(read(week))
    assert [r.sequence for r in records] == list(range(1, len(records) + 1))
    assert len(list(week.glob("*.jsonl"))) == 7


def test_filters_by_time_include_the_begin_and_leave_out_the_end(week: Path) -> None:
    first = START_NS // 1_000_000 + 1_000
    day = DAY_NS // 1_000_000
    candles = ["candle_closed"]
    btc = {"types": candles, "symbol": "BTCUSDT"}
    assert _days(read(week, since=first + 2 * day, until=first + 4 * day, **btc)) == [2, 3]
    assert _days(read(week, since=first + 2 * day + 1, until=first + 4 * day + 1, **btc)) == [3, 4]
    assert _days(read(week, until=first, **btc)) == []
    assert _days(read(week, since=first + 6 * day, **btc)) == [6]


def test_filters_by_type_symbol_and_order(week: Path) -> None:
    assert len(list(read(week, types=["candle_closed"]))) == 14
    assert len(list(read(week, types=["candle_*", "position_opened"]))) == 21
    assert len(list(read(week, types=["nothing"]))) == 0
    assert len(list(read(week, symbol="BTCUSDT"))) == 21
    assert len(list(read(week, symbol="ETHUSDT"))) == 14, "also where it stands deeper"
    assert [r.data["client_id"] for r in read(week, order_id="o-3")] == ["o-3", "s-3"]
    assert [r.data["client_id"] for r in read(week, order_id="s-3")] == ["s-3"]
    assert list(read(week, order_id="-3")) == []
    assert list(read(week, symbol="o-3")) == [], "an order's id is no symbol"


def test_reading_stops_at_a_torn_tail(tmp_path: Path) -> None:
    journal = AuditLogger(tmp_path)
    journal.log_event("order_planned", {"n": 1})
    journal._active.memory[journal._active.position : journal._active.position + 5] = b'{"seq'
    assert [r.sequence for r in read(tmp_path)] == [1, 2]
    journal.stop()


def test_a_line_that_is_no_record_is_an_error_with_its_place(tmp_path: Path) -> None:
    with AuditLogger(tmp_path) as journal:
        journal.log_event("order_planned", {"n": 1})
    (path,) = tmp_path.glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b'{"seq":2,"time_ns":1,"type":"order_planned"\n' + lines[2])
    with pytest.raises(DataError, match=rf"{path.name}:2 is not a record.*audit verify"):
        list(read(tmp_path))


# -- following -------------------------------------------------------------------------------------


def test_following_sees_what_is_written_in_order_across_files_and_runs(
    tmp_path: Path, ready: Ready
) -> None:
    count = 1_500
    writing, written = threading.Event(), threading.Event()

    def write() -> None:
        for _ in range(2):
            with AuditLogger(tmp_path, segment_bytes=SEGMENT) as journal:
                for number in range(count // 2):
                    if number % 100 == 0:
                        ready(journal)
                    journal.log_event("order_planned", {"number": number})
                    writing.set()
        written.set()

    thread = threading.Thread(target=write)
    found: list[Record] = []
    source = follow(tmp_path, is_over=written.is_set, wait=lambda seconds: writing.wait(seconds))
    thread.start()
    found.extend(source)
    thread.join()
    assert found == list(read(tmp_path))
    assert len(found) >= count + 4
    assert len(list(tmp_path.glob("*.jsonl"))) > 3


def test_following_begins_behind_what_is_known_and_filters(week: Path) -> None:
    wanted = Filter(types=("candle_*",), symbol="BTCUSDT")
    all_of_them = list(read(week, types=["candle_closed"], symbol="BTCUSDT"))
    after = all_of_them[3].sequence
    assert list(follow(week, wanted, after=after, is_over=lambda: True)) == all_of_them[4:]


def test_following_waits_longer_and_longer_and_never_spins(tmp_path: Path) -> None:
    waits: list[float] = []
    journal = AuditLogger(tmp_path)
    source = follow(tmp_path, after=1, wait=waits.append, is_over=lambda: len(waits) == 12)
    assert list(source) == []
    assert waits[0] >= 0.005
    assert waits == sorted(waits)
    assert waits[-1] == 0.25
    journal.stop()


def test_following_a_directory_without_a_journal_waits_for_one(tmp_path: Path) -> None:
    directory = tmp_path / "later"
    journals: list[AuditLogger] = []

    def wait(_: float) -> None:
        if not journals:
            journals.append(AuditLogger(directory))

    first = next(follow(directory, wait=wait))
    assert (first.sequence, first.type) == (1, "journal_opened")
    journals[0].stop()


def test_a_long_record_is_followed_too(tmp_path: Path) -> None:
    with AuditLogger(tmp_path) as journal:
        journal.log_event("order_planned", {"text": "x" * 300_000})
        journal.log_event("order_planned", {"text": "y"})
    lengths = [len(r.data["text"]) for r in follow(tmp_path, after=1, is_over=lambda: True)
               if r.type == "order_planned"]  # fmt: skip
    assert lengths == [300_000, 1]


# -- figures and stories ---------------------------------------------------------------------------


def test_the_figures_of_a_journal_add_up(week: Path) -> None:
    found = summarize(week)
    assert found.records == len(list(read(week))) == sum(found.by_type.values())
    assert sum(found.by_day.values()) == found.records
    assert list(found.by_day) == [f"2023-11-{day}" for day in range(14, 21)]
    assert found.by_type["candle_closed"] == 14
    assert found.bytes == sum(path.stat().st_size for path in week.glob("*.jsonl"))
    assert (found.files, found.compressed_files, found.runs, found.torn_tails) == (7, 0, 1, 0)
    assert found.first_time_ns == START_NS


def test_an_order_tells_its_story_with_latencies(tmp_path: Path, clock: Any) -> None:
    with AuditLogger(tmp_path, clock=clock) as journal:

        def log(after_us: int, kind: EventType, data: Any) -> None:
            clock.now_ns += after_us * 1_000
            journal.log_event(kind, data)

        own = {"client_id": "run-1-entry", "symbol": "BTCUSDT"}
        stop = {"client_id": "run-2-stop", "symbol": "BTCUSDT"}
        log(0, EventType.SIGNAL_GENERATED, {"symbol": "BTCUSDT", "action": "sell"})
        log(0, EventType.SIGNAL_GENERATED, {"symbol": "BTCUSDT", "action": "buy"})
        log(7, EventType.ORDER_PLANNED, _order("run-1-entry"))
        log(5, EventType.ORDER_SENT, own)
        log(3, EventType.ORDER_PLANNED, _order("run-9-other"))
        log(997, EventType.ORDER_UPDATED, own | {"status": "acknowledged", "venue_id": "771"})
        log(0, EventType.ORDER_ACKNOWLEDGED, own | {"status": "acknowledged", "venue_id": "771"})
        log(2_000, EventType.FILL, own | {"price": 42_000.5, "quantity": 0.5, "trade_id": 3})
        log(1, EventType.ORDER_FILLED, own | {"status": "filled", "filled": 0.5})
        protecting = msgspec.structs.replace(
            _order("run-2-stop", "run-1-entry"), purpose=OrderPurpose.STOP
        )
        log(9, EventType.ORDER_PLANNED, protecting)
        log(1, EventType.ORDER_SENT, stop)
        log(390, EventType.ORDER_ACKNOWLEDGED, stop | {"status": "acknowledged"})
    story = order_story(tmp_path, "run-1-entry")
    assert [step.type for step in story.steps] == [
        "signal_generated", "order_planned", "order_sent", "order_updated", "order_acknowledged",
        "fill", "order_filled",
    ]  # fmt: skip
    assert [step.after_ns for step in story.steps] == [
        0, 7_000, 5_000, 1_000_000, 0, 2_000_000, 1_000,
    ]  # fmt: skip
    assert story.latencies_ns == {
        "signal to planned": 7_000,
        "planned to sent": 5_000,
        "sent to acknowledged": 1_000_000,
        "acknowledged to filled": 2_001_000,
        "signal to filled": 3_013_000,
        "filled to protected": 401_000,
    }
    assert story.symbol == "BTCUSDT"
    assert story.related == (RelatedOrder("run-2-stop", "stop", "acknowledged"),)
    assert "action buy" in story.steps[0].text
    assert "buy 0.5 limit price 42000.5" in story.steps[1].text
    texts = [step.text for step in story.steps[2:]]
    assert texts == [
        "",
        "status acknowledged venue id 771",
        "",
        "0.5 price 42000.5 trade id 3",
        "status filled filled 0.5",
    ], "each step tells what is new"
    other = order_story(tmp_path, "run-2-stop")
    assert other.related == (RelatedOrder("run-1-entry", "entry", "filled"),)
    assert other.steps[0].type == "order_planned", "no signal asked for it"
    assert order_story(tmp_path, "771") == story, "the exchange's id leads to the same order"
    with pytest.raises(DataError, match=r"no order 'run-1-entri'; did you mean 'run-1-entry'\?"):
        order_story(tmp_path, "run-1-entri")


def test_an_order_that_several_runs_have_planned_is_that_of_the_last_one(
    tmp_path: Path, clock: Any
) -> None:
    """Simulated runs of one seed name their orders alike."""
    name = {"client_id": "run-1-entry", "symbol": "BTCUSDT"}
    for run in range(2):
        with AuditLogger(tmp_path, clock=clock) as journal:
            journal.log_event(EventType.ENGINE_STARTED, {"run_id": "run"})
            journal.log_event(EventType.ORDER_PLANNED, _order("run-1-entry"))
            journal.log_event(EventType.ORDER_FILLED, name | {"status": "filled", "filled": run})
            clock.now_ns += 60_000_000_000
            journal.log_event(EventType.ORDER_PLANNED, _order("run-2-close", "run-1-entry"))
    story = order_story(tmp_path, "run-1-entry")
    assert [step.type for step in story.steps] == ["order_planned", "order_filled"]
    assert "filled 1" in story.steps[1].text
    close = order_story(tmp_path, "run-2-close")
    assert close.related == (RelatedOrder("run-1-entry", "entry", "filled"),)


# -- export ----------------------------------------------------------------------------------------


def test_the_story_of_an_order_leaves_out_the_rest_of_the_account(tmp_path: Path) -> None:
    """A snapshot holds the fills and orders of the whole account; the story has this order's."""
    mine, other = (
        {"client_id": f"run-{n}-entry", "symbol": "BTCUSDT", "trade_id": n, "price": 100.5}
        for n in (1, 2)
    )
    with AuditLogger(tmp_path) as journal:
        journal.log_event(EventType.ORDER_PLANNED, {"client_id": "run-1-entry", "side": "buy"})
        journal.log_event(
            EventType.ACCOUNT_SNAPSHOT,
            {"balance": 50.0, "fills": [mine, other], "orders": [{"client_id": "run-2-entry"}]},
        )
        journal.log_event(EventType.ACCOUNT_SNAPSHOT, {"balance": 50.0, "fills": [other, mine]})
    first, again = order_story(tmp_path, "run-1-entry").steps[1:]
    assert first.text == "balance 50 fills [(run-1-entry BTCUSDT trade id 1 price 100.5)]"
    assert again.text == "", "it tells nothing that the one before has not told"


@pytest.mark.parametrize("batch", [100_000, 10])
def test_a_parquet_file_has_every_record(
    week: Path, tmp_path: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written at once or in parts: in order, and nothing else is left behind."""
    monkeypatch.setattr(export, "_BATCH", batch)
    path = tmp_path / "journal.parquet"
    records = list(read(week))
    assert export_parquet(records, path) == len(records)
    assert {p.name for p in tmp_path.iterdir()} == {"journal.parquet", "week"}
    frame = polars.read_parquet(path)
    assert frame.columns == ["sequence", "time", "type", "symbol", "client_id", "data", "hash"]
    assert frame["sequence"].to_list() == [r.sequence for r in records]
    assert frame["hash"].to_list() == [r.hash for r in records]
    assert frame["time"].dtype == polars.Datetime("ns", "UTC")
    assert frame["time"].dt.epoch("ns").to_list() == [r.time_ns for r in records]
    orders = frame.filter(polars.col("type") == "order_planned")
    assert orders["client_id"][:2].to_list() == ["o-0", "s-0"]
    assert set(frame.filter(polars.col("type") == "position_opened")["symbol"]) == {"ETHUSDT"}
    assert frame["time"][0] == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_an_export_of_nothing_is_an_empty_file_and_a_bad_path_an_error(tmp_path: Path) -> None:
    path = tmp_path / "none.parquet"
    assert export_parquet([], path) == 0
    assert polars.read_parquet(path).height == 0
    with pytest.raises(DataError, match="cannot be written"):
        export_parquet([], tmp_path / "nowhere" / "x.parquet")


# -- archives --------------------------------------------------------------------------------------


def test_compressed_days_verify_and_read_as_before(week: Path) -> None:
    before = list(read(week))
    result = archive(week, keep_plain_days=2, today="2023-11-21")
    assert result.compressed == tuple(f"2023-11-{day}.0001.jsonl" for day in range(14, 19))
    assert result.bytes_after < result.bytes_before
    assert sorted(path.name for path in week.glob("20*")) == [
        *(f"2023-11-{day}.0001.jsonl.zst" for day in range(14, 19)),
        "2023-11-19.0001.jsonl", "2023-11-20.0001.jsonl",
    ]  # fmt: skip
    assert list(read(week)) == before
    assert verify(week).ok
    assert summarize(week).compressed_files == 5
    assert archive(week, keep_plain_days=2, today="2023-11-21").compressed == ()


def test_a_changed_compressed_file_is_found(week: Path) -> None:
    import zstandard

    archive(week, keep_plain_days=2, today="2023-11-21")
    path = week / "2023-11-16.0001.jsonl.zst"
    whole = path.read_bytes()
    text = zstandard.ZstdDecompressor().decompress(whole)
    path.write_bytes(zstandard.ZstdCompressor().compress(text.replace(b"42000.5", b"42000.6")))
    assert verify(week).problems[0].file == path.name
    path.write_bytes(whole[:-20])
    with pytest.raises(DataError, match=r"2023-11-16.*zstd"):
        verify(week)


def test_the_last_files_are_never_compressed_and_the_journal_goes_on(
    week: Path, clock: Any
) -> None:
    archive(week, keep_plain_days=0, today="2030-01-01")
    assert len(list(week.glob("*.jsonl"))) == 2
    count = len(list(read(week)))
    with AuditLogger(week, clock=clock) as journal:
        assert journal.log_event("order_planned", {}) == count + 2
    assert verify(week).ok


def test_retention_removes_days_and_the_rest_still_verifies(week: Path, clock: Any) -> None:
    before = list(read(week))
    result = archive(week, keep_plain_days=1, keep_days=4, today="2023-11-21")
    assert result.removed == tuple(f"2023-11-{day}.0001.jsonl" for day in (14, 15, 16))
    kept = list(read(week))
    assert kept == before[-len(kept) :]
    checked = verify(week)
    assert checked.ok
    assert checked.first_sequence == kept[0].sequence > 1
    assert "removed by retention" in checked.notes[0]
    archive(week, keep_plain_days=1, keep_days=3, today="2023-11-21")
    assert verify(week).ok
    with AuditLogger(week, clock=clock):
        pass
    assert verify(week).ok


def test_a_removal_by_somebody_else_is_found(week: Path) -> None:
    archive(week, keep_plain_days=1, keep_days=4, today="2023-11-21")
    min(week.glob("20*")).unlink()
    assert [p.kind for p in verify(week).problems] == ["missing"]


def test_a_removal_that_was_interrupted_leaves_a_whole_journal(
    week: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, missing_ok: bool = False) -> None:
        raise OSError(5, "Input/output error", str(self))

    for _ in range(2):  # at the first removal, and at a later one
        with monkeypatch.context() as broken:
            broken.setattr(Path, "unlink", fail)
            with pytest.raises(JournalError, match="Input/output"):
                archive(week, keep_plain_days=9, keep_days=5, today="2023-11-21")
        assert verify(week).ok
        archive(week, keep_plain_days=9, keep_days=6, today="2023-11-21")
        assert verify(week).ok


def test_what_an_interrupted_compression_leaves_does_no_harm(week: Path) -> None:
    archive(week, keep_plain_days=2, today="2023-11-21")
    import zstandard

    packed = week / "2023-11-16.0001.jsonl.zst"
    plain = packed.with_suffix("")
    plain.write_bytes(zstandard.ZstdDecompressor().decompress(packed.read_bytes()))
    (week / "2023-11-17.0001.jsonl.zst.part").write_bytes(b"half")
    assert verify(week).ok
    assert len(list(read(week))) == verify(week).records
    archive(week, keep_plain_days=2, today="2023-11-21")
    assert not plain.exists()
    assert verify(week).ok


def test_without_zstandard_the_error_names_the_extra(
    week: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ConfigError, match=r"candlewick\[compress\]"):
        archive(week, keep_plain_days=2, today="2023-11-21")
    with pytest.raises(DataError, match="is not a day"):
        archive(week, today="soon")
