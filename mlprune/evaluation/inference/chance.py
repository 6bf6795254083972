"""Chance level of an accuracy, the test against it, and whether a value has reached a limit of its range."""

from dataclasses import dataclass

import numpy as np

from mlprune.evaluation.inference.estimates import SIGNIFICANCE, MetricValue
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.task_metrics import Metric
from mlprune.numeric.evaluation.metrics import guess_credit
from mlprune.numeric.statistics.clusters import Array, cluster_codes
from mlprune.numeric.statistics.proportions import chance_p_value


@dataclass(frozen=True)
class Chance:
    """The accuracy of guessing, and the test against it."""

    value: float
    p_value: float
    """One-sided: the accuracy is not above chance."""


def chance_of(metric: Metric, predictions: object) -> Chance | None:
    """Return the chance level of an accuracy; None for other metrics.

    It is the mean over items of 1 / number of candidates. If all items have the same candidates, always answering with
    the same one is as good as its share, so chance is the share of the most frequent right candidate.
    """
    if metric.name != "accuracy" or not isinstance(predictions, Predictions):
        return None
    chances = chances_of(predictions)
    credit = metric.statistics(predictions)[:, 0]
    p_value = chance_p_value(credit, chances, cluster_codes(predictions.clusters))
    return Chance(float(chances.mean()), p_value)


def chances_of(predictions: Predictions) -> Array:
    """Return the credit that guessing is expected to have on each item, [n]."""
    sizes = np.diff(predictions.starts)
    first = predictions.candidates[: int(sizes[0])]
    return guess_credit(sizes, predictions.gold, labelled=predictions.candidates == first * len(sizes))


def limit_reached(metric: Metric, value: MetricValue, chance: Chance | None) -> str | None:
    """Return `floor` if a value is not significantly above chance, `ceiling` if its interval reaches the best value."""
    if chance is not None and chance.p_value >= SIGNIFICANCE:
        return "floor"
    best = metric.best
    if best is not None and value.interval is not None and value.interval.contains(best):
        return "ceiling"
    return None
