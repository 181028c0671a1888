"""The books of one symbol against an independent recount of the same trades."""

from __future__ import annotations

import itertools
from collections import deque
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlewick.engine import Trade
from candlewick.engine.ledger import Ledger
from candlewick.models import Fill, Instrument, Position, Side

INSTRUMENT = Instrument("BTCUSDT", 0.1, 0.001)


def fill(
    trade_id: int, side: Side, quantity: float, price: float, fee: float = 0.0, time: int = 0
) -> Fill:
    return Fill(trade_id, "c", "BTCUSDT", side, price, quantity, fee, time or trade_id)


def book(ledger: Ledger, *fills: Fill) -> list[Trade]:
    made = [ledger.book_fill(item) for item in fills]
    return [trade for trade in made if trade is not None]


def test_a_trade_adds_up_over_its_whole_life() -> None:
    ledger = Ledger(INSTRUMENT)
    (trade,) = book(
        ledger,
        fill(1, Side.BUY, 1.0, 100.0, 0.1),
        fill(2, Side.BUY, 3.0, 120.0, 0.3),
        fill(3, Side.SELL, 2.0, 130.0, 0.2),
        fill(4, Side.SELL, 2.0, 110.0, 0.25),
    )
    assert trade.quantity == 4.0
    assert trade.entry_price == pytest.approx(115.0)
    assert trade.exit_price == pytest.approx(120.0)
    assert trade.profit == pytest.approx(2.0 * 15.0 + 2.0 * -5.0 - 0.85)
    assert trade.fees == pytest.approx(0.85)
    assert (trade.opened_time, trade.closed_time) == (1, 4)
    assert ledger.position == Position("BTCUSDT", updated_time=4)


def test_a_fee_in_another_asset_is_no_amount_of_this_one() -> None:
    ledger = Ledger(INSTRUMENT)
    bought = fill(1, Side.BUY, 1.0, 100.0, 0.1)
    sold = msgspec.structs.replace(fill(2, Side.SELL, 1.0, 110.0, 0.0007), fee_asset="BNB")
    (trade,) = book(ledger, bought, sold)
    assert (ledger.fees, trade.fees, trade.profit) == (0.1, 0.1, pytest.approx(9.9))


def test_a_fill_through_zero_ends_one_trade_and_begins_the_next_with_its_share_of_the_fee() -> None:
    ledger = Ledger(INSTRUMENT)
    (trade,) = book(ledger, fill(1, Side.BUY, 1.0, 100.0, 0.1), fill(2, Side.SELL, 4.0, 110.0, 0.4))
    assert (trade.quantity, trade.profit) == (1.0, pytest.approx(10.0 - 0.1 - 0.1))
    held = ledger.position
    assert (held.quantity, held.entry_price, held.fees) == (-3.0, 110.0, pytest.approx(0.3))
    assert ledger.fees == pytest.approx(0.5)
    (second,) = book(ledger, fill(3, Side.BUY, 3.0, 100.0, 0.3))
    assert (second.quantity, second.profit) == (-3.0, pytest.approx(30.0 - 0.6))
    assert trade.profit + second.profit == pytest.approx(ledger.realized - ledger.fees)


def test_funding_belongs_to_the_trade_it_was_paid_in() -> None:
    ledger = Ledger(INSTRUMENT)
    book(ledger, fill(1, Side.SELL, 1.0, 100.0))
    ledger.book_funding(0.5)
    (first,) = book(ledger, fill(2, Side.BUY, 1.0, 100.0))
    book(ledger, fill(3, Side.SELL, 1.0, 100.0))
    (second,) = book(ledger, fill(4, Side.BUY, 1.0, 100.0))
    assert (first.funding, second.funding, ledger.funding) == (0.5, 0.0, 0.5)


def test_an_adopted_position_becomes_a_trade_when_it_is_closed() -> None:
    ledger = Ledger(INSTRUMENT)
    ledger.adopt(Position("BTCUSDT", -2.0, 50.0, opened_time=7))
    (trade,) = book(ledger, fill(1, Side.BUY, 2.0, 40.0))
    assert (trade.quantity, trade.profit, trade.opened_time) == (-2.0, 20.0, 7)


