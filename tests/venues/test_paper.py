"""The paper account: which prices its orders meet, whatever the stream loses on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from candlewick.errors import VenueError
from candlewick.exchange import AccountState, ExchangeSettings
from candlewick.models import EventKind, Order, OrderType, Position, Side, TriggerPrice
from candlewick.venues.paper import PaperVenue
from tests.venues.conftest import Heard
from tests.venues.fake_exchange import MINUTE, FakeExchange, cut

START = 1_700_000_040_000  # a whole minute
HOUR = 60 * MINUTE
BTC = "BTCUSDT"


def at(n: int, seconds: float = 0.0) -> int:
    return START + n * MINUTE + int(1_000 * seconds)


class Market:
    """What the tests let the exchange's public streams say."""

    def __init__(self, exchange: FakeExchange) -> None:
        self.exchange = exchange
        self.trades = 0
        self.rates: list[dict[str, Any]] = []
        exchange.get_fundingRate = lambda params: [  # type: ignore[attr-defined]
            row for row in self.rates if row["fundingTime"] >= int(params["startTime"])
        ]

    async def say(self, stream: str, event: dict[str, Any]) -> None:
        await self.exchange.frame({"stream": f"btcusdt@{stream}", "data": event})

    async def trade(self, price: float, time: int, number: int = 0) -> None:
        self.trades = number or self.trades + 1
        await self.say("aggTrade", {
            "e": "aggTrade", "E": time, "s": BTC, "a": self.trades, "p": f"{price:.2f}",
            "q": "0.5", "f": 1, "l": 1, "T": time, "m": True,
        })  # fmt: skip

    async def mark(
        self, price: float, time: int, rate: float = 0.0001, next_funding: int = 0
    ) -> None:
        await self.say("markPrice@1s", {
            "e": "markPriceUpdate", "E": time, "s": BTC, "p": f"{price:.8f}", "i": "1", "P": "1",
            "r": f"{rate:.8f}", "T": next_funding,
        })  # fmt: skip

    async def kline(
        self, n: int, open: float, high: float, low: float, close: float, *, closed: bool,
        seconds: float = 60.0,
    ) -> None:  # fmt: skip
        o, h, l, c = (f"{price:.2f}" for price in (open, high, low, close))  # noqa: E741
        await self.say("kline_1m", {
            "e": "kline", "E": at(n, seconds), "s": BTC,
            "k": {"t": at(n), "T": at(n + 1) - 1, "s": BTC, "i": "1m", "o": o, "c": c, "h": h,
                  "l": l, "v": "1", "x": closed},
        })  # fmt: skip

    def list(self, n: int, open: float, high: float, low: float, close: float) -> None:
        o, h, l, c = (f"{price:.2f}" for price in (open, high, low, close))  # noqa: E741
        row = [at(n), o, h, l, c, "1", at(n + 1) - 1, "1", 1, "1", "1", "0"]
        self.exchange.klines[BTC, "1m"].append(row)


Open = Callable[..., Awaitable[tuple[PaperVenue, Heard]]]


@pytest.fixture
def market(exchange: FakeExchange) -> Market:
    return Market(exchange)


@pytest.fixture
async def paper(exchange: FakeExchange, market: Market) -> AsyncIterator[Open]:
    """Opens a paper account on the exchange's market."""
    opened: list[PaperVenue] = []

    async def make(
        state: AccountState | None = None, settings: ExchangeSettings | None = None, **fees: float
    ) -> tuple[PaperVenue, Heard]:
        heard = Heard()
        venue = PaperVenue(
            exchange.settings(), state or AccountState(10_000.0), settings, **fees
        )  # fmt: skip
        opened.append(venue)
        await venue.connect(heard.publish, [BTC], "1m")
        for _ in range(3):  # from now on the market's time is that of its messages
            await market.mark(100.0, at(0))
        await heard.until(lambda: venue.tally.messages["MarkPrice"] >= 3)
        return venue, heard

    yield make
    for venue in opened:
        await venue.close()


