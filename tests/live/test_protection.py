"""Protection in the running system: measured, checked against the price, told to people."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from candlewick.engine import AlarmKind, EngineState
from candlewick.errors import ExitCode
from candlewick.live import TradingSystem
from candlewick.live.observation import observe
from candlewick.models import (
    Event,
    EventKind,
    Order,
    OrderStatus,
    OrderType,
    Side,
    StreamState,
    TriggerPrice,
    utc_now_ms,
)
from candlewick.monitoring import Metrics
from tests.live.late_venue import SYMBOL, LateVenue, is_protected, play, until
from tests.live.test_network import records_of


def purposes(venue: LateVenue) -> list[str]:
    return [order.client_id.split("-")[-1] for order in venue.sent]


def trade_by_hand(venue: LateVenue, side: Side, quantity: float, client_id: str = "web_1") -> None:
    """Trade at the exchange's own website; nothing is told over the stream."""
    order = Order(client_id, SYMBOL, side, OrderType.MARKET, quantity)
    venue.exchange.submit(order, utc_now_ms())
    venue.exchange.tick(SYMBOL, venue.price, utc_now_ms())


# -- the price at the moment of sending --------------------------------------------------------


@pytest.mark.parametrize("by", list(TriggerPrice))
def test_a_stop_that_the_price_has_passed_is_not_sent_and_the_position_closes(
    tmp_path: Path, by: TriggerPrice
) -> None:
    """The price that counts is the one that triggers it; the other one does not matter."""

    async def script(system: TradingSystem, venue: LateVenue) -> None:
        venue.heard_prices = {by: 89.9}
        venue.candle(100.0)
        await until(system, lambda: "close" in purposes(venue))

    outcome, venue = play(tmp_path, script, stop_trigger=by)
    assert purposes(venue) == ["entry", "close"]
    assert not venue.exchange.positions()
    assert outcome.exit_code is ExitCode.OK
    (withheld,) = [r for r in records_of(tmp_path) if r["type"] == "order_withheld"]
    assert withheld["data"]["code"] == "trigger_passed"


@pytest.mark.parametrize("by", list(TriggerPrice))
def test_the_price_that_does_not_trigger_the_stop_keeps_none_back(
    tmp_path: Path, by: TriggerPrice
) -> None:
    (other,) = set(TriggerPrice) - {by}

    async def script(system: TradingSystem, venue: LateVenue) -> None:
        venue.heard_prices = {by: 100.0, other: 89.9}
        venue.candle(100.0)
        await until(system, lambda: is_protected(system))

    _, venue = play(tmp_path, script, stop_trigger=by)
    assert venue.sent[1].trigger_by is by


# -- measured ----------------------------------------------------------------------------------


def test_the_time_from_fill_to_confirmed_stop_is_measured(tmp_path: Path) -> None:
    found: list[Metrics] = []

    async def script(system: TradingSystem, venue: LateVenue) -> None:
        found.append(Metrics())
        observe(system, found[0], watchdog=None)  # type: ignore[arg-type]
        venue.candle(100.0)
        await until(system, lambda: is_protected(system))

    play(tmp_path, script, venue=LateVenue(delay_s=0.02))
    journey = found[0].journey
    assert (journey.protected.count, journey.closed.count) == (1, 0)
    assert 0.015e9 < journey.protected.sum_ns < 20e9  # one answer of 20 ms at least


def test_a_close_for_want_of_a_stop_is_measured_apart(tmp_path: Path) -> None:
    found: list[Metrics] = []

    async def script(system: TradingSystem, venue: LateVenue) -> None:
        found.append(Metrics())
        observe(system, found[0], watchdog=None)  # type: ignore[arg-type]
        venue.silent_stops = True
        venue.candle(100.0)
        await until(system, lambda: bool(found[0].journey.closed.count))

    play(tmp_path, script, protect_within_ms=150)
    journey = found[0].journey
    assert (journey.protected.count, journey.closed.count) == (0, 1)
    assert journey.closed.sum_ns > 0.14e9


# -- verified ----------------------------------------------------------------------------------


