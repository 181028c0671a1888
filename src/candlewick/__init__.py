"""Candlewick: an event-driven engine that trades crypto perpetual futures."""

from candlewick.__about__ import __version__

__all__ = ["__version__"]