def test_trade_ids_stay_known_for_ever_and_in_bounded_memory() -> None:
    ledger = Ledger(INSTRUMENT)
    for number in range(1, 60_001):
        side = Side.BUY if number % 2 else Side.SELL
        ledger.book_fill(fill(number, side, 1.0, 100.0))
    assert all(ledger.has_seen(number) for number in range(1, 60_001))
    assert not ledger.has_seen(60_001)
    assert len(ledger._seen) <= 20_000


class Recount:
    """Positions by their lots, in exact fractions: what was added first, averaged when reduced."""

    def __init__(self) -> None:
        self.quantity = Fraction(0)
        self.cost = Fraction(0)
        self.realized = Fraction(0)
        self.fees = Fraction(0)

    def take(self, item: Fill) -> None:
        quantity = Fraction(str(item.quantity)) * item.side.sign
        price, self.fees = Fraction(str(item.price)), self.fees + Fraction(str(item.fee))
        while quantity:
            if self.quantity * quantity >= 0:
                self.quantity += quantity
                self.cost += quantity * price
                return
            part = quantity if abs(quantity) <= abs(self.quantity) else -self.quantity
            share = self.cost * (-part) / self.quantity
            self.realized += -part * price - share
            self.cost -= share
            self.quantity += part
            quantity -= part


fills = st.lists(
    st.tuples(
        st.sampled_from(list(Side)),
        st.integers(1, 5_000).map(lambda steps: INSTRUMENT.nearest_quantity(steps * 0.001)),
        st.integers(1, 100_000).map(lambda ticks: INSTRUMENT.nearest_price(ticks * 0.1)),
        st.integers(-20, 200).map(lambda cents: cents / 100.0),
    ),
    max_size=40,
)


@given(made=fills, data=st.data())
def test_reordered_and_repeated_news_leave_the_books_equal_to_a_recount(
    made: list[tuple[Side, float, float, float]], data: st.DataObject
) -> None:
    """Each trade is told one to three times; the first telling of each counts, in its order."""
    trades = [fill(n, *item) for n, item in enumerate(made, 1)]
    told = [trade for trade in trades for _ in range(data.draw(st.integers(1, 3)))]
    told = data.draw(st.permutations(told))
    ledger, recount = Ledger(INSTRUMENT), Recount()
    completed: list[Trade] = []
    seen: set[int] = set()
    for news in told:
        assert ledger.has_seen(news.trade_id) is (news.trade_id in seen)
        if ledger.has_seen(news.trade_id):
            continue
        seen.add(news.trade_id)
        trade = ledger.book_fill(news)
        recount.take(news)
        completed += [] if trade is None else [trade]
        assert ledger.position.quantity == float(recount.quantity), "exactly, to the step"
    scale = 1.0 + sum(t.quantity * t.price for t in trades)
    assert ledger.realized == pytest.approx(float(recount.realized), abs=1e-9 * scale)
    assert ledger.fees == pytest.approx(float(recount.fees), abs=1e-9 * scale)
    held = ledger.position
    if held.quantity:
        entry = float(recount.cost / recount.quantity)
        assert held.entry_price == pytest.approx(entry, rel=1e-6, abs=1e-9 * scale)
    booked = sum(trade.profit for trade in completed) + held.realized - held.fees
    assert booked == pytest.approx(ledger.realized - ledger.fees, abs=1e-9 * scale)


def test_the_recount_itself_agrees_with_a_queue_of_units_on_totals() -> None:
    """The oracle's own check: realized profit plus open profit is what was paid and received."""
    recount = Recount()
    paid = Fraction(0)
    prices: deque[int] = deque()
    for number, (side, quantity, price) in enumerate(
        itertools.product(Side, (1.0, 2.5), (90.0, 110.0)), 1
    ):
        item = fill(number, side, quantity, price)
        recount.take(item)
        paid -= Fraction(str(quantity)) * side.sign * Fraction(str(price))
        prices.append(int(price))
    last = Fraction(prices[-1])
    open_profit = recount.quantity * last - recount.cost
    assert recount.realized + open_profit == paid + recount.quantity * last
