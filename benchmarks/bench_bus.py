"""The event bus beside its peers: throughput, latency, threads, and the lag of the event loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import bus_peers
from benchmarks.bus_lag import LagProbe
from benchmarks.bus_peers import BURST, EVENT, LOOPS, on
from benchmarks.bus_replay import Replay, capture, events
from benchmarks.rows import Row
from benchmarks.timing import Timing, in_turns, installed, median, percentile, progress
from candlewick.bus import EventBus
from candlewick.models import Event

_EVENTS = 30_000
_SINGLE = 2_000
_TURNS = 15
_BUSY_S = (215.0, 250.0)  # of the capture: bursts of 2,453 and 2,075 messages in one second
_IDLE = "from benchmarks import bench_bus; bench_bus.idle_lag({loop!r}, {seconds})"

_row = partial(Row, area="bus")


def run() -> list[Row]:
    rows: list[Row] = []
    for loop in LOOPS:
        rows += _throughput(loop)
        rows += _latency(loop)
        rows += _threads(loop)
        rows += _break_even(loop)
        rows += _lag(loop)
    return rows


# -- throughput ------------------------------------------------------------------------------------


def _rate(
    events: int, works: dict[str, Callable[[], Any]], loop: str, turns: int
) -> dict[str, float]:
    """Events a second of each, at the median of turns that they take one after the other."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    in_turns(
        {name: partial(_note, taken[name], loop, work) for name, work in works.items()},
        repeats=turns, warm_up=1,
    )  # fmt: skip
    return {name: Timing(tuple(seconds[1:])).rate(events) for name, seconds in taken.items()}


def _note(seconds: list[float], loop: str, work: Callable[[], Any]) -> None:
    seconds.append(on(loop, work))


