"""Paper trading: the live market of an exchange, and an account in this process."""

from candlewick.venues.paper.venue import PaperVenue

__all__ = ["PaperVenue"]
