"""The whole engine on a sandbox where things go wrong, and the comparison of both sides' books.

The market is stepped: it moves on when the client has read and answered what it was told, or has
had its time to. So the faults, and not the speed of the machine, decide what happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from candlewick.audit import AuditLogger, EventType, Record, read, verify
from candlewick.data import synthetic_market
from candlewick.data.market import market_of
from candlewick.data.synthetic import SyntheticMarket
from candlewick.errors import ExitCode
from candlewick.live import Outcome, SystemSettings, TradingSystem
from candlewick.live.assembly import network_system, new_run_id
from candlewick.live.network import NetworkSettings
from candlewick.live.replay import replay
from candlewick.models import Candle, Fill, OrderPurpose
from candlewick.risk import RiskSettings
from candlewick.sandbox import Fault, Sandbox, SandboxSettings
from candlewick.sandbox.account import Account
from candlewick.sandbox.wire import money
from candlewick.strategies import Strategy
from candlewick.venues.binance import ApiKeys, BinanceSettings, BinanceVenue
from candlewick.venues.binance.failures import OutcomeUnknown

BTC = "BTCUSDT"
HISTORY = 5
_STARTS = 5
_PACE_S = 0.02  # how fast candles follow each other at most
_PATIENCE_S = (0.0, 0.1, 0.4)  # how much longer the market waits for a client that is not ready
_ENDS = {
    "FILLED": "filled", "CANCELED": "canceled", "EXPIRED": "expired", "REJECTED": "rejected",
}  # fmt: skip
_FINAL = {
    EventType.ORDER_FILLED: "filled", EventType.ORDER_CANCELED: "canceled",
    EventType.ORDER_REJECTED: "rejected", EventType.ORDER_EXPIRED: "expired",
}  # fmt: skip


class Restless(Strategy):
    """Enters, protects, moves stops, reverses and closes at random: all that an engine can ask."""

    seed = 0

    def on_start(self) -> None:
        self._chance = random.Random(self.seed)

    def on_candle(self, candle: Candle) -> None:
        chance, price = self._chance, candle.close
        buys = chance.random() < 0.5
        sign = 1.0 if buys else -1.0
        distance = chance.choice((0.0003, 0.002, 0.02))
        choice = chance.random()
        if any(order.purpose is OrderPurpose.ENTRY for order in self.orders) and choice < 0.5:
            self.cancel_entries()
        elif self.position.is_flat or choice < 0.25:
            enter = self.buy if buys else self.sell
            enter(
                size=chance.choice((0.005, 0.01, 0.02)),
                price=price * (1.0 - sign * 0.0002) if chance.random() < 0.2 else 0.0,
                target=price * (1.0 + sign * distance) if chance.random() < 0.5 else 0.0,
                **chance.choice(({"stop": price * (1.0 - sign * distance)}, {"trail": 0.005})),
            )
        elif choice < 0.45:
            self.close()
        elif choice < 0.55:
            self.close(size=0.005)
        elif choice < 0.7:
            side = 1.0 if self.position.is_long else -1.0
            self.move_stop(price * (1.0 - side * distance))


def impatient(sandbox: Sandbox, *, over_ws: bool) -> BinanceSettings:
    """Settings with which whatever is lost is looked for at once."""
    return msgspec.structs.replace(
        BinanceSettings.at(sandbox.rest_url, sandbox.ws_url),
        backoff_min_s=0.01, backoff_max_s=0.1, request_timeout_s=1.5, recv_window_ms=300,
        not_found_grace_s=0.1, confirm_after_s=0.1, late_candle_s=0.05, stale_after_s=0.8,
        heartbeat_s=0.8, max_entry_delay_s=0.2, orders_over_ws=over_ws,
    )  # fmt: skip


class NotStarted(Exception):
    """The engine's start was not answered in time."""


