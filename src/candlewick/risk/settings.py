"""`RiskSettings`: the limits, all in one place."""

from __future__ import annotations

from typing import Literal

import msgspec

from candlewick.errors import ConfigError
from candlewick.models import TriggerPrice

__all__ = ["RiskSettings"]


class RiskSettings(msgspec.Struct, frozen=True):
    """What the engine may risk. Fractions are of the account's equity; 0 turns a limit off.

    ``risk_per_trade`` is lost when the stop of an entry is hit; ``allocation`` is the notional of
    an entry whose strategy gave neither size nor stop, divided by the symbols of the run.
    ``default_stop`` is the distance, as a fraction of the price, of the stop that such an entry
    gets. ``max_leverage`` bounds the notional of all positions together, ``max_position`` that of
    one symbol in quote currency.
    ``daily_loss`` halts trading until the next UTC day, with all positions closed.
    ``protect_within_ms`` is how long a fill may be without a confirmed stop.
    ``stop_trigger`` names the price that sets off stops and targets; the simulated exchange has one
    price only.
    ``foreign_positions`` says what becomes of a position that no order of ours has opened, added
    to or turned round: "adopt" protects it like one of ours, "close" closes it at market.
    ``tighten_to`` is the fraction of a stop's distance from the price that the policy to tighten
    leaves.
    """

    risk_per_trade: float = 0.01
    allocation: float = 0.95
    default_stop: float = 0.1
    max_leverage: float = 3.0
    max_position: float = 0.0
    max_open_positions: int = 0
    max_orders_per_minute: int = 120
    daily_loss: float = 0.2
    protect_within_ms: int = 3_000
    stop_trigger: TriggerPrice = TriggerPrice.LAST
    foreign_positions: Literal["adopt", "close"] = "adopt"
    tighten_to: float = 0.5

    def __post_init__(self) -> None:
        for name, low, high in (
            ("risk_per_trade", 0.0, 1.0),
            ("allocation", 0.0, 125.0),
            ("default_stop", 0.0, 0.99),
            ("max_leverage", 0.0, 125.0),
            ("daily_loss", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"risk.{name} {value!r} must be from {low:g} to {high:g}")
        for name in ("max_position", "max_open_positions", "max_orders_per_minute"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"risk.{name} {getattr(self, name)!r} must not be negative")
        if self.foreign_positions not in ("adopt", "close"):
            raise ConfigError(
                f"risk.foreign_positions {self.foreign_positions!r} must be adopt or close"
            )
        if not 0.0 < self.tighten_to < 1.0:
            raise ConfigError(f"risk.tighten_to {self.tighten_to!r} must be between 0 and 1")
        if self.protect_within_ms < 1:
            raise ConfigError("risk.protect_within_ms must be at least 1")
