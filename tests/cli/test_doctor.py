"""`candlewick doctor` against a sandbox over sockets: each problem is provoked, and found."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from candlewick.audit.lock import DirectoryLock
from candlewick.cli.main import run_command
from candlewick.data import load_market
from candlewick.errors import ExitCode
from candlewick.models import Order, OrderType, Side
from candlewick.sandbox import Fault, FaultKind, Sandbox, SandboxSettings
from candlewick.venues.binance import ApiKeys, BinanceSettings, BinanceVenue
from candlewick.venues.binance.answers import AccountConfig
from candlewick.venues.binance.diagnosis import Diagnosis

K = FaultKind
Serve = Callable[..., Awaitable[Sandbox]]
COMMAND = "from candlewick.cli.main import main; main()"


@pytest.fixture
async def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    """Starts a sandbox and puts its keys into the environment."""
    monkeypatch.chdir(tmp_path)
    started: list[Sandbox] = []

    async def served(*faults: Fault, **settings: Any) -> Sandbox:
        chosen = SandboxSettings(**{"speed": 60.0, "history": 100, **settings})
        sandbox = Sandbox(load_market([], candles=40_000, seed=1), chosen, faults)
        await sandbox.__aenter__()
        started.append(sandbox)
        monkeypatch.setenv("CANDLEWICK_API_KEY", sandbox.api_key)
        monkeypatch.setenv("CANDLEWICK_API_SECRET", sandbox.api_secret)
        return sandbox

    yield served
    for sandbox in started:
        await sandbox.__aexit__(None, None, None)


class Diagnosed:
    """What the command said as JSON, and its exit code."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        self.said = json.loads(text)
        self.checks = {check["name"]: check for check in self.said["checks"]}

    def level(self, name: str) -> str:
        return str(self.checks[name]["level"])

    @property
    def bad(self) -> list[str]:
        return [c["name"] for c in self.said["checks"] if c["level"] in ("problem", "warning")]


Doctor = Callable[..., Awaitable[Diagnosed]]