class Played(msgspec.Struct):
    """What is left when a run is over."""

    sandbox: Sandbox
    venue: BinanceVenue
    system: TradingSystem
    outcome: Outcome
    directory: Path
    report: list[dict[str, Any]]
    to_the_end: bool


async def play(
    faults: Sequence[Fault], seed: int, candles: int, directory: Path, *, over_ws: bool,
    to_the_end: bool = False, starting: asyncio.Lock | None = None,
) -> Played:  # fmt: skip
    """Run the engine through a market with faults; ``to_the_end`` while it stops, too.

    Runs beside each other share ``starting``: nothing is disturbed while an engine starts. On a
    machine so busy that a start is not answered within the short time of these settings, it is
    tried again.
    """
    for attempt in range(_STARTS - 1):
        with contextlib.suppress(NotStarted):
            return await _play(
                faults, seed, candles, directory / str(attempt), over_ws=over_ws,
                to_the_end=to_the_end, starting=starting,
            )  # fmt: skip
    return await _play(
        faults, seed, candles, directory / "last", over_ws=over_ws, to_the_end=to_the_end,
        starting=starting,
    )  # fmt: skip


async def _play(
    faults: Sequence[Fault], seed: int, candles: int, directory: Path, *, over_ws: bool,
    to_the_end: bool, starting: asyncio.Lock | None,
) -> Played:  # fmt: skip
    moving = SyntheticMarket(volatility=2.0)
    tables = synthetic_market([BTC], candles=HISTORY + candles, seed=seed, market=moving)
    settings = SandboxSettings(stepped=True, history=HISTORY, seed=seed)
    async with Sandbox(market_of(tables), settings) as sandbox:
        keys = ApiKeys(sandbox.api_key, sandbox.api_secret)
        venue = BinanceVenue(impatient(sandbox, over_ws=over_ws), keys)
        with AuditLogger(directory) as journal:
            running: asyncio.Task[Outcome] | None = None
            try:
                async with asyncio.timeout(60):
                    async with starting or asyncio.Lock():
                        try:
                            system = await system_on(venue, journal, seed)
                            running = asyncio.create_task(system.run())
                            await started(system, running)
                        except OutcomeUnknown as error:
                            raise NotStarted from error
                    await trade(sandbox, system, faults, random.Random(seed))
                    report = sandbox.world.faults.report()
                    if not to_the_end:
                        sandbox.world.clear_faults()
                        await at_rest(sandbox, system)
                    system.request_stop("the data has ended")
                    outcome = await running
            finally:
                if running is not None:
                    running.cancel()
                    await asyncio.wait([running])
                await venue.close()
        return Played(sandbox, venue, system, outcome, directory, report, to_the_end)


async def started(system: TradingSystem, running: asyncio.Task[Outcome]) -> None:
    """Wait until the account is known; raises what has kept the system from starting."""
    while system.engine.symbols[BTC].unknown:
        progress = asyncio.ensure_future(system.shell.progress())
        await asyncio.wait([running, progress], return_when=asyncio.FIRST_COMPLETED)
        progress.cancel()
        if running.done():
            running.result()


async def system_on(venue: BinanceVenue, journal: AuditLogger, seed: int) -> TradingSystem:
    """The whole live system, as `candlewick run` puts it together."""
    strategy = Restless()
    strategy.seed = seed
    return await network_system(
        venue, journal, strategy=strategy, name="restless", symbols=[BTC], interval="1m",
        risk=RiskSettings(max_orders_per_minute=0, daily_loss=0.0, max_leverage=0.0),
        settings=SystemSettings(run_id=new_run_id(), drain_timeout_s=10.0),
        network=NetworkSettings(reconcile_every_s=0.5, retry_s=0.05),
    )  # fmt: skip


async def trade(
    sandbox: Sandbox, system: TradingSystem, faults: Sequence[Fault], chance: random.Random
) -> None:
    """Play the whole market with faults."""
    for fault in faults:
        sandbox.world.add_fault(fault)
    moved = await sandbox.step()
    while not moved.ended:
        if moved.closed:
            await asyncio.sleep(_PACE_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.choice(_PATIENCE_S)):
                await answered(sandbox, system)
                await agreed(sandbox, system)
        moved = await sandbox.step()


