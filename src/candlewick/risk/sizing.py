"""How much to trade: pure functions from a signal, the account and the limits to a quantity."""

from __future__ import annotations

import math
from typing import NamedTuple

from candlewick.models import Instrument, Side, Signal
from candlewick.risk.denials import DenialCode
from candlewick.risk.settings import RiskSettings

__all__ = ["Exposure", "Sized", "size_entry", "trail_of"]

Context = dict[str, float | int | str]
_INF = math.inf
_FRACTIONS = ("risk", "trail")
_SHORTEST, _LONGEST = 0.001, 0.1  # distances of a trailing stop that exchanges take


class Exposure(NamedTuple):
    """The account at the moment of sizing; notionals in quote currency, quantities signed."""

    equity: float
    quantity: float  # of this symbol, after what is to be closed first
    other_notional: float  # of all other symbols, absolute
    open_symbols: int  # symbols other than this one that are held
    symbols: int = 1  # symbols that share the account


class Sized(NamedTuple):
    """A quantity with its stop and target, or a denial."""

    quantity: float = 0.0
    stop: float = 0.0
    target: float = 0.0
    code: DenialCode | None = None
    context: Context = {}  # noqa: RUF012 - never written to


def trail_of(wanted: float) -> float:
    """The distance of a trailing stop as the exchange takes it; 0.0 for one that it does not.

    It is a fraction of the price from 0.001 to 0.1, in steps of 0.0001.
    """
    distance = round(wanted, 4)
    return distance if _SHORTEST <= distance <= _LONGEST else 0.0


def _deny(code: DenialCode, **context: float | str) -> Sized:
    return Sized(code=code, context=dict(context))


def size_entry(
    signal: Signal,
    side: Side,
    price: float,
    instrument: Instrument,
    exposure: Exposure,
    settings: RiskSettings,
) -> Sized:
    """Size an entry at ``price``, or say why not.

    With a stop the quantity loses ``risk * equity`` between price and stop:
    ``quantity = risk * equity / |price - stop|``. A quantity that risk or allocation asks for is
    cut to the leverage and position limits; one that the strategy named is denied instead.
    """
    if not price > 0.0:
        return _deny(DenialCode.NO_PRICE)
    if not (
        0.0 <= signal.size < _INF
        and 0.0 <= signal.risk < 1.0
        and 0.0 <= signal.price < _INF
        and 0.0 <= signal.stop < _INF
        and 0.0 <= signal.target < _INF
        and 0.0 <= signal.trail < 1.0
    ):
        return _deny(DenialCode.SIZE_INVALID, **_invalid(signal))
    if (signal.trail or signal.target_trail) and not _can_trail(signal):
        return _deny(
            DenialCode.TRAIL_OUT_OF_RANGE, trail=signal.trail, target_trail=signal.target_trail
        )
    stop = _stop(signal, side, price, instrument, settings)
    if stop and side.sign * (price - stop) <= 0.0:
        return _deny(DenialCode.STOP_WRONG_SIDE, price=price, stop=stop)
    target = instrument.round_price(signal.target, side.opposite) if signal.target else 0.0
    if target and side.sign * (target - price) <= 0.0:
        return _deny(DenialCode.TARGET_WRONG_SIDE, price=price, target=target)
    if settings.max_open_positions and exposure.open_symbols >= settings.max_open_positions:
        return _deny(
            DenialCode.MAX_OPEN_POSITIONS,
            held=exposure.open_symbols,
            limit=settings.max_open_positions,
        )
    room = _room(side, price, exposure, settings)
    wanted_quantity = signal.size or _wanted(signal, price, stop, exposure, settings)
    if signal.size and instrument.round_quantity(signal.size) > room * (1.0 + 1e-9):
        return _over(signal.size, room, price, exposure, settings)
    rounded = instrument.round_quantity(min(wanted_quantity, room))
    if rounded == 0.0 and room < wanted_quantity:
        return _over(wanted_quantity, room, price, exposure, settings)
    problem = instrument.check(rounded, price, market=not signal.price)
    if problem:
        large = rounded > instrument.largest_market_order
        code = DenialCode.SIZE_TOO_LARGE if large else DenialCode.SIZE_TOO_SMALL
        return _deny(code, quantity=rounded, price=price, reason=problem)
    return Sized(rounded, stop, target)


def _can_trail(signal: Signal) -> bool:
    """True when the trailing distances can be sent, and a target that trails has its price."""
    if signal.trail and not trail_of(signal.trail):
        return False
    return not signal.target_trail or bool(signal.target and trail_of(signal.target_trail))


def _invalid(signal: Signal) -> dict[str, float]:
    """The first figure of a signal that cannot be."""
    for name in ("size", "risk", "price", "stop", "target", "trail"):
        value: float = getattr(signal, name)
        if not 0.0 <= value < (1.0 if name in _FRACTIONS else _INF):
            return {name: value}
    return {}


def _stop(
    signal: Signal, side: Side, price: float, instrument: Instrument, settings: RiskSettings
) -> float:
    """The stop of the signal, where its trail begins, or the default; 0.0 when there is none."""
    if signal.stop:
        return instrument.round_stop(signal.stop, side.opposite)
    if signal.trail or settings.default_stop:
        distance = side.sign * (signal.trail or settings.default_stop)
        return instrument.round_stop(price * (1.0 - distance), side.opposite)
    return 0.0


def _wanted(
    signal: Signal, price: float, stop: float, exposure: Exposure, settings: RiskSettings
) -> float:
    """Quantity before limits: from the stop distance where risk is meant, else the allocation."""
    equity = max(exposure.equity, 0.0)
    if stop and (signal.risk or signal.stop or signal.trail):
        return (signal.risk or settings.risk_per_trade) * equity / abs(price - stop)
    return settings.allocation * equity / exposure.symbols / price


def _room(side: Side, price: float, exposure: Exposure, settings: RiskSettings) -> float:
    """How much more of the symbol the limits allow, in base units."""
    held = max(0.0, side.sign * exposure.quantity)
    room = math.inf
    if settings.max_leverage:
        total = settings.max_leverage * max(exposure.equity, 0.0) - exposure.other_notional
        room = max(0.0, total / price - held)
    if settings.max_position:
        room = min(room, max(0.0, settings.max_position / price - held))
    return room


def _over(
    size: float, room: float, price: float, exposure: Exposure, settings: RiskSettings
) -> Sized:
    """Deny a size for which there is no room, saying which limit it breaks."""
    held = abs(exposure.quantity)
    if settings.max_position and (held + size) * price > settings.max_position:
        return _deny(DenialCode.MAX_POSITION, size=size, allowed=room, limit=settings.max_position)
    return _deny(DenialCode.MAX_LEVERAGE, size=size, allowed=room, limit=settings.max_leverage)
