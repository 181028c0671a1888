"""`ServiceManager`: tells systemd how the process is, by the protocol of sd_notify(3).

Without ``NOTIFY_SOCKET`` in the environment every call does nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from candlewick.engine import EngineState, StateChanged
from candlewick.live.system import TradingSystem
from candlewick.models import Event, EventKind

__all__ = ["ServiceManager", "serviced"]

_log = logging.getLogger(__name__)
_MOST = 400  # characters of a status


class ServiceManager:
    """One datagram a message, sent without ever waiting; what cannot be sent is left out.

    Args:
        address: of the manager's socket; ``@`` begins an abstract one; empty for none.
        watchdog_s: within which the manager wants to hear of the process; 0.0 for never.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self.watchdog_s = watchdog_s
        self._socket: socket.socket | None = None
        if not address:
            return
        found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        found.setblocking(False)
        try:
            found.connect("\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            _log.warning("the service manager cannot be told of this process: %s", error)
            found.close()
            return
        self._socket = found

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ServiceManager:
        """Read what systemd has set: NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID."""
        watchdog_s = 0.0
        if environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            text = environment.get("WATCHDOG_USEC", "")
            watchdog_s = int(text) / 1e6 if text.isdecimal() else 0.0
        return cls(environment.get("NOTIFY_SOCKET", ""), watchdog_s)

    def ready(self, status: str) -> None:
        """The start is over."""
        self._send("READY=1", f"STATUS={status[:_MOST]}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text[:_MOST]}")

    def stopping(self, text: str, within_s: float) -> None:
        """The end has begun, and takes so long at most."""
        self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={within_s * 1e6:.0f}", f"STATUS={text}")

    def alive(self) -> None:
        """Keep the watchdog from biting."""
        self._send("WATCHDOG=1")

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Tell of life from the event loop, three times in the manager's patience.

        A loop that is held up tells nothing: then the manager ends the process.
        """
        if not self.watchdog_s or self._socket is None:
            yield
            return
        task = asyncio.create_task(self._beat(), name="watchdog of the service")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _beat(self) -> None:
        while True:
            self.alive()
            await asyncio.sleep(self.watchdog_s / 3.0)

    def close(self) -> None:
        """Let go of the socket. Idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.send("\n".join(line.replace("\n", " ") for line in lines).encode())
        except OSError as error:
            _log.debug("the service manager was not told: %s", error)


@asynccontextmanager
async def serviced(system: TradingSystem, manager: ServiceManager) -> AsyncIterator[None]:
    """Tell the manager of a system that is about to run, until the context ends."""
    settings = system.settings
    within_s = settings.cleanup.timeout_s + 3.0 * settings.drain_timeout_s

    async def changed(event: Event) -> None:
        change = event.payload
        if not isinstance(change, StateChanged):
            return
        if change.state is EngineState.RUNNING:
            manager.ready(f"trading {', '.join(system.engine.symbols)} on {system.venue.name}")
        elif change.state is EngineState.STOPPING:
            manager.stopping(f"stopping: {change.reason}", within_s)
        elif change.state is EngineState.HALTED:
            manager.status(f"halted: {change.reason}")

    system.bus.subscribe(EventKind.ENGINE_STATE_CHANGED, changed, name="service manager")
    async with manager.beating():
        yield
