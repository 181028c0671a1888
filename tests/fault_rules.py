"""The faults that the sandbox can make, as rules for tests: each alone, and mixtures of them."""

from __future__ import annotations

import random

import msgspec

from candlewick.sandbox import Fault, FaultKind

K = FaultKind

ALONE: dict[str, tuple[Fault, ...]] = {
    "none": (),
    "503": (Fault(kind=K.HTTP_ERROR, match="POST *", rate=0.3, status=503),),
    "429": (Fault(kind=K.HTTP_ERROR, match="POST /fapi/v1/*rder", count=1, status=429),),
    "418": (Fault(kind=K.HTTP_ERROR, match="POST /fapi/v1/algoOrder", count=1, status=418),),
    "slow answers": (Fault(kind=K.SLOW, rate=0.3, delay_ms=150),),
    "answers too slow": (Fault(kind=K.SLOW, match="POST *", rate=0.2, delay_ms=1_200),),
    "lost requests": (Fault(kind=K.LOSE_REQUEST, rate=0.25),),
    "lost replies": (Fault(kind=K.LOSE_REPLY, rate=0.25),),
    "-1007 to an accepted order": (
        Fault(kind=K.LOSE_REPLY, match="POST *", rate=0.5, status=503, code=-1007),
    ),
    "lost replies over WebSocket": (Fault(kind=K.LOSE_REPLY, match="WS *", rate=0.5),),
    "dropped news of the account": (Fault(kind=K.DROP, route="private", rate=0.3),),
    "dropped market data": (Fault(kind=K.DROP, route="market", rate=0.3),),
    "delayed messages": (Fault(kind=K.DELAY, rate=0.3, delay_ms=60),),
    "repeated messages": (Fault(kind=K.DUPLICATE, rate=0.5),),
    "reordered messages": (Fault(kind=K.REORDER, rate=0.3),),
    "garbage": (Fault(kind=K.GARBAGE, rate=0.3),),
    "unknown events and fields": (
        Fault(kind=K.UNKNOWN_EVENT, rate=0.3),
        Fault(kind=K.UNKNOWN_FIELD, rate=0.5),
    ),
    "cut connections": (Fault(kind=K.CUT, rate=0.03),),
    "a stalled market stream": (Fault(kind=K.STALL, route="market", skip=6, count=1),),
    "a stalled account stream": (Fault(kind=K.STALL, route="private", skip=3, count=1),),
    "a half-open market stream": (Fault(kind=K.HALF_OPEN, route="market", skip=6, count=1),),
    "a half-open account stream": (Fault(kind=K.HALF_OPEN, route="private", skip=3, count=1),),
    "a refused account stream": (
        Fault(kind=K.REFUSE_USER_STREAM, count=2),
        Fault(kind=K.CUT, route="private", skip=4, count=1),
    ),
    "an expired listen key": (Fault(kind=K.EXPIRE_LISTEN_KEY, route="private", skip=3, count=1),),
    "rejected triggers": (Fault(kind=K.REJECT_TRIGGER, count=2),),
    "partial fills": (Fault(kind=K.PARTIAL_FILLS, value=7),),
    "a skewed clock": (Fault(kind=K.SKEW, value=20_000),),
    "partial fills, some dropped": (
        Fault(kind=K.PARTIAL_FILLS, value=7),
        Fault(kind=K.DROP, route="private", rate=0.3),
    ),
    "partial fills, reordered": (
        Fault(kind=K.PARTIAL_FILLS, value=7),
        Fault(kind=K.REORDER, route="private", rate=0.3),
    ),
}

STATES = frozenset((K.REJECT_TRIGGER, K.PARTIAL_FILLS, K.SKEW))
"""Kinds that are in force all the while, and are not counted as hits."""


def mixture(seed: int) -> tuple[Fault, ...]:
    """Some faults at random, rare enough that there is progress."""
    rng = random.Random(seed)
    chosen = rng.sample([f for group in ALONE.values() for f in group], 5)
    return tuple(
        f if f.count or f.kind in STATES
        else msgspec.structs.replace(f, rate=rng.uniform(0.01, 0.1))
        for f in chosen
    )  # fmt: skip


def goes_over_ws(faults: tuple[Fault, ...], seed: int) -> bool:
    """Whether orders take the WebSocket API, so that the faults meet them."""
    matches = "".join(fault.match for fault in faults)
    return "WS" in matches or (seed % 2 == 0 and "POST" not in matches)
