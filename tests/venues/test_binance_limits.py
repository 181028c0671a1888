"""The windows of the limits, the clocks, pauses, signatures and keys, each by itself."""

from __future__ import annotations

import asyncio
import hmac
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlewick.errors import ConfigError
from candlewick.venues.binance import ApiKeys, BinanceSettings
from candlewick.venues.binance.answers import RateLimit
from candlewick.venues.binance.backoff import Backoff
from candlewick.venues.binance.clock import EventClock, ServerClock
from candlewick.venues.binance.failures import Code, OutcomeUnknown, RateLimited, Refused
from candlewick.venues.binance.limits import Limits, Urgency, Window
from candlewick.venues.binance.signing import Signer, signed_params, signed_query

MINUTE = 60_000


class HandClock(ServerClock):
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1_000 * MINUTE

    def now(self) -> int:
        return self.time


def limits(**changes: float) -> tuple[Limits, HandClock]:
    clock = HandClock()
    return Limits(BinanceSettings(**changes), clock), clock  # type: ignore[arg-type]


async def test_what_is_under_way_counts_until_the_exchange_has_counted_it() -> None:
    held, clock = limits()
    first = await held.admit(5, 0, Urgency.READ)
    second = await held.admit(7, 0, Urgency.READ)
    assert held.used()["request_weight_1M"] == (12, 2_400)
    second.settle({"X-MBX-USED-WEIGHT-1M": "100"})
    assert held.used()["request_weight_1M"] == (105, 2_400)
    first.settle({"X-MBX-USED-WEIGHT-1M": "93"})  # an older answer, later
    assert held.used()["request_weight_1M"] == (100, 2_400)
    clock.time += MINUTE
    assert held.used()["request_weight_1M"] == (0, 2_400)


async def test_an_answer_across_the_end_of_a_minute_is_not_taken_for_the_new_one() -> None:
    held, clock = limits()
    ticket = await held.admit(5, 0, Urgency.READ)
    clock.time += MINUTE
    ticket.settle({"X-MBX-USED-WEIGHT-1M": "2390"})
    assert held.used()["request_weight_1M"] == (5, 2_400)


async def test_headers_tell_of_limits_that_a_request_does_not_use() -> None:
    held, _ = limits()
    (await held.admit(0, 1, Urgency.OPEN)).settle({"X-MBX-USED-WEIGHT-1M": "1700"})
    assert held.used()["request_weight_1M"] == (1_700, 2_400)


async def test_a_request_that_had_no_answer_counts() -> None:
    held, _ = limits()
    (await held.admit(5, 1, Urgency.OPEN)).settle(None)
    assert held.used() == {
        "request_weight_1M": (5, 2_400), "orders_10S": (1, 300), "orders_1M": (1, 1_200),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("urgency", "orders", "room"), [(Urgency.OPEN, 240, 0), (Urgency.CLOSE, 299, 1)]
)
async def test_each_kind_of_order_has_its_share(urgency: Urgency, orders: int, room: int) -> None:
    held, clock = limits(max_entry_delay_s=0.001)
    clock.time = 1_000 * MINUTE + 1
    (await held.admit(0, 1, Urgency.CLOSE)).settle({"X-MBX-ORDER-COUNT-10S": str(orders)})
    admitted = 0
    for _ in range(5):
        try:
            async with asyncio.timeout(0.05):
                await held.admit(0, 1, urgency)
        except (RateLimited, TimeoutError):
            break
        admitted += 1
    assert admitted == room


async def test_reads_leave_weight_for_what_is_urgent() -> None:
    held, _ = limits(max_wait_s=0.001)
    (await held.admit(1, 0, Urgency.READ)).settle({"X-MBX-USED-WEIGHT-1M": "2160"})
    with pytest.raises(RateLimited) as caught:
        await held.admit(1, 0, Urgency.READ)
    assert 0 < caught.value.wait_s <= 60.1
    await held.admit(1, 0, Urgency.CLOSE)


