"""Orders as clients send them: checked, placed, changed and cancelled on an `Account`."""

from __future__ import annotations

from candlewick.models import (
    Instrument,
    Order,
    OrderStatus,
    OrderType,
    OrderUpdate,
    PositionSide,
    Side,
    TimeInForce,
    TriggerPrice,
)
from candlewick.sandbox.account import Account
from candlewick.sandbox.records import AlgoRecord, Amendment, OrderRecord
from candlewick.sandbox.settings import SandboxSettings
from candlewick.sandbox.wire import ApiError, Params, decimals, number

__all__ = ["CONDITIONAL", "Trading"]

CONDITIONAL = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
_SIDES = ("BUY", "SELL")
_POSITION_SIDES = ("BOTH", "LONG", "SHORT")
_LIVES = ("GTC", "IOC", "FOK", "GTX", "GTD")
_ALGO_LIVES = (*_LIVES, "GTE_GTC")
_WORKING = ("CONTRACT_PRICE", "MARK_PRICE")
_RESPONSES = ("ACK", "RESULT")
_SELF_TRADE = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
_SHORTEST_LIFE_MS = 600_000  # of orders that end by themselves
_END_OF_TIME = 253_402_300_799_000
_MATCHES = (
    "NONE", "OPPONENT", "OPPONENT_5", "OPPONENT_10", "OPPONENT_20",
    "QUEUE", "QUEUE_5", "QUEUE_10", "QUEUE_20",
)  # fmt: skip
_BAND = 0.05  # PERCENT_PRICE: how far a limit price may be off


