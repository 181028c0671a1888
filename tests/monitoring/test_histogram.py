"""`LatencyHistogram` and what it becomes for Prometheus."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from candlewick.monitoring import LatencyHistogram
from candlewick.monitoring.collectors import _buckets

durations = st.lists(st.integers(0, 60_000_000_000), min_size=1, max_size=200)


def filled(values: list[int]) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for value in values:
        histogram.observe(value)
    return histogram


@given(durations)
def test_buckets_cumulate_like_prometheus_counts_them(values: list[int]) -> None:
    """A bound counts what is below it; numpy's counting is the oracle."""
    histogram = filled(values)
    buckets = _buckets(histogram.counts)
    assert buckets[-1] == ("+Inf", len(values))
    for bound, count in buckets[:-1]:
        assert count == np.count_nonzero(np.array(values) < round(float(bound) * 1e9))
    assert histogram.count == len(values)
    assert histogram.sum_ns == sum(values)


@given(durations, st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_bounded_within_a_factor_of_two(values: list[int], fraction: float) -> None:
    exact = int(np.quantile(values, fraction, method="inverted_cdf"))
    found = filled(values).quantile_ns(fraction)
    assert exact <= found <= max(2 * exact - 1, 0)


def test_bounds_are_seconds_from_a_microsecond_to_seventeen() -> None:
    bounds = [float(bound) for bound, _ in _buckets([0] * 64)[:-1]]
    assert bounds[0] == 1_024e-9
    assert bounds[-1] == 17.179869184
    assert all(later == 2 * earlier for earlier, later in pairwise(bounds))
    coarse = [float(bound) for bound, _ in _buckets([0] * 64, 2)[:-1]]
    assert coarse == bounds[::2]


def test_an_empty_histogram_has_no_quantile() -> None:
    assert LatencyHistogram().quantile_ns(0.99) == 0
