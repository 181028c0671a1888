"""Market data: candle files, captures, aggregation, problems found, a synthetic market.

What goes over a network is in `candlewick.data.download`.
"""

from candlewick.data.aggregation import Aggregator, aggregate
from candlewick.data.archive import Span, parse_day, spans_of
from candlewick.data.building import CandleBuilder
from candlewick.data.capture import Capture, CaptureRecord, load_capture
from candlewick.data.catalog import Entry, convert, describe, describe_all
from candlewick.data.funding import load_funding
from candlewick.data.instruments import guess_instrument
from candlewick.data.market import Market, load_market, market_of
from candlewick.data.problems import OnProblem, Problem, ProblemKind
from candlewick.data.reading import Loaded, load_candles
from candlewick.data.synthetic import SyntheticMarket, synthetic_market
from candlewick.data.writing import write_candles

__all__ = [
    "Aggregator",
    "CandleBuilder",
    "Capture",
    "CaptureRecord",
    "Entry",
    "Loaded",
    "Market",
    "OnProblem",
    "Problem",
    "ProblemKind",
    "Span",
    "SyntheticMarket",
    "aggregate",
    "convert",
    "describe",
    "describe_all",
    "guess_instrument",
    "load_candles",
    "load_capture",
    "load_funding",
    "load_market",
    "market_of",
    "parse_day",
    "spans_of",
    "synthetic_market",
    "write_candles",
]
