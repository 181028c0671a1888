"""`clean_up`: connect, learn the account, treat positions as a policy says, verify, and leave."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from candlewick.audit import AuditLogger, holder_of, take_directory
from candlewick.cli.venues import Place, opened
from candlewick.config import Config
from candlewick.engine import StopPolicy
from candlewick.errors import JournalError, VenueError
from candlewick.live import SystemSettings, TradingSystem
from candlewick.live.assembly import network_system, new_run_id
from candlewick.live.cleanup import Cleaned, CleanupSettings
from candlewick.live.network import NetworkSettings
from candlewick.strategies import Strategy
from candlewick.venues.binance import OutcomeUnknown, RateLimited

__all__ = ["clean_up"]

_log = logging.getLogger(__name__)
_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 8.0
_SEGMENT_BYTES = 65_536  # a cleanup records little, and may have to do with a nearly full disk


async def clean_up(
    config: Config,
    place: Place,
    policy: StopPolicy,
    *,
    name: str,
    symbols: Sequence[str] = (),
    interval: str = "",
    on_system: Callable[[TradingSystem], None] | None = None,
) -> Cleaned:
    """Run an engine without a strategy just long enough to clean up.

    It takes the journal's lease, so it never works beside a living engine. An exchange that
    cannot be reached is asked again until ``run.cleanup_timeout_s`` is over; what was not verified
    by then stands in the problems.

    Raises:
        JournalError: the lease is held by another process.
        VenueError: the exchange refuses.
    """
    deadline = time.monotonic() + config.run.cleanup_timeout_s
    pause_s, attempts = _PAUSE_S, 0
    while True:
        attempts += 1
        try:
            return await _once(config, place, policy, name, symbols, interval, on_system)
        except VenueError as error:
            if not _may_pass(error):
                raise
            _log.warning("the exchange cannot be asked: %s", error)
            if time.monotonic() + pause_s > deadline:
                problem = f"the account could not be asked for: {error}"
                return Cleaned(policy, name, tuple(symbols), (problem,), attempts)
        await asyncio.sleep(pause_s)
        pause_s = min(2.0 * pause_s, _LONGEST_PAUSE_S)


def _may_pass(error: VenueError) -> bool:
    """True for no answer, a limit, or a server's own trouble (HTTP 5xx); False for a no."""
    return isinstance(error, OutcomeUnknown | RateLimited) or error.code >= 500


@contextmanager
def _journal(directory: Path, run_id: str) -> Iterator[AuditLogger]:
    """The journal; where it is broken, a new one in it, with the directory's lease in hand.

    Raises JournalError when another process has the lease, or nothing can be written.
    """
    with ExitStack() as stack:
        try:
            journal = AuditLogger(directory, run_id=run_id, segment_bytes=_SEGMENT_BYTES)
        except JournalError as error:
            if holder_of(directory) is not None:
                raise
            stack.callback(take_directory(directory).release)
            beside = directory / f"cleanup-{run_id}"
            _log.error("%s; what is done now is recorded in %s", error, beside)
            journal = AuditLogger(beside, run_id=run_id, segment_bytes=_SEGMENT_BYTES)
        yield stack.enter_context(journal)


async def _once(
    config: Config,
    place: Place,
    policy: StopPolicy,
    name: str,
    symbols: Sequence[str],
    interval: str,
    on_system: Callable[[TradingSystem], None] | None,
) -> Cleaned:
    run_id, cleaned = new_run_id(), list[Cleaned]()
    patience = config.run
    # realtime: allow RT101 - nothing else runs before the journal is open
    with _journal(Path(config.journal.directory), run_id) as journal:
        async with opened(config, place) as connection:
            system = await network_system(
                connection.venue,
                journal,
                strategy=Strategy(),
                name=name,
                symbols=tuple(symbols) or connection.symbols,
                interval=interval or connection.interval,
                risk=config.risk,
                settings=SystemSettings(
                    run_id=run_id,
                    account=connection.account,
                    on_stop=policy,
                    drain_timeout_s=patience.drain_timeout_s,
                    cleanup=CleanupSettings(
                        timeout_s=patience.cleanup_timeout_s, settle_s=patience.drain_timeout_s
                    ),
                ),
                network=NetworkSettings(only_clean_up=True),
                skip_broken=True,
            )
            system.stop_reason = name
            system.on_cleaned = cleaned.append
            if on_system is not None:
                on_system(system)
            outcome = await system.run()
    if outcome.journal_problem:
        _log.error("%s", outcome.journal_problem)
    return cleaned[-1]
