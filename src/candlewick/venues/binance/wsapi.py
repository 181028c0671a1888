"""`WsApi`: orders over the exchange's WebSocket API: no connection to set up, little to send."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from candlewick.venues.binance.answers import ApiAnswer
from candlewick.venues.binance.clock import ServerClock
from candlewick.venues.binance.connection import Connection
from candlewick.venues.binance.endpoints import Endpoint
from candlewick.venues.binance.failures import Code, OutcomeUnknown, Refused
from candlewick.venues.binance.keeper import Keeper
from candlewick.venues.binance.keys import ApiKeys
from candlewick.venues.binance.limits import Limits, Urgency
from candlewick.venues.binance.rest import RestClient
from candlewick.venues.binance.settings import BinanceSettings
from candlewick.venues.binance.signing import Params, signed_params
from candlewick.venues.binance.tally import UNREADABLE, Tally

__all__ = ["WsApi"]

T = TypeVar("T")

_ANSWER = msgspec.json.Decoder(ApiAnswer, strict=False)


class WsApi:
    """Requests over one WebSocket that is kept alive; `is_healthy` says whether to use it.

    A request without an answer in time makes the connection a suspect: it is replaced, and until
    then `is_healthy` is False.
    """

    def __init__(
        self,
        settings: BinanceSettings,
        keys: ApiKeys,
        clock: ServerClock,
        limits: Limits,
        tally: Tally,
        rest: RestClient,
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._clock = clock
        self._limits = limits
        self._tally = tally
        self._rest = rest
        self._is_suspect = False
        self.keeper = Keeper(
            "order", settings, tally, self._connect, (), self._on_frame,
            self._on_up, self._on_down,
        )  # fmt: skip

    @property
    def is_healthy(self) -> bool:
        """True while requests can be expected to be answered."""
        return self.keeper.connection is not None and not self._is_suspect

    async def _connect(self) -> Connection:
        url = self._settings.ws_api_url
        return await Connection.open(self._rest.session, url, self._settings, "order")

    def _on_up(self, _earlier: int) -> None:
        self._is_suspect = False

    def _on_down(self, _reason: str) -> None:
        self._is_suspect = True

    def _on_frame(self, connection: Connection, frame: bytes | str) -> None:
        try:
            answer = _ANSWER.decode(frame)
        except UNREADABLE as error:
            self._tally.saw_malformed("order", error, frame)
            return
        if not connection.answered(answer.id, answer):
            self._tally.events["answers_too_late"] += 1

    async def call(self, method: str, params: Params, endpoint: Endpoint[T], urgency: Urgency) -> T:
        """Make the request that ``endpoint`` is over REST; raises what `RestClient` raises."""
        try:
            return await self._once(method, params, endpoint, urgency)
        except Refused as error:
            if error.code != Code.TIMESTAMP:
                raise
            self._tally.events["clock_refused"] += 1
            await self._rest.sync_clock()
            return await self._once(method, params, endpoint, urgency)

    async def _once(
        self, method: str, params: Params, endpoint: Endpoint[T], urgency: Urgency
    ) -> T:
        ticket = await self._limits.admit(endpoint.weight, endpoint.orders, urgency)
        answer: ApiAnswer | None = None
        try:
            answer = await self._send(method, params)
        finally:
            ticket.settle(counts=answer.rateLimits if answer is not None else ())
        if answer.status == 200:
            try:
                return endpoint.decoder.decode(answer.result)
            except UNREADABLE as error:
                self._tally.saw_malformed("order", error, bytes(answer.result))
                raise OutcomeUnknown(
                    f"{method}: the answer cannot be understood: {error}"
                ) from None
        told = answer.error
        code = told.code if told is not None else 0
        self._tally.events[f"refused_{code or answer.status}"] += 1
        message = self._keys.redact(told.msg[:300]) if told is not None else ""
        wait_s = _retry_after_s(told.data if told is not None else None, self._clock.now())
        raise self._limits.failure(method, answer.status, code, message, wait_s)

    async def _send(self, method: str, params: Params) -> ApiAnswer:
        connection = self.keeper.newest
        if connection is None:
            raise OutcomeUnknown(f"{method}: there is no connection", sent=False)
        number = connection.next_number()
        signed = signed_params(
            params, self._keys.key, self._keys.signer, self._clock.now(),
            self._settings.recv_window_ms,
        )  # fmt: skip
        request: dict[str, Any] = {"id": number, "method": method, "params": signed}
        try:
            answer: ApiAnswer = await connection.ask(number, request, method)
        except OutcomeUnknown as error:
            self._is_suspect = True
            self._tally.events["requests_lost"] += 1
            self.keeper.renew(str(error))
            raise
        return answer


def _retry_after_s(data: dict[str, Any] | None, now: int) -> float | None:
    """The answer names the time (UTC ms) from which requests are taken again, and mostly its own;
    ``now`` is the exchange's time otherwise.
    """
    if data is None:
        return None
    until, told = data.get("retryAfter"), data.get("serverTime")
    if not isinstance(until, int):
        return None
    return max(0.0, (until - (told if isinstance(told, int) else now)) / 1e3)
