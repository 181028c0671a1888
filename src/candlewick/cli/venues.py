"""From the configuration to a venue over a network: the exchange, its testnet, a sandbox."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec

from candlewick.backtesting import Run
from candlewick.config import Config
from candlewick.errors import ConfigError, nearest
from candlewick.live.assembly import Embedded, MarketVenue
from candlewick.live.network import NetworkSettings
from candlewick.live.paper import paper_account
from candlewick.logs import hide
from candlewick.venues.binance import ApiKeys, BinanceSettings, BinanceVenue
from candlewick.venues.paper import PaperVenue

__all__ = [
    "NETWORK",
    "VENUES",
    "Connection",
    "Place",
    "check_lasting",
    "check_venue",
    "embedded",
    "is_embedded",
    "keys_of",
    "opened",
    "place_of",
    "server_of",
]

NETWORK = ("sandbox", "paper", "binance-testnet", "binance")
VENUES = ("simulated", *NETWORK)


Place = ApiKeys | None
"""Keys for a server of somebody else, or nothing: paper."""


class Connection(msgspec.Struct, frozen=True):
    """A venue, what its account is called in the journal, and what is to be traded how.

    ``embedded`` is what is known of an exchange that ends with the run.
    """

    venue: MarketVenue
    account: str
    symbols: tuple[str, ...]
    interval: str
    network: NetworkSettings
    embedded: Embedded | None = None


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
    if name == "paper" and config.account.funding:
        raise ConfigError(
            "account.funding does not go with --venue paper: its funding is the market's own;"
            " leave it out"
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
    if config.run.venue == "simulated" or is_embedded(config):
        raise ConfigError(
            f"{command} needs an account that outlives a run: --venue binance, or a server at"
            " --rest and --ws"
        )


def is_embedded(config: Config) -> bool:
    """True where the run starts a sandbox of its own, which ends with it."""
    return config.run.venue == "sandbox" and not config.run.rest


def keys_of(config: Config) -> ApiKeys:
    """The account's keys, from the file of the configuration or the environment."""
    if config.run.keys_file:
        keys = ApiKeys.from_file(config.run.keys_file)
    else:
        keys = ApiKeys.from_environment(os.environ)
    hide(keys.key)
    hide(keys.secret)
    return keys


def place_of(config: Config) -> Place:
    """Read what the venue needs before anything starts: keys, which only paper does without."""
    return None if config.run.venue == "paper" else keys_of(config)


@asynccontextmanager
async def opened(config: Config, place: Place) -> AsyncIterator[Connection]:
    """Make the venue on somebody else's server; without keys it is paper."""
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
    network = NetworkSettings(
        reconcile_every_s=config.run.reconcile_every_s, candles=config.data.candles
    )
    try:
        yield Connection(venue, account, symbols, interval, network)
    finally:
        await venue.close()


def server_of(config: Config) -> BinanceSettings:
    """Where the exchange is that the configuration names, and how the account is to be there."""
    run = config.run
    if run.rest:
        settings = BinanceSettings.at(run.rest, run.ws)
    elif run.venue == "binance-testnet":
        settings = BinanceSettings.testnet()
    else:
        settings = BinanceSettings()
    return msgspec.structs.replace(
        settings,
        leverage=run.leverage,
        margin_type=run.margin_type,
        switch_to_one_way=run.switch_to_one_way,
    )


async def _on_paper(config: Config, settings: BinanceSettings, account: str) -> PaperVenue:
    """The paper account as the journal has it; a new one gets the configuration's cash."""
    directory, cash = Path(config.journal.directory), config.account.cash
    state = await asyncio.to_thread(paper_account, directory, account, cash)
    given = config.account
    return PaperVenue(settings, state, given.exchange, given.fee_taker, given.fee_maker)


@asynccontextmanager
async def embedded(config: Config, run: Run) -> AsyncIterator[Connection]:
    """Start a sandbox that plays the run's candles, and a venue on it; both end with the run.

    Market time is that of the candles; only signed requests go by the wall clock.
    """
    from candlewick.live.embedded import FlowingDriver, SteppedDriver, is_stepped, patient
    from candlewick.sandbox import Limits, Sandbox, SandboxSettings

    speed = None if config.data.speed == "max" else float(config.data.speed)
    stepped = is_stepped(run.market.interval, speed)
    market = msgspec.structs.replace(run.market, instruments=run.instruments)
    total = sum(len(table) for table in market.tables)
    settings = SandboxSettings(
        balance=run.account.cash,
        speed=speed,
        stepped=stepped,
        start="data",
        exchange=run.account.exchange,
        funding=run.account.funding,
        # request limits count real time: a market that runs faster would break them at once
        limits=Limits() if speed == 1.0 else Limits(weight=0, orders_10s=0, orders_1m=0),
        seed=config.data.seed,
    )
    async with Sandbox(market, settings) as sandbox:
        keys = ApiKeys(sandbox.api_key, sandbox.api_secret)
        hide(keys.secret)
        at = BinanceSettings.at(sandbox.rest_url, sandbox.ws_url)
        at = msgspec.structs.replace(
            patient(at) if stepped else at, name="sandbox", margin_asset=sandbox.world.asset,
            holes_are_known=True,  # they are in the data, and were told before the run
        )  # fmt: skip
        venue = BinanceVenue(at, keys, hide=hide)
        venue.clock.begin_at(sandbox.now)
        driver = (
            partial(SteppedDriver, sandbox, venue, total, speed)
            if stepped
            else partial(FlowingDriver, sandbox)
        )
        network = NetworkSettings(reconcile_every_s=config.run.reconcile_every_s, candles=total)
        try:
            yield Connection(
                venue, fingerprint(at, keys), market.symbols, market.interval, network,
                Embedded(market, driver),
            )  # fmt: skip
        finally:
            await venue.close()


def fingerprint(settings: BinanceSettings, keys: ApiKeys | None = None) -> str:
    """A name for an account that gives nothing of its keys away; one on paper has none."""
    key = keys.key if keys is not None else ""
    digest = hashlib.sha256(f"{settings.rest_url} {key}".encode()).hexdigest()
    return f"{settings.name}-{digest[:12]}"
