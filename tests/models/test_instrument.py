"""`Instrument`: rounding, checking and formatting, held against exact decimal arithmetic."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from candlewick.data import guess_instrument
from candlewick.errors import ValidationError
from candlewick.models import Instrument, MarginBracket, Side

UNITS = (
    1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0,
    0.5, 0.05, 0.25, 0.025, 0.0005, 0.2, 5.0, 50.0,
)  # fmt: skip
units = st.sampled_from(UNITS)
counts = st.integers(1, 10**11)
sides = st.sampled_from(list(Side))


def instrument(unit: float, **more: Any) -> Instrument:
    return Instrument("BTCUSDT", unit, unit, **more)


def exact(count: int, unit: float) -> float:
    """The float nearest to ``count`` units, by decimal arithmetic."""
    return float(count * Decimal(repr(unit)))


def units_in(value: float, unit: float) -> Fraction:
    """How many units a float stands for: what its shortest decimal text says."""
    return Fraction(Decimal(repr(value))) / Fraction(Decimal(repr(unit)))


@st.composite
def amounts(draw: st.DrawFn) -> tuple[float, float]:
    """A unit, and any number of up to ten billion of it: from a multiple to anything between."""
    unit = draw(units)
    whole = exact(draw(st.integers(0, 10**10)), unit)
    return unit, whole + draw(st.floats(0.0, 1.0)) * unit


# -- rounding ----------------------------------------------------------------------------------


@given(units, counts, sides)
@example(0.01, 1_792_266_992, Side.BUY)
@example(0.001, 264_028_001, Side.BUY)
@example(0.0001, 1_011_694_325, Side.SELL)
def test_an_exact_multiple_stays_what_it_is(unit: float, count: int, side: Side) -> None:
    value, item = exact(count, unit), instrument(unit)
    assert item.round_quantity(value) == value
    assert item.nearest_quantity(value) == value
    assert item.round_price(value, side) == value
    assert item.round_stop(value, side) == value
    assert item.nearest_price(value) == value
    assert item.is_quantity(value)
    assert item.is_price(value)


@given(amounts())
def test_a_quantity_is_the_largest_multiple_that_is_not_above_what_was_asked(
    amount: tuple[float, float],
) -> None:
    unit, asked = amount
    rounded = instrument(unit).round_quantity(asked)
    count, wanted = units_in(rounded, unit), units_in(asked, unit)
    assert count.denominator == 1
    assert rounded == exact(int(count), unit)
    noise = Fraction(2, 10**9) + wanted * Fraction(1, 10**15)
    assert wanted - 1 < count + noise
    assert count <= wanted + noise


@given(amounts(), sides)
def test_a_limit_price_is_never_worse_than_asked_and_less_than_a_tick_away(
    amount: tuple[float, float], side: Side
) -> None:
    unit, asked = amount
    rounded = instrument(unit).round_price(asked, side)
    count, wanted = units_in(rounded, unit), units_in(asked, unit)
    noise = Fraction(2, 10**9) + wanted * Fraction(1, 10**15)
    assert count.denominator == 1
    assert side.sign * (count - wanted) <= noise
    assert abs(count - wanted) < 1 + noise


@given(amounts(), sides)
def test_a_stop_is_rounded_to_where_it_triggers_no_later(
    amount: tuple[float, float], side: Side
) -> None:
    unit, asked = amount
    rounded = instrument(unit).round_stop(asked, side)
    # a sell stop triggers when the price falls to it, so the higher one is hit first
    noise = asked * 1e-15 + unit * 2e-9
    assert rounded >= asked - noise if side is Side.SELL else rounded <= asked + noise


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (0.3 - 0.1, 0.2),
        (0.1 * 3, 0.3),
        (0.1 + 0.7, 0.8),
        (0.29999999999999993, 0.3),
        (100_000.7 - 100_000.0, 0.7),
        (0.2999, 0.2),
    ],
)
def test_float_noise_is_no_reason_to_lose_a_lot(asked: float, expected: float) -> None:
    assert instrument(0.1).round_quantity(asked) == expected


@given(units, st.integers(1, 10**9), st.floats(-0.49, 0.49))
def test_the_nearest_multiple_is_the_nearest(unit: float, count: int, off: float) -> None:
    item, value = instrument(unit), exact(count, unit)
    noisy = value + off * unit
    assert item.nearest_quantity(noisy) == value
    assert item.nearest_price(noisy) == value


@given(units, st.integers(1, 10**9), sides, st.floats(1e-7, 0.5))
def test_slippage_worsens_the_price_to_a_whole_tick(
    unit: float, count: int, side: Side, rate: float
) -> None:
    price = exact(count, unit)
    slipped = instrument(unit).slip(price, side, rate)
    meant = Fraction(price) * (1 + side.sign * Fraction(rate)) / Fraction(Decimal(repr(unit)))
    worst = meant.__ceil__() if side is Side.BUY else meant.__floor__()
    found = units_in(slipped, unit)
    assert found.denominator == 1
    assert found >= 1
    # at most one tick beside the exact one, and that only where the exact one is float noise away
    assert found == max(worst, 1) or abs(found - meant) <= Fraction(2, 10**9) + meant / 10**15
    assert side.sign * (slipped - price) >= 0.0 or slipped == unit


def test_no_slippage_leaves_a_price_alone() -> None:
    assert instrument(0.1).slip(100.0, Side.BUY, 0.0) == 100.0
    assert instrument(0.1).slip(100.0, Side.BUY, 0.0001) == 100.1
    assert instrument(0.1).slip(100.0, Side.SELL, 0.0001) == 99.9
    assert instrument(10.0).slip(10.0, Side.SELL, 0.5) == 10.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused_and_named(value: float) -> None:
    item = instrument(0.1)
    for round_it in (
        item.round_quantity,
        item.nearest_quantity,
        item.nearest_price,
        lambda value: item.round_price(value, Side.SELL),
        lambda value: item.round_stop(value, Side.BUY),
        lambda value: item.slip(value, Side.BUY, 0.01),
    ):
        with pytest.raises(ValidationError, match=f"BTCUSDT: -?{abs(value)!r} cannot be rounded"):
            round_it(value)


# -- text --------------------------------------------------------------------------------------


@given(units, counts)
def test_a_formatted_value_reads_back_as_itself_without_exponent(unit: float, count: int) -> None:
    item, value = instrument(unit), exact(count, unit)
    for text in (item.format_quantity(value), item.format_price(value)):
        assert float(text) == value
        assert Decimal(text) == count * Decimal(repr(unit))
        assert set(text) <= set("0123456789.")


def test_text_has_as_many_decimals_as_the_unit() -> None:
    assert instrument(0.001).format_quantity(2.0) == "2.000"
    assert instrument(1e-8).format_price(1e-8) == "0.00000001"
    assert instrument(0.25).format_price(100.5) == "100.50"
    assert instrument(10.0).format_price(40_000.0) == "40000"


# -- checks ------------------------------------------------------------------------------------

LIMITED = Instrument(
    "BTCUSDT", 0.1, 0.001, 0.002, 1_000.0, market_max_quantity=120.0, min_notional=100.0
)


@pytest.mark.parametrize(
    ("quantity", "price", "how", "words"),
    [
        (0.0, 40_000.0, {}, "quantity 0.0 is zero after rounding to step 0.001"),
        (-0.1, 40_000.0, {}, "quantity -0.1 is zero"),
        (math.nan, 40_000.0, {}, "quantity nan is zero"),
        (0.0025, 80_000.0, {}, "quantity 0.0025 is not a multiple of step 0.001"),
        (0.001, 400_000.0, {}, "quantity 0.001 is below the minimum 0.002"),
        (1_000.001, 100.0, {}, "quantity 1000.001 is above the maximum 1000.0"),
        (120.001, 100.0, {"market": True}, "quantity 120.001 is above the maximum 120.0"),
        (0.002, 40_000.0, {}, "notional 80 is below the minimum 100.0"),
        (0.5, 0.0, {}, "price 0.0 is not positive"),
        (0.5, math.nan, {"reduce_only": True}, "price nan is not positive"),
        (0.5, math.inf, {}, "price inf is not positive"),
    ],
)
def test_a_check_says_what_is_wrong_with_which_value(
    quantity: float, price: float, how: dict[str, bool], words: str
) -> None:
    assert LIMITED.check(quantity, price, **how).startswith(words)


@pytest.mark.parametrize(
    ("quantity", "price", "how"),
    [
        (0.002, 50_000.0, {}),
        (0.002, 40_000.0, {"reduce_only": True}),
        (120.001, 100.0, {}),
        (120.0, 100.0, {"market": True}),
        (1_000.0, 100.0, {}),
    ],
)
def test_a_check_is_silent_on_what_can_be(
    quantity: float, price: float, how: dict[str, bool]
) -> None:
    assert LIMITED.check(quantity, price, **how) == ""


@given(amounts())
def test_what_was_rounded_is_a_multiple_to_the_check(amount: tuple[float, float]) -> None:
    unit, asked = amount
    item = instrument(unit)
    assert "multiple" not in item.check(item.round_quantity(asked), 1.0)


@given(st.decimals("0.01", "1e6", places=2))
def test_decimal_rounding_agrees(asked: Decimal) -> None:
    """Money as it is typed: two decimals, rounded to cents, tenths and units."""
    for unit in (0.01, 0.1, 1.0):
        item, step = instrument(unit), Decimal(repr(unit))
        down = (asked / step).to_integral_value(ROUND_FLOOR) * step
        up = (asked / step).to_integral_value(ROUND_CEILING) * step
        assert item.round_quantity(float(asked)) == float(down)
        assert item.round_price(float(asked), Side.BUY) == float(down)
        assert item.round_price(float(asked), Side.SELL) == float(up)


# -- what an instrument can be -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tick": 0.0}, "tick 0.0 must be positive"),
        ({"tick": math.nan}, "tick nan must be positive"),
        ({"step": -0.1}, "step -0.1 must be positive"),
        ({"step": math.inf}, "step inf must be positive"),
        ({"min_quantity": -1.0}, "min_quantity -1.0 must be at least 0"),
        ({"min_notional": math.nan}, "min_notional nan must be at least 0"),
        ({"max_quantity": 0.0}, "max_quantity 0.0 must be positive"),
        ({"market_max_quantity": math.nan}, "market_max_quantity nan must be positive"),
        ({"min_quantity": 2.0, "max_quantity": 1.0}, "not below min_quantity 2.0"),
        ({"fee_taker": math.nan}, "fee_taker nan must be a fraction"),
        ({"fee_maker": 5.0}, "fee_maker 5.0 must be a fraction"),
        ({"brackets": ()}, "at least one margin bracket"),
        ({"brackets": (MarginBracket(5.0, 9.0, 0.1),)}, "from 5.0 to 9.0 must begin at 0.0"),
        (
            {"brackets": (MarginBracket(0.0, 0.0, 0.1),)},
            "from 0.0 to 0.0 must begin at 0.0 and end",
        ),
        ({"brackets": (MarginBracket(0.0, 9.0, 1.5),)}, "rate 1.5 must be a fraction"),
        (
            {"brackets": (MarginBracket(0.0, 9.0, 0.1), MarginBracket(8.0, 20.0, 0.2))},
            "from 8.0 to 20.0 must begin at 9.0",
        ),
    ],
)
def test_an_impossible_instrument_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Instrument("XUSDT", **change)
    assert "XUSDT" in str(caught.value)
    assert words in str(caught.value)


def test_an_unknown_instrument_rounds_to_cents_and_thousandths() -> None:
    item = Instrument("X")
    assert (item.tick, item.step, item.quote, len(item.brackets)) == (0.01, 0.001, "USDT", 1)


# -- margin ------------------------------------------------------------------------------------

TIERS = guess_instrument("BTCUSDT")


@pytest.mark.parametrize(
    ("notional", "rate"),
    [(0.0, 0.004), (49_999.99, 0.004), (50_000.0, 0.005), (600_000.0, 0.01), (1e9, 0.05)],
)
def test_a_notional_lies_in_the_tier_whose_cap_is_above_it(notional: float, rate: float) -> None:
    assert TIERS.bracket(notional).rate == rate


def test_the_last_tier_holds_what_is_beyond_all_caps() -> None:
    capped = Instrument("X", brackets=(MarginBracket(0.0, 100.0, 0.01),))
    assert capped.bracket(5_000.0).rate == 0.01
    assert capped.maintenance_margin(5_000.0) == 50.0


def test_maintenance_margin_is_rate_times_notional_less_the_tiers_amount() -> None:
    assert TIERS.maintenance_margin(10_000.0) == pytest.approx(40.0)
    assert TIERS.maintenance_margin(100_000.0) == pytest.approx(450.0)
    assert TIERS.maintenance_margin(1_000_000.0) == pytest.approx(6_950.0)


def test_maintenance_margin_does_not_jump_from_tier_to_tier() -> None:
    for below, above in zip(TIERS.brackets, TIERS.brackets[1:], strict=False):
        edge = above.floor
        assert edge * below.rate - below.amount == pytest.approx(edge * above.rate - above.amount)


@given(st.floats(0.0, 1e9), st.floats(0.0, 1e9))
def test_a_larger_position_never_needs_less_margin(one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert TIERS.maintenance_margin(small) <= TIERS.maintenance_margin(large) + 1e-6


def test_replacing_a_field_is_checked_too() -> None:
    with pytest.raises(ValidationError, match="tick"):
        msgspec.structs.replace(TIERS, tick=-1.0)


@given(lots=st.integers(1, 100_000), largest=st.integers(1, 5_000))
def test_market_orders_add_up_and_are_none_too_large_or_too_many(lots: int, largest: int) -> None:
    instrument = Instrument("X", step=0.001, market_max_quantity=largest / 1_000)
    parts = instrument.market_orders(lots / 1_000)
    assert instrument.nearest_quantity(sum(parts)) == lots / 1_000
    assert all(0.0 < part <= largest / 1_000 and instrument.is_quantity(part) for part in parts)
    assert len(parts) == -(-lots // largest)
