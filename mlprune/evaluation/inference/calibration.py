"""Inference for calibration error: intervals without its upward bias, and approximate randomisation.

The error is a sum of absolute values, which sampling error only increases. The stored value is the plain one; its
interval is for the true error and may end below the value.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mlprune.evaluation.inference.estimates import Difference, MetricValue
from mlprune.evaluation.inference.resampled import ResampledInference, within
from mlprune.evaluation.inference.samples import PairedSample, Sample, resamples_of
from mlprune.evaluation.task_metrics import Metric
from mlprune.numeric.statistics.bootstrap import resampled_sums
from mlprune.numeric.statistics.calibration_interval import calibration_difference, calibration_interval
from mlprune.numeric.statistics.clusters import Array


class CalibrationInference(ResampledInference):
    """Inference for metrics whose statistics are `calibration_cells`, and 1."""

    def measure(self, metrics: Sequence[Metric], sample: Sample) -> list[MetricValue]:
        """Return one value per metric; without variation between resamples, as for other metrics."""
        values = super().measure(metrics, sample)
        if values[0].method == "score":
            return values
        corrected = calibration_interval(_resampled_cells(sample), _means(sample.total))
        interval = within(corrected.interval, 0.0)
        return [replace(value, interval=interval, method="debiased") for value in values]

    def compare(self, metrics: Sequence[Metric], pair: PairedSample) -> list[Difference]:
        """Return one difference per metric."""
        differences = super().compare(metrics, pair)
        if differences[0].method == "score":
            return differences
        cells = [_resampled_cells(sample) for sample in (pair.first, pair.second)]
        errors = [np.abs(each).sum(axis=1) for each in cells]
        vary = all(np.ptp(each) > 0 for each in errors)
        correlation = float(np.clip(np.corrcoef(errors)[0, 1], -1.0, 1.0)) if vary else 0.0
        first, second = (
            calibration_interval(each, _means(sample.total))
            for each, sample in zip(cells, (pair.first, pair.second), strict=True)
        )
        corrected = calibration_difference(first, second, correlation=correlation)
        interval = within(corrected.interval, -1.0)
        return [replace(difference, interval=interval, method="debiased") for difference in differences]


def _resampled_cells(sample: Sample) -> Array:
    """Return the means of the cells in each resample, [R, bins]."""
    return _means(resampled_sums(resamples_of(sample.n_clusters), sample.sums))


def _means(sums: Array) -> Array:
    return np.asarray(sums[..., :-1] / sums[..., -1:])
