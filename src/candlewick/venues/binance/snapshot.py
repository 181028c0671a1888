"""The account as the exchange has it: balance, positions, all open orders, the latest fills."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import msgspec

from candlewick.models import AccountSnapshot, Fill, Order, Position, PositionSide
from candlewick.venues.binance import endpoints
from candlewick.venues.binance.answers import AlgoAnswer, OrderAnswer, PositionRisk, UserTrade
from candlewick.venues.binance.clock import EventClock
from candlewick.venues.binance.orders import fill_of_trade, listed_algo_order, listed_order
from candlewick.venues.binance.owners import owner_of
from candlewick.venues.binance.register import Register
from candlewick.venues.binance.reports import Reporter
from candlewick.venues.binance.rest import RestClient
from candlewick.venues.binance.settings import BinanceSettings

__all__ = ["SnapshotTaker"]

_FEW = 20  # symbols up to which asking for each is cheaper than asking for all (weight 40)
_PAGE = 1_000
_WEEK_MS = 7 * 86_400_000  # what one answer about trades spans at most
_KEPT_MS = 180 * 86_400_000  # older trades cannot be asked for
_SIDES = {side.value: side for side in PositionSide}


class SnapshotTaker:
    """Takes snapshots.

    The time of a snapshot is one that the exchange's clock had reached before anything was asked:
    whatever the streams tell of later times is newer. Trades are asked for after the positions, so
    that no trade is in the positions and not in the fills.
    """

    def __init__(
        self,
        settings: BinanceSettings,
        rest: RestClient,
        clock: EventClock,
        register: Register,
        reporter: Reporter,
        symbols: Collection[str],
    ) -> None:
        self._settings = settings
        self._rest = rest
        self._clock = clock
        self._register = register
        self._reporter = reporter
        self._symbols = symbols

    async def take(self, since: int) -> AccountSnapshot:
        """Fetch the account; fills from ``since`` (UTC ms) on, none for 0.

        Raises:
            VenueError: a part of it could not be fetched.
        """
        time = self._clock.surely_past()
        try:
            async with asyncio.TaskGroup() as group:
                balance = group.create_task(self._balance())
                positions = group.create_task(self._positions())
                normal = group.create_task(self._normal_orders())
                conditional = group.create_task(self._conditional_orders())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        held = positions.result()
        orders = [listed_order(answer) for answer in normal.result()]
        orders += [self._sized(listed_algo_order(a), held) for a in conditional.result()]
        await self._note_old_trades(normal.result(), since)
        fills: list[Fill] = []
        if since:
            for symbol in self._symbols:
                fills += await self._fills(symbol, since, time)
            fills.sort(key=lambda fill: (fill.time, fill.trade_id))
        return AccountSnapshot(time, balance.result(), tuple(held), tuple(orders), tuple(fills))

    async def _balance(self) -> float:
        assets = await self._rest.call(endpoints.BALANCE)
        wanted = self._settings.margin_asset
        return next((row.balance for row in assets if row.asset == wanted), 0.0)

    async def _positions(self) -> list[Position]:
        rows = await self._rest.call(endpoints.POSITIONS)
        return [_position(row) for row in rows if row.symbol in self._symbols and row.positionAmt]

    async def _normal_orders(self) -> list[OrderAnswer]:
        if len(self._symbols) > _FEW:
            rows = await self._rest.call(endpoints.OPEN_ORDERS, weight=40)
            return [row for row in rows if row.symbol in self._symbols]
        found: list[OrderAnswer] = []
        for symbol in self._symbols:
            rows = await self._rest.call(endpoints.OPEN_ORDERS, {"symbol": symbol})
            found += rows
        return found

    async def _conditional_orders(self) -> list[AlgoAnswer]:
        if len(self._symbols) > _FEW:
            rows = await self._rest.call(endpoints.OPEN_ALGO_ORDERS, weight=40)
            return [row for row in rows if row.symbol in self._symbols]
        found: list[AlgoAnswer] = []
        for symbol in self._symbols:
            rows = await self._rest.call(endpoints.OPEN_ALGO_ORDERS, {"symbol": symbol})
            found += rows
        return found

    def _sized(self, order: Order, held: Sequence[Position]) -> Order:
        """Give an order that closes a position, and has no quantity at the exchange, its size."""
        if order.quantity:
            return order
        quantity = sum(abs(p.quantity) for p in held if p.symbol == order.symbol)
        return msgspec.structs.replace(order, quantity=quantity)

    # -- fills -----------------------------------------------------------------------------------

    async def _note_old_trades(self, answers: Sequence[OrderAnswer], since: int) -> None:
        """Take the earlier trades of orders that rest as known: the positions hold them already."""
        for answer in answers:
            self._register.link(answer.orderId, answer.clientOrderId)
            if self._register.filled(answer.orderId) >= answer.executedQty:
                continue
            trades = await self._rest.call(
                endpoints.USER_TRADES, {"symbol": answer.symbol, "orderId": answer.orderId}
            )
            for trade in trades:
                if trade.time < since or not since:
                    self._register.book(answer.orderId, fill_of_trade(trade, answer.clientOrderId))

    async def _fills(self, symbol: str, since: int, now: int) -> list[Fill]:
        fills = []
        for trade in await self._trades(symbol, since, now):
            owner = await owner_of(self._rest, self._register, trade.symbol, trade.orderId)
            fill = fill_of_trade(trade, owner)
            self._note(trade.orderId, fill)
            fills.append(fill)
        return fills

    async def _trades(self, symbol: str, since: int, now: int) -> list[UserTrade]:
        """All trades from ``since`` on: a week at a time, as one answer holds no more than that.

        From the first full page on it goes by trade ids, which know no weeks.
        """
        trades: list[UserTrade] = []
        start = max(since, now - _KEPT_MS)
        while True:
            params: dict[str, str | int] = {"symbol": symbol, "startTime": start, "limit": _PAGE}
            is_last = now - start < _WEEK_MS
            if not is_last:
                params["endTime"] = start + _WEEK_MS - 1
            page = await self._rest.call(endpoints.USER_TRADES, params)
            trades += page
            if len(page) == _PAGE:
                return trades + await self._trades_after(symbol, page[-1].id)
            if is_last:
                return trades
            start += _WEEK_MS

    async def _trades_after(self, symbol: str, last: int) -> list[UserTrade]:
        trades: list[UserTrade] = []
        while True:
            page = await self._rest.call(
                endpoints.USER_TRADES, {"symbol": symbol, "fromId": last + 1, "limit": _PAGE}
            )
            trades += page
            if len(page) < _PAGE:
                return trades
            last = page[-1].id

    def _note(self, order_id: int, fill: Fill) -> None:
        """A fill of an order of this process that was not told yet is told: its end may follow."""
        if self._register.get(fill.client_id) is None:
            self._register.book(order_id, fill)
        elif not self._register.has_trade(order_id, fill.trade_id):
            self._reporter.fill(order_id, fill)


def _position(row: PositionRisk) -> Position:
    return Position(
        row.symbol, row.positionAmt, row.entryPrice, updated_time=row.updateTime,
        liquidation_price=row.liquidationPrice,
        side=_SIDES.get(row.positionSide, PositionSide.BOTH),
    )  # fmt: skip
