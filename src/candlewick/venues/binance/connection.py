"""`Connection`: one WebSocket to the exchange: open, subscribe, read, close."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp
import msgspec

from candlewick.venues.binance.failures import OutcomeUnknown, Refused, reason_of
from candlewick.venues.binance.settings import BinanceSettings

__all__ = ["Connection"]

_GROUP = 200  # streams in one SUBSCRIBE
_PACE_S = 0.25  # between two of our messages: the exchange takes 10 a second, pongs included
_MAX_FRAME = 16 * 1024 * 1024
# frames as bytes, where aiohttp can: the decoder wants bytes, and a str would cost a copy
_AS_BYTES: dict[str, Any] = (
    {"decode_text": False}
    if "decode_text" in inspect.signature(aiohttp.ClientSession.ws_connect).parameters
    else {}
)


class Connection:
    """One connection. ``last_data`` is when its last frame came, monotonic seconds.

    aiohttp answers the exchange's pings; it also sends its own every ``heartbeat_s``, and gives the
    connection up when the answer does not come: a peer that has gone without a word is found out.
    """

    def __init__(self, settings: BinanceSettings, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._settings = settings
        self._socket = socket
        self._next_id = 1
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.opened_at = time.monotonic()
        self.last_data = self.opened_at
        self._frames = 0
        self._replies = 0

    @classmethod
    async def open(
        cls, session: aiohttp.ClientSession, url: str, settings: BinanceSettings, name: str
    ) -> Connection:
        """Connect; raises VenueError with a message that does not hold the URL."""
        try:
            async with asyncio.timeout(settings.request_timeout_s):
                socket = await session.ws_connect(
                    url, heartbeat=settings.heartbeat_s, max_msg_size=_MAX_FRAME, **_AS_BYTES
                )
        except aiohttp.WSServerHandshakeError as error:
            raise Refused(
                f"the {name} stream refused us: HTTP {error.status}", error.status
            ) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise OutcomeUnknown(
                f"the {name} stream cannot be reached: {reason_of(error)}", sent=False
            ) from None
        return cls(settings, socket)

    @property
    def age_s(self) -> float:
        """How long the connection has been open."""
        return time.monotonic() - self.opened_at

    @property
    def silent_s(self) -> float:
        """The age of its data."""
        return time.monotonic() - self.last_data

    @property
    def news(self) -> int:
        """How many frames came that were no answers to requests."""
        return self._frames - self._replies

    async def read(self, on_frame: Callable[[bytes | str], None]) -> str:
        """Hand over every frame until the connection ends; returns why it did."""
        receive = self._socket.receive
        text, binary = aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY
        while True:
            message = await receive()
            kind = message.type
            if kind is text or kind is binary:
                self.last_data = time.monotonic()
                self._frames += 1
                on_frame(message.data)
            elif kind is aiohttp.WSMsgType.ERROR:
                return f"broken: {type(message.data).__name__}"
            elif kind in (
                aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED
            ):  # fmt: skip
                return f"closed, code {self._socket.close_code}"

    async def subscribe(self, streams: Sequence[str]) -> None:
        """Subscribe in groups, and wait for the answers; `read` must be running.

        Raises:
            VenueError: a group was refused, or not answered in time.
        """
        for start in range(0, len(streams), _GROUP):
            if start:
                await asyncio.sleep(_PACE_S)
            await self._request("SUBSCRIBE", streams[start : start + _GROUP])

    async def _request(self, method: str, params: Sequence[str]) -> None:
        number = self.next_number()
        await self.ask(number, {"method": method, "params": params, "id": number}, method)

    def next_number(self) -> int:
        """A number for a request that was not used on this connection."""
        number, self._next_id = self._next_id, self._next_id + 1
        return number

    async def ask(self, number: int, request: Mapping[str, Any], name: str) -> Any:
        """Send a request, and return what `answered` is called with.

        Raises:
            OutcomeUnknown: no answer in time, or the connection ended.
        """
        if self._socket.closed:
            raise OutcomeUnknown(f"{name}: the connection has ended", sent=False)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._answers[number] = answer
        timer: asyncio.TimerHandle | None = None
        try:
            # a peer that takes nothing is found out by its pings, so sending needs no timer of its
            # own, and the order's bytes need not wait for one
            await self._socket.send_frame(msgspec.json.encode(request), aiohttp.WSMsgType.TEXT)
            timer = loop.call_later(self._settings.request_timeout_s, _expire, answer)
            return await answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = type(error).__name__
            raise OutcomeUnknown(f"{name} was not answered: {reason}") from None
        finally:
            if timer is not None:
                timer.cancel()
            del self._answers[number]

    def answered(self, number: int | str | None, answer: Any = None, error: str = "") -> bool:
        """Take the answer to a request of ours; False when none with this number waits."""
        self._replies += 1
        waiting = self._answers.get(number) if isinstance(number, int) else None
        if waiting is None or waiting.done():
            return False
        if error:
            waiting.set_exception(Refused(f"the exchange refused it: {error}"))
        else:
            waiting.set_result(answer)
        return True

    def lost(self, reason: str) -> None:
        """The connection has ended: nothing that waits will be answered."""
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(OutcomeUnknown(f"the connection has ended: {reason}"))

    async def close(self) -> None:
        """Close it, without waiting long for the other side."""
        try:
            async with asyncio.timeout(1.0):
                await self._socket.close()
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass  # it is gone either way


def _expire(answer: asyncio.Future[Any]) -> None:
    """The answer has not come in time."""
    if not answer.done():
        answer.set_exception(TimeoutError())
