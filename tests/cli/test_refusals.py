"""What an exchange refuses at the start of a live run: a clear message, and exit code 5."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from candlewick.cli.main import run_command
from candlewick.errors import ExitCode
from tests.venues.fake_exchange import KEY, SECRET, FakeExchange, Json, Refusal, symbol_info

Elsewhere = Callable[[Coroutine[Any, Any, None]], None]
Spoil = Callable[[FakeExchange], Any]


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """Runs coroutines in a thread of its own, as the command has an event loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="exchange")
    thread.start()
    yield lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)
    loop.close()


@pytest.fixture
def exchange(elsewhere: Elsewhere) -> Iterator[FakeExchange]:
    served = FakeExchange()
    elsewhere(served.start())
    yield served
    elsewhere(served.stop())


def refuse(method: str, path: str, status: int, code: int, **headers: str) -> Spoil:
    """Refuse each of these requests, however often it is repeated."""

    def step(_: Json) -> None:
        raise Refusal(status, code, "no", headers)

    return lambda x: x.script(method, path, *[step] * 5)


def answer(method: str, path: str, content: Any) -> Spoil:
    return lambda x: x.script(method, path, *[lambda _: content] * 5)


def run(exchange: FakeExchange, directory: Path, toml: str = "", symbol: str = "BTCUSDT") -> int:
    """`candlewick run` against the server."""
    file = directory / "candlewick.toml"
    file.write_text(toml)
    return run_command(
        ["run", "--config", str(file), "--venue", "binance", "--symbol", symbol,
         "--interval", "1m", "--rest", f"http://127.0.0.1:{exchange.port}",
         "--ws", f"ws://127.0.0.1:{exchange.port}", "--journal", str(directory / "journal")]
    )  # fmt: skip


ACCOUNT = '[run]\nleverage = 50\nmargin_type = "isolated"\n'


@pytest.mark.parametrize(
    ("spoil", "toml", "words"),
    [
        (lambda x: setattr(x, "dual", True), "", ("hedge mode", "switch_to_one_way")),
        (lambda x: setattr(x, "price", {"BTCUSDC": 1.0}), "", ("no symbol 'BTCUSDT'", "BTCUSDC")),
        (
            answer("GET", "/fapi/v1/exchangeInfo",
                   {"symbols": [symbol_info("BTCUSDT") | {"status": "SETTLING"}]}),
            "", ("BTCUSDT cannot be traded", "SETTLING"),
        ),
        (
            answer("GET", "/fapi/v1/exchangeInfo", {"symbols": 5}), "",
            ("GET /fapi/v1/exchangeInfo", "cannot be understood"),
        ),
        (refuse("GET", "/fapi/v1/commissionRate", 401, -2015), "", ("commissionRate", "API key")),
        (refuse("GET", "/fapi/v1/leverageBracket", 400, -1022), "", ("leverageBracket", "secret")),
        (
            refuse("GET", "/fapi/v1/commissionRate", 400, -1021), "",
            ("the clocks differ by more than recv_window_ms allows",),
        ),
        (
            refuse("POST", "/fapi/v1/leverage", 400, -4028), ACCOUNT,
            ("leverage 50 of BTCUSDT cannot be set", "brackets"),
        ),
        (
            refuse("POST", "/fapi/v1/marginType", 400, -4047), ACCOUNT,
            ("margin type isolated of BTCUSDT cannot be set", "cancel the symbol's orders first"),
        ),
        (
            refuse("POST", "/fapi/v1/marginType", 400, -4048), ACCOUNT,
            ("margin type isolated of BTCUSDT", "close the symbol's position first"),
        ),
        (
            lambda x: (setattr(x, "dual", True),
                       refuse("POST", "/fapi/v1/positionSide/dual", 400, -4068)(x)),
            "[run]\nswitch_to_one_way = true\n",
            ("one-way mode cannot be set", "close all positions of the account first"),
        ),
        (refuse("POST", "/fapi/v1/listenKey", 401, -2015), "", ("listenKey", "API key")),
        (
            answer("POST", "/fapi/v1/listenKey", {"listenKey": "not the server's"}), "",
            ("listen key that is none",),
        ),
        (
            refuse("GET", "/fapi/v1/time", 418, -1003, **{"Retry-After": "3600"}), "",
            ("HTTP 418", "nothing may be sent for 3600 s"),
        ),
    ],
)  # fmt: skip
def test_a_refusal_ends_the_run_before_it_begins(
    exchange: FakeExchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], spoil: Spoil, toml: str, words: tuple[str, ...],
) -> None:  # fmt: skip
    monkeypatch.setenv("CANDLEWICK_API_KEY", KEY)
    monkeypatch.setenv("CANDLEWICK_API_SECRET", SECRET)
    spoil(exchange)
    assert run(exchange, tmp_path, toml) == ExitCode.VENUE_REFUSED
    told = capsys.readouterr().err
    for word in words:
        assert word in told
    assert KEY not in told
    assert SECRET not in told
    assert not exchange.seen("POST", "/fapi/v1/order")
    lines = [json.loads(line) for file in (tmp_path / "journal").glob("*.jsonl")
             for line in file.read_bytes().rstrip(b"\0").splitlines()]  # fmt: skip
    kinds = [line["type"] for line in lines]  # none where it was refused before all else
    assert kinds[-1:] in ([], ["journal_closed"])


