"""Registry of inference methods: means of credit, summed statistics, calibration; `ratios` has perplexity and others.

Inference for a mean of credit, such as accuracy.

If items are independent and each is right or wrong, a value has Wilson's interval, and a difference has Tango's test
with the interval that inverts it, whose far end is at least the exact binomial one (`equivalence_interval`). If items
share clusters or credit is fractional, a value has Wilson's interval with the effective number of items, and a
difference has the sign-flip test over clusters with the interval that inverts it.

Inference for any function of summed statistics: BLEU, chrF, precision, recall and F1.

Intervals are BCa intervals of a bootstrap over clusters, paired for differences. p-values are those of approximate
randomisation: the outputs of the two evaluations are exchanged for whole clusters, at random. The two procedures may
disagree near p = 0.05. Metrics with equal statistics share the sums. Without a test, intervals are not changed by it.

Inference for calibration error: intervals without its upward bias, and approximate randomisation.

The error is a sum of absolute values, which sampling error only increases. The stored value is the plain one; its
interval is for the true error and may end below the value.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Literal, Protocol, TypeVar

import numpy as np

from mlprune.evaluation.inference.estimates import (
    LEVEL,
    NARROW_LEVEL,
    Difference,
    HasItems,
    IntervalName,
    MetricValue,
    PairedSample,
    Sample,
    finite,
    flips_of,
    paired_sample,
    resamples_of,
    sample_of,
)
from mlprune.evaluation.inference.ratios import LogLikelihoodInference, RatioInference
from mlprune.evaluation.task_metrics import InferenceName, Metric
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.bootstrap import (
    NOISE,
    bca_interval,
    is_constant,
    leave_one_out_sums,
    resampled_sums,
)
from mlprune.numeric.statistics.calibration_interval import (
    calibration_difference,
    calibration_interval,
    shared_intervals,
)
from mlprune.numeric.statistics.cluster_score import boundary_interval
from mlprune.numeric.statistics.clusters import Interval, ratio_estimate
from mlprune.numeric.statistics.paired_proportions import equivalence_interval, mcnemar_mid_p, tango_p_value
from mlprune.numeric.statistics.proportions import effective_size, wilson_interval
from mlprune.numeric.statistics.sign_flips import sign_flip_test, swap_p_values, swapped_differences

LEVELS = (LEVEL, NARROW_LEVEL)
Intervals = tuple[Interval, Interval]
"""Intervals of one difference at 95 % and at 90 %."""
T = TypeVar("T")


class CreditInference:
    """Inference for metrics whose statistics are an item's credit in [0, 1], and 1."""

    def measure(self, metrics: Sequence[Metric], sample: Sample) -> list[MetricValue]:
        """Return one value per metric."""
        return [_measured(sample)] * len(metrics)

    def compare(self, metrics: Sequence[Metric], pair: PairedSample, *, is_tested: bool) -> list[Difference]:
        """Return one difference per metric, always tested."""
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
    else:
        result = sign_flip_test(contributions, sizes, flips_of(n_clusters))
        method, interval, narrow, p_value = "sign_flip", result.interval, result.interval90, result.p_value
    return Difference(
        difference=float(ours.mean() - theirs.mean()),
        interval=interval,
        interval90=narrow,
        method=method,
        p_value=p_value,
        test=method,
        standard_error=finite(estimate.standard_error),
        n_items=n,
        n_clusters=n_clusters,
        p_mid_mcnemar=mcnemar_mid_p(n_gained, n_lost) if is_binary else None,
        n_gained=n_gained,
        n_lost=n_lost,
    )


def credit_parts(first: Array, second: Array) -> tuple[Array, Array]:
    """Return each cluster's difference of credit, and its items, both [C]; the ratio of the sums is the difference.

    Args:
        first: [C, 2], credit and number of items of the clusters.
        second: [C, 2].
    """
    return first[:, 0] - second[:, 0], second[:, 1]


