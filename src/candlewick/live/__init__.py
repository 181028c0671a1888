"""The running system: wiring, start, supervision, shutdown."""

from candlewick.live.observation import observed
from candlewick.live.status import PositionStatus, Status
from candlewick.live.system import Outcome, SystemSettings, TradingSystem

__all__ = ["Outcome", "PositionStatus", "Status", "SystemSettings", "TradingSystem", "observed"]
