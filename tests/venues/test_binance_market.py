"""The market's stream: each closed candle once and in order, whatever the stream does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from candlewick.errors import VenueError
from candlewick.models import EventKind, StreamState
from tests.venues.conftest import Connect, Heard
from tests.venues.fake_exchange import MINUTE, FakeExchange, cut

START = 1_700_000_040_000  # a whole minute
BTC = "BTCUSDT"


def at(n: int) -> int:
    """The open time of the n-th candle."""
    return START + n * MINUTE


def opened(heard: Heard, symbol: str = BTC) -> list[int]:
    """Which candles were told, by number."""
    return [(c.open_time - START) // MINUTE for c in heard.closed if c.symbol == symbol]


def market_states(heard: Heard) -> list[str]:
    return [str(s.state) for s in heard.streams if s.kind == "market"]


async def test_candles_go_on_where_the_history_ends(
    exchange: FakeExchange, connect: Connect
) -> None:
    for n in range(8):
        exchange.list_kline(at(n), 100.0 + n)  # the last one is open
    venue, heard = await connect(history=5)
    history = await venue.candles(BTC, "1m", 5)
    assert [(c.open_time - START) // MINUTE for c in history] == [2, 3, 4, 5, 6]
    assert all(candle.is_closed for candle in history)
    exchange.list_kline(at(8), 108.0)
    exchange.list_kline(at(9), 109.0)
    await exchange.kline(at(8), 108.0, closed=True)  # 7 was closed before the subscription
    await exchange.kline(at(9), 109.0, closed=False)
    await heard.until(lambda: len(heard.closed) >= 2)
    assert opened(heard) == [7, 8]
    assert heard.closed[0].close == 107.0
    assert heard.closed[1].volume == 1.5
    assert market_states(heard) == ["live"]


async def test_a_long_history_comes_in_pages(exchange: FakeExchange, connect: Connect) -> None:
    for n in range(2_345):
        exchange.list_kline(at(n), 100.0)
    venue, _ = await connect()
    history = await venue.candles(BTC, "1m", 2_300)
    assert [c.open_time for c in history] == [at(n) for n in range(44, 2_344)]
    everything = await venue.candles(BTC, "1m", 10_000)
    assert len(everything) == 2_344


async def test_open_candles_are_prices_and_old_ones_are_dropped(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    await exchange.kline(at(0), 100.0, closed=False, event_time=at(0) + 500)
    await exchange.kline(at(0), 102.0, closed=False, event_time=at(0) + 1_000)
    await exchange.kline(at(0), 101.0, closed=False, event_time=at(0) + 750)  # late
    await exchange.kline(at(0), 103.0, closed=True)
    await heard.until(lambda: bool(heard.closed))
    prices = heard.of(EventKind.PRICE_UPDATED)
    assert [candle.close for candle in prices] == [100.0, 102.0]
    assert not any(candle.is_closed for candle in prices)
    assert venue.tally.events["old_prices"] == 1
    assert heard.closed[0].is_closed


async def test_repeated_and_swapped_candles_are_told_once_and_in_order(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    for n in (0, 1, 1, 0, 3, 2, 3, 4, 4):
        await exchange.kline(at(n), 100.0 + n, closed=True)
    await heard.until(lambda: len(heard.closed) == 5)
    assert opened(heard) == [0, 1, 2, 3, 4]
    assert venue.tally.events["duplicate_candles"] == 4


async def test_a_hole_is_filled_over_rest_before_anything_after_it(
    exchange: FakeExchange, connect: Connect
) -> None:
    for n in range(300):
        exchange.list_kline(at(n), 100.0 + n)
    _, heard = await connect()
    await exchange.kline(at(0), 100.0, closed=True)
    await exchange.kline(at(250), 350.0, closed=True)
    await heard.until(lambda: len(heard.closed) >= 251)
    assert opened(heard)[:251] == list(range(251))
    assert all(candle.close == 100.0 + n for n, candle in enumerate(heard.closed[:251]))


@pytest.mark.parametrize("is_known", [False, True])
async def test_a_hole_that_cannot_be_filled_is_told(
    exchange: FakeExchange, connect: Connect, is_known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    venue, heard = await connect(holes_are_known=is_known)
    for n in (0, 1, 5, 6, 7):  # the exchange itself has none between
        exchange.list_kline(at(n), 100.0)
    await exchange.kline(at(1), 100.0, closed=True)
    await exchange.kline(at(5), 100.0, closed=True)
    await heard.until(lambda: 5 in opened(heard))
    await exchange.kline(at(6), 100.0, closed=True)
    await heard.until(lambda: 6 in opened(heard))
    assert opened(heard) == [1, 5, 6]
    told = [s for s in heard.streams if s.symbol == BTC]
    assert [s.state for s in told] == [StreamState.STALE, StreamState.LIVE]
    assert told[0].reason == f"3 candles of 1m are missing, {at(2)} to {at(4)}"
    assert venue.tally.events["holes"] == 1
    logged = [record.levelname for record in caplog.records if "are missing" in record.message]
    assert logged == ([] if is_known else ["WARNING"])


async def test_a_candle_from_far_ahead_does_not_silence_those_that_follow(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    for n in range(3):
        exchange.list_kline(at(n), 100.0)
    await exchange.kline(at(0), 100.0, closed=True)
    await exchange.kline(at(900_000), 100.0, closed=True)  # nonsense
    await exchange.kline(at(900_000), 100.0, closed=False)
    await heard.until(lambda: opened(heard) == [0, 1])
    for n in range(3, 6):
        exchange.list_kline(at(n), 100.0)
        await exchange.kline(at(n - 1), 100.0, closed=True)
    await heard.until(lambda: len(heard.closed) == 5)
    assert opened(heard) == [0, 1, 2, 3, 4]
    assert venue.tally.events["holes"] == 0


async def test_a_closed_candle_that_the_stream_lost_is_asked_for(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    await exchange.kline(at(0), 100.0, closed=True)
    await exchange.kline(at(1), 101.0, closed=False)
    for n in range(3):
        exchange.list_kline(at(n), 100.0 + n)
    await exchange.kline(at(2), 102.0, closed=False)  # the close of 1 was never sent
    await heard.until(lambda: opened(heard) == [0, 1])
    assert venue.tally.events["late_candles"] >= 1
    assert heard.closed[1].close == 101.0


async def test_the_open_candle_is_never_taken_for_closed(
    exchange: FakeExchange, connect: Connect
) -> None:
    """Neither by its clock time, which may be long past where recorded data is played."""
    venue, heard = await connect()
    exchange.list_kline(at(0), 100.0)
    exchange.list_kline(at(1), 55.0)
    await exchange.kline(at(0), 100.0, closed=True)
    await exchange.mark()  # the market's time is years later
    await exchange.mark()
    await heard.until(lambda: venue.tally.events["late_candles"] >= 2)
    assert opened(heard) == [0]


async def test_a_lost_connection_is_replaced_and_its_gap_filled(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    await exchange.kline(at(0), 100.0, closed=True)
    await heard.until(lambda: bool(heard.closed))
    subscribed = len(exchange.subscribed)
    await cut(exchange.market[0])
    for n in range(4):
        exchange.list_kline(at(n), 100.0 + n)
    await exchange.until(lambda: len(exchange.subscribed) == 2 * subscribed)
    await heard.until(lambda: len(heard.closed) == 3)
    await exchange.kline(at(3), 103.0, closed=True)
    await heard.until(lambda: len(heard.closed) == 4)
    assert opened(heard) == [0, 1, 2, 3]
    await heard.until(lambda: market_states(heard) == ["live", "lost", "live"])
    assert venue.tally.events["market_lost"] == 1


async def test_the_exchange_may_be_away_for_a_while(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    await exchange.kline(at(0), 100.0, closed=True)
    await heard.until(lambda: bool(heard.closed))
    port = exchange.port
    await exchange.stop()
    await heard.until(lambda: venue.tally.events["market_not_connected"] >= 3)
    for n in range(3):
        exchange.list_kline(at(n), 100.0)
    await exchange.start(port)
    await heard.until(lambda: opened(heard) == [0, 1])
    assert venue.tally.events["account_connected"] >= 1


async def test_a_connection_without_data_is_stale_whatever_its_flag_says(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(stale_after_s=0.2)
    await heard.until(lambda: venue.tally.events["market_connected"] >= 2)
    states = market_states(heard)
    assert states[:2] == ["stale", "lost"]
    assert "live" not in states  # acknowledged subscriptions are not data
    talking = asyncio.create_task(talk(exchange, BTC))
    await heard.until(lambda: "live" in market_states(heard))
    talking.cancel()


async def test_one_silent_symbol_is_stale_while_the_other_lives(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(symbols=(BTC, "ETHUSDT"), stale_after_s=0.2)
    await exchange.mark(BTC)
    talking = asyncio.create_task(talk(exchange, "ETHUSDT"))
    await heard.until(lambda: any(s.symbol == BTC and s.state == "stale" for s in heard.streams))
    assert not [s for s in heard.streams if s.symbol == "ETHUSDT"]
    await exchange.mark(BTC)
    await heard.until(lambda: any(s.symbol == BTC and s.state == "live" for s in heard.streams))
    await heard.until(lambda: venue.tally.events["market_lost"] >= 1)  # silent for much longer
    talking.cancel()
    assert "no data of BTCUSDT" in next(s.reason for s in heard.streams if s.state == "lost")


async def talk(exchange: FakeExchange, symbol: str) -> None:
    while True:
        await exchange.mark(symbol)
        await asyncio.sleep(0.02)


async def test_an_old_connection_is_replaced_without_losing_or_repeating_a_candle(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(connection_life_s=0.3, overlap_s=0.1)

    async def trade() -> None:
        n = 0
        while True:
            await exchange.kline(at(n), 100.0, closed=True)
            await asyncio.sleep(0.005)
            n += 1

    trading = asyncio.create_task(trade())
    await heard.until(lambda: venue.tally.events["market_replaced"] >= 3)
    trading.cancel()
    assert opened(heard) == list(range(len(heard.closed)))
    assert market_states(heard) == ["live"]
    assert venue.tally.events["candles_asked_for"] == 0  # none was missed in the first place
    assert len(exchange.market) <= 2


async def test_a_successor_that_brings_nothing_does_not_replace_what_works(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(connection_life_s=0.2, overlap_s=0.1)
    first = exchange.market[0]

    async def favour() -> None:
        while True:
            exchange.market[:] = [first]  # the others get acknowledgements and no data
            await exchange.mark()
            await asyncio.sleep(0.01)

    favouring = asyncio.create_task(favour())
    await heard.until(lambda: venue.tally.events["market_not_replaced"] >= 2)
    favouring.cancel()
    assert venue.tally.events["market_replaced"] == 0
    assert market_states(heard) == ["live"]


async def test_a_refused_or_unanswered_subscription_fails_the_connection(
    exchange: FakeExchange, connect: Connect
) -> None:
    exchange.ignore_subscriptions = True
    with pytest.raises(VenueError, match="SUBSCRIBE was not answered"):
        await connect(request_timeout_s=0.3)


async def test_half_open_connections_are_found_out_by_pings(
    exchange: FakeExchange, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue, heard = await connect(heartbeat_s=0.2, stale_after_s=30.0)
    transport = exchange.market[0]._req.transport  # type: ignore[union-attr]
    assert transport is not None
    transport.pause_reading()  # the peer is there, and deaf: it answers no ping
    await heard.until(lambda: venue.tally.events["market_connected"] >= 2)
    assert venue.tally.events["market_lost"] == 1


async def test_many_streams_are_subscribed_to_in_groups(
    exchange: FakeExchange, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("candlewick.venues.binance.connection._PACE_S", 0.001)
    symbols = tuple(f"C{n:03d}USDT" for n in range(450))
    exchange.price = dict.fromkeys(symbols, 1.0)
    await connect(symbols=symbols, keys=False)
    assert len(exchange.subscribed) == 900
    assert len(set(exchange.subscribed)) == 900


# -- frames that are not as they should be -----------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        "", "nonsense", "{", "[]", "null", "17", '"text"', b"\xff\xfe\x00", '{"stream": "x"}',
        '{"data": {"e": "kline"}}', '{"data": {"e": "kline", "E": 1, "s": "BTCUSDT", "k": 5}}',
        '{"data": {"e": 5}}', '{"data": null}', "[" * 3_000,
    ],
)  # fmt: skip
async def test_malformed_frames_are_counted_and_told_and_the_stream_goes_on(
    exchange: FakeExchange, connect: Connect, frame: Any
) -> None:
    venue, heard = await connect()
    await exchange.frame(frame)
    await exchange.kline(at(0), 100.0, closed=True)
    await heard.until(lambda: bool(heard.closed))
    assert venue.tally.malformed["market"] == 1
    assert heard.malformed[0].source == "market"
    assert venue.tally.events["market_lost"] == 0


async def test_impossible_candles_are_malformed(exchange: FakeExchange, connect: Connect) -> None:
    venue, heard = await connect()
    good = {"t": at(0), "T": at(1) - 1, "i": "1m", "o": "5", "h": "6", "l": "4", "c": "5", "v": "1",
            "x": True}  # fmt: skip
    for bad in ({"h": "3"}, {"l": "-1"}, {"o": "NaN"}, {"c": "inf"}, {"T": at(0)}, {"v": "-1"}):
        event = {"e": "kline", "E": at(1), "s": BTC, "k": good | bad}
        await exchange.frame({"stream": "s", "data": event})
    await exchange.frame({"stream": "s", "data": {"e": "kline", "E": at(1), "s": BTC, "k": good}})
    await heard.until(lambda: bool(heard.closed))
    assert venue.tally.malformed["market"] == 6
    assert len(heard.closed) == 1


async def test_unknown_events_and_fields_are_counted_and_ignored(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    await exchange.frame({"stream": "x", "data": {"e": "brandNew", "E": 1}})
    await exchange.frame({"stream": "x", "data": [{"e": "24hrTicker"}]})
    good = {"t": at(0), "T": at(1) - 1, "i": "1m", "o": "5", "h": "6", "l": "4", "c": "5", "v": "1",
            "x": True, "zz": {"new": [1]}}  # fmt: skip
    event = {"e": "kline", "E": at(1), "s": BTC, "k": good, "st": 1}
    await exchange.frame({"stream": "s", "data": event, "more": None})
    await heard.until(lambda: bool(heard.closed))
    assert venue.tally.unknown == {"brandNew": 1, "list": 1}
    assert not heard.malformed


async def test_market_data_needs_no_keys(exchange: FakeExchange, connect: Connect) -> None:
    venue, heard = await connect(keys=False)
    await exchange.kline(at(0), 100.0, closed=True)
    await heard.until(lambda: bool(heard.closed))
    assert not exchange.private
    with pytest.raises(VenueError, match="no API keys"):
        await venue.snapshot()


async def test_an_event_that_finds_no_room_is_fatal_and_not_swallowed(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()

    def refuse(_: Any) -> None:
        raise RuntimeError("the queue is full")

    venue._publisher = refuse
    await exchange.kline(at(0), 100.0, closed=True)
    await heard.until(lambda: bool(heard.fatal))
    assert "the queue is full" in str(heard.fatal[0])


async def test_without_anybody_to_tell_the_next_call_raises(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect()
    venue.on_fatal = None

    def refuse(_: Any) -> None:
        raise RuntimeError("the queue is full")

    venue._publisher = refuse
    await exchange.kline(at(0), 100.0, closed=True)
    await heard.until(lambda: venue._failure is not None)
    with pytest.raises(VenueError, match="ended for good"):
        await venue.snapshot()
    assert (await venue.snapshot()).balance == 10_000.0  # it can still be cleaned up


async def test_a_closed_venue_says_so(exchange: FakeExchange, connect: Connect) -> None:
    venue, _ = await connect()
    await venue.close()
    await venue.close()
    with pytest.raises(VenueError, match="the venue is closed"):
        await venue.snapshot()
    with pytest.raises(VenueError, match="connected already"):
        await venue.connect(lambda _: None, [BTC], "1m")
