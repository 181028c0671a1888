"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# a busy machine is no failure: the time limit of the test is the only one
settings.register_profile(
    "candlewick", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # fmt: skip
settings.load_profile("candlewick")

_CANDIDATES = (
    os.environ.get("CANDLEWICK_SHARED", ""),
    str(Path(__file__).parents[2] / "shared"),
)


def _shared() -> Path | None:
    for candidate in filter(None, _CANDIDATES):
        if (Path(candidate) / "data" / "README.md").is_file():
            return Path(candidate)
    return None


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with recorded market data and exchange messages."""
    found = _shared()
    if found is None:
        pytest.skip("no recorded data: put it in ../shared or name it in CANDLEWICK_SHARED")
    return found


@pytest.fixture(scope="session")
def btc_month(shared_dir: Path) -> Path:
    """BTCUSDT perpetual, one month of one-minute candles: 45,031 of them, without gaps."""
    return shared_dir / "data" / "btc-perp-1m-2022-01.csv.gz"


@pytest.fixture(scope="session")
def ten_pairs(shared_dir: Path) -> list[Path]:
    """Ten pairs against BTC, January 2018, five-minute candles, some with gaps."""
    return sorted((shared_dir / "data").glob("*btc-5m-2018-01.csv.gz"))
