"""Inference for perplexity, on the scale of its logarithm.

ln(perplexity) is a ratio of sums over texts: negative log-likelihoods over scored tokens. A value has the bootstrap-t
interval of this ratio, with clusters as units, whose ends are exponentiated; below ten clusters, where resamples often
have hardly any variation, the t interval. A difference is ln(first / second); its sign-flip test
exchanges the two evaluations of a cluster, and the interval inverts the test.
"""

import math
from collections.abc import Sequence

import numpy as np

from mlprune.evaluation.inference.estimates import Difference, IntervalName, MetricValue, finite
from mlprune.evaluation.inference.samples import PairedSample, Sample, flips_of, resamples_of
from mlprune.evaluation.task_metrics import Metric
from mlprune.numeric.statistics.bootstrap import ratio_t_interval, resampled_ratios, studentized_interval
from mlprune.numeric.statistics.clusters import Array, ratio_estimate
from mlprune.numeric.statistics.interval import Interval
from mlprune.numeric.statistics.power import detectable_difference
from mlprune.numeric.statistics.sign_flips import sign_flip_test

ENOUGH_CLUSTERS = 10
"""From this number of clusters on, a value has the bootstrap-t interval."""


class LogLikelihoodInference:
    """Inference for metrics whose statistics are a text's log-likelihood and number of scored tokens."""

    def measure(self, metrics: Sequence[Metric], sample: Sample) -> list[MetricValue]:
        """Return one value per metric."""
        log_likelihoods, n_tokens = sample.sums.T
        value = float(np.exp(-sample.total[0] / sample.total[1]))
        error = finite(ratio_estimate(-log_likelihoods, n_tokens).standard_error)
        method: IntervalName = "log_bootstrap_t" if sample.n_clusters >= ENOUGH_CLUSTERS else "log_t"
        interval = None
        if error is not None:
            ends = (_bootstrap_t if method == "log_bootstrap_t" else ratio_t_interval)(-log_likelihoods, n_tokens)
            interval = Interval(math.exp(ends.low), math.exp(ends.high))
            error *= value
        return [MetricValue(value, interval, method, error, sample.n, sample.n_clusters)] * len(metrics)

    def compare(self, metrics: Sequence[Metric], pair: PairedSample) -> list[Difference]:
        """Return one difference per metric."""
        contributions, sizes = log_ratio_parts(pair.first.sums, pair.second.sums)
        estimate = ratio_estimate(contributions, sizes)
        result = sign_flip_test(contributions, sizes, flips_of(pair.first.n_clusters), bound=None)
        error = finite(estimate.standard_error)
        difference = Difference(
            difference=estimate.value,
            interval=result.interval,
            interval90=result.interval90,
            method="sign_flip",
            p_value=result.p_value,
            test="sign_flip",
            standard_error=error,
            n=pair.first.n,
            n_clusters=pair.first.n_clusters,
            scale="log_ratio",
            detectable_difference=detectable_difference(error) if error else None,
        )
        return [difference] * len(metrics)


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
