"""Risk: sizing from the stop distance, limits, halts, and the codes of what is denied."""

from candlewick.risk.denials import Denial, DenialCode
from candlewick.risk.guardrails import Guardrails
from candlewick.risk.settings import RiskSettings
from candlewick.risk.sizing import Exposure, Sized, size_entry, trail_of

__all__ = [
    "Denial",
    "DenialCode",
    "Exposure",
    "Guardrails",
    "RiskSettings",
    "Sized",
    "size_entry",
    "trail_of",
]
