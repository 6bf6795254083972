"""Values of metrics with their intervals, and the comparison of two.

Every metric is a function of per-example statistics added up, so one bootstrap serves all: a resample is a row of
counts, how often each example was drawn, and counts times statistics are the sums the metric is computed from.
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
    """Predictions of any kind."""

    @property
    def example_ids(self) -> tuple[str, ...]:
        """What was predicted on, in order."""
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
    """How much higher a metric is for the first predictions than for the second."""

    difference: float
    ci_low: float
    ci_high: float
    p_value: float


def measure(metric: Metric, predictions: HasExamples) -> MetricValue:
    """A metric with a percentile interval over 1,000 resamples (seed 0).

    Raises:
        BadInputError: there are no examples.
        PermanentError: a value is not finite.
    """
    counts = _counts(len(predictions.example_ids))
    statistics = metric.statistics(predictions)
    low, high = percentile_interval(metric.value(_resampled_sums(counts, statistics)))
    return MetricValue(_value(metric, statistics), low, high, len(statistics))


def compare(metric: Metric, first: HasExamples, second: HasExamples) -> Difference:
    """The paired difference first - second: resamples draw the same examples for both.

    p-value: exact McNemar on right answers for accuracy (a shared tie is no right answer), else two-sided normal with
    the standard deviation of the resampled differences.

    Raises:
        ShapeError: the two are not about the same examples in the same order.
        BadInputError: there are no examples.
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
    """[n_resamples, k] sums of [n, k] statistics; einsum adds in one order whatever the number of threads."""
    return np.asarray(np.einsum("rn,kn->rk", counts, np.ascontiguousarray(statistics.T)))


@lru_cache(maxsize=2)
def _counts(n: int) -> Array:
    """[n_resamples, n] how often each resample draws each example."""
    indices = resampled_indices(n, n_resamples=N_RESAMPLES, seed=SEED)
    return np.stack([np.bincount(drawn, minlength=n) for drawn in indices]).astype(np.float64)


def _check_same_examples(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    if first == second:
        return
    place = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    expected, got = (ids[place] if place < len(ids) else "no more examples" for ids in (first, second))
    raise ShapeError("predictions are about different examples", place=place, expected=expected, got=got)
