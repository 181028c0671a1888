"""`Loop`: the engine and the simulated exchange, driven through candles in one plain loop.

Decisions are acted on at once; what the exchange answers and what the strategy asks for queue
up behind, first in, first out. The live system keeps the same order on its bus, which is why both
make the same fills.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

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
    Funding,
    History,
    OrderUpdate,
    Signal,
    interval_ms,
)
from candlewick.models.members import REJECTED
from candlewick.risk import Denial

__all__ = ["Loop", "closing_together", "merge_order"]

_BLOCK = 16_384


class Loop:
    """One run over candles, and what it counted.

    ``curve`` holds the equity at each close of base candles, ``times`` those close times. Candles
    of several symbols that close together are one moment: between them the account is half marked.
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
        # realtime: allow RT103 - what one step of a candle brings about; it is emptied at once
        self._queue: deque[Report | Signal] = deque()
        self._take: dict[type, Callable[[Any], Sequence[Decision]]] = {
            OrderUpdate: engine.on_order_update,
            Fill: self._take_fill,
            Signal: self._take_signal,
            Funding: engine.on_funding,
        }
        self._do: dict[type, Callable[[Any], None]] = {
            Submit: self._submit,
            Cancel: self._cancel,
            Signal: self._queue.append,
            Trade: self.trades.append,
            Denial: self._deny,
        }

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
        """The engine takes quiet candles by itself; where something can happen it is played here.

        A quiet candle moves nothing on the exchange but the last price.
        """
        engine, curve = self.engine, self.curve
        book = self.exchange.book(table.symbol)
        state = engine.symbols[table.symbol]
        for start in range(0, len(table), _BLOCK):
            candles = iter(table[start : start + _BLOCK])
            while True:
                band = (book.lower, book.upper, book.next_funding)
                candle, decisions = engine.take_quiet(candles, history, curve, band)
                book.last = state.price
                if candle is not None:
                    decisions = self._take_loud(candle, history)
                elif not decisions:
                    break  # the block is over
                if decisions:
                    self._act(decisions)
                    self._drain()
                curve.append(engine.equity)
                if engine.failure is not None:
                    break
            if progress is not None:
                progress(history.end)
            if engine.failure is not None:
                break
        self.candles = history.end
        self.times = table.close_time[: history.end].tolist()

    def _take_loud(self, candle: Candle, history: History) -> Sequence[Decision]:
        """Play a candle in which something can happen; return what the engine decides on it."""
        self._play(candle)
        history.end += 1
        return self.engine.on_candle(candle)  # only marks the account where a fill made it raise

    def _run_many(
        self,
        tables: Sequence[CandleTable],
        histories: Sequence[History],
        progress: Callable[[int], None] | None,
    ) -> None:
        engine = self.engine
        base = engine.interval
        shown = 0
        for together in closing_together(tables):
            for _, candle in together:
                if candle.interval == base:
                    self._play(candle)
            for number, candle in together:
                histories[number].end += 1
                if decisions := engine.on_candle(candle):
                    self._act(decisions)
                    self._drain()
                self.candles += candle.interval == base
            if together[-1][1].interval == base:  # the shortest interval comes last
                self.curve.append(engine.equity)
                self.times.append(together[-1][1].close_time)
            if engine.failure is not None:
                break
            if progress is not None and self.candles - shown >= _BLOCK:
                shown = self.candles
                progress(shown)
        if progress is not None:
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

    def _play(self, candle: Candle) -> None:
        """Move the market through a candle, letting the engine react wherever something happens."""
        advance = self.exchange.advance
        while reports := advance(candle):
            self._queue.extend(reports)
            self._drain()

    def _drain(self) -> None:
        queue, take, act = self._queue, self._take, self._act
        next_item = queue.popleft
        while queue:
            item = next_item()
            if decisions := take[type(item)](item):
                act(decisions)

    def _take_fill(self, fill: Fill) -> Sequence[Decision]:
        self.fills.append(fill)
        return self.engine.on_fill(fill)

    def _take_signal(self, signal: Signal) -> Sequence[Decision]:
        self.signals += 1
        return self.engine.on_signal(signal)

    def _act(self, decisions: Iterable[Decision]) -> None:
        act = self._do
        for decision in decisions:
            do = act.get(type(decision))
            if do is not None:
                do(decision)

    def _submit(self, decision: Submit) -> None:
        self.orders += 1
        order = decision.order
        self._answered(self.exchange.submit(order, order.created_time))

    def _cancel(self, decision: Cancel) -> None:
        order = decision.order
        self._answered(self.exchange.cancel(order.client_id, order.symbol, decision.time))

    def _answered(self, reports: list[Report]) -> None:
        """Queue the exchange's answer to a command; what it refuses it refuses here."""
        self._queue.extend(reports)
        report = reports[0]
        if type(report) is OrderUpdate and report.status is REJECTED:
            self.rejections += 1

    def _deny(self, decision: Denial) -> None:
        self.denials[decision.code] += 1


def closing_together(tables: Sequence[CandleTable]) -> Iterator[list[tuple[int, Candle]]]:
    """Yield the candles that close at the same time, each with the number of its table.

    The market moves through all of them before the first is shown to a strategy: an order that a
    close leads to must not meet a price from before that close, in no symbol and no interval.
    Inside a group they come in `merge_order`.
    """
    sources = [iter(table) for table in tables]
    together: list[tuple[int, Candle]] = []
    close_time = 0
    for number in merge_order(tables).tolist():
        candle = next(sources[number])
        if together and candle.close_time != close_time:
            yield together
            together = []
        close_time = candle.close_time
        together.append((number, candle))
    if together:
        yield together


def merge_order(tables: Sequence[CandleTable]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the table numbers in the order in which their candles close, shape (total,).

    Candles that close together come longest interval first, so that a strategy has the larger
    picture when the shortest candle arrives; then in the order of the tables.
    """
    closes = np.concatenate([table.close_time for table in tables])
    numbers = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    lengths = np.array([-interval_ms(table.interval) for table in tables])[numbers]
    return numbers[np.lexsort((numbers, lengths, closes))]
