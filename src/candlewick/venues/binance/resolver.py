"""`Resolver`: finds out what became of orders and trades, by asking until the exchange answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from candlewick.errors import VenueError
from candlewick.models import Order, OrderStatus, OrderUpdate
from candlewick.venues.binance import endpoints
from candlewick.venues.binance.answers import AlgoAnswer, OrderAnswer
from candlewick.venues.binance.backoff import Backoff
from candlewick.venues.binance.clock import EventClock
from candlewick.venues.binance.failures import Code, Refused
from candlewick.venues.binance.limits import Urgency
from candlewick.venues.binance.messages import number
from candlewick.venues.binance.orders import fill_of_trade, update_of_algo, update_of_answer
from candlewick.venues.binance.owners import owner_of
from candlewick.venues.binance.register import Register
from candlewick.venues.binance.reports import Reporter
from candlewick.venues.binance.rest import RestClient
from candlewick.venues.binance.settings import BinanceSettings
from candlewick.venues.binance.tally import Tally

__all__ = ["Resolver", "Spawn"]

_log = logging.getLogger(__name__)

Spawn = Callable[[Coroutine[Any, Any, None], str], None]
"""Runs a coroutine in the background, under a name, until the venue closes."""

_NOT_KNOWN = (Code.NO_SUCH_ORDER, Code.UNKNOWN_ORDER)
_TRADE_ATTEMPTS = 8
_FIRST_PAUSE_S = 0.1  # what is late on the stream is mostly here by then
_LAST_PAUSE_S = 5.0


class NotSettled(Exception):
    """The exchange's own answers do not fit together yet."""


