"""`SymbolMarket`: the public side of one contract: price, trades, klines, depth, statistics."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from candlewick.models import Candle, Instrument
from candlewick.sandbox.bars import Bar, Bars
from candlewick.sandbox.topics import Topic
from candlewick.sandbox.wire import money, number, price_text

__all__ = ["PublicTrade", "SymbolMarket"]

_LEVELS = 20
_TRADES_KEPT = 1_000
_DAY_MS = 86_400_000
_FIRST_UPDATE = 1_000_000


class PublicTrade:
    """One trade of the market."""

    __slots__ = ("buyer_is_maker", "id", "price", "quantity", "time")

    def __init__(
        self, id: int, price: float, quantity: float, time: int, buyer_is_maker: bool
    ) -> None:
        self.id = id
        self.price = price
        self.quantity = quantity
        self.time = time
        self.buyer_is_maker = buyer_is_maker


class SymbolMarket:
    """What everybody can see of one contract.

    The order book is made up around the last price, from a tick below and a tick above on: an order
    at the best price of its own side rests. It moves with the market, its update ids form an
    unbroken chain, and nothing trades against it.
    """

    def __init__(self, instrument: Instrument, interval: str, funding_hours: int) -> None:
        self.instrument = instrument
        self.symbol = instrument.symbol
        self.bars = Bars(interval)
        self.trades: deque[PublicTrade] = deque(maxlen=_TRADES_KEPT)
        self.price = 0.0
        self.basis = 0.0  # how far the mark price is above the last one
        self.time = 0
        self.flat_rate = 0.0
        self.recorded_rates: Sequence[tuple[int, float]] | None = None  # (time, rate), oldest first
        self._funding_ms = funding_hours * 3_600_000
        self._trade_id = 0
        self.update_id = _FIRST_UPDATE
        self._depth_sent: dict[str, tuple[int, dict[str, str], dict[str, str]]] = {}

    # -- what moves it -----------------------------------------------------------------------------

    def remember(self, candle: Candle) -> None:
        """Take a candle as one that closed before the sandbox started."""
        self._trade_id += 1
        bar = Bar(candle.open_time, self.bars.length, candle.open, self._trade_id)
        bar.settle(candle)
        bar.trades = 1
        bar.quote = candle.volume * candle.close
        self.bars.closed.append(bar)
        self.price = candle.close
        self.time = candle.close_time

    def trade(
        self, price: float, quantity: float, time: int, *, buyer_is_maker: bool
    ) -> PublicTrade:
        """Take one trade in; the first of an interval opens its bar."""
        self._trade_id += 1
        trade = PublicTrade(self._trade_id, price, quantity, time, buyer_is_maker)
        bars = self.bars
        if bars.open is None:
            start = time // bars.length * bars.length
            bars.open = Bar(start, bars.length, price, trade.id)
        bars.open.add(price, quantity, trade.id, buyer_is_maker=buyer_is_maker)
        if price != self.price:
            self.update_id += 2 * _LEVELS
        self.price = price
        self.time = time
        self.trades.append(trade)
        return trade

    def close(self, candle: Candle | None) -> Bar | None:
        """Close the base bar, with the recorded values where there is a record."""
        bar = self.bars.open
        if bar is None:
            return None
        if candle is not None:
            bar.settle(candle)
            self.price = candle.close
        self.time = max(self.time, bar.close_time)
        return self.bars.close()

    # -- what it says ------------------------------------------------------------------------------

    @property
    def funding_rate(self) -> float:
        """The rate that is paid next."""
        if self.recorded_rates is None:
            return self.flat_rate
        place = self._next_recorded()
        return self.recorded_rates[place][1] if place < len(self.recorded_rates) else 0.0

    @property
    def next_funding(self) -> int:
        """When funding is paid next, UTC ms."""
        if self.recorded_rates is not None:
            place = self._next_recorded()
            if place < len(self.recorded_rates):
                return self.recorded_rates[place][0]
        return (self.time // self._funding_ms + 1) * self._funding_ms

    @property
    def mark(self) -> float:
        """The mark price."""
        if self.basis:
            return self.instrument.nearest_price(self.price + self.basis)
        return self.price

    def _next_recorded(self) -> int:
        return bisect_right(self.recorded_rates or (), self.time, key=itemgetter(0))

    def paid_rates(self, since: int) -> list[tuple[int, float]]:
        """The (time, rate) pairs of the payments from ``since`` (UTC ms) to now, oldest first."""
        if self.recorded_rates is not None:
            return [pair for pair in self.recorded_rates if since <= pair[0] <= self.time]
        first = -(-since // self._funding_ms) * self._funding_ms
        return [(time, self.flat_rate) for time in range(first, self.time + 1, self._funding_ms)]

    def text(self, price: float) -> str:
        """Write a price."""
        return price_text(self.instrument, price)

    def message(self, topic: Topic, now: int) -> dict[str, Any] | None:
        """The event of a stream that tells of the present state; None when there is nothing."""
        kind = topic.kind
        if kind in ("kline", "continuousKline"):
            if not self.bars.offers(topic.argument):
                return None
            bar = self.bars.current(topic.argument)
            return None if bar is None else self.kline(topic, bar, now, closed=False)
        if kind in ("aggTrade", "trade"):
            return self.trade_message(kind, self.trades[-1], now)
        if kind == "bookTicker":
            return self.book_ticker(now)
        if kind == "markPrice":
            return self.mark_price(now)
        if kind == "depth":
            return self.depth_update(topic.name, now)
        if kind == "partialDepth":
            return self.partial_depth(int(topic.argument), now)
        if kind == "ticker":
            return self.ticker(now)
        return self.mini_ticker(now) if kind == "miniTicker" else None

    def kline(self, topic: Topic, bar: Bar, now: int, *, closed: bool) -> dict[str, Any]:
        """A kline event of any kind."""
        k = bar.message(self.instrument, topic.argument, closed)
        if topic.kind == "continuousKline":
            return {"e": "continuous_kline", "E": now, "ps": self.symbol, "ct": "PERPETUAL",
                    "k": k}  # fmt: skip
        return {"e": "kline", "E": now, "s": self.symbol, "k": {"s": self.symbol, **k}}

    def trade_message(self, kind: str, trade: PublicTrade, now: int) -> dict[str, Any]:
        """An aggTrade or trade event; each trade is its own aggregate."""
        price, quantity = self.text(trade.price), number(trade.quantity)
        if kind == "trade":
            return {
                "e": "trade", "E": now, "T": trade.time, "s": self.symbol, "t": trade.id,
                "p": price, "q": quantity, "X": "MARKET", "m": trade.buyer_is_maker,
            }  # fmt: skip
        return {
            "e": "aggTrade", "E": now, "s": self.symbol, "a": trade.id, "p": price, "q": quantity,
            "nq": quantity, "f": trade.id, "l": trade.id, "T": trade.time,
            "m": trade.buyer_is_maker, "st": 1,
        }  # fmt: skip

    def best(self) -> tuple[str, str, str, str]:
        """Best bid and its quantity, best ask and its quantity."""
        bid, ask = self._level(1, -1), self._level(1, 1)
        return (*bid, *ask)

    def book_ticker(self, now: int) -> dict[str, Any]:
        """A bookTicker event."""
        bid, bids, ask, asks = self.best()
        return {
            "e": "bookTicker", "u": self.update_id, "E": now, "T": self.time, "s": self.symbol,
            "b": bid, "B": bids, "a": ask, "A": asks, "ps": self.symbol, "st": 1,
        }  # fmt: skip

    def mark_price(self, now: int) -> dict[str, Any]:
        """A markPriceUpdate event; the index price is the last price."""
        mark, price = money(self.mark), money(self.price)
        return {
            "e": "markPriceUpdate", "E": now, "s": self.symbol, "p": mark, "ap": mark,
            "i": price, "P": mark, "r": money(self.funding_rate), "T": self.next_funding,
            "st": 1,
        }  # fmt: skip

    # -- depth -------------------------------------------------------------------------------------

    def _level(self, distance: int, sign: int) -> tuple[str, str]:
        """One level: its price and a quantity that depends on the price alone."""
        instrument = self.instrument
        price = instrument.nearest_price(self.price + sign * distance * instrument.tick)
        count = 1 + round(price / instrument.tick) * 2_654_435_761 % 4_001
        return self.text(price), instrument.format_quantity(count * instrument.step)

    def levels(self, count: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """The best ``count`` bids and asks, best first."""
        count = min(count, _LEVELS)
        bids = [self._level(distance, -1) for distance in range(1, count + 1)]
        asks = [self._level(distance, 1) for distance in range(1, count + 1)]
        positive = [level for level in bids if float(level[0]) > 0.0]
        return positive, asks

    def partial_depth(self, count: int, now: int) -> dict[str, Any]:
        """A depth event that holds the best levels in full."""
        bids, asks = self.levels(count)
        update = self.update_id
        return {
            "e": "depthUpdate", "E": now, "T": self.time, "s": self.symbol, "U": update - 1,
            "u": update, "pu": update - 2, "b": bids, "a": asks, "ps": self.symbol, "st": 1,
        }  # fmt: skip

    def depth_update(self, stream: str, now: int) -> dict[str, Any] | None:
        """What has changed since the stream's last event; None when nothing has."""
        bids, asks = (dict(side) for side in self.levels(_LEVELS))
        last = self._depth_sent.get(stream)
        self._depth_sent[stream] = (self.update_id, bids, asks)
        if last is None:
            last = (self.update_id - 1, {}, {})
        elif last[0] == self.update_id:
            return None
        return {
            "e": "depthUpdate", "E": now, "T": self.time, "s": self.symbol, "U": last[0] + 1,
            "u": self.update_id, "pu": last[0], "b": _changes(last[1], bids),
            "a": _changes(last[2], asks), "ps": self.symbol, "st": 1,
        }  # fmt: skip

    # -- statistics of a day -----------------------------------------------------------------------

    def day(self) -> dict[str, Any]:
        """The last 24 hours, by the names of the REST answer."""
        bars = self.bars.rows(self.bars.interval, max(1, self.time - _DAY_MS), 0, 100_000)
        first = bars[0].open if bars else self.price
        volume = sum(bar.volume for bar in bars)
        quote = sum(bar.quote for bar in bars)
        last = self.trades[-1] if self.trades else None
        change = self.price - first
        return {
            "symbol": self.symbol,
            "priceChange": number(self.instrument.nearest_price(change)),
            "priceChangePercent": f"{change / first * 100.0 if first else 0.0:.3f}",
            "weightedAvgPrice": money(quote / volume if volume else self.price),
            "lastPrice": self.text(self.price),
            "lastQty": number(last.quantity) if last else "0",
            "openPrice": self.text(first),
            "highPrice": self.text(max((bar.high for bar in bars), default=self.price)),
            "lowPrice": self.text(min((bar.low for bar in bars), default=self.price)),
            "volume": number(volume),
            "quoteVolume": number(quote),
            "openTime": self.time - _DAY_MS,
            "closeTime": self.time,
            "firstId": bars[0].first_id if bars else 0,
            "lastId": self._trade_id,
            "count": sum(bar.trades for bar in bars),
        }

    def ticker(self, now: int) -> dict[str, Any]:
        """A 24hrTicker event."""
        day = self.day()
        return {
            "e": "24hrTicker", "E": now, "s": self.symbol, "p": day["priceChange"],
            "P": day["priceChangePercent"], "w": day["weightedAvgPrice"], "c": day["lastPrice"],
            "Q": day["lastQty"], "o": day["openPrice"], "h": day["highPrice"],
            "l": day["lowPrice"], "v": day["volume"], "q": day["quoteVolume"],
            "O": day["openTime"], "C": day["closeTime"], "F": day["firstId"], "L": day["lastId"],
            "n": day["count"], "ps": self.symbol, "st": 1,
        }  # fmt: skip

    def mini_ticker(self, now: int) -> dict[str, Any]:
        """A 24hrMiniTicker event."""
        day = self.day()
        return {
            "e": "24hrMiniTicker", "E": now, "s": self.symbol, "c": day["lastPrice"],
            "o": day["openPrice"], "h": day["highPrice"], "l": day["lowPrice"],
            "v": day["volume"], "q": day["quoteVolume"], "ps": self.symbol, "st": 1,
        }  # fmt: skip


def _changes(before: dict[str, str], after: dict[str, str]) -> list[list[str]]:
    """Levels that came or changed, and with quantity 0 those that went."""
    came = [[price, size] for price, size in after.items() if before.get(price) != size]
    return came + [[price, "0"] for price in before if price not in after]
