"""Each event that a person must know really fires: on the sandbox, to a local HTTP server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from candlewick.audit import AuditLogger
from candlewick.backtesting import prepare
from candlewick.data import load_market
from candlewick.engine import EngineState
from candlewick.live import TradingSystem
from candlewick.live.notices import notified
from candlewick.models import SignalAction
from candlewick.notifications import NotificationSettings, senders_from
from candlewick.sandbox import Fault, FaultKind, Sandbox, SandboxSettings
from tests.live.bench import Bench, ended
from tests.live.on_sandbox import PRICE, Player, market_at, play_on

K = FaultKind
QUICK = NotificationSettings(repeat_after_s=60.0, timeout_s=5.0, reconnecting_after_s=0.2)
REFUSED = {"status": 400, "code": -4005}


class Told:
    """What a webhook has received, by kind."""

    def __init__(self) -> None:
        self.notices: list[dict[str, Any]] = []
        self.url = ""
        self._news = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        self.notices.append(await request.json())
        self._news.set()
        return web.Response()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [notice for notice in self.notices if notice["kind"] == kind]

    async def hear(self, kind: str) -> dict[str, Any]:
        """Wait for a notice of a kind."""
        async with asyncio.timeout(30):
            while not self.of(kind):
                self._news.clear()
                await self._news.wait()
        return self.of(kind)[0]


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    made = Told()
    app = web.Application()
    app.router.add_post("/", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield made
    await runner.cleanup()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with market_at([PRICE] * 600) as made:
        yield made


async def play_told(
    sandbox: Sandbox,
    directory: Path,
    told: Told,
    script: Callable[[Player], Awaitable[None]],
    **more: Any,
) -> None:
    """Play a script while notices go to the webhook, up to the end of the run."""
    senders = senders_from({"CANDLEWICK_WEBHOOK_URL": told.url}, lambda secret: None)
    async with AsyncExitStack() as stack:

        async def scripted(player: Player) -> None:
            await stack.enter_async_context(notified(player.system, senders, QUICK))
            await script(player)

        await play_on(sandbox, directory, scripted, **more)


async def hold(player: Player) -> None:
    player.signal(SignalAction.BUY, size=0.1, stop=PRICE * 0.5)
    await player.until(lambda: player.is_safe and player.held > 0.0)


async def test_unprotected(sandbox: Sandbox, tmp_path: Path, told: Told) -> None:
    """No stop can be placed, and closing fails for a while."""
    faults = [
        Fault(kind=K.HTTP_ERROR, match="POST *", order="cw-net-*-stop", **REFUSED),
        Fault(kind=K.HTTP_ERROR, match="POST *", order="cw-net-*-close", count=6, **REFUSED),
    ]

    async def script(player: Player) -> None:
        player.signal(SignalAction.BUY, size=0.01, stop=PRICE * 0.9)
        notice = await told.hear("unprotected")
        assert notice["severity"] == "critical"
        assert "BTCUSDT" in notice["title"]

    await play_told(sandbox, tmp_path, told, script, faults=faults, protect_within_ms=300)


async def test_the_first_denial_of_each_kind_is_logged(
    sandbox: Sandbox, tmp_path: Path, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """An account that is too small for what its strategy wants would look idle otherwise."""

    async def script(player: Player) -> None:
        for _ in range(3):
            player.signal(SignalAction.BUY, size=10.0, stop=PRICE * 0.9)
        await player.until(lambda: player.system.tally.denials["max_leverage"] == 3)

    with caplog.at_level(logging.INFO, "candlewick.live.notices"):
        await play_told(sandbox, tmp_path, told, script)
    logged = [message for message in caplog.messages if message.startswith("denied")]
    assert len(logged) == 1
    assert "BTCUSDT buy: max_leverage" in logged[0]
    assert "would exceed risk.max_leverage" in logged[0]


async def test_the_first_rejection_of_each_kind_is_logged(
    sandbox: Sandbox, tmp_path: Path, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    never = Fault(kind=K.HTTP_ERROR, match="POST *", order="cw-net-*-entry", **REFUSED)

    async def script(player: Player) -> None:
        for number in range(1, 4):
            player.signal(SignalAction.BUY, size=0.1, stop=PRICE * 0.9)
            await player.until(lambda n=number: player.system.tally.rejections == n)

    with caplog.at_level(logging.INFO, "candlewick.live.notices"):
        await play_told(sandbox, tmp_path, told, script, faults=[never])
    logged = [message for message in caplog.messages if message.startswith("rejected")]
    assert len(logged) == 1
    assert "-entry: POST /fapi/v1/order" in logged[0]
    assert "-4005" in logged[0]


async def test_halted_and_flattened(tmp_path: Path, told: Told) -> None:
    async with market_at([PRICE] * 8 + [PRICE * 0.8] * 600) as sandbox:

        async def script(player: Player) -> None:
            await hold(player)
            await player.until(lambda: player.system.engine.state is EngineState.HALTED)
            halted = await told.hear("halted")
            assert halted["severity"] == "critical"
            assert "daily loss" in halted["text"]
            flat = await told.hear("flattened")
            assert flat["title"] == "flat, as the exchange has confirmed"
            assert "daily loss" in flat["text"]

        await play_told(sandbox, tmp_path, told, script, daily_loss=0.05)


async def test_cannot_verify(sandbox: Sandbox, tmp_path: Path, told: Told) -> None:
    never = Fault(kind=K.HTTP_ERROR, match="POST *", order="cw-net-*-close", **REFUSED)
    await play_told(sandbox, tmp_path, told, hold, faults=[never], cleanup_timeout_s=0.5)
    notice = await told.hear("unverified")
    assert notice["severity"] == "critical"
    assert "BTCUSDT holds 0.1 still, its stop rests" in notice["text"]


async def test_reconnecting_for_long_and_its_end(
    sandbox: Sandbox, tmp_path: Path, told: Told
) -> None:
    async def script(player: Player) -> None:
        sandbox.world.add_fault(Fault(kind=K.REFUSE_USER_STREAM))
        sandbox.cut("private")
        notice = await told.hear("reconnecting")
        assert "the account stream is lost" in notice["text"]
        sandbox.world.clear_faults()
        await told.hear("reconnected")

    await play_told(sandbox, tmp_path, told, script)
    assert not told.of("unverified")


async def test_a_stream_that_is_back_soon_is_told_to_nobody(
    sandbox: Sandbox, tmp_path: Path, told: Told
) -> None:
    async def script(player: Player) -> None:
        before = player.system.venue.tally.events["account_connected"]  # type: ignore[attr-defined]
        sandbox.cut("private")
        tally = player.system.venue.tally  # type: ignore[attr-defined]
        await player.until(lambda: tally.events["account_connected"] > before)
        await player.until(lambda: not player.engine_symbol.unknown)

    await play_told(sandbox, tmp_path, told, script)
    assert not told.of("reconnecting")


async def test_daily_summary(tmp_path: Path, told: Told) -> None:
    """Two and a half days of the simulated market."""
    senders = senders_from({"CANDLEWICK_WEBHOOK_URL": told.url}, lambda secret: None)
    market = load_market([], candles=3_600, seed=1)
    system = TradingSystem.simulated(prepare("sma_cross", market), AuditLogger(tmp_path))
    async with notified(system, senders, QUICK):
        await system.run()
    days = told.of("daily")
    assert 2 <= len(days) <= 3
    assert all("equity" in day["text"] and "on the day" in day["text"] for day in days)
    assert len({day["subject"] for day in days}) == len(days)


async def test_the_guard_tells_too(tmp_path: Path, told: Told) -> None:
    market = load_market([], candles=40_000, seed=11)
    settings = SandboxSettings(speed=1_200.0, history=200, seed=1)
    async with Sandbox(market, settings) as sandbox:
        bench = Bench(sandbox, tmp_path)
        engine = await bench.start("run")
        await bench.until(lambda: bool(bench.exchange.positions()))
        engine.kill()
        await engine.wait()
        bench.environment["CANDLEWICK_WEBHOOK_URL"] = told.url
        guard = await bench.start("guard", "--after", "0.3", "--once")
        said = await ended(guard)
    assert guard.returncode == 0, said
    assert [notice["kind"] for notice in told.notices] == ["gone", "flattened", "acted"]
    assert told.of("gone")[0]["severity"] == "critical"
