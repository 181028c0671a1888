"""Whole systems on a sandbox, over real sockets, each with an account and faults of its own.

The market stands still at one price, and trades: what happens is what the faults make happen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

import msgspec
import numpy as np

from candlewick.audit import AuditLogger
from candlewick.data.market import market_of
from candlewick.engine import StopPolicy
from candlewick.live import Outcome, SystemSettings, TradingSystem
from candlewick.live.assembly import network_system
from candlewick.live.cleanup import CleanupSettings
from candlewick.live.network import NetworkSettings
from candlewick.models import (
    CandleTable,
    Event,
    EventKind,
    Order,
    OrderType,
    Position,
    Signal,
    SignalAction,
    utc_now_ms,
)
from candlewick.risk import RiskSettings
from candlewick.sandbox import Fault, Limits, Sandbox, SandboxSettings
from candlewick.sandbox.keys import Client
from candlewick.strategies import Strategy
from candlewick.venues.binance import ApiKeys, BinanceSettings, BinanceVenue

SYMBOL = "BTCUSDT"
PRICE = 50_000.0
_PLENTY = 1_000_000_000
_HISTORY = 50


def table_of(closes: Sequence[float]) -> CandleTable:
    """Minutes with these closes, each opening where the one before closed."""
    ends = np.array(closes, dtype=float)
    opens = np.concatenate((ends[:1], ends[:-1]))
    return CandleTable(
        SYMBOL, "1m", 60_000 * np.arange(len(ends)), opens, np.maximum(opens, ends),
        np.minimum(opens, ends), ends, np.ones(len(ends)),
    )  # fmt: skip


def market_at(prices: Sequence[float], *, stepped: bool = False, **rules: float) -> Sandbox:
    """An exchange that has been at the first price and then goes through the others.

    A minute of the market is a second, with ten prices; ``stepped``: a candle at each step.
    ``rules`` are those of the instrument that are not as usual.
    """
    settings = SandboxSettings(
        speed=None if stepped else 60.0, stepped=stepped, ticks=0 if stepped else 10,
        history=_HISTORY, limits=Limits(weight=_PLENTY, orders_10s=_PLENTY, orders_1m=_PLENTY),
    )  # fmt: skip
    market = market_of([table_of([prices[0]] * _HISTORY + list(prices))])
    instruments = {
        name: msgspec.structs.replace(found, **rules) for name, found in market.instruments.items()
    }
    return Sandbox(msgspec.structs.replace(market, instruments=instruments), settings)


class Player:
    """One system, and what the exchange has of its account."""

    def __init__(self, system: TradingSystem, client: Client) -> None:
        self.system = system
        self.client = client

    @property
    def engine_symbol(self):  # type: ignore[no-untyped-def]
        return self.system.engine.symbols[SYMBOL]

    @property
    def held(self) -> float:
        """What the exchange says is held, signed."""
        positions: list[Position] = self.client.account.exchange.positions()
        return positions[0].quantity if positions else 0.0

    @property
    def resting(self) -> list[Order]:
        return self.client.account.exchange.open_orders(SYMBOL)

    def stops(self) -> float:
        """The quantity that stops at the exchange cover."""
        kinds = (OrderType.STOP_MARKET, OrderType.TRAILING_STOP_MARKET)
        return sum(order.quantity for order in self.resting if order.type in kinds)

    @property
    def is_safe(self) -> bool:
        """Flat, or covered by stops: the exchange's word, not the engine's."""
        return self.stops() >= abs(self.held) - 1e-9

    def signal(self, action: SignalAction, **wishes: float) -> None:
        signal = Signal(SYMBOL, action, self.system.engine.now, **wishes)  # type: ignore[arg-type]
        self.system.shell.publish(Event(EventKind.SIGNAL_GENERATED, signal, utc_now_ms()))

    async def until(self, reached: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait until what the engine has heard of makes ``reached`` true."""
        async with asyncio.timeout(seconds):
            while not reached():
                await self.system.shell.progress()


async def play_on(
    sandbox: Sandbox,
    directory: Path,
    script: Callable[[Player], Awaitable[None]],
    *,
    name: str = "net",
    strategy: Strategy | None = None,
    policy: StopPolicy = StopPolicy.FLATTEN,
    faults: Sequence[Fault] = (),
    over_ws: bool = False,
    cleanup_timeout_s: float = 20.0,
    reconcile_every_s: float = 1.0,
    **risk: object,
) -> tuple[Outcome, Player]:
    """Run a system while ``script`` plays; returns its outcome and its account's books.

    ``name`` is the run's: ``cw-<name>-*`` in a fault means the orders of this system.
    """
    async with _one_at_a_time(sandbox):
        player, running = await _start(sandbox, directory, name, strategy, policy, over_ws,
                                       cleanup_timeout_s, reconcile_every_s, risk)  # fmt: skip
    for fault in faults:
        sandbox.world.add_fault(fault)
    try:
        await script(player)
    finally:
        player.system.request_stop("the script is over")
        outcome = await running
    return outcome, player


_starting: WeakKeyDictionary[Sandbox, asyncio.Lock] = WeakKeyDictionary()


def _one_at_a_time(sandbox: Sandbox) -> asyncio.Lock:
    """Systems that start beside each other would wait for each other's requests."""
    return _starting.setdefault(sandbox, asyncio.Lock())


async def _start(
    sandbox: Sandbox,
    directory: Path,
    name: str,
    strategy: Strategy | None,
    policy: StopPolicy,
    over_ws: bool,
    cleanup_timeout_s: float,
    reconcile_every_s: float,
    risk: dict[str, object],
) -> tuple[Player, asyncio.Task[Outcome]]:
    client = sandbox.world.add_client()
    at = BinanceSettings.at(sandbox.rest_url, sandbox.ws_url)
    patience = msgspec.structs.replace(
        at, orders_over_ws=over_ws, recv_window_ms=1_000, request_timeout_s=3.0,
        not_found_grace_s=0.2, confirm_after_s=0.3, backoff_min_s=0.05, backoff_max_s=0.5,
    )  # fmt: skip
    venue = BinanceVenue(patience, ApiKeys(client.api_key, client.secret))
    settings = SystemSettings(
        run_id=name, on_stop=policy, drain_timeout_s=3.0,
        cleanup=CleanupSettings(timeout_s=cleanup_timeout_s, settle_s=3.0),
    )  # fmt: skip
    limits = {"daily_loss": 0.0, "protect_within_ms": 3_000, **risk}
    system = await network_system(
        venue, AuditLogger(directory / name), strategy=strategy or Strategy(), name="scripted",
        symbols=[SYMBOL], interval="1m", risk=RiskSettings(**limits),  # type: ignore[arg-type]
        settings=settings,
        network=NetworkSettings(reconcile_every_s=reconcile_every_s, retry_s=0.05),
    )  # fmt: skip
    player = Player(system, client)
    running = asyncio.create_task(system.run())
    await player.until(lambda: not player.engine_symbol.unknown)
    return player, running
