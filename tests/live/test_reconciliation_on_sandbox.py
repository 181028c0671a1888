"""Others act on the account over sockets of their own; the system finds out, and keeps in line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from candlewick.audit import EventType, read
from candlewick.data import synthetic_market
from candlewick.data.market import market_of
from candlewick.engine import AlarmKind
from candlewick.errors import ExitCode
from candlewick.models import (
    Candle,
    EventKind,
    Fill,
    OrderType,
    PositionSide,
    Side,
    SignalAction,
    TriggerPrice,
)
from candlewick.monitoring import Metrics
from candlewick.sandbox import Fault, FaultKind, Limits, Sandbox, SandboxSettings
from candlewick.strategies import Strategy
from candlewick.venues.binance import ApiKeys, BinanceSettings, BinanceVenue
from tests.live.on_sandbox import PRICE, SYMBOL, Player, market_at, play_on
from tests.sandbox.sandbox_client import Client

K = FaultKind
LIMIT = {"type": "LIMIT", "timeInForce": "GTC"}
STOP = {"algoType": "CONDITIONAL", "type": "STOP_MARKET"}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with market_at([PRICE] * 600) as made:
        yield made


@asynccontextmanager
async def another(sandbox: Sandbox, player: Player) -> AsyncIterator[Client]:
    """Another client of the same account, as a website would be."""
    async with aiohttp.ClientSession() as session:
        client = Client(sandbox, session)
        client.key, client.secret = player.client.api_key, player.client.secret
        yield client


async def trade(client: Client, side: str, quantity: str) -> None:
    await client.ask(
        "POST", "/v1/order", symbol=SYMBOL, side=side, type="MARKET", quantity=quantity
    )


UNHEARD = Fault(kind=FaultKind.DROP, route="private")
"""No news of the account arrives: only the account itself can be asked."""


@pytest.mark.parametrize("faults", [(), (UNHEARD,)], ids=["told", "asked for"])
@pytest.mark.parametrize("policy", ["adopt", "close"])
async def test_a_position_opened_by_hand_is_treated_as_the_policy_says(
    sandbox: Sandbox, tmp_path: Path, policy: str, faults: tuple[Fault, ...]
) -> None:
    async def script(player: Player) -> None:
        state = player.engine_symbol
        async with another(sandbox, player) as by_hand:
            await trade(by_hand, "SELL", "0.02")
            if policy == "adopt":
                await player.until(
                    lambda: state.position.quantity == -0.02 and not state.unprotected_since
                )
                (stop,) = player.resting
                assert (stop.side, stop.type, stop.quantity) == (
                    Side.BUY, OrderType.STOP_MARKET, 0.02,
                )  # fmt: skip
                await trade(by_hand, "BUY", "0.01")
                await player.until(lambda: player.stops() == 0.01 and len(player.resting) == 1)
                await trade(by_hand, "BUY", "0.01")
            await player.until(
                lambda: bool(player.client.account.trades) and not (player.held or player.resting)
            )
            await player.until(lambda: state.position.is_flat and not state.unknown)

    outcome, player = await play_on(
        sandbox, tmp_path, script, faults=faults, foreign_positions=policy, default_stop=0.05
    )
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    account = player.client.account
    assert player.system.engine.balance == pytest.approx(account.exchange.balance)
    if policy == "close":
        (_, close) = account.trades
        assert (close.side, close.quantity) == ("BUY", 0.02)


async def test_orders_of_others_stay_and_orphans_of_ours_go(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """Normal and conditional ones; a cancel or a list of one kind would miss the other."""

    async def script(player: Player) -> None:
        async with another(sandbox, player) as by_hand:
            for name in ("web_1", "cw-gone-000001-entry"):
                await by_hand.ask(
                    "POST", "/v1/order", symbol=SYMBOL, side="BUY", quantity="0.01", price="48000",
                    newClientOrderId=name, **LIMIT,
                )  # fmt: skip
            for name in ("web_2", "cw-gone-000002-stop", "cw-gone-000003-target"):
                await by_hand.ask(
                    "POST", "/v1/algoOrder", symbol=SYMBOL, side="SELL", quantity="0.01",
                    triggerPrice="40000", clientAlgoId=name, **STOP,
                )  # fmt: skip
            account = player.client.account
            await player.until(lambda: len(account.open_orders()) == len(account.open_algos()) == 1)
            await player.until(lambda: len(player.engine_symbol.foreign) == 2)

    outcome, player = await play_on(sandbox, tmp_path, script)
    assert outcome.exit_code is ExitCode.OK, "what is not ours is not our problem"
    account = player.client.account
    left = {o.client_id for o in (*account.open_orders(), *account.open_algos())}
    assert left == {"web_1", "web_2"}


async def test_what_happened_behind_a_lost_stream_is_known_right_after_the_reconnect(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """The next periodic comparison would be an hour later."""

    async def script(player: Player) -> None:
        player.signal(SignalAction.BUY, size=0.01, stop=PRICE * 0.9)
        state = player.engine_symbol
        await player.until(lambda: bool(state.stop_ids) and not state.unprotected_since)
        sandbox.world.add_fault(Fault(kind=FaultKind.REFUSE_USER_STREAM, count=2))
        async with another(sandbox, player) as by_hand:
            assert sandbox.cut("private") == 1
            await player.until(lambda: bool(state.unknown))
            await trade(by_hand, "SELL", "0.01")
            await player.until(lambda: state.position.is_flat and not state.unknown)
            await player.until(lambda: not player.resting)

    outcome, player = await play_on(sandbox, tmp_path, script, reconcile_every_s=3_600.0)
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    assert len(player.client.account.trades) == 2
    tally = player.system.tally
    assert tally.last_trade is not None
    assert tally.last_trade.exit_reason == "by hand", "the trade was fetched, not only its effect"
    assert tally.fees == pytest.approx(player.client.account.exchange.fees_paid)


@pytest.mark.parametrize("cause", ["ADL", "liquidation"])
async def test_a_position_that_the_exchange_cuts_keeps_a_stop_of_the_right_size(
    sandbox: Sandbox, tmp_path: Path, cause: str
) -> None:
    """For a liquidation that leaves something, an order of such a name stands on the streams."""

    async def script(player: Player) -> None:
        player.signal(SignalAction.BUY, size=0.02, stop=PRICE * 0.9)
        state = player.engine_symbol
        await player.until(lambda: bool(state.stop_ids) and not state.unprotected_since)
        if cause == "ADL":
            sandbox.world.deleverage(player.client, SYMBOL, PositionSide.BOTH, 0.015, PRICE * 1.01)
        else:
            async with another(sandbox, player) as exchange:
                await exchange.ask(
                    "POST", "/v1/order", symbol=SYMBOL, side="SELL", type="MARKET",
                    quantity="0.015", reduceOnly="true", newClientOrderId="autoclose-1",
                )  # fmt: skip
        await player.until(lambda: len(player.resting) == 1 and player.stops() == 0.005)

    outcome, player = await play_on(sandbox, tmp_path, script, foreign_positions="close")
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    records = list(read(tmp_path / "net"))
    (alarm,) = [r.data for r in records if r.type == "alarm"]
    assert alarm["text"] == f"{cause}: the exchange has cut it from 0.02 to 0.005"
    assert cause in {r.data["cause"] for r in records if r.type == "position_changed"}
    assert player.system.tally.fees == pytest.approx(player.client.account.exchange.fees_paid)


async def test_a_position_that_is_deleveraged_away_leaves_nothing_behind(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    async def script(player: Player) -> None:
        player.signal(SignalAction.BUY, size=0.02, stop=PRICE * 0.9, target=PRICE * 1.1)
        state = player.engine_symbol
        await player.until(lambda: len(player.resting) == 2 and not state.unprotected_since)
        sandbox.world.deleverage(player.client, SYMBOL, PositionSide.BOTH, 0.0, PRICE * 1.01)
        await player.until(lambda: state.position.is_flat and not player.resting)

    outcome, player = await play_on(sandbox, tmp_path, script)
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    tally = player.system.tally
    assert tally.last_trade is not None
    assert tally.last_trade.exit_reason == "ADL"
    assert tally.last_trade.profit == pytest.approx(
        player.client.account.exchange.balance - 10_000.0
    )


async def test_a_stop_by_the_mark_price_closes_where_only_that_one_falls(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    async def script(player: Player) -> None:
        player.signal(SignalAction.BUY, size=0.02, stop=PRICE * 0.99)
        state = player.engine_symbol
        await player.until(lambda: bool(state.stop_ids) and not state.unprotected_since)
        sandbox.world.set_mark(SYMBOL, PRICE * 0.991)
        assert player.stops() == 0.02
        sandbox.world.set_mark(SYMBOL, PRICE * 0.989)
        await player.until(lambda: state.position.is_flat and not player.resting)

    outcome, player = await play_on(sandbox, tmp_path, script, stop_trigger=TriggerPrice.MARK)
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    tally = player.system.tally
    assert tally.last_trade is not None
    assert tally.last_trade.exit_reason == "stop"
    assert tally.last_trade.exit_price == pytest.approx(PRICE)


class BuysTooMuch(Strategy):
    """Buys once, more than a fall of 6 % leaves margin for, and wants no stop."""

    done = False

    def on_candle(self, candle: Candle) -> None:
        if not self.done and not self.orders:
            self.buy(size=3.5)

    def on_fill(self, fill: Fill) -> None:
        self.done = True


async def test_a_liquidation_is_booked_told_and_leaves_nothing_resting(tmp_path: Path) -> None:
    alarms = []

    async def script(player: Player) -> None:
        async def hear(event: Any) -> None:
            if isinstance(getattr(event.payload, "kind", None), AlarmKind):
                alarms.append(event.payload)

        player.system.bus.subscribe(EventKind.ENGINE_STATE_CHANGED, hear, name="test")
        await player.until(lambda: player.system.tally.trades == 1, 60.0)
        await player.until(lambda: not player.resting)

    falling = [50_000.0, 50_000.0, 50_000.0, *(50_000.0 - 700.0 * n for n in range(40))]
    async with market_at(falling) as sandbox:
        outcome, player = await play_on(
            sandbox, tmp_path, script, strategy=BuysTooMuch(), default_stop=0.0, max_leverage=0.0
        )
    account = player.client.account.exchange
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    assert {alarm.kind for alarm in alarms} == {AlarmKind.CLOSED_BY_EXCHANGE}
    assert player.system.tally.last_trade is not None
    assert player.system.tally.last_trade.exit_reason == "liquidation"
    assert player.system.engine.balance == pytest.approx(account.balance, abs=1e-6)


async def test_a_position_that_fills_in_parts_is_covered_all_the_while(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """Every entry comes in seven trades; the stop grows, and each wait for it is measured."""
    sandbox.world.add_fault(Fault(kind=FaultKind.PARTIAL_FILLS, value=7))
    metrics = Metrics()

    async def script(player: Player) -> None:
        player.system.shell.journey = metrics.journey
        state = player.engine_symbol
        for held in (0.07, 0.14, 0.21):
            player.signal(SignalAction.BUY, size=0.07, stop=PRICE * 0.9)
            await player.until(
                lambda held=held: state.position.quantity == held and not state.unprotected_since
            )
            assert player.stops() >= held
        await player.until(lambda: len(player.resting) == 1)

    outcome, player = await play_on(sandbox, tmp_path, script)
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    journey = metrics.journey
    assert journey.protected.count >= 3
    assert journey.closed.count == 0
    assert journey.protected.sum_ns / journey.protected.count < 3e9, "the bound"
    assert not [o for o in player.client.account.orders.values() if "close" in o.client_id][1:]


@pytest.mark.parametrize("count", [1, 20, 40])
async def test_comparing_every_thirty_seconds_leaves_the_request_budget_to_orders(
    count: int,
) -> None:
    symbols = [f"{'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[n % 26]}{n}USDT" for n in range(count)]
    market = market_of(synthetic_market(symbols, candles=60, seed=2))
    limits = Limits()
    async with Sandbox(market, SandboxSettings(history=50, limits=limits)) as exchange:
        venue = BinanceVenue(
            BinanceSettings.at(exchange.rest_url, exchange.ws_url),
            ApiKeys(exchange.api_key, exchange.api_secret),
        )
        try:
            await venue.connect(lambda event: None, symbols, "1m")
            used = exchange.world.weights.use("127.0.0.1", 0)
            await venue.snapshot(since=venue.clock.now())
            weight = exchange.world.weights.use("127.0.0.1", 0) - used
        finally:
            await venue.close()
    assert weight * 2 <= limits.weight * 0.3, f"{count} symbols: {weight} each half minute"


async def test_trades_are_asked_for_from_the_start_on_by_the_exchanges_clock(
    tmp_path: Path,
) -> None:
    """With a clock of ours that is an hour ahead, none would be found for an hour."""
    async with market_at([PRICE] * 600) as sandbox:
        sandbox.world.add_fault(Fault(kind=K.SKEW, value=-3_600_000))

        async def script(player: Player) -> None:
            """The start is enough."""

        await play_on(sandbox, tmp_path, script)
        (started,) = read(tmp_path / "net", types=[EventType.ENGINE_STARTED])
        assert abs(started.data["time"] - sandbox.world.server_ms) < 120_000
