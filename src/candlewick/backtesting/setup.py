"""`prepare`: the parts of a run over known candles, put together in one place.

Backtests and live runs on the simulated venue both start here, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from candlewick.data import Market, aggregate
from candlewick.errors import ConfigError
from candlewick.exchange import ExchangeSettings
from candlewick.models import CandleTable, Instrument
from candlewick.strategies import Strategy, build_strategy, load_strategy, parameters_of

__all__ = ["Account", "Run", "prepare"]


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The account that a simulated run trades on.

    ``cash`` is the wallet at the start, in quote currency. ``fee_taker`` and ``fee_maker`` are
    fractions of the notional; where they are None, the instrument's own are taken.
    """

    cash: float = 10_000.0
    fee_taker: float | None = None
    fee_maker: float | None = None
    exchange: ExchangeSettings = ExchangeSettings()
    funding: Mapping[str, Sequence[tuple[int, float]]] = {}

    def __post_init__(self) -> None:
        if not 0.0 < self.cash < 1e15:
            raise ConfigError(f"cash {self.cash!r} must be positive")
        for name in ("fee_taker", "fee_maker"):
            fee = getattr(self, name)
            if fee is not None and not -0.01 <= fee <= 0.1:
                raise ConfigError(f"{name} {fee!r} must be a fraction, as 0.0005")


class Run(msgspec.Struct, frozen=True):
    """A strategy, and what it is to run on: instruments with their fees, tables of all intervals.

    ``tables`` holds the base tables first, then those of the strategy's other intervals.
    """

    strategy: Strategy
    name: str
    params: dict[str, Any]
    market: Market
    instruments: dict[str, Instrument]
    tables: tuple[CandleTable, ...]
    account: Account


def prepare(
    strategy: str | type[Strategy],
    market: Market,
    *,
    params: Mapping[str, Any] | None = None,
    account: Account | None = None,
) -> Run:
    """Build the strategy with its parameters, the tables it needs, and instruments with fees."""
    account = account or Account()
    if foreign := [symbol for symbol in account.funding if symbol not in market.symbols]:
        raise ConfigError(
            f"funding rates of {', '.join(foreign)}, which does not run"
            f" (symbols: {', '.join(market.symbols)})"
        )
    made = build_strategy(
        load_strategy(strategy) if isinstance(strategy, str) else strategy, params
    )
    changes = {
        name: fee
        for name in ("fee_taker", "fee_maker")
        if (fee := getattr(account, name)) is not None
    }
    instruments = {
        symbol: msgspec.structs.replace(item, **changes)
        for symbol, item in market.instruments.items()
    }
    others = [
        aggregate(table, interval)
        for interval in dict.fromkeys(made.intervals)
        if interval != market.interval
        for table in market.tables
    ]
    name = strategy if isinstance(strategy, str) else strategy.__name__
    used = {key: getattr(made, key) for key in parameters_of(type(made))}
    return Run(made, name, used, market, instruments, (*market.tables, *others), account)
