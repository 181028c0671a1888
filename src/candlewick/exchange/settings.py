"""`ExchangeSettings`: how the simulated exchange treats an account."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from candlewick.errors import ConfigError
from candlewick.models.enums import direct

__all__ = ["ExchangeSettings", "MarginType"]


@direct
class MarginType(StrEnum):
    """Whether a position is backed by the whole wallet or by its own margin only."""

    CROSS = "cross"
    ISOLATED = "isolated"


class ExchangeSettings(msgspec.Struct, frozen=True):
    """The rules of one account.

    ``slippage_bps`` worsens every taker fill by that many basis points. ``leverage`` is the start
    value for every symbol. ``funding_rate`` is paid by longs to shorts every
    ``funding_interval_h`` hours (UTC) where no recorded rates are given; 0.0 turns it off.
    ``fill_parts`` splits every fill into that many trades.
    """

    slippage_bps: float = 0.0
    leverage: int = 20
    margin_type: MarginType = MarginType.CROSS
    hedge_mode: bool = False
    funding_rate: float = 0.0
    funding_interval_h: int = 8
    fill_parts: int = 1

    def __post_init__(self) -> None:
        if not 0.0 <= self.slippage_bps < 1_000.0:
            raise ConfigError(f"slippage_bps {self.slippage_bps!r} must be from 0 to 1000")
        if not 1 <= self.leverage <= 125:
            raise ConfigError(f"leverage {self.leverage!r} must be from 1 to 125")
        if not -0.05 < self.funding_rate < 0.05:
            raise ConfigError(f"funding_rate {self.funding_rate!r} must be a fraction, as 0.0001")
        if self.funding_interval_h < 1:
            raise ConfigError(f"funding_interval_h {self.funding_interval_h!r} must be at least 1")
        if self.fill_parts < 1:
            raise ConfigError(f"fill_parts {self.fill_parts!r} must be at least 1")
