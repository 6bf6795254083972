"""Registry of inference methods, and the values and differences of metrics that they give."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from mlprune.evaluation.inference.calibration import CalibrationInference
from mlprune.evaluation.inference.credit import CreditInference
from mlprune.evaluation.inference.estimates import Difference, MetricValue
from mlprune.evaluation.inference.log_likelihood import LogLikelihoodInference
from mlprune.evaluation.inference.resampled import ResampledInference
from mlprune.evaluation.inference.samples import HasItems, PairedSample, Sample, paired_sample, sample_of
from mlprune.evaluation.task_metrics import InferenceName, Metric

T = TypeVar("T")


class Inference(Protocol):
    """A method for metrics with equal statistics."""

    def measure(self, metrics: Sequence[Metric], sample: Sample) -> list[MetricValue]:
        """Return one value per metric."""
        ...

    def compare(self, metrics: Sequence[Metric], pair: PairedSample) -> list[Difference]:
        """Return one difference per metric."""
        ...


INFERENCE: Mapping[InferenceName, Inference] = {
    "credit": CreditInference(),
    "log_likelihood": LogLikelihoodInference(),
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
    for method, alike in _alike(metrics):
        values |= _by_name(alike, method.measure(alike, sample_of(alike[0], predictions)))
    return {metric.name: values[metric.name] for metric in metrics}


def compare(metrics: Sequence[Metric], first: HasItems, second: HasItems) -> dict[str, Difference]:
    """Compute the paired differences of metrics between two evaluations, first minus second, name -> difference.

    Raises:
        ShapeError: the two predictions are not about the same items in the same order, or there are none.
        PermanentError: a value is not finite.
    """
    differences: dict[str, Difference] = {}
    for method, alike in _alike(metrics):
        differences |= _by_name(alike, method.compare(alike, paired_sample(alike[0], first, second)))
    return {metric.name: differences[metric.name] for metric in metrics}


def _alike(metrics: Sequence[Metric]) -> list[tuple[Inference, list[Metric]]]:
    """Group metrics with the same method and the same statistics."""
    groups: dict[object, list[Metric]] = {}
    for metric in metrics:
        groups.setdefault((metric.inference, metric.statistics), []).append(metric)
    return [(INFERENCE[alike[0].inference], alike) for alike in groups.values()]


def _by_name(metrics: Sequence[Metric], results: Sequence[T]) -> dict[str, T]:
    return {metric.name: result for metric, result in zip(metrics, results, strict=True)}
