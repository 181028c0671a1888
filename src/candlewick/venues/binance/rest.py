"""`RestClient`: signed requests, within the limits, with errors that say what is known."""

from __future__ import annotations

import asyncio
import logging
import time
from types import TracebackType
from typing import Any, TypeVar

import aiohttp
import msgspec
from yarl import URL

from candlewick.errors import VenueError
from candlewick.venues.binance import endpoints
from candlewick.venues.binance.answers import ErrorAnswer
from candlewick.venues.binance.backoff import Backoff
from candlewick.venues.binance.clock import ServerClock
from candlewick.venues.binance.endpoints import Endpoint, Security
from candlewick.venues.binance.failures import Code, OutcomeUnknown, RateLimited, Refused, reason_of
from candlewick.venues.binance.keys import ApiKeys
from candlewick.venues.binance.limits import Limits, Urgency
from candlewick.venues.binance.settings import BinanceSettings
from candlewick.venues.binance.signing import Params, encoded, signed_query
from candlewick.venues.binance.tally import UNREADABLE, Tally

__all__ = ["RestClient"]

T = TypeVar("T")

_log = logging.getLogger(__name__)
_ATTEMPTS = 4
_CLOCK_SAMPLES = 3
_ERROR = msgspec.json.Decoder(ErrorAnswer, strict=False)


class RestClient:
    """Requests to one exchange for one account, or without keys for public data only.

    A repeatable request is tried again after a lost connection or an unclear answer; an order is
    not. No message of an error holds a URL, as those carry signatures and listen keys.
    """

    def __init__(
        self,
        settings: BinanceSettings,
        keys: ApiKeys | None,
        clock: ServerClock,
        limits: Limits,
        tally: Tally,
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._clock = clock
        self._limits = limits
        self._tally = tally
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False
        self._syncing: asyncio.Lock = asyncio.Lock()
        self._synced = 0.0

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session that all connections share; opened by the first request."""
        if self._is_closed:
            raise VenueError("the venue is closed")
        if self._session is None:
            timeout = aiohttp.ClientTimeout(
                total=self._settings.request_timeout_s,
                connect=self._settings.request_timeout_s / 2,
            )
            self._session = aiohttp.ClientSession(
                timeout=timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "candlewick"},
            )
        return self._session

    async def close(self) -> None:
        """End all connections, for good."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()

    async def __aenter__(self) -> RestClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # -- the clock -------------------------------------------------------------------------------

    async def sync_clock(self) -> None:
        """Measure how far the exchange's clock is from ours."""
        asked = time.monotonic()
        async with self._syncing:
            if self._synced > asked:
                return  # somebody else has, while this one waited
            samples = []
            for _ in range(_CLOCK_SAMPLES):
                sent = time.monotonic_ns()
                answer = await self.call(endpoints.TIME, weight=0)  # before the limits are known
                samples.append((sent, time.monotonic_ns(), answer.serverTime))
            self._clock.learn(samples)
            self._synced = time.monotonic()
        _log.debug("the exchange's clock is %.0f ms ahead of ours", self._clock.offset_ms)

    # -- requests --------------------------------------------------------------------------------

    async def call(
        self,
        endpoint: Endpoint[T],
        params: Params | None = None,
        *,
        weight: int | None = None,
        urgency: Urgency = Urgency.READ,
    ) -> T:
        """Make a request, and return what it answers.

        Raises:
            Refused: the exchange says no; ``code`` says why.
            RateLimited: a limit stands in the way for longer than the request may wait.
            OutcomeUnknown: there was no clear answer.
        """
        backoff = Backoff(self._settings.backoff_min_s, self._settings.backoff_max_s)
        synced = False
        while True:
            try:
                return await self._once(endpoint, params or {}, weight, urgency)
            except Refused as error:
                is_signed = endpoint.security is Security.SIGNED
                if error.code != Code.TIMESTAMP or synced or not is_signed:
                    raise
                synced = True  # refused for its time: nothing was done, and it can be sent again
                self._tally.events["clock_refused"] += 1
                await self.sync_clock()
            except RateLimited as error:
                repeats = endpoint.repeatable and backoff.attempts + 1 < _ATTEMPTS
                if not repeats or error.wait_s > self._limits.max_wait_s:
                    raise
                backoff.attempts += 1  # the limits make it wait
            except OutcomeUnknown:
                if not endpoint.repeatable or backoff.attempts + 1 >= _ATTEMPTS:
                    raise
                self._tally.events["requests_repeated"] += 1
                await backoff.pause()

    async def _once(
        self, endpoint: Endpoint[T], params: Params, weight: int | None, urgency: Urgency
    ) -> T:
        amount = endpoint.weight if weight is None else weight
        ticket = await self._limits.admit(amount, endpoint.orders, urgency)
        headers: Any = None
        try:
            status, headers, body = await self._exchange(endpoint, params)
        finally:
            ticket.settle(headers)
        if status == 200:
            try:
                return endpoint.decoder.decode(body)
            except UNREADABLE as error:
                self._tally.saw_malformed(f"rest {endpoint.path}", error, body)
                raise OutcomeUnknown(
                    f"{_name(endpoint)}: the answer cannot be understood: {error}"
                ) from None
        raise self._failure(endpoint, status, headers, body)

    async def _exchange(self, endpoint: Endpoint[Any], params: Params) -> tuple[int, Any, bytes]:
        url, headers = self._prepared(endpoint, params)
        try:
            async with self.session.request(
                endpoint.method, url, headers=headers, allow_redirects=False
            ) as response:
                return response.status, response.headers, await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise self._lost(endpoint, error, sent=False) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._lost(endpoint, error, sent=True) from None

    def _prepared(self, endpoint: Endpoint[Any], params: Params) -> tuple[URL, dict[str, str]]:
        base = self._settings.rest_url + endpoint.path
        headers = {}
        if endpoint.security is Security.NONE:
            query = encoded(params)
        elif self._keys is None:
            raise VenueError(f"{_name(endpoint)} needs API keys")
        else:
            headers["X-MBX-APIKEY"] = self._keys.key
            query = encoded(params)
            if endpoint.security is Security.SIGNED:
                query = signed_query(
                    params, self._keys.signer, self._clock.now(), self._settings.recv_window_ms
                )
        return URL(f"{base}?{query}" if query else base, encoded=True), headers

    def _lost(self, endpoint: Endpoint[Any], error: BaseException, *, sent: bool) -> OutcomeUnknown:
        self._tally.events["requests_lost"] += 1
        return OutcomeUnknown(f"{_name(endpoint)}: {reason_of(error)}", sent=sent)

    def _failure(
        self, endpoint: Endpoint[Any], status: int, headers: Any, body: bytes
    ) -> VenueError:
        """Turn an error answer into what it means."""
        code, message = 0, ""
        try:
            answer = _ERROR.decode(body)
            code, message = answer.code, self._redacted(answer.msg[:300])
        except UNREADABLE as error:
            self._tally.saw_malformed(f"rest {endpoint.path}", error, body)
        self._tally.events[f"refused_{code or status}"] += 1
        wait_s = _retry_after_s(headers)
        return self._limits.failure(_name(endpoint), status, code, message, wait_s)

    def _redacted(self, text: str) -> str:
        return text if self._keys is None else self._keys.redact(text)


def _name(endpoint: Endpoint[Any]) -> str:
    return f"{endpoint.method} {endpoint.path}"


def _retry_after_s(headers: Any) -> float | None:
    text = str(headers.get("Retry-After") or "") if headers is not None else ""
    return float(text) if text.isdecimal() and len(text) < 8 else None
