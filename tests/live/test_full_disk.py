"""A journal without room, through the whole running system on a small disk that is really full."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from candlewick.audit import read, verify

COMMAND = (sys.executable, "-c", "from candlewick.cli.main import main; main()")
# Holds a position until the test asks it to close; then it wants in again at every candle.
STRATEGY = """
from pathlib import Path
from candlewick import Strategy

class Holder(Strategy):
    def on_candle(self, candle):
        if not self.position.is_flat:
            if Path("close").exists():
                self.close(reason="asked for")
        elif not Path("enough").exists():
            self.buy(stop=candle.close * 0.5)
"""
CONFIG = """
[strategy]
name = "holder.py:Holder"
[data]
candles = 1000000
speed = {speed}
[risk]
daily_loss = 0.0
max_orders_per_minute = 0
[journal]
directory = "{directory}"
segment_mb = 1
[notifications]
daily_summary = false
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 mebibytes, all but three of which are taken."""
    directory = tmp_path / "small"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "candlewick-test", str(directory)],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        with (directory / "filler").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 29 * 1024 * 1024)
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


@pytest.fixture
async def alarms() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook's address, and what it was told."""
    told: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        told.append(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/", told
    await runner.cleanup()


def _waits(status: dict[str, Any]) -> bool:
    """True when records wait in memory as there is no room."""
    problem = _journal_problem(status)
    return "wait" in problem and " 0 records wait" not in problem


def _journal_problem(status: dict[str, Any]) -> str:
    """What `candlewick status` says of the journal; empty when all is well."""
    return "".join(p["problem"] for p in status["not_ready"] if p["check"] == "journal")


class Engine:
    """``candlewick run`` in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.url = ""

    async def until(self, reached: Callable[[str], bool]) -> str:
        """Read what it prints up to a line."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            async for raw in self.process.stdout:
                line = raw.decode().rstrip()
                self.lines.append(line)
                if reached(line):
                    return line
        raise AssertionError("\n".join(["the engine has ended:", *self.lines]))

    async def get(self, path: str) -> Any:
        return json.loads(await asyncio.to_thread(self._get, path))

    def _get(self, path: str) -> bytes:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=10.0)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().read()

    async def status_until(self, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask for its status until it is as wanted; there is no event across processes."""
        status: dict[str, Any] = {}
        try:
            async with asyncio.timeout(60):
                while not reached(status := await self.get("/status")):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError("\n".join([*self.lines, str(status)])) from None
        return status

    async def end(self) -> str:
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(60):
            output, _ = await self.process.communicate()
        return "\n".join([*self.lines, output.decode()])


Start = Callable[..., Any]


@pytest.fixture
async def start(
    small_disk: Path, tmp_path: Path, alarms: tuple[str, list[dict[str, Any]]]
) -> AsyncIterator[Start]:
    (tmp_path / "holder.py").write_text(STRATEGY)
    started: list[Engine] = []

    async def begin(speed: float = 60_000.0) -> Engine:
        config = CONFIG.format(directory=small_disk / "journal", speed=speed)
        (tmp_path / "c.toml").write_text(config)
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "run", "-c", "c.toml", cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env={
                **os.environ, "CANDLEWICK_WEBHOOK_URL": alarms[0],
                "XDG_RUNTIME_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1",
            },
        )  # fmt: skip
        engine = Engine(process)
        started.append(engine)
        line = await engine.until(lambda line: "metrics at " in line)
        engine.url = line.split("metrics at ")[1].removesuffix("/metrics")
        return engine

    yield begin
    for engine in started:
        if engine.process.returncode is None:
            engine.process.kill()
            await engine.process.wait()


async def test_a_full_disk_refuses_entries_lets_closing_orders_out_and_raises_an_alarm(
    small_disk: Path, tmp_path: Path, start: Start, alarms: tuple[str, list[dict[str, Any]]]
) -> None:
    engine = await start()
    line = await engine.until(lambda line: "the journal cannot be written" in line)
    assert "ERROR" in line
    assert "No space left" in line
    status = await engine.status_until(lambda s: s["journal_state"] == "without_room")
    assert len(status["positions"]) == 1
    assert "journal" in [p["check"] for p in status["not_ready"]]
    ready = await engine.get("/ready")
    assert not ready["ready"]
    assert any("no room on the disk" in p["problem"] for p in ready["not_ready"])

    fills = status["fills"]
    (tmp_path / "close").touch()
    status = await engine.status_until(lambda s: not s["positions"])
    assert status["fills"] == fills + 1, "the closing order went out"
    assert status["journal_state"] == "without_room"
    orders = status["orders"]
    status = await engine.status_until(lambda s: s["orders"] >= orders + 5)
    assert status["fills"] == fills + 1, "no entry goes out"
    (tmp_path / "enough").touch()

    (small_disk / "filler").unlink()
    await engine.until(lambda line: "the journal has room again" in line)
    await engine.status_until(
        lambda s: s["journal_state"] == "ok" and not _journal_problem(s)
    )  # fmt: skip
    (tmp_path / "close").unlink()
    (tmp_path / "enough").unlink()
    await engine.status_until(lambda s: bool(s["positions"]))
    output = await engine.end()
    assert engine.process.returncode == 0, output

    titles = [alarm["title"] for alarm in alarms[1]]
    assert titles[0] == "the journal cannot be written"
    assert "the journal has room again" in titles
    directory = small_disk / "journal"
    found = verify(directory)
    assert found.ok, found.problems
    assert found.closed
    lost = [r.data["lost"] for r in read(directory, types=["journal_recovered"])]
    assert lost == [0], "what waited in memory is all there"
    withheld = [r.data for r in read(directory, types=["order_withheld"])]
    assert {item["code"] for item in withheld} == {"journal_unavailable"}
    assert all(item["client_id"].endswith("-entry") for item in withheld)
    sent = [r.data["client_id"] for r in read(directory, types=["order_sent"])]
    assert [name for name in sent if name.endswith("-close")]
    assert not {item["client_id"] for item in withheld} & set(sent)


async def test_a_disk_that_stays_full_is_told_at_the_end_and_the_next_start_goes_on(
    small_disk: Path, start: Start
) -> None:
    engine = await start(speed=600_000.0)
    await engine.until(lambda line: "the journal cannot be written" in line)
    await engine.status_until(_waits)
    output = await engine.end()
    assert engine.process.returncode == 4, output
    assert "ended by" in output, "the figures are shown all the same"
    assert re.search(r"the journal \S+ lacks [\d,]+ records: there is no room", output), output
    directory = small_disk / "journal"
    found = verify(directory)
    assert found.ok, found.problems
    assert not found.closed
    (small_disk / "filler").unlink()
    engine = await start()
    output = await engine.end()
    assert engine.process.returncode == 0, output
    assert verify(directory).ok
