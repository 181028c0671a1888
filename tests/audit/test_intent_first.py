"""Before an order leaves, its intent is in the journal, where any other process can read it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from candlewick.audit import AuditLogger, read, verify
from candlewick.backtesting import prepare
from candlewick.data import load_market
from candlewick.live import SystemSettings, TradingSystem
from candlewick.models import Order

# Reads the files as they are, with nothing of the package; says which of two records are there.
WITNESS = """
import pathlib, sys
def files(directory):
    return [(p, p.stat().st_ino) for p in sorted(directory.glob("*.jsonl"))]

def content_of(directory):
    while True:  # until no file got another name meanwhile
        try:
            before = files(directory)
            content = b"".join(path.read_bytes() for path, _ in before)
            if files(directory) == before:
                return content
        except FileNotFoundError:
            pass

for client_id in map(str.strip, sys.stdin):
    content = content_of(pathlib.Path(sys.argv[1]))
    lines = [line for line in content.split(b"\\n") if b'"%s"' % client_id.encode() in line]
    planned = any(b'"type":"order_planned"' in line and line.endswith(b'"}') for line in lines)
    sent = any(b'"type":"order_sent"' in line and line.endswith(b'"}') for line in lines)
    print(int(planned), int(sent), flush=True)
"""


@pytest.mark.parametrize("durability", ["async", "sync"])
def test_every_order_is_readable_by_another_process_before_it_is_sent(
    tmp_path: Path, durability: str
) -> None:
    witness = subprocess.Popen(
        [sys.executable, "-c", WITNESS, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert witness.stdin is not None
    assert witness.stdout is not None
    seen: dict[str, str] = {}

    async def main() -> None:
        journal = AuditLogger(tmp_path, run_id="sim0", durability=durability, segment_bytes=65_536)  # type: ignore[arg-type]
        parts = prepare("sma_cross", load_market((), synthetic_candles=600, seed=5))
        system = TradingSystem.simulated(parts, journal, settings=SystemSettings())
        submit = system.venue.submit

        async def witnessed(order: Order) -> None:
            assert witness.stdin is not None
            assert witness.stdout is not None
            witness.stdin.write(f"{order.client_id}\n")
            witness.stdin.flush()
            seen[order.client_id] = witness.stdout.readline().strip()
            await submit(order)

        system.venue.submit = witnessed  # type: ignore[method-assign]
        await system.run()

    with witness:
        asyncio.run(main())
    sent = [r.data["client_id"] for r in read(tmp_path, types=["order_sent"])]
    assert list(seen) == sent
    assert len(sent) > 20
    assert set(seen.values()) == {"1 1"}
    assert verify(tmp_path).closed
