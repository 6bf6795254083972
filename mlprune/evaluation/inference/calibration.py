"""Inference for calibration error: intervals without its upward bias, and approximate randomisation.

The error is a sum of absolute values, which sampling error only increases. The stored value is the plain one; its
interval is for the true error and may end below the value.
"""

from collections.abc import Sequence

import numpy as np

from mlprune.evaluation.inference.estimates import IntervalName
from mlprune.evaluation.inference.resampled import LEVELS, Intervals, ResampledInference
from mlprune.evaluation.inference.samples import PairedSample, Sample
from mlprune.evaluation.task_metrics import Metric
from mlprune.numeric.statistics.bootstrap import is_constant
from mlprune.numeric.statistics.calibration_interval import calibration_difference, calibration_interval
from mlprune.numeric.statistics.clusters import Array
from mlprune.numeric.statistics.interval import Interval


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
        wide, narrow = (
            calibration_difference(
                *(calibration_interval(*each, level=level) for each in zip(cells, observed, strict=True)),
                correlation=correlation,
            ).interval
            for level in LEVELS
        )
        return Interval(min(wide.low, narrow.low), max(wide.high, narrow.high)), narrow


def _means(sums: Array) -> Array:
    """Return the means of cells, [..., bins]."""
    return np.asarray(sums[..., :-1] / sums[..., -1:])
