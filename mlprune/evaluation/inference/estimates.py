"""Samples of a metric and results of inference: a value, a difference, and the chance level."""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import ShapeError
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.task_metrics import Metric
from mlprune.json_values import JsonValue
from mlprune.numeric.arrays import Array
from mlprune.numeric.evaluation.metrics import guess_credit
from mlprune.numeric.statistics.bootstrap import cluster_resamples
from mlprune.numeric.statistics.clusters import Interval, cluster_codes, cluster_sums
from mlprune.numeric.statistics.proportions import chance_p_value
from mlprune.numeric.statistics.sign_flips import sign_flips
from mlprune.vocabulary import Scale

SEED = 0
LEVEL, NARROW_LEVEL = 0.95, 0.90
"""Coverage of all intervals, and of those whose ends are one-sided tests at 5 %. Both have the same rule and nest."""
SIGNIFICANCE = 0.05
"""Level of all tests. 1 - LEVEL is greater than 0.05 in floating point, so p = 0.05 would be below it."""
IntervalName = Literal[
    "wilson",
    "wilson_effective",
    "log_t",
    "log_bootstrap_t",
    "t",
    "bootstrap_t",
    "bca",
    "debiased",
    "score",
    "tango",
    "sign_flip",
    "minima",
]
TestName = Literal["tango", "sign_flip", "randomization", "minima"]


class HasItems(Protocol):
    """Predictions of any task."""

    @property
    def example_ids(self) -> tuple[str, ...]:
        """Ids of the items, in order."""
        ...

    @property
    def item_keys(self) -> tuple[tuple[str, int], ...]:
        """Id and index of the right candidate of each item: the same id with another answer is another item."""
        ...

    @property
    def clusters(self) -> tuple[str, ...]:
        """Cluster of each item."""
        ...


@dataclass(frozen=True)
class Sample:
    """Statistics of one evaluation."""

    statistics: Array
    """[n, k], one row per item."""
    codes: NDArray[np.int64]
    """[n], cluster of each item, numbered in the order of their first items."""

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.codes)

    @cached_property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return int(self.codes.max()) + 1

    @property
    def is_independent(self) -> bool:
        """Whether every item is a cluster of its own."""
        return self.n_clusters == self.n

    @cached_property
    def sums(self) -> Array:
        """[n_clusters, k] sums of the statistics over each cluster."""
        return cluster_sums(self.statistics, self.codes)

    @cached_property
    def total(self) -> Array:
        """[k] sums over all items."""
        return np.asarray(self.statistics.sum(axis=0))


@dataclass(frozen=True)
class PairedSample:
    """Statistics of two evaluations of the same items."""

    first: Sample
    second: Sample


def sample_of(metric: Metric, predictions: HasItems) -> Sample:
    """Return the statistics of a metric.

    Raises:
        ShapeError: the predictions have no items.
    """
    if not predictions.example_ids:
        raise ShapeError("a metric needs items", metric=metric.name, expected="at least 1", got=0)
    return Sample(metric.statistics(predictions), cluster_codes(predictions.clusters))


def paired_sample(metric: Metric, first: HasItems, second: HasItems) -> PairedSample:
    """Return the statistics of a metric for two evaluations. Clusters are those of the first.

    Raises:
        ShapeError: the two are not about the same items in the same order, or there are none.
    """
    check_same_items(first, second)
    sample = sample_of(metric, first)
    return PairedSample(sample, Sample(metric.statistics(second), sample.codes))


def check_same_items(first: HasItems, second: HasItems) -> None:
    """Refuse evaluations of different items.

    Raises:
        ShapeError: the ids or the right candidates differ.
    """
    keys = (first.item_keys, second.item_keys)
    if keys[0] == keys[1]:
        return
    pairs = enumerate(zip(*keys, strict=False))
    index = next((index for index, (a, b) in pairs if a != b), min(map(len, keys)))
    expected, got = (_item_name(of_side, index) for of_side in keys)
    raise ShapeError("predictions are about different examples", index=index, expected=expected, got=got)


def _item_name(keys: tuple[tuple[str, int], ...], index: int) -> str:
    if index >= len(keys):
        return "no more examples"
    name, gold = keys[index]
    return f"{name}, candidate {gold} is right"


@lru_cache(maxsize=2)
def flips_of(n_clusters: int) -> NDArray[np.int8]:
    """Return the sign vectors for a number of clusters, [K, n_clusters]: 9,999 random ones after the observed one."""
    return sign_flips(n_clusters, seed=SEED)


@lru_cache(maxsize=2)
def resamples_of(n_clusters: int) -> NDArray[np.uint16]:
    """Return the resamples for a number of clusters, [1999, n_clusters] counts."""
    return cluster_resamples(n_clusters, seed=SEED)


