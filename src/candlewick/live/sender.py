"""`Sender`: carries commands to a venue that takes its time, without holding up the engine.

Each symbol has two lanes, one for entries and one for all that reduces risk: an entry whose answer
does not come must not delay the stop of what it has already filled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from candlewick.engine import Cancel, Query, Submit
from candlewick.models import Order

__all__ = ["Command", "Sender"]

Command = Submit | Cancel | Query
_QUEUE = 10_000


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
        self._lanes: dict[tuple[str, bool], asyncio.Queue[Command]] = {}
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
            lane = self._lanes[key] = asyncio.Queue(_QUEUE)
            name = f"send:{key[0] or 'all'}:{'entries' if key[1] else 'exits'}"
            self._tasks.append(asyncio.create_task(self._work(lane), name=name))
        lane.put_nowait(command)

    async def _work(self, lane: asyncio.Queue[Command]) -> None:
        while True:
            command = await lane.get()
            try:
                if not isinstance(command, Submit) or self._may_go(command.order):
                    await self._carry(command)
            except Exception as error:  # noqa: BLE001 - the system stops and cleans up
                self._on_fatal(error)
            finally:
                lane.task_done()

    def _may_go(self, order: Order) -> bool:
        """True for an order whose turn has come; False for one that was withdrawn meanwhile."""
        waited = order.client_id in self._unsent
        self._unsent.discard(order.client_id)
        return waited

    async def drain(self) -> None:
        """Wait until everything queued so far has been carried out."""
        for lane in list(self._lanes.values()):
            await lane.join()

    async def stop(self) -> None:
        """End the lanes; what is still queued is not sent."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks.clear()
        self._lanes.clear()
