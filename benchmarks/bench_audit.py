"""What a record of the audit journal costs its caller, beside other ways to write a line."""

from __future__ import annotations

import json
import mmap
import tempfile
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from itertools import cycle
from pathlib import Path

import msgspec

from benchmarks.audit_peers import DATA, MODULES, PEERS
from benchmarks.rows import Row
from benchmarks.timing import installed, median, percentile, progress, python

_ROUNDS = 3
_VERIFIED = 1_000_000
_LIMITS_NS = {"median": 2_000.0, "p99.9": 20_000.0}  # on an idle machine; at full speed
_OURS = "candlewick"
_QUEUE = "QueueHandler"

Figures = dict[str, dict[str, float]]


def run() -> list[Row]:
    full = _in_turns("full")
    paced = _in_turns("paced")
    return [
        *_rates(full), *_limits(full[_OURS]), *_latencies(full, "at full speed"),
        *_latencies(paced, "at 1,000/s"), *_parts(), *_reading(),
    ]  # fmt: skip


def _in_turns(mode: str) -> Figures:
    """Let all peers log in turns, each in a fresh process; the median of each figure counts."""
    names = [name for name in PEERS if name not in MODULES or installed(MODULES[name])]
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(_ROUNDS):
        for name in names:
            progress(f"{name}, {mode}, round {number + 1} of {_ROUNDS}")
            with tempfile.TemporaryDirectory() as directory:
                printed = python("-m", "benchmarks.audit_peers", name, mode, directory)
            rounds[name].append(json.loads(printed))
    return {
        name: {key: median([one[key] for one in found]) for key in found[0]}
        for name, found in rounds.items()
    }


def _rates(full: Figures) -> list[Row]:
    ours = full[_OURS]["rate"]
    return [
        Row(
            area="audit", name="sustained, until the kernel has all", value=ours, unit="records/s",
            peer=peer, peer_value=full[peer]["rate"] if peer in full else None,
            target_ratio=5.0 if peer == _QUEUE else None,
            note="ours with sequence, hash chain and syncs" if peer == _QUEUE else "",
        )
        for peer in PEERS if peer != _OURS
    ]  # fmt: skip


def _limits(ours: dict[str, float]) -> list[Row]:
    return [
        Row(
            area="audit", name=f"caller's {key}, at full speed", value=ours[key] / 1e3, unit="µs",
            better="lower", limit=limit / 1e3,
        )
        for key, limit in _LIMITS_NS.items()
    ]  # fmt: skip


def _latencies(found: Figures, when: str) -> list[Row]:
    targets = {"p99.9": 10.0} if when == "at full speed" else {}
    return [
        Row(
            area="audit", name=f"caller's {key}, {when}", value=found[_OURS][key] / 1e3,
            unit="µs", peer=peer,
            peer_value=found[peer][key] / 1e3 if peer in found else None,
            better="lower", target_ratio=targets.get(key) if peer == _QUEUE else None,
        )
        for key in ("median", "p99", "p99.9", "max")
        for peer in PEERS if peer != _OURS
    ]  # fmt: skip


def _parts() -> list[Row]:
    """What a record is made of, each part alone and measured like the whole."""
    from candlewick.audit.encoding import Encoder

    progress("the parts of a record")
    encode, plain = Encoder().encode, msgspec.json.Encoder().encode
    data = encode(DATA)
    head, digest = b',"type":"order_planned","data":', b"0" * 64
    body = b'{"seq":%d,"time_ns":%d%b%b' % (123_456, time.time_ns(), head, data)
    line = b'%b,"hash":"%b"}' % (body, digest)
    memory, lock = mmap.mmap(-1, 16 * 1024 * 1024), threading.RLock()
    starts = cycle(range(0, len(memory) - len(line), len(line)))

    def copy() -> None:
        start = next(starts)
        memory[start : start + len(line)] = line

    def locked() -> None:
        with lock:
            pass

    def form() -> bytes:
        made = b'{"seq":%d,"time_ns":%d%b%b' % (123_456, time.time_ns(), head, data)
        return b'%b,"hash":"%b"}' % (made, digest)

    def chain() -> bytes:
        return sha256(digest + body).hexdigest().encode()

    parts: dict[str, Callable[[], object]] = {
        "nothing, with the two readings of the clock": lambda: None,
        "encoding, without a look for secrets and NaN": lambda: plain(DATA),
        "encoding, with it": lambda: encode(DATA),
        "SHA-256 through OpenSSL": chain,
        "the time, and making the line": form,
        "the lock": locked,
        "copying the line to where no other is": copy,
    }
    return [
        Row(
            area="audit", name=f"part of a record: {name}", value=_median_ns(part) / 1e3,
            unit="µs", better="lower",
        )
        for name, part in parts.items()
    ]  # fmt: skip


def _median_ns(part: Callable[[], object]) -> float:
    clock, taken = time.perf_counter_ns, []
    for _ in range(30_000):
        began = clock()
        part()
        taken.append(clock() - began)
    return percentile(taken, 0.5)


def _reading() -> list[Row]:
    """Write a million records and verify them."""
    from candlewick.audit import AuditLogger, read, verify

    progress(f"verifying {_VERIFIED:,} records")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with AuditLogger(directory) as journal:
            for number in range(_VERIFIED):
                journal.log_event("order_planned", {"number": number, "symbol": "BTCUSDT"})
        start = time.perf_counter()
        result = verify(directory)
        verified_s = time.perf_counter() - start
        assert result.ok
        start = time.perf_counter()
        found = sum(1 for _ in read(directory))
        read_s = time.perf_counter() - start
        assert found == result.records
    return [
        Row(
            area="audit", name=f"verify {result.records:,} records", value=verified_s, unit="s",
            better="lower", limit=10.0,
        ),
        Row(area="audit", name="read, decoded", value=found / read_s, unit="records/s"),
    ]  # fmt: skip