def _throughput(loop: str) -> Iterator[Row]:
    progress(f"events to one async handler, on {loop}")
    ours, peers = bus_peers.candlewick, bus_peers
    rates = _rate(
        _EVENTS,
        {
            "ours": partial(ours, _EVENTS),
            "queue": partial(peers.bare_queue, _EVENTS),
            "deque": partial(peers.deque_and_wake_up, _EVENTS),
            "ten": partial(ours, _EVENTS // 10, 10),
        },
        loop,
        _TURNS,
    )
    name = f"events to one async handler, {loop}"
    own = rates["ours"]
    yield _row(
        name=name, value=own, unit="/s", peer="bare asyncio.Queue", peer_value=rates["queue"],
        target_ratio=1.2, note=f"in bursts of {BURST}, with bounds, isolation and accounts",
    )  # fmt: skip
    yield _row(
        name=name, value=own, unit="/s", peer="deque + wake-up", peer_value=rates["deque"],
        note="the least that can be done: no bounds, isolation or accounts",
    )  # fmt: skip
    for peer, number in (("pyee", 5_000), ("bubus", 300)):
        found = None
        if installed(peer):
            progress(f"{peer}, on {loop}")
            found = _rate(number, {peer: partial(getattr(peers, peer), number)}, loop, 3)[peer]
        yield _row(name=name, value=own, unit="/s", peer=peer, peer_value=found)
    yield _row(
        name=f"deliveries to ten async handlers, {loop}", value=rates["ten"], unit="/s",
        peer="to one", peer_value=own, target_ratio=1.0, note="linear in subscribers, or better",
    )  # fmt: skip


# -- latency ---------------------------------------------------------------------------------------


async def _bus_delays(mode: str) -> list[float]:
    """From `publish` to the handler's first line, the bus being idle, microseconds."""
    bus, delays, arrived = EventBus(), [], asyncio.Event()
    loop = asyncio.get_running_loop()
    sent = 0

    def note(event: Event) -> None:
        delays.append((time.perf_counter_ns() - sent) / 1e3)

    async def awaited(event: Event) -> None:
        note(event)
        arrived.set()

    def called(event: Event) -> None:
        note(event)
        if mode == "thread":
            loop.call_soon_threadsafe(arrived.set)
        else:
            arrived.set()

    if mode == "async":
        bus.subscribe(EVENT.kind, awaited)
    else:
        bus.subscribe(EVENT.kind, called, mode=mode)
    bus.start()
    for _ in range(_SINGLE):
        await bus.drain()
        arrived.clear()
        sent = time.perf_counter_ns()
        bus.publish(EVENT)
        await arrived.wait()
    await bus.stop()
    return delays


async def _queue_delays() -> list[float]:
    queue: asyncio.Queue[Event] = asyncio.Queue()
    delays, arrived = [], asyncio.Event()
    sent = 0

    async def handle(event: Event) -> None:
        delays.append((time.perf_counter_ns() - sent) / 1e3)
        arrived.set()

    async def work() -> None:
        while True:
            await handle(await queue.get())

    task = asyncio.create_task(work())
    for _ in range(_SINGLE):
        await asyncio.sleep(0)
        arrived.clear()
        sent = time.perf_counter_ns()
        queue.put_nowait(EVENT)
        await arrived.wait()
    task.cancel()
    return delays


async def _to_thread_delays() -> list[float]:
    delays = []
    for _ in range(_SINGLE):
        sent = time.perf_counter_ns()
        began = await asyncio.to_thread(time.perf_counter_ns)
        delays.append((began - sent) / 1e3)
    return delays


def _latency(loop: str) -> Iterator[Row]:
    progress(f"from publish to handler, on {loop}")
    found: dict[str, list[float]] = {}
    for _ in range(3):
        for name, work in (
            ("async", partial(_bus_delays, "async")),
            ("inline", partial(_bus_delays, "inline")),
            ("thread", partial(_bus_delays, "thread")),
            ("queue", _queue_delays),
            ("to_thread", _to_thread_delays),
        ):
            found.setdefault(name, []).extend(on(loop, work))
    for name, peer, title in (
        ("async", "queue", "asyncio.Queue"),
        ("inline", "queue", "asyncio.Queue"),
        ("thread", "to_thread", "asyncio.to_thread"),
    ):
        yield _row(
            name=f"one event to an idle {name} handler, {loop}", value=median(found[name]),
            unit="µs", peer=title, peer_value=median(found[peer]), better="lower",
            note=f"median; p99 {percentile(found[name], 0.99):.0f},"
            f" peer's {percentile(found[peer], 0.99):.0f} µs",
        )  # fmt: skip


# -- threads ---------------------------------------------------------------------------------------


def _nothing(event: Event) -> None: ...


async def _thread_bursts(events: int) -> float:
    bus = EventBus()
    bus.subscribe(EVENT.kind, _nothing)
    bus.start()
    started = time.perf_counter()
    for _ in range(events // BURST):
        for _ in range(BURST):
            bus.publish(EVENT)
        await bus.drain()
    taken = time.perf_counter() - started
    await bus.stop()
    return taken


async def _to_threads(events: int) -> float:
    started = time.perf_counter()
    for _ in range(events):
        await asyncio.to_thread(_nothing, EVENT)
    return time.perf_counter() - started


def _threads(loop: str) -> Iterator[Row]:
    progress(f"a plain handler in a thread, on {loop}")
    number = 5_000
    rates = _rate(
        number,
        {"ours": partial(_thread_bursts, number), "to_thread": partial(_to_threads, number)},
        loop,
        5,
    )
    yield _row(
        name=f"an event to a plain handler in a thread and back, {loop}", value=1e6 / rates["ours"],
        unit="µs", peer="asyncio.to_thread", peer_value=1e6 / rates["to_thread"], better="lower",
        target_ratio=15.0, note=f"bursts of {BURST}, each waited for; in order",
    )  # fmt: skip


# -- break-even ------------------------------------------------------------------------------------


async def _loop_time(mode: str, burst: int) -> float:
    """What an event keeps the event loop from, until it has turned twice; the mean, µs.

    The handler does nothing. Time that the loop waits for the interpreter, because the thread has
    it, counts.
    """
    bus = EventBus()
    bus.subscribe(EVENT.kind, _nothing, mode=mode)
    bus.start()
    number = 20_000 if burst > 1 else 2_000
    spent = 0.0
    for _ in range(number // burst):
        await bus.drain()
        started = time.perf_counter()
        for _ in range(burst):
            bus.publish(EVENT)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        spent += time.perf_counter() - started
    await bus.drain()
    await bus.stop()
    return spent / number * 1e6


def _break_even(loop: str) -> Iterator[Row]:
    """A handler that waits is better off in a thread when it waits longer than the way there."""
    progress(f"inline or in a thread, on {loop}")
    for burst, name in ((1, "one at a time"), (BURST, f"in bursts of {BURST}")):
        found: dict[str, list[float]] = {"inline": [], "thread": []}
        for _ in range(7):
            for mode, values in found.items():
                values.append(on(loop, partial(_loop_time, mode, burst)))
        inline, thread = median(found["inline"]), median(found["thread"])
        yield _row(
            name=f"the loop's time for an event to a thread, {name}, {loop}", value=thread,
            unit="µs", peer="inline", peer_value=inline, better="lower",
            note=f"break-even: a handler that waits for {max(thread - inline, 0.0):.1f} µs",
        )  # fmt: skip


# -- lag -------------------------------------------------------------------------------------------


async def _idle_lag(seconds: float) -> list[int]:
    async with LagProbe() as probe:
        await asyncio.sleep(seconds)
    return probe.lags_ns


def idle_lag(loop: str, seconds: float) -> None:
    """Print the p99 of the lag of a loop that does nothing else, milliseconds."""
    print(percentile(on(loop, partial(_idle_lag, seconds)), 0.99) / 1e6)


async def _replay_lag(messages: list[tuple[int, Event]]) -> list[int]:
    with tempfile.TemporaryDirectory() as directory:
        replay = Replay(Path(directory))
        async with LagProbe() as probe:
            await replay.run(messages, speed=1.0)
    return probe.lags_ns


def _lag(loop: str) -> Iterator[Row]:
    path = capture()
    if path is None:
        progress("no recorded capture: the loop's lag is left out")
        return
    first, last = _BUSY_S
    progress(f"the loop's lag while the capture is replayed, {last - first:.0f} s, on {loop}")
    messages = list(events(path, first, last))
    code = _IDLE.format(loop=loop, seconds=last - first)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as idle:
        lags = [lag / 1e6 for lag in on(loop, partial(_replay_lag, messages))]
        beside = float(idle.communicate()[0])
    yield _row(
        name=f"loop lag p99, recorded bursts of 2,453 messages a second, {loop}",
        value=percentile(lags, 0.99), unit="ms", peer="an idle loop at the same time",
        peer_value=beside, better="lower", limit=1.0,
        note=f"with an engine and ten subscribers; median {percentile(lags, 0.5):.3f},"
        f" worst {max(lags):.1f} ms",
    )  # fmt: skip
