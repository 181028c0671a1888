"""A server with the layout of the exchange's archive, over real sockets, that can misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import io
import zipfile
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from aiohttp import web

HOUR = 3_600_000
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore"
)
Answer = Callable[[web.Request, bytes], Awaitable[web.StreamResponse | None]]


def ms(text: str) -> int:
    """A day as UTC ms."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


def line(time: int, length: int = HOUR) -> str:
    """The candle that opens at a time; its prices follow from it."""
    price = 1_000.0 + time // length % 500
    return f"{time},{price},{price + 2},{price - 2},{price + 1},{1.5},{time + length - 1},1,2,1,1,0"


def packed(name: str, lines: list[str], *, header: bool = True) -> bytes:
    """A zip with one CSV, as the archive has it; older files have no header."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.csv", "\n".join(([HEADER] if header else []) + lines) + "\n")
    return content.getvalue()


class ArchiveServer:
    """Serves what `put` was given; ``answers`` are played once each before the ordinary ones."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.answers: dict[str, deque[Answer]] = defaultdict(deque)
        self.changed = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def put(
        self, span: str, first: str, last: str, *, symbol: str = "BTCUSDT", interval: str = "1h",
        length: int = HOUR, leave_out: tuple[int, ...] = (), header: bool = True,
    ) -> str:  # fmt: skip
        """Publish the candles from the day ``first`` to before ``last``; returns the path."""
        times = [t for t in range(ms(first), ms(last), length) if t not in leave_out]
        name = f"{symbol}-{interval}-{span}"
        content = packed(name, [line(time, length) for time in times], header=header)
        folder = "monthly" if len(span) == 7 else "daily"
        path = f"/data/futures/um/{folder}/klines/{symbol}/{interval}/{name}.zip"
        self.files[path] = content
        digest = hashlib.sha256(content).hexdigest()
        self.files[f"{path}.CHECKSUM"] = f"{digest}  {name}.zip\n".encode()
        return path

    def fetched(self) -> list[str]:
        """The zips that were asked for, by their names."""
        return [
            path.rpartition("/")[2].removesuffix(".zip")
            for path, _ in self.requests
            if path.endswith(".zip") and path in self.files
        ]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path, asked = request.path, request.headers.get("Range", "")
        self.requests.append((path, asked))
        self.changed.set()
        content = self.files.get(path)
        if self.answers[path]:
            answer = await self.answers[path].popleft()(request, content or b"")
            if answer is not None:
                return answer
        if content is None:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        if asked:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return web.Response(status=416)
            return web.Response(status=206, body=content[start:])
        return web.Response(body=content)


def refuse(status: int, **headers: str) -> Answer:
    """An error answer."""

    async def answer(request: web.Request, content: bytes) -> web.StreamResponse:
        return web.Response(status=status, headers=headers)

    return answer


def cut_after(count: int, hold: asyncio.Event | None = None) -> Answer:
    """Send so many bytes and cut the connection; with ``hold`` wait for that first."""

    async def answer(request: web.Request, content: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(content))})
        await response.prepare(request)
        await response.write(content[:count])
        if hold is not None:
            await hold.wait()
        if request.transport is not None:  # the other side may be gone already
            request.transport.abort()
        return response

    return answer


def damaged() -> Answer:
    """A file with one byte changed."""

    async def answer(request: web.Request, content: bytes) -> web.StreamResponse:
        middle = len(content) // 2
        broken = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        return web.Response(body=broken)

    return answer