@dataclass(frozen=True)
class MetricValue:
    """A value with its 95 % interval."""

    value: float
    interval: Interval | None
    """None for the perplexity of a single cluster."""
    method: IntervalName
    standard_error: float | None
    """Of `value`; None for a single cluster."""
    n: int
    """Items."""
    n_clusters: int


@dataclass(frozen=True, kw_only=True)
class TestedDifference:
    """A paired difference, first minus second, with its test; untested only if nothing asks for the metric."""

    difference: float
    scale: Scale = "difference"
    interval: Interval
    interval90: Interval
    """90 % interval by the same rule, inside `interval`."""
    method: IntervalName
    p_value: float | None
    """Two-sided; None without a test."""
    test: TestName | None
    standard_error: float | None
    """None for a single cluster."""
    n_items: int
    n_clusters: int

    @property
    def interval_contradicts_p(self) -> bool | None:
        """Whether the interval and the test disagree about a difference of 0; None without a test."""
        return None if self.p_value is None else contradicts(self.interval, self.p_value)

    @property
    def columns(self) -> dict[str, JsonValue]:
        """Columns of the catalog on the difference, both intervals and the test."""
        return {
            "difference": self.difference,
            "scale": self.scale,
            **estimate_columns(self),
            **interval_columns("ci90", self.interval90),
            "p_value": self.p_value,
            "test": self.test,
            "interval_contradicts_p": self.interval_contradicts_p,
        }


@dataclass(frozen=True, kw_only=True)
class Difference(TestedDifference):
    """The difference of two evaluations of the same items."""

    p_mid_mcnemar: float | None = None
    """Mid-p-value of McNemar's test, which takes the items as independent; None unless all credit is 0 or 1."""
    n_gained: int | None = None
    """Items with more credit in the first evaluation; None if items have no credit."""
    n_lost: int | None = None


def contradicts(interval: Interval, p_value: float) -> bool:
    """Return whether an interval and a p-value disagree: p < 0.05 with 0 inside the interval, or the opposite.

    An interval that ends at 0 agrees with both: it excludes 0 if p < 0.05. One without width has no inside.
    """
    if p_value < SIGNIFICANCE:
        return interval.low < 0 < interval.high or interval.low == interval.high == 0
    return not interval.contains(0.0)


def finite(value: float) -> float | None:
    """Return a number unless it is infinite."""
    return value if math.isfinite(value) else None


def interval_columns(name: str, interval: Interval | None) -> dict[str, JsonValue]:
    """Return the columns `{name}_low` and `{name}_high` of the catalog; null without an interval, or for infinity."""
    low, high = (None, None) if interval is None else (finite(interval.low), finite(interval.high))
    return {f"{name}_low": low, f"{name}_high": high}


class HasInterval(Protocol):
    """A value or a difference with its 95 % interval."""

    @property
    def interval(self) -> Interval | None:
        """The interval; None if it would have no width or cannot be computed."""
        ...

    @property
    def method(self) -> str:
        """The rule of the interval."""
        ...

    @property
    def standard_error(self) -> float | None:
        """The standard error; None for a single cluster."""
        ...

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        ...


def estimate_columns(estimate: HasInterval) -> dict[str, JsonValue]:
    """Return the columns of the catalog that all estimates have: interval, its rule, standard error, clusters."""
    return {
        **interval_columns("ci", estimate.interval),
        "interval": estimate.method,
        "standard_error": estimate.standard_error,
        "n_clusters": estimate.n_clusters,
    }


@dataclass(frozen=True)
class Chance:
    """The accuracy of guessing, and the test against it."""

    value: float
    p_value: float
    """One-sided: the accuracy is not above chance."""


def chance_of(metric: Metric, predictions: object) -> Chance | None:
    """Return the chance level of an accuracy; None for other metrics.

    It is the mean over items of 1 / number of candidates. If all items have the same candidates, always answering with
    the same one is as good as its share, so chance is the share of the most frequent right candidate.
    """
    if metric.name != "accuracy" or not isinstance(predictions, Predictions):
        return None
    chances = chances_of(predictions)
    credit = metric.statistics(predictions)[:, 0]
    p_value = chance_p_value(credit, chances, cluster_codes(predictions.clusters))
    return Chance(float(chances.mean()), p_value)


def chances_of(predictions: Predictions) -> Array:
    """Return the credit that guessing is expected to have on each item, [n]."""
    sizes = np.diff(predictions.starts)
    first = predictions.candidates[: int(sizes[0])]
    return guess_credit(sizes, predictions.gold, labelled=predictions.candidates == first * len(sizes))


def limit_reached(metric: Metric, value: MetricValue, chance: Chance | None) -> str | None:
    """Return `floor` if a value is not significantly above chance, `ceiling` if its interval reaches the best value."""
    if chance is not None and chance.p_value >= SIGNIFICANCE:
        return "floor"
    best = metric.best
    if best is not None and value.interval is not None and value.interval.contains(best):
        return "ceiling"
    return None
