"""`Account`: orders, positions and wallet of one client, over the simulated exchange."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from candlewick.exchange import Report, SimulatedExchange
from candlewick.exchange.holding import Holding
from candlewick.models import (
    Fill,
    Funding,
    Instrument,
    Order,
    OrderStatus,
    OrderUpdate,
    PositionSide,
)
from candlewick.sandbox import events
from candlewick.sandbox.records import (
    AlgoRecord,
    Amendment,
    Income,
    MarginChange,
    OrderRecord,
    TradeRecord,
)
from candlewick.sandbox.wire import ApiError

__all__ = ["Account", "Surroundings"]

_STATUS = {
    OrderStatus.PARTIALLY_FILLED: "PARTIALLY_FILLED",
    OrderStatus.FILLED: "FILLED",
    OrderStatus.CANCELED: "CANCELED",
    OrderStatus.EXPIRED: "EXPIRED",
}


class Surroundings(Protocol):
    """What an account needs of the sandbox around it."""

    @property
    def now(self) -> int:
        """Market time, UTC ms."""

    def make_id(self) -> int:
        """Return a number that nobody has been given before."""

    def liquidated(self, event: dict[str, Any]) -> None:
        """Tell the market of a liquidation."""


class Account:
    """Books what the matching code reports, and tells it as user-stream events.

    Args:
        exchange: the matching code, with one account of its own.
        instruments: what can be traded.
        tell: gets each event, in order.
        around: clock and ids.
        asset: the margin asset.
    """

    def __init__(
        self,
        exchange: SimulatedExchange,
        instruments: dict[str, Instrument],
        tell: Callable[[dict[str, Any]], None],
        around: Surroundings,
        asset: str,
    ) -> None:
        self.exchange = exchange
        self.instruments = instruments
        self.asset = asset
        self.around = around
        self.orders: dict[int, OrderRecord] = {}
        self.algos: dict[int, AlgoRecord] = {}
        self.trades: list[TradeRecord] = []
        self.incomes: list[Income] = []
        self.amendments: list[Amendment] = []
        self.margin_changes: list[MarginChange] = []
        self.reject_triggers = 0
        self.fee_burn = False  # whether BNB should pay the fees; there is none
        self.changed = around.now  # when the wallet last changed; never 0 for a wallet with money
        self._tell = tell
        self._by_key: dict[str, OrderRecord | AlgoRecord] = {}
        self._shadows: dict[tuple[str, PositionSide], Holding] = {}
        self._wallet = exchange.balance

    # -- what may be asked -------------------------------------------------------------------------

    def open_orders(self, symbol: str = "") -> list[OrderRecord]:
        """Normal orders that rest or wait, oldest first."""
        live = (r for r in self._by_key.values() if isinstance(r, OrderRecord) and r.is_open)
        return [order for order in live if not symbol or order.symbol == symbol]

    def open_algos(self, symbol: str = "") -> list[AlgoRecord]:
        """Conditional orders that wait for their trigger, oldest first."""
        live = (r for r in self._by_key.values() if isinstance(r, AlgoRecord) and r.is_open)
        return [algo for algo in live if not symbol or algo.symbol == symbol]

    def watched(self, symbol: str) -> Iterator[AlgoRecord]:
        """Conditional orders whose trigger the sandbox itself compares."""
        return (algo for algo in self.open_algos(symbol) if algo.watched)

    def shadow(self, symbol: str, side: PositionSide) -> Holding:
        """The position as the events have told it so far."""
        held = self._shadows.get((symbol, side))
        if held is None:
            held = self._shadows[symbol, side] = Holding(self.instruments[symbol], side)
        return held

    def held(self) -> list[Holding]:
        """The positions that are not flat."""
        return [held for held in self._shadows.values() if held.quantity]

    @property
    def wallet(self) -> float:
        """The wallet as the events have told it so far, quote currency."""
        return self._wallet

    def locked(self) -> float:
        """Isolated margin of all positions, quote currency."""
        return sum(held.isolated_margin for held in self._shadows.values() if held.quantity)

    # -- what is done ------------------------------------------------------------------------------

    def keep(self, record: OrderRecord | AlgoRecord) -> None:
        """Take a record into the books."""
        self._by_key[record.key] = record
        if isinstance(record, OrderRecord):
            self.orders[record.order_id] = record
        else:
            self.algos[record.algo_id] = record

    def announce(self, order: OrderRecord, execution: str = "NEW") -> None:
        """Tell that an order is there, or has changed without a trade."""
        instrument, now = self.instruments[order.symbol], self.around.now
        self._tell(events.order_update(order, instrument, execution, order.updated, now))

    def announce_algo(self, algo: AlgoRecord) -> None:
        """Tell the state of a conditional order."""
        instrument, now = self.instruments[algo.symbol], self.around.now
        self._tell(events.algo_update(algo, instrument, algo.updated, now))

    def end_algo(self, algo: AlgoRecord, status: str, reason: str = "") -> None:
        """End a conditional order, and tell so."""
        algo.status, algo.reason, algo.updated = status, reason, self.around.now
        self._by_key.pop(algo.key, None)
        self.announce_algo(algo)

    def end_order(self, order: OrderRecord, status: str, time: int) -> None:
        """End an order without a trade, and tell so."""
        order.status, order.updated = status, time
        self._by_key.pop(order.key, None)
        self.announce(order, status)
        self._finish_algo(order)

    def rename(self, order: OrderRecord, key: str) -> None:
        """Let an order go by another name in the matching code."""
        self._by_key.pop(order.key, None)
        order.key = key
        self._by_key[key] = order

    def tell(self, event: dict[str, Any]) -> None:
        """Tell any event."""
        self._tell(event)

    # -- what the matching code reports ------------------------------------------------------------

    def book(self, reports: Sequence[Report]) -> None:
        """Take in what has happened, and tell it in the exchange's order."""
        for index, report in enumerate(reports):
            if isinstance(report, Fill):
                self._filled(report, reports[index + 1 :])
            elif isinstance(report, Funding):
                self._funded(report)
            elif report.status in (OrderStatus.CANCELED, OrderStatus.EXPIRED):
                self._ended(report)
        self._settle_wallet()

    def _filled(self, fill: Fill, following: Sequence[Report]) -> None:
        update = next(
            r for r in following if isinstance(r, OrderUpdate) and r.client_id == fill.client_id
        )
        order = self._order_of(fill, update)
        instrument = self.instruments[fill.symbol]
        now = self.around.now
        trade = TradeRecord(
            self.around.make_id(), order.order_id, fill.symbol, order.side,
            order.position_side, fill.price, fill.quantity, fill.fee, self.asset, fill.realized,
            fill.maker, fill.time,
        )  # fmt: skip
        self.trades.append(trade)
        self._note(fill, trade)
        order.executed = instrument.nearest_quantity(order.executed + fill.quantity)
        order.cost += fill.price * fill.quantity
        order.updated = fill.time
        order.status = _STATUS[update.status]
        if order.status == "FILLED":
            order.quantity = order.executed  # a reduce-only order shrinks to the position
        held = self._change(fill)
        book = self.exchange.book(fill.symbol)
        if not order.by_exchange:
            self._tell(events.trade_lite(order, instrument, trade, now))
        self._tell(
            events.account_update(
                "ORDER", self.asset, self._wallet, 0.0,
                [events.position_change(held, book.margin_type, book.mark)], fill.time, now,
                locked=self.locked(),
            )
        )  # fmt: skip
        execution = "CALCULATED" if order.by_exchange else "TRADE"
        self._tell(events.order_update(order, instrument, execution, fill.time, now, trade))
        if order.by_exchange and not order.deleveraged:
            self.around.liquidated(events.force_order_event(order, instrument, trade, now))
        if not order.is_open:
            self._by_key.pop(order.key, None)
            self._finish_algo(order)

    def _change(self, fill: Fill) -> Holding:
        """Move wallet and position by one trade."""
        held = self.shadow(fill.symbol, fill.position_side)
        before = held.quantity
        held.change(fill.side.sign * fill.quantity, fill.price, fill.time)
        held.fees += fill.fee
        book = self.exchange.book(fill.symbol)
        if book.isolated:
            margin = held.isolated_margin
            held.set_apart(book.leverage, before)
            self._note_margin(held, "TRADE", held.isolated_margin - margin, fill.time)
        self._wallet += fill.realized - fill.fee
        return held

    def _note(self, fill: Fill, trade: TradeRecord) -> None:
        for kind, amount in (("REALIZED_PNL", fill.realized), ("COMMISSION", -fill.fee)):
            if amount:
                self._earn(kind, amount, fill.symbol, fill.time, str(trade.id))

    def _earn(
        self, kind: str, amount: float, symbol: str, time: int, trade_id: str = "", info: str = ""
    ) -> None:
        self.changed = time
        number = self.around.make_id()
        self.incomes.append(
            Income(number, symbol, kind, amount, self.asset, time, info or kind, trade_id)
        )

    def _order_of(self, fill: Fill, update: OrderUpdate) -> OrderRecord:
        """The order a fill belongs to; a conditional one becomes a normal order here."""
        record = self._by_key.get(fill.client_id)
        if record is None:
            assert update.order is not None, f"a fill of an unknown order: {fill.client_id}"
            record = self._made_by_exchange(update.order, fill)
        if isinstance(record, AlgoRecord):
            record = self.trigger(record, fill.time)
        return record

    def _made_by_exchange(self, order: Order, fill: Fill) -> OrderRecord:
        record = OrderRecord(
            order.client_id, self.around.make_id(), order.client_id, order.symbol,
            order.side.name, "LIMIT", str(order.position_side), "IOC", order.quantity, fill.price,
            True, fill.time, fill.time, by_exchange=True,
        )  # fmt: skip
        self.keep(record)
        return record

    def trigger(self, algo: AlgoRecord, time: int, key: str = "") -> OrderRecord:
        """A conditional order is triggered: a normal order with an id of its own appears."""
        algo.status, algo.triggered, algo.updated = "TRIGGERING", time, time
        self.announce_algo(algo)
        limit = algo.type in ("STOP", "TAKE_PROFIT")
        order = OrderRecord(
            key or algo.key, self.around.make_id(), algo.client_id, algo.symbol, algo.side,
            "LIMIT" if limit else "MARKET", algo.position_side, algo.time_in_force,
            algo.quantity, algo.price, algo.reduce_only or algo.close_position, time, time,
            close_position=algo.close_position, algo=algo,
        )  # fmt: skip
        self._by_key.pop(algo.key, None)
        self.keep(order)
        algo.status, algo.actual = "TRIGGERED", order
        self.announce_algo(algo)
        self.announce(order)
        return order

    def _finish_algo(self, order: OrderRecord) -> None:
        if order.algo is not None:
            order.algo.status, order.algo.updated = "FINISHED", order.updated
            self.announce_algo(order.algo)

    def _ended(self, update: OrderUpdate) -> None:
        record = self._by_key.get(update.client_id)
        if record is None:
            return  # an order that was replaced by its changed self
        if isinstance(record, OrderRecord):
            self.end_order(record, _STATUS[update.status], update.time)
        elif update.status is OrderStatus.CANCELED or record.close_position:
            self.end_algo(record, _STATUS[update.status])
        else:
            record.triggered = update.time
            record.status = "TRIGGERING"
            self.announce_algo(record)
            self.end_algo(record, "REJECTED", update.message or "ReduceOnly Order is rejected.")

    # -- funding, insurance, and changes by the client ---------------------------------------------

    def _funded(self, funding: Funding) -> None:
        self._wallet += funding.amount
        self._earn("FUNDING_FEE", funding.amount, funding.symbol, funding.time)
        book = self.exchange.book(funding.symbol)
        positions = []
        if book.isolated:  # in cross mode only the wallet is told
            positions = [
                events.position_change(held, book.margin_type, book.mark)
                for (symbol, _), held in self._shadows.items()
                if symbol == funding.symbol and held.quantity
            ]
        self._tell(
            events.account_update(
                "FUNDING_FEE", self.asset, self._wallet, funding.amount, positions, funding.time,
                self.around.now, locked=self.locked(),
            )
        )  # fmt: skip

    def _settle_wallet(self) -> None:
        """The insurance fund has paid when the wallet holds more than the trades explain."""
        paid = self.exchange.balance - self._wallet
        self._wallet = self.exchange.balance
        if abs(paid) < 1e-6:
            return
        now = self.around.now
        self._earn("INSURANCE_CLEAR", paid, "", now)
        self._tell(
            events.account_update(
                "INSURANCE_CLEAR", self.asset, self._wallet, paid, (), now, now,
                locked=self.locked(),
            )
        )  # fmt: skip

    def deposit(self, amount: float) -> None:
        """Add to the wallet, or take from it."""
        self.exchange.transfer(amount)
        self._wallet += amount
        now = self.around.now
        self._earn("TRANSFER", amount, "", now)
        reason = "DEPOSIT" if amount > 0.0 else "WITHDRAW"
        self._tell(
            events.account_update(
                reason, self.asset, self._wallet, amount, (), now, now, locked=self.locked()
            )
        )

    # -- margin ------------------------------------------------------------------------------------

    def add_margin(self, symbol: str, side: PositionSide, amount: float) -> None:
        """Set wallet apart for an isolated position, or give back; raises ApiError."""
        refused = self.exchange.add_margin(symbol, side, amount)
        if refused is not None:
            raise ApiError(*refused)
        held, now = self.shadow(symbol, side), self.around.now
        held.isolated_margin += amount
        held.added_margin += amount
        self._note_margin(held, "USER_ADJUST", amount, now)
        book = self.exchange.book(symbol)
        self._tell(
            events.account_update(
                "MARGIN_TRANSFER", self.asset, self._wallet, 0.0,
                [events.position_change(held, book.margin_type, book.mark)], now, now,
                locked=self.locked(),
            )
        )  # fmt: skip

    def change_leverage(self, symbol: str, leverage: int) -> None:
        """Set a symbol's leverage; what backs an isolated position stays with it."""
        self.exchange.change_leverage(symbol, leverage)
        if not self.exchange.book(symbol).isolated:
            return
        for held in self.held():
            if held.instrument.symbol == symbol:
                held.added_margin = held.isolated_margin - held.initial_margin(leverage)

    def _note_margin(self, held: Holding, kind: str, amount: float, time: int) -> None:
        if amount:
            self.margin_changes.append(
                MarginChange(held.instrument.symbol, str(held.side), kind, amount, self.asset, time)
            )

    @property
    def hedge_mode(self) -> bool:
        """True when long and short positions of one symbol are apart."""
        return self.exchange.settings.hedge_mode

    @hedge_mode.setter
    def hedge_mode(self, value: bool) -> None:
        exchange = self.exchange
        exchange.settings = msgspec.structs.replace(exchange.settings, hedge_mode=value)

    def fill_in_parts(self, count: int) -> None:
        """Split every fill from now on into that many trades."""
        exchange = self.exchange
        exchange.settings = msgspec.structs.replace(exchange.settings, fill_parts=count)
