"""Funding: flat and recorded rates, paid on what is held at that moment."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from candlewick.exchange import SimulatedExchange
from candlewick.models import Candle, Funding, Instrument, Order, OrderType, Side

HOUR = 3_600_000
MINUTE = 60_000


def hourly(number: int, price: float, symbol: str = "BTCUSDT") -> Candle:
    start = number * HOUR
    return Candle(symbol, "1h", start, price, price, price, price, 1.0, start + HOUR - 1, True)


def play(exchange: SimulatedExchange, candle: Candle) -> list[Any]:
    reports: list[Any] = []
    while step := exchange.advance(candle):
        reports += step
    return reports


@pytest.mark.parametrize(("side", "sign"), [(Side.BUY, -1.0), (Side.SELL, 1.0)])
def test_the_flat_rate_is_paid_every_eight_hours_at_the_open(
    open_account: Any, side: Side, sign: float
) -> None:
    exchange = open_account(funding_rate=0.0001).exchange
    play(exchange, hourly(5, 100.0))
    exchange.submit(Order("a", "BTCUSDT", side, OrderType.MARKET, 2.0), 6 * HOUR)
    paid = [r for n in range(6, 26) for r in play(exchange, hourly(n, 100.0 + n))]
    funding = [report for report in paid if isinstance(report, Funding)]
    assert [item.time for item in funding] == [8 * HOUR, 16 * HOUR, 24 * HOUR]
    amounts = [sign * 2.0 * price * 0.0001 for price in (108.0, 116.0, 124.0)]
    assert [item.amount for item in funding] == pytest.approx(amounts, rel=1e-12)
    assert exchange.funding_received == pytest.approx(sum(amounts), rel=1e-12)
    fee = 2.0 * 106.0 * 0.0005
    assert exchange.balance == pytest.approx(100_000.0 - fee + sum(amounts), abs=1e-9)


def test_who_enters_at_the_moment_of_funding_does_not_pay_and_who_leaves_then_does(
    open_account: Any,
) -> None:
    exchange = open_account(funding_rate=0.001).exchange
    play(exchange, hourly(7, 100.0))
    exchange.submit(Order("in", "BTCUSDT", Side.BUY, OrderType.MARKET, 1.0), 8 * HOUR)
    assert not [r for r in play(exchange, hourly(8, 100.0)) if isinstance(r, Funding)]
    for number in range(9, 16):
        play(exchange, hourly(number, 100.0))
    exchange.submit(Order("out", "BTCUSDT", Side.SELL, OrderType.MARKET, 1.0), 16 * HOUR)
    reports = play(exchange, hourly(16, 100.0))
    assert isinstance(reports[0], Funding), "funding first, then the exit"
    assert exchange.positions() == []


def test_a_candle_longer_than_the_period_pays_for_each_moment_it_passed(open_account: Any) -> None:
    exchange = open_account(funding_rate=0.001).exchange
    day = 24 * HOUR
    for number in range(3):
        candle = Candle(
            "BTCUSDT", "1d", number * day, 100.0, 100.0, 100.0, 100.0, 1.0, (number + 1) * day - 1
        )
        if number == 1:
            exchange.submit(Order("a", "BTCUSDT", Side.BUY, OrderType.MARKET, 1.0), day)
        reports = play(exchange, candle)
    times = [report.time for report in reports if isinstance(report, Funding)]
    assert times == [day + 8 * HOUR, day + 16 * HOUR, 2 * day]


def test_without_a_position_nothing_is_paid(open_account: Any) -> None:
    exchange = open_account(funding_rate=0.001).exchange
    assert not [r for n in range(30) for r in play(exchange, hourly(n, 100.0))]
    assert exchange.balance == 100_000.0


def test_funding_turned_off_for_a_symbol_without_rates(open_account: Any) -> None:
    instruments = [Instrument(name, 0.1, 0.001) for name in ("BTCUSDT", "ETHUSDT")]
    trader = open_account(instruments=instruments, funding={"BTCUSDT": [(8 * HOUR, 0.001)]})
    exchange = trader.exchange
    for symbol in ("BTCUSDT", "ETHUSDT"):
        play(exchange, hourly(1, 100.0, symbol))
        exchange.submit(Order("a", symbol, Side.BUY, OrderType.MARKET, 1.0), 2 * HOUR)
        for number in range(2, 12):
            play(exchange, hourly(number, 100.0, symbol))
    assert exchange.funding_received == pytest.approx(-0.1, rel=1e-12)


def test_recorded_rates_from_before_the_first_candle_are_passed_over(open_account: Any) -> None:
    rates = [(8 * HOUR, 0.01), (16 * HOUR, 0.001)]
    exchange = open_account(funding={"BTCUSDT": rates}).exchange
    play(exchange, hourly(10, 100.0))
    exchange.submit(Order("a", "BTCUSDT", Side.BUY, OrderType.MARKET, 1.0), 11 * HOUR)
    paid = [r for n in range(11, 20) for r in play(exchange, hourly(n, 100.0))]
    assert [r.rate for r in paid if isinstance(r, Funding)] == [0.001]


def test_a_record_that_is_some_milliseconds_late_is_paid_at_its_hour(open_account: Any) -> None:
    """Recorded times are when the exchange booked it; what counts is who held at the hour."""
    exchange = open_account(funding={"BTCUSDT": [(8 * HOUR + 17, 0.001)]}).exchange
    play(exchange, hourly(6, 100.0))
    exchange.submit(Order("in", "BTCUSDT", Side.BUY, OrderType.MARKET, 1.0), 7 * HOUR)
    play(exchange, hourly(7, 100.0))
    exchange.submit(Order("out", "BTCUSDT", Side.SELL, OrderType.MARKET, 1.0), 8 * HOUR)
    (funding,) = [r for r in play(exchange, hourly(8, 100.0)) if isinstance(r, Funding)]
    assert funding.time == 8 * HOUR + 17, "as recorded"
    assert exchange.positions() == []


def test_funding_can_liquidate(open_account: Any) -> None:
    free = Instrument("BTCUSDT", 0.1, 0.001, fee_taker=0.0, liquidation_fee=0.0)
    exchange = open_account(
        600.0, instruments=[free], leverage=100, funding={"BTCUSDT": [(8 * HOUR, 0.04)]}
    ).exchange
    play(exchange, hourly(6, 100.0))
    exchange.submit(Order("in", "BTCUSDT", Side.BUY, OrderType.MARKET, 140.0), 7 * HOUR)
    play(exchange, hourly(7, 100.0))
    assert exchange.positions()
    play(exchange, hourly(8, 100.0))
    assert exchange.positions() == [], "560 of 600 were paid; 70 are needed"
    assert exchange.balance == pytest.approx(40.0, abs=1e-9)


def test_a_month_of_recorded_rates(open_account: Any, shared_dir: Path) -> None:
    """Short 1,000 XRP at a constant dollar through the whole file: it receives each rate once."""
    with (shared_dir / "data" / "xrpusdt-perp-funding-8h-2021-11.csv").open() as file:
        rates = [(int(r["funding_time"]), float(r["funding_rate"])) for r in csv.DictReader(file)]
    assert len(rates) == 91
    instrument = Instrument("XRPUSDT", 0.0001, 0.1, fee_taker=0.0)
    trader = open_account(instruments=[instrument], funding={"XRPUSDT": rates})
    exchange = trader.exchange
    first, last = rates[0][0] // HOUR - 2, rates[-1][0] // HOUR + 2
    play(exchange, hourly(first, 1.0, "XRPUSDT"))
    exchange.submit(Order("a", "XRPUSDT", Side.SELL, OrderType.MARKET, 1_000.0), 0)
    reports = [r for n in range(first + 1, last) for r in play(exchange, hourly(n, 1.0, "XRPUSDT"))]
    paid = [(r.time, r.rate) for r in reports if isinstance(r, Funding)]
    assert paid == rates
    expected = 1_000.0 * sum(rate for _, rate in rates)
    assert exchange.funding_received == pytest.approx(expected, rel=1e-12)
    assert exchange.balance == pytest.approx(100_000.0 + expected, rel=1e-12)
