"""Print the digest of a synthetic market; run by the tests in processes of their own."""

from __future__ import annotations

import hashlib
import sys

from candlewick.data import synthetic_market
from candlewick.models import CandleTable

COLUMNS = ("open_time", "open", "high", "low", "close", "volume", "close_time")


def digest(tables: list[CandleTable]) -> str:
    """SHA-256 over names and bytes of all columns."""
    found = hashlib.sha256()
    for table in tables:
        found.update(f"{table.symbol} {table.interval} {len(table)}".encode())
        for name in COLUMNS:
            found.update(getattr(table, name).tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    print(digest(synthetic_market(["BTCUSDT", "ETHUSDT"], "1m", 3_000, int(sys.argv[1]))))
