"""`SymbolBook`: what rests on the simulated exchange for one symbol, and what a price sets off.

Nothing can happen to an account while the price stays inside the book's *band*: no order, no
trailing stop and no liquidation lies between ``lower`` and ``upper``. A quiet candle therefore
costs two comparisons however many orders rest.
"""

from __future__ import annotations

import math

from candlewick.exchange.holding import Holding
from candlewick.exchange.settings import MarginType
from candlewick.models import Instrument, Order, PositionSide
from candlewick.models.members import (
    BUY,
    LIMIT,
    MARK,
    MARKET,
    SELL,
    TAKE_PROFIT_MARKET,
    TRAILING_STOP_MARKET,
)

__all__ = ["AWAKE", "Resting", "SymbolBook", "Walk"]

_INF = math.inf
AWAKE = _INF  # as the lower bound of a band: the next price is looked at, wherever it is


class Resting:
    """An order on the book: as sent, what has been filled, and the price that sets it off.

    ``level`` is that price, 0.0 for a trailing stop that is not active yet; ``downward`` is True
    when a falling price reaches it; a ``patient`` order waits for a better price than the present.
    ``extreme`` is the best price since a trailing stop is active, 0.0 before. ``basis`` is how far
    above the last price the mark price is, where the order waits for that one: ``level`` is always
    a last price. ``cost`` is the sum
    of price * quantity over the fills. The order may fire from the candle count ``not_before`` on.

    What most orders never change stands in the class: a market order sets three attributes.
    """

    filled = 0.0
    cost = 0.0
    extreme = 0.0
    level = 0.0
    not_before = 0
    downward = False
    basis = 0.0
    patient = False
    trails = False

    def __init__(self, order: Order, sequence: int) -> None:
        self.order = order
        self.sequence = sequence
        self.venue_id = str(sequence)
        type = order.type
        if type is MARKET:
            return  # has no level
        buys = order.side is BUY
        self.patient = type is LIMIT or type is TAKE_PROFIT_MARKET
        self.downward = buys if self.patient else not buys
        if type is LIMIT:
            self.level = order.price
        elif type is TRAILING_STOP_MARKET:
            self.trails = True
        else:
            self.level = order.trigger_price

    def lean(self, basis: float, instrument: Instrument) -> None:
        """Say where the mark price is; an order that waits for the last price does not care."""
        if self.order.trigger_by is not MARK or self.basis == basis:
            return
        self.basis = basis
        if self.trails:
            if self.extreme:
                self._set_level(instrument)
        else:
            self.level = instrument.nearest_price(self.order.trigger_price - basis)

    @property
    def average_price(self) -> float:
        """Average price of the fills, 0.0 before the first."""
        return self.cost / self.filled if self.filled else 0.0

    def follow(self, price: float, instrument: Instrument) -> None:
        """Move a trailing stop's best price, activating it when its activation price is reached.

        Without an activation price it is active from the first price on.
        """
        order = self.order
        if self.basis:
            price = instrument.nearest_price(price + self.basis)
        sells = order.side is SELL
        limit = self.extreme or order.trigger_price
        better = price > limit if sells else price < limit
        if better or limit == 0.0 or (self.extreme == 0.0 and price == limit):
            self.extreme = price
            self._set_level(instrument)

    def _set_level(self, instrument: Instrument) -> None:
        order = self.order
        level = instrument.nearest_price(
            self.extreme * (1.0 + order.side.sign * order.callback_rate)
        )
        self.level = instrument.nearest_price(level - self.basis) if self.basis else level

    def best(self, instrument: Instrument) -> float:
        """The last price that moves a trailing stop, or starts it; 0.0 when any does."""
        best = self.extreme or self.order.trigger_price
        return instrument.nearest_price(best - self.basis) if best and self.basis else best


class Walk:
    """Where the exchange stands inside a candle: the legs still to go and the present price."""

    __slots__ = ("legs", "price", "time")

    def __init__(self, price: float, time: int) -> None:
        self.price = price
        self.time = time
        self.legs: list[float] | None = None  # prices still to reach; None during the open


