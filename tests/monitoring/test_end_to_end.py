"""A real Prometheus scrapes a running engine; an idle engine uses no processor."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from candlewick.audit import read
from candlewick.errors import ExitCode

from .conftest import Command, Engine

OPS = Path(__file__).parents[2] / "ops"
Start = Callable[..., Engine]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def ask(url: str, query: str) -> list[dict[str, Any]]:
    """Ask Prometheus; an empty answer while it is not up yet."""
    try:
        with urllib.request.urlopen(
            f"{url}/api/v1/query?query={urllib.parse.quote(query)}", timeout=10.0
        ) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return result
    except OSError:
        return []


def test_prometheus_scrapes_a_running_engine(
    start_engine: Start, prometheus: str, tmp_path: Path
) -> None:
    """Rules are loaded, values arrive, and the alert fires when the engine is gone."""
    engine = start_engine("--candles", "100000", "--speed", "60000", "--seed", "5")
    target = engine.url.removeprefix("http://")
    rules = (OPS / "candlewick.rules.yml").read_text(encoding="utf-8")
    (tmp_path / "candlewick.rules.yml").write_text(rules.replace("for: 1m", "for: 1s"))
    config = (OPS / "prometheus.yml").read_text(encoding="utf-8")
    config = config.replace("127.0.0.1:9464", target).replace(": 5s", ": 1s")
    (tmp_path / "prometheus.yml").write_text(config)
    port = free_port()
    with subprocess.Popen(
        [
            prometheus, f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
    ) as server:  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            _until(lambda: ask(url, "candlewick_candles_total > 0"))
            (up,) = ask(url, 'up{job="candlewick"}')
            assert up["value"][1] == "1"
            (version,) = ask(url, "candlewick_build_info")
            assert version["metric"]["version"]
            _until(lambda: ask(url, "rate(candlewick_candles_total[10s]) > 0"))
            lag = "rate(candlewick_event_loop_lag_seconds_bucket[10s])"
            _until(lambda: ask(url, f"histogram_quantile(0.99, {lag}) > 0"))
            assert ask(url, 'ALERTS{alertname="CandlewickDown"}') == []
            engine.process.kill()
            _until(lambda: ask(url, 'ALERTS{alertname="CandlewickDown", alertstate="firing"}'))
        finally:
            server.terminate()


def _until(look: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Look until there is something; the deadline is that of the test."""
    while not (found := look()):
        time.sleep(0.2)
    return found


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="no /proc/*/schedstat here")
def test_an_idle_engine_uses_no_processor(start_engine: Start) -> None:
    """With everything on: below 0.5 % of one processor over ten seconds."""
    engine = start_engine("--speed", "0.001")  # the first candle is hours away
    running = 'candlewick_engine_state{state="running"}'
    while not _plain_values(engine.get("/metrics")[1])[running]:
        time.sleep(0.1)  # it has not quite started
    before = _processor_ns(engine.process.pid)
    time.sleep(10.0)
    used = _processor_ns(engine.process.pid) - before
    assert used < 0.005 * 10e9
    assert engine.json("/status")["candles"] == 0


def _processor_ns(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task")
    return sum(
        int((tasks / task / "schedstat").read_text().split()[0]) for task in os.listdir(tasks)
    )


BLOCKS = """
import time
from candlewick import Strategy

class Blocks(Strategy):
    def on_candle(self, candle):
        if len(self.history) == 50:
            time.sleep(0.5)
"""


def test_a_stall_is_an_error_of_a_strict_run(command: Command, tmp_path: Path) -> None:
    """The terminal, the exit code and the journal name the handler and the line it stood at."""
    (tmp_path / "blocks.py").write_text(BLOCKS)
    (tmp_path / "c.toml").write_text("[monitoring]\nstrict = true\nstall_ms = 250.0\n")
    arguments = ("run", "-c", "c.toml", "--candles", "500", "--strategy", "blocks.py:Blocks")
    done = command(*arguments)
    assert done.returncode == ExitCode.UNEXPECTED, done.stdout + done.stderr
    assert "ended by" in done.stdout, "the figures are shown all the same"
    assert re.search(r"stood still .* in engine at \S+blocks.py:8 Blocks.on_candle", done.stdout)
    reports = [r.data for r in read(tmp_path / "journal", types=["bus_report"])]
    stalls = [report for report in reports if report["kind"] == "loop_stalled"]
    assert stalls[0]["handler"] == "engine"
    assert "blocks.py:8" in stalls[0]["context"]["where"]
    (tmp_path / "c.toml").write_text("[monitoring]\nstall_ms = 250.0\n")
    assert command(*arguments).returncode == ExitCode.OK, "without strict it is told only"


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_million_candles_leave_no_trace_in_memory(start_engine: Start) -> None:
    """Less than a megabyte after the warm-up, for more candles than any hour of a market brings."""
    engine = start_engine(
        "--candles", "1500000", "--fee-taker", "0", "--fee-maker", "0", "--cash", "100000"
    )
    samples: list[tuple[float, float, float]] = []  # monotonic s, candles, bytes
    last: dict[str, float] = {}
    while True:
        try:
            _, text = engine.get("/metrics")
        except OSError:
            break  # the run is over
        last = _plain_values(text)
        candles = last["candlewick_candles_total"]
        if candles > 300_000:  # the engine remembers 20,000 trade ids
            memory = last["candlewick_process_anonymous_memory_bytes"]
            samples.append((time.monotonic(), candles, memory))
        time.sleep(2.0)
    (began, first, before), (ended, final, after) = samples[0], samples[-1]
    growth = after - before
    collections = sum(
        last[f'candlewick_gc_collections_total{{generation="{n}"}}'] for n in range(3)
    )
    print(
        f"\n{final - first:,.0f} candles in {ended - began:.0f} s: {growth:+,.0f} bytes,"
        f" {last['candlewick_fills_total']:,.0f} fills,"
        f" {collections:.0f} collections,"
        f" worst loop lag {last['candlewick_event_loop_lag_worst_seconds'] * 1e3:.1f} ms"
    )
    assert final - first > 1_000_000
    assert last["candlewick_fills_total"] > 50_000
    assert growth < 1e6


def _plain_values(text: str) -> dict[str, float]:
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in text.splitlines())
        if not name.startswith("#")
    }
