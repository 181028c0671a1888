"""`Backoff`: pauses that grow and differ, so that a crowd of clients does not come back at once."""

from __future__ import annotations

import asyncio
import random

__all__ = ["Backoff"]


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