class Resolver:
    """Asks for orders whose fate is not known, and for trades that were not told."""

    def __init__(
        self,
        rest: RestClient,
        register: Register,
        clock: EventClock,
        settings: BinanceSettings,
        tally: Tally,
        spawn: Spawn,
    ) -> None:
        self._rest = rest
        self._register = register
        self._clock = clock
        self._settings = settings
        self._tally = tally
        self._spawn = spawn
        self._asking: set[str] = set()
        self._fetching: set[int] = set()
        self.reporter: Reporter

    # -- orders ----------------------------------------------------------------------------------

    def start(self, order: Order) -> None:
        """Ask for an order in the background, until the answer is told."""
        if order.client_id in self._asking:
            return
        self._asking.add(order.client_id)
        self._tally.events["orders_asked_for"] += 1
        self._spawn(self._resolve(order), f"resolve {order.client_id}")

    async def query(self, order: Order) -> OrderUpdate | None:
        """Ask once; where that leaves it open, say UNKNOWN and go on asking in the background.

        None when the exchange does not know the order and never will.
        """
        try:
            update = await self.look(order)
        except (VenueError, NotSettled) as error:
            self.start(order)
            return self._update(order, OrderStatus.UNKNOWN, str(error))
        if update is not None:
            return update
        if self._may_appear(order):
            self.start(order)
            return self._update(order, OrderStatus.UNKNOWN, "not known to the exchange yet")
        return self._never_was(order)

    async def _resolve(self, order: Order) -> None:
        backoff = Backoff(_FIRST_PAUSE_S, _LAST_PAUSE_S)
        try:
            while True:
                await backoff.pause()
                try:
                    update = await self.look(order)
                except (VenueError, NotSettled) as error:
                    _log.warning("%s is asked for again: %s", order.client_id, error)
                    continue
                if update is None:
                    if self._may_appear(order):
                        continue
                    update = self._never_was(order) or self._update(
                        order, OrderStatus.REJECTED, "the exchange does not know it"
                    )
                self.reporter.told(update)
                return
        finally:
            self._asking.discard(order.client_id)

    def _may_appear(self, order: Order) -> bool:
        """Whether an order that is not known may be under way.

        A request is refused once its receive window has passed (-1021). What was not known for a
        while after that was never accepted.
        """
        tracked = self._register.get(order.client_id)
        if tracked is None:
            return False
        if tracked.is_going_out:
            return True
        window_s = self._settings.recv_window_ms / 1e3 + self._settings.not_found_grace_s
        return time.monotonic() - tracked.sent_at < window_s

    def _never_was(self, order: Order) -> OrderUpdate | None:
        """What an order is that is not known any more: one that was accepted has ended."""
        tracked = self._register.get(order.client_id)
        known = order.status.is_working or (tracked is not None and tracked.accepted)
        if not known:
            return None
        return self._update(order, OrderStatus.EXPIRED, "the exchange does not know it any more")

    def _update(self, order: Order, status: OrderStatus, message: str) -> OrderUpdate:
        return OrderUpdate(
            order.client_id, order.symbol, status, self._clock.now(), order.venue_id,
            order.filled, order.average_price, message=message,
        )  # fmt: skip

    async def look(self, order: Order) -> OrderUpdate | None:
        """Ask the exchange for an order, and tell the fills that were not told yet.

        Returns:
            Its state; None where the exchange does not know it.

        Raises:
            VenueError: it could not be asked.
            NotSettled: the parts of its answer do not fit together yet.
        """
        try:
            if order.type.is_conditional:
                return await self._look_algo(order)
            answer = await self._rest.call(
                endpoints.QUERY,
                {"symbol": order.symbol, "origClientOrderId": order.client_id},
                urgency=Urgency.CLOSE,
            )
        except Refused as error:
            if error.code in _NOT_KNOWN:
                return None
            raise
        return await self._settled(order, answer)

    async def _look_algo(self, order: Order) -> OrderUpdate | None:
        answer = await self._rest.call(
            endpoints.QUERY_ALGO, {"clientAlgoId": order.client_id}, urgency=Urgency.CLOSE
        )
        child = _child_of(answer)
        if not child:
            if answer.algoStatus == "FINISHED":
                filled = number(answer.actualQty or "")
                if filled:
                    raise NotSettled(f"{order.client_id} has filled, by an order without an id")
                return self._update(order, OrderStatus.CANCELED, "ended without a trade")
            update = update_of_algo(answer, order, self._clock.now())
            if update is None:
                raise NotSettled(f"{order.client_id} has the status {answer.algoStatus!r}")
            return update
        self._register.link(child, order.client_id)
        try:
            made = await self._rest.call(
                endpoints.QUERY, {"symbol": order.symbol, "orderId": child}, urgency=Urgency.CLOSE
            )
        except Refused as error:
            if error.code in _NOT_KNOWN:
                raise NotSettled(
                    f"order {child} that {order.client_id} made is not known"
                ) from None
            raise
        return await self._settled(order, made)

    async def _settled(self, order: Order, answer: OrderAnswer) -> OrderUpdate:
        """What an answer says, once all trades of the order were told."""
        self._register.link(answer.orderId, order.client_id)
        update = update_of_answer(answer, order.client_id, self._clock.now())
        if update is None:
            self._tally.saw_unknown(f"order status {answer.status}")
            raise NotSettled(f"{order.client_id} has the status {answer.status!r}")
        step = self.reporter.step_of(order.symbol)
        if self._register.filled(answer.orderId) < answer.executedQty - step / 2:
            await self._tell_trades(order.symbol, answer.orderId)
            if self._register.filled(answer.orderId) < answer.executedQty - step / 2:
                raise NotSettled(f"not all trades of {order.client_id} are listed yet")
        return update

    # -- trades ----------------------------------------------------------------------------------

    def fetch(self, symbol: str, order_id: int) -> None:
        """Ask for the trades of an order in the background, until they add up."""
        if order_id not in self._fetching:
            self._fetching.add(order_id)
            self._spawn(self._fetch(symbol, order_id), f"trades of {order_id}")

    async def _fetch(self, symbol: str, order_id: int) -> None:
        backoff = Backoff(_FIRST_PAUSE_S, _LAST_PAUSE_S)
        try:
            for _ in range(_TRADE_ATTEMPTS):
                await backoff.pause()
                if not self.reporter.lacks(order_id):
                    break
                try:
                    await self._tell_trades(symbol, order_id)
                except VenueError as error:
                    _log.warning("the trades of order %d are asked for again: %s", order_id, error)
            if self.reporter.lacks(order_id):
                self._tally.events["fills_given_up"] += 1
            self.reporter.release(order_id)
        finally:
            self._fetching.discard(order_id)

    def confirm_trade(self, symbol: str, order_id: int, trade_id: int) -> None:
        """A short notice told of a trade: see to it that the trade itself is told."""
        self._spawn(self._confirm(symbol, order_id, trade_id), f"trade {trade_id}")

    async def _confirm(self, symbol: str, order_id: int, trade_id: int) -> None:
        backoff = Backoff(self._settings.confirm_after_s, _LAST_PAUSE_S)
        for _ in range(_TRADE_ATTEMPTS):
            await backoff.pause()
            if self._register.has_trade(order_id, trade_id):
                return
            self._tally.events["trades_confirmed_late"] += 1
            try:
                await self._tell_trades(symbol, order_id)
            except VenueError as error:
                _log.warning("trade %d is asked for again: %s", trade_id, error)

    async def _tell_trades(self, symbol: str, order_id: int) -> None:
        trades = await self._rest.call(
            endpoints.USER_TRADES, {"symbol": symbol, "orderId": order_id}, urgency=Urgency.CLOSE
        )
        client_id = await owner_of(self._rest, self._register, symbol, order_id, Urgency.CLOSE)
        for trade in sorted(trades, key=lambda trade: trade.id):
            self.reporter.fill(order_id, fill_of_trade(trade, client_id))


def _child_of(answer: AlgoAnswer) -> int:
    """The id of the order that the trigger made; 0 while there is none."""
    text = str(answer.actualOrderId or "")
    return int(text) if text.isdecimal() else 0