@pytest.mark.parametrize(
    ("key", "secret", "words"),
    [
        ("k" * 40, SECRET, ("-2015", "check the API key")),
        (KEY, "s" * 40, ("-1022", "the API secret does not belong to the key")),
    ],
)
def test_keys_that_do_not_open_are_told_without_showing_them(
    exchange: FakeExchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], key: str, secret: str, words: tuple[str, ...],
) -> None:  # fmt: skip
    monkeypatch.setenv("CANDLEWICK_API_KEY", key)
    monkeypatch.setenv("CANDLEWICK_API_SECRET", secret)
    assert run(exchange, tmp_path) == ExitCode.VENUE_REFUSED
    told = capsys.readouterr().err
    for word in words:
        assert word in told
    assert key not in told
    assert secret not in told


def test_an_exchange_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CANDLEWICK_API_KEY", KEY)
    monkeypatch.setenv("CANDLEWICK_API_SECRET", SECRET)
    nobody = FakeExchange()
    nobody.port = 9
    patience = "[run]\nconnect_timeout_s = 0.5\n"
    assert run(nobody, tmp_path, patience) == ExitCode.VENUE_REFUSED
    told = capsys.readouterr().err
    assert "no connection to 127.0.0.1 (Connect call failed" in told
    assert "given up after 0.5 s (run.connect_timeout_s): check the network" in told
    assert not (tmp_path / "journal").exists(), "nothing was begun"


class AtTheFirstWarning(logging.Handler):
    """Does something when it is told for the first time that there is no connection."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._then: Callable[[], None] | None = then

    def emit(self, record: logging.LogRecord) -> None:
        then, self._then = self._then, None
        if then is not None:
            then()

    def __enter__(self) -> None:
        logging.getLogger("candlewick.cli.reaching").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("candlewick.cli.reaching").removeHandler(self)


def test_an_exchange_that_can_be_reached_late_is_waited_for(
    exchange: FakeExchange, elsewhere: Elsewhere, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("CANDLEWICK_API_KEY", KEY)
    monkeypatch.setenv("CANDLEWICK_API_SECRET", SECRET)
    exchange.dual = True  # which ends the run as soon as it has been reached
    elsewhere(exchange.stop())
    with AtTheFirstWarning(lambda: elsewhere(exchange.start(exchange.port))):
        assert run(exchange, tmp_path) == ExitCode.VENUE_REFUSED
    told = capsys.readouterr().err
    assert "; it is tried again for" in told
    assert "hedge mode" in told


def test_ctrl_c_ends_the_waiting_for_an_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANDLEWICK_API_KEY", KEY)
    monkeypatch.setenv("CANDLEWICK_API_SECRET", SECRET)
    nobody = FakeExchange()
    nobody.port = 9
    with AtTheFirstWarning(lambda: os.kill(os.getpid(), signal.SIGINT)):
        assert run(nobody, tmp_path) == ExitCode.INTERRUPTED
    assert not (tmp_path / "journal").exists()


def test_the_account_is_brought_to_what_the_configuration_says(
    exchange: FakeExchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANDLEWICK_API_KEY", KEY)
    monkeypatch.setenv("CANDLEWICK_API_SECRET", SECRET)
    exchange.dual = True
    refuse("POST", "/fapi/v1/listenKey", 401, -2015)(exchange)  # it need not run
    toml = ACCOUNT + "switch_to_one_way = true\n"
    assert run(exchange, tmp_path, toml) == ExitCode.VENUE_REFUSED
    assert not exchange.dual
    assert exchange.seen("POST", "/fapi/v1/leverage")[0]["leverage"] == "50"
    assert exchange.seen("POST", "/fapi/v1/marginType")[0]["marginType"] == "ISOLATED"
