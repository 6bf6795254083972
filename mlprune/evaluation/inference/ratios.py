"""Inference for ratios of sums over texts: perplexity, and distances such as nats per token.

ln(perplexity) is a ratio of sums over texts: negative log-likelihoods over scored tokens. A value has the bootstrap-t
interval of this ratio, with clusters as units, whose ends are exponentiated; below ten clusters, where resamples often
have hardly any variation, the t interval. A difference is ln(first / second); its sign-flip test
exchanges the two evaluations of a cluster, and the interval inverts the test.

Inference for other ratios of sums over texts that are at least 0, such as nats per token: as for the logarithm of
perplexity, without the exponential.
"""

import math
from collections.abc import Sequence

import numpy as np

from mlprune.evaluation.inference.estimates import (
    Difference,
    IntervalName,
    MetricValue,
    PairedSample,
    Sample,
    finite,
    flips_of,
    resamples_of,
)
from mlprune.evaluation.task_metrics import Metric
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.bootstrap import ratio_t_interval, resampled_ratios, studentized_interval
from mlprune.numeric.statistics.clusters import Interval, ratio_estimate
from mlprune.numeric.statistics.sign_flips import sign_flip_test
from mlprune.vocabulary import Scale

ENOUGH_CLUSTERS = 10
"""From this number of clusters on, a value has the bootstrap-t interval."""


class LogLikelihoodInference:
    """Inference for metrics whose statistics are a text's log-likelihood and number of scored tokens."""

    def measure(self, metrics: Sequence[Metric], sample: Sample) -> list[MetricValue]:
        """Return one value per metric."""
        log_likelihoods, n_tokens = sample.sums.T
        value = float(np.exp(-sample.total[0] / sample.total[1]))
        ends, error = _ratio_interval(-log_likelihoods, n_tokens)
        method: IntervalName = "log_bootstrap_t" if sample.n_clusters >= ENOUGH_CLUSTERS else "log_t"
        interval = None if ends is None else Interval(math.exp(ends.low), math.exp(ends.high))
        error = None if error is None else error * value
        return [MetricValue(value, interval, method, error, sample.n, sample.n_clusters)] * len(metrics)

    def compare(self, metrics: Sequence[Metric], pair: PairedSample, *, is_tested: bool) -> list[Difference]:
        """Return one difference per metric, always tested."""
        parts = log_ratio_parts(pair.first.sums, pair.second.sums)
        return [_ratio_difference(*parts, pair, scale=metric.scale) for metric in metrics]


class RatioInference:
    """Inference for metrics >= 0 whose statistics are a sum and its size, such as nats and scored tokens."""

    def measure(self, metrics: Sequence[Metric], sample: Sample) -> list[MetricValue]:
        """Return one value per metric."""
        value = float(sample.total[0] / sample.total[1])
        ends, error = _ratio_interval(*sample.sums.T)
        method: IntervalName = "bootstrap_t" if sample.n_clusters >= ENOUGH_CLUSTERS else "t"
        return [
            MetricValue(value, _of_ratio(ends, metric), method, error, sample.n, sample.n_clusters)
            for metric in metrics
        ]

    def compare(self, metrics: Sequence[Metric], pair: PairedSample, *, is_tested: bool) -> list[Difference]:
        """Return one difference per metric, always tested."""
        parts = ratio_parts(pair.first.sums, pair.second.sums)
        return [_ratio_difference(*parts, pair, scale=metric.scale) for metric in metrics]


def _of_ratio(interval: Interval | None, metric: Metric) -> Interval | None:
    """Cut an interval to the values that a metric can have: at most 1 for a share."""
    greatest = 1.0 if metric.scale == "difference" else math.inf
    return None if interval is None else Interval(max(interval.low, 0.0), min(interval.high, greatest))


def _ratio_interval(values: Array, sizes: Array) -> tuple[Interval | None, float | None]:
    """Return the interval of the ratio of two sums over clusters, both [C], and its standard error.

    Both are None for a single cluster.
    """
    error = finite(ratio_estimate(values, sizes).standard_error)
    if error is None:
        return None, None
    return (_bootstrap_t if len(values) >= ENOUGH_CLUSTERS else ratio_t_interval)(values, sizes), error


def _ratio_difference(contributions: Array, sizes: Array, pair: PairedSample, *, scale: Scale) -> Difference:
    """Return the difference that is the ratio of two sums over clusters, both [C], with its sign-flip test."""
    estimate = ratio_estimate(contributions, sizes)
    bound = 1.0 if scale == "difference" else None
    result = sign_flip_test(contributions, sizes, flips_of(pair.first.n_clusters), bound=bound)
    return Difference(
        difference=estimate.value,
        interval=result.interval,
        interval90=result.interval90,
        method="sign_flip",
        p_value=result.p_value,
        test="sign_flip",
        standard_error=finite(estimate.standard_error),
        n_items=pair.first.n,
        n_clusters=pair.first.n_clusters,
        scale=scale,
    )


def _bootstrap_t(losses: Array, n_tokens: Array) -> Interval:
    """Return the bootstrap-t interval of the ratio of two sums over clusters, both [C]."""
    estimate = ratio_estimate(losses, n_tokens)
    resampled, errors = resampled_ratios(resamples_of(len(losses)), losses, sizes=n_tokens)
    return studentized_interval(estimate.value, estimate.standard_error, resampled=resampled, resampled_errors=errors)


def log_ratio_parts(first: Array, second: Array) -> tuple[Array, Array]:
    """Return each cluster's contribution to ln(first perplexity / second perplexity), and its tokens, both [C].

    The ratio of the two sums is the difference. With equal numbers of tokens a contribution is the second
    log-likelihood minus the first; other numbers are scaled to those of the second evaluation.

    Args:
        first: [C, 2], log-likelihoods and tokens of the clusters.
        second: [C, 2].
    """
    scale = second[:, 1].sum() / first[:, 1].sum()
    return second[:, 0] - scale * first[:, 0], second[:, 1]


def ratio_parts(first: Array, second: Array) -> tuple[Array, Array]:
    """Return each cluster's contribution to the first ratio minus the second one, and its size, both [C].

    The ratio of the two sums is the difference. Sizes that differ are scaled to those of the second evaluation.

    Args:
        first: [C, 2], sums and sizes of the clusters.
        second: [C, 2].
    """
    scale = second[:, 1].sum() / first[:, 1].sum()
    return scale * first[:, 0] - second[:, 0], second[:, 1]
