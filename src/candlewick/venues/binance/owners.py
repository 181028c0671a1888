"""`owner_of`: whose trade it is; trades name the exchange's order id only."""

from __future__ import annotations

from candlewick.venues.binance import endpoints
from candlewick.venues.binance.failures import Code, Refused
from candlewick.venues.binance.limits import Urgency
from candlewick.venues.binance.register import Register
from candlewick.venues.binance.rest import RestClient

__all__ = ["owner_of"]


async def owner_of(
    rest: RestClient,
    register: Register,
    symbol: str,
    order_id: int,
    urgency: Urgency = Urgency.READ,
) -> str:
    """The client id of an order, asked for where it is not known; empty for no such order.

    Raises:
        VenueError: the exchange has not answered.
    """
    known = register.client_id_of(order_id)
    if known is not None:
        return known
    try:
        answer = await rest.call(
            endpoints.QUERY, {"symbol": symbol, "orderId": order_id}, urgency=urgency
        )
    except Refused as error:
        if error.code != Code.NO_SUCH_ORDER:
            raise
        return ""
    known = register.client_id_of(order_id)  # a stream may have told meanwhile
    if known is None:
        register.link(order_id, known := answer.clientOrderId)
    return known
