"""Events of the user stream: what happens to an account, in the exchange's field names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from candlewick.exchange.holding import Holding
from candlewick.exchange.settings import MarginType
from candlewick.models import Instrument
from candlewick.sandbox.records import AlgoRecord, OrderRecord, TradeRecord
from candlewick.sandbox.wire import average, money, number, price_text

__all__ = [
    "account_config",
    "account_update",
    "algo_update",
    "force_order_event",
    "key_expired",
    "order_update",
    "position_change",
    "trade_lite",
]

Event = dict[str, Any]


def order_update(
    order: OrderRecord,
    instrument: Instrument,
    execution: str,
    time: int,
    now: int,
    trade: TradeRecord | None = None,
) -> Event:
    """ORDER_TRADE_UPDATE; ``trade`` where the execution is one."""
    algo = order.algo
    trailing = algo is not None and algo.type == "TRAILING_STOP_MARKET"
    o: Event = {
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side,
        "o": order.type,
        "f": order.time_in_force,
        "q": instrument.format_quantity(order.quantity),
        "p": price_text(instrument, order.price),
        "ap": average(order.average) if order.executed else "0",
        "sp": price_text(instrument, algo.trigger) if algo and not trailing else "0",
        "x": execution,
        "X": order.told_status,
        "i": order.order_id,
        "l": instrument.format_quantity(trade.quantity) if trade else "0",
        "z": instrument.format_quantity(order.executed),
        "L": price_text(instrument, trade.price) if trade else "0",
        "T": time,
        "t": trade.id if trade else 0,
        "b": "0",
        "a": "0",
        "m": trade.maker if trade else False,
        "R": order.reduce_only,
        "wt": algo.working_type if algo else "CONTRACT_PRICE",
        "ot": algo.type if algo else order.type,
        "ps": order.position_side,
        "cp": order.close_position,
        "pP": algo.price_protect if algo else False,
        "si": 0,
        "ss": 0,
        "rp": money(trade.realized) if trade else "0",
        "V": order.self_trade,
        "pm": order.price_match,
        "gtd": order.good_till,
        "er": "0",
    }
    if trade is not None:
        o |= {"N": trade.asset, "n": money(trade.commission)}
    if trailing and algo is not None:
        o |= {"AP": price_text(instrument, algo.trigger), "cr": number(algo.callback)}
    return {"e": "ORDER_TRADE_UPDATE", "E": now, "T": time, "o": o}


def trade_lite(order: OrderRecord, instrument: Instrument, trade: TradeRecord, now: int) -> Event:
    """TRADE_LITE: the short and early notice of a fill."""
    return {
        "e": "TRADE_LITE",
        "E": now,
        "T": trade.time,
        "s": order.symbol,
        "q": instrument.format_quantity(order.quantity),
        "p": price_text(instrument, order.price),
        "m": trade.maker,
        "c": order.client_id,
        "S": order.side,
        "L": price_text(instrument, trade.price),
        "l": instrument.format_quantity(trade.quantity),
        "t": trade.id,
        "i": order.order_id,
    }


def algo_update(algo: AlgoRecord, instrument: Instrument, time: int, now: int) -> Event:
    """ALGO_UPDATE."""
    actual = algo.actual
    o: Event = {
        "caid": algo.client_id,
        "aid": algo.algo_id,
        "at": "CONDITIONAL",
        "o": algo.type,
        "s": algo.symbol,
        "S": algo.side,
        "ps": algo.position_side,
        "f": algo.time_in_force,
        "q": instrument.format_quantity(algo.quantity),
        "X": algo.status,
        "ai": str(actual.order_id) if actual else "",
        "ap": number(actual.average) if actual else "0.00000",
        "aq": instrument.format_quantity(actual.executed) if actual else "0.00000",
        "act": actual.type if actual else "0",
        "tp": price_text(instrument, algo.trigger),
        "p": price_text(instrument, algo.price),
        "V": algo.self_trade,
        "wt": algo.working_type,
        "pm": algo.price_match,
        "cp": algo.close_position,
        "pP": algo.price_protect,
        "R": algo.reduce_only,
        "tt": algo.triggered,
        "gtd": algo.good_till,
    }
    if algo.reason:
        o["rm"] = algo.reason
    return {"e": "ALGO_UPDATE", "T": time, "E": now, "o": o}


def position_change(held: Holding, margin: MarginType, price: float) -> Event:
    """One position in an ACCOUNT_UPDATE."""
    isolated = margin is MarginType.ISOLATED
    return {
        "s": held.instrument.symbol,
        "pa": held.instrument.format_quantity(held.quantity + 0.0),
        "ep": number(held.entry_price),
        "bep": number(break_even(held)),
        "cr": money(held.realized),
        "up": money(held.unrealized(price)),
        "mt": "isolated" if isolated else "cross",
        "iw": money(held.isolated_margin if isolated else 0.0),
        "ps": str(held.side),
    }


def break_even(held: Holding) -> float:
    """The price at which closing would give back what the position has cost so far."""
    if not held.quantity:
        return 0.0
    return held.entry_price + (held.fees - held.realized) / held.quantity


def account_update(
    reason: str,
    asset: str,
    wallet: float,
    change: float,
    positions: Iterable[Event],
    time: int,
    now: int,
    *,
    locked: float = 0.0,
) -> Event:
    """ACCOUNT_UPDATE: the wallet, and the positions that changed.

    ``change`` is what was added but for profit and fees; ``locked`` is isolated margin.
    """
    balance = {"a": asset, "wb": money(wallet), "cw": money(wallet - locked), "bc": money(change)}
    return {
        "e": "ACCOUNT_UPDATE",
        "E": now,
        "T": time,
        "a": {"m": reason, "B": [balance], "P": list(positions)},
    }


def account_config(now: int, *, symbol: str = "", leverage: int = 0) -> Event:
    """ACCOUNT_CONFIG_UPDATE: a changed leverage, or multi-asset mode, which stays off."""
    event: Event = {"e": "ACCOUNT_CONFIG_UPDATE", "E": now, "T": now}
    if symbol:
        event["ac"] = {"s": symbol, "l": leverage}
    else:
        event["ai"] = {"j": False}
    return event


def key_expired(key: str, now: int) -> Event:
    """listenKeyExpired."""
    return {"e": "listenKeyExpired", "E": now, "listenKey": key}


def force_order_event(
    order: OrderRecord, instrument: Instrument, trade: TradeRecord, now: int
) -> Event:
    """The market's forceOrder event for a liquidation."""
    return {
        "e": "forceOrder",
        "E": now,
        "o": {
            "s": order.symbol,
            "S": order.side,
            "o": order.type,
            "f": order.time_in_force,
            "q": instrument.format_quantity(order.quantity),
            "p": price_text(instrument, order.price),
            "ap": average(order.average),
            "X": order.status,
            "l": instrument.format_quantity(trade.quantity),
            "z": instrument.format_quantity(order.executed),
            "T": trade.time,
        },
    }
