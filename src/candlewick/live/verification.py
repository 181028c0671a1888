"""`problems_with`: what of an account is not as the stop policy wants it. Pure."""

from __future__ import annotations

from candlewick.engine import StopPolicy, TradingEngine, parse_client_id
from candlewick.models import AccountSnapshot, Order, OrderType, Position

__all__ = ["problems_with"]


def problems_with(
    snapshot: AccountSnapshot, engine: TradingEngine, policy: StopPolicy
) -> list[str]:
    """Compare what the exchange reports with what the policy promises; empty when it agrees.

    FLATTEN: no position, and no order of ours. KEEP: no entry rests, and every position that was
    planned a stop has one at the exchange that covers it. Symbols that the run does not trade and
    orders that are not ours are somebody else's business.
    """
    problems = []
    for position in snapshot.positions:
        if position.is_flat or position.symbol not in engine.symbols:
            continue
        if policy is StopPolicy.FLATTEN:
            problems.append(f"{position.symbol} still holds {position.quantity:g}")
        elif not _is_protected(position, snapshot.orders, engine):
            problems.append(f"{position.symbol} holds {position.quantity:g} without a stop")
    problems += [
        f"{order.symbol}: order {order.client_id} still rests"
        for order in snapshot.orders
        if order.symbol in engine.symbols
        and parse_client_id(order.client_id) is not None
        and (policy is StopPolicy.FLATTEN or not (order.reduce_only or order.close_position))
    ]
    return problems


def _is_protected(position: Position, orders: tuple[Order, ...], engine: TradingEngine) -> bool:
    state = engine.symbols.get(position.symbol)
    if state is not None and not (state.plan.stop or state.plan.trail):
        return True  # the strategy and the settings asked for none
    covered = sum(
        order.quantity
        for order in orders
        if order.symbol == position.symbol
        and order.type in (OrderType.STOP_MARKET, OrderType.TRAILING_STOP_MARKET)
        and order.side.sign * position.quantity < 0.0
    )
    return covered >= abs(position.quantity)
