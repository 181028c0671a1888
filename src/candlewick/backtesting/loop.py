"""`Loop`: the engine and the simulated exchange, driven through candles in one plain loop.

Decisions are acted on at once; what the exchange answers and what the strategy asks for queue
up behind, first in, first out. The live system keeps the same order on its bus, which is why both
make the same fills.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from candlewick.engine import (
    Cancel,
    Decision,
    StopPolicy,
    Submit,
    Trade,
    TradingEngine,
)
from candlewick.exchange import Report, SimulatedExchange
from candlewick.models import (
    Candle,
    CandleTable,
    Fill,
    History,
    OrderStatus,
    OrderUpdate,
    Signal,
    interval_ms,
)
from candlewick.risk import Denial

__all__ = ["Loop", "merge_order"]

_BLOCK = 16_384


class Loop:
    """One run over candles, and what it counted.

    ``curve`` holds the equity after each base candle, ``times`` the close time that belongs to it
    where several symbols run.
    """

    def __init__(self, engine: TradingEngine, exchange: SimulatedExchange) -> None:
        self.engine = engine
        self.exchange = exchange
        self.curve: list[float] = []
        self.times: list[int] = []
        self.fills: list[Fill] = []
        self.trades: list[Trade] = []
        self.candles = 0
        self.signals = 0
        self.orders = 0
        self.rejections = 0
        self.denials: Counter[str] = Counter()
        self._queue: deque[Report | Signal] = deque()

    def run(
        self,
        tables: Sequence[CandleTable],
        histories: Sequence[History],
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Run over the candles of one or many tables, oldest first; ``histories`` read them.

        Ends early when the strategy has raised. ``progress`` is called with the number of
        candles done, once a block.
        """
        start = min(int(table.open_time[0]) for table in tables if len(table))
        self._act(self.engine.start(start))
        if len(tables) == 1:
            self._run_one(tables[0], histories[0], progress)
        else:
            self._run_many(tables, histories, progress)

    def _run_one(
        self, table: CandleTable, history: History, progress: Callable[[int], None] | None
    ) -> None:
        engine, curve = self.engine, self.curve.append
        advance, on_candle, show = self.exchange.advance, engine.on_candle, history.advance
        symbol, interval = table.symbol, table.interval
        seen = 0
        for start in range(0, len(table), _BLOCK):
            for open_time, open_, high, low, close, volume, close_time in table[
                start : start + _BLOCK
            ].rows():
                candle = Candle(
                    symbol, interval, open_time, open_, high, low, close, volume, close_time, True
                )
                if reports := advance(candle):
                    self._settle(candle, reports)
                seen += 1
                show(seen)
                if decisions := on_candle(candle):
                    self._act(decisions)
                    self._drain()
                curve(engine.equity)
                if engine.failure is not None:
                    break
            if progress is not None:
                progress(seen)
            if engine.failure is not None:
                break
        self.candles = seen
        self.times = table.close_time[:seen].tolist()

    def _run_many(
        self,
        tables: Sequence[CandleTable],
        histories: Sequence[History],
        progress: Callable[[int], None] | None,
    ) -> None:
        engine = self.engine
        base = engine.interval
        rows = [table.rows() for table in tables]
        seen = [0] * len(tables)
        for count, number in enumerate(merge_order(tables).tolist(), 1):
            table = tables[number]
            open_time, open_, high, low, close, volume, close_time = next(rows[number])
            candle = Candle(
                table.symbol, table.interval, open_time, open_, high, low, close, volume,
                close_time, True,
            )  # fmt: skip
            is_base = candle.interval == base
            if is_base and (reports := self.exchange.advance(candle)):
                self._settle(candle, reports)
            seen[number] += 1
            histories[number].advance(seen[number])
            if decisions := engine.on_candle(candle):
                self._act(decisions)
                self._drain()
            if is_base:
                self.candles += 1
                self.curve.append(engine.equity)
                self.times.append(candle.close_time)
            if engine.failure is not None:
                break
            if progress is not None and not count % _BLOCK:
                progress(self.candles)

    def stop(self, policy: StopPolicy, reason: str) -> None:
        """End the run: by policy close what is held, at the last prices."""
        self._act(self.engine.begin_stop(policy, reason))
        self._drain()
        if policy is StopPolicy.FLATTEN:
            for symbol, state in self.engine.symbols.items():
                while state.orders and state.price:
                    reports = self.exchange.tick(symbol, state.price, self.engine.now)
                    if not reports:
                        break
                    self._queue.extend(reports)
                    self._drain()
        self._act(self.engine.finish())
        if self.curve:
            self.curve[-1] = self.engine.equity

    def _settle(self, candle: Candle, reports: Sequence[Report]) -> None:
        """Hand over what happened, let the engine react, and go on through the candle."""
        while reports:
            self._queue.extend(reports)
            self._drain()
            reports = self.exchange.advance(candle)

    def _drain(self) -> None:
        queue, engine = self._queue, self.engine
        while queue:
            item = queue.popleft()
            if isinstance(item, OrderUpdate):
                self.rejections += item.status is OrderStatus.REJECTED
                self._act(engine.on_order_update(item))
            elif isinstance(item, Fill):
                self.fills.append(item)
                self._act(engine.on_fill(item))
            elif isinstance(item, Signal):
                self.signals += 1
                self._act(engine.on_signal(item))
            else:
                self._act(engine.on_funding(item))

    def _act(self, decisions: Iterable[Decision]) -> None:
        queue, exchange = self._queue, self.exchange
        for decision in decisions:
            if isinstance(decision, Submit):
                self.orders += 1
                order = decision.order
                queue.extend(exchange.submit(order, order.created_time))
            elif isinstance(decision, Cancel):
                order = decision.order
                queue.extend(exchange.cancel(order.client_id, order.symbol, decision.time))
            elif isinstance(decision, Signal):
                queue.append(decision)
            elif isinstance(decision, Trade):
                self.trades.append(decision)
            elif isinstance(decision, Denial):
                self.denials[decision.code] += 1


def merge_order(tables: Sequence[CandleTable]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the table numbers in the order in which their candles close, shape (total,).

    Candles that close together come longest interval first, so that a strategy has the larger
    picture when the shortest candle arrives; then in the order of the tables.
    """
    closes = np.concatenate([table.close_time for table in tables])
    numbers = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    lengths = np.array([-interval_ms(table.interval) for table in tables])[numbers]
    return numbers[np.lexsort((numbers, lengths, closes))]
