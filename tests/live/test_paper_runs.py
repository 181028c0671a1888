"""`candlewick run --venue paper` in a process of its own, on the market of a sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from candlewick.audit import read, verify
from candlewick.cli.main import run_command
from candlewick.cli.venues import fingerprint
from candlewick.data import load_market
from candlewick.errors import ExitCode
from candlewick.exchange import AccountState
from candlewick.live.paper import paper_account
from candlewick.models import utc_now_ms
from candlewick.sandbox import Fault, FaultKind, Sandbox, SandboxSettings
from candlewick.venues.binance import BinanceSettings

COMMAND = (sys.executable, "-c", "from candlewick.cli.main import main; main()")
CONFIG = """
[strategy]
name = "sma_cross"
params = {fast = 3, slow = 6}
[risk]
daily_loss = 0.0
default_stop = 0.01
[account]
cash = 5000.0
[run]
venue = "paper"
cleanup_timeout_s = 20.0
reconcile_every_s = 0.3
"""


class Paper:
    """Starts paper runs on a sandbox, and reads what they have written."""

    def __init__(self, sandbox: Sandbox, directory: Path) -> None:
        self.sandbox = sandbox
        self.directory = directory
        self.journal = directory / "journal"
        (directory / "c.toml").write_text(CONFIG)

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CANDLEWICK_API")}
        return await asyncio.create_subprocess_exec(
            *COMMAND, "run", *arguments, "-c", "c.toml", "--rest", self.sandbox.rest_url,
            "--ws", self.sandbox.ws_url, cwd=self.directory,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env={**environment, "XDG_RUNTIME_DIR": str(self.directory)},
        )  # fmt: skip

    def records(self, since: int = 0) -> list[dict[str, Any]]:
        """What the journal has, from a time on (UTC ms)."""
        if not any(self.journal.glob("2*.jsonl")):
            return []
        found = read(self.journal, since=since or None)
        return [{"type": record.type, "data": record.data} for record in found]

    def count(self, kind: str, since: int = 0) -> int:
        return sum(record["type"] == kind for record in self.records(since))

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for what another process brings about; looked for beside the market's loop."""
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(reached):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)

    async def until_it_trades(self) -> asyncio.subprocess.Process:
        """Start a run, and wait for its first fill."""
        began = utc_now_ms()
        run = await self.start()
        await self.until(lambda: self.count("fill", began) > 0)
        return run

    def fills(self) -> dict[int, dict[str, Any]]:
        """All fills of the journal by their number; one that is told twice is the same."""
        found: dict[int, dict[str, Any]] = {}
        for record in self.records():
            told = [record["data"]] if record["type"] == "fill" else []
            if record["type"] == "account_snapshot":
                told = record["data"]["fills"]
            for fill in told:
                assert found.setdefault(fill["trade_id"], fill) == fill
        return found

    def balance(self) -> float:
        """The wallet by its fills alone."""
        return 5_000.0 + sum(fill["realized"] - fill["fee"] for fill in self.fills().values())

    @property
    def account(self) -> str:
        settings = BinanceSettings.at(self.sandbox.rest_url, self.sandbox.ws_url)
        digest = fingerprint(settings).rpartition("-")[2]
        return f"paper-{digest}"


@pytest.fixture
async def paper(tmp_path: Path) -> AsyncIterator[Paper]:
    """An exchange whose minutes pass in 50 milliseconds."""
    market = load_market([], candles=40_000, seed=11)
    async with Sandbox(market, SandboxSettings(speed=1_200.0, history=200, seed=1)) as sandbox:
        yield Paper(sandbox, tmp_path)


async def ended(process: asyncio.subprocess.Process) -> str:
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return output.decode()


