"""Sizing: from a signal, the account and the limits to a quantity; worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlewick.errors import ConfigError
from candlewick.models import Instrument, Side, Signal, SignalAction
from candlewick.risk import DenialCode, Exposure, RiskSettings, size_entry, trail_of

INSTRUMENT = Instrument(
    "BTCUSDT", 0.1, 0.001, min_quantity=0.002, max_quantity=500.0, market_max_quantity=100.0,
    min_notional=5.0,
)  # fmt: skip
ACCOUNT = Exposure(10_000.0, 0.0, 0.0, 0)
BUY, SELL = SignalAction.BUY, SignalAction.SELL


def size(
    action: SignalAction = BUY,
    *,
    at: float = 100.0,
    account: Exposure = ACCOUNT,
    settings: RiskSettings | None = None,
    **wishes: Any,
) -> Any:
    signal = Signal("BTCUSDT", action, 0, **wishes)
    side = Side.BUY if action is BUY else Side.SELL
    return size_entry(signal, side, at, INSTRUMENT, account, settings or RiskSettings())


@pytest.mark.parametrize(("action", "stop"), [(BUY, 95.0), (SELL, 105.0)])
def test_the_quantity_loses_the_risked_fraction_between_price_and_stop(
    action: SignalAction, stop: float
) -> None:
    sized = size(action, risk=0.02, stop=stop)
    assert sized.code is None
    assert sized.quantity == 40.0, "2 % of 10,000 is 200; the stop is 5 away"
    assert sized.stop == stop


def test_a_stop_alone_risks_the_configured_fraction() -> None:
    assert size(stop=96.0).quantity == 25.0, "1 % of 10,000 is 100; 4 away"


def test_a_trailing_stop_is_sized_from_its_distance() -> None:
    assert size(risk=0.01, trail=0.02).quantity == 50.0
    assert size(SELL, risk=0.01, trail=0.02).quantity == 50.0


def test_a_risk_without_a_stop_is_sized_from_the_default_stop() -> None:
    sized = size(risk=0.01)
    assert (sized.quantity, sized.stop) == (10.0, 90.0)
    assert size(SELL, risk=0.01).stop == 110.0


def test_a_signal_without_size_or_stop_gets_its_share_of_the_allocation() -> None:
    assert size().quantity == 95.0
    four = ACCOUNT._replace(symbols=4)
    assert size(account=four).quantity == 23.75


def test_a_named_size_is_taken_as_it_is() -> None:
    sized = size(size=1.2345, stop=90.0, target=120.04)
    assert (sized.quantity, sized.stop, sized.target) == (1.234, 90.0, 120.1)


def test_without_a_default_stop_there_is_none() -> None:
    assert size(settings=RiskSettings(default_stop=0.0)).stop == 0.0


@pytest.mark.parametrize(
    ("action", "stop", "target", "stop_on_tick", "target_on_tick"),
    [(BUY, 95.03, 110.03, 95.1, 110.1), (SELL, 105.07, 90.07, 105.0, 90.0)],
)
def test_stops_are_rounded_to_trigger_earlier_and_targets_not_to_give_away(
    action: SignalAction, stop: float, target: float, stop_on_tick: float, target_on_tick: float
) -> None:
    sized = size(action, size=1.0, stop=stop, target=target)
    assert (sized.stop, sized.target) == (stop_on_tick, target_on_tick)


def test_what_risk_asks_for_is_cut_to_the_leverage_limit() -> None:
    assert size(risk=0.5, stop=99.0, price=100.0).quantity == 300.0, "not 5,000"
    limited = size(risk=0.5, stop=99.0, price=100.0, settings=RiskSettings(max_leverage=2.0))
    assert limited.quantity == 200.0


def test_other_positions_and_the_own_one_use_up_the_leverage() -> None:
    account = Exposure(10_000.0, 50.0, 15_000.0, 1)
    assert size(risk=0.9, stop=99.0, account=account).quantity == 100.0, "30,000 - 15,000 - 5,000"
    other_side = Exposure(10_000.0, -50.0, 25_000.0, 1)
    assert size(risk=0.9, stop=99.0, account=other_side).quantity == 50.0


def test_the_position_limit_cuts_too() -> None:
    assert size(settings=RiskSettings(max_position=4_000.0)).quantity == 40.0


@pytest.mark.parametrize(
    ("code", "context", "wishes", "settings", "account", "price"),
    [
        (DenialCode.NO_PRICE, {}, {}, {}, ACCOUNT, 0.0),
        (DenialCode.NO_PRICE, {}, {}, {}, ACCOUNT, math.nan),
        (DenialCode.SIZE_INVALID, {"size": -1.0}, {"size": -1.0}, {}, ACCOUNT, 100.0),
        (DenialCode.SIZE_INVALID, {"risk": 1.0}, {"risk": 1.0}, {}, ACCOUNT, 100.0),
        (DenialCode.SIZE_INVALID, {"price": -1.0}, {"price": -1.0}, {}, ACCOUNT, 100.0),
        (DenialCode.SIZE_INVALID, {"stop": math.inf}, {"stop": math.inf}, {}, ACCOUNT, 100.0),
        (DenialCode.SIZE_INVALID, {"target": -5.0}, {"target": -5.0}, {}, ACCOUNT, 100.0),
        (DenialCode.SIZE_INVALID, {"trail": 1.5}, {"trail": 1.5}, {}, ACCOUNT, 100.0),
        (DenialCode.STOP_WRONG_SIDE, {"price": 100.0, "stop": 100.0}, {"stop": 100.0}, {}, ACCOUNT,
         100.0),
        (DenialCode.TARGET_WRONG_SIDE, {"price": 100.0, "target": 99.0}, {"target": 99.0}, {},
         ACCOUNT, 100.0),
        (DenialCode.MAX_OPEN_POSITIONS, {"held": 2, "limit": 2}, {}, {"max_open_positions": 2},
         Exposure(10_000.0, 0.0, 0.0, 2), 100.0),
        (DenialCode.MAX_LEVERAGE, {"size": 301.0, "allowed": 300.0, "limit": 3.0},
         {"size": 301.0}, {}, ACCOUNT, 100.0),
        (DenialCode.MAX_LEVERAGE, {"size": 95.0, "allowed": 0.0, "limit": 3.0}, {}, {},
         Exposure(10_000.0, 0.0, 30_000.0, 1), 100.0),
        (DenialCode.MAX_POSITION, {"size": 41.0, "allowed": 40.0, "limit": 4_000.0},
         {"size": 41.0}, {"max_position": 4_000.0}, ACCOUNT, 100.0),
        (DenialCode.SIZE_TOO_SMALL, None, {"size": 0.0019}, {}, ACCOUNT, 10_000.0),
        (DenialCode.SIZE_TOO_SMALL, None, {"size": 0.04}, {}, ACCOUNT, 100.0),
        (DenialCode.SIZE_TOO_SMALL, None, {"risk": 1e-9, "stop": 50.0}, {}, ACCOUNT, 100.0),
        (DenialCode.SIZE_TOO_LARGE, None, {"size": 100.001}, {}, ACCOUNT, 100.0),
        (DenialCode.SIZE_TOO_LARGE, None, {"risk": 0.5, "stop": 99.0}, {}, ACCOUNT, 100.0),
        (DenialCode.SIZE_TOO_LARGE, None, {"size": 501.0, "price": 10.0}, {}, ACCOUNT, 10.0),
    ],
)  # fmt: skip
def test_a_wish_is_denied_with_the_figures_that_broke_the_rule(
    code: DenialCode,
    context: dict[str, float] | None,
    wishes: dict[str, float],
    settings: dict[str, Any],
    account: Exposure,
    price: float,
) -> None:
    sized = size(at=price, account=account, settings=RiskSettings(**settings), **wishes)
    assert sized.code is code
    assert sized.quantity == 0.0
    if context is not None:
        assert sized.context == context
    assert code.explanation.endswith(".")


@pytest.mark.parametrize("name", ["size", "risk", "price", "stop", "target", "trail"])
def test_a_wish_that_is_no_number_is_denied(name: str) -> None:
    sized = size(**{name: math.nan})
    assert sized.code is DenialCode.SIZE_INVALID
    assert list(sized.context) == [name]


def test_an_account_that_is_lost_opens_nothing() -> None:
    sized = size(stop=90.0, account=Exposure(-5.0, 0.0, 0.0, 0))
    assert sized.code in (DenialCode.MAX_LEVERAGE, DenialCode.SIZE_TOO_SMALL)


@given(
    action=st.sampled_from([BUY, SELL]),
    price=st.floats(1.0, 1e5),
    distance=st.floats(0.001, 0.5),
    risk=st.floats(0.0001, 0.2),
    equity=st.floats(10.0, 1e7),
    leverage=st.floats(0.5, 50.0),
)
def test_no_size_risks_more_than_asked_or_exceeds_a_limit(
    action: SignalAction,
    price: float,
    distance: float,
    risk: float,
    equity: float,
    leverage: float,
) -> None:
    price = INSTRUMENT.nearest_price(price)
    sign = 1.0 if action is BUY else -1.0
    sized = size(
        action, at=price, risk=risk, stop=price * (1.0 - sign * distance),
        account=Exposure(equity, 0.0, 0.0, 0), settings=RiskSettings(max_leverage=leverage),
    )  # fmt: skip
    if sized.code is not None:
        assert sized.quantity == 0.0
        return
    assert INSTRUMENT.is_quantity(sized.quantity)
    assert INSTRUMENT.is_price(sized.stop)
    assert INSTRUMENT.check(sized.quantity, price, market=True) == ""
    lost = sized.quantity * abs(price - sized.stop)
    assert lost <= risk * equity * (1.0 + 1e-9) + 1e-6
    assert sized.quantity * price <= leverage * equity * (1.0 + 1e-9) + 1e-6


@pytest.mark.parametrize(
    "settings",
    [
        {"risk_per_trade": 1.5},
        {"allocation": -0.1},
        {"default_stop": 1.0},
        {"max_leverage": 126.0},
        {"daily_loss": -0.1},
        {"max_position": -1.0},
        {"max_open_positions": -1},
        {"max_orders_per_minute": -1},
        {"protect_within_ms": 0},
    ],
)
def test_impossible_limits_are_refused_by_name(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ConfigError, match=f"risk.{name}"):
        RiskSettings(**settings)


@pytest.mark.parametrize(
    "wishes",
    [
        {"trail": 0.0009}, {"trail": 0.1001}, {"stop": 90.0, "target_trail": 0.01},
        {"stop": 90.0, "target": 120.0, "target_trail": 0.5},
    ],
)  # fmt: skip
def test_a_distance_that_no_exchange_takes_is_denied_before_the_entry(wishes: Any) -> None:
    assert size(risk=0.01, **wishes).code is DenialCode.TRAIL_OUT_OF_RANGE


@pytest.mark.parametrize(
    ("wanted", "taken"), [(0.001, 0.001), (0.1, 0.1), (0.01234, 0.0123), (0.00004, 0.0), (1.0, 0.0)]
)
def test_a_trailing_distance_is_taken_in_hundredths_of_a_percent(
    wanted: float, taken: float
) -> None:
    assert trail_of(wanted) == taken
