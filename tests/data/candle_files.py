"""A small market as lines of a file and as a table."""

from __future__ import annotations

from candlewick.models import CandleTable

HEADER = "open_time,open,high,low,close,volume"
START = 1_640_995_200_000  # 2022-01-01 UTC
MINUTE = 60_000


def row(number: int, time: object = None) -> str:
    """Candle ``number`` of a quiet market, as a line."""
    price = 100.0 + number
    opened = START + MINUTE * number if time is None else time
    return f"{opened},{price},{price + 1},{price - 1},{price + 0.5},{number + 0.25}"


def small_table(count: int, symbol: str = "BTCUSDT") -> CandleTable:
    """The table that `row` gives."""
    prices = [100.0 + number for number in range(count)]
    return CandleTable(
        symbol, "1m",
        [START + MINUTE * number for number in range(count)],
        prices,
        [price + 1 for price in prices],
        [price - 1 for price in prices],
        [price + 0.5 for price in prices],
        [number + 0.25 for number in range(count)],
    )  # fmt: skip


def assert_equal(one: CandleTable, other: CandleTable) -> None:
    """The same candles, bit for bit."""
    assert (one.symbol, one.interval, len(one)) == (other.symbol, other.interval, len(other))
    for name in ("open_time", "open", "high", "low", "close", "volume", "close_time"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist(), name
