"""What `candlewick doctor` looks at: this machine and its files, and the exchange."""

from candlewick.cli.checks.check import Check, Level
from candlewick.cli.checks.exchange import exchange_checks
from candlewick.cli.checks.machine import machine_checks

__all__ = ["Check", "Level", "exchange_checks", "machine_checks"]
