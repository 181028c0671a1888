"""The tape's law: whatever the stream loses, every price of a candle is met, seen or walked."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from candlewick.models import Candle
from candlewick.venues.paper.seen import Tape, Tick

MINUTE = 60_000
START = 1_700_000_040_000

# one candle: the prices in it, and what happens around each: lost, looked at, interrupted
moves = st.tuples(
    st.integers(50, 150), st.sampled_from(["told", "lost", "skipped", "cut"]), st.booleans()
)
candles = st.lists(st.lists(moves, min_size=1, max_size=8), min_size=2, max_size=5)


class Met:
    """The range of prices that an account has met, candle by candle."""

    def __init__(self) -> None:
        self.ranges: dict[int, tuple[float, float]] = {}

    def add(self, time: int, low: float, high: float) -> None:
        start = time // MINUTE * MINUTE
        before = self.ranges.get(start, (low, high))
        self.ranges[start] = min(before[0], low), max(before[1], high)

    def candle(self, candle: Candle | None) -> None:
        if candle is not None:
            self.add(candle.open_time, candle.low, candle.high)

    def ticks(self, ticks: list[Tick]) -> None:
        for tick in ticks:
            self.add(tick.time, tick.price, tick.price)


def candle_of(number: int, prices: list[float], *, closed: bool) -> Candle:
    start = START + number * MINUTE
    return Candle(
        "BTCUSDT", "1m", start, prices[0], max(prices), min(prices), prices[-1], 1.0,
        start + MINUTE - 1, closed,
    )  # fmt: skip


def tell(tape: Tape, met: Met, tick: Tick) -> None:
    if tape.is_holding:
        tape.keep(tick)
    else:
        tape.saw(tick)
        met.ticks([tick])


def look(tape: Tape, met: Met, candle: Candle) -> None:
    if tape.can_release:
        missed, held = tape.release(candle)
        met.candle(missed)
        for tick in held:
            tape.saw(tick)
        met.ticks(held)
    elif not tape.is_holding:
        met.candle(tape.look(candle))


@given(candles)
def test_every_price_after_the_first_candle_is_met(history: list[list[Any]]) -> None:
    tape, met = Tape("1m"), Met()
    away: list[Candle] = []  # closed while the stream was cut: told when it is back
    for number, steps in enumerate(history):
        prices: list[float] = []
        for place, (price, fate, looks) in enumerate(steps):
            prices.append(float(price))
            tick = Tick(float(price), START + number * MINUTE + 1_000 * place)
            if fate == "cut":
                tape.hold()
                for closed in away:
                    met.candle(tape.closed(closed))
                away.clear()
                tape.filled()
            elif fate == "skipped":
                tape.suspect()
            if fate == "told":
                tell(tape, met, tick)
            if looks:
                look(tape, met, candle_of(number, prices, closed=False))
        whole = candle_of(number, prices, closed=True)
        if steps[-1][1] == "cut":
            away.append(whole)
        else:
            for closed in [*away, whole]:
                met.candle(tape.closed(closed))
            away.clear()
    for number, steps in list(enumerate(history))[1:]:
        if any(candle.open_time == START + number * MINUTE for candle in away):
            continue  # not told of yet
        low, high = met.ranges[START + number * MINUTE]
        prices = [float(step[0]) for step in steps]
        assert (low, high) == (min(prices), max(prices))
