"""`clean_up`: connect, learn the account, treat positions as a policy says, verify, and leave."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from candlewick.audit import AuditLogger
from candlewick.cli.venues import Place, opened
from candlewick.config import Config
from candlewick.engine import StopPolicy
from candlewick.live import Outcome, SystemSettings
from candlewick.live.assembly import network_system, new_run_id
from candlewick.live.network import NetworkSettings
from candlewick.strategies import Strategy

__all__ = ["clean_up"]

_log = logging.getLogger(__name__)
_SEGMENT_BYTES = 65_536  # a cleanup records little, and may have to do with a nearly full disk


async def clean_up(
    config: Config,
    place: Place,
    policy: StopPolicy,
    *,
    name: str,
    symbols: Sequence[str] = (),
    interval: str = "",
) -> Outcome:
    """Run an engine without a strategy just long enough to clean up.

    It takes the journal's lease, so it never works beside a living engine.

    Raises:
        JournalError: the lease is held by another process.
        VenueError: the exchange refuses, or cannot be reached.
    """
    run_id = new_run_id()
    # realtime: allow RT101 - nothing else runs before the journal is open
    with AuditLogger(
        Path(config.journal.directory), run_id=run_id, segment_bytes=_SEGMENT_BYTES
    ) as journal:
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
                    drain_timeout_s=config.run.drain_timeout_s,
                    cleanup_timeout_s=config.run.cleanup_timeout_s,
                ),
                network=NetworkSettings(only_clean_up=True),
            )
            system.stop_reason = name
            outcome = await system.run()
    if outcome.journal_problem:
        _log.error("%s", outcome.journal_problem)
    return outcome
