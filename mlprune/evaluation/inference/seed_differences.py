"""Differences of variants with different seeds to one baseline: their mean, and the parts of seeds and items in it.

The mean is over the seeds and, for a group, over its languages. Its interval is for other seeds and other items.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlprune.evaluation.inference.estimates import Scale
from mlprune.evaluation.inference.language_groups import LanguageGroup
from mlprune.evaluation.inference.language_sums import LanguageSums
from mlprune.numeric.statistics.bootstrap import NOISE, percentile_interval
from mlprune.numeric.statistics.clusters import Array
from mlprune.numeric.statistics.interval import Interval
from mlprune.numeric.statistics.variance_components import (
    ENOUGH_SEEDS,
    crossed_estimate,
    deviation_interval,
    language_component,
    pseudo_values,
    two_way_resamples,
    variance_components,
)

SeedIntervalName = Literal["t", "two_way_bootstrap"]


@dataclass(frozen=True)
class SeedDifference:
    """The mean difference of several seeds to a baseline."""

    n_seeds: int
    n_items: int
    n_clusters: int
    difference: float
    scale: Scale
    interval: Interval | None
    """None if neither seeds nor items vary: it would have no width."""
    method: SeedIntervalName
    standard_error: float
    bootstrap: Interval | None
    """Percentile interval of the two-way bootstrap, as a check where `interval` is another one; None as above."""
    seed_variance: float
    """Variance of the difference over seeds if there were infinitely many items."""
    item_variance: float
    """Variance of the difference of one seed over samples of items."""
    language_variance: float | None
    """Variance of the true differences over languages; None for one language."""
    deviation: float
    """Standard deviation of the seeds' differences."""
    deviation_interval: Interval | None
    """None for a deviation of 0: a few equal values do not show that other seeds are equal."""

    @property
    def seed_share(self) -> float | None:
        """Share of the seed in the variance of the difference of one seed; None without any variance."""
        total = self.seed_variance + self.item_variance
        return self.seed_variance / total if total > 0 else None


def seed_difference(seeds: Sequence[LanguageSums], group: LanguageGroup) -> SeedDifference | None:
    """Return the mean difference of a group of languages; None for a single cluster of items.

    Below ten seeds the interval is that of `crossed_estimate`, over the jackknife's pseudo-values of clusters; from ten
    on it is the percentile interval of the two-way bootstrap, with 1,999 resamples of clusters (seed 0) and of seeds
    (seed 1).

    Args:
        seeds: the sums of at least two seeds, with the same items and baseline.
    Raises:
        PermanentError: a value is not finite.
    """
    first = seeds[0]
    indices = [first.languages.index(name) for name in group.languages]
    clusters = np.asarray(first.n_per_cluster[:, indices].any(axis=1))
    if clusters.sum() < 2:
        return None
    table = np.stack([_pseudo_values(sums, indices, clusters) for sums in seeds])
    values = table.mean(axis=1)
    estimate, components = crossed_estimate(values), variance_components(values)
    bootstrap = percentile_interval(two_way_resamples(_resampled(seeds, indices)))
    has_many = len(seeds) >= ENOUGH_SEEDS
    differences = np.array([_differences(sums)[indices].mean() for sums in seeds])
    deviation = float(differences.std(ddof=1))
    deviation = deviation if deviation > NOISE else 0.0
    interval = bootstrap if has_many else _centred(estimate.interval(), float(differences.mean()) - estimate.value)
    return SeedDifference(
        n_seeds=len(seeds),
        n_items=len(frozenset().union(*(first.items[index] for index in indices))),
        n_clusters=int(clusters.sum()),
        difference=float(differences.mean()),
        scale="log_ratio" if first.metric.inference == "log_likelihood" else "difference",
        interval=_with_width(interval),
        method="two_way_bootstrap" if has_many else "t",
        standard_error=estimate.standard_error,
        bootstrap=_with_width(bootstrap),
        seed_variance=components.seed,
        item_variance=(components.item + components.residual) / values.shape[1],
        language_variance=language_component(table) if len(indices) > 1 else None,
        deviation=deviation,
        deviation_interval=deviation_interval(deviation, len(seeds)) if deviation > 0 else None,
    )


def _with_width(interval: Interval) -> Interval | None:
    """Return an interval unless its width is a rounding error."""
    return interval if interval.width > NOISE else None


def _differences(sums: LanguageSums) -> Array:
    """[languages]."""
    return np.asarray(sums.observed.first - sums.observed.second)


def _pseudo_values(sums: LanguageSums, indices: Sequence[int], clusters: NDArray[np.bool_]) -> Array:
    """[languages, C] pseudo-values of the difference for the clusters of these languages."""
    left_out = (sums.left_out.first - sums.left_out.second)[clusters]
    return np.stack([pseudo_values(_differences(sums)[index], left_out[:, index]) for index in indices])


def _resampled(seeds: Sequence[LanguageSums], indices: Sequence[int]) -> Array:
    """[R, seeds] mean over languages of the resampled differences."""
    parts = [(sums.resampled.first - sums.resampled.second)[:, indices].mean(axis=1) for sums in seeds]
    return np.stack(parts, axis=1)


def _centred(interval: Interval, shift: float) -> Interval:
    """Move an interval from the mean of the pseudo-values to the difference."""
    return Interval(interval.low + shift, interval.high + shift)
