"""`World`: the sandbox without its sockets: clock, markets and clients, moved a step at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from candlewick.data.instruments import quote_of
from candlewick.errors import ConfigError, ValidationError
from candlewick.exchange import SimulatedExchange
from candlewick.models import Candle, Instrument, PositionSide
from candlewick.sandbox.account import Account
from candlewick.sandbox.faults import Fault, Faults
from candlewick.sandbox.hub import Hub
from candlewick.sandbox.keys import Client, ListenKey, new_key
from candlewick.sandbox.limits import OrderCounts, Weights
from candlewick.sandbox.settings import SandboxSettings
from candlewick.sandbox.source import CandleStep, CloseStep, Step, TradeStep
from candlewick.sandbox.symbol_market import SymbolMarket
from candlewick.sandbox.trading import Trading
from candlewick.sandbox.wire import ApiError

__all__ = ["World"]


class World:
    """All state of the sandbox.

    Args:
        settings: its rules.
        instruments: what can be traded, by symbol.
        interval: the base interval.
        faults: what goes wrong.

    Market time comes with the steps; between them ``between`` says it, where it is set. The wall
    clock, with the skew that a fault may give it, is what signed requests are checked against.
    """

    def __init__(
        self,
        settings: SandboxSettings,
        instruments: dict[str, Instrument],
        interval: str,
        faults: Faults,
    ) -> None:
        self.settings = settings
        self.instruments = instruments
        self.interval = interval
        self.faults = faults
        hours = settings.exchange.funding_interval_h
        self.markets = {
            symbol: SymbolMarket(item, interval, hours) for symbol, item in instruments.items()
        }
        for market in self.markets.values():
            market.flat_rate = settings.exchange.funding_rate
            market.recorded_rates = settings.funding.get(market.symbol)
        self.hub = Hub(settings.unrouted_is_public, self.markets)
        self.clients: dict[str, Client] = {}
        self.listen_keys: dict[str, ListenKey] = {}
        self.weights = Weights(settings.limits, time.time)
        self.between: Callable[[], int] | None = None
        self.at_rest = False  # the market has ended, and stands still
        self.liquidations: list[dict[str, Any]] = []
        self.asset = next(iter(instruments.values())).quote if instruments else "USDT"
        self._time = 0
        self._ids = int(time.time()) * 1_000_000

    # -- clocks and ids ----------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """Market time, UTC ms; never runs backwards."""
        if self.between is not None:
            self._time = max(self._time, self.between())
        return self._time

    @now.setter
    def now(self, value: int) -> None:
        self._time = max(self._time, value)

    @property
    def server_ms(self) -> int:
        """The exchange's wall clock, UTC ms."""
        return time.time_ns() // 1_000_000 + self.faults.skew_ms

    def count_from(self, number: int) -> None:
        """Begin the ids there, so that every run over the same data makes the same ones."""
        self._ids = number

    def make_id(self) -> int:
        """A number that nobody has been given before; grows from run to run."""
        self._ids += 1
        return self._ids

    # -- clients -----------------------------------------------------------------------------------

    def add_client(self, api_key: str = "", secret: str = "", balance: float = 0.0) -> Client:
        """Open an account of its own; keys are made up where none are given."""
        api_key, secret = api_key or new_key(), secret or new_key()
        if api_key in self.clients:
            raise ConfigError("there is an account with this API key already")
        settings = self.settings
        exchange = SimulatedExchange(
            self.instruments, balance or settings.balance, settings.exchange, settings.funding
        )
        for market in self.markets.values():
            if market.price:
                exchange.tick(market.symbol, market.price, self._time)
            exchange.set_basis(market.symbol, market.basis)
        account = Account(
            exchange, self.instruments, lambda event: self._tell(api_key, event), self, self.asset
        )
        client = self.clients[api_key] = Client(
            api_key, secret, account, Trading(account, settings),
            OrderCounts(settings.limits, time.time),
        )  # fmt: skip
        self._apply_faults(client)
        return client

    def _tell(self, api_key: str, event: dict[str, Any]) -> None:
        client = self.clients[api_key]
        key = client.listen_key
        if key is not None and self.is_alive(key):
            self.hub.tell_account((key.key,), event)

    def liquidated(self, event: dict[str, Any]) -> None:
        """Tell the market of a liquidation."""
        self.liquidations.append(event)
        self.hub.tell_market("forceOrder", event["o"]["s"], event)

    # -- listen keys -------------------------------------------------------------------------------

    def open_key(self, client: Client) -> ListenKey:
        """The client's listen key: the living one, prolonged, or a new one."""
        key = client.listen_key
        if key is None or not self.is_alive(key):
            key = client.listen_key = ListenKey(new_key(), client, 0.0)
            self.listen_keys[key.key] = key
        self.prolong(key)
        return key

    def prolong(self, key: ListenKey) -> None:
        """Let a key live its whole life from now."""
        key.until = time.monotonic() + self.settings.listen_key_s

    def is_alive(self, key: ListenKey) -> bool:
        """False for a key whose time is over: it is told and forgotten."""
        if key.key not in self.listen_keys:
            return False
        if key.until > time.monotonic():
            return True
        self.expire_key(key)
        return False

    def expire_key(self, key: ListenKey) -> None:
        """End a listen key, and tell so on its connections, which stay open and silent."""
        if self.listen_keys.pop(key.key, None) is None:
            return
        if key.client.listen_key is key:
            key.client.listen_key = None
        event = {"e": "listenKeyExpired", "E": self.now, "listenKey": key.key}
        self.hub.tell_account((key.key,), event)

    def close_key(self, key: ListenKey) -> None:
        """End a listen key at its owner's wish."""
        self.listen_keys.pop(key.key, None)
        key.client.listen_key = None

    # -- faults ------------------------------------------------------------------------------------

    def add_fault(self, fault: Fault) -> None:
        """Put a fault in force."""
        self.faults.add(fault)
        for client in self.clients.values():
            self._apply_faults(client)

    def clear_faults(self) -> None:
        """End all faults."""
        self.faults.clear()
        for client in self.clients.values():
            self._apply_faults(client)

    def _apply_faults(self, client: Client) -> None:
        parts = self.faults.fill_parts or self.settings.exchange.fill_parts
        client.account.fill_in_parts(parts)
        client.account.reject_triggers = self.faults.trigger_rejections

    # -- the market moves --------------------------------------------------------------------------

    def market(self, symbol: str) -> SymbolMarket:
        """Look a symbol up, in any case of letters."""
        try:
            return self.markets[symbol.upper()]
        except KeyError:
            raise ApiError(-1121) from None

    def perform(self, step: Step) -> Iterator[bool]:
        """Carry out a step; yields after everything that an account has been told."""
        if isinstance(step, TradeStep):
            yield self.trade(step)
        elif isinstance(step, CloseStep):
            self.now = step.time
            self._close(step.symbol, step.candle)
            yield False
        else:
            yield from self._walk(step)

    def trade(self, step: TradeStep) -> bool:
        """One trade of the market; True when an account was told something."""
        self.now = step.time
        self._show_trade(step)
        told = False
        for client in tuple(self.clients.values()):
            account, price = client.account, step.price
            reports = account.exchange.tick(step.symbol, price, step.time)
            account.book(reports)
            client.trading.watch(step.symbol, price, price)
            client.trading.expire_due(step.time)
            client.margin_calls.look()
            told = told or bool(reports)
        return told

    def _show_trade(self, step: TradeStep) -> None:
        market = self.markets[step.symbol]
        market.trade(step.price, step.quantity, step.time, buyer_is_maker=step.buyer_is_maker)
        self.hub.traded(market, self.now)
        self.hub.state(market, self.now)

    def _walk(self, step: CandleStep) -> Iterator[bool]:
        """All accounts walk through candles; each meets the extremes in its own worst order."""
        candles = step.candles
        self.now = step.time
        for candle in candles:
            self._trade_in(candle, candle.open)
            self.hub.state(self.markets[candle.symbol], self.now)
            yield from self._walk_through(candle)
        self.now = close_time = candles[0].close_time
        for candle in candles:
            for price in (candle.high, candle.low, candle.close):
                self._trade_in(candle, price)
            for client in tuple(self.clients.values()):
                client.trading.watch(candle.symbol, candle.low, candle.high)
                client.trading.expire_due(close_time)
                client.margin_calls.look()
        for candle in candles:
            self._close(candle.symbol, candle)
            self.hub.state(self.markets[candle.symbol], close_time)
        yield False

    def _walk_through(self, candle: Candle) -> Iterator[bool]:
        """Go on until no account meets anything more in the candle."""
        moving = True
        while moving:
            moving = False
            for client in tuple(self.clients.values()):
                exchange = client.account.exchange
                reports = exchange.advance(candle)
                if reports:
                    self._show(candle, exchange.book(candle.symbol).last)
                client.account.book(reports)
                moving = moving or bool(reports)
            if moving:
                yield True

    def _show(self, candle: Candle, price: float) -> None:
        """The market trades at a price that something depends on: everybody hears of it."""
        self._trade_in(candle, price)
        self.hub.state(self.markets[candle.symbol], self.now, at_once=True)

    def _trade_in(self, candle: Candle, price: float) -> None:
        instrument = self.instruments[candle.symbol]
        quantity = max(instrument.round_quantity(candle.volume / 4.0), instrument.step)
        market = self.markets[candle.symbol]
        market.trade(price, quantity, self.now, buyer_is_maker=price < candle.open)
        self.hub.traded(market, self.now)

    def _close(self, symbol: str, candle: Candle | None) -> None:
        market = self.markets[symbol]
        bar = market.close(candle)
        if bar is not None:
            self.hub.closed(market, bar, self.now)

    def rest(self) -> None:
        """The data has ended: the market stands still at its last prices, and still trades."""
        self.at_rest = True
        for client in tuple(self.clients.values()):
            for market in self.markets.values():
                if market.price:
                    reports = client.account.exchange.tick(market.symbol, market.price, self.now)
                    client.account.book(reports)

    def after_order(self, client: Client, symbol: str) -> None:
        """At a flowing pace the present price comes once more: what takes is filled at once.

        A market that moves by candles does so after its last one only.
        """
        if self.settings.by_candles and not self.at_rest:
            return
        market = self.markets[symbol]
        if market.price:
            account = client.account
            account.book(account.exchange.tick(symbol, market.price, self.now))

    def set_mark(self, symbol: str, price: float) -> float:
        """Let the mark price be ``price`` now, and as far from the last price from now on.

        Returns the mark price, on a tick. A market that moves by candles sets off what it reaches
        with the next step.

        Raises:
            ConfigError: the price is not above 0, or the market has none yet.
        """
        market = self.market(symbol)
        if not 0.0 < price < 1e12 or not market.price:
            raise ConfigError(
                f"mark price {price!r} must be above 0, and {market.symbol} must have traded"
            )
        market.basis = round(market.instrument.nearest_price(price) - market.price, 12)
        for client in tuple(self.clients.values()):
            client.account.exchange.set_basis(market.symbol, market.basis)
            client.trading.watch(market.symbol, market.price, market.price)
            self.after_order(client, market.symbol)
            client.margin_calls.look()
        self.hub.state(market, self.now, at_once=True)
        return market.mark

    def deleverage(
        self, client: Client, symbol: str, side: PositionSide, quantity: float, price: float
    ) -> None:
        """Take a client's position over, as the exchange does for another's bankruptcy.

        ``quantity`` 0 is all of it, ``price`` 0 the mark price. Raises ConfigError.
        """
        market, exchange = self.market(symbol), client.account.exchange
        try:
            reports = exchange.deleverage(
                market.symbol, side, quantity, price or market.mark, self.now
            )
        except ValidationError as error:
            raise ConfigError(str(error)) from None
        client.account.book(reports)

    def split(self, symbol: str) -> tuple[str, str]:
        """Base and quote asset of a symbol."""
        item = self.instruments[symbol]
        return (item.base, item.quote) if item.base else quote_of(symbol)

    def describe(self) -> dict[str, Any]:
        """The books, for whoever compares a client's view with them."""
        return {
            "time": self.now,
            "prices": {symbol: market.price for symbol, market in self.markets.items()},
            "marks": {symbol: market.mark for symbol, market in self.markets.items()},
            "accounts": {
                client.api_key: {
                    "balance": client.account.exchange.balance,
                    "equity": client.account.exchange.equity(),
                    "fees": client.account.exchange.fees_paid,
                    "realized": client.account.exchange.realized,
                    "funding": client.account.exchange.funding_received,
                    "positions": msgspec.to_builtins(client.account.exchange.positions()),
                    "trades": len(client.account.trades),
                    "open_orders": [o.client_id for o in client.account.open_orders()],
                    "open_algos": [a.client_id for a in client.account.open_algos()],
                    "orders": [o.client_id for o in client.account.orders.values()],
                    "algos": [a.client_id for a in client.account.algos.values()],
                }
                for client in self.clients.values()
            },
            "faults": self.faults.report(),
        }
