"""`Diagnosis`: single questions to the exchange, for `candlewick doctor`; nothing is changed."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from candlewick.errors import VenueError
from candlewick.models import Instrument
from candlewick.venues.binance import endpoints
from candlewick.venues.binance.answers import AccountConfig, ApiAnswer
from candlewick.venues.binance.clock import ServerClock
from candlewick.venues.binance.connection import Connection
from candlewick.venues.binance.decoding import Reply, market_decoder
from candlewick.venues.binance.failures import Code, Refused, explain
from candlewick.venues.binance.keys import ApiKeys
from candlewick.venues.binance.limits import Limits
from candlewick.venues.binance.rest import RestClient
from candlewick.venues.binance.settings import BinanceSettings
from candlewick.venues.binance.signing import signed_params
from candlewick.venues.binance.start import fetch_instruments
from candlewick.venues.binance.tally import UNREADABLE, Tally

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Diagnosis"]

_NO_PERMISSION = (Code.KEY_FORMAT, Code.KEY_REJECTED, Code.SIGNATURE, Code.TIMESTAMP, 401, 403)
OnFrame = Callable[[Connection, bytes | str], None]


class Diagnosis:
    """Asks one server, with the keys of one account or without; an asynchronous context.

    Every question raises VenueError, whose message holds no secret.
    """

    def __init__(self, settings: BinanceSettings, keys: ApiKeys | None) -> None:
        self.settings = settings
        self._keys = keys
        self._tally = Tally()
        self._clock = ServerClock()
        self._limits = Limits(settings, self._clock)
        self._rest = RestClient(settings, keys, self._clock, self._limits, self._tally)

    async def __aenter__(self) -> Diagnosis:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._rest.close()

    # -- the market ------------------------------------------------------------------------------

    async def clock(self) -> tuple[float, float]:
        """How far the exchange's clock is ahead of ours, and how sure that is, ms."""
        await self._rest.sync_clock()
        return self._clock.offset_ms, self._clock.uncertainty_ms

    async def instrument(self, symbol: str) -> Instrument:
        """The rules of a symbol, which must be trading."""
        found = await fetch_instruments(self._rest, self._limits, [symbol], with_account=False)
        return found[symbol]

    async def first_message(self, route: str, stream: str, patience_s: float) -> float | None:
        """Seconds from connecting to the first message of a stream; None when none came in time."""
        decode = market_decoder(self._tally).decode
        came = asyncio.Event()

        def on_frame(connection: Connection, frame: bytes | str) -> None:
            message = decode(frame)
            if isinstance(message, Reply):
                connection.answered(message.id, error=message.error)
            elif message is not None:
                came.set()

        began = time.monotonic()
        url = f"{self.settings.ws_url}/{route}/stream"
        async with self._opened(url, route, on_frame) as connection:
            await connection.subscribe([stream])
            try:
                await asyncio.wait_for(came.wait(), patience_s)
            except TimeoutError:
                return None
        return time.monotonic() - began

    # -- the account -----------------------------------------------------------------------------

    async def balance(self) -> float:
        """The wallet, in the margin asset."""
        rows = await self._rest.call(endpoints.BALANCE)
        asset = self.settings.margin_asset
        return next((row.balance for row in rows if row.asset == asset), 0.0)

    async def account(self) -> AccountConfig:
        """What the account may do, and in which mode it is."""
        return await self._rest.call(endpoints.ACCOUNT_CONFIG)

    async def fees(self, symbol: str) -> tuple[float, float]:
        """Maker and taker fee, as fractions."""
        answer = await self._rest.call(endpoints.COMMISSION, {"symbol": symbol})
        return answer.makerCommissionRate, answer.takerCommissionRate

    async def holdings(self, symbols: Sequence[str]) -> tuple[int, int]:
        """How many positions and orders, conditional ones included, there are in some symbols."""
        positions = orders = 0
        for symbol in symbols:
            params = {"symbol": symbol}
            held = await self._rest.call(endpoints.POSITIONS, params)
            positions += sum(bool(row.positionAmt) for row in held)
            resting = await self._rest.call(endpoints.OPEN_ORDERS, params)
            conditional = await self._rest.call(endpoints.OPEN_ALGO_ORDERS, params)
            orders += len(resting) + len(conditional)
        return positions, orders

    async def smallest_order(self, item: Instrument, interval: str) -> tuple[float, float]:
        """Quantity and notional of the smallest order that is taken, with a tenth to spare."""
        rows = await self._rest.call(
            endpoints.KLINES, {"symbol": item.symbol, "interval": interval, "limit": 1}
        )
        price = rows[-1][4] if rows else 1.0
        least = max(item.min_quantity, 1.1 * item.min_notional / price)
        quantity = item.nearest_quantity(math.ceil(least / item.step) * item.step)
        return quantity, quantity * price

    async def trial_order(self, item: Instrument, interval: str) -> None:
        """Have the exchange check an order that it does not place; raises when keys forbid it.

        That the wallet is too small for the order, or another rule of trading, is no matter here.
        """
        quantity, _ = await self.smallest_order(item, interval)
        order: dict[str, str | int | bool] = {
            "symbol": item.symbol, "side": "BUY", "type": "MARKET",
            "quantity": item.format_quantity(quantity),
        }  # fmt: skip
        try:
            await self._rest.call(endpoints.TRY, order)
        except Refused as error:
            if error.code in _NO_PERMISSION:
                raise

    async def account_stream(self) -> float:
        """Seconds that it takes to open the account's stream."""
        began = time.monotonic()
        key = (await self._rest.call(endpoints.LISTEN)).listenKey
        url = f"{self.settings.ws_url}/private/ws?listenKey={key}"
        async with self._opened(url, "account", lambda _connection, _frame: None):
            return time.monotonic() - began

    async def ws_api(self) -> float:
        """Seconds that a signed question takes over the WebSocket API, once connected."""
        keys = self._keys
        if keys is None:
            raise VenueError("the WebSocket API needs API keys")
        decode = msgspec.json.Decoder(ApiAnswer, strict=False).decode

        def on_frame(connection: Connection, frame: bytes | str) -> None:
            try:
                answer = decode(frame)
            except UNREADABLE as error:
                self._tally.saw_malformed("order", error, frame)
            else:
                connection.answered(answer.id, answer)

        async with self._opened(self.settings.ws_api_url, "order", on_frame) as connection:
            began = time.monotonic()
            number, method = connection.next_number(), "v2/account.balance"
            params = signed_params(
                {}, keys.key, keys.signer, self._clock.now(), self.settings.recv_window_ms
            )
            request = {"id": number, "method": method, "params": params}
            answer = await connection.ask(number, request, method)
            took_s = time.monotonic() - began
        if answer.status != 200:
            code, text = (answer.error.code, answer.error.msg) if answer.error else (0, "")
            raise Refused(explain(method, code or answer.status, keys.redact(text[:300])), code)
        return took_s

    # -- connections -----------------------------------------------------------------------------

    @asynccontextmanager
    async def _opened(self, url: str, name: str, on_frame: OnFrame) -> AsyncIterator[Connection]:
        """A connection that is read until the context ends."""
        connection = await Connection.open(self._rest.session, url, self.settings, name)
        reader: asyncio.Task[Any] = asyncio.create_task(
            connection.read(lambda frame: on_frame(connection, frame))
        )
        reader.add_done_callback(lambda _: connection.lost("it has ended"))
        try:
            yield connection
        finally:
            await connection.close()
            reader.cancel()
            await asyncio.wait([reader])
