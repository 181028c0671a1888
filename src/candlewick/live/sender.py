"""`Sender`: carries commands to a venue that takes its time, without holding up the engine.

Each symbol has two lanes, one for entries and one for all that reduces risk: an entry whose answer
does not come must not delay the stop of what it has already filled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from candlewick.engine import Cancel, Query, Submit
from candlewick.models import Order

__all__ = ["Command", "Sender"]

Command = Submit | Cancel | Query
_QUEUE = 10_000


class _Lane:
    """Commands in their order, for one worker, which `put` wakes.

    An `asyncio.Queue` would do the same, and take some microseconds of the way of each order.
    """

    __slots__ = ("_resting", "_waker", "commands")

    def __init__(self) -> None:
        # realtime: allow RT103 - `put` refuses more than ``_QUEUE``
        self.commands: deque[Command] = deque()
        self._waker: asyncio.Future[None] | None = None
        self._resting = asyncio.Event()

    def put(self, command: Command) -> None:
        """Add a command; raises asyncio.QueueFull when there are too many."""
        if len(self.commands) >= _QUEUE:
            raise asyncio.QueueFull
        self.commands.append(command)
        self._resting.clear()
        waker = self._waker
        if waker is not None and not waker.done():
            waker.set_result(None)

    async def sleep(self) -> None:
        """For the worker: all is carried out; wait for the next command."""
        self._resting.set()
        self._waker = asyncio.get_running_loop().create_future()
        await self._waker

    def end(self) -> None:
        """For the worker: what is left is not carried out, and nobody need wait for it."""
        self._resting.set()

    async def rest(self) -> None:
        """Wait until all that was put in has been carried out, or never will be."""
        await self._resting.wait()


class Sender:
    """Runs ``carry`` for each command, in order within a lane; lanes do not wait for each other.

    An order whose turn has not come is not sent any more once it is cancelled: ``withdrawn`` is
    called with it. ``on_fatal`` takes what ``carry`` raises; ``taken`` counts the commands.
    """

    def __init__(
        self,
        carry: Callable[[Command], Awaitable[None]],
        withdrawn: Callable[[Order], None],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._carry = carry
        self._withdrawn = withdrawn
        self._on_fatal = on_fatal
        self._unsent: set[str] = set()  # orders whose turn has not come
        self._lanes: dict[tuple[str, bool], _Lane] = {}
        self._in_line = False
        self.taken = 0
        self._tasks: list[asyncio.Task[None]] = []

    def keep_in_line(self) -> None:
        """Use one lane for everything: all commands go out, in the order of the decisions."""
        self._in_line = True

    def put(self, command: Command) -> None:
        """Queue a command; returns at once."""
        self.taken += 1
        order = command.order
        if isinstance(command, Submit):
            self._unsent.add(order.client_id)
        elif order.client_id in self._unsent and not self._in_line:
            if isinstance(command, Cancel):
                self._unsent.remove(order.client_id)
                self._withdrawn(order)
            return  # and a question has its answer: it is still to be sent
        is_entry = isinstance(command, Submit) and not order.reduce_only
        key = ("", False) if self._in_line else (order.symbol, is_entry)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane()
            name = f"send:{key[0] or 'all'}:{'entries' if key[1] else 'exits'}"
            self._tasks.append(asyncio.create_task(self._work(lane), name=name))
        lane.put(command)

    async def _work(self, lane: _Lane) -> None:
        commands = lane.commands
        try:
            while True:
                if not commands:
                    await lane.sleep()
                command = commands.popleft()
                try:
                    if not isinstance(command, Submit) or self._may_go(command.order):
                        await self._carry(command)
                except Exception as error:  # noqa: BLE001 - the system stops and cleans up
                    self._on_fatal(error)
        finally:
            lane.end()

    def _may_go(self, order: Order) -> bool:
        """True for an order whose turn has come; False for one that was withdrawn meanwhile."""
        waited = order.client_id in self._unsent
        self._unsent.discard(order.client_id)
        return waited

    async def drain(self) -> None:
        """Wait until everything queued so far has been carried out."""
        for lane in list(self._lanes.values()):
            await lane.rest()

    async def stop(self) -> None:
        """End the lanes; what is still queued is not sent."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks.clear()
        self._lanes.clear()
