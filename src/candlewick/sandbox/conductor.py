"""`Conductor`: moves the market: at a pace, as fast as clients read, or step by step."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import msgspec

from candlewick.errors import ConfigError
from candlewick.sandbox.source import CandleStep, CloseStep, Step
from candlewick.sandbox.world import World

__all__ = ["Conductor", "Moved"]

_LATE_S = 0.05  # how much work at once before others get their turn


class Moved(msgspec.Struct, frozen=True):
    """What one step of the market was.

    ``told`` says that an account was told something; ``closed`` that base candles ended, and
    ``candles`` how many; ``ended`` that there is no more data. ``time`` is market time, UTC ms.
    """

    time: int
    told: bool = False
    closed: bool = False
    ended: bool = False
    candles: int = 0


class Conductor:
    """Carries out the steps of a source.

    Args:
        world: what is moved.
        steps: what happens.
        first_time: market time at the start, UTC ms.
    """

    def __init__(self, world: World, steps: Iterator[Step], first_time: int) -> None:
        self._world = world
        self._steps = steps
        self._first_time = first_time
        self._doing: Iterator[bool] | None = None
        self._closes = 0  # how many candles end with the step at hand
        self._began = 0.0
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()
        world.now = first_time

    def start(self) -> None:
        """Let the market run, unless it is moved by steps."""
        settings = self._world.settings
        if settings.stepped:
            return
        run = self._run_freely() if settings.speed is None else self._run_at(settings.speed)
        self._task = asyncio.create_task(run, name="sandbox:market")

    async def stop(self) -> None:
        """Let the market stand still."""
        self._world.between = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def step(self) -> Moved:
        """Move on until an account is told something, or a base candle ends.

        Raises:
            ConfigError: the market moves by itself.
        """
        if self._task is not None and not self.ended.is_set():
            raise ConfigError("the market moves by itself; start the sandbox with stepped=True")
        async with self._turn:
            hub = self._world.hub
            hub.hold()
            try:
                moved = self._move()
            finally:
                await hub.release()
            await hub.flush()
            return moved

    def _move(self) -> Moved:
        while True:
            if self.ended.is_set() or (self._doing is None and not self._begin()):
                return Moved(self._world.now, ended=True)
            assert self._doing is not None
            told = next(self._doing, None)
            if told is None:
                self._doing = None
                if self._closes:
                    return Moved(self._world.now, closed=True, candles=self._closes)
            elif told:
                return Moved(self._world.now, told=True)

    def _begin(self) -> bool:
        step = next(self._steps, None)
        if step is None:
            self._end()
            return False
        self._doing = self._world.perform(step)
        if isinstance(step, CandleStep):
            self._closes = len(step.candles)
        else:
            self._closes = int(isinstance(step, CloseStep))
        return True

    async def _run_freely(self) -> None:
        """As fast as the slowest client reads, from the first subscription on."""
        hub = self._world.hub
        await hub.listened.wait()
        while not self._move().ended:
            await hub.read()
            await asyncio.sleep(0)

    async def _run_at(self, speed: float) -> None:
        world = self._world
        self._began = time.monotonic()
        world.between = lambda: round(
            self._first_time + (time.monotonic() - self._began) * 1e3 * speed
        )
        worked = time.monotonic()
        for step in self._steps:
            due = self._began + (step.time - self._first_time) / 1e3 / speed
            delay = due - time.monotonic()
            if delay > 0.0:
                await asyncio.sleep(delay)
                worked = time.monotonic()
            elif time.monotonic() - worked > _LATE_S:
                await asyncio.sleep(0)  # behind time: still let the clients have their answers
                worked = time.monotonic()
            for _ in world.perform(step):
                pass
        world.between = None
        self._end()

    def rest(self) -> None:
        """End the market here: it stands still at its last prices, and still trades.

        Raises:
            ConfigError: the market moves by itself.
        """
        if self._task is not None and not self.ended.is_set():
            raise ConfigError("the market moves by itself; start the sandbox with stepped=True")
        self._end()

    def _end(self) -> None:
        if not self.ended.is_set():
            self.ended.set()
            self._world.rest()
