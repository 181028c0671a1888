"""The venue on the sandbox, over real sockets, with each fault alone and with random mixtures.

A robot enters, protects, cancels and closes. Whatever went wrong meanwhile, what the venue has told
equals the exchange's books in the end: every order and its end, every trade and fee once, every
candle once and in order, and no order was carried out twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from candlewick.data import synthetic_market
from candlewick.data.market import market_of
from candlewick.errors import VenueError
from candlewick.models import (
    EventKind,
    Order,
    OrderStatus,
    OrderType,
    OrderUpdate,
    Side,
)
from candlewick.sandbox import Fault, Sandbox, SandboxSettings
from candlewick.venues.binance import ApiKeys, BinanceSettings, BinanceVenue
from tests.fault_rules import ALONE, STATES, goes_over_ws, mixture
from tests.venues.conftest import Heard

BTC = "BTCUSDT"
CANDLES = 3_000
_MARKET = market_of(synthetic_market([BTC], candles=CANDLES, seed=3))
_ENDS = {
    "FILLED": "filled", "CANCELED": "canceled", "EXPIRED": "expired", "REJECTED": "rejected",
}  # fmt: skip
_NAMES = list(ALONE)


class Robot:
    """Trades at random over a venue, as an engine would: one position, its stop, its end."""

    def __init__(self, venue: BinanceVenue, heard: Heard, seed: int) -> None:
        self.venue = venue
        self.heard = heard
        self.rng = random.Random(seed)
        self.sent: dict[str, Order] = {}
        self.since = venue.clock.now()

    def order(self, side: Side, kind: OrderType, quantity: float, **more: Any) -> Order:
        purpose = "stop" if kind.is_conditional else "close" if more else "entry"
        name = f"cw-robot-{len(self.sent) + 1:06d}-{purpose}"
        order = Order(name, BTC, side, kind, quantity, **more)
        self.sent[name] = order
        return order

    def last(self, order: Order) -> OrderUpdate | None:
        told = [u for u in self.heard.updates if u.client_id == order.client_id and u.code != -2011]
        final = [u for u in told if u.status.is_final]
        return (final or told or [None])[-1]

    def is_known(self, order: Order) -> bool:
        last = self.last(order)
        return last is not None and last.status is not OrderStatus.UNKNOWN

    def is_over(self, order: Order) -> bool:
        last = self.last(order)
        return last is not None and last.status.is_final

    @property
    def held(self) -> float:
        return round(sum(fill.side.sign * fill.quantity for fill in self.heard.fills), 6)

    async def round(self) -> None:
        price = self.heard.of(EventKind.PRICE_UPDATED)[-1].close
        side = self.rng.choice((Side.BUY, Side.SELL))
        quantity = self.rng.choice((0.005, 0.01, 0.02))
        entry = self.order(side, OrderType.MARKET, quantity)
        await self.venue.submit(entry)
        if not await self.wait(lambda: self.is_over(entry)):
            return
        if not self.held:
            return
        side = Side.SELL if self.held > 0 else Side.BUY
        distance = self.rng.choice((0.0005, 0.2))
        trigger = round(price * (1.0 - side.opposite.sign * distance), 1)
        stop = self.order(
            side, OrderType.STOP_MARKET, abs(self.held), trigger_price=trigger, reduce_only=True
        )
        await self.venue.submit(stop)
        await self.wait(lambda: self.is_known(stop))
        if distance < 0.01:
            await self.wait(lambda: self.is_over(stop))
        if self.held:
            await self.close(side, abs(self.held))
        if not self.is_over(stop):
            await self.venue.cancel(stop, 0)
            await self.wait(lambda: self.is_over(stop))

    async def close(self, side: Side, quantity: float) -> None:
        order = self.order(side, OrderType.MARKET, quantity, reduce_only=True)
        await self.venue.submit(order)
        await self.wait(lambda: self.is_over(order))

    async def wait(self, reached: Any) -> bool:
        try:
            async with asyncio.timeout(1.0):
                await self.heard.until(reached)
        except TimeoutError:
            return False
        return True

    async def reconcile(self) -> None:
        """Ask for what is missing, as the engine does after a snapshot."""
        snapshot = await self.venue.snapshot(self.since)
        listed = {order.client_id for order in snapshot.orders}
        for fill in snapshot.fills:
            known = {(f.symbol, f.trade_id) for f in self.heard.fills}
            if (fill.symbol, fill.trade_id) not in known:
                self.heard.publish(_event(EventKind.FILL_RECEIVED, fill))
        for order in self.sent.values():
            if not self.is_over(order) and order.client_id not in listed:
                update = await self.venue.query(order)
                if update is not None:
                    self.heard.publish(_event(EventKind.ORDER_UPDATED, update))
                elif not self.is_known(order):
                    rejected = OrderUpdate(order.client_id, BTC, OrderStatus.REJECTED, 0)
                    self.heard.publish(_event(EventKind.ORDER_UPDATED, rejected))


def _event(kind: EventKind, payload: Any) -> Any:
    from candlewick.models import Event

    return Event(kind, payload, 0)


async def play(faults: Sequence[Fault], seed: int, rounds: int) -> list[dict[str, Any]]:
    settings = SandboxSettings(speed=2_400.0, ticks=6, seed=seed, start="now")
    async with Sandbox(_MARKET, settings) as sandbox:
        heard = Heard()
        at = BinanceSettings.at(sandbox.rest_url, sandbox.ws_url)
        venue = BinanceVenue(
            msgspec.structs.replace(
                at, backoff_min_s=0.01, backoff_max_s=0.1, request_timeout_s=0.7,
                recv_window_ms=500, not_found_grace_s=0.2, confirm_after_s=0.15,
                late_candle_s=0.05, stale_after_s=0.6, heartbeat_s=0.6, max_entry_delay_s=0.2,
                orders_over_ws=goes_over_ws(faults, seed),
            ),
            ApiKeys(sandbox.api_key, sandbox.api_secret),
            on_malformed=heard.take_malformed, on_fatal=heard.fatal.append,
        )  # fmt: skip
        try:
            await venue.connect(heard.publish, [BTC], "1m")
            await heard.until(lambda: bool(heard.of(EventKind.PRICE_UPDATED)))
            robot = Robot(venue, heard, seed)
            for fault in faults:
                sandbox.world.add_fault(fault)
            for _ in range(rounds):
                await robot.round()
            with contextlib.suppress(TimeoutError):  # a stalled market may bring none
                async with asyncio.timeout(2.0):
                    await heard.until(lambda: len(heard.closed) > 15)
            report = sandbox.world.faults.report()
            sandbox.world.clear_faults()
            newest = sandbox.world.markets[BTC].bars.closed[-1].open_time
            await settle(sandbox, venue, robot)
            await heard.until(lambda: bool(heard.closed) and heard.closed[-1].open_time >= newest)
            compare(sandbox, robot, heard)
            return report
        finally:
            await venue.close()


async def settle(sandbox: Sandbox, venue: BinanceVenue, robot: Robot) -> None:
    """Let everything that is under way end; close what is held, cancel what rests."""
    async with asyncio.timeout(30):
        while True:
            await asyncio.sleep(0.1)
            try:
                await robot.reconcile()
            except VenueError:
                continue
            if not all(map(robot.is_known, robot.sent.values())):
                continue
            resting = [o for o in robot.sent.values() if not robot.is_over(o)]
            account = sandbox.first.account
            held = sum(p.quantity for p in account.exchange.positions())
            if not resting and not held:
                return
            for order in resting:
                await venue.cancel(order, 0)
            if held and abs(robot.held - held) < 1e-9:
                side = Side.SELL if held > 0 else Side.BUY
                await robot.close(side, abs(held))


def compare(sandbox: Sandbox, robot: Robot, heard: Heard) -> None:
    """What was told equals the exchange's books."""
    account = sandbox.first.account
    trades = {
        t.id: (t.side.lower(), t.price, t.quantity, round(t.commission, 8)) for t in account.trades
    }
    told = {f.trade_id: (str(f.side), f.price, f.quantity, round(f.fee, 8)) for f in heard.fills}
    assert told == trades
    assert len(heard.fills) == len(trades)
    made = [o.client_id for o in account.orders.values() if o.algo is None]
    made += [a.client_id for a in account.algos.values()]
    assert len(made) == len(set(made)), "an order was carried out twice"
    assert set(made) <= set(robot.sent)
    for order in robot.sent.values():
        last = robot.last(order)
        assert last is not None
        expected = end_of(sandbox, order)
        assert str(last.status) in expected, (order.client_id, last, expected)
        mine = [f for f in heard.fills if f.client_id == order.client_id]
        if str(last.status) == "filled":
            assert sum(f.quantity for f in mine) == pytest.approx(order.quantity)
    filled: dict[str, float] = {}
    for event in heard.events:  # an order never says more than its fills have said before
        if event.kind is EventKind.FILL_RECEIVED:
            name = event.payload.client_id
            filled[name] = filled.get(name, 0.0) + event.payload.quantity
        elif event.kind is EventKind.ORDER_UPDATED and event.payload.client_id in robot.sent:
            assert event.payload.filled <= filled.get(event.payload.client_id, 0.0) + 1e-9
    opened = [candle.open_time for candle in heard.closed]
    assert opened == list(range(opened[0], opened[0] + 60_000 * len(opened), 60_000))
    first = sandbox.world.markets[BTC].bars.rows("1m", opened[0], opened[-1], 10_000)
    assert [bar.close for bar in first[: len(opened)]] == [c.close for c in heard.closed]
    assert not heard.fatal


