"""`Connection`: one WebSocket of one client, with a bounded queue and the faults on its way."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from candlewick.sandbox.faults import Fault, FaultKind, Faults

__all__ = ["Connection", "Message"]

_GARBAGE = b'{"e":"kline","E":17040672'
_STRANGER = b'{"e":"somethingNew","E":1,"x":{"y":[1,2,3]}}'


class Message:
    """An event, encoded once for all who get it: alone, and with the name of its stream."""

    __slots__ = ("_wrapped", "data", "event", "stream")

    def __init__(self, event: str, stream: str, data: bytes) -> None:
        self.event = event
        self.stream = stream
        self.data = data
        self._wrapped = b""

    def frame(self, combined: bool) -> bytes:
        """The bytes of the frame."""
        if not combined:
            return self.data
        if not self._wrapped:
            name = msgspec.json.encode(self.stream)
            self._wrapped = b'{"stream":' + name + b',"data":' + self.data + b"}"
        return self._wrapped


class Connection:
    """Sends what it is given in order, without ever holding up the market.

    Args:
        socket: the open WebSocket.
        route: public, market, private, api, or empty for the paths without one.
        combined: whether frames carry the name of their stream.
        faults: what befalls messages.
        queue: how many frames may wait before the client is cut off.
        abort: ends the TCP connection at once.
        expire_key: ends the listen key whose events come over this connection.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        route: str,
        combined: bool,
        faults: Faults,
        queue: int,
        abort: Callable[[], None],
        expire_key: Callable[[Connection], None],
    ) -> None:
        self.socket = socket
        self.route = route
        self.combined = combined
        self.listen_keys: set[str] = set()
        self.streams: dict[str, None] = {}
        self.stalled = False
        self.deaf = False
        self.heard = time.monotonic()  # when the last pong came in
        self._faults = faults
        self._limit = queue
        self._abort = abort
        self._expire_key = expire_key
        # realtime: allow RT103 - ``queue`` is the bound; beyond it the connection is cut
        self._frames: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._held: list[bytes] = []
        self._flushes: list[asyncio.Future[None]] = []
        self._pings: dict[bytes, asyncio.Future[bool]] = {}
        self._ping = 0
        self._queued = 0  # frames that were queued so far, and how many of them were surely read
        self._read = 0
        self._closing = False
        self._sender = asyncio.create_task(self._send(), name=f"sandbox:{route}")
        self._timers: set[asyncio.TimerHandle] = set()

    # -- what goes out -----------------------------------------------------------------------------

    def push(self, message: Message) -> None:
        """Send an event, unless a fault befalls it."""
        frame = message.frame(self.combined)
        fault = self._faults.message(message.event, self.route)
        if fault is None:
            self.put(frame)
            if self._held:
                for late in self._held:
                    self.put(late)
                self._held.clear()
        else:
            self._befall(fault, frame)

    def _befall(self, fault: Fault, frame: bytes) -> None:
        match fault.kind:
            case FaultKind.DROP:
                return
            case FaultKind.DELAY:
                self._put_later(frame, fault.delay_ms / 1e3)
            case FaultKind.DUPLICATE:
                self.put(frame)
                self.put(frame)
            case FaultKind.REORDER:
                self._held.append(frame)
            case FaultKind.GARBAGE:
                self.put(_GARBAGE)
                self.put(frame)
            case FaultKind.UNKNOWN_EVENT:
                self.put(_STRANGER)
                self.put(frame)
            case FaultKind.UNKNOWN_FIELD:
                self.put(b'{"unheardOf":{"a":[null,1.5]},' + frame[1:])
            case FaultKind.CUT:
                self.cut()
            case FaultKind.STALL:
                self.stalled = True
            case FaultKind.HALF_OPEN:
                self.deaf = True
                self.put(frame)
            case FaultKind.EXPIRE_LISTEN_KEY:
                self._expire_key(self)
            case _:  # pragma: no cover - the faults of requests do not come here
                self.put(frame)

    def _put_later(self, frame: bytes, delay_s: float) -> None:
        def due() -> None:
            self._timers.discard(timer)
            self.put(frame)

        timer = asyncio.get_running_loop().call_later(delay_s, due)
        self._timers.add(timer)

    def put(self, frame: bytes) -> None:
        """Queue a frame as it is; a client that does not read is cut off."""
        if self._closing or self.stalled:
            return
        if len(self._frames) >= self._limit:
            self.cut()
            return
        self._frames.append(frame)
        self._queued += 1
        self._wake.set()

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._send_queued()

    async def _send_queued(self) -> None:
        """Put what is queued on the wire; a frame is written before anything else can happen."""
        frames, socket = self._frames, self.socket
        try:
            while frames:
                await socket.send_frame(frames.popleft(), WSMsgType.TEXT)
        except (ConnectionError, RuntimeError):  # the client is gone: the reader sees it too
            frames.clear()
            self._closing = True
        self._release()

    def _release(self) -> None:
        for flush in self._flushes:
            if not flush.done():
                flush.set_result(None)
        self._flushes.clear()

    async def flush(self) -> None:
        """Wait until all that is queued is on the wire."""
        if self._closing or self.stalled or not self._frames:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushes.append(done)
        self._wake.set()
        await done

    @property
    def has_unread(self) -> bool:
        """True while the client may not have read all that was sent to it."""
        return self._read < self._queued and not self._closing and not self.stalled

    async def read(self, timeout_s: float = 5.0) -> None:
        """Wait until the client has read all that was sent: it then answers a ping."""
        if not self.has_unread:
            return
        queued = self._queued
        await self._send_queued()
        self._ping += 1
        name = str(self._ping).encode()
        loop = asyncio.get_running_loop()
        done = self._pings[name] = loop.create_future()
        patience = loop.call_later(timeout_s, self._give_up, name)
        try:
            await self.socket.ping(name)
            if await done:
                self._read = max(self._read, queued)
        except (ConnectionError, RuntimeError):
            return  # it is gone: nobody waits for it
        finally:
            patience.cancel()
            self._pings.pop(name, None)

    def _give_up(self, name: bytes) -> None:
        """Wait no longer for a client that does not read."""
        done = self._pings.get(name)
        if done is not None and not done.done():
            done.set_result(False)

    def ponged(self, name: bytes) -> None:
        """A pong has come in."""
        self.heard = time.monotonic()
        done = self._pings.get(name)
        if done is not None and not done.done():
            done.set_result(True)

    # -- the end -----------------------------------------------------------------------------------

    def cut(self) -> None:
        """End the connection at once, without a close frame."""
        self._closing = True
        for name in tuple(self._pings):
            self._give_up(name)
        self._abort()

    async def close(self, code: int = WSCloseCode.GOING_AWAY, reason: bytes = b"") -> None:
        """End the connection in good order."""
        self._closing = True
        await self.socket.close(code=code, message=reason, drain=False)

    async def stop(self) -> None:
        """Let go of tasks and timers."""
        self._closing = True
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._sender.cancel()
        await asyncio.wait([self._sender])
        self._release()
        for name in tuple(self._pings):
            self._give_up(name)
