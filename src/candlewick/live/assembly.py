"""`network_system`: a system on a venue over a network, from its instruments to its memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from candlewick.audit import AuditLogger
from candlewick.backtesting import Account, Run
from candlewick.data import Market
from candlewick.engine import Memory, TradingEngine
from candlewick.errors import ConfigError
from candlewick.live.network import NetworkDriver, NetworkSettings
from candlewick.live.recovery import recover_from
from candlewick.live.system import HISTORY, SystemSettings, TradingSystem
from candlewick.models import Candle, CandleTable, interval_ms, utc_now_ms
from candlewick.risk import RiskSettings
from candlewick.strategies import Strategy, parameters_of
from candlewick.venues import Venue
from candlewick.venues.binance import Malformed

__all__ = ["Embedded", "MarketVenue", "network_system", "new_run_id"]

_log = logging.getLogger(__name__)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class MarketVenue(Venue, Protocol):
    """A venue that also knows the past of its market, and says what goes wrong on its streams."""

    def now(self) -> int:
        """The exchange's time, UTC ms, once `instruments` was called."""

    async def candles(self, symbol: str, interval: str, count: int) -> Sequence[Candle]:
        """Fetch the last closed candles, oldest first."""

    def report_to(
        self, on_fatal: Callable[[BaseException], None], on_malformed: Callable[[Malformed], None]
    ) -> None:
        """Tell what has ended a stream for good, and every message that cannot be understood."""


class Embedded(NamedTuple):
    """What is known of an exchange that lives and ends with the run.

    ``market`` are the candles that it plays. ``driver`` makes the driver, out of what
    `NetworkDriver` is made of.
    """

    market: Market
    driver: Callable[..., NetworkDriver]


def new_run_id() -> str:
    """A name for a run that no other run on the account has: its start, in base 36."""
    number, digits = utc_now_ms(), ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits


async def network_system(
    venue: MarketVenue,
    journal: AuditLogger,
    *,
    strategy: Strategy,
    name: str,
    symbols: Sequence[str],
    interval: str,
    risk: RiskSettings,
    settings: SystemSettings,
    network: NetworkSettings,
    embedded: Embedded | None = None,
    skip_broken: bool = False,
) -> TradingSystem:
    """Ask the venue for what can be traded and for the past, recall the journal, and wire up.

    The account of an ``embedded`` exchange is a new one: there is nothing to recall.
    ``skip_broken`` recalls what of a damaged journal can be read; else that raises JournalError.

    Raises:
        VenueError: the exchange refuses, or cannot be reached.
        ConfigError: the strategy and the interval do not fit, or there is no symbol.
    """
    if not symbols:
        raise ConfigError("at least one symbol is needed: --symbol BTCUSDT")
    higher = [other for other in dict.fromkeys(strategy.intervals) if other != interval]
    for other in higher:
        if interval_ms(other) <= interval_ms(interval):
            raise ConfigError(f"{name} wants {other} candles; run it on a shorter --interval")
    instruments = dict(await venue.instruments(symbols))
    account = settings.account or venue.name
    memory = None
    if embedded is None:
        directory = Path(journal.directory)
        memory = await asyncio.to_thread(recover_from, directory, account, skip_broken=skip_broken)
        _tell_of_what_is_left(memory, symbols)
    engine = TradingEngine(
        strategy,
        instruments,
        balance=0.0,
        interval=interval,
        risk=risk,
        run_id=settings.run_id,
        history=HISTORY,
        awaits_snapshot=True,
    )
    past = [await venue.candles(symbol, interval, HISTORY) for symbol in symbols]
    warm_up = sorted((candle for one in past for candle in one), key=lambda c: c.close_time)
    params = {key: getattr(strategy, key) for key in parameters_of(type(strategy))}
    market = embedded.market if embedded else _market(venue.name, symbols, interval, instruments)
    run = Run(strategy, name, params, market, instruments, (), Account())
    make_driver = embedded.driver if embedded else partial(NetworkDriver, now=venue.now)

    def driver(stopping: asyncio.Event) -> NetworkDriver:
        since = memory.last_time if memory is not None else 0
        return make_driver(venue, symbols, interval, network, stopping, warm_up, since, higher)

    system = TradingSystem(
        run, journal, engine, venue, driver, settings, over_network=True, memory=memory
    )
    venue.report_to(system.fail, system.recorder.malformed)
    return system


def _tell_of_what_is_left(memory: Memory | None, symbols: Sequence[str]) -> None:
    """Nobody looks after what an earlier run has left in a symbol that this one does not trade."""
    left = [name for name in memory.left_in() if name not in symbols] if memory else []
    if left:
        names = ", ".join(left)
        _log.warning(
            "an earlier run has left positions or orders in %s, which this run does not trade:"
            " nobody looks after them; trade them too, or close them with 'candlewick flatten'",
            names,
        )


def _market(
    name: str, symbols: Sequence[str], interval: str, instruments: Mapping[str, Any]
) -> Market:
    nothing = np.array([])
    tables = tuple(
        CandleTable(symbol, interval, nothing, nothing, nothing, nothing, nothing, nothing)
        for symbol in symbols
    )
    return Market(tables, dict(instruments), f"the market of {name}")
