"""Inference for a mean of credit, such as accuracy.

If items are independent and each is right or wrong, a value has Wilson's interval, and a difference has Tango's test
with the interval that inverts it, whose far end is at least the exact binomial one (`equivalence_interval`). If items
share clusters or credit is fractional, a value has Wilson's interval with the effective number of items, and a
difference has the sign-flip test over clusters with the interval that inverts it.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from mlprune.evaluation.inference.estimates import LEVEL, NARROW_LEVEL, Difference, MetricValue, finite
from mlprune.evaluation.inference.samples import PairedSample, Sample, flips_of
from mlprune.evaluation.task_metrics import Metric
from mlprune.numeric.statistics.clusters import Array, ratio_estimate
from mlprune.numeric.statistics.equivalence import equivalence_interval
from mlprune.numeric.statistics.paired_proportions import mcnemar_mid_p, tango_p_value
from mlprune.numeric.statistics.power import (
    detectable_difference,
    detectable_difference_of_items,
    smallest_significant_difference,
)
from mlprune.numeric.statistics.proportions import effective_size, wilson_interval
from mlprune.numeric.statistics.sign_flips import sign_flip_test

LEAST_FLIPPED_CLUSTERS = 6
"""Clusters that have to change in one direction for p < 0.05 in a sign-flip test: 2 / 2^6 = 0.03."""


class CreditInference:
    """Inference for metrics whose statistics are an item's credit in [0, 1], and 1."""

    def measure(self, metrics: Sequence[Metric], sample: Sample) -> list[MetricValue]:
        """Return one value per metric."""
        return [_measured(sample)] * len(metrics)

    def compare(self, metrics: Sequence[Metric], pair: PairedSample) -> list[Difference]:
        """Return one difference per metric."""
        return [_compared(pair)] * len(metrics)


def _measured(sample: Sample) -> MetricValue:
    credit = sample.statistics[:, 0]
    value = float(credit.mean())
    is_plain = sample.is_independent and _is_binary(credit)
    n = float(sample.n) if is_plain else effective_size(credit, sample.codes)
    interval = wilson_interval(value * n, n)
    error = finite(ratio_estimate(*sample.sums.T).standard_error)
    return MetricValue(
        value, interval, "wilson" if is_plain else "wilson_effective", error, sample.n, sample.n_clusters
    )


def _compared(pair: PairedSample) -> Difference:
    ours, theirs = pair.first.statistics[:, 0], pair.second.statistics[:, 0]
    n, n_clusters = pair.first.n, pair.first.n_clusters
    n_gained, n_lost = int((ours > theirs).sum()), int((ours < theirs).sum())
    is_binary = _is_binary(ours) and _is_binary(theirs)
    contributions, sizes = credit_parts(pair.first.sums, pair.second.sums)
    estimate = ratio_estimate(contributions, sizes)
    if is_binary and pair.first.is_independent:
        method: Literal["tango", "sign_flip"] = "tango"
        levels = (LEVEL, NARROW_LEVEL)
        interval, narrow = (equivalence_interval(n_gained, n_lost, n, level=level) for level in levels)
        p_value = tango_p_value(n_gained, n_lost, n)
        smallest = smallest_significant_difference(n, test="tango")
        detectable = _detectable_by_items(n, n_gained + n_lost)
    else:
        result = sign_flip_test(contributions, sizes, flips_of(n_clusters))
        method, interval, narrow, p_value = "sign_flip", result.interval, result.interval90, result.p_value
        smallest = LEAST_FLIPPED_CLUSTERS / n if n_clusters >= LEAST_FLIPPED_CLUSTERS else None
        detectable = detectable_difference(estimate.standard_error) if finite(estimate.standard_error) else None
    return Difference(
        difference=float(ours.mean() - theirs.mean()),
        interval=interval,
        interval90=narrow,
        method=method,
        p_value=p_value,
        test=method,
        standard_error=finite(estimate.standard_error),
        n=n,
        n_clusters=n_clusters,
        p_mid_mcnemar=mcnemar_mid_p(n_gained, n_lost) if is_binary else None,
        n_gained=n_gained,
        n_lost=n_lost,
        smallest_significant=smallest,
        detectable_difference=detectable,
    )


def credit_parts(first: Array, second: Array) -> tuple[Array, Array]:
    """Return each cluster's difference of credit, and its items, both [C]; the ratio of the sums is the difference.

    Args:
        first: [C, 2], credit and number of items of the clusters.
        second: [C, 2].
    """
    return first[:, 0] - second[:, 0], second[:, 1]


@lru_cache(maxsize=4096)
def _detectable_by_items(n: int, n_discordant: int) -> float | None:
    return detectable_difference_of_items(n, n_discordant / n, test="tango")


def _is_binary(credit: Array) -> bool:
    return bool(((credit == 0) | (credit == 1)).all())