def order(name: str, side: Side, kind: OrderType, quantity: float = 2.0, **more: Any) -> Order:
    return Order(f"cw-paper-{name}", BTC, side, kind, quantity, created_time=at(0), **more)


async def entered(venue: PaperVenue, heard: Heard, market: Market, price: float = 100.0) -> None:
    """Buy at ``price``."""
    await venue.submit(order("000001-entry", Side.BUY, OrderType.MARKET))
    await market.trade(price, at(0, 1))
    await heard.until(lambda: bool(heard.fills))


async def test_a_market_order_executes_against_the_first_price_that_comes_after_it(
    paper: Open, market: Market, exchange: FakeExchange
) -> None:
    venue, heard = await paper()
    await market.trade(100.0, at(0, 1))
    await heard.until(lambda: venue.exchange.book(BTC).last == 100.0)
    entry = order("000001-entry", Side.BUY, OrderType.MARKET)
    await venue.submit(entry)
    assert heard.statuses(entry) == ["acknowledged"]
    await market.kline(0, 100.0, 100.0, 100.0, 100.0, closed=False, seconds=2)
    await market.mark(150.0, at(0, 2))
    await heard.until(lambda: venue.tally.messages["MarkPrice"] >= 4)
    assert not heard.fills  # neither the mark price nor a candle is a trade
    await market.trade(101.0, at(0, 3))
    await heard.until(lambda: bool(heard.fills))
    (fill,) = heard.fills
    assert (fill.price, fill.quantity, fill.time) == (101.0, 2.0, at(0, 3))
    assert heard.statuses(entry) == ["acknowledged", "filled"]
    snapshot = await venue.snapshot(1)
    assert snapshot.balance == pytest.approx(10_000.0 - fill.fee)
    assert snapshot.positions[0].quantity == 2.0
    assert snapshot.fills == (fill,)
    asked = {path.rsplit("/", 1)[-1] for _, path, _ in exchange.requests}
    assert asked <= {"time", "exchangeInfo", "klines"}  # nothing that needs a key
    assert not exchange.private


async def test_fees_and_slippage_are_those_of_the_settings(paper: Open, market: Market) -> None:
    venue, heard = await paper(settings=ExchangeSettings(slippage_bps=10.0), fee_taker=0.001)
    await entered(venue, heard, market)
    assert heard.fills[0].price == 100.1
    assert heard.fills[0].fee == pytest.approx(0.2002)


async def test_stops_and_targets_meet_each_trade(paper: Open, market: Market) -> None:
    venue, heard = await paper()
    await entered(venue, heard, market)
    stop = order("000002-stop", Side.SELL, OrderType.STOP_MARKET, trigger_price=98.0,
                 reduce_only=True)  # fmt: skip
    target = order("000003-target", Side.SELL, OrderType.TAKE_PROFIT_MARKET, 1.0,
                   trigger_price=103.0, reduce_only=True)  # fmt: skip
    await venue.submit(stop)
    await venue.submit(target)
    assert {resting.client_id for resting in (await venue.snapshot()).orders} == {
        stop.client_id, target.client_id,
    }  # fmt: skip
    for price, second in ((98.5, 2), (102.9, 3), (103.2, 4), (97.9, 5)):
        await market.trade(price, at(0, second))
    await heard.until(lambda: len(heard.fills) == 3)
    assert [(fill.client_id, fill.price) for fill in heard.fills[1:]] == [
        (target.client_id, 103.2), (stop.client_id, 97.9),
    ]  # fmt: skip
    told = await venue.query(stop)
    assert told is not None
    assert told.status == "filled"
    assert await venue.query(order("000009-entry", Side.BUY, OrderType.MARKET)) is None
    snapshot = await venue.snapshot(1)
    assert not snapshot.positions
    realized = sum(fill.realized - fill.fee for fill in snapshot.fills)
    assert snapshot.balance == pytest.approx(10_000.0 + realized, abs=1e-9)


