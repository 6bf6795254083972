"""Bootstrap: values of metrics with their intervals, and paired differences.

Every metric is a function of sums of per-example statistics, so one bootstrap serves all metrics. A resample is a row
of counts, one per example. Counts times statistics are the sums from which the metric is computed.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from mlprune.errors import ShapeError
from mlprune.evaluation.task_metrics import Metric
from mlprune.numeric.evaluation.metrics import Array
from mlprune.numeric.evaluation.significance import (
    mcnemar_exact,
    normal_p_value,
    percentile_interval,
    resampled_indices,
)

N_RESAMPLES = 1000
SEED = 0


class HasExamples(Protocol):
    """Predictions of any task."""

    @property
    def example_ids(self) -> tuple[str, ...]:
        """Ids of the examples, in order."""
        ...


@dataclass(frozen=True)
class MetricValue:
    """A value with its 95 % bootstrap interval."""

    value: float
    ci_low: float
    ci_high: float
    n: int
    """Examples."""


@dataclass(frozen=True)
class Difference:
    """Difference of a metric between two predictions: first minus second."""

    difference: float
    ci_low: float
    ci_high: float
    p_value: float


def measure(metric: Metric, predictions: HasExamples) -> MetricValue:
    """Compute a metric with a percentile interval over 1,000 resamples (seed 0).

    Raises:
        BadInputError: the predictions have no examples.
        PermanentError: a value is not finite.
    """
    counts = _counts(len(predictions.example_ids))
    statistics = metric.statistics(predictions)
    low, high = percentile_interval(metric.value(_resampled_sums(counts, statistics)))
    return MetricValue(_value(metric, statistics), low, high, len(statistics))


def compare(metric: Metric, first: HasExamples, second: HasExamples) -> Difference:
    """Compute the paired difference first - second: each resample draws the same examples for both.

    The p-value is that of the exact McNemar test on right answers for accuracy (a shared tie is not a right answer),
    and two-sided normal with the standard deviation of the resampled differences for other metrics.

    Raises:
        ShapeError: the two predictions are not about the same examples in the same order.
        BadInputError: the predictions have no examples.
        PermanentError: a value is not finite.
    """
    _check_same_examples(first.example_ids, second.example_ids)
    counts = _counts(len(first.example_ids))
    a, b = metric.statistics(first), metric.statistics(second)
    difference = _value(metric, a) - _value(metric, b)
    resampled = metric.value(_resampled_sums(counts, a)) - metric.value(_resampled_sums(counts, b))
    low, high = percentile_interval(resampled)
    if metric.is_credit:
        p_value = mcnemar_exact(a[:, 0] == 1.0, b[:, 0] == 1.0)
    else:
        p_value = normal_p_value(difference, float(resampled.std()))
    return Difference(difference, low, high, p_value)


def _value(metric: Metric, statistics: Array) -> float:
    return float(metric.value(statistics.sum(axis=0)))


def _resampled_sums(counts: Array, statistics: Array) -> Array:
    """[n_resamples, k] sums of [n, k] statistics. einsum adds in the same order for any number of threads."""
    return np.asarray(np.einsum("rn,kn->rk", counts, np.ascontiguousarray(statistics.T)))


@lru_cache(maxsize=2)
def _counts(n: int) -> Array:
    """[n_resamples, n] number of times that each resample draws each example."""
    indices = resampled_indices(n, n_resamples=N_RESAMPLES, seed=SEED)
    return np.stack([np.bincount(drawn, minlength=n) for drawn in indices]).astype(np.float64)


def _check_same_examples(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    if first == second:
        return
    pairs = enumerate(zip(first, second, strict=False))
    index = next((index for index, (a, b) in pairs if a != b), min(len(first), len(second)))
    expected, got = (ids[index] if index < len(ids) else "no more examples" for ids in (first, second))
    raise ShapeError("predictions are about different examples", index=index, expected=expected, got=got)