async def test_a_paper_run_needs_no_keys_trades_at_market_prices_and_ends_flat(
    paper: Paper,
) -> None:
    run = await paper.start("--candles", "60", "--json")
    output = await ended(run)
    assert run.returncode == 0, output
    summary = json.loads(next(line for line in output.splitlines() if line.startswith("{")))
    assert summary["venue"] == "paper"
    assert summary["candles"] >= 60  # more when they come faster than it stops
    assert summary["fills"] == len(paper.fills()) >= 4
    assert summary["final_equity"] == pytest.approx(paper.balance(), abs=1e-6)
    assert verify(paper.journal).ok
    assert await asyncio.to_thread(run_command, ["audit", "replay", str(paper.journal)]) == 0
    orders = paper.sandbox.first.account
    assert not orders.orders
    assert not orders.trades
    planned = paper.count("order_planned")
    assert planned >= 4
    assert paper.count("order_acknowledged") == planned
    bars = {bar.open_time: bar for bar in paper.sandbox.world.market("BTCUSDT").bars.closed}
    for fill in paper.fills().values():
        bar = bars[fill["time"] // 60_000 * 60_000]
        assert bar.low <= fill["price"] <= bar.high


TROUBLE = (
    Fault(kind=FaultKind.DROP, route="market", match="aggTrade", rate=0.3),
    Fault(kind=FaultKind.DROP, route="market", match="kline", rate=0.2),
    Fault(kind=FaultKind.DUPLICATE, route="market", rate=0.3),
    Fault(kind=FaultKind.REORDER, route="market", rate=0.1),
    Fault(kind=FaultKind.DELAY, route="market", rate=0.1, delay_ms=30),
    Fault(kind=FaultKind.GARBAGE, route="market", rate=0.1),
    Fault(kind=FaultKind.UNKNOWN_EVENT, route="market", rate=0.1),
    Fault(kind=FaultKind.CUT, route="market", rate=0.004),
    Fault(kind=FaultKind.HTTP_ERROR, match="GET /fapi/v1/klines", rate=0.2, status=503),
)


async def through_trouble(paper: Paper, candles: int) -> None:
    """Whatever the stream loses: the account is flat in the end, and each fill was possible."""
    for fault in TROUBLE:
        paper.sandbox.world.add_fault(fault)
    run = await paper.start("--candles", str(candles))
    output = await ended(run)
    assert run.returncode == 0, output
    left = await check_wallet(paper)
    assert (left.positions, left.orders) == ((), ())
    assert verify(paper.journal).ok
    bars = {bar.open_time: bar for bar in paper.sandbox.world.market("BTCUSDT").bars.closed}
    for fill in paper.fills().values():
        bar = bars[fill["time"] // 60_000 * 60_000]
        assert bar.low <= fill["price"] <= bar.high
    told = [r["data"] for r in paper.records() if r["type"] == "stream_changed"]
    holes = [status for status in told if "are missing" in status["reason"]]
    times = [r["data"]["open_time"] for r in paper.records() if r["type"] == "candle_closed"]
    assert times == sorted(set(times))
    assert holes or times == list(range(times[0], times[-1] + 1, 60_000))


async def test_a_stream_that_loses_repeats_and_swaps_does_not_harm_the_account(
    paper: Paper,
) -> None:
    await through_trouble(paper, 40)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(5))
async def test_soak_through_trouble(paper: Paper, number: int) -> None:
    await through_trouble(paper, 1_000 + number)


async def torture(paper: Paper, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(rounds):
        run = await paper.until_it_trades()
        await asyncio.sleep(chance.uniform(0.0, 0.4))
        run.kill()
        await run.wait()
        await check_wallet(paper)
    run = await paper.until_it_trades()
    run.send_signal(signal.SIGINT)
    output = await ended(run)
    assert run.returncode == 0, output
    left = await check_wallet(paper)
    assert (left.positions, left.orders) == ((), ())
    assert verify(paper.journal).ok


async def check_wallet(paper: Paper) -> AccountState:
    left = await asyncio.to_thread(paper_account, paper.journal, paper.account, 0.0)
    assert left.balance == pytest.approx(paper.balance(), abs=1e-6)
    assert left.last_trade == max(paper.fills())
    held = sum(
        fill["quantity"] * (1 if fill["side"] == "buy" else -1) for fill in paper.fills().values()
    )
    assert sum(position.quantity for position in left.positions) == pytest.approx(held, abs=1e-9)
    return left


async def test_the_wallet_survives_kill_9(paper: Paper) -> None:
    """Every start finds what the journal says: wallet, position, stops; no fill counts twice."""
    await torture(paper, rounds=1, seed=5)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(5))
async def test_soak_the_wallet_survives_kill_9_thirty_times(paper: Paper, seed: int) -> None:
    await torture(paper, rounds=30, seed=seed)


async def test_keep_leaves_position_and_stop_for_the_next_run(paper: Paper) -> None:
    run = await paper.start("--on-stop", "keep")
    await paper.until(lambda: paper.count("position_opened") > 0)
    run.send_signal(signal.SIGTERM)
    output = await ended(run)
    assert run.returncode == 0, output
    left = await asyncio.to_thread(paper_account, paper.journal, paper.account, 0.0)
    stops = [order for order in left.orders if order.reduce_only]
    assert len(stops) == len(left.positions)
    began = utc_now_ms()
    run = await paper.start()
    await paper.until(lambda: paper.count("account_snapshot", began) > 0)
    run.send_signal(signal.SIGINT)
    output = await ended(run)
    assert run.returncode == 0, output
    records = paper.records(began)
    resumed = next(r["data"] for r in records if r["type"] == "account_snapshot")
    if left.positions:  # held still, or closed by its stop in the candles in between
        names = {order["client_id"] for order in resumed["orders"]}
        closed = {fill["client_id"] for fill in resumed["fills"]}
        assert {order.client_id for order in stops} <= names | closed


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["guard", "--venue", "paper"], "guard has nothing to do on paper"),
        (["flatten", "--venue", "paper"], "flatten has nothing to do on paper"),
        (["run", "--venue", "papr"], "did you mean 'paper'?"),
        (["run", "--venue", "paper", "--rest", "http://127.0.0.1:1"], "--rest and --ws"),
    ],
)
def test_what_cannot_be_is_said(
    arguments: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run_command(arguments) == ExitCode.BAD_INPUT
    assert word in capsys.readouterr().err


def test_funding_of_a_configuration_does_not_go_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.toml").write_text(CONFIG + "\n[log]\n")
    text = CONFIG.replace("cash = 5000.0", "funding_rate = 0.0001")
    (tmp_path / "c.toml").write_text(text)
    assert run_command(["run", "-c", str(tmp_path / "c.toml")]) == ExitCode.BAD_INPUT
    assert "account.funding_rate" in capsys.readouterr().err
