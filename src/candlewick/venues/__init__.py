"""Venues: where orders go. All of them look the same to the engine."""

from candlewick.venues.base import Publish, Venue
from candlewick.venues.simulated import SimulatedVenue

__all__ = ["Publish", "SimulatedVenue", "Venue"]
