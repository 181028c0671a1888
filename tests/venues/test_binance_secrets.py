"""No key, secret, signature or listen key is in any log line, error or malformed message."""

from __future__ import annotations

import logging
import re
import traceback
from typing import Any

import pytest

from candlewick.errors import VenueError
from candlewick.models import Order, OrderType, Side
from candlewick.venues.binance import BinanceVenue
from tests.venues.conftest import Connect
from tests.venues.fake_exchange import KEY, SECRET, FakeExchange, Json, LoseAnswer, Refusal, cut

BTC = "BTCUSDT"
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


def clean(text: str, exchange: FakeExchange) -> None:
    """Fail when a secret is in the text."""
    for secret in (KEY, SECRET, *exchange.listen_keys, "signature="):
        assert secret not in text
    assert not _SIGNATURE.search(text)


def lose(_: Json) -> None:
    raise LoseAnswer


def gossip(_: Json) -> None:
    """A server that repeats what it was sent."""
    raise Refusal(400, -2015, f"Invalid key {KEY} with secret {SECRET}")


async def test_whatever_goes_wrong_no_secret_is_told(
    exchange: FakeExchange, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    venue, heard = await connect(orders_over_ws=True, request_timeout_s=0.2)
    assert {KEY, SECRET} <= set(heard.secrets)
    assert set(exchange.listen_keys) <= set(heard.secrets)
    texts: list[str] = []

    async def fails(work: Any) -> None:
        try:
            await work
        except VenueError as error:
            texts.extend((str(error), repr(error), "".join(traceback.format_exception(error))))

    order = Order("cw-t-000001-entry", BTC, Side.BUY, OrderType.MARKET, 0.01)
    for step in (lose, gossip):
        exchange.script("GET", "/fapi/v3/balance", *[step] * 4)
        await fails(venue.snapshot())
        exchange.before.clear()
    exchange.script("WS", "order.place", gossip)
    await venue.submit(order)
    exchange.script("POST", "/fapi/v1/order", gossip, lose)
    await fails(venue.rest.call(_endpoint("PLACE"), {"symbol": BTC}))
    await fails(venue.rest.call(_endpoint("PLACE"), {"symbol": BTC}))
    exchange.script("GET", "/fapi/v1/order", lambda _: {"you sent": KEY, "and": SECRET})
    await fails(venue.query(order))
    for socket in (*exchange.market, *exchange.private):
        await socket.send_str(f"{{ broken {KEY} {SECRET} {exchange.listen_keys[0]}")
    await heard.until(
        lambda: venue.tally.malformed["account"] + venue.tally.malformed["market"] == 2
    )
    exchange.listen_keys.append("LISTENKEYother")  # the next connection's key is refused
    exchange.script("POST", "/fapi/v1/listenKey", lambda _: {"listenKey": "LISTENKEYunknown"})
    await cut(exchange.private[0])
    await heard.until(lambda: venue.tally.events["account_not_connected"] >= 1)
    exchange.listen_keys.append("LISTENKEYunknown")
    await exchange.stop()
    await fails(venue.snapshot())
    texts += [f"{m.source} {m.error} {m.text}" for m in heard.malformed]
    texts += [update.message for update in heard.updates]
    texts += [status.reason for status in heard.streams]
    texts += [record.getMessage() for record in caplog.records if record.name != "aiohttp.access"]
    assert len(texts) > 20
    assert any("HTTP 401" in text for text in texts)  # of the refused listen key
    for text in texts:
        clean(text, exchange)
    assert "***" in " ".join(texts)


def _endpoint(name: str) -> Any:
    from candlewick.venues.binance import endpoints

    return getattr(endpoints, name)


def test_a_venue_shows_no_secret(exchange: FakeExchange) -> None:
    venue = BinanceVenue(exchange.settings(), exchange.keys)
    clean(f"{venue!r} {venue.settings!r} {venue.tally.as_dict()!r}", exchange)


async def test_no_redirect_takes_a_key_elsewhere(exchange: FakeExchange, connect: Connect) -> None:
    from aiohttp import web

    venue, _ = await connect()
    other = FakeExchange()
    await other.start()
    exchange.script(
        "GET", "/fapi/v3/balance",
        lambda _: web.Response(
            status=302, headers={"Location": f"http://127.0.0.1:{other.port}/fapi/v3/balance"}
        ),
    )  # fmt: skip
    with pytest.raises(VenueError, match="302"):
        await venue.snapshot()
    assert not other.requests
    await other.stop()
