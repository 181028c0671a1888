"""`examine`: what of an account is not as the stop policy wants it. Pure."""

from __future__ import annotations

import msgspec

from candlewick.engine import StopPolicy, TradingEngine, parse_client_id
from candlewick.models import AccountSnapshot, Order, OrderPurpose, OrderType, Position

__all__ = ["Findings", "examine", "what_is_left"]

_STOPS = (OrderType.STOP_MARKET, OrderType.TRAILING_STOP_MARKET)


class Findings(msgspec.Struct, frozen=True):
    """What is wrong, in words: with the positions that are held, and with orders that rest."""

    held: tuple[str, ...] = ()
    resting: tuple[str, ...] = ()

    @property
    def problems(self) -> list[str]:
        """All of it."""
        return [*self.held, *self.resting]


def examine(snapshot: AccountSnapshot, engine: TradingEngine, policy: StopPolicy) -> Findings:
    """Compare what the exchange reports with what the policy promises.

    FLATTEN: no position, and no order of ours. KEEP: no entry rests, and every position has a stop
    at the exchange that covers it. TIGHTEN: the same, and no stop is farther away than it was moved
    to. Symbols that the run does not trade and orders that are not ours are somebody else's
    business.
    """
    held = []
    for position in snapshot.positions:
        if position.is_flat or position.symbol not in engine.symbols:
            continue
        stops = _covering(position, snapshot.orders)
        if policy is StopPolicy.FLATTEN:
            held.append(f"{_holding(position)} still, {_stop_words(stops)}")
        elif not stops:
            held.append(f"{_holding(position)} without a stop")
        elif policy is StopPolicy.TIGHTEN and not _is_tight(position, stops, engine):
            held.append(f"{_holding(position)} with its old stop: {_stop_words(stops)}")
    resting = [
        f"{order.symbol}: order {order.client_id} still rests"
        for order in snapshot.orders
        if order.symbol in engine.symbols
        and parse_client_id(order.client_id) is not None
        and (policy is StopPolicy.FLATTEN or not (order.reduce_only or order.close_position))
    ]
    return Findings(tuple(held), tuple(resting))


def what_is_left(engine: TradingEngine) -> list[str]:
    """Say what a cleanup still has to do, by the engine's books."""
    left = []
    for symbol, state in engine.symbols.items():
        if not state.position.is_flat:
            left.append(f"{symbol} holds {state.position.quantity:g}")
        left += [f"{order.client_id} is {order.status}" for order in state.orders.values()]
    return left


def _holding(position: Position) -> str:
    return f"{position.symbol} holds {position.quantity:g}"


def _covering(position: Position, orders: tuple[Order, ...]) -> list[Order]:
    """The stops that rest for a position, when together they cover all of it; else none."""
    stops = [
        order
        for order in orders
        if order.symbol == position.symbol
        and order.type in _STOPS
        and not _is_target(order)
        and order.side.sign * position.quantity < 0.0
    ]
    return stops if sum(stop.quantity for stop in stops) >= abs(position.quantity) else []


def _stop_words(stops: list[Order]) -> str:
    if not stops:
        return "without a stop"
    return "; ".join(
        f"its stop rests at {stop.trigger_price:g}"
        if stop.trigger_price
        else f"its stop trails by {stop.callback_rate:.2%}"
        for stop in stops
    )


def _is_tight(position: Position, stops: list[Order], engine: TradingEngine) -> bool:
    """True when stops that are near enough cover the position."""
    level = engine.symbols[position.symbol].tightened
    near = [stop for stop in stops if _is_near(stop, position, level)]
    return sum(stop.quantity for stop in near) >= abs(position.quantity)


def _is_near(stop: Order, position: Position, level: float) -> bool:
    if not level:
        return True  # no stop of ours was there to be moved
    if stop.callback_rate:
        return stop.callback_rate <= level
    return (stop.trigger_price - level) * position.quantity >= 0.0


def _is_target(order: Order) -> bool:
    """True for a target of ours; one that trails protects nothing before it is active."""
    name = parse_client_id(order.client_id)
    return name is not None and name[2] is OrderPurpose.TARGET
