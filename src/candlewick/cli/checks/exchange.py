"""Checks of the exchange: reach, clock, symbols, streams, keys and what the account may do."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial

from candlewick.cli.checks.check import Check, ok, problem, skipped, warning
from candlewick.errors import VenueError
from candlewick.models import Instrument
from candlewick.venues.binance import ApiKeys, BinanceSettings
from candlewick.venues.binance.diagnosis import Diagnosis

__all__ = ["exchange_checks"]

_SLOW_MS = 500.0
_OFF_MS, _WRONG_MS = 1_000.0, 10_000.0
_TIMESTAMP = "let the machine keep its time: timedatectl set-ntp true"


async def exchange_checks(
    settings: BinanceSettings,
    keys: ApiKeys | None,
    symbols: Sequence[str],
    interval: str,
    patience_s: float,
    max_leverage: float = 0.0,
) -> AsyncIterator[Check]:
    """Ask a server everything a run would need of it; nothing is changed, and nothing ordered.

    Args:
        settings: where the server is.
        keys: those of the account; None for market data only.
        symbols, interval: what would be traded.
        patience_s: how long a stream may take to bring something.
        max_leverage: how many times the wallet may be held; 0.0: no limit.
    """
    async with Diagnosis(settings, keys) as exchange:
        reached = True
        async for check in _reach(exchange):
            reached = reached and check.level != "problem"
            yield check
        found: dict[str, Instrument] = {}
        if reached:
            for symbol in symbols:
                yield await _symbol(exchange, symbol, found)
        for symbol in list(found)[:1] if reached else symbols[:1]:
            async for check in _streams(exchange, symbol.lower(), interval, patience_s):
                yield check
        if keys is None:
            yield skipped("account", "this venue needs no keys")
            return
        if not reached:
            yield skipped("account", "the exchange was not reached")
            return
        async for check in _account(exchange, found, interval, max_leverage):
            yield check


async def _reach(exchange: Diagnosis) -> AsyncIterator[Check]:
    """REST answers, and the clocks agree."""
    began = time.monotonic()
    try:
        offset_ms, uncertainty_ms = await exchange.clock()
    except VenueError as error:
        yield problem(
            "REST", f"{exchange.settings.rest_url}: {error}",
            "check network, firewall and the address",
        )  # fmt: skip
        return
    took_ms = 1_000.0 * (time.monotonic() - began) / 3
    found = f"{exchange.settings.rest_url} answers in {took_ms:.0f} ms"
    if took_ms > _SLOW_MS:
        yield warning("REST", found, "orders will be as slow: run nearer to the exchange")
    else:
        yield ok("REST", found)
    told = f"the exchange's is {offset_ms:+,.0f} ms from ours, give or take {uncertainty_ms:.0f} ms"
    if abs(offset_ms) >= _WRONG_MS:
        yield problem("clock", f"{told}: journal and log carry wrong times", _TIMESTAMP)
    elif abs(offset_ms) >= _OFF_MS:
        yield warning("clock", f"{told}; requests are dated by the exchange's", _TIMESTAMP)
    else:
        yield ok("clock", told)


async def _symbol(exchange: Diagnosis, symbol: str, found: dict[str, Instrument]) -> Check:
    name = f"symbol {symbol}"
    try:
        item = found[symbol] = await exchange.instrument(symbol)
    except VenueError as error:
        return problem(name, str(error), "choose symbols that the exchange trades")
    return ok(
        name,
        f"tick {item.tick:g}, step {item.step:g}, quantity {item.min_quantity:g} to"
        f" {item.max_quantity:g}, notional from {item.min_notional:g} {item.quote}",
    )


async def _streams(
    exchange: Diagnosis, symbol: str, interval: str, patience_s: float
) -> AsyncIterator[Check]:
    """Each route brings data; candles and the mark price are what a run lives on."""
    yield await _stream(exchange, "market", f"{symbol}@markPrice@1s", patience_s, problem)
    yield await _stream(exchange, "market", f"{symbol}@kline_{interval}", patience_s, problem)
    yield await _stream(exchange, "market", f"{symbol}@aggTrade", patience_s, warning)
    yield await _stream(exchange, "public", f"{symbol}@bookTicker", patience_s, warning)


async def _stream(
    exchange: Diagnosis,
    route: str,
    stream: str,
    patience_s: float,
    level: Callable[[str, str, str], Check],
) -> Check:
    name = f"stream {stream.split('@')[1]}"
    try:
        took_s = await exchange.first_message(route, stream, patience_s)
    except VenueError as error:
        return level(name, f"/{route}: {error}", "check network, firewall and the address")
    if took_s is None:
        return level(
            name, f"/{route}: subscribed to {stream}, and no data in {patience_s:g} s",
            "see whether the symbol trades; if it does, something on the way cuts the stream",
        )  # fmt: skip
    return ok(name, f"/{route}: the first message came after {1_000.0 * took_s:.0f} ms")


# -- the account ---------------------------------------------------------------------------------


async def _account(
    exchange: Diagnosis, found: dict[str, Instrument], interval: str, max_leverage: float
) -> AsyncIterator[Check]:
    """The keys are valid, and what they and the account may do."""
    try:
        balance = await exchange.balance()
    except VenueError as error:
        yield problem("API keys", str(error), "make new keys, or correct these")
        return
    asset = exchange.settings.margin_asset
    if balance > 0.0:
        yield ok("API keys", f"valid; the wallet holds {balance:,.2f} {asset}")
    else:
        yield warning("API keys", f"valid; the wallet holds no {asset}", "transfer some to it")
    yield await _asked("position mode", exchange, _mode)
    for item in list(found.values())[:1]:
        yield await _permission(exchange, item, interval)
    for item in found.values():
        ask = partial(
            _smallest, item=item, interval=interval, balance=balance, max_leverage=max_leverage
        )
        yield await _asked(f"order of {item.symbol}", exchange, ask)
    yield await _asked("fees", exchange, lambda asked: _fees(asked, list(found)))
    yield await _asked("holdings", exchange, lambda asked: _holdings(asked, list(found)))
    yield await _asked("account stream", exchange, _account_stream)
    yield await _ws_api(exchange)


async def _asked(
    name: str, exchange: Diagnosis, ask: Callable[[Diagnosis], Awaitable[Check]]
) -> Check:
    try:
        return await ask(exchange)
    except VenueError as error:
        return problem(name, str(error), "check the key's permissions and the account's state")


async def _mode(exchange: Diagnosis) -> Check:
    account = await exchange.account()
    if not account.canTrade:
        return problem(
            "position mode", "the account may not trade",
            "see what the exchange has locked it for",
        )  # fmt: skip
    if account.dualSidePosition:
        if exchange.settings.switch_to_one_way:
            return warning(
                "position mode", "hedge mode",
                "a run switches the whole account to one-way mode, as run.switch_to_one_way says",
            )  # fmt: skip
        return problem(
            "position mode", "hedge mode, and Candlewick trades in one-way mode",
            "switch the account to one-way mode at the exchange",
        )  # fmt: skip
    if account.multiAssetsMargin:
        return warning(
            "position mode", "one-way mode, with multi-assets margin",
            "Candlewick counts one asset as the wallet: switch to single-asset mode",
        )  # fmt: skip
    return ok("position mode", "one-way mode, one asset")


async def _permission(exchange: Diagnosis, item: Instrument, interval: str) -> Check:
    """A trial order, which the exchange checks and does not place."""
    name = "permission to trade"
    try:
        await exchange.trial_order(item, interval)
    except VenueError as error:
        return problem(
            name, str(error), "allow futures trading for the key, and this machine's address"
        )
    return ok(name, "a trial order was taken, and not placed")


async def _smallest(
    exchange: Diagnosis, item: Instrument, interval: str, balance: float, max_leverage: float
) -> Check:
    """Whether the wallet is large enough for an order at all."""
    name = f"order of {item.symbol}"
    _, least = await exchange.smallest_order(item, interval)
    told = f"the smallest one is {least:,.2f} {item.quote}"
    if not max_leverage:
        return ok(name, told)
    room = balance * max_leverage
    told = f"{told}, and {room:,.2f} may be held at risk.max_leverage {max_leverage:g}"
    if least > room:
        return problem(name, told, "every entry would be denied: transfer more, or raise the limit")
    return ok(name, told)


async def _fees(exchange: Diagnosis, symbols: Sequence[str]) -> Check:
    told = []
    for symbol in symbols:
        maker, taker = await exchange.fees(symbol)
        told.append(f"{symbol} {maker:.3%} maker, {taker:.3%} taker")
    found = "; ".join(told) or "no symbol to ask for"
    if (await exchange.account()).feeBurn:
        return warning(
            "fees", f"{found}; paid in BNB while there is any",
            "what is paid in BNB is in no figure of a run; it can be switched off at the exchange",
        )  # fmt: skip
    return ok("fees", found)


async def _holdings(exchange: Diagnosis, symbols: Sequence[str]) -> Check:
    """What a run would find, and take up or leave alone."""
    positions, orders = await exchange.holdings(symbols)
    if not positions and not orders:
        return ok("holdings", "no position and no order in these symbols")
    found = f"{positions} positions and {orders} orders are there"
    return warning(
        "holdings", found,
        "a run takes positions up and gives them a stop; orders that are not its own stay",
    )  # fmt: skip


async def _account_stream(exchange: Diagnosis) -> Check:
    took_s = await exchange.account_stream()
    return ok("account stream", f"/private: opened in {1_000.0 * took_s:.1f} ms")


async def _ws_api(exchange: Diagnosis) -> Check:
    name, url = "WebSocket API", exchange.settings.ws_api_url
    if not url:
        return skipped(name, "none is configured: orders go over REST")
    try:
        took_s = await exchange.ws_api()
    except VenueError as error:
        return warning(name, f"{url}: {error}", "orders go over REST until it works")
    return ok(name, f"{url} answers in {1_000.0 * took_s:.1f} ms")
