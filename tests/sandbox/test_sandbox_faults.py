"""Every fault does what it says, as often as it says, and nothing else."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from candlewick.errors import ConfigError
from candlewick.sandbox import Fault, FaultKind, load_faults, parse_faults
from candlewick.sandbox.faults import Faults
from candlewick.sandbox.wire import Params
from tests.sandbox.conftest import Flow, Start
from tests.sandbox.sandbox_client import SYMBOL, Client, Refused, table_of
from tests.sandbox.test_sandbox_ws_api import Api

KLINE = "/market/ws/btcusdt@kline_1m"
STEADY = [(50_000.0 + n, 50_010.0 + n, 49_990.0 + n, 50_001.0 + n) for n in range(30)]
Json = Any


async def klines(client: Client, *faults: Fault) -> list[Json]:
    """Close times of the klines that come through, in the order in which they come."""
    for fault in faults:
        client.sandbox.world.add_fault(fault)
    listener = await client.listen(KLINE)
    await listener.ask("LIST_SUBSCRIPTIONS", [])
    while not (await client.sandbox.step()).ended:
        pass
    client.sandbox.world.clear_faults()
    await listener.ask("LIST_SUBSCRIPTIONS", [], "end")
    return listener.heard[1:-1]


def closed(heard: list[Json]) -> list[int]:
    return [m["k"]["t"] for m in heard if m.get("e") == "kline" and m["k"]["x"]]


# -- requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"), [(429, -1003), (418, -1003), (503, -1007), (500, -1001)]
)
async def test_http_errors_are_answered_and_nothing_is_done(
    flowing: Flow, status: int, code: int
) -> None:
    fault = Fault(kind=FaultKind.HTTP_ERROR, match="POST /fapi/v1/order", status=status, count=1,
                  retry_after_s=7)  # fmt: skip
    client = await flowing(faults=(fault,))
    with pytest.raises(Refused) as caught:
        await client.buy("0.01")
    assert (caught.value.status, caught.value.code) == (status, code)
    assert caught.value.headers.get("Retry-After") == ("7" if status in (418, 429) else None)
    assert not client.sandbox.first.account.orders
    await client.buy("0.01")
    assert await client.position() == 0.01


async def test_a_reply_is_lost_and_the_order_is_there(flowing: Flow) -> None:
    fault = Fault(kind=FaultKind.LOSE_REPLY, match="POST /fapi/v1/*rder", count=1)
    client = await flowing(faults=(fault,))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.buy("0.01", newClientOrderId="lost")
    order = await client.ask("GET", "/v1/order", symbol=SYMBOL, origClientOrderId="lost")
    assert order["status"] == "FILLED"


async def test_an_order_is_carried_out_and_answered_with_503(flowing: Flow) -> None:
    fault = Fault(kind=FaultKind.LOSE_REPLY, match="POST *", status=503, code=-1007, count=1)
    client = await flowing(faults=(fault,))
    with pytest.raises(Refused, match="execution status unknown"):
        await client.buy("0.01", newClientOrderId="unknown")
    assert await client.position() == 0.01


async def test_a_request_is_lost_and_nothing_is_there(flowing: Flow) -> None:
    fault = Fault(kind=FaultKind.LOSE_REQUEST, match="POST *", count=1)
    client = await flowing(faults=(fault,))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.buy("0.01", newClientOrderId="lost")
    assert await client.refused(
        "GET", "/v1/order", symbol=SYMBOL, origClientOrderId="lost"
    ) == -2013  # fmt: skip


async def test_a_slow_answer_does_not_hold_up_others(flowing: Flow) -> None:
    fault = Fault(kind=FaultKind.SLOW, match="POST *", delay_ms=60_000, count=1)
    client = await flowing(faults=(fault,))
    slow = asyncio.create_task(client.buy("0.01"))
    async with asyncio.timeout(20):
        while not client.sandbox.first.account.trades:
            await client.public("/v1/ping")
    assert not slow.done()
    slow.cancel()
    await asyncio.wait([slow])


async def test_requests_of_the_websocket_api_go_wrong_too(flowing: Flow) -> None:
    client = await flowing()
    order = {"symbol": SYMBOL, "side": "BUY", "type": "MARKET", "quantity": "0.01"}
    world = client.sandbox.world
    world.add_fault(Fault(kind=FaultKind.HTTP_ERROR, match="WS order.*", status=429, count=1))
    api = await Api.open(client)
    refused = await api.ask("order.place", **order)
    assert (refused["status"], refused["error"]["code"]) == (429, -1003)
    data = refused["error"]["data"]
    assert data["retryAfter"] - data["serverTime"] == 1_000  # as long as Retry-After says
    world.add_fault(Fault(kind=FaultKind.LOSE_REPLY, route="api", count=1))
    with pytest.raises(ConnectionError):
        await api.ask("order.place", **order)
    assert await client.position() == 0.01
    world.clear_faults()
    world.add_fault(Fault(kind=FaultKind.LOSE_REQUEST, route="api", count=1))
    api = await Api.open(client)
    with pytest.raises(ConnectionError):
        await api.ask("order.place", **order)
    assert await client.position() == 0.01
    world.clear_faults()
    world.add_fault(Fault(kind=FaultKind.SLOW, route="api", count=1, delay_ms=20))
    api = await Api.open(client)
    await api.listener.socket.send_json(
        {"id": "slow", "method": "order.place", "params": api.signed(order)}
    )
    await api.listener.socket.send_json(
        {"id": "quick", "method": "ticker.price", "params": {"symbol": SYMBOL}}
    )
    assert [(await api.listener.next())["id"] for _ in range(2)] == ["quick", "slow"]


async def test_skewed_clocks(flowing: Flow) -> None:
    client = await flowing(faults=(Fault(kind=FaultKind.SKEW, value=90_000),))
    ahead = (await client.public("/v1/time"))["serverTime"] - time.time() * 1e3
    assert 80_000 < ahead < 100_000
    assert await client.refused("GET", "/v2/balance") == -1021
    right = round(time.time() * 1e3 + ahead)
    assert await client.ask("GET", "/v2/balance", timestamp=right)


# -- messages -------------------------------------------------------------------------------------


async def test_messages_are_dropped_duplicated_and_reordered(stepped: Start) -> None:
    async with stepped(table_of(STEADY)) as client:
        whole = closed(await klines(client))
    assert len(whole) == 30
    drop = Fault(kind=FaultKind.DROP, match="kline", rate=0.5)
    async with stepped(table_of(STEADY)) as client:
        some = closed(await klines(client, drop))
    assert 3 < len(some) < 27
    assert set(some) < set(whole)
    assert some == sorted(some)
    async with stepped(table_of(STEADY)) as client:
        heard = await klines(client, Fault(kind=FaultKind.DUPLICATE))
    assert closed(heard) == [time for time in whole for _ in range(2)]
    async with stepped(table_of(STEADY)) as client:
        heard = await klines(client, Fault(kind=FaultKind.REORDER, skip=7, count=2))
    times = [m["E"] for m in heard]
    assert times != sorted(times)
    assert sorted(closed(heard)) == whole


async def test_late_messages_come_behind_those_after_them(stepped: Start) -> None:
    async with stepped(table_of(STEADY)) as client:
        whole = [m["E"] for m in await klines(client)]
    fault = Fault(kind=FaultKind.DELAY, skip=4, count=1, delay_ms=500)
    async with stepped(table_of(STEADY), faults=(fault,)) as client:
        listener = await client.listen(KLINE)
        await listener.ask("LIST_SUBSCRIPTIONS", [])
        while not (await client.sandbox.step()).ended:
            pass
        heard = [(await listener.event("kline"))["E"] for _ in whole]
    assert heard == [*whole[:4], *whole[5:], whole[4]]


async def test_garbage_and_strangers_come_between(stepped: Start) -> None:
    for kind, marker in (
        (FaultKind.GARBAGE, lambda m: "garbage" in m),
        (FaultKind.UNKNOWN_EVENT, lambda m: m.get("e") == "somethingNew"),
        (FaultKind.UNKNOWN_FIELD, lambda m: "unheardOf" in m),
    ):
        async with stepped(table_of(STEADY)) as client:
            heard = await klines(client, Fault(kind=kind, count=5))
        assert sum(marker(m) for m in heard) == 5
        assert len(closed(heard)) == 30


async def test_a_cut_ends_the_connection_without_a_word(stepped: Start) -> None:
    async with stepped(table_of(STEADY), faults=(Fault(kind=FaultKind.CUT, skip=6),)) as client:
        listener = await client.listen(KLINE)
        await listener.ask("LIST_SUBSCRIPTIONS", [])
        for _ in range(4):
            await client.sandbox.step()
        with pytest.raises(ConnectionError):
            await listener.next(lambda m: False)
        assert listener.socket.close_code != aiohttp.WSCloseCode.OK
        assert 1 <= len(listener.heard) <= 7  # what is under way is lost with the connection


async def test_a_stalled_connection_is_open_and_says_nothing(stepped: Start) -> None:
    fault = Fault(kind=FaultKind.STALL, route="market", skip=3)
    async with stepped(table_of(STEADY), faults=(fault,)) as client:
        stalled = await client.listen(KLINE)
        await stalled.ask("LIST_SUBSCRIPTIONS", [])
        for _ in range(10):
            await client.sandbox.step()
        await stalled.socket.ping(b"?")
        other = await client.listen("/public/ws")
        await other.ask("LIST_SUBSCRIPTIONS", [])
        assert len(stalled.heard) == 1
        frames = []

        async def read() -> None:
            while True:
                frames.append(await stalled.socket.receive())

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(), 0.2)
        assert [frame.type for frame in frames] == [aiohttp.WSMsgType.TEXT] * 3
        assert not stalled.socket.closed


async def test_a_half_open_connection_brings_messages_and_hears_nothing(stepped: Start) -> None:
    fault = Fault(kind=FaultKind.HALF_OPEN, route="market", skip=3)
    async with stepped(table_of(STEADY), faults=(fault,)) as client:
        listener = await client.listen(KLINE)
        await listener.ask("LIST_SUBSCRIPTIONS", [])
        for _ in range(4):
            await client.sandbox.step()
        before = len(listener.heard)
        await listener.socket.ping(b"?")
        await listener.socket.send_json({"method": "LIST_SUBSCRIPTIONS", "params": [], "id": 77})
        while not (await client.sandbox.step()).ended:
            pass
        frames = []

        async def read() -> None:
            while True:
                frames.append(await listener.socket.receive())

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(), 0.5)
        assert {frame.type for frame in frames} == {aiohttp.WSMsgType.TEXT}
        heard = [json.loads(frame.data) for frame in frames]
        assert not any(message.get("id") == 77 for message in heard)
        assert len(closed(heard)) + len(closed(listener.heard[:before])) >= 30
        assert not listener.socket.closed


async def test_faults_of_one_route_leave_the_others_alone(stepped: Start) -> None:
    faults = (Fault(kind=FaultKind.DROP, route="private"),)
    async with stepped(table_of(STEADY), faults=faults) as client:
        user = await client.user_stream()
        listener = await client.listen(KLINE)
        await listener.ask("LIST_SUBSCRIPTIONS", [])
        await client.sandbox.step()
        await client.buy("0.01")
        while not (await client.sandbox.step()).ended:
            pass
        await user.ask("LIST_SUBSCRIPTIONS", [])
        assert len(user.heard) == 1
        await listener.ask("LIST_SUBSCRIPTIONS", [])
        assert len(closed(listener.heard)) == 30


# -- the account ----------------------------------------------------------------------------------


async def test_the_user_stream_is_refused(flowing: Flow) -> None:
    client = await flowing(faults=(Fault(kind=FaultKind.REFUSE_USER_STREAM, count=2),))
    with pytest.raises(Refused) as caught:
        await client.user_stream()
    assert caught.value.status == 500
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await client.listen("/private/ws?listenKey=x")
    await client.user_stream()


async def test_a_listen_key_expires_in_place_of_a_message(flowing: Flow) -> None:
    fault = Fault(kind=FaultKind.EXPIRE_LISTEN_KEY, match="ACCOUNT_UPDATE", count=1)
    client = await flowing(faults=(fault,))
    listener = await client.user_stream()
    await client.buy("0.01")
    await listener.event("listenKeyExpired")
    kinds = [m["e"] for m in listener.heard]
    assert kinds == ["ORDER_TRADE_UPDATE", "TRADE_LITE", "listenKeyExpired"]


async def test_fills_come_in_many_parts(flowing: Flow) -> None:
    client = await flowing(faults=(Fault(kind=FaultKind.PARTIAL_FILLS, value=25),))
    await client.buy("0.1")
    trades = await client.ask("GET", "/v1/userTrades", symbol=SYMBOL)
    assert len(trades) == 25
    assert sum(float(trade["qty"]) for trade in trades) == pytest.approx(0.1)
    await client.control("DELETE", "/faults")
    await client.sell("0.1")
    assert len(await client.ask("GET", "/v1/userTrades", symbol=SYMBOL)) == 26


async def test_a_triggered_order_is_rejected(stepped: Start) -> None:
    falling = [(50_000.0,) * 4] * 2 + [(50_000.0, 50_000.0, 48_000.0, 48_500.0)] * 2
    faults = (Fault(kind=FaultKind.REJECT_TRIGGER, count=1),)
    async with stepped(table_of(falling), faults=faults) as client:
        await client.sandbox.step()
        await client.buy("0.02")
        await client.sandbox.step()
        listener = await client.user_stream()
        stop = await client.algo("SELL", "STOP_MARKET", triggerPrice="49000", quantity="0.02",
                                 reduceOnly="true")  # fmt: skip
        while not (await client.sandbox.step()).ended:
            pass
        states = [(await listener.event("ALGO_UPDATE"))["o"] for _ in range(3)]
        assert [o["X"] for o in states] == ["NEW", "TRIGGERING", "REJECTED"]
        assert states[-1]["rm"] == "Margin is insufficient."
        assert await client.position() == 0.02
        found = await client.ask("GET", "/v1/algoOrder", algoId=stop["algoId"])
        assert found["algoStatus"] == "REJECTED"


async def test_cuts_on_demand(flowing: Flow) -> None:
    client = await flowing()
    user, market = await client.user_stream(), await client.listen(KLINE)
    assert await client.control("POST", "/cut", route="private") == {"cut": 1}
    with pytest.raises(ConnectionError):
        await user.next(lambda m: False)
    assert (await market.event("kline"))["s"] == SYMBOL


# -- rules ----------------------------------------------------------------------------------------


def test_the_same_seed_strikes_the_same_messages() -> None:
    def struck(seed: int) -> list[bool]:
        faults = Faults(seed, [Fault(kind=FaultKind.DROP, rate=0.3)])
        return [faults.message("kline", "market") is not None for _ in range(200)]

    assert struck(1) == struck(1) != struck(2)
    assert 30 < sum(struck(1)) < 90


def test_skip_count_match_and_route() -> None:
    rule = Fault(kind=FaultKind.DROP, match="ORDER_*", route="private", skip=1, count=2)
    faults = Faults(0, [rule])
    sent = [("kline", "market"), ("ORDER_TRADE_UPDATE", "market"), ("ALGO_UPDATE", "private")]
    assert not any(faults.message(*one) for one in sent)
    hits = [faults.message("ORDER_TRADE_UPDATE", "private") is not None for _ in range(5)]
    assert hits == [False, True, True, False, False]
    (report,) = faults.report()
    assert (report["seen"], report["hit"]) == (5, 2)
    assert faults.request("POST /fapi/v1/order", "rest", Params({})) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[fault]]\nkind = 'dorp'", "did you mean 'drop'"),
        ("[[fault]]\nkind = 'drop'\nraet = 1.0", "did you mean 'rate'"),
        ("[[fault]]\nkind = 'drop'\nrate = 2.0", "rate 2.0"),
        ("[[fault]]\nkind = 'drop'\ncount = -1", "count must not be negative"),
        ("[[fault]]\nkind = 'http_error'\nstatus = 200", "status 200"),
        ("[[fault]]\nkind = 'drop'\nroute = 'side'", "route 'side'"),
        ("[[fault]]\nkind = 'partial_fills'", "number of parts"),
        ("[[fault]]\nkind = 'drop'\nskip = 'x'", "skip"),
        ("[fault]\nkind = 'drop'", "list of tables"),
        ("[[fautl]]\nkind = 'drop'", "unknown section 'fautl'"),
        ("kind = ", "not valid TOML"),
    ],
)
def test_a_rule_that_cannot_be_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        load_faults(path)
    assert "faults.toml" in str(caught.value)


def test_every_kind_can_be_written_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text("".join(f"[[fault]]\nkind = '{kind}'\nvalue = 2.0\n" for kind in FaultKind))
    assert [fault.kind for fault in load_faults(path)] == list(FaultKind)


def test_the_page_of_the_sandbox_names_every_kind_and_key() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")
    rows = [line.partition("|")[2].partition("|")[0] for line in page.splitlines()]
    named = {word for row in rows for word in row.split("`")[1::2]}
    assert named >= {str(kind) for kind in FaultKind}
    assert named >= set(Fault.__struct_fields__)


async def test_rules_over_the_control_endpoint(flowing: Flow) -> None:
    client = await flowing()
    rules = await client.control("POST", "/faults", faults=[{"kind": "slow", "delay_ms": 1}])
    assert rules[0]["kind"] == "slow"
    await client.public("/v1/ping")
    assert (await client.control("GET", "/faults"))[0]["hit"] == 1
    with pytest.raises(Refused, match="did you mean"):
        await client.control("POST", "/faults", faults=[{"kind": "slwo"}])
    assert await client.control("DELETE", "/faults") == []
    with pytest.raises(ConfigError):
        parse_faults({"kind": "slow"})


@pytest.mark.parametrize("name", ["newClientOrderId", "clientAlgoId", "origClientOrderId"])
def test_a_fault_can_be_about_the_orders_of_a_name(name: str) -> None:
    faults = Faults(faults=[Fault(kind=FaultKind.LOSE_REPLY, order="cw-*-stop")])
    what = "POST /fapi/v1/algoOrder"
    assert faults.request(what, "rest", Params({name: "cw-a-000002-stop"})) is not None
    assert faults.request(what, "rest", Params({name: "cw-a-000002-target"})) is None
    assert faults.request(what, "rest", Params({})) is None
