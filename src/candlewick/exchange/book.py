"""`SymbolBook`: what rests on the simulated exchange for one symbol, and what a price sets off.

Nothing can happen to an account while the price stays inside the book's *band*: no order, no
trailing stop and no liquidation lies between ``lower`` and ``upper``. A quiet candle therefore
costs two comparisons however many orders rest.
"""

from __future__ import annotations

import math

from candlewick.exchange.holding import Holding
from candlewick.exchange.settings import MarginType
from candlewick.models import Instrument, Order, OrderType, PositionSide, Side

__all__ = ["Resting", "SymbolBook", "Walk"]

_INF = math.inf


class Resting:
    """An order on the book: as sent, what has been filled, where a trailing one stands."""

    __slots__ = ("cost", "extreme", "filled", "not_before", "order", "sequence")

    def __init__(self, order: Order, sequence: int, extreme: float, not_before: int) -> None:
        self.order = order
        self.sequence = sequence
        self.filled = 0.0
        self.cost = 0.0  # sum of price * quantity over the fills
        self.extreme = extreme  # best price since a trailing stop is active; 0.0 before
        self.not_before = not_before  # the candle count from which the order may fire

    @property
    def average_price(self) -> float:
        """Average price of the fills, 0.0 before the first."""
        return self.cost / self.filled if self.filled else 0.0

    def level(self) -> float:
        """The price that sets the order off now; 0.0 for a trailing stop not yet active."""
        order = self.order
        if order.type is OrderType.LIMIT:
            return order.price
        if order.type is OrderType.TRAILING_STOP_MARKET:
            return self.extreme * (1.0 + order.side.sign * order.callback_rate)
        return order.trigger_price

    def fires_downward(self) -> bool:
        """True when a falling price sets it off: buy limits, sell stops, buy take-profits."""
        buys = self.order.side is Side.BUY
        if self.order.type in (OrderType.LIMIT, OrderType.TAKE_PROFIT_MARKET):
            return buys
        return not buys

    def follow(self, price: float) -> None:
        """Move a trailing stop's best price, activating it when its activation price is reached."""
        order = self.order
        sells = order.side is Side.SELL
        if self.extreme == 0.0:
            activation = order.trigger_price
            if (price >= activation) if sells else (price <= activation):
                self.extreme = price
        elif (price > self.extreme) if sells else (price < self.extreme):
            self.extreme = price


class Walk:
    """Where the exchange stands inside a candle: the legs still to go and the present price."""

    __slots__ = ("legs", "price", "time")

    def __init__(self, price: float, time: int) -> None:
        self.price = price
        self.time = time
        self.legs: list[float] | None = None  # prices still to reach; None during the open


class SymbolBook:
    """Orders and positions of one account in one symbol."""

    __slots__ = (
        "arrivals", "candles", "holdings", "instrument", "last", "leverage", "liquidation",
        "lower", "margin_type", "next_funding", "resting", "upper", "walk",
    )  # fmt: skip

    def __init__(self, instrument: Instrument, leverage: int, margin_type: MarginType) -> None:
        self.instrument = instrument
        self.leverage = leverage
        self.margin_type = margin_type
        self.holdings: dict[PositionSide, Holding] = {}
        self.resting: dict[str, Resting] = {}
        self.arrivals: list[Resting] = []
        self.last = 0.0
        self.lower = -_INF
        self.upper = _INF
        self.next_funding = 0
        self.liquidation: dict[PositionSide, float] = {}
        self.walk: Walk | None = None
        self.candles = 0

    def holding(self, side: PositionSide) -> Holding:
        """The position of that side, made flat when there was none."""
        held = self.holdings.get(side)
        if held is None:
            held = self.holdings[side] = Holding(self.instrument, side)
        return held

    def set_band(self) -> None:
        """Recompute the prices between which nothing can happen."""
        if self.arrivals or self.walk is not None:
            self.lower = _INF  # every price matters now
            return
        lower, upper = -_INF, _INF
        for resting in self.resting.values():
            level = resting.level()
            if resting.order.type is OrderType.TRAILING_STOP_MARKET:
                # the opposite bound: a better price moves it, or its activation price starts it
                best = resting.extreme or resting.order.trigger_price
                if resting.order.side is Side.SELL:
                    upper = min(upper, best)
                    lower = max(lower, level)
                else:
                    lower = max(lower, best)
                    upper = min(upper, level or _INF)
            elif resting.fires_downward():
                lower = max(lower, level)
            else:
                upper = min(upper, level)
        for side, price in self.liquidation.items():
            if self.holdings[side].quantity > 0.0:
                lower = max(lower, price)
            else:
                upper = min(upper, price)
        self.lower, self.upper = lower, upper

    def next_event(self, target: float) -> tuple[float, Resting | PositionSide] | None:
        """Find what the walk meets first on its way from the present price to ``target``.

        Returns the price at which it happens and the order, or the side to be liquidated.
        At equal prices stops come before targets and entries, then older orders.
        """
        walk = self.walk
        start = self.last if walk is None else walk.price
        best: tuple[float, int, int] | None = None
        found: tuple[float, Resting | PositionSide] | None = None
        for resting in self.resting.values():
            if resting.not_before > self.candles:
                continue
            price = meeting(resting.level(), resting.fires_downward(), start, target)
            if price is None:
                continue
            patient = resting.order.type in (OrderType.LIMIT, OrderType.TAKE_PROFIT_MARKET)
            rank = (abs(price - start), int(patient), resting.sequence)
            if best is None or rank < best:
                best, found = rank, (price, resting)
        for side, level in self.liquidation.items():
            price = meeting(level, self.holdings[side].quantity > 0.0, start, target)
            if price is not None and (best is None or abs(price - start) < best[0]):
                best, found = (abs(price - start), 0, 0), (price, side)
        return found

    def follow(self, price: float) -> None:
        """Let the trailing stops follow the price."""
        for resting in self.resting.values():
            if resting.order.type is OrderType.TRAILING_STOP_MARKET:
                resting.follow(price)


def meeting(level: float, fires_downward: bool, start: float, target: float) -> float | None:
    """Where a move from ``start`` to ``target`` meets ``level``; None when it does not.

    A level that ``start`` is already beyond is met at ``start``: the price has jumped over it.
    """
    if level <= 0.0:
        return None
    if fires_downward:
        if level >= start:
            return start
        return level if level >= target else None
    if level <= start:
        return start
    return level if level <= target else None