class SymbolBook:
    """Orders and positions of one account in one symbol.

    ``liquidation`` holds the price at which each side is liquidated while no other position moves;
    ``watch`` the price up to which none of the account's positions can be, whatever the others do
    within theirs. With a single position the two are the same. Both are mark prices, which are
    ``basis`` above the last one.
    """

    __slots__ = (
        "arrivals", "basis", "candles", "holdings", "instrument", "last", "leverage", "liquidation",
        "lower", "margin_changed", "margin_type", "next_funding", "open_positions", "resting",
        "upper", "walk", "watch",
    )  # fmt: skip

    def __init__(self, instrument: Instrument, leverage: int, margin_type: MarginType) -> None:
        self.instrument = instrument
        self.leverage = leverage
        self.margin_type = margin_type
        self.holdings: dict[PositionSide, Holding] = {}
        self.open_positions = 0
        self.resting: dict[str, Resting] = {}
        self.arrivals: list[Resting] = []
        self.last = 0.0
        self.basis = 0.0
        self.lower = -_INF
        self.upper = _INF
        self.next_funding = 0
        self.liquidation: dict[PositionSide, float] = {}
        self.watch: dict[PositionSide, float] = {}
        self.margin_changed = False  # the two above are to be computed afresh
        self.walk: Walk | None = None
        self.candles = 0

    @property
    def mark(self) -> float:
        """The mark price: what positions are valued at."""
        if self.basis:
            return self.instrument.nearest_price(self.last + self.basis)
        return self.last

    @property
    def isolated(self) -> bool:
        """True where each position has a margin of its own."""
        return self.margin_type is MarginType.ISOLATED

    def holding(self, side: PositionSide) -> Holding:
        """The position of that side, made flat when there was none."""
        held = self.holdings.get(side)
        if held is None:
            held = self.holdings[side] = Holding(self.instrument, side)
        return held

    def set_band(self) -> None:
        """Recompute the prices between which nothing can happen."""
        lower, upper = -_INF, _INF
        if self.arrivals:
            lower = AWAKE
        for resting in self.resting.values():
            level = resting.level
            if resting.trails:
                # the opposite bound: a better price moves it, or its activation price starts it
                best = resting.best(self.instrument)
                if best == 0.0:
                    lower = AWAKE  # the first price starts it
                elif resting.downward:
                    upper = min(upper, best)
                else:
                    lower = max(lower, best)
                if level == 0.0:
                    continue
            if resting.downward:
                if level > lower:
                    lower = level
            elif level < upper:
                upper = level
        for side, mark in self.watch.items():
            price = mark - self.basis
            if self.holdings[side].quantity > 0.0:
                if price > lower:
                    lower = price
            elif price < upper:
                upper = price
        self.lower, self.upper = lower, upper

    def next_event(
        self, start: float, target: float
    ) -> tuple[float, Resting | PositionSide] | None:
        """Find what the walk meets first on its way from ``start`` to ``target``.

        Returns the price at which it happens and the order, or the side to be liquidated.
        At equal prices liquidations come first, then stops, then targets and entries; of two of a
        kind the older order.
        """
        best: tuple[float, int, int] | None = None
        found: tuple[float, Resting | PositionSide] | None = None
        for resting in self.resting.values():
            if resting.not_before > self.candles:
                continue
            price = meeting(resting.level, resting.downward, start, target)
            if price is None:
                continue
            rank = (abs(price - start), int(resting.patient), resting.sequence)
            if best is None or rank < best:
                best, found = rank, (price, resting)
        for side, level in self.liquidation.items():
            price = meeting(level - self.basis, self.holdings[side].quantity > 0.0, start, target)
            if price is not None and (best is None or abs(price - start) <= best[0]):
                best, found = (abs(price - start), -1, 0), (price, side)
        return found

    def follow(self, price: float) -> None:
        """Let the trailing stops follow the price."""
        for resting in self.resting.values():
            if resting.trails:
                resting.follow(price, self.instrument)

    def path_inside(self, open: float, high: float, low: float, close: float) -> list[float]:
        """The prices to walk through after the open: the extreme that hurts comes first.

        With no position, the extreme that opens one comes first, so that the other can hurt it.
        """
        held = sum(holding.quantity for holding in self.holdings.values())
        if held == 0.0:
            levels = [(r.level, r.downward) for r in self.resting.values()]
            below = max((p for p, down in levels if down and p >= low), default=-_INF)
            above = min((p for p, down in levels if not down and 0.0 < p <= high), default=_INF)
            low_first = open - below <= above - open
        else:
            low_first = held > 0.0
        return [low, high, close] if low_first else [high, low, close]


def meeting(level: float, downward: bool, start: float, target: float) -> float | None:
    """Where a move from ``start`` to ``target`` meets ``level``; None when it does not.

    A level that ``start`` is already beyond is met at ``start``: the price has jumped over it.
    """
    if level <= 0.0:
        return None
    if downward:
        if level >= start:
            return start
        return level if level >= target else None
    if level <= start:
        return start
    return level if level <= target else None