async def test_a_limit_order_fills_when_the_market_trades_at_its_price(
    paper: Open, market: Market
) -> None:
    venue, heard = await paper()
    await market.trade(100.0, at(0, 1))
    await heard.until(lambda: venue.exchange.book(BTC).last == 100.0)
    entry = order("000001-entry", Side.BUY, OrderType.LIMIT, price=99.0)
    await venue.submit(entry)
    await market.trade(99.1, at(0, 2))
    await market.trade(98.8, at(0, 3))
    await heard.until(lambda: bool(heard.fills))
    assert (heard.fills[0].price, heard.fills[0].maker) == (99.0, True)
    await venue.cancel(entry, at(0, 4))
    assert heard.updates[-1].code == -2011
    told = await venue.query(entry)
    assert told is not None
    assert told.status == "filled"


async def test_trades_that_come_twice_count_once(paper: Open, market: Market) -> None:
    venue, heard = await paper()
    await market.trade(100.0, at(0, 1), number=7)
    await heard.until(lambda: venue.exchange.book(BTC).last == 100.0)
    await venue.submit(order("000001-entry", Side.BUY, OrderType.MARKET))
    await market.trade(100.0, at(0, 1), number=7)
    await market.trade(-1.0, at(0, 2), number=8)
    await market.trade(102.0, at(0, 2), number=10)
    await heard.until(lambda: bool(heard.fills))
    assert heard.fills[0].price == 102.0
    events = venue.tally.events
    assert (events["duplicate_trades"], events["missed_trades"]) == (1, 2)
    assert venue.tally.malformed["market"] == 1


async def test_a_stop_that_was_passed_while_the_stream_was_away_fills_at_its_price(
    paper: Open, market: Market, exchange: FakeExchange
) -> None:
    """The candles of the gap come first, then the trades that came while they were asked for."""
    venue, heard = await paper()
    await market.kline(0, 100.0, 100.0, 100.0, 100.0, closed=False, seconds=0.5)
    await entered(venue, heard, market)
    await market.kline(0, 100.0, 100.0, 100.0, 100.0, closed=True)
    await heard.until(lambda: len(heard.closed) == 1)
    stop = order("000002-stop", Side.SELL, OrderType.STOP_MARKET, trigger_price=95.0,
                 reduce_only=True)  # fmt: skip
    await venue.submit(stop)
    subscribed = len(exchange.subscribed)
    gate = asyncio.Event()

    async def wait(_: Any) -> None:
        await gate.wait()

    exchange.script("GET", "/fapi/v1/klines", wait)
    await cut(exchange.market[0])
    await heard.until(lambda: "lost" in [str(s.state) for s in heard.streams])
    market.list(0, 100.0, 100.0, 100.0, 100.0)
    market.list(1, 100.0, 101.0, 94.0, 99.0)
    market.list(2, 99.0, 120.0, 80.0, 90.0)
    market.list(3, 90.0, 91.0, 89.0, 90.0)
    await exchange.until(lambda: len(exchange.subscribed) == 2 * subscribed)
    await market.trade(90.0, at(3, 5))
    await heard.until(lambda: venue.tally.messages["AggTrade"] == 2)
    assert len(heard.fills) == 1  # held back: what came before it is not known yet
    gate.set()
    await heard.until(lambda: len(heard.fills) == 2)
    assert (heard.fills[1].client_id, heard.fills[1].price) == (stop.client_id, 95.0)
    await heard.until(lambda: len(heard.closed) == 3)
    await venue.submit(order("000003-entry", Side.BUY, OrderType.MARKET))
    await market.kline(3, 90.0, 91.0, 89.0, 90.5, closed=False, seconds=6)
    await heard.until(lambda: len(heard.fills) == 3)
    assert heard.fills[2].price in (90.0, 90.5)
    await market.trade(92.0, at(3, 7))
    await heard.until(lambda: venue.exchange.book(BTC).last == 92.0)


