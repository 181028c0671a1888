"""The notify protocol of systemd, over a real datagram socket, and the units that rely on it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from candlewick.live.service import ServiceManager
from candlewick.sandbox import Sandbox
from tests.live.bench import Bench, ended

OPS = Path(__file__).parents[2] / "ops"


class Manager:
    """What systemd is to a service: a socket that hears of it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.said: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind("\0" + path[1:] if path.startswith("@") else path)

    async def hear(self, wanted: str) -> None:
        """Take messages until one has this line."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60):
            while wanted not in self.said:
                self.said += (await loop.sock_recv(self._socket, 4_096)).decode().split("\n")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
async def manager(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Manager]:
    name = f"@candlewick-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "n")
    made = Manager(name)
    yield made
    made.close()


async def test_it_speaks_the_protocol(manager: Manager) -> None:
    environment = {
        "NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "60000", "WATCHDOG_PID": str(os.getpid())
    }  # fmt: skip
    service = ServiceManager.from_environment(environment)
    assert service.watchdog_s == 0.06
    service.ready("trading\nBTCUSDT")
    await manager.hear("STATUS=trading BTCUSDT")
    assert manager.said[0] == "READY=1"
    async with service.beating():
        for _ in range(3):
            manager.said.clear()
            await manager.hear("WATCHDOG=1")
    service.stopping("by hand", 90.0)
    await manager.hear("STATUS=by hand")
    assert "STOPPING=1" in manager.said
    assert "EXTEND_TIMEOUT_USEC=90000000" in manager.said
    service.close()
    service.alive()  # nothing happens


def test_a_watchdog_of_another_process_is_not_ours() -> None:
    other = ServiceManager.from_environment({"WATCHDOG_USEC": "60000", "WATCHDOG_PID": "1"})
    assert other.watchdog_s == 0.0


async def test_a_manager_that_does_not_listen_is_never_waited_for(tmp_path: Path) -> None:
    service = ServiceManager(str(tmp_path / "nobody"), 1.0)
    service.ready("x")
    full = Manager(str(tmp_path / "full"))
    service = ServiceManager(full.path, 1.0)
    for _ in range(5_000):  # more than the socket holds
        service.status("x" * 300)
    service.close()
    full.close()


async def test_an_engine_is_ready_when_it_trades_and_says_when_it_stops(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    manager = Manager(str(tmp_path / "notify"))
    bench = Bench(sandbox, tmp_path)
    bench.environment = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "300000"}
    engine = await bench.start("run")
    await manager.hear("READY=1")
    assert bench.tail.read().of["engine_started"]
    await manager.hear("STATUS=trading BTCUSDT on binance")
    manager.said.clear()
    await manager.hear("WATCHDOG=1")
    engine.send_signal(signal.SIGTERM)
    await manager.hear("STOPPING=1")
    output = await ended(engine)
    assert engine.returncode == 0, output
    assert "STATUS=stopping: SIGTERM" in manager.said
    manager.close()


async def test_a_stopped_engine_lets_the_watchdog_starve(sandbox: Sandbox, tmp_path: Path) -> None:
    """What the manager goes by: no word from a process whose loop does not turn."""
    manager = Manager(str(tmp_path / "notify"))
    bench = Bench(sandbox, tmp_path)
    bench.environment = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "300000"}
    engine = await bench.start("run")
    await manager.hear("WATCHDOG=1")
    engine.send_signal(signal.SIGSTOP)
    await asyncio.sleep(0.2)  # what was on its way has arrived
    while True:
        try:
            manager._socket.recv(4_096)
        except BlockingIOError:
            break
    manager.said.clear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):  # more than three times the watchdog's span
            await manager.hear("WATCHDOG=1")
    engine.send_signal(signal.SIGCONT)
    await manager.hear("WATCHDOG=1")
    engine.send_signal(signal.SIGINT)
    output = await ended(engine)
    assert engine.returncode == 0, output
    manager.close()


async def test_the_guard_is_ready_at_once(sandbox: Sandbox, tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    bench = Bench(sandbox, tmp_path)
    bench.environment = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "300000"}
    guard = await bench.start("guard")
    await manager.hear("READY=1")
    await manager.hear("WATCHDOG=1")
    guard.send_signal(signal.SIGTERM)
    assert await guard.wait() == 0
    await guard.communicate()
    manager.close()


@pytest.mark.parametrize("unit", ["candlewick.service", "candlewick-guard.service"])
def test_the_units_ask_for_notify_and_the_watchdog(unit: str, tmp_path: Path) -> None:
    text = (OPS / unit).read_text()
    lines = text.splitlines()
    assert "Type=notify" in lines
    assert "WatchdogSec=30" in lines
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    # the program and the user of the unit are not on this machine: others stand in for them
    copy = tmp_path / unit
    copy.write_text(
        text.replace("/opt/candlewick/bin/candlewick", shutil.which("true") or "/bin/true")
        .replace("User=candlewick", "User=root")
    )  # fmt: skip
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if unit in line]
    assert not complaints, complaints
    assert done.returncode == 0, done.stderr