def _is_binary(credit: Array) -> bool:
    return bool(((credit == 0) | (credit == 1)).all())


class ResampledInference:
    """Inference for metrics in [least, 1] that are computed from sums of statistics."""

    method: IntervalName = "bca"

    def measure(self, metrics: Sequence[Metric], sample: Sample) -> list[MetricValue]:
        """Return one value per metric."""
        sums = resampled_sums(resamples_of(sample.n_clusters), sample.sums)
        return [self._measured(metric, sample, sums) for metric in metrics]

    def compare(self, metrics: Sequence[Metric], pair: PairedSample, *, is_tested: bool) -> list[Difference]:
        """Return one difference per metric."""
        first, second = pair.first, pair.second
        p_values: Sequence[float | None] = _exchange_p_values(metrics, pair) if is_tested else [None] * len(metrics)
        counts = resamples_of(first.n_clusters)
        sums = np.split(resampled_sums(counts, np.hstack([first.sums, second.sums])), 2, axis=1)
        return [
            self._compared(metric, pair, sums, p_value=p_value)
            for metric, p_value in zip(metrics, p_values, strict=True)
        ]

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

    def _compared(
        self, metric: Metric, pair: PairedSample, sums: Sequence[Array], *, p_value: float | None
    ) -> Difference:
        first, value, method = pair.first, _difference(metric, pair), self.method
        resampled = metric.value(sums[0]) - metric.value(sums[1])
        bound = 1.0 - metric.least
        if is_constant(resampled):
            (wide, narrow), method = unvaried_intervals(value, first.n_clusters, bound=bound), "score"
        else:
            wide, narrow = self.difference_intervals(metric, pair, sums=sums, resampled=resampled)
        error = float(resampled.std(ddof=1)) if first.n_clusters > 1 else None
        intervals = (_within(wide, -bound, bound), _within(narrow, -bound, bound))
        wide, narrow = intervals if p_value is None else decided_by_test(intervals, value, p_value=p_value)
        return Difference(
            difference=value,
            interval=wide,
            interval90=narrow,
            method=method,
            p_value=p_value,
            test=None if p_value is None else "randomization",
            standard_error=error,
            n_items=first.n,
            n_clusters=first.n_clusters,
        )


def _exchange_p_values(metrics: Sequence[Metric], pair: PairedSample) -> list[float]:
    """Return the p-value of each metric by approximate randomisation."""
    sums = pair.first.sums, pair.second.sums
    p_values = swap_p_values(
        lambda signs: swapped_differences(*sums, partial(_values, metrics), flips=signs),
        flips_of(pair.first.n_clusters),
    )
    return [float(p_value) for p_value in p_values]


def decided_by_test(intervals: Intervals, difference: float, *, p_value: float) -> Intervals:
    """Return intervals that agree with a test of 0, which decides whether 0 and what is beyond it are inside.

    If p < 1 - level, an interval ends at 0 or on the side of the difference; otherwise it covers 0.
    """
    wide, narrow = (
        _decided(interval, difference, is_rejected=p_value < round(1 - level, 12))
        for interval, level in zip(intervals, LEVELS, strict=True)
    )
    return Interval(min(wide.low, narrow.low), max(wide.high, narrow.high)), narrow


def _decided(interval: Interval, difference: float, *, is_rejected: bool) -> Interval:
    if not is_rejected:
        return Interval(min(interval.low, 0.0), max(interval.high, 0.0))
    if difference < 0:
        return Interval(interval.low if interval.low < 0 else difference, min(interval.high, 0.0))
    return Interval(max(interval.low, 0.0), interval.high if interval.high > 0 else difference)


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