async def test_what_the_open_candle_shows_of_the_gap_is_met_before_newer_trades(
    paper: Open, market: Market, exchange: FakeExchange
) -> None:
    venue, heard = await paper()
    await market.kline(0, 100.0, 100.0, 100.0, 100.0, closed=False, seconds=0.5)
    await entered(venue, heard, market)
    await venue.submit(
        order("000002-stop", Side.SELL, OrderType.STOP_MARKET, trigger_price=95.0,
              reduce_only=True)
    )  # fmt: skip
    subscribed = len(exchange.subscribed)
    await cut(exchange.market[0])
    await exchange.until(lambda: len(exchange.subscribed) == 2 * subscribed)
    await market.trade(99.0, at(0, 30))
    await heard.until(lambda: venue.tally.messages["AggTrade"] == 2)
    assert len(heard.fills) == 1
    await market.kline(0, 100.0, 100.0, 94.0, 99.0, closed=False, seconds=31)
    await heard.until(lambda: len(heard.fills) == 2)
    assert heard.fills[1].price == 95.0


async def test_a_closed_candle_tells_of_trades_that_the_stream_has_dropped(
    paper: Open, market: Market
) -> None:
    venue, heard = await paper()
    await market.kline(0, 100.0, 100.0, 100.0, 100.0, closed=False, seconds=0.5)
    await entered(venue, heard, market)
    target = order("000002-target", Side.SELL, OrderType.TAKE_PROFIT_MARKET, trigger_price=104.0,
                   reduce_only=True)  # fmt: skip
    await venue.submit(target)
    await market.trade(101.0, at(0, 20))
    await market.kline(0, 100.0, 105.0, 99.5, 101.0, closed=True)
    await heard.until(lambda: len(heard.fills) == 2)
    assert heard.fills[1].price == 104.0
    kinds = [event.kind for event in heard.events]
    last_fill = len(kinds) - 1 - kinds[::-1].index(EventKind.FILL_RECEIVED)
    assert last_fill < kinds.index(EventKind.CANDLE_CLOSED)  # the exchange first, as in a backtest


async def test_a_hole_in_the_numbers_of_trades_is_looked_up_in_the_open_candle(
    paper: Open, market: Market
) -> None:
    venue, heard = await paper()
    await market.kline(0, 100.0, 100.0, 100.0, 100.0, closed=False, seconds=0.5)
    await entered(venue, heard, market)
    await venue.submit(
        order("000002-stop", Side.SELL, OrderType.STOP_MARKET, trigger_price=95.0,
              reduce_only=True)
    )  # fmt: skip
    await market.kline(0, 100.0, 100.0, 94.0, 99.0, closed=False, seconds=2)
    await market.trade(99.0, at(0, 2))  # nothing is missing: 94 may come still
    await heard.until(lambda: venue.exchange.book(BTC).last == 99.0)
    assert len(heard.fills) == 1
    await market.trade(99.5, at(0, 3), number=market.trades + 2)
    await market.kline(0, 100.0, 100.0, 94.0, 99.5, closed=False, seconds=3.5)
    await heard.until(lambda: len(heard.fills) == 2)
    assert heard.fills[1].price == 95.0


async def test_the_candle_of_the_start_tells_nothing_of_what_came_before(
    paper: Open, market: Market
) -> None:
    venue, heard = await paper()
    await entered(venue, heard, market)
    await venue.submit(
        order("000002-stop", Side.SELL, OrderType.STOP_MARKET, trigger_price=95.0,
              reduce_only=True)
    )  # fmt: skip
    await market.kline(0, 100.0, 110.0, 90.0, 100.0, closed=True)  # 90 was before the order
    await market.kline(1, 100.0, 100.0, 100.0, 100.0, closed=True)
    await heard.until(lambda: len(heard.closed) == 2)
    assert len(heard.fills) == 1