def end_of(sandbox: Sandbox, order: Order) -> tuple[str, ...]:
    """How an order has ended, according to the exchange."""
    account = sandbox.first.account
    if order.type.is_conditional:
        algos = [a for a in account.algos.values() if a.client_id == order.client_id]
        if not algos:
            return ("rejected",)
        made = algos[0].actual
        if made is not None and algos[0].status == "FINISHED":
            return (_ENDS[made.status],)
        return (_ENDS[algos[0].status],)
    orders = [o for o in account.orders.values() if o.client_id == order.client_id]
    return (_ENDS[orders[0].status],) if orders else ("rejected",)


@pytest.mark.parametrize("name", _NAMES)
async def test_each_fault_alone(name: str) -> None:
    report = await play(ALONE[name], _NAMES.index(name), rounds=3)
    for rule in report:
        assert rule["hit"] or rule["kind"] in STATES, f"{rule} has not struck"


@pytest.mark.parametrize("seed", range(4))
async def test_faults_in_random_mixtures(seed: int) -> None:
    await play(mixture(seed), seed, rounds=5)


@pytest.mark.slow
@pytest.mark.timeout(14_400)
async def test_faults_in_very_many_random_mixtures() -> None:
    for seed in range(4, 304):
        await play(mixture(seed), seed, rounds=8)


async def test_the_pings_of_the_exchange_are_answered_on_all_connections() -> None:
    """It drops a client that does not answer; this one stays, long after it should have."""
    settings = SandboxSettings(stepped=True, ping_s=0.05, pong_s=0.3)
    async with Sandbox(_MARKET, settings) as sandbox:
        heard = Heard()
        venue = BinanceVenue(
            BinanceSettings.at(sandbox.rest_url, sandbox.ws_url),
            ApiKeys(sandbox.api_key, sandbox.api_secret),
        )
        try:
            await venue.connect(heard.publish, [BTC], "1m")
            await heard.until(lambda: len(sandbox.world.hub.connections) == 3)
            begun = time.monotonic()
            await heard.until(
                lambda: all(c.heard - begun > 0.9 for c in sandbox.world.hub.connections)
            )
            assert len(sandbox.world.hub.connections) == 3
            for name in ("account", "market", "order"):
                assert venue.tally.events[f"{name}_connected"] == 1
                assert venue.tally.events[f"{name}_lost"] == 0
        finally:
            await venue.close()
