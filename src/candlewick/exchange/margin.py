"""Margin arithmetic: what positions and orders bind, and where positions are liquidated.

The formulas are Binance's for USDⓈ-M contracts, initial margin:
https://www.binance.com/en/support/faq/360033162192, liquidation price:
https://www.binance.com/en/support/faq/how-to-calculate-liquidation-price-of-usd%E2%93%A2-m-futures-contracts-b3c689c1f50a44cabb3a84e663b81d93
solved for the tier the position's notional falls into at the liquidation price itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from candlewick.exchange.book import SymbolBook
from candlewick.exchange.holding import Holding
from candlewick.exchange.rules import reduces
from candlewick.models import Instrument, Order, PositionSide
from candlewick.models.members import BUY, SELL

__all__ = [
    "initial_margin",
    "liquidation_price",
    "removable",
    "set_isolated_liquidation",
    "set_shared_liquidation",
    "set_sole_liquidation",
    "slack",
]


def liquidation_price(
    instrument: Instrument, quantity: float, entry_price: float, collateral: float
) -> float:
    """Price at which collateral plus open profit equals the maintenance margin; 0.0 if none.

    Args:
        instrument: gives the margin tiers.
        quantity: signed, base units, not zero.
        entry_price: average entry price.
        collateral: quote currency that backs this position alone: the isolated margin, or in
            cross mode the wallet plus other positions' open profit less their maintenance margin.

    A short whose collateral is lost beyond its whole value is liquidated at any price: one tick.
    """
    size = abs(quantity)
    brackets = instrument.brackets
    for bracket in brackets:
        # collateral + quantity * (p - entry) = size * p * rate - amount
        slope = quantity - size * bracket.rate
        price = (quantity * entry_price - collateral - bracket.amount) / slope
        notional = size * price
        # a price on the border of two tiers must not fall between them by rounding
        if notional <= bracket.cap * (1.0 + 1e-12) or bracket is brackets[-1]:
            if price > 0.0:
                return price
            return 0.0 if quantity > 0.0 else instrument.tick
    return 0.0


def initial_margin(book: SymbolBook, extra: Order | None = None) -> float:
    """What the book's positions and entries bind, and ``extra`` if it were added.

    On each side ``max(|position + bids|, |position - asks|) / leverage``, in quote currency, the
    position valued at the mark price. In isolated margin it counts at its entry price, and what
    was added to its margin is bound too.
    """
    if not book.open_positions and not book.resting and not book.arrivals:
        if extra is None or reduces(extra):
            return 0.0
        return (extra.price or book.last) * extra.quantity / book.leverage
    last, mark, isolated, added = book.last, book.mark, book.isolated, 0.0
    notional: dict[PositionSide, float] = {}
    for side, held in book.holdings.items():
        if held.quantity:
            notional[side] = held.quantity * (held.entry_price if isolated else mark)
            added += held.added_margin
    if not book.resting and not book.arrivals and extra is None:
        return sum(map(abs, notional.values())) / book.leverage + added
    bids: dict[PositionSide, float] = {}
    asks: dict[PositionSide, float] = {}
    waiting = [(r.order, r.filled) for r in (*book.resting.values(), *book.arrivals)]
    if extra is not None:
        waiting.append((extra, 0.0))
    for order, filled in waiting:
        if reduces(order) or (order.type.is_conditional and order is not extra):
            continue
        worth = (order.price or last) * (order.quantity - filled)
        on = bids if order.side is BUY else asks
        on[order.position_side] = on.get(order.position_side, 0.0) + worth
    total = 0.0
    for side in dict.fromkeys((*notional, *bids, *asks)):
        value = notional.get(side, 0.0)
        total += max(abs(value + bids.get(side, 0.0)), abs(value - asks.get(side, 0.0)))
    return total / book.leverage + added


def removable(book: SymbolBook, held: Holding) -> float:
    """What an isolated position can spare of its margin at the mark price, quote currency."""
    loss = min(held.unrealized(book.mark), 0.0)
    return held.isolated_margin + loss - held.notional(book.mark) / book.leverage


def slack(balance: float, books: Iterable[SymbolBook]) -> float:
    """Wallet and open profit at the mark prices, less the maintenance margin of all positions."""
    return balance + sum(
        held.unrealized(book.mark) - _maintenance(book, held)
        for book in books
        for held in book.holdings.values()
        if held.quantity
    )


def _maintenance(book: SymbolBook, held: Holding) -> float:
    return book.instrument.maintenance_margin(held.notional(book.mark))


def _safe_price(instrument: Instrument, held: Holding, collateral: float) -> float:
    """The liquidation price on the tick that comes first; 0.0 if none."""
    price = liquidation_price(instrument, held.quantity, held.entry_price, collateral)
    if price <= 0.0:
        return 0.0
    side = SELL if held.quantity > 0.0 else BUY
    return max(instrument.round_stop(price, side), instrument.tick)


def set_isolated_liquidation(book: SymbolBook) -> None:
    """Set the prices of positions that are each backed by their own margin."""
    found: dict[PositionSide, float] = {}
    for side, held in book.holdings.items():
        if held.quantity:
            price = _safe_price(book.instrument, held, held.isolated_margin)
            if price > 0.0:
                found[side] = price
    book.liquidation = book.watch = found


def set_sole_liquidation(book: SymbolBook, balance: float) -> None:
    """Set the price of the account's only position, if it is in this book, in cross mode."""
    found: dict[PositionSide, float] = {}
    for side, held in book.holdings.items():
        if held.quantity:
            price = _safe_price(book.instrument, held, balance)
            if price > 0.0:
                found[side] = price
    book.liquidation = book.watch = found


def set_shared_liquidation(balance: float, books: Iterable[SymbolBook]) -> None:
    """Set the prices of several positions that lean on one wallet.

    Each position is liquidated where it alone uses up the slack of the account. Since all of them
    may move, each is watched from where it uses up its equal share: as long as none has, the
    account is solvent.
    """
    every = list(books)
    left = slack(balance, every)
    share = min(left, left / max(sum(book.open_positions for book in every), 1))
    for book in every:
        book.liquidation, book.watch = {}, {}
        for side, held in book.holdings.items():
            if not held.quantity:
                continue
            own = _maintenance(book, held) - held.unrealized(book.mark)
            for prices, loss in ((book.liquidation, left), (book.watch, share)):
                price = _safe_price(book.instrument, held, own + loss)
                if price > 0.0:
                    prices[side] = price