async def test_an_order_on_the_mark_price_looks_at_that_alone(paper: Open, market: Market) -> None:
    venue, heard = await paper()
    await entered(venue, heard, market)
    stop = order("000002-stop", Side.SELL, OrderType.STOP_MARKET, trigger_price=98.0,
                 reduce_only=True, trigger_by=TriggerPrice.MARK)  # fmt: skip
    await venue.submit(stop)
    twice = order("000002-stop", Side.SELL, OrderType.STOP_MARKET, trigger_price=97.0,
                  reduce_only=True, trigger_by=TriggerPrice.MARK)  # fmt: skip
    await venue.submit(twice)
    assert heard.updates[-1].code == -4116
    above = order("000003-stop", Side.SELL, OrderType.STOP_MARKET, trigger_price=101.0,
                  reduce_only=True, trigger_by=TriggerPrice.MARK)  # fmt: skip
    await venue.submit(above)
    assert heard.updates[-1].code == -2021
    assert [o.client_id for o in (await venue.snapshot()).orders] == [stop.client_id]
    await market.trade(97.0, at(0, 2))
    await market.mark(98.1, at(0, 3))
    await heard.until(lambda: venue.tally.messages["MarkPrice"] >= 4)
    assert len(heard.fills) == 1
    await market.mark(97.9, at(0, 4))
    await market.trade(97.5, at(0, 5))
    await heard.until(lambda: len(heard.fills) == 2)
    assert (heard.fills[1].client_id, heard.fills[1].price) == (stop.client_id, 97.5)


async def test_a_mark_order_that_closes_the_position_ends_with_it(
    paper: Open, market: Market
) -> None:
    venue, heard = await paper()
    await entered(venue, heard, market)
    stop = order("000002-stop", Side.SELL, OrderType.STOP_MARKET, 0.0, trigger_price=90.0,
                 close_position=True, trigger_by=TriggerPrice.MARK)  # fmt: skip
    await venue.submit(stop)
    await venue.submit(order("000003-close", Side.SELL, OrderType.MARKET, reduce_only=True))
    await market.trade(100.0, at(0, 2))
    await heard.until(lambda: heard.statuses(stop) == ["acknowledged", "expired"])
    cancelled = order("000004-stop", Side.SELL, OrderType.STOP_MARKET, trigger_price=90.0,
                      trigger_by=TriggerPrice.MARK)  # fmt: skip
    await venue.submit(cancelled)
    await venue.cancel(cancelled, at(0, 3))
    assert heard.statuses(cancelled) == ["acknowledged", "canceled"]


async def test_funding_is_paid_when_the_market_pays_it_at_its_rate(
    paper: Open, market: Market
) -> None:
    venue, heard = await paper()
    await entered(venue, heard, market)
    due = at(60)
    await market.mark(101.0, due - 1_000, rate=0.0003, next_funding=due)
    await market.mark(102.0, due, rate=-0.5, next_funding=due + 8 * HOUR)
    await market.mark(103.0, due + 1_000, rate=-0.5, next_funding=due + 8 * HOUR)
    await heard.until(lambda: venue.tally.messages["MarkPrice"] == 6)
    (paid,) = heard.of(EventKind.FUNDING_PAID)
    assert (paid.rate, paid.time) == (0.0003, due)
    assert paid.amount == pytest.approx(-2.0 * 102.0 * 0.0003)
    balance = (await venue.snapshot()).balance
    assert balance == pytest.approx(10_000.0 - heard.fills[0].fee + paid.amount)


LEFT = AccountState(
    9_000.0,
    (Position(BTC, 2.0, 100.0, opened_time=at(0)),),
    (
        Order("cw-old-000002-stop", BTC, Side.SELL, OrderType.STOP_MARKET, 2.0,
              trigger_price=95.0, reduce_only=True, venue_id="12"),
        Order("cw-old-000003-stop", BTC, Side.SELL, OrderType.STOP_MARKET, 2.0,
              trigger_price=70.0, reduce_only=True, venue_id="13",
              trigger_by=TriggerPrice.MARK),
    ),
    last_trade=7,
    last_order=13,
    time=at(1, 30),
)  # fmt: skip


