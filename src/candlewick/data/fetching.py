"""`Archive`: fetches files of the exchange's archive: verified, continued, never half a file."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import msgspec

from candlewick.data.archive import ARCHIVE_URL
from candlewick.errors import ConfigError, DataError, VenueError

__all__ = ["Archive", "ArchiveSettings", "file_sha256"]

_log = logging.getLogger(__name__)
_CHUNK = 1024 * 1024
_CHECKSUM = re.compile(r"^([0-9a-fA-F]{64})[ \t]+\*?(\S+)\s*$")
_LIMITED = (429, 418)
_BAN_S = 60.0  # where the answer does not say


class ArchiveSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the archive is and how patient one is with it.

    ``parallel`` files are fetched at once. A request that brings nothing for ``timeout_s`` is
    given up and tried again, ``attempts`` times in all, with pauses that double from ``pause_s``.
    A 429 or 418 is waited for as long as the answer says, up to ``longest_wait_s``.
    """

    url: str = ARCHIVE_URL
    parallel: int = 4
    attempts: int = 5
    timeout_s: float = 30.0
    pause_s: float = 0.5
    longest_wait_s: float = 900.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"the archive {self.url!r} must be an http or https address")


class _Again(Exception):
    """An attempt that has failed, and may succeed when it is repeated."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class Archive:
    """A connection to the archive; to be used as an asynchronous context."""

    def __init__(self, settings: ArchiveSettings) -> None:
        self._settings = settings
        self._room = asyncio.Semaphore(settings.parallel)
        self._session: aiohttp.ClientSession | None = None
        self._blocked_until = 0.0
        self.bytes_fetched = 0

    async def __aenter__(self) -> Archive:
        patience = self._settings.timeout_s
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=patience, sock_read=patience),
            headers={"User-Agent": "candlewick"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def fetch(self, path: str, target: Path) -> str:
        """Bring the zip at ``path`` to ``target``; returns its SHA-256, "" when there is none.

        What an earlier attempt has left beside the target is continued. A file that does not have
        the checksum of the archive is fetched anew, once.

        Raises:
            DataError: the checksum is wrong again, or is no checksum.
            VenueError: the archive cannot be reached, or refuses.
        """
        async with self._room:
            expected = await self._checksum(path)
            if not expected:
                return ""
            found = await asyncio.to_thread(file_sha256, target)
            if found == expected:
                return expected
            for _ in range(2):
                if not await self._download(path, target):
                    return ""
                found = await asyncio.to_thread(file_sha256, target)
                if found == expected:
                    return expected
                _log.warning("%s has the checksum %s, not %s", path, found, expected)
                await asyncio.to_thread(target.unlink)
        raise DataError(
            f"{self._settings.url}{path} has the checksum {found}, and {expected} is told for it:"
            " it is damaged at its source or on its way, twice; try again later"
        )

    async def _checksum(self, path: str) -> str:
        """The SHA-256 that the archive tells; empty when it does not have the file."""
        content = await self._repeated(f"{path}.CHECKSUM", self._read)
        if content is None:
            return ""
        told = _CHECKSUM.match(content.decode("utf-8", "replace"))
        if told is None or told[2] != path.rpartition("/")[2]:
            raise DataError(
                f"{self._settings.url}{path}.CHECKSUM holds {content[:120]!r}, not a SHA-256 and"
                " the name of the file"
            )
        return told[1].lower()

    async def _download(self, path: str, target: Path) -> bool:
        """Fetch the zip, going on with what is there of it; False when there is none."""
        part = target.with_name(f"{target.name}.part")

        async def continued(response: aiohttp.ClientResponse) -> bool:
            await self._append(response, part)
            return True

        done = await self._repeated(path, continued, part)
        if done:
            await asyncio.to_thread(part.replace, target)
        return bool(done)

    # -- requests --------------------------------------------------------------------------------

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        return await response.read()

    async def _append(self, response: aiohttp.ClientResponse, part: Path) -> None:
        """Write what comes behind what is there, or anew when the server begins anew."""
        mode = "ab" if response.status == 206 else "wb"
        async for chunk in response.content.iter_chunked(_CHUNK):
            await asyncio.to_thread(_write, part, mode, chunk)
            mode = "ab"
            self.bytes_fetched += len(chunk)

    async def _repeated(self, path: str, take: Any, part: Path | None = None) -> Any:
        """Make a request until it is answered; None for what does not exist."""
        settings = self._settings
        pause_s = settings.pause_s
        for attempt in range(1, settings.attempts + 1):
            await self._wait_for_the_ban()
            try:
                return await self._once(path, take, part)
            except _Again as error:
                if attempt == settings.attempts:
                    raise VenueError(f"{settings.url}{path}: {error}; try again later") from None
                _log.warning("%s is asked for again: %s", path, error)
                if error.wait_s:
                    self._block(path, error.wait_s)
                else:
                    await asyncio.sleep(pause_s)
                    pause_s *= 2.0
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, path: str, take: Any, part: Path | None) -> Any:
        assert self._session is not None, "it is an asynchronous context"
        have = await asyncio.to_thread(_size, part) if part is not None else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        try:
            async with self._session.get(
                f"{self._settings.url.rstrip('/')}{path}", headers=headers
            ) as response:
                if response.status == 404:
                    return None
                if response.status == 416 and part is not None:  # there is nothing behind it
                    await asyncio.to_thread(part.unlink)
                    raise _Again("what was there of it does not fit")
                self._refuse(path, response)
                return await take(response)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            reason = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            raise _Again(reason or type(error).__name__) from None

    def _refuse(self, path: str, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status in (200, 206):
            return
        if status in _LIMITED:
            told = response.headers.get("Retry-After", "")
            raise _Again(f"HTTP {status}", float(told) if told.isdecimal() else _BAN_S)
        if status >= 500 or status == 408:
            raise _Again(f"HTTP {status}")
        raise VenueError(f"{self._settings.url}{path}: HTTP {status}; check the address")

    def _block(self, path: str, seconds: float) -> None:
        """Nothing is sent for so long: the archive has asked for it."""
        if seconds > self._settings.longest_wait_s:
            raise VenueError(
                f"{self._settings.url}{path}: nothing may be asked for {seconds:g} s; go on then"
            )
        loop = asyncio.get_running_loop()
        self._blocked_until = max(self._blocked_until, loop.time() + seconds)

    async def _wait_for_the_ban(self) -> None:
        left = self._blocked_until - asyncio.get_running_loop().time()
        if left > 0.0:
            await asyncio.sleep(left)


def _write(path: Path, mode: str, chunk: bytes) -> None:
    try:
        with path.open(mode) as file:
            file.write(chunk)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def file_sha256(path: Path) -> str:
    """The checksum of a file; empty when there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""
