"""Samples: the statistics of a metric for each item and cluster, and the random draws that all evaluations share."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import ShapeError
from mlprune.evaluation.task_metrics import Metric
from mlprune.numeric.statistics.bootstrap import cluster_resamples
from mlprune.numeric.statistics.clusters import Array, cluster_codes, cluster_sums
from mlprune.numeric.statistics.sign_flips import sign_flips

SEED = 0


class HasItems(Protocol):
    """Predictions of any task."""

    @property
    def example_ids(self) -> tuple[str, ...]:
        """Ids of the items, in order."""
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
    check_same_items(first.example_ids, second.example_ids)
    sample = sample_of(metric, first)
    return PairedSample(sample, Sample(metric.statistics(second), sample.codes))


def check_same_items(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    """Refuse evaluations of different items.

    Raises:
        ShapeError: the ids differ.
    """
    if first == second:
        return
    pairs = enumerate(zip(first, second, strict=False))
    index = next((index for index, (a, b) in pairs if a != b), min(len(first), len(second)))
    expected, got = (ids[index] if index < len(ids) else "no more examples" for ids in (first, second))
    raise ShapeError("predictions are about different examples", index=index, expected=expected, got=got)


@lru_cache(maxsize=2)
def flips_of(n_clusters: int) -> NDArray[np.int8]:
    """Return the sign vectors for a number of clusters, [K, n_clusters]: 9,999 random ones after the observed one."""
    return sign_flips(n_clusters, seed=SEED)


@lru_cache(maxsize=2)
def resamples_of(n_clusters: int) -> NDArray[np.uint16]:
    """Return the resamples for a number of clusters, [1999, n_clusters] counts."""
    return cluster_resamples(n_clusters, seed=SEED)