async def test_an_account_that_was_left_lives_through_what_it_has_missed(
    paper: Open, market: Market
) -> None:
    """The candle in which it was left counts by its close; the later ones in full; funding too."""
    market.rates = [
        {"symbol": BTC, "fundingTime": at(1), "fundingRate": "0.5", "markPrice": "1"},
        {"symbol": BTC, "fundingTime": at(2, 0.004), "fundingRate": "0.001", "markPrice": "1"},
    ]
    market.list(0, 100.0, 100.0, 100.0, 100.0)
    market.list(1, 100.0, 100.0, 60.0, 99.0)  # 60 may have been before the stop was there
    market.list(2, 99.0, 100.0, 96.0, 98.0)
    market.list(3, 98.0, 99.0, 94.0, 96.0)
    market.list(4, 96.0, 96.0, 96.0, 96.0)
    venue, heard = await paper(LEFT)
    snapshot = await venue.snapshot(at(1, 30))
    (fill,) = snapshot.fills
    assert (fill.trade_id, fill.client_id, fill.price) == (8, "cw-old-000002-stop", 95.0)
    assert not snapshot.positions
    funding = -2.0 * 99.0 * 0.001
    assert snapshot.balance == pytest.approx(9_000.0 - 10.0 - fill.fee + funding)
    told = await venue.query(LEFT.orders[0])
    assert told is not None
    assert (told.status, told.filled) == ("filled", 2.0)
    assert [resting.client_id for resting in snapshot.orders] == ["cw-old-000003-stop"]
    await venue.submit(order("000001-entry", Side.BUY, OrderType.MARKET))
    assert int(heard.updates[-1].venue_id) > 13


async def test_an_account_that_was_left_a_moment_ago_goes_on(paper: Open, market: Market) -> None:
    market.list(0, 100.0, 100.0, 100.0, 100.0)
    market.list(1, 100.0, 100.0, 60.0, 99.0)  # open
    venue, heard = await paper(LEFT)
    assert len((await venue.snapshot()).orders) == 2
    await market.trade(98.0, at(1, 31))
    await heard.until(lambda: venue.tally.messages["AggTrade"] == 1)
    await market.kline(1, 100.0, 100.0, 60.0, 98.0, closed=False, seconds=32)
    await market.trade(94.5, at(1, 33))
    await heard.until(lambda: len(heard.fills) == 1)
    assert (heard.fills[0].client_id, heard.fills[0].price) == ("cw-old-000002-stop", 94.5)
    await market.mark(69.0, at(1, 34))
    expired = LEFT.orders[1]
    await heard.until(lambda: heard.statuses(expired) == ["expired"])  # nothing to reduce


async def test_the_mark_orders_of_a_former_run_are_watched(paper: Open, market: Market) -> None:
    market.list(0, 100.0, 100.0, 100.0, 100.0)
    market.list(1, 100.0, 100.0, 100.0, 100.0)  # open
    venue, heard = await paper(LEFT)
    await market.mark(69.0, at(1, 34))
    await market.trade(99.0, at(1, 35))
    await market.kline(1, 100.0, 100.0, 99.0, 99.0, closed=False, seconds=36)
    await heard.until(lambda: len(heard.fills) == 1)
    assert (heard.fills[0].client_id, heard.fills[0].price) == ("cw-old-000003-stop", 99.0)
    assert venue.exchange.positions() == []


async def test_funding_that_is_not_listed_does_not_keep_a_run_from_starting(
    paper: Open, market: Market, exchange: FakeExchange
) -> None:
    market.list(0, 100.0, 100.0, 100.0, 100.0)
    del exchange.get_fundingRate  # type: ignore[attr-defined]
    venue, _ = await paper(LEFT)
    assert (await venue.snapshot()).balance == 9_000.0


async def test_a_stream_that_has_ended_for_good_stops_the_system(
    exchange: FakeExchange, paper: Open, market: Market
) -> None:
    venue, heard = await paper()

    def full(event: Any) -> None:
        raise RuntimeError("no room")

    venue._publisher = full
    await market.kline(0, 100.0, 100.0, 100.0, 100.0, closed=True)
    await heard.until(lambda: venue._failure is not None)
    with pytest.raises(VenueError, match="no room"):
        await venue.snapshot()


async def test_without_a_connection_there_is_no_account(exchange: FakeExchange) -> None:
    venue = PaperVenue(exchange.settings(), AccountState(1.0))
    with pytest.raises(VenueError, match="not connected"):
        await venue.snapshot()
    await venue.close()