def test_after_an_emergency_the_account_is_asked_before_the_next_entry(tmp_path: Path) -> None:
    alarms: list[AlarmKind] = []
    system_alarms: list[dict[str, int]] = []

    async def script(system: TradingSystem, venue: LateVenue) -> None:
        async def hear(event: Event) -> None:
            if hasattr(event.payload, "kind"):
                alarms.append(event.payload.kind)

        system.bus.subscribe(EventKind.ENGINE_STATE_CHANGED, hear, name="test")
        venue.silent_stops = True
        venue.candle(100.0)
        state = system.engine.symbols[SYMBOL]
        await until(system, lambda: "is the position closed" in state.unknown)
        await until(system, lambda: not state.unknown)  # long before the next periodic one
        assert system.engine.is_settled or state.position.is_flat
        system_alarms.append(dict(system.tally.alarms))

    outcome, _ = play(tmp_path, script, protect_within_ms=150)
    assert outcome.exit_code is ExitCode.OK
    assert alarms == [AlarmKind.UNPROTECTED]
    assert system_alarms == [{"unprotected": 1}]
    kinds = [record["type"] for record in records_of(tmp_path)]
    assert kinds.index("alarm") < kinds.index("account_asked_for")


# -- positions and orders of others ------------------------------------------------------------


@pytest.mark.parametrize("policy", ["adopt", "close"])
def test_a_position_opened_by_hand_is_treated_as_the_policy_says(
    tmp_path: Path, policy: str
) -> None:
    async def script(system: TradingSystem, venue: LateVenue) -> None:
        venue.price = 100.0
        system.engine.symbols[SYMBOL].price = 100.0
        trade_by_hand(venue, Side.SELL, 2.0)
        venue.stream(StreamState.LIVE)
        if policy == "adopt":
            await until(system, lambda: is_protected(system))
            (stop,) = venue.exchange.open_orders()
            assert (stop.side, stop.quantity) == (Side.BUY, 2.0)
        else:
            await until(system, lambda: bool(system.tally.trades))
            assert not venue.exchange.positions()

    outcome, venue = play(tmp_path, script, foreign_positions=policy)
    assert outcome.exit_code is ExitCode.OK
    assert not venue.exchange.positions()
    assert not venue.exchange.open_orders()


def test_an_order_of_others_is_counted_told_and_left_alone(tmp_path: Path) -> None:
    async def script(system: TradingSystem, venue: LateVenue) -> None:
        theirs = Order("web_9", SYMBOL, Side.BUY, OrderType.LIMIT, 1.0, price=50.0)
        venue.exchange.tick(SYMBOL, 100.0, utc_now_ms())
        (report,) = venue.exchange.submit(theirs, utc_now_ms())
        assert report.status is OrderStatus.ACKNOWLEDGED  # type: ignore[union-attr]
        venue.stream(StreamState.LIVE)
        await until(system, lambda: bool(system.engine.symbols[SYMBOL].foreign))
        sources: Any = observe(system, Metrics(), watchdog=None)  # type: ignore[arg-type]
        assert sources.engine().foreign_orders == {SYMBOL: 1}

    outcome, venue = play(tmp_path, script)
    assert outcome.exit_code is ExitCode.OK, "what is not ours is not our problem"
    assert [order.client_id for order in venue.exchange.open_orders()] == ["web_9"]
    assert "foreign_order" in {record["type"] for record in records_of(tmp_path)}


# -- unknown at the moment of sending ----------------------------------------------------------


def test_doubt_that_comes_between_decision_and_sending_is_counted_by_its_code(
    tmp_path: Path,
) -> None:
    async def script(system: TradingSystem, venue: LateVenue) -> None:
        carry = system.shell.venue.submit

        async def never(order: Order) -> None:
            raise AssertionError(f"{order.client_id} was sent")

        system.shell.venue.submit = never  # type: ignore[method-assign]
        venue.candle(100.0)
        venue.stream(StreamState.LOST)  # taken by the engine before the lane carries the entry
        await until(system, lambda: bool(system.tally.withheld or system.tally.denials))
        system.shell.venue.submit = carry  # type: ignore[method-assign]
        counted = system.tally.withheld["unknown_state"] + system.tally.denials["unknown_state"]
        assert counted == 1

    outcome, venue = play(tmp_path, script)
    assert not venue.sent
    assert outcome.exit_code is ExitCode.OK


def test_an_answer_from_before_a_reconnect_is_thrown_away(tmp_path: Path) -> None:
    venue = LateVenue()
    asked = 0
    answer = venue.snapshot

    async def overtaken(since: int = 0) -> Any:
        nonlocal asked
        asked += 1
        found = await answer(since)
        if asked == 1:
            venue.stream(StreamState.LOST)
            venue.stream(StreamState.LIVE)
            await asyncio.sleep(0.01)  # the driver hears of it while the answer is under way
        return found

    venue.snapshot = overtaken  # type: ignore[method-assign]

    async def script(system: TradingSystem, late: LateVenue) -> None:
        assert asked >= 2, "the account is known only by what was asked after the reconnect"
        assert system.engine.state is EngineState.RUNNING

    play(tmp_path, script, venue=venue)
