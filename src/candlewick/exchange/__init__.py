"""The simulated exchange: matching, margin, fees, funding, liquidation. Pure, driven by events."""

from candlewick.exchange.account import Report, SimulatedExchange
from candlewick.exchange.resuming import AccountState, resume
from candlewick.exchange.settings import ExchangeSettings, MarginType

__all__ = [
    "AccountState",
    "ExchangeSettings",
    "MarginType",
    "Report",
    "SimulatedExchange",
    "resume",
]
