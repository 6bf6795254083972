"""Inference for any function of summed statistics: BLEU, chrF, precision, recall and F1.

Intervals are BCa intervals of a bootstrap over clusters, paired for differences. p-values are those of approximate
randomisation: the outputs of the two evaluations are exchanged for whole clusters, at random. The two procedures may
disagree near p = 0.05. Metrics with equal statistics share the sums.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from mlprune.evaluation.inference.estimates import LEVEL, NARROW_LEVEL, Difference, IntervalName, MetricValue
from mlprune.evaluation.inference.samples import PairedSample, Sample, flips_of, resamples_of
from mlprune.evaluation.task_metrics import Metric
from mlprune.numeric.statistics.bootstrap import (
    NOISE,
    bca_interval,
    is_constant,
    leave_one_out_sums,
    resampled_sums,
)
from mlprune.numeric.statistics.cluster_score import boundary_interval
from mlprune.numeric.statistics.clusters import Array
from mlprune.numeric.statistics.interval import Interval
from mlprune.numeric.statistics.power import detectable_difference
from mlprune.numeric.statistics.randomization import swap_p_value, swapped_differences
from mlprune.numeric.statistics.sign_flips import sign_flip_test

LEVELS = (LEVEL, NARROW_LEVEL)
Intervals = tuple[Interval, Interval]
"""Intervals of one difference at 95 % and at 90 %."""


class ResampledInference:
    """Inference for metrics in [least, 1] that are computed from sums of statistics."""

    method: IntervalName = "bca"

    def measure(self, metrics: Sequence[Metric], sample: Sample) -> list[MetricValue]:
        """Return one value per metric."""
        sums = resampled_sums(resamples_of(sample.n_clusters), sample.sums)
        return [self._measured(metric, sample, sums) for metric in metrics]

    def compare(self, metrics: Sequence[Metric], pair: PairedSample) -> list[Difference]:
        """Return one difference per metric."""
        first, second = pair.first, pair.second
        flips, counts = flips_of(first.n_clusters), resamples_of(first.n_clusters)
        swapped = swapped_differences(first.sums, second.sums, partial(_values, metrics), flips=flips)
        sums = np.split(resampled_sums(counts, np.hstack([first.sums, second.sums])), 2, axis=1)
        return [self._compared(metric, pair, sums, swapped=swapped[:, index]) for index, metric in enumerate(metrics)]

    def value_interval(self, metric: Metric, sample: Sample, *, sums: Array, resampled: Array) -> Interval:
        """Return the interval of a metric whose resampled values differ.

        Args:
            sums: [R, k] sums of statistics of each resample.
            resampled: [R] the metric of each resample.
        """
        left_out = metric.value(leave_one_out_sums(sample.sums))
        return bca_interval(resampled, float(metric.value(sample.total)), left_out)

    def difference_intervals(
        self, metric: Metric, pair: PairedSample, *, sums: Sequence[Array], resampled: Array
    ) -> Intervals:
        """Return the intervals of a difference whose resampled values differ; `sums` are those of both evaluations."""
        left_out = [metric.value(leave_one_out_sums(sample.sums)) for sample in (pair.first, pair.second)]
        without = left_out[0] - left_out[1]
        wide, narrow = (bca_interval(resampled, _difference(metric, pair), without, level=level) for level in LEVELS)
        return wide, narrow

    def _measured(self, metric: Metric, sample: Sample, sums: Array) -> MetricValue:
        value, method, resampled = float(metric.value(sample.total)), self.method, metric.value(sums)
        if is_constant(resampled):
            method = "score"
            interval = boundary_interval(value, np.ones(sample.n_clusters), least=metric.least, greatest=1.0)
        else:
            interval = _within(self.value_interval(metric, sample, sums=sums, resampled=resampled), metric.least)
        error = float(resampled.std(ddof=1)) if sample.n_clusters > 1 else None
        return MetricValue(value, interval, method, error, sample.n, sample.n_clusters)

    def _compared(self, metric: Metric, pair: PairedSample, sums: Sequence[Array], *, swapped: Array) -> Difference:
        first, value, method = pair.first, _difference(metric, pair), self.method
        resampled = metric.value(sums[0]) - metric.value(sums[1])
        bound = 1.0 - metric.least
        if is_constant(resampled):
            (wide, narrow), method = unvaried_intervals(value, first.n_clusters, bound=bound), "score"
        else:
            wide, narrow = self.difference_intervals(metric, pair, sums=sums, resampled=resampled)
        error = float(resampled.std(ddof=1)) if first.n_clusters > 1 else None
        return Difference(
            difference=value,
            interval=_within(wide, -bound, bound),
            interval90=_within(narrow, -bound, bound),
            method=method,
            p_value=swap_p_value(swapped),
            test="randomization",
            standard_error=error,
            n=first.n,
            n_clusters=first.n_clusters,
            detectable_difference=detectable_difference(error) if error else None,
        )


def unvaried_intervals(difference: float, n_clusters: int, *, bound: float = 1.0) -> Intervals:
    """Return the intervals of a difference in [-bound, bound] that is the same in all resamples.

    Without a difference they are the score intervals of the sign-flip test for clusters that contribute 0.
    """
    sizes = np.ones(n_clusters)
    if abs(difference) > NOISE:
        wide, narrow = (
            boundary_interval(difference, sizes, least=-bound, greatest=bound, level=level) for level in LEVELS
        )
        return wide, narrow
    result = sign_flip_test(np.zeros(n_clusters), sizes, flips_of(n_clusters))
    return result.interval.scaled(bound), result.interval90.scaled(bound)


def _difference(metric: Metric, pair: PairedSample) -> float:
    return float(metric.value(pair.first.total) - metric.value(pair.second.total))


def _within(interval: Interval, least: float, greatest: float = 1.0) -> Interval:
    """Cut an interval to [least, greatest]."""
    return Interval(*np.clip((interval.low, interval.high), least, greatest).tolist())


def _values(metrics: Sequence[Metric], sums: Array) -> Array:
    """Return the values of metrics with equal statistics, [..., metrics], from [..., k] sums."""
    return np.stack([metric.value(sums) for metric in metrics], axis=-1)
