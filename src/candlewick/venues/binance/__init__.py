"""Binance USDⓈ-M futures: REST, streams, and the venue behind the `Venue` protocol."""

from candlewick.venues.binance.backoff import Backoff
from candlewick.venues.binance.failures import OutcomeUnknown, RateLimited
from candlewick.venues.binance.history import CandleSource, ask_time, candle_source
from candlewick.venues.binance.keys import ApiKeys
from candlewick.venues.binance.settings import BinanceSettings
from candlewick.venues.binance.tally import Malformed, OnMalformed
from candlewick.venues.binance.venue import BinanceVenue
from candlewick.venues.binance.watching import MarketWatcher

__all__ = [
    "ApiKeys",
    "Backoff",
    "BinanceSettings",
    "BinanceVenue",
    "CandleSource",
    "Malformed",
    "MarketWatcher",
    "OnMalformed",
    "OutcomeUnknown",
    "RateLimited",
    "ask_time",
    "candle_source",
]