@pytest.fixture
def doctor(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Doctor:
    """Runs the command, on a sandbox or on nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANDLEWICK_WEBHOOK_URL", "http://127.0.0.1:9/secret-webhook-path")

    async def run(sandbox: Sandbox | None = None, *arguments: str) -> Diagnosed:
        where: list[str] = []
        if sandbox is not None:
            where = ["--rest", sandbox.rest_url, "--ws", sandbox.ws_url]
            if "--venue" not in arguments and "-c" not in arguments:
                where += ["--venue", "binance"]
        elif "--venue" not in arguments and "-c" not in arguments:
            where = ["--venue", "simulated"]
        capsys.readouterr()
        code = await asyncio.to_thread(run_command, ["doctor", "--json", *where, *arguments])
        return Diagnosed(code, capsys.readouterr().out)

    return run


async def test_all_is_well(serve: Serve, doctor: Doctor, tmp_path: Path) -> None:
    sandbox = await serve()
    found = await doctor(sandbox)
    assert (found.code, found.bad) == (ExitCode.OK, [])
    assert found.said["ok"] is True
    assert list(found.checks) == [
        "configuration", "packages", "strategy", "candle files", "journal", "disk space",
        "file system", "journal lock", "open files", "metrics", "notifications", "REST", "clock",
        "symbol BTCUSDT", "stream markPrice", "stream kline_1m", "stream aggTrade",
        "stream bookTicker", "API keys", "position mode", "permission to trade",
        "order of BTCUSDT", "fees",
        "holdings", "account stream", "WebSocket API",
    ]  # fmt: skip
    assert "tick 0.1, step 0.001" in found.checks["symbol BTCUSDT"]["found"]
    assert "10,000.00 USDT" in found.checks["API keys"]["found"]
    assert sandbox.api_key not in found.text
    assert sandbox.api_secret not in found.text
    assert not os.listdir(tmp_path)  # nothing is left behind
    assert not sandbox.first.account.orders


async def test_a_sandbox_of_its_own_is_started_and_asked(doctor: Doctor) -> None:
    found = await doctor(None, "--venue", "sandbox", "--symbol", "ETHUSDT", "--interval", "1h")
    assert (found.code, found.bad) == (ExitCode.OK, [])
    assert found.level("stream kline_1h") == "ok"
    assert found.level("WebSocket API") == "ok"


async def test_it_reads_like_a_list(
    serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = await serve()
    monkeypatch.delenv("CANDLEWICK_WEBHOOK_URL", raising=False)
    code = await asyncio.to_thread(
        run_command,
        ["doctor", "--venue", "paper", "--rest", sandbox.rest_url, "--ws", sandbox.ws_url],
    )
    said = capsys.readouterr().out
    assert code == ExitCode.OK
    assert "ok       clock" in said
    assert "warning  notifications" in said
    assert "-        account               this venue needs no keys" in said
    assert said.rstrip().endswith("no problems, 1 warning")


@pytest.mark.parametrize(
    ("skew_ms", "level", "code"), [(4_000, "warning", 0), (30_000, "problem", 5)]
)
async def test_a_skewed_clock(
    serve: Serve, doctor: Doctor, skew_ms: int, level: str, code: int
) -> None:
    found = await doctor(await serve(Fault(kind=K.SKEW, value=skew_ms)))
    assert (found.code, found.bad, found.level("clock")) == (code, ["clock"], level)
    told = re.search(r"([+-][\d,]+) ms from ours", found.checks["clock"]["found"])
    assert told is not None
    assert int(told[1].replace(",", "")) == pytest.approx(skew_ms, abs=1_000)
    assert "timedatectl" in found.checks["clock"]["advice"]


async def test_keys_that_are_wrong_or_none(
    serve: Serve, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = await serve()
    monkeypatch.setenv("CANDLEWICK_API_SECRET", "wrong" * 10)
    found = await doctor(sandbox)
    assert (found.code, found.bad) == (ExitCode.VENUE_REFUSED, ["API keys"])
    assert "-1022" in found.checks["API keys"]["found"]
    monkeypatch.setenv("CANDLEWICK_API_KEY", "unknown" * 8)
    found = await doctor(sandbox)
    assert (found.code, found.bad) == (ExitCode.VENUE_REFUSED, ["API keys"])
    assert "unknownunknown" not in found.text
    monkeypatch.delenv("CANDLEWICK_API_KEY")
    found = await doctor(sandbox)
    assert found.level("API keys") == "problem"
    assert "set CANDLEWICK_API_KEY" in found.checks["API keys"]["found"]
    found = await doctor(sandbox, "--venue", "paper")
    assert (found.code, found.bad) == (ExitCode.OK, [])


async def test_a_closed_port(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    monkeypatch.setenv("CANDLEWICK_API_KEY", "k" * 20)
    monkeypatch.setenv("CANDLEWICK_API_SECRET", "s" * 20)
    found = await doctor(
        None, "--venue", "binance", "--rest", f"http://127.0.0.1:{port}", "--ws",
        f"ws://127.0.0.1:{port}",
    )  # fmt: skip
    assert found.code == ExitCode.VENUE_REFUSED
    assert found.bad == [
        "REST", "stream markPrice", "stream kline_1m", "stream aggTrade", "stream bookTicker",
    ]  # fmt: skip
    assert found.level("account") == "skipped"


@pytest.mark.parametrize(
    ("fault", "name", "level"),
    [
        (Fault(kind=K.HTTP_ERROR, match="POST /fapi/v1/order/test", status=401, code=-2015),
         "permission to trade", "problem"),
        (Fault(kind=K.REFUSE_USER_STREAM), "account stream", "problem"),
        (Fault(kind=K.HTTP_ERROR, match="WS *", status=400, code=-1022), "WebSocket API",
         "warning"),
        (Fault(kind=K.HTTP_ERROR, match="GET /fapi/v1/commissionRate", status=400, code=-1100),
         "fees", "problem"),
        (Fault(kind=K.SLOW, match="GET /fapi/v1/time", delay_ms=600), "REST", "warning"),
        (Fault(kind=K.DROP, route="public", match="bookTicker"), "stream bookTicker", "warning"),
        (Fault(kind=K.DROP, route="market", match="kline"), "stream kline_1m", "problem"),
    ],
)  # fmt: skip
async def test_what_the_exchange_refuses_or_does_not_bring(
    serve: Serve, doctor: Doctor, fault: Fault, name: str, level: str
) -> None:
    found = await doctor(await serve(fault), "--patience", "3")
    assert (found.bad, found.level(name)) == ([name], level)
    assert found.code == (ExitCode.VENUE_REFUSED if level == "problem" else ExitCode.OK)
    assert found.checks[name]["advice"]


async def test_a_trial_order_that_breaks_a_rule_of_trading_is_no_matter(
    serve: Serve, doctor: Doctor
) -> None:
    rule = Fault(kind=K.HTTP_ERROR, match="POST /fapi/v1/order/test", status=400, code=-2019)
    assert (await doctor(await serve(rule))).bad == []


async def test_symbols_that_are_not_traded(serve: Serve, doctor: Doctor) -> None:
    found = await doctor(await serve(), "--symbol", "BTCUSDD", "--symbol", "btcusdt")
    assert (found.code, found.bad) == (ExitCode.VENUE_REFUSED, ["symbol BTCUSDD"])
    assert "did you mean 'BTCUSDT'?" in found.checks["symbol BTCUSDD"]["found"]
    assert found.level("stream kline_1m") == "ok"  # of the symbol that is there


async def test_hedge_mode_and_holdings(serve: Serve, doctor: Doctor) -> None:
    sandbox = await serve()
    account = sandbox.first.account
    venue = BinanceVenue(
        BinanceSettings.at(sandbox.rest_url, sandbox.ws_url),
        ApiKeys(sandbox.api_key, sandbox.api_secret),
    )
    filled = asyncio.Event()
    await venue.connect(
        lambda event: filled.set() if event.kind == "fill_received" else None, ["BTCUSDT"], "1m"
    )
    await venue.submit(Order("cw-a-000001-entry", "BTCUSDT", Side.BUY, OrderType.MARKET, 0.01))
    await asyncio.wait_for(filled.wait(), 20)
    found = await doctor(sandbox)
    assert (found.bad, found.code) == (["holdings"], ExitCode.OK)
    assert "1 positions and 0 orders" in found.checks["holdings"]["found"]
    filled.clear()
    await venue.submit(
        Order("cw-a-000002-close", "BTCUSDT", Side.SELL, OrderType.MARKET, 0.01, reduce_only=True)
    )
    await asyncio.wait_for(filled.wait(), 20)
    await venue.close()
    account.hedge_mode = True
    found = await doctor(sandbox)
    assert found.code == ExitCode.VENUE_REFUSED
    assert "one-way mode" in found.checks["position mode"]["advice"]


async def test_fees_that_are_paid_in_another_asset(
    serve: Serve, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sandbox has no BNB: what it says of the account is changed."""

    async def burns(_: Diagnosis) -> AccountConfig:
        return AccountConfig(feeBurn=True)

    monkeypatch.setattr(Diagnosis, "account", burns)
    found = await doctor(await serve())
    assert (found.bad, found.code) == (["fees"], ExitCode.OK)
    assert "BNB" in found.checks["fees"]["advice"]


async def test_a_wallet_that_is_too_small_for_any_order(serve: Serve, doctor: Doctor) -> None:
    sandbox = await serve(balance=20.0)
    found = await doctor(sandbox)
    assert (found.bad, found.code) == (["order of BTCUSDT"], ExitCode.VENUE_REFUSED)
    check = found.checks["order of BTCUSDT"]
    assert "risk.max_leverage" in check["found"]
    assert "transfer more" in check["advice"]


# -- the machine ---------------------------------------------------------------------------------


async def test_a_journal_that_cannot_be_written(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = await doctor(None, "--journal", str(tmp_path / "file" / "journal"))
    assert found.code == ExitCode.BAD_INPUT
    assert found.level("journal") == "problem"
    assert "--journal" in found.checks["journal"]["advice"]


async def test_a_journal_that_somebody_writes(doctor: Doctor, tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    directory.mkdir()
    lock = DirectoryLock(directory)
    found = await doctor(None)
    assert (found.code, found.bad) == (ExitCode.BAD_INPUT, ["journal lock"])
    assert f"held by process {os.getpid()}" in found.checks["journal lock"]["found"]
    lock.release()
    found = await doctor(None)
    assert (found.code, found.level("journal lock")) == (ExitCode.OK, "ok")
    assert os.listdir(directory) == [".lock"]


@pytest.mark.parametrize(("free", "level"), [(10 << 20, "problem"), (500 << 20, "warning")])
async def test_little_room_on_the_disk(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, free: int, level: str
) -> None:
    usage = shutil.disk_usage("/")._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    found = await doctor(None)
    assert (found.bad, found.level("disk space")) == (["disk space"], level)


async def test_a_file_system_that_cannot_do_it(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", refuses)
    found = await doctor(None)
    assert (found.code, found.bad) == (ExitCode.BAD_INPUT, ["file system"])
    assert "Operation not supported" in found.checks["file system"]["found"]


@pytest.mark.parametrize(("limit", "level"), [(50, "problem"), (200, "warning")])
def test_few_open_files(tmp_path: Path, limit: int, level: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'ulimit -n {limit}; exec "$0" -c "{COMMAND}" doctor --venue simulated --json',
         sys.executable],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    found = Diagnosed(done.returncode, done.stdout)
    assert (found.level("open files"), found.code) == (level, 2 if level == "problem" else 0)
    assert "ulimit -n 1024" in found.checks["open files"]["advice"]


async def test_packages_that_are_missing(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    found = await doctor(None)
    assert (found.bad, found.code) == (["packages"], ExitCode.OK)
    assert found.checks["packages"]["advice"] == "pip install 'candlewick[parquet]'"
    (tmp_path / "c.toml").write_text('[run]\nvenue = "simulated"\n[data]\nfiles = ["a.parquet"]\n')
    found = await doctor(None, "-c", "c.toml")
    assert (found.bad, found.code) == (["packages", "candle files"], ExitCode.BAD_INPUT)
    assert found.level("packages") == "problem"


async def test_a_configuration_that_is_wrong(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[risk]\nrisk_per_trad = 1\n")
    found = await doctor(None, "-c", "c.toml", "--venue", "simulated")
    assert found.code == ExitCode.BAD_INPUT
    assert "did you mean 'risk_per_trade'?" in found.checks["configuration"]["found"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        path.write_text(
            '[run]\nvenue = "simulated"\n[strategy]\nname = "sma_cros"\n'
            f"[monitoring]\nport = {port}\n"
        )
        monkeypatch.delenv("CANDLEWICK_WEBHOOK_URL")
        monkeypatch.setenv("CANDLEWICK_TELEGRAM_TOKEN", "12345:token-of-a-bot")
        found = await doctor(None, "-c", "c.toml")
    assert found.bad == ["strategy", "metrics", "notifications"]
    assert "token-of-a-bot" not in found.text
    assert found.code == ExitCode.BAD_INPUT
    path.write_text('[run]\nvenue = "simulated"\n[monitoring]\nenabled = false\n')
    monkeypatch.delenv("CANDLEWICK_TELEGRAM_TOKEN")
    found = await doctor(None, "-c", "c.toml")
    assert found.level("metrics") == "skipped"
