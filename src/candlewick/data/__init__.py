"""Market data: candle files, aggregation, problems found in them, a synthetic market."""

from candlewick.data.aggregation import Aggregator, aggregate
from candlewick.data.problems import OnProblem, Problem, ProblemKind
from candlewick.data.reading import Loaded, load_candles, load_funding
from candlewick.data.synthetic import SyntheticMarket, synthetic_market

__all__ = [
    "Aggregator",
    "Loaded",
    "OnProblem",
    "Problem",
    "ProblemKind",
    "SyntheticMarket",
    "aggregate",
    "load_candles",
    "load_funding",
    "synthetic_market",
]
