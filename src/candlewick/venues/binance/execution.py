"""`Execution`: sends orders and cancels, once, and says what came of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from candlewick.errors import VenueError
from candlewick.models import Instrument, Order, OrderStatus, OrderType, OrderUpdate
from candlewick.venues.binance import endpoints
from candlewick.venues.binance.answers import AlgoAnswer, OrderAnswer
from candlewick.venues.binance.backoff import Backoff
from candlewick.venues.binance.clock import EventClock
from candlewick.venues.binance.endpoints import Endpoint
from candlewick.venues.binance.failures import Code, OutcomeUnknown, RateLimited, Refused
from candlewick.venues.binance.limits import Urgency
from candlewick.venues.binance.orders import (
    algo_params,
    order_params,
    update_of_algo,
    update_of_answer,
)
from candlewick.venues.binance.register import Register, Tracked
from candlewick.venues.binance.reports import Reporter
from candlewick.venues.binance.resolver import Resolver, Spawn
from candlewick.venues.binance.rest import RestClient
from candlewick.venues.binance.settings import BinanceSettings
from candlewick.venues.binance.signing import Params
from candlewick.venues.binance.tally import Tally
from candlewick.venues.binance.wsapi import WsApi

__all__ = ["Execution"]

T = TypeVar("T")

_log = logging.getLogger(__name__)
_METHODS = {
    endpoints.PLACE.path: {"POST": "order.place", "DELETE": "order.cancel"},
    endpoints.PLACE_ALGO.path: {"POST": "algoOrder.place", "DELETE": "algoOrder.cancel"},
}
_OVERLOAD_ATTEMPTS = 8
_RARELY_S = 30.0
_GONE = (Code.UNKNOWN_ORDER, Code.NO_SUCH_ORDER)
_DUPLICATE_ID = -4116


class Execution:
    """The way of an order to the exchange.

    An order that may have arrived is never sent again: it is UNKNOWN, and asked for. One that has
    surely not arrived is sent again if it closes; an opening one is refused instead, as it would
    come late.
    """

    def __init__(
        self,
        settings: BinanceSettings,
        rest: RestClient,
        ws_api: WsApi | None,
        clock: EventClock,
        tally: Tally,
        register: Register,
        reporter: Reporter,
        resolver: Resolver,
        instruments: Mapping[str, Instrument],
        spawn: Spawn,
        suspect: Callable[[str, float], None],
    ) -> None:
        self._settings = settings
        self._rest = rest
        self._ws_api = ws_api
        self._clock = clock
        self._tally = tally
        self._register = register
        self._reporter = reporter
        self._resolver = resolver
        self._instruments = instruments
        self._spawn = spawn
        self._suspect = suspect
        self._algo_reduce_only = True
        self._cancelling: set[str] = set()

    # -- placing ---------------------------------------------------------------------------------

    async def submit(self, order: Order) -> None:
        """Send an order, and tell what came of it; cancel it if that was asked for meanwhile."""
        if order.symbol not in self._instruments:
            raise VenueError(f"{order.symbol} is not among the symbols of this connection")
        tracked = self._register.sent(order)
        await self._submit(order, tracked)
        if tracked.is_unwanted and not tracked.is_final:
            await self.cancel(order)

    async def _submit(self, order: Order, tracked: Tracked) -> None:
        closes = order.reduce_only or order.close_position
        try:
            await self._send(order, tracked, Urgency.CLOSE if closes else Urgency.OPEN)
        except OutcomeUnknown as error:
            if error.sent:
                _log.warning("%s: %s; it is asked for", order.client_id, error)
                self._tell(order, OrderStatus.UNKNOWN, error)
                self._resolver.start(order)
            else:
                self._tell(order, OrderStatus.REJECTED, error)
        except Refused as error:
            if error.code == _DUPLICATE_ID:
                self._resolver.start(order)  # it is there: what is its state?
            else:
                self._tell(order, OrderStatus.REJECTED, error)
        except RateLimited as error:
            self._tell(order, OrderStatus.REJECTED, error)

    async def _send(self, order: Order, tracked: Tracked, urgency: Urgency) -> None:
        """Place an order, and note for how long it may have been under way."""
        tracked.is_going_out = True
        try:
            await self._place(order, tracked, urgency)
        finally:
            tracked.is_going_out = False
            tracked.sent_at = time.monotonic()

    async def _place(self, order: Order, tracked: Tracked, urgency: Urgency) -> None:
        """Send until it has arrived; only what surely has not arrived is sent again."""
        backoff = Backoff(self._settings.backoff_min_s, self._settings.confirm_after_s)
        while True:
            try:
                await self._place_once(order, tracked, urgency)
            except RateLimited:
                if urgency is not Urgency.CLOSE:
                    raise
                self._tally.events["orders_held_back"] += 1
                await backoff.pause()  # and as long as the limits make it wait
            except OutcomeUnknown as error:
                if error.sent or urgency is not Urgency.CLOSE:
                    raise
                _log.warning("%s is sent again: %s", order.client_id, error)
                await backoff.pause()
            except Refused as error:
                overloaded = error.code == Code.OVERLOADED and urgency is Urgency.CLOSE
                if overloaded and backoff.attempts < _OVERLOAD_ATTEMPTS:
                    await backoff.pause()
                elif not self._takes_no_reduce_only(order, error):
                    raise
            else:
                return

    def _takes_no_reduce_only(self, order: Order, error: Refused) -> bool:
        """True when ``reduceOnly`` was refused for a conditional order: it can go without."""
        refused = (
            error.code == Code.PARAMETER_NOT_REQUIRED
            and order.type in (OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET)
            and order.reduce_only
            and self._algo_reduce_only
        )
        if refused:
            _log.warning("conditional orders close the whole position here: %s", error)
            self._algo_reduce_only = False
        return refused

    async def _place_once(self, order: Order, tracked: Tracked, urgency: Urgency) -> None:
        instrument = self._instruments[order.symbol]
        if order.type.is_conditional:
            params = algo_params(order, instrument, reduce_only=self._algo_reduce_only)
            self._placed_algo(
                order, tracked, await self._call(endpoints.PLACE_ALGO, params, urgency)
            )
        else:
            params = order_params(order, instrument)
            self._placed(order, tracked, await self._call(endpoints.PLACE, params, urgency))
        self._spawn(self._follow(tracked), f"follow {order.client_id}")

    async def _call(self, endpoint: Endpoint[T], params: Params, urgency: Urgency) -> T:
        """Over the WebSocket API where that is healthy, else, or where nothing left, over REST."""
        api = self._ws_api
        if api is not None and api.is_healthy:
            try:
                method = _METHODS[endpoint.path][endpoint.method]
                return await api.call(method, params, endpoint, urgency)
            except OutcomeUnknown as error:
                if error.sent and not endpoint.repeatable:
                    raise
        return await self._rest.call(endpoint, params, urgency=urgency)

    def _placed(self, order: Order, tracked: Tracked, answer: OrderAnswer) -> None:
        tracked.accepted = True
        self._register.link(answer.orderId, order.client_id)
        update = update_of_answer(answer, order.client_id, self._clock.now())
        if update is None:
            self._tally.saw_unknown(f"order status {answer.status}")
            self._resolver.start(order)
        else:
            self._reporter.update(answer.orderId, update)

    def _placed_algo(self, order: Order, tracked: Tracked, answer: AlgoAnswer) -> None:
        tracked.accepted = True
        update = update_of_algo(answer, order, self._clock.now())
        if update is None:
            self._resolver.start(order)
        else:
            self._reporter.told(update)

    async def _follow(self, tracked: Tracked) -> None:
        """See to it that the account's stream tells of an order that was accepted.

        A market order ends at once: until its end was heard of, it is asked for. A stream that has
        told nothing of an order at all is not to be trusted.
        """
        order = tracked.order
        await asyncio.sleep(self._settings.confirm_after_s)
        if order.type is OrderType.MARKET and not tracked.is_final:
            self._tally.events["orders_not_confirmed"] += 1
            self._spawn(self._until_final(tracked), f"end of {order.client_id}")
        if tracked.heard:
            return
        await asyncio.sleep(self._settings.stale_after_s)
        if not tracked.heard:
            self._suspect(f"the stream has not told of {order.client_id}", tracked.sent_at)

    async def _until_final(self, tracked: Tracked) -> None:
        """Ask for an order until it has ended, less and less often."""
        pause_s = self._settings.confirm_after_s
        while not tracked.is_final:
            self._resolver.start(tracked.order)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _RARELY_S)

    def _tell(self, order: Order, status: OrderStatus, error: VenueError) -> None:
        self._reporter.told(
            OrderUpdate(
                order.client_id,
                order.symbol,
                status,
                self._clock.now(),
                code=error.code,
                message=str(error),
            )
        )

    # -- cancelling ------------------------------------------------------------------------------

    async def cancel(self, order: Order) -> None:
        """Cancel an order, and tell what came of it.

        An order that is not there to be cancelled has ended: -2011 is told, and how it ended is
        asked for. A cancel without an answer is sent again until there is one. An order that is
        going out still is cancelled once it is known whether it has arrived.
        """
        if order.client_id in self._cancelling:
            return
        tracked = self._register.sent(order)
        if tracked.is_going_out:
            tracked.is_unwanted = True
            return
        try:
            await self._cancel(order)
        except Refused as error:
            self._not_cancelled(order, error)
        except VenueError as error:
            _log.warning("%s is cancelled again: %s", order.client_id, error)
            self._cancelling.add(order.client_id)
            self._spawn(self._cancel_at_last(order), f"cancel {order.client_id}")

    async def _cancel_at_last(self, order: Order) -> None:
        backoff = Backoff(self._settings.backoff_min_s, self._settings.backoff_max_s)
        try:
            while True:
                await backoff.pause()
                try:
                    await self._cancel(order)
                except Refused as error:
                    self._not_cancelled(order, error)
                except VenueError as error:
                    _log.warning("%s is cancelled again: %s", order.client_id, error)
                    continue
                return
        finally:
            self._cancelling.discard(order.client_id)

    async def _cancel(self, order: Order) -> None:
        if order.type.is_conditional:
            params: Params = {"clientAlgoId": order.client_id}
            answer = await self._call(endpoints.CANCEL_ALGO, params, Urgency.CLOSE)
            self._reporter.told(
                OrderUpdate(
                    order.client_id,
                    order.symbol,
                    OrderStatus.CANCELED,
                    self._clock.now(),
                    str(answer.algoId),
                )
            )
            return
        params = {"symbol": order.symbol, "origClientOrderId": order.client_id}
        answered = await self._call(endpoints.CANCEL, params, Urgency.CLOSE)
        update = update_of_answer(answered, order.client_id, self._clock.now())
        if update is None:
            self._resolver.start(order)
        else:
            self._reporter.update(answered.orderId, update)

    def _not_cancelled(self, order: Order, error: Refused) -> None:
        """There was nothing to cancel, or the exchange does not want to."""
        code = Code.UNKNOWN_ORDER  # upon which the engine takes its wish to cancel back
        self._reporter.told(
            OrderUpdate(
                order.client_id,
                order.symbol,
                OrderStatus.REJECTED,
                self._clock.now(),
                code=code,
                message=str(error),
            )
        )
        self._resolver.start(order)