class CalibrationInference(ResampledInference):
    """Inference for metrics whose statistics are `calibration_cells`, and 1."""

    method: IntervalName = "debiased"

    def value_interval(self, metric: Metric, sample: Sample, *, sums: Array, resampled: Array) -> Interval:
        """Return the interval of the true error."""
        return calibration_interval(_means(sums), _means(sample.total)).interval

    def difference_intervals(
        self, metric: Metric, pair: PairedSample, *, sums: Sequence[Array], resampled: Array
    ) -> Intervals:
        """Return the intervals of the difference of the true errors; that of 95 % also covers that of 90 %."""
        cells = [_means(each) for each in sums]
        errors = [np.abs(each).sum(axis=1) for each in cells]
        vary = not any(map(is_constant, errors))
        correlation = float(np.clip(np.corrcoef(errors)[0, 1], -1.0, 1.0)) if vary else 0.0
        observed = [_means(sample.total) for sample in (pair.first, pair.second)]
        estimates = (shared_intervals(*each, LEVELS) for each in zip(cells, observed, strict=True))
        wide, narrow = (
            calibration_difference(*both, correlation=correlation).interval for both in zip(*estimates, strict=True)
        )
        return Interval(min(wide.low, narrow.low), max(wide.high, narrow.high)), narrow


def _means(sums: Array) -> Array:
    """Return the means of cells, [..., bins]."""
    return np.asarray(sums[..., :-1] / sums[..., -1:])


class Inference(Protocol):
    """A method for metrics with equal statistics."""

    def measure(self, metrics: Sequence[Metric], sample: Sample) -> list[MetricValue]:
        """Return one value per metric."""
        ...

    def compare(self, metrics: Sequence[Metric], pair: PairedSample, *, is_tested: bool) -> list[Difference]:
        """Return one difference per metric; a test that is expensive is left out unless `is_tested`."""
        ...


INFERENCE: Mapping[InferenceName, Inference] = {
    "credit": CreditInference(),
    "log_likelihood": LogLikelihoodInference(),
    "ratio": RatioInference(),
    "resampled": ResampledInference(),
    "calibration": CalibrationInference(),
}
"""Name in `Metric.inference` -> method."""


def measure(metrics: Sequence[Metric], predictions: HasItems) -> dict[str, MetricValue]:
    """Compute metrics with their intervals, name -> value.

    Raises:
        ShapeError: the predictions have no items.
        PermanentError: a value is not finite.
    """
    values: dict[str, MetricValue] = {}
    for method, alike in _alike(metrics, ()):
        values |= _by_name(alike, method.measure(alike, sample_of(alike[0], predictions)))
    return {metric.name: values[metric.name] for metric in metrics}


def compare(
    metrics: Sequence[Metric], first: HasItems, second: HasItems, *, asked: Collection[str] = ()
) -> dict[str, Difference]:
    """Compute the paired differences of metrics between two evaluations, first minus second, name -> difference.

    Args:
        asked: names of metrics that are tested even if not every comparison tests them (`Metric.is_tested`).
    Raises:
        ShapeError: the two predictions are not about the same items in the same order, or there are none.
        PermanentError: a value is not finite.
    """
    differences: dict[str, Difference] = {}
    for method, alike in _alike(metrics, asked):
        is_tested = _is_tested(alike[0], asked)
        differences |= _by_name(
            alike, method.compare(alike, paired_sample(alike[0], first, second), is_tested=is_tested)
        )
    return {metric.name: differences[metric.name] for metric in metrics}


def _is_tested(metric: Metric, asked: Collection[str]) -> bool:
    return metric.is_tested or metric.name in asked


def _alike(metrics: Sequence[Metric], asked: Collection[str]) -> list[tuple[Inference, list[Metric]]]:
    """Group metrics with the same method and the same statistics, all of them tested or none."""
    groups: dict[object, list[Metric]] = {}
    for metric in metrics:
        key = (metric.inference, metric.statistics, _is_tested(metric, asked))
        groups.setdefault(key, []).append(metric)
    return [(INFERENCE[alike[0].inference], alike) for alike in groups.values()]


def _by_name(metrics: Sequence[Metric], results: Sequence[T]) -> dict[str, T]:
    return {metric.name: result for metric, result in zip(metrics, results, strict=True)}
