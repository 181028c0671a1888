"""`Instrument`: what can be traded and in which units; the one place that rounds and formats."""

from __future__ import annotations

import math
from decimal import Decimal
from functools import lru_cache

import msgspec

from candlewick.errors import ValidationError
from candlewick.models.members import BUY
from candlewick.models.orders import Side

__all__ = ["Instrument", "MarginBracket"]

# A float such as 2.9999999999999996 lots is 3 lots: it may lack a billionth of a unit, and what
# three roundings (of value, unit and quotient, 2**-53 each) take from a large number.
_SLACK = 1e-9
_NOISE = 4e-16


@lru_cache(maxsize=4096)
def _decimals(unit: float) -> int:
    """Number of decimals in ``unit``: 0.001 -> 3, 5.0 -> 0."""
    exponent = Decimal(repr(unit)).normalize().as_tuple().exponent
    return max(0, -int(exponent))


class _Fractions(dict[float, tuple[int, int]]):
    """Units as the fractions that their decimal digits mean: 0.001 -> (1, 1000).

    Each is found once and kept: a subscript costs a third of a call to an `lru_cache`.
    """

    def __missing__(self, unit: float) -> tuple[int, int]:
        found = self[unit] = Decimal(repr(unit)).as_integer_ratio()
        return found


_FRACTIONS = _Fractions()


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
            if not 0.0 < value < math.inf:
                raise ValidationError(f"{self.symbol}: {name} {value!r} must be positive")
        for name in ("min_quantity", "min_notional"):
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                raise ValidationError(f"{self.symbol}: {name} {value!r} must be at least 0")
        for name in ("max_quantity", "market_max_quantity"):
            value = getattr(self, name)
            if not value >= self.min_quantity or value == 0.0:
                raise ValidationError(
                    f"{self.symbol}: {name} {value!r} must be positive and not below"
                    f" min_quantity {self.min_quantity!r}"
                )
        for name in ("fee_maker", "fee_taker", "liquidation_fee"):
            value = getattr(self, name)
            if not -1.0 < value < 1.0:
                raise ValidationError(
                    f"{self.symbol}: {name} {value!r} must be a fraction, as 0.0005"
                )
        self._check_brackets()

    def _check_brackets(self) -> None:
        if not self.brackets:
            raise ValidationError(f"{self.symbol}: at least one margin bracket is needed")
        below = 0.0
        for bracket in self.brackets:
            if bracket.floor != below or not bracket.cap > bracket.floor:
                raise ValidationError(
                    f"{self.symbol}: margin bracket from {bracket.floor!r} to {bracket.cap!r} must"
                    f" begin at {below!r} and end above it"
                )
            if not 0.0 <= bracket.rate < 1.0:
                raise ValidationError(
                    f"{self.symbol}: maintenance margin rate {bracket.rate!r} must be a fraction"
                )
            below = bracket.cap

    def round_quantity(self, quantity: float) -> float:
        """Round down to a whole number of steps.

        Never above what was asked for, but for float noise: a quantity that lacks less than a
        billionth of a step is taken as the whole step.
        """
        step = self.step
        return _multiple(self._floor(quantity, step), step)

    def nearest_quantity(self, quantity: float) -> float:
        """Round to the nearest step; for sums of exact quantities, which carry float noise."""
        step = self.step
        try:
            count = round(quantity / step)
        except (ValueError, OverflowError):
            raise self._not_finite(quantity, step) from None
        numerator, denominator = _FRACTIONS[step]
        return count * numerator / denominator  # as `_multiple`; the most used of all roundings

    @property
    def largest_market_order(self) -> float:
        """What one market order may be at most, and so what one stop can close."""
        return min(self.max_quantity, self.market_max_quantity)

    def market_orders(self, quantity: float) -> list[float]:
        """Split an exact quantity into as few market orders as the exchange takes."""
        largest = self.largest_market_order
        if quantity <= largest:
            return [quantity]
        largest = self.round_quantity(largest)
        whole = int(quantity / largest)
        rest = self.nearest_quantity(quantity - whole * largest)
        return [largest] * whole + ([rest] if rest else [])

    def round_price(self, price: float, side: Side) -> float:
        """Round a limit price to a tick, never worse than asked: a buy down, a sell up."""
        tick = self.tick
        whole = self._floor(price, tick) if side is BUY else -self._floor(-price, tick)
        return _multiple(whole, tick)

    def round_stop(self, price: float, side: Side) -> float:
        """Round a stop to the safe side, where it triggers earlier: a sell up, a buy down."""
        return self.round_price(price, side)

    def nearest_price(self, price: float) -> float:
        """Round to the nearest tick."""
        return self._nearest(price, self.tick)

    def slip(self, price: float, side: Side, rate: float) -> float:
        """Worsen ``price`` by the fraction ``rate`` for a taker, to a whole tick, at least one."""
        if rate == 0.0:
            return price
        worse = price * (1.0 + side.sign * rate)
        up = side is BUY
        whole = -self._floor(-worse, self.tick) if up else self._floor(worse, self.tick)
        return _multiple(max(whole, 1), self.tick)

    def check(
        self, quantity: float, price: float, *, market: bool = False, reduce_only: bool = False
    ) -> str:
        """Say why an order of ``quantity`` at ``price`` cannot be, or return an empty string.

        ``price`` is that of a limit order, or the one a market order is expected to get. A
        reduce-only order is exempt from the minimum notional, as on the exchange.
        """
        if not 0.0 < price < math.inf:
            return f"price {price!r} is not positive and finite after rounding to {self.tick!r}"
        if not quantity > 0.0:
            return f"quantity {quantity!r} is zero after rounding to step {self.step!r}"
        if not self.is_quantity(quantity):
            return f"quantity {quantity!r} is not a multiple of step {self.step!r}"
        if quantity < self.min_quantity:
            return f"quantity {quantity!r} is below the minimum {self.min_quantity!r}"
        largest = self.max_quantity
        if market and self.market_max_quantity < largest:
            largest = self.market_max_quantity
        if quantity > largest:
            return f"quantity {quantity!r} is above the maximum {largest!r}"
        if not reduce_only and quantity * price < self.min_notional:
            return f"notional {quantity * price:.8g} is below the minimum {self.min_notional!r}"
        return ""

    def is_quantity(self, quantity: float) -> bool:
        """True for an exact multiple of the step."""
        return quantity == self.nearest_quantity(quantity)

    def is_price(self, price: float) -> bool:
        """True for an exact multiple of the tick."""
        return price == self._nearest(price, self.tick)

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

    def _floor(self, value: float, unit: float) -> int:
        """How many whole units ``value`` holds."""
        count = value / unit
        try:
            return math.floor(count + _SLACK + _NOISE * abs(count))
        except (ValueError, OverflowError):
            raise self._not_finite(value, unit) from None

    def _nearest(self, value: float, unit: float) -> float:
        """The multiple of ``unit`` that is nearest to ``value``."""
        try:
            count = round(value / unit)
        except (ValueError, OverflowError):
            raise self._not_finite(value, unit) from None
        numerator, denominator = _FRACTIONS[unit]
        return count * numerator / denominator  # as `_multiple`

    def _not_finite(self, value: float, unit: float) -> ValidationError:
        return ValidationError(
            f"{self.symbol}: {value!r} cannot be rounded to multiples of {unit!r}"
        )


def _multiple(count: int, unit: float) -> float:
    """``count * unit`` as the float nearest to the exact decimal."""
    numerator, denominator = _FRACTIONS[unit]
    return count * numerator / denominator  # integers: rounded once, correctly
