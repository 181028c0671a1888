"""The audit journal: write it, read it, verify it."""

from candlewick.audit.events import EventType, JournalState
from candlewick.audit.logger import AuditLogger
from candlewick.audit.stats import JournalStats

__all__ = ["AuditLogger", "EventType", "JournalState", "JournalStats"]
