"""The audit journal: write it, read it, verify it."""

from candlewick.audit.anchoring import Anchor, anchors_of, read_anchors
from candlewick.audit.archiving import Archived, archive
from candlewick.audit.chain import Record
from candlewick.audit.describing import describe
from candlewick.audit.events import EventType, JournalState
from candlewick.audit.export import export_parquet
from candlewick.audit.lock import Holder, holder_of, take_directory
from candlewick.audit.logger import AuditLogger
from candlewick.audit.query import JournalSummary, summarize
from candlewick.audit.reading import Filter, follow, read
from candlewick.audit.stats import JournalStats
from candlewick.audit.story import OrderStory, RelatedOrder, Step, order_story
from candlewick.audit.verification import Problem, ProblemKind, Verification, verify

__all__ = [
    "Anchor",
    "Archived",
    "AuditLogger",
    "EventType",
    "Filter",
    "Holder",
    "JournalState",
    "JournalStats",
    "JournalSummary",
    "OrderStory",
    "Problem",
    "ProblemKind",
    "Record",
    "RelatedOrder",
    "Step",
    "Verification",
    "anchors_of",
    "archive",
    "describe",
    "export_parquet",
    "follow",
    "holder_of",
    "order_story",
    "read",
    "read_anchors",
    "summarize",
    "take_directory",
    "verify",
]