async def agreed(sandbox: Sandbox, system: TradingSystem) -> None:
    """Wait until engine and exchange have the same open orders, and the engine may enter."""
    account, state = sandbox.first.account, system.engine.symbols[BTC]
    while (
        state.unknown
        or state.stale
        or set(state.orders) != {o.client_id for o in account.open_orders() + account.open_algos()}
    ):
        await system.shell.progress()


async def answered(sandbox: Sandbox, system: TradingSystem) -> None:
    """Wait until all that has been told has been answered.

    A client that answers a ping has read what came before it; after that its queues are emptied,
    and if that has sent something, what it set off is waited for in turn.
    """
    account, shell = sandbox.first.account, system.shell
    assert shell.sender is not None
    while True:
        before = (len(account.orders), len(account.algos), shell.engine.now)
        for connection in tuple(sandbox.world.hub.connections):
            await connection.read()
        await system.bus.drain()
        await shell.sender.drain()
        await system.bus.drain()
        if before == (len(account.orders), len(account.algos), shell.engine.now):
            return


async def at_rest(sandbox: Sandbox, system: TradingSystem) -> None:
    """Wait until nothing is under way, no state is unknown, and the candles are all there.

    All but the last: that it has closed is told once, and after that only by the next one.
    """
    engine, shell = system.engine, system.shell
    last = sandbox.world.markets[BTC].bars.closed[-1].open_time
    history = engine.history_of(BTC, "1m")
    while (
        engine.is_closing
        or engine.symbols[BTC].unknown
        or not len(history)
        or history.open_time[-1] < last - 60_000
    ):
        await shell.progress()


# -- the books ---------------------------------------------------------------------------------


def compare(played: Played) -> None:
    """The engine's books and the journal's equal the sandbox's, to the last trade and order."""
    assert not played.outcome.problems
    assert not played.outcome.error
    assert played.outcome.exit_code is ExitCode.OK
    assert verify(played.directory).ok
    records = list(read(played.directory))
    account = played.sandbox.first.account
    same_trades(played, records, account)
    same_orders(records, account)
    same_money(played, records, account)
    same_candles(played, records)
    malformed = sum(played.venue.tally.malformed.values())
    assert len(_data(records, EventType.MESSAGE_MALFORMED)) == malformed
    repeated = replay(played.directory, strategy=Restless)
    assert repeated.same, repeated.first_difference


def _data(records: Sequence[Record], kind: EventType) -> list[Any]:
    return [record.data for record in records if record.type == kind]


def same_trades(played: Played, records: Sequence[Record], account: Account) -> None:
    """Every trade was booked once, with its price, quantity and fee."""
    names = {order.order_id: order.client_id for order in account.orders.values()}
    theirs = {
        t.id: (names[t.order_id], t.side.lower(), t.price, t.quantity, float(money(t.commission)))
        for t in account.trades
    }
    told = [msgspec.convert(data, Fill) for data in _data(records, EventType.FILL)]
    assert len({fill.trade_id for fill in told}) == len(told), "a fill was told twice"
    listed = [
        msgspec.convert(fill, Fill)
        for snapshot in _data(records, EventType.ACCOUNT_SNAPSHOT)
        for fill in snapshot["fills"]
    ]
    ours = {f.trade_id: (f.client_id, str(f.side), f.price, f.quantity, f.fee)
            for f in [*listed, *told]}  # fmt: skip
    wrong = {name: (ours.get(name), theirs.get(name)) for name in {*ours, *theirs}
             if ours.get(name) != theirs.get(name)}  # fmt: skip
    assert not wrong, f"trades differ: {wrong}"
    assert played.system.engine.fills_booked == len(theirs)
    assert played.outcome.summary.fills == len(theirs)


