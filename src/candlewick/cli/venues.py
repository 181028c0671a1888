"""From the configuration to a venue over a network: the exchange, its testnet, a sandbox."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import numpy as np

from candlewick.cli import options
from candlewick.config import Config
from candlewick.data import Market
from candlewick.errors import ConfigError, nearest
from candlewick.live.assembly import MarketVenue
from candlewick.live.paper import paper_account
from candlewick.logs import hide
from candlewick.models import CandleTable, interval_ms
from candlewick.venues.binance import ApiKeys, BinanceSettings, BinanceVenue
from candlewick.venues.paper import PaperVenue

__all__ = [
    "NETWORK",
    "VENUES",
    "Connection",
    "Place",
    "candles_of",
    "check_lasting",
    "check_venue",
    "keys_of",
    "opened",
    "place_of",
    "server_of",
]

NETWORK = ("sandbox", "paper", "binance-testnet", "binance")
VENUES = ("simulated", *NETWORK)
_AFTERWARDS = 1_000
_PLENTY = 1_000_000_000


Place = ApiKeys | Market | None
"""Keys for a server of somebody else, the market of a sandbox of one's own, or nothing: paper."""


class Connection(msgspec.Struct, frozen=True):
    """A venue, what its account is called in the journal, and the symbols and interval to trade."""

    venue: MarketVenue
    account: str
    symbols: tuple[str, ...]
    interval: str


def check_venue(config: Config, *, real_money: bool) -> None:
    """Raise ConfigError for an unknown venue, or for real money without a word about it."""
    name = config.run.venue
    if name not in VENUES:
        raise ConfigError(
            f"unknown venue {name!r}{nearest(name, VENUES)} (known: {', '.join(VENUES)})"
        )
    if bool(config.run.rest) != bool(config.run.ws):
        raise ConfigError("--rest and --ws belong together: give both")
    if name == "paper" and config.account.funding_rate:
        raise ConfigError(
            f"account.funding_rate {config.account.funding_rate!r} does not go with --venue paper:"
            " its funding is the market's own; leave it 0"
        )
    if name == "binance" and not config.run.rest and not real_money:
        raise ConfigError(
            "--venue binance trades with real money: say so with --real-money, or try"
            " --venue sandbox, which needs neither keys nor money"
        )


def check_lasting(config: Config, command: str) -> None:
    """Raise ConfigError unless the account outlives the process that trades on it."""
    check_venue(config, real_money=True)
    if config.run.venue == "paper":
        raise ConfigError(
            f"{command} has nothing to do on paper: that account is in the process of the run, and"
            " rests in its journal in between; stop the run, or start it again"
        )
    if config.run.venue == "simulated" or (config.run.venue == "sandbox" and not config.run.rest):
        raise ConfigError(
            f"{command} needs an account that outlives a run: --venue binance, or a server at"
            " --rest and --ws"
        )


def place_of(config: Config) -> Place:
    """Read what the venue needs before anything starts: keys, or the candles of a sandbox."""
    if config.run.venue == "paper":
        return None
    if config.run.venue != "sandbox" or config.run.rest:
        return keys_of(config)
    market = options.market_from(config)
    return msgspec.structs.replace(market, tables=tuple(map(_at_rest, market.tables)))


def _at_rest(table: CandleTable) -> CandleTable:
    """A table that goes on at its last price, so that positions can be closed in that market."""
    length = interval_ms(table.interval)
    times = table.open_time[-1] + length * np.arange(1, _AFTERWARDS + 1)
    last = np.full(_AFTERWARDS, table.close[-1])
    columns = {name: np.append(getattr(table, name), last) for name in ("open", "high", "low")}
    return CandleTable(
        table.symbol,
        table.interval,
        np.append(table.open_time, times),
        **columns,
        close=np.append(table.close, last),
        volume=np.append(table.volume, np.zeros(_AFTERWARDS)),
    )


def candles_of(config: Config, place: Place) -> int:
    """After how many candles the run ends; 0 means never."""
    if not isinstance(place, Market):
        return config.data.candles
    return sum(len(table) - _AFTERWARDS for table in place.tables)


def keys_of(config: Config) -> ApiKeys:
    """The account's keys, from the file of the configuration or the environment."""
    if config.run.keys_file:
        keys = ApiKeys.from_file(config.run.keys_file)
    else:
        keys = ApiKeys.from_environment(os.environ)
    hide(keys.key)
    hide(keys.secret)
    return keys


@asynccontextmanager
async def opened(config: Config, place: Place) -> AsyncIterator[Connection]:
    """Make the venue; a sandbox of its own is started, and stopped at the end."""
    if isinstance(place, Market):
        async with _sandbox(config, place) as connection:
            yield connection
        return
    settings = server_of(config)
    venue: MarketVenue
    if place is None:
        account = fingerprint(msgspec.structs.replace(settings, name="paper"))
        venue = await _on_paper(config, settings, account)
    else:
        account = fingerprint(settings, place)
        venue = BinanceVenue(settings, place, hide=hide)
    symbols = tuple(symbol.upper() for symbol in config.data.symbols) or ("BTCUSDT",)
    interval = config.data.interval or "1m"
    try:
        yield Connection(venue, account, symbols, interval)
    finally:
        await venue.close()


def server_of(config: Config) -> BinanceSettings:
    """Where the exchange is that the configuration names."""
    if config.run.rest:
        return BinanceSettings.at(config.run.rest, config.run.ws)
    if config.run.venue == "binance-testnet":
        return BinanceSettings.testnet()
    return BinanceSettings()


async def _on_paper(config: Config, settings: BinanceSettings, account: str) -> PaperVenue:
    """The paper account as the journal has it; a new one gets the configuration's cash."""
    directory, cash = Path(config.journal.directory), config.account.cash
    state = await asyncio.to_thread(paper_account, directory, account, cash)
    given = config.account
    return PaperVenue(settings, state, given.exchange, given.fee_taker, given.fee_maker)


@asynccontextmanager
async def _sandbox(config: Config, market: Market) -> AsyncIterator[Connection]:
    from candlewick.sandbox import Limits, Sandbox, SandboxSettings

    speed = config.data.speed
    # request limits count real time: a market that runs faster would break them at once
    limits = Limits()
    if speed != 1.0:
        limits = Limits(weight=_PLENTY, orders_10s=_PLENTY, orders_1m=_PLENTY)
    settings = SandboxSettings(
        balance=config.account.cash,
        speed=None if speed == "max" else float(speed),
        exchange=config.account.exchange,
        limits=limits,
        seed=config.data.seed,
    )
    async with Sandbox(market, settings) as sandbox:
        keys = ApiKeys(sandbox.api_key, sandbox.api_secret)
        hide(keys.secret)
        at = BinanceSettings.at(sandbox.rest_url, sandbox.ws_url)
        venue = BinanceVenue(msgspec.structs.replace(at, name="sandbox"), keys, hide=hide)
        account = fingerprint(at, keys)
        try:
            yield Connection(venue, account, market.symbols, market.interval)
        finally:
            await venue.close()


def fingerprint(settings: BinanceSettings, keys: ApiKeys | None = None) -> str:
    """A name for an account that gives nothing of its keys away; one on paper has none."""
    key = keys.key if keys is not None else ""
    digest = hashlib.sha256(f"{settings.rest_url} {key}".encode()).hexdigest()
    return f"{settings.name}-{digest[:12]}"
