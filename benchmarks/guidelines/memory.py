"""What the garbage collector and queues without a bound cost; each in a process of its own."""

from __future__ import annotations

from benchmarks.rows import Row
from benchmarks.timing import progress, python

AREA = "guidelines"

_COLLECT = """
import gc, sys, time
from benchmarks.guidelines.values import SlotsCandle, _FIELDS
from candlewick.models import Candle
make = {"struct": Candle, "slots": SlotsCandle}[sys.argv[1]]
gc.disable()
kept = [make(*_FIELDS) for _ in range(1_000_000)]
gc.collect()
if sys.argv[2] == "freeze":
    gc.freeze()
taken = []
for _ in range(7):
    start = time.perf_counter()
    gc.collect()
    taken.append(time.perf_counter() - start)
print(sorted(taken)[3] * 1e3)
"""

_QUEUE = """
import asyncio, tracemalloc
from benchmarks.guidelines.values import _FIELDS
from candlewick.models import Candle, Event, EventKind
async def main():
    queue = asyncio.Queue(200_000)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(100_000):
        fields = (*_FIELDS[:2], number, *(float(number + i) for i in range(5)), number + 1, True)
        queue.put_nowait(Event(EventKind.CANDLE_CLOSED, Candle(*fields), number))
    print((tracemalloc.get_traced_memory()[0] - before) / 100_000)
asyncio.run(main())
"""


def collections() -> list[Row]:
    """A full collection over a million values that are kept."""
    progress("memory: a full collection over a million values")
    struct, slots, frozen = (
        float(python("-c", _COLLECT, kind, freeze))
        for kind, freeze in (("struct", ""), ("slots", ""), ("slots", "freeze"))
    )
    name = "full collection over 1,000,000 kept candles"
    return [
        Row(
            area=AREA, name=f"{name}, Struct(gc=False)", value=struct, unit="ms", better="lower",
            peer="dataclass with slots", peer_value=slots,
        ),
        Row(
            area=AREA, name=f"{name}, dataclass after gc.freeze()", value=frozen, unit="ms",
            better="lower", note="the collector does not look at them any more",
        ),
    ]  # fmt: skip


def queues() -> list[Row]:
    """What waits in a queue."""
    progress("memory: a queue")
    each = float(python("-c", _QUEUE))
    return [
        Row(
            area=AREA, name="a closed candle that waits in a queue", value=each, unit="B",
            better="lower", note=f"{each * 2_500 * 60 / 1e6:,.0f} MB a minute at 2,500 events/s",
        )
    ]  # fmt: skip


def rows() -> list[Row]:
    """All of this topic."""
    return [*collections(), *queues()]