async def test_what_is_larger_than_a_limit_goes_alone() -> None:
    held, _ = limits(max_wait_s=0.001)
    held.adopt([RateLimit("REQUEST_WEIGHT", "MINUTE", 1, 30)])
    ticket = await held.admit(40, 0, Urgency.READ)
    with pytest.raises(RateLimited):
        await held.admit(1, 0, Urgency.READ)
    ticket.settle()


async def test_waiting_ends_with_the_window() -> None:
    held, clock = limits()
    clock.time = 1_000 * MINUTE + 9_990  # 10 ms before the end of a span of 10 s
    (await held.admit(0, 1, Urgency.CLOSE)).settle({"X-MBX-ORDER-COUNT-10S": "300"})
    waiting = asyncio.create_task(held.admit(0, 1, Urgency.CLOSE))
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.time += 10
    async with asyncio.timeout(5):
        await waiting
    assert held.waits == 1


def test_the_limits_of_the_exchange_replace_the_defaults() -> None:
    held, _ = limits()
    held.adopt(
        [
            RateLimit("REQUEST_WEIGHT", "MINUTE", 1, 6_000), RateLimit("ORDERS", "DAY", 1, 9),
            RateLimit("RAW_REQUESTS", "MINUTE", 5, 1), RateLimit("ORDERS", "SECOND", 10, 0),
        ]
    )  # fmt: skip
    assert held.used() == {
        "request_weight_1M": (0, 6_000), "orders_10S": (0, 300), "orders_1M": (0, 1_200),
        "orders_1D": (0, 9),
    }  # fmt: skip
    assert Window(RateLimit("ORDERS", "DAY", 1, 9)).header == "X-MBX-ORDER-COUNT-1D"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, -2019, Refused), (401, -2015, Refused), (400, -1021, Refused), (404, 0, Refused),
        (302, 0, Refused), (503, -1008, Refused), (503, 0, OutcomeUnknown),
        (503, -1007, OutcomeUnknown), (400, -1007, OutcomeUnknown), (400, -1006, OutcomeUnknown),
        (502, 0, OutcomeUnknown), (408, 0, OutcomeUnknown), (400, -1000, OutcomeUnknown),
        (429, -1003, RateLimited), (418, 0, RateLimited), (400, -1015, RateLimited),
    ],
)  # fmt: skip
def test_what_an_error_means(status: int, code: int, kind: type) -> None:
    held, _ = limits()
    error = held.failure("POST /x", status, code, "text", None)
    assert type(error) is kind
    assert error.code == (code or (Code.TOO_MANY_REQUESTS if status in (429, 418) else code))


# -- clocks ------------------------------------------------------------------------------------


def test_the_best_measurement_of_the_clock_wins() -> None:
    clock = ServerClock()
    start = 5_000_000_000_000
    clock.learn(
        [
            (start, start + 900_000_000, 1_700_000_000_000),
            (start + 1_000_000_000, start + 1_002_000_000, 1_700_000_009_001),
        ]
    )
    assert clock.uncertainty_ms == 2.0
    assert clock._base_ms == 1_700_000_009_001 - 5_001_001.0


def test_events_of_another_time_change_the_clock_only_together() -> None:
    server = HandClock()
    clock = EventClock(server)
    for time in (server.time + 5, server.time * 3, server.time - 7, server.time * 3):
        clock.seen(time)
        assert clock.now() == server.time
    for n in range(3):
        clock.seen(1_000 + n)  # a market of the past
    assert (clock.now(), clock.surely_past()) == (1_002, 1_002)
    clock.seen(server.time)  # one that is odd there
    assert clock.now() == 1_002
    for _ in range(3):
        clock.seen(server.time)
    assert clock.now() == server.time


@given(st.floats(0.001, 10), st.floats(0.001, 100))
def test_pauses_grow_up_to_their_bound(least: float, more: float) -> None:
    most = least + more
    backoff = Backoff(least, most)
    for _ in range(40):
        assert least / 2 <= backoff.next_s() <= most
    backoff.reset()
    assert backoff.next_s() <= least


# -- signatures and keys -----------------------------------------------------------------------


