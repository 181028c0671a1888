"""`wait_for_exchange`: a machine that wakes up, or a service, may be earlier than its network."""

from __future__ import annotations

import asyncio
import logging
import time

import typer

from candlewick.cli.signals import StopSignals
from candlewick.errors import VenueError
from candlewick.venues.binance import Backoff, BinanceSettings, OutcomeUnknown, ask_time

__all__ = ["wait_for_exchange"]

_log = logging.getLogger(__name__)
_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 10.0


async def wait_for_exchange(
    settings: BinanceSettings, patience_s: float, signals: StopSignals
) -> None:
    """Ask the exchange for its time until it answers; nothing is touched before it does.

    Raises:
        VenueError: it refuses, or has not answered within ``patience_s`` seconds.
        typer.Abort: a signal came.
    """
    stopping = asyncio.Event()
    signals.hand_to(lambda name: stopping.set())
    stop = asyncio.create_task(stopping.wait())
    answer = asyncio.create_task(_ask(settings, patience_s))
    try:
        await asyncio.wait([stop, answer], return_when=asyncio.FIRST_COMPLETED)
        if stopping.is_set():
            raise typer.Abort
        answer.result()
    finally:
        signals.hand_back()
        stop.cancel()
        answer.cancel()
        await asyncio.wait([stop, answer])


async def _ask(settings: BinanceSettings, patience_s: float) -> None:
    backoff = Backoff(_PAUSE_S, _LONGEST_PAUSE_S)
    deadline = time.monotonic() + patience_s
    while True:
        try:
            await ask_time(settings)
            break
        except OutcomeUnknown as error:
            left_s = deadline - time.monotonic()
            if left_s <= 0.0:
                raise VenueError(
                    f"{error}; given up after {patience_s:g} s (run.connect_timeout_s): check the"
                    " network and the address, `candlewick doctor` says more"
                ) from None
            _log.warning("%s; it is tried again for %.0f s", error, left_s)
        await asyncio.sleep(min(backoff.next_s(), left_s))
    if backoff.attempts:
        _log.info("the exchange answers")
