"""Client order ids: unique for ever, readable, and within the exchange's alphabet and length."""

from __future__ import annotations

import re

from candlewick.errors import ConfigError
from candlewick.models import OrderPurpose

__all__ = ["PREFIX", "ClientIds", "parse_client_id"]

PREFIX = "cw"
_RUN_ID = re.compile(r"^[a-z0-9]{1,16}$")
_CLIENT_ID = re.compile(r"^cw-([a-z0-9]{1,16})-([0-9]+)-(entry|stop|target|close)$")


_TAILS = {purpose: f"-{purpose}" for purpose in OrderPurpose}


class ClientIds:
    """Makes ``cw-<run>-<sequence>-<purpose>``; at most 36 characters.

    The run id must never be used twice on one account; the sequence counts within the run.
    """

    __slots__ = ("_head", "next_sequence", "run_id")

    def __init__(self, run_id: str) -> None:
        if not _RUN_ID.match(run_id):
            raise ConfigError(f"run id {run_id!r} must be 1 to 16 of a-z and 0-9")
        self.run_id = run_id
        self.next_sequence = 1
        self._head = f"{PREFIX}-{run_id}-"

    def make(self, purpose: OrderPurpose) -> str:
        """Return the next id."""
        sequence = self.next_sequence
        self.next_sequence = sequence + 1
        # a format with a width takes twice as long
        return f"{self._head}{str(sequence).zfill(6)}{_TAILS[purpose]}"


def parse_client_id(client_id: str) -> tuple[str, int, OrderPurpose] | None:
    """Return (run id, sequence, purpose), or None for an id that is not ours."""
    match = _CLIENT_ID.match(client_id)
    if match is None:
        return None
    return match[1], int(match[2]), OrderPurpose(match[3])
