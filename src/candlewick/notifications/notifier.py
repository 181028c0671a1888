"""`Notifier`: takes notices at once, delivers them when it can, and says what it could not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Literal

import aiohttp
import msgspec

from candlewick.notifications.senders import Sender, SendError
from candlewick.notifications.settings import NotificationSettings

__all__ = ["Notice", "Notifier", "Severity"]

Severity = Literal["info", "warning", "critical"]

_log = logging.getLogger(__name__)
_QUEUE = 100
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}


class Notice(msgspec.Struct, frozen=True):
    """One thing to be told. Notices of one ``kind`` and ``subject`` are alike.

    ``repeated`` counts those that were held back since the last one like it; ``time`` is UTC ms.
    """

    kind: str
    severity: Severity
    title: str
    text: str
    time: int
    subject: str = ""
    repeated: int = 0


class Notifier:
    """Writes notices to the log, and delivers them to every sender.

    Each sender has a queue of its own, so that none waits for another; the log is the console and
    the file of the program, and needs no sender.

    ``undelivered`` is called with (sender, notice, reason) for what could not be told.
    """

    def __init__(
        self,
        senders: Sequence[Sender],
        settings: NotificationSettings,
        undelivered: Callable[[str, Notice, str], None],
    ) -> None:
        self._settings = settings
        self._undelivered = undelivered
        self._queues = [(sender, asyncio.Queue[Notice](_QUEUE)) for sender in senders]
        self._last: dict[tuple[str, str], float] = {}
        self._held_back: dict[tuple[str, str], int] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None

    def tell(self, notice: Notice) -> None:
        """Take a notice; returns at once."""
        key = (notice.kind, notice.subject)
        now = monotonic()
        last = self._last.get(key)
        if last is not None and now - last < self._settings.repeat_after_s:
            self._held_back[key] = self._held_back.get(key, 0) + 1
            return
        self._last[key] = now
        notice = msgspec.structs.replace(notice, repeated=self._held_back.pop(key, 0))
        told = f"{notice.title}: {notice.text}" if notice.text else notice.title
        _log.log(_LEVELS[notice.severity], "%s", told)
        for sender, waiting in self._queues:
            try:
                waiting.put_nowait(notice)
            except asyncio.QueueFull:
                self._undelivered(sender.name, notice, f"{_QUEUE} notices wait already")

    def start(self) -> None:
        """Begin to deliver."""
        if not self._queues:
            return
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_s)
        session = self._session = aiohttp.ClientSession(timeout=timeout)
        self._tasks = [
            asyncio.create_task(self._work(session, sender, waiting), name=sender.name)
            for sender, waiting in self._queues
        ]

    async def _work(
        self, session: aiohttp.ClientSession, sender: Sender, waiting: asyncio.Queue[Notice]
    ) -> None:
        while True:
            notice = await waiting.get()
            try:
                await self._deliver(session, sender, notice)
            finally:
                waiting.task_done()

    async def _deliver(
        self, session: aiohttp.ClientSession, sender: Sender, notice: Notice
    ) -> None:
        body = msgspec.to_builtins(notice)
        deadline = monotonic() + self._settings.give_up_s
        pause_s = self._settings.first_retry_s
        while True:
            try:
                await sender.send(session, body)
            except SendError as error:
                wait_s = max(pause_s, error.retry_after_s)
                if error.is_final or monotonic() + wait_s > deadline:
                    self._undelivered(sender.name, notice, str(error))
                    return
            else:
                return
            await asyncio.sleep(wait_s)
            pause_s *= 2

    async def stop(self, timeout_s: float) -> None:
        """Deliver what waits for at most so long, then give up on the rest."""
        try:
            async with asyncio.timeout(timeout_s):
                for _, waiting in self._queues:
                    await waiting.join()
        except TimeoutError:
            for sender, waiting in self._queues:
                while not waiting.empty():
                    self._undelivered(sender.name, waiting.get_nowait(), "the system has stopped")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._session is not None:
            await self._session.close()
