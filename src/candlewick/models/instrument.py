"""`Instrument`: what can be traded and in which units; the one place that rounds and formats."""

from __future__ import annotations

import math
from decimal import Decimal
from functools import lru_cache

import msgspec

from candlewick.errors import ValidationError
from candlewick.models.orders import Side

__all__ = ["Instrument", "MarginBracket"]

_SLACK = 1e-9  # a float such as 0.29999999999999993 lots is 0.3 lots


@lru_cache(maxsize=4096)
def _decimals(unit: float) -> int:
    """Number of decimals in ``unit``: 0.001 -> 3, 5.0 -> 0."""
    exponent = Decimal(repr(unit)).normalize().as_tuple().exponent
    return max(0, -int(exponent))


class MarginBracket(msgspec.Struct, frozen=True, gc=False):
    """One tier of maintenance margin, for a notional of at least ``floor`` and below ``cap``.

    Maintenance margin is ``notional * rate - amount`` (quote currency), Binance's formula:
    https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93
    """

    floor: float
    cap: float
    rate: float
    amount: float = 0.0
    max_leverage: int = 20


_ONE_BRACKET = (MarginBracket(0.0, math.inf, 0.005, 0.0, 125),)


class Instrument(msgspec.Struct, frozen=True):
    """A perpetual contract.

    ``tick`` and ``step`` are the units of price and quantity, ``min_quantity`` and
    ``max_quantity`` bound one order, ``market_max_quantity`` a market order,
    ``min_notional`` is in quote currency. Fees are fractions of the notional.
    """

    symbol: str
    tick: float = 0.01
    step: float = 0.001
    min_quantity: float = 0.0
    max_quantity: float = math.inf
    market_max_quantity: float = math.inf
    min_notional: float = 0.0
    fee_maker: float = 0.0002
    fee_taker: float = 0.0005
    liquidation_fee: float = 0.0125
    base: str = ""
    quote: str = "USDT"
    brackets: tuple[MarginBracket, ...] = _ONE_BRACKET

    def __post_init__(self) -> None:
        for name in ("tick", "step"):
            value = getattr(self, name)
            if not (0.0 < value < math.inf):
                raise ValidationError(f"{self.symbol}: {name} {value!r} must be positive")
        if not self.brackets:
            raise ValidationError(f"{self.symbol}: at least one margin bracket is needed")

    def round_quantity(self, quantity: float) -> float:
        """Round down to a whole number of steps, never above what was asked for."""
        return self._multiple(math.floor(quantity / self.step + _SLACK), self.step)

    def nearest_quantity(self, quantity: float) -> float:
        """Round to the nearest step; for sums of exact quantities, which carry float noise."""
        return self._multiple(round(quantity / self.step), self.step)

    def round_price(self, price: float, side: Side) -> float:
        """Round a limit price to a tick, never worse than asked: a buy down, a sell up."""
        ticks = price / self.tick
        whole = math.floor(ticks + _SLACK) if side is Side.BUY else math.ceil(ticks - _SLACK)
        return self._multiple(whole, self.tick)

    def round_stop(self, price: float, side: Side) -> float:
        """Round a stop to the safe side, where it triggers earlier: a sell up, a buy down."""
        return self.round_price(price, side)

    def nearest_price(self, price: float) -> float:
        """Round to the nearest tick."""
        return self._multiple(round(price / self.tick), self.tick)

    def slip(self, price: float, side: Side, rate: float) -> float:
        """Worsen ``price`` by the fraction ``rate`` for a taker, to a whole tick."""
        if rate == 0.0:
            return price
        ticks = price * (1.0 + side.sign * rate) / self.tick
        whole = math.ceil(ticks - _SLACK) if side is Side.BUY else math.floor(ticks + _SLACK)
        return self._multiple(max(whole, 1), self.tick)

    def check(
        self, quantity: float, price: float, *, market: bool = False, reduce_only: bool = False
    ) -> str:
        """Say why an order of ``quantity`` at ``price`` cannot be, or return an empty string.

        A reduce-only order is exempt from the minimum notional, as on the exchange.
        """
        if quantity <= 0.0:
            return f"quantity {quantity!r} is zero after rounding to step {self.step!r}"
        if not self.is_quantity(quantity):
            return f"quantity {quantity!r} is not a multiple of step {self.step!r}"
        if quantity < self.min_quantity:
            return f"quantity {quantity!r} is below the minimum {self.min_quantity!r}"
        largest = min(self.max_quantity, self.market_max_quantity if market else math.inf)
        if quantity > largest:
            return f"quantity {quantity!r} is above the maximum {largest!r}"
        if not reduce_only and quantity * price < self.min_notional:
            return f"notional {quantity * price:.8g} is below the minimum {self.min_notional!r}"
        return ""

    def is_quantity(self, quantity: float) -> bool:
        """True for an exact multiple of the step."""
        return quantity == self._multiple(round(quantity / self.step), self.step)

    def is_price(self, price: float) -> bool:
        """True for an exact multiple of the tick."""
        return price == self._multiple(round(price / self.tick), self.tick)

    def format_quantity(self, quantity: float) -> str:
        """Write a quantity as the exchange wants it, without exponent."""
        return f"{quantity:.{_decimals(self.step)}f}"

    def format_price(self, price: float) -> str:
        """Write a price as the exchange wants it, without exponent."""
        return f"{price:.{_decimals(self.tick)}f}"

    def bracket(self, notional: float) -> MarginBracket:
        """Return the margin tier that holds ``notional`` (quote currency, positive)."""
        for bracket in self.brackets:
            if notional < bracket.cap:
                return bracket
        return self.brackets[-1]

    def maintenance_margin(self, notional: float) -> float:
        """Margin below which a position of ``notional`` is liquidated, in quote currency."""
        bracket = self.bracket(notional)
        return notional * bracket.rate - bracket.amount

    @staticmethod
    def _multiple(count: int, unit: float) -> float:
        """``count * unit`` as the float nearest to the exact decimal."""
        return round(count * unit, _decimals(unit))
