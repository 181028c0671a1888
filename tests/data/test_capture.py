"""Captures: the real one against a parser of this test's own, and whatever a capture can hold."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from candlewick.data import CandleBuilder, Capture, ProblemKind, load_capture
from candlewick.errors import ConfigError, DataError
from candlewick.models import Candle, PriceUpdate

Write = Callable[..., Path]
START = 1_700_000_040_000  # a whole minute, UTC ms


# -- the real capture --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared_dir: Path) -> Path:
    return shared_dir / "data" / "btcusdt-usdm-raw-2024-08-08.jsonl.gz"


class ByHand:
    """What the real capture holds, read by a few lines of Python."""

    def __init__(self, path: Path) -> None:
        self.messages: list[tuple[int, str, str, int]] = []
        self.trades: list[dict[str, Any]] = []
        with gzip.open(path, "rt") as file:
            for line in file:
                received, text = line.split(" ", 1)
                message = json.loads(text)
                stream, data = message.get("stream", ""), message.get("data", {})
                self.messages.append((int(received), stream, data.get("e", ""), data.get("E", 0)))
                if stream == "btcusdt@trade":
                    self.trades.append(data)


@pytest.fixture(scope="module")
def by_hand(real: Path) -> ByHand:
    return ByHand(real)


@pytest.fixture(scope="module")
def trades(by_hand: ByHand) -> list[dict[str, Any]]:
    return by_hand.trades


def test_every_message_of_the_real_capture_is_a_record(real: Path, by_hand: ByHand) -> None:
    capture = load_capture(real)
    found = [(r.received_ns, r.stream, r.event, r.event_time) for r in capture]
    assert found == by_hand.messages
    assert Counter(stream for _, stream, _, _ in found) == {
        "btcusdt@bookTicker": 66_089, "btcusdt@trade": 21_313, "btcusdt@depth@0ms": 6_551, "": 1,
    }  # fmt: skip
    assert (capture.records, capture.malformed, capture.problems) == (93_954, 0, [])


def test_a_record_holds_the_bytes_that_were_received(real: Path) -> None:
    with gzip.open(real, "rb") as file:
        lines = list(islice(file, 200))
    for line, record in zip(lines, load_capture(real), strict=False):
        assert f"{record.received_ns} ".encode() + record.message == line.rstrip(b"\n")
        assert record.decode() == json.loads(line.split(b" ", 1)[1])
    assert record.line == 200


def test_the_trades_of_the_real_capture_are_prices(
    real: Path, trades: list[dict[str, Any]]
) -> None:
    expected = [PriceUpdate(t["s"], float(t["p"]), float(t["q"]), t["T"]) for t in trades]
    assert list(load_capture(real).prices()) == expected
    assert len(expected) == 21_313


def test_the_candles_of_the_real_capture_are_those_of_its_trades(
    real: Path, trades: list[dict[str, Any]]
) -> None:
    """23:54 began before the capture, so the five minutes after it come out."""
    found = list(load_capture(real).candles("1m"))
    spans: dict[int, list[dict[str, Any]]] = {}
    for trade in trades:
        spans.setdefault(trade["T"] // 60_000 * 60_000, []).append(trade)
    starts = sorted(spans)[1:]
    assert [candle.open_time for candle in found] == starts
    assert len(starts) == 5
    for candle in found:
        inside = spans[candle.open_time]
        prices = [float(trade["p"]) for trade in inside]
        assert (candle.open, candle.high, candle.low, candle.close) == (
            prices[0], max(prices), min(prices), prices[-1],
        )  # fmt: skip
        assert candle.volume == pytest.approx(sum(float(t["q"]) for t in inside), rel=1e-12)
        assert candle.close_time == candle.open_time + 59_999
        assert (candle.symbol, candle.interval, candle.is_closed) == ("BTCUSDT", "1m", True)


def test_a_capture_is_read_as_it_is_asked_for_and_from_its_beginning_each_time(real: Path) -> None:
    capture = load_capture(real)
    first = list(islice(capture, 3))
    assert capture.records == 3
    assert list(islice(capture, 3)) == first
    assert capture.records == 3


# -- what else a capture can hold --------------------------------------------------------------


def line(data: dict[str, Any], stream: str = "", received: int = 1) -> str:
    name = stream or f"{data.get('s', 'x').lower()}@{data.get('e', '')}"
    return f"{received} " + json.dumps({"stream": name, "data": data})


def trade(number: int, time: int, price: str = "100.5", **more: Any) -> dict[str, Any]:
    return {
        "e": "trade", "E": time, "T": time, "s": "BTCUSDT", "t": number, "p": price, "q": "0.5",
        "X": "MARKET", "m": True, **more,
    }  # fmt: skip


def test_lines_that_are_no_records_are_counted_and_named(write: Write) -> None:
    lines = [
        line(trade(1, START)),
        "no number {}",
        f"5 {line(trade(2, START))[2:-9]}",  # cut off
        "",
        "7 [1, 2]",
        '8 {"stream": "btcusdt@trade", "data": {"e": "trade", "E": "soon"}}',
        "9",
        line(trade(3, START), received=10),
    ]
    path = write(lines, "capture.jsonl")
    capture = load_capture(path)
    assert [record.received_ns for record in capture] == [1, 10]
    assert [record.line for record in capture] == [1, 8]
    assert (capture.records, capture.malformed) == (2, 5)
    assert [problem.line for problem in capture.problems] == [2, 3, 5, 6, 7]
    assert {problem.kind for problem in capture.problems} == {ProblemKind.BROKEN_ROW}
    assert str(capture.problems[0]).startswith(f"{path}:2: broken row: invalid literal for int")

    with pytest.raises(DataError, match=r"capture\.jsonl:2: broken row"):
        list(load_capture(path, on_problem="fail"))
    silent = load_capture(path, on_problem="skip")
    assert len(list(silent)) == 2
    assert (silent.malformed, silent.problems) == (5, [])


def test_only_a_hundred_problems_are_listed_but_all_are_counted(write: Write) -> None:
    capture = load_capture(write(["rubbish"] * 250, "capture.jsonl"))
    assert list(capture) == []
    assert (capture.malformed, len(capture.problems)) == (250, 100)


def test_a_file_that_was_cut_off_yields_what_it_holds(real: Path, tmp_path: Path) -> None:
    """As a recorder leaves it that was killed."""
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(real.read_bytes()[:200_000])
    capture = load_capture(path)
    found = list(capture)
    assert 1_000 < len(found) < 93_954
    assert found == list(islice(load_capture(real), len(found)))
    assert 1 <= capture.malformed <= 2
    assert "the file ends here" in capture.problems[-1].reason
    assert capture.problems[-1].line >= len(found)
    with pytest.raises(DataError, match="the file ends here"):
        list(load_capture(path, on_problem="fail"))


def test_other_messages_pass_and_are_no_prices(write: Write) -> None:
    capture = load_capture(
        write(
            [
                line({"e": "24hrTicker", "E": 5, "s": "BTCUSDT", "p": "-5.1", "q": "9", "T": 1}),
                line({"e": "forceOrder", "E": 6, "o": {"s": "BTCUSDT", "p": "1"}}),
                '3 {"stream": "!ticker@arr", "data": [{"e": "24hrTicker", "p": "1"}]}',
                '4 {"result": null, "id": 1}',
                line({"e": "kline", "E": 7, "s": "BTCUSDT", "k": {"t": 1, "c": "5"}}),
            ],
            "capture.jsonl",
        )
    )
    assert [record.event for record in capture] == ["24hrTicker", "forceOrder", "", "", "kline"]
    assert list(capture.prices()) == []
    assert list(capture.candles()) == []
    assert capture.malformed == 0


@pytest.mark.parametrize(
    ("change", "malformed"),
    [
        ({"X": "INSURANCE_FUND"}, 0),
        ({"X": "NA", "p": "0", "q": "0"}, 0),
        ({"p": "0.0"}, 1),
        ({"q": "0"}, 1),
        ({"p": "nan"}, 1),
        ({"p": "inf"}, 1),
        ({"p": ""}, 1),
        ({"p": None}, 1),
        ({"T": "x"}, 1),
    ],
)
def test_a_trade_without_a_market_price_is_left_out(
    write: Write, change: dict[str, Any], malformed: int
) -> None:
    lines = [line(trade(1, START)), line(trade(2, START, **change)), line(trade(3, START))]
    capture = load_capture(write(lines, "capture.jsonl"))
    assert len(list(capture.prices())) == 2
    assert capture.malformed == malformed


def test_a_trade_counts_once(write: Write) -> None:
    aggregated = {"e": "aggTrade", "E": 1, "s": "BTCUSDT", "a": 9, "f": 1, "l": 3, "T": START,
                  "p": "7", "q": "1"}  # fmt: skip
    other = {"e": "aggTrade", "E": 1, "s": "ETHUSDT", "a": 1, "l": 3, "T": START, "p": "2",
             "q": "1"}  # fmt: skip
    lines = [
        line(trade(1, START)), line(trade(2, START)), line(trade(2, START)), line(trade(1, START)),
        line(aggregated), line(other), line(other), line(trade(3, START)),
    ]  # fmt: skip
    prices = list(load_capture(write(lines, "capture.jsonl")).prices())
    assert [(price.symbol, price.price) for price in prices] == [
        ("BTCUSDT", 100.5), ("BTCUSDT", 100.5), ("ETHUSDT", 2.0), ("BTCUSDT", 100.5),
    ]  # fmt: skip


def test_a_capture_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"capture file .*none\.jsonl does not exist"):
        load_capture(tmp_path / "none.jsonl")
    path = tmp_path / "not.jsonl.gz"
    path.write_bytes(b"not gzip at all")
    capture = load_capture(path)
    assert list(capture) == []
    assert "Not a gzipped file" in capture.problems[0].reason


def test_a_capture_can_be_opened_by_its_class_too(real: Path) -> None:
    assert isinstance(load_capture(str(real)), Capture)


# -- candles from prices -----------------------------------------------------------------------


def at(second: float, price: float = 100.0, quantity: float = 1.0) -> PriceUpdate:
    return PriceUpdate("BTCUSDT", price, quantity, START + int(second * 1_000))


def fed(*items: PriceUpdate | float, grace_ms: int = 250) -> list[Candle]:
    """Feed trades, and moments (seconds) at which something else was heard."""
    builder = CandleBuilder("BTCUSDT", "1m", grace_ms)
    made = [
        builder.update(item)
        if isinstance(item, PriceUpdate)
        else builder.heard(START + int(item * 1_000))
        for item in items
    ]
    return [candle for candle in made if candle is not None]


def minute(number: int, o: float, h: float, low: float, c: float, volume: float) -> Candle:
    opened = START + 60_000 * number
    return Candle("BTCUSDT", "1m", opened, o, h, low, c, volume, opened + 59_999, True)


def test_the_span_in_which_listening_begins_gives_no_candle() -> None:
    assert fed(at(30), at(61), at(119)) == []
    assert fed(at(30), at(61, 5.0), at(90, 7.0), at(119, 6.0), at(120)) == [
        minute(1, 5.0, 7.0, 5.0, 6.0, 3.0)
    ]


def test_a_candle_comes_out_with_the_first_sign_of_the_next_span() -> None:
    before = at(30), at(60, 5.0)
    assert fed(*before, 120.249) == []
    assert fed(*before, 120.25) == [minute(1, 5.0, 5.0, 5.0, 5.0, 1.0)]
    assert fed(*before, at(120)) == [minute(1, 5.0, 5.0, 5.0, 5.0, 1.0)]
    assert fed(*before, 120.0, grace_ms=0) == [minute(1, 5.0, 5.0, 5.0, 5.0, 1.0)]


def test_a_trade_that_arrives_after_quotes_of_the_next_span_still_counts() -> None:
    made = fed(at(30), at(60, 5.0), 120.1, at(119.99, 9.0), 120.3)
    assert made == [minute(1, 5.0, 9.0, 5.0, 9.0, 2.0)]


def test_a_trade_that_comes_after_its_candle_is_counted_as_late() -> None:
    builder = CandleBuilder("BTCUSDT")
    for item in (at(30), at(60), at(120), at(119, 1.0), at(125)):
        builder.update(item)
    assert builder.late == 1
    assert builder.heard(START + 190_000) == minute(2, 100.0, 100.0, 100.0, 100.0, 2.0)


def test_a_span_without_a_trade_has_the_last_close() -> None:
    assert fed(at(30, 4.0), 61.0, 100.0, 121.0, at(150, 6.0), at(181)) == [
        minute(1, 4.0, 4.0, 4.0, 4.0, 0.0),
        minute(2, 6.0, 6.0, 6.0, 6.0, 1.0),
    ]


def test_spans_beside_a_silence_give_no_candle() -> None:
    """Heard up to 1:10 and again from 4:30: neither of these minutes was heard whole."""
    assert fed(at(30), at(60), at(70), at(270), at(301), at(330), at(360)) == [
        minute(5, 100.0, 100.0, 100.0, 100.0, 2.0)
    ]


def test_higher_intervals_and_weeks() -> None:
    monday = 1_699_833_600_000  # 2023-11-13
    builder = CandleBuilder("BTCUSDT", "1w")
    times = range(monday - 86_400_000, monday + 8 * 86_400_000, 43_200_000)
    made = [builder.update(PriceUpdate("BTCUSDT", 50.0, 0.5, time)) for time in times]
    (candle,) = filter(None, made)
    assert (candle.open_time, candle.close_time) == (monday, monday + 7 * 86_400_000 - 1)
    assert candle.volume == 7.0


def test_a_builder_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ConfigError, match="a trade of ETHUSDT among those of BTCUSDT"):
        CandleBuilder("BTCUSDT").update(PriceUpdate("ETHUSDT", 1.0, 1.0, START))
    with pytest.raises(ConfigError, match="grace_ms 60000 must be from 0 to below 60000"):
        CandleBuilder("BTCUSDT", "1m", 60_000)