def same_orders(records: Sequence[Record], account: Account) -> None:
    """Every order was sent once at most, exists once at most, and ended as the exchange says."""
    planned = [order["client_id"] for order in _data(records, EventType.ORDER_PLANNED)]
    sent = [order["client_id"] for order in _data(records, EventType.ORDER_SENT)]
    withheld = [order["client_id"] for order in _data(records, EventType.ORDER_WITHHELD)]
    assert len(set(planned)) == len(planned)
    assert sorted(sent + withheld) == sorted(planned), "planned orders are sent once, or withheld"
    made = [o.client_id for o in account.orders.values() if o.algo is None]
    made += [a.client_id for a in account.algos.values()]
    twice = [name for name, count in Counter(made).items() if count > 1]
    assert not twice, "an order was carried out twice"
    assert set(made) <= set(sent), "the exchange has an order that the journal does not know"
    ended: dict[str, tuple[str, float]] = {}
    for kind, status in _FINAL.items():
        for data in _data(records, kind):
            assert data["client_id"] not in ended, f"{data} has ended twice"
            ended[data["client_id"]] = (status, data["filled"])
    lost = set(planned) - set(ended)
    assert not lost, f"the engine does not know how these have ended: {lost}"
    for name, (status, filled) in ended.items():
        if name in withheld:
            assert filled == 0.0
            continue
        theirs = end_of(account, name)
        assert (status, filled) == theirs, f"{name} ended {status} {filled}, really {theirs}"


def end_of(account: Account, name: str) -> tuple[str, float]:
    """How an order has ended, and what it has filled, according to the exchange."""
    for algo in account.algos.values():
        if algo.client_id == name:
            made = algo.actual
            if made is not None and algo.status == "FINISHED":
                return _ENDS[made.status], made.executed
            return _ENDS[algo.status], 0.0
    for order in account.orders.values():
        if order.client_id == name:
            return _ENDS[order.status], order.executed
    return "rejected", 0.0


def same_money(played: Played, records: Sequence[Record], account: Account) -> None:
    """Fees, profit, position and wallet agree, by the ledger and by the journal."""
    engine, exchange = played.system.engine, account.exchange
    ledger = engine.symbols[BTC].ledger
    held = sum(position.quantity for position in exchange.positions())
    changes = [
        record.data["after"]["quantity"]
        for record in records
        if record.type in (EventType.POSITION_OPENED, EventType.POSITION_CHANGED,
                           EventType.POSITION_CLOSED)
    ]  # fmt: skip
    assert ledger.position.quantity == held == (changes or [0.0])[-1] == 0.0
    cent = 1e-6  # amounts travel with eight decimals
    fees = sum(trade.commission for trade in account.trades)
    assert ledger.fees == pytest.approx(fees, abs=cent)
    assert played.outcome.summary.fees == pytest.approx(fees, abs=cent)
    assert ledger.realized == pytest.approx(exchange.realized, abs=cent)
    assert ledger.funding == pytest.approx(exchange.funding_received, abs=cent)
    assert engine.balance == pytest.approx(exchange.balance, abs=cent)
    profit = sum(trade["profit"] for trade in _data(records, EventType.TRADE_COMPLETED))
    assert profit == pytest.approx(exchange.balance - 10_000.0, abs=cent)


def same_candles(played: Played, records: Sequence[Record]) -> None:
    """Every candle reached the strategy once and in order, as the market made it."""
    made = {bar.open_time: bar.close for bar in played.sandbox.world.markets[BTC].bars.closed}
    seen = [(data["open_time"], data["close"]) for data in _data(records, EventType.CANDLE_CLOSED)]
    opened = [open_time for open_time, _ in seen]
    assert opened == list(range(opened[0], opened[0] + 60_000 * len(opened), 60_000))
    assert played.to_the_end or opened[-1] >= max(made) - 60_000, "a candle is missing"
    assert all(close == made[open_time] for open_time, close in seen)