def test_signatures_are_those_of_the_documentation() -> None:
    """The example of the exchange's API documentation, "SIGNED endpoint security"."""
    secret = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
    payload = (
        "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC"
        "&recvWindow=5000&timestamp=1591702613943"
    )
    expected = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"
    assert Signer(secret).sign(payload) == expected


@given(st.text(min_size=1, max_size=200), st.text(max_size=300))
def test_signatures_are_those_of_the_standard_library(secret: str, payload: str) -> None:
    expected = hmac.new(secret.encode(), payload.encode(), "sha256").hexdigest()
    assert Signer(secret).sign(payload) == expected
    assert secret not in repr(Signer(secret)) or secret in "Signer(***)"


def test_what_is_signed_is_what_is_sent() -> None:
    query = signed_query({"a": "x y/z:é", "b": True, "c": 5}, Signer("secret"), 17, 300)
    signed, _, digits = query.rpartition("&signature=")
    assert signed == "a=x%20y%2Fz%3A%C3%A9&b=true&c=5&recvWindow=300&timestamp=17"
    assert digits == Signer("secret").sign(signed)
    params = signed_params({"b": True, "a": "x/y"}, "key", Signer("secret"), 17, 300)
    payload = "a=x/y&apiKey=key&b=true&recvWindow=300&timestamp=17"
    assert params["signature"] == Signer("secret").sign(payload)


def test_keys_hide_themselves() -> None:
    keys = ApiKeys("my-public-key", "my-secret-text")
    for text in (repr(keys), str(keys), f"{keys}", f"{keys!r}", repr([keys]), repr({"k": keys})):
        assert "my-" not in text
    assert keys.redact("GET ?k=my-public-key&s=my-secret-text") == "GET ?k=***&s=***"
    with pytest.raises(TypeError):
        pickle.dumps(keys)


def test_keys_come_from_the_environment_or_a_file_of_ours_alone(tmp_path: Path) -> None:
    keys = ApiKeys.from_environment({"CANDLEWICK_API_KEY": "a" * 9, "CANDLEWICK_API_SECRET": "b"})
    assert (keys.key, keys.secret) == ("a" * 9, "b")
    with pytest.raises(ConfigError, match="set CANDLEWICK_API_SECRET in the environment"):
        ApiKeys.from_environment({"CANDLEWICK_API_KEY": "a"})
    file = tmp_path / "keys"
    file.write_text('# mine\nkey = "abc"\nSecret=def\n')
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        ApiKeys.from_file(file)
    file.chmod(0o600)
    keys = ApiKeys.from_file(file)
    assert (keys.key, keys.secret) == ("abc", "def")
    file.write_text("key = abc\n")
    with pytest.raises(ConfigError, match=r"no line 'secret = \.\.\.'"):
        ApiKeys.from_file(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        ApiKeys.from_file(tmp_path / "none")
    with pytest.raises(ConfigError, match="characters that no key has"):
        ApiKeys("a b", "c")


@pytest.mark.parametrize(
    "changes",
    [
        {"rest_url": "ftp://x"}, {"ws_url": "https://x"}, {"ws_api_url": "nowhere"},
        {"leverage": 126}, {"recv_window_ms": 0}, {"entry_share": 0.0}, {"weight_share": 1.5},
        {"stale_after_s": 0.0}, {"backoff_min_s": 9.0, "backoff_max_s": 1.0},
        {"rest_url": "https://x?key=1"},
    ],
)  # fmt: skip
def test_settings_that_cannot_be(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        BinanceSettings(**changes)  # type: ignore[arg-type]


def test_a_server_is_only_its_urls() -> None:
    at = BinanceSettings.at("http://127.0.0.1:8/", "ws://127.0.0.1:8/")
    assert (at.rest_url, at.ws_url) == ("http://127.0.0.1:8", "ws://127.0.0.1:8")
    assert at.ws_api_url == "ws://127.0.0.1:8/ws-fapi/v1"
    assert BinanceSettings.testnet().name == "binance-testnet"
    assert BinanceSettings().rest_url == "https://fapi.binance.com"
