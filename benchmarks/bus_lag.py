"""How late the event loop comes to what arrives, seen from another process."""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
import time
from types import TracebackType

__all__ = ["LagProbe"]

_STAMP = struct.Struct("=q")
_SENDER = """
import os, struct, time
pack = struct.Struct("=q").pack
while True:
    time.sleep({interval})
    os.write(1, pack(time.monotonic_ns()))
"""


class LagProbe:
    """A process writes the time into a pipe every ``interval_s``; the loop notes when it reads it.

    Both clocks are the machine's monotonic one, so the difference is what a market message would
    have waited for: for the loop, for the interpreter's lock, for a processor. ``lags_ns`` has
    every one.
    """

    def __init__(self, interval_s: float = 0.001) -> None:
        self.lags_ns: list[int] = []
        self._interval_s = interval_s
        self._began = asyncio.Event()

    async def __aenter__(self) -> LagProbe:
        code = _SENDER.format(interval=self._interval_s)
        self._sender = subprocess.Popen(  # noqa: ASYNC220 - nothing is measured yet
            [sys.executable, "-S", "-c", code], stdout=subprocess.PIPE
        )
        assert self._sender.stdout is not None
        self._pipe = self._sender.stdout.fileno()
        asyncio.get_running_loop().add_reader(self._pipe, self._read)
        await self._began.wait()
        self.lags_ns.clear()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._pipe)
        self._sender.kill()
        self._sender.communicate()

    def _read(self) -> None:
        stamps = os.read(self._pipe, 1 << 16)
        now = time.monotonic_ns()
        self.lags_ns += [now - sent for (sent,) in _STAMP.iter_unpack(stamps)]
        self._began.set()
