"""`SandboxSettings`: how the sandbox exchange behaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from candlewick.errors import ConfigError
from candlewick.exchange import ExchangeSettings

__all__ = ["Limits", "SandboxSettings", "told_limit"]


class Limits(msgspec.Struct, frozen=True):
    """What one address and one account may ask for; 0 turns a limit off.

    ``weight`` is a minute's, ``orders_10s`` and ``orders_1m`` count new and changed orders.
    Whoever goes on for ``strikes`` requests after a 429 is banned for ``ban_s`` seconds (418).
    """

    weight: int = 2_400
    orders_10s: int = 300
    orders_1m: int = 1_200
    strikes: int = 10
    ban_s: int = 120
    open_orders: int = 200
    conditional_orders: int = 200
    messages_1s: int = 10
    streams: int = 1_024


def told_limit(limit: int) -> int:
    """What clients are told of a limit: a very high one where there is none."""
    return limit or 1_000_000_000


class SandboxSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The sandbox's address, pace and rules.

    Args:
        host, port: where it listens; port 0 picks a free one.
        balance: wallet of each account at the start, quote currency.
        speed: multiples of real time; None is as fast as the slowest client reads. The market
            then moves a candle at a time, as a backtest does.
        stepped: the market moves only when it is told to, a candle at a time.
        ticks: prices inside a candle at a finite speed; 0 picks a number that fits the pace.
        history: how many of the first candles are over already when the sandbox starts.
        start: where the market's clock begins: ``now`` moves the data to the wall clock,
            ``week`` to the next whole number of weeks from its own time, so that days and weeks
            stay what they were; ``data`` leaves the recorded times, and gives the same ids to
            orders and trades each time. Empty picks ``now`` at real pace and ``week`` otherwise.
        api_key, api_secret: of the first account; made up when empty.
        exchange: slippage, leverage, funding.
        funding: recorded (time, rate) pairs by symbol, oldest first, in the times of the data; they
            replace the flat rate, and need ``start="data"``.
        limits: request limits.
        listen_key_s: life of a listen key without keepalive.
        connection_s: the age at which a connection is cut.
        ping_s, pong_s: time between pings, and how long a client may take to answer one.
        queue: messages that may wait for one client before it is cut off.
        unrouted_is_public: the paths without a route carry only depth and book tickers.
        algo_reduce_only: whether ``reduceOnly`` is taken with conditional orders (-1106 if not).
        seed: of the faults and of the synthetic market.
    """

    host: str = "127.0.0.1"
    port: int = 0
    balance: float = 10_000.0
    speed: float | None = 1.0
    stepped: bool = False
    ticks: int = 0
    history: int = 0
    start: Literal["", "now", "week", "data"] = ""
    api_key: str = ""
    api_secret: str = ""
    exchange: ExchangeSettings = ExchangeSettings()
    funding: Mapping[str, Sequence[tuple[int, float]]] = {}
    limits: Limits = Limits()
    listen_key_s: float = 3_600.0
    connection_s: float = 86_400.0
    ping_s: float = 180.0
    pong_s: float = 600.0
    queue: int = 20_000
    unrouted_is_public: bool = True
    algo_reduce_only: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port {self.port!r} must be from 0 to 65535")
        if not 0.0 < self.balance < 1e15:
            raise ConfigError(f"balance {self.balance!r} must be above 0")
        if self.speed is not None and not 0.0 < self.speed < 1e9:
            raise ConfigError(f"speed {self.speed!r} must be above 0, or 'max'")
        if self.ticks and self.ticks < 4:
            raise ConfigError(f"ticks {self.ticks!r} must be at least 4: open, high, low, close")
        if self.funding and self.start != "data":
            raise ConfigError(
                "recorded funding rates belong to the times of the data: start='data'"
            )
        if self.history < 0:
            raise ConfigError(f"history {self.history!r} must not be negative")

    @property
    def by_candles(self) -> bool:
        """True when the market moves a candle at a time."""
        return self.stepped or self.speed is None
