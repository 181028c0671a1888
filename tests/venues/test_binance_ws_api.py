"""Orders over the WebSocket API, and the way back to REST."""

from __future__ import annotations

import pytest

from candlewick.models import Order, OrderType, Side
from tests.venues.conftest import Connect
from tests.venues.fake_exchange import FakeExchange, Json, LoseAnswer, Refusal, cut, now_ms

BTC = "BTCUSDT"


def order(n: int, **more: bool) -> Order:
    side = Side.SELL if more else Side.BUY
    return Order(f"cw-t-{n:06d}-entry", BTC, side, OrderType.MARKET, 0.01, **more)


def lose(_: Json) -> None:
    raise LoseAnswer


async def test_orders_and_cancels_go_over_the_socket_while_it_is_healthy(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(orders_over_ws=True)
    await exchange.until(lambda: bool(exchange.api))
    await heard.until(lambda: venue.tally.events["order_connected"] == 1)
    await venue.submit(order(1))
    await heard.until(lambda: "filled" in heard.statuses(order(1)))
    stop = Order(
        "cw-t-000002-stop", BTC, Side.SELL, OrderType.STOP_MARKET, 0.01, trigger_price=49_000.0,
        reduce_only=True,
    )  # fmt: skip
    await venue.submit(stop)
    await venue.cancel(stop, 0)
    assert heard.statuses(stop) == ["acknowledged", "canceled"]
    methods = [path for method, path, _ in exchange.requests if method == "WS"]
    assert methods == ["order.place", "algoOrder.place", "algoOrder.cancel"]
    assert not exchange.seen("POST", "/fapi/v1/order")
    used = venue.limits.used()["orders_10S"]
    assert used == (77, 300)  # what the answer says is counted


async def test_a_refusal_over_the_socket_is_a_refusal(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(orders_over_ws=True)
    await heard.until(lambda: venue.tally.events["order_connected"] == 1)

    def margin(_: Json) -> None:
        raise Refusal(400, -2019, "Margin is insufficient.")

    exchange.script("WS", "order.place", margin)
    await venue.submit(order(1))
    assert (heard.statuses(order(1)), heard.updates[0].code) == (["rejected"], -2019)


@pytest.mark.parametrize("names_its_own", [True, False])
async def test_a_limit_over_the_socket_names_the_time(
    exchange: FakeExchange, connect: Connect, names_its_own: bool
) -> None:
    venue, heard = await connect(orders_over_ws=True)
    await heard.until(lambda: venue.tally.events["order_connected"] == 1)

    def too_many(_: Json) -> None:
        data = {"serverTime": 1_000_000, "retryAfter": 1_030_000}
        if not names_its_own:
            data = {"retryAfter": now_ms() + 30_000}
        raise Refusal(429, -1003, "Too many requests", data)

    exchange.script("WS", "order.place", too_many)
    await venue.submit(order(1))
    assert heard.statuses(order(1)) == ["rejected"]
    assert 20 < venue.limits.blocked_s < 31  # a minute where the answer does not say


async def test_a_lost_answer_over_the_socket_is_not_sent_again_over_rest(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(orders_over_ws=True, request_timeout_s=0.3)
    await heard.until(lambda: venue.tally.events["order_connected"] == 1)
    exchange.silent_fills = True
    exchange.script("WS", "order.place", lose, after=True)
    await venue.submit(order(1))
    assert heard.statuses(order(1))[0] == "unknown"
    await heard.until(lambda: "filled" in heard.statuses(order(1)))
    sent = [
        p for m, p, _ in exchange.requests if p in ("order.place", "/fapi/v1/order") and m != "GET"
    ]
    assert sent == ["order.place"]
    await heard.until(lambda: venue.tally.events["order_connected"] == 2)  # not trusted any more


async def test_a_cut_socket_leaves_orders_under_way_unknown_and_others_to_rest(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(orders_over_ws=True, backoff_min_s=5.0, backoff_max_s=5.0)
    await heard.until(lambda: venue.tally.events["order_connected"] == 1)

    async def cut_it(_: Json) -> None:
        await cut(exchange.api[0])
        raise LoseAnswer

    exchange.script("WS", "order.place", cut_it, after=True)
    await venue.submit(order(1))
    assert "unknown" in heard.statuses(order(1)) or "filled" in heard.statuses(order(1))
    await heard.until(lambda: "filled" in heard.statuses(order(1)))
    await venue.submit(order(2))
    await heard.until(lambda: "filled" in heard.statuses(order(2)))
    assert len(exchange.seen("POST", "/fapi/v1/order")) == 1
    assert len(exchange.orders) == 2


async def test_a_wrong_clock_over_the_socket_is_set_right(
    exchange: FakeExchange, connect: Connect
) -> None:
    venue, heard = await connect(orders_over_ws=True)
    await heard.until(lambda: venue.tally.events["order_connected"] == 1)
    exchange.skew_ms = 4_000
    await venue.submit(order(1))
    await heard.until(lambda: "filled" in heard.statuses(order(1)))
    assert len(exchange.orders) == 1


async def test_garbage_on_the_socket_is_counted(exchange: FakeExchange, connect: Connect) -> None:
    venue, heard = await connect(orders_over_ws=True)
    await exchange.until(lambda: bool(exchange.api))
    for frame in ("{", "[]", '{"id": 9, "status": 200, "result": {}}', '{"status": "x"}'):
        await exchange.api[0].send_str(frame)
    await heard.until(lambda: venue.tally.malformed["order"] == 3)
    assert venue.tally.events["answers_too_late"] == 1
