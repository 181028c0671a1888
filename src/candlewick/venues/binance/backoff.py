"""`Backoff`: pauses that grow and differ, so that a crowd of clients does not come back at once."""

from __future__ import annotations

import asyncio
import logging
import random
import time

__all__ = ["Backoff", "Outage"]

_TOLD_EVERY_S = 60.0


class Backoff:
    """Pauses between attempts: each is drawn from 0 to a bound that doubles up to a limit.

    "Full jitter", https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/; the
    first half of ``least_s`` is always waited, so that no attempt follows at once.
    """

    __slots__ = ("_least_s", "_most_s", "attempts")

    def __init__(self, least_s: float, most_s: float) -> None:
        self._least_s = least_s
        self._most_s = most_s
        self.attempts = 0

    def reset(self) -> None:
        """An attempt has succeeded."""
        self.attempts = 0

    def next_s(self) -> float:
        """The next pause, seconds."""
        bound = min(self._most_s, self._least_s * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return self._least_s / 2 + random.random() * max(0.0, bound - self._least_s / 2)

    async def pause(self) -> None:
        """Wait for the next pause."""
        await asyncio.sleep(self.next_s())


class Outage:
    """Something that fails again and again: told at first, then once a minute, and when it is over.

    A whole night without a network must not bury all else in the log.
    """

    __slots__ = ("_log", "_since", "_tell_at")

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._since = 0.0
        self._tell_at = 0.0

    def begin(self) -> None:
        """It has begun, and somebody else tells of it."""
        self._since = self._since or time.monotonic()

    def failed(self, text: str) -> None:
        """Another attempt has failed."""
        self.begin()
        now = time.monotonic()
        if now < self._tell_at:
            self._log.debug("%s", text)
            return
        again = f" (for {now - self._since:.0f} s so far)" if self._tell_at else ""
        self._log.warning("%s%s", text, again)
        self._tell_at = now + _TOLD_EVERY_S

    def over(self, text: str) -> None:
        """An attempt has succeeded; silent where none had failed."""
        if self._since:
            self._log.info("%s after %.1f s", text, time.monotonic() - self._since)
        self._since = self._tell_at = 0.0
