"""Calibration error: its interval is for the true error, without the bias of the plain value."""

import numpy as np
import pytest

from mlprune.evaluation.inference.methods import compare, measure
from mlprune.evaluation.inference.samples import resamples_of
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.task_metrics import METRICS
from mlprune.numeric.statistics.calibration_interval import CorrectedEstimate, calibration_interval
from tests.example_predictions import with_scores

ECE = METRICS["ece"]


def drawn(seed: int, n: int = 60) -> Predictions:
    """Answers that are right as often as their confidence says."""
    rng = np.random.default_rng(seed)
    odds = rng.uniform(0.1, 2.0, n)
    right = rng.uniform(size=n) < 1 / (1 + np.exp(-odds))
    return with_scores([[0.0, -float(value)] for value in odds], [0 if one else 1 for one in right])


def corrected(predictions: Predictions) -> CorrectedEstimate:
    statistics = ECE.statistics(predictions)
    sums = resamples_of(len(statistics)).astype(float) @ statistics
    return calibration_interval(sums[:, :-1] / sums[:, -1:], statistics[:, :-1].mean(axis=0))


def test_the_interval_of_a_calibrated_model_reaches_lower_than_that_of_the_resamples() -> None:
    predictions = drawn(3)
    value = measure((ECE,), predictions)["ece"]
    expected = corrected(predictions)
    assert value.interval is not None
    assert (value.interval.low, value.interval.high) == pytest.approx((expected.interval.low, expected.interval.high))
    assert value.method == "debiased"
    assert value.interval.low < value.value / 2


def test_a_difference_combines_the_intervals_of_both_sides() -> None:
    first, second = drawn(3), drawn(4)
    got, back = compare((ECE,), first, second)["ece"], compare((ECE,), second, first)["ece"]
    values = [measure((ECE,), each)["ece"].value for each in (first, second)]
    estimates = [corrected(each) for each in (first, second)]
    assert (got.difference, got.method) == (pytest.approx(values[0] - values[1]), "debiased")
    assert got.interval.contains(estimates[0].value - estimates[1].value)
    assert (got.interval.low, got.interval.high) == pytest.approx((-back.interval.high, -back.interval.low))
    assert got.p_value == back.p_value