class Trading:
    """Carries out what one account asks for; refuses with the exchange's codes."""

    def __init__(self, account: Account, settings: SandboxSettings) -> None:
        self.account = account
        self.settings = settings

    # -- normal orders -----------------------------------------------------------------------------

    def place(self, params: Params) -> OrderRecord:
        """Place a MARKET or LIMIT order."""
        record = self.check(params)
        self._submit(record)
        return record

    def check(self, params: Params) -> OrderRecord:
        """Check a new order as far as it can be without the market; returns what it would be."""
        account, instrument = self.account, self.instrument(params.need("symbol"))
        params.need("side")
        params.need("type")
        side = params.choice("side", _SIDES, "", -1117)
        kind = params.choice("type", ("MARKET", "LIMIT", *CONDITIONAL), "", -1116)
        if kind in CONDITIONAL:
            raise ApiError(-4120)
        if params.flag("closePosition"):
            raise ApiError(-4136, type=kind, close="true")
        price, life = 0.0, "GTC"
        if kind == "LIMIT":
            params.need("timeInForce")
            life = params.choice("timeInForce", _LIVES, "", -1115)
            price = self._matched(instrument, params, side)
            price = price or self._price(instrument, params, "price")
            self._in_band(instrument, side, price)
        else:
            self._not_with(params, "price", "timeInForce")
            self._no_match(params)
        quantity = self._quantity(instrument, params)
        position_side, reduce_only = self._position_side(params, side)
        client_id = params.client_id("newClientOrderId")
        params.choice("newOrderRespType", _RESPONSES, "ACK", -1136)
        now, number_ = account.around.now, account.around.make_id()
        record = OrderRecord(
            f"o{number_}", number_, client_id or f"sandbox_{number_}", instrument.symbol, side,
            kind, position_side, life, quantity, price, reduce_only, now, now,
            self_trade=params.choice("selfTradePreventionMode", _SELF_TRADE, "EXPIRE_MAKER"),
            good_till=self._good_till(params, life),
            price_match=params.text("priceMatch", "NONE"),
        )  # fmt: skip
        self._is_free(record)
        return record

    def _is_free(self, record: OrderRecord) -> None:
        live = self.account.open_orders()
        if any(order.client_id == record.client_id for order in live):
            raise ApiError(-4116)
        limit = self.settings.limits.open_orders
        if limit and sum(order.symbol == record.symbol for order in live) >= limit:
            raise ApiError(-2025)
        if record.reduce_only and self.account.hedge_mode:
            self._fits_position(record)

    def _fits_position(self, record: OrderRecord) -> None:
        """In hedge mode an order cannot close more than there is."""
        side = PositionSide(record.position_side)
        held = self.account.shadow(record.symbol, side).quantity
        if record.quantity > abs(held):
            raise ApiError(-2022)

    def _submit(self, record: OrderRecord) -> None:
        account = self.account
        reports = account.exchange.submit(self._as_order(record), account.around.now)
        self._refused(reports[0])
        account.keep(record)
        account.announce(record)
        account.book(reports[1:])

    @staticmethod
    def _refused(report: object) -> None:
        if isinstance(report, OrderUpdate) and report.status is OrderStatus.REJECTED:
            raise ApiError(report.code, report.message)

    @staticmethod
    def _as_order(record: OrderRecord) -> Order:
        life = "GTC" if record.time_in_force in ("GTD", "GTE_GTC") else record.time_in_force
        return Order(
            record.key, record.symbol, Side[record.side], OrderType(record.type.lower()),
            record.quantity, price=record.price, time_in_force=TimeInForce(life),
            reduce_only=record.reduce_only, position_side=PositionSide(record.position_side),
            created_time=record.created,
        )  # fmt: skip

    def find(self, params: Params, id_name: str = "origClientOrderId") -> OrderRecord | None:
        """Look an order up by its id or client id; of several with one client id the newest."""
        symbol = self.instrument(params.need("symbol")).symbol
        if "orderId" not in params and id_name not in params:
            raise ApiError(-1102, name=id_name)
        if "orderId" in params:
            found = self.account.orders.get(params.integer("orderId"))
            return found if found is not None and found.symbol == symbol else None
        wanted = params.text(id_name)
        newest = reversed(self.account.orders.values())
        return next((o for o in newest if o.client_id == wanted and o.symbol == symbol), None)

    def cancel(self, params: Params) -> OrderRecord:
        """Cancel one order."""
        order = self.find(params)
        if order is None or not order.is_open:
            raise ApiError(-2011)
        return self.cancel_order(order)

    def cancel_order(self, order: OrderRecord) -> OrderRecord:
        """Take an order off the book."""
        account = self.account
        reports = account.exchange.cancel(order.key, order.symbol, account.around.now)
        self._refused(reports[0])
        account.book(reports)
        return order

    def cancel_all(self, symbol: str) -> None:
        """Cancel the normal orders of a symbol; the conditional ones stay."""
        for order in self.account.open_orders(self.instrument(symbol).symbol):
            self.cancel_order(order)

    def expire_due(self, now: int) -> None:
        """End the orders whose time has come."""
        for order in self.account.open_orders():
            if order.good_till and order.good_till <= now:
                self.account.exchange.cancel(order.key, order.symbol, now)
                self.account.end_order(order, "EXPIRED", now)
        for algo in self.account.open_algos():
            if algo.good_till and algo.good_till <= now:
                if not algo.watched:
                    self.account.exchange.cancel(algo.key, algo.symbol, now)
                self.account.end_algo(algo, "EXPIRED")

    def modify(self, params: Params) -> OrderRecord:
        """Change price and quantity of a resting limit order; it keeps its id."""
        order = self.find(params)
        if order is None or not order.is_open:
            raise ApiError(-2013)
        instrument = self.instruments[order.symbol]
        if order.type != "LIMIT":
            raise ApiError(-4120)
        if params.choice("side", _SIDES, "", -1117) != order.side:
            raise ApiError(-1117)
        price = self._price(instrument, params, "price")
        quantity = self._quantity(instrument, params)
        if (price, quantity) == (order.price, order.quantity):
            raise ApiError(-5027)
        self._in_band(instrument, order.side, price)
        return self._replace(order, price, quantity)

    def _replace(self, order: OrderRecord, price: float, quantity: float) -> OrderRecord:
        account = self.account
        exchange, now = account.exchange, account.around.now
        before = (order.price, order.quantity)
        exchange.cancel(order.key, order.symbol, now)
        account.rename(order, f"o{account.around.make_id()}")
        order.price, order.quantity = price, quantity
        reports = exchange.submit(self._as_order(order), now)
        refusal = reports[0]
        if isinstance(refusal, OrderUpdate) and refusal.status is OrderStatus.REJECTED:
            order.price, order.quantity = before
            exchange.submit(self._as_order(order), now)
            raise ApiError(refusal.code, refusal.message)
        order.amendments += 1
        order.updated = now
        account.amendments.append(
            Amendment(
                account.around.make_id(), order, now, before[0], price, before[1], quantity,
                order.amendments,
            )
        )  # fmt: skip
        account.announce(order, "AMENDMENT")
        account.book(reports[1:])
        return order

    # -- conditional orders ------------------------------------------------------------------------

    def place_algo(self, params: Params) -> AlgoRecord:
        """Place a conditional order."""
        account, algo = self.account, self._check_algo(params)
        to_reject = account.reject_triggers > 0 and algo.type != "TRAILING_STOP_MARKET"
        algo.watched = to_reject or algo.type in ("STOP", "TAKE_PROFIT")
        if not algo.watched:
            reports = account.exchange.submit(self._algo_as_order(algo), account.around.now)
            self._refused(reports[0])
        elif self._is_reached(algo, account.exchange.book(algo.symbol).last):
            raise ApiError(-2021)
        account.keep(algo)
        account.announce_algo(algo)
        return algo

    def _check_algo(self, params: Params) -> AlgoRecord:
        account = self.account
        if params.need("algoType") != "CONDITIONAL":
            raise ApiError(-1130, name="algoType")
        instrument = self.instrument(params.need("symbol"))
        params.need("side")
        params.need("type")
        side = params.choice("side", _SIDES, "", -1117)
        kind = params.choice("type", CONDITIONAL, "", -1116)
        close = params.flag("closePosition")
        self._algo_combination(params, kind, close)
        trailing = kind == "TRAILING_STOP_MARKET"
        trigger = self._price(
            instrument, params, "activatePrice" if trailing else "triggerPrice", must=not trailing
        )
        limit = kind in ("STOP", "TAKE_PROFIT")
        callback = params.amount("callbackRate") if trailing else 0.0
        if trailing and not 0.1 <= callback <= 10.0:
            raise ApiError(-2007, "Invalid callBack rate.")
        position_side, reduce_only = self._position_side(params, side)
        life = params.choice("timeInForce", _ALGO_LIVES, "GTE_GTC" if close else "GTC", -1115)
        now, number_ = account.around.now, account.around.make_id()
        algo = AlgoRecord(
            f"a{number_}", number_, params.client_id("clientAlgoId") or f"sandbox_{number_}",
            instrument.symbol, side, kind, position_side,
            life,
            0.0 if close else self._quantity(instrument, params),
            self._price(instrument, params, "price") if limit else 0.0, trigger, callback,
            params.choice("workingType", _WORKING, "CONTRACT_PRICE", -4031), close, reduce_only,
            params.flag("priceProtect"), now, now,
            self_trade=params.choice("selfTradePreventionMode", _SELF_TRADE, "EXPIRE_MAKER"),
            good_till=self._good_till(params, life),
        )  # fmt: skip
        self._algo_is_free(algo)
        return algo

    def _algo_combination(self, params: Params, kind: str, close: bool) -> None:
        self._no_match(params)
        if close:
            if params.amount("quantity"):
                raise ApiError(-4137)
            self._not_with(params, "reduceOnly")
            if kind not in ("STOP_MARKET", "TAKE_PROFIT_MARKET"):
                raise ApiError(-4136, type=kind, close="true")
        if "reduceOnly" in params and not self.settings.algo_reduce_only:
            raise ApiError(-1106, name="reduceOnly")
        if kind == "TRAILING_STOP_MARKET":
            params.need("callbackRate")
            self._not_with(params, "triggerPrice", "price")
        else:
            self._not_with(params, "activatePrice", "callbackRate")

    def _algo_is_free(self, algo: AlgoRecord) -> None:
        account = self.account
        live = account.open_algos()
        if any(other.client_id == algo.client_id for other in live):
            raise ApiError(-4116)
        limit = self.settings.limits.conditional_orders
        if limit and len(live) >= limit:
            raise ApiError(-4045)
        if not algo.close_position:
            return
        held = account.shadow(algo.symbol, PositionSide(algo.position_side)).quantity
        if held * Side[algo.side].sign >= 0.0:
            raise ApiError(-4509)
        same = (algo.symbol, algo.type, algo.side, algo.position_side)
        for other in live:
            if other.close_position and same == (
                other.symbol, other.type, other.side, other.position_side
            ):  # fmt: skip
                raise ApiError(-4130)

    @staticmethod
    def _algo_as_order(algo: AlgoRecord) -> Order:
        return Order(
            algo.key, algo.symbol, Side[algo.side], OrderType(algo.type.lower()), algo.quantity,
            trigger_price=algo.trigger, callback_rate=algo.callback / 100.0,
            reduce_only=algo.reduce_only, close_position=algo.close_position,
            trigger_by=TriggerPrice.MARK if algo.working_type == "MARK_PRICE"
            else TriggerPrice.LAST,
            position_side=PositionSide(algo.position_side), created_time=algo.created,
        )  # fmt: skip

    def find_algo(self, params: Params) -> AlgoRecord | None:
        """Look a conditional order up by its id or client id."""
        if "algoId" in params:
            return self.account.algos.get(params.integer("algoId"))
        if "clientAlgoId" not in params:
            raise ApiError(-1102, name="algoId")
        wanted = params.text("clientAlgoId")
        newest = reversed(self.account.algos.values())
        return next((algo for algo in newest if algo.client_id == wanted), None)

    def cancel_algo(self, params: Params) -> AlgoRecord:
        """Cancel one conditional order that waits for its trigger."""
        algo = self.find_algo(params)
        if algo is None or not algo.is_open:
            raise ApiError(-2011)
        return self._cancel_algo(algo)

    def _cancel_algo(self, algo: AlgoRecord) -> AlgoRecord:
        account = self.account
        if algo.watched:
            account.end_algo(algo, "CANCELED")
            return algo
        reports = account.exchange.cancel(algo.key, algo.symbol, account.around.now)
        self._refused(reports[0])
        account.book(reports)
        return algo

    def cancel_all_algos(self, symbol: str) -> None:
        """Cancel the conditional orders of a symbol; the normal ones stay."""
        for algo in self.account.open_algos(self.instrument(symbol).symbol):
            self._cancel_algo(algo)

    def _is_reached(self, algo: AlgoRecord, price: float) -> bool:
        """True when a last price, or the mark price that goes with it, sets a watched order off."""
        upward = (algo.type in ("STOP", "STOP_MARKET")) == (algo.side == "BUY")
        if algo.type == "TRAILING_STOP_MARKET" or not price:
            return False
        basis = self.account.exchange.book(algo.symbol).basis
        if basis and algo.working_type == "MARK_PRICE":
            price = self.instruments[algo.symbol].nearest_price(price + basis)
        return price >= algo.trigger if upward else price <= algo.trigger

    def watch(self, symbol: str, low: float, high: float) -> None:
        """Set off the watched orders whose trigger lies in a range of prices."""
        account = self.account
        for algo in list(account.watched(symbol)):
            if self._is_reached(algo, low) or self._is_reached(algo, high):
                self._set_off(algo)

    def _set_off(self, algo: AlgoRecord) -> None:
        account = self.account
        now = account.around.now
        if account.reject_triggers > 0:
            account.reject_triggers -= 1
            algo.triggered, algo.status, algo.updated = now, "TRIGGERING", now
            account.announce_algo(algo)
            account.end_algo(algo, "REJECTED", "Margin is insufficient.")
            return
        order = account.trigger(algo, now, f"o{account.around.make_id()}")
        reports = account.exchange.submit(self._as_order(order), now)
        if isinstance(reports[0], OrderUpdate) and reports[0].status is OrderStatus.REJECTED:
            account.end_order(order, "EXPIRED", now)
        else:
            account.book(reports[1:])

    # -- what all orders have in common ------------------------------------------------------------

    @property
    def instruments(self) -> dict[str, Instrument]:
        """What can be traded."""
        return self.account.instruments

    def instrument(self, symbol: str) -> Instrument:
        """Look a symbol up."""
        try:
            return self.account.instruments[symbol.upper()]
        except KeyError:
            raise ApiError(-1121) from None

    @staticmethod
    def _not_with(params: Params, *names: str) -> None:
        for name in names:
            if name in params and params.text(name).lower() != "false":
                raise ApiError(-1106, name=name)

    @staticmethod
    def _no_match(params: Params) -> None:
        if params.text("priceMatch", "NONE") != "NONE":
            raise ApiError(-1130, name="priceMatch")

    def _matched(self, instrument: Instrument, params: Params, side: str) -> float:
        """The price of a level of the book that the exchange is to pick; 0.0 for none."""
        mode = params.choice("priceMatch", _MATCHES, "NONE", -1130)
        if mode == "NONE":
            return 0.0
        if "price" in params:
            raise ApiError(-1106, name="price")
        way, _, level = mode.partition("_")
        below = (way == "QUEUE") == (side == "BUY")
        distance = int(level or 1) * instrument.tick * (-1.0 if below else 1.0)
        return instrument.nearest_price(
            self.account.exchange.book(instrument.symbol).last + distance
        )

    @staticmethod
    def _price(instrument: Instrument, params: Params, name: str, must: bool = True) -> float:
        if not must and name not in params:
            return 0.0
        params.need(name)
        price = params.amount(name)
        if price <= 0.0:
            raise ApiError(-4013, "Price less than min price.")
        if decimals(price) > decimals(instrument.tick) + 1:
            raise ApiError(-1111)
        return price

    @staticmethod
    def _quantity(instrument: Instrument, params: Params) -> float:
        params.need("quantity")
        quantity = params.amount("quantity")
        if quantity <= 0.0:
            raise ApiError(-4003)
        if decimals(quantity) > decimals(instrument.step):
            raise ApiError(-1111)
        return quantity

    def _good_till(self, params: Params, life: str) -> int:
        """When an order with an end of its own ends, market time; 0 for others."""
        if life != "GTD":
            return 0
        end = params.need_integer("goodTillDate") // 1_000 * 1_000  # whole seconds count
        if not self.account.around.now + _SHORTEST_LIFE_MS < end < _END_OF_TIME:
            raise ApiError(-5040)
        return end

    def _in_band(self, instrument: Instrument, side: str, price: float) -> None:
        mark = self.account.exchange.book(instrument.symbol).mark
        if not mark:
            return
        if side == "BUY" and price > mark * (1.0 + _BAND):
            raise ApiError(-4016, limit=number(instrument.nearest_price(mark * (1.0 + _BAND))))
        if side == "SELL" and price < mark * (1.0 - _BAND):
            raise ApiError(-4024, limit=number(instrument.nearest_price(mark * (1.0 - _BAND))))

    def _position_side(self, params: Params, side: str) -> tuple[str, bool]:
        """Which position an order belongs to, and whether it can only reduce it."""
        chosen = params.choice("positionSide", _POSITION_SIDES, "BOTH", -4060)
        reduce_only = params.flag("reduceOnly")
        if not self.account.hedge_mode:
            if chosen != "BOTH":
                raise ApiError(-4061)
            return chosen, reduce_only
        if chosen == "BOTH":
            raise ApiError(-4061)
        if "reduceOnly" in params:
            raise ApiError(-1106, name="reduceOnly")
        return chosen, (chosen == "LONG") == (side == "SELL")
