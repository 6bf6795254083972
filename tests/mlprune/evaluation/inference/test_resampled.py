"""Metrics of sums: BCa intervals, bias-corrected intervals of calibration error, and approximate randomisation."""

from collections.abc import Sequence

import numpy as np
import pytest

from mlprune.evaluation.inference.methods import compare, measure
from mlprune.evaluation.inference.samples import resamples_of
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.scoring.translation import Translations
from mlprune.evaluation.task_metrics import METRICS, Metric, task_metrics
from mlprune.numeric.statistics.bootstrap import bca_interval
from tests.example_predictions import whole_texts
from tests.plain_inference import plain_p_value

N = 12


def random_predictions(seed: int, n: int = N, *, strength: float = 0.7) -> Predictions:
    """Three labels, right more often than not."""
    rng = np.random.default_rng(seed)
    gold = np.random.default_rng(0).integers(0, 3, n)
    scores = rng.normal(-5.0, 1.0, (n, 3))
    scores[np.arange(n), gold] += strength
    ids = tuple(str(number) for number in range(n))
    starts, n_tokens = np.arange(0, 3 * n + 1, 3), np.full(3 * n, 4)
    return whole_texts(ids, starts, gold=gold, log_likelihoods=scores.reshape(-1) * 4, n_tokens=n_tokens)


def swapped(metric: Metric, first: Predictions, second: Predictions, signs: Sequence[int]) -> float:
    """Difference after exchanging the items of sign -1, computed item by item."""
    a, b = metric.statistics(first), metric.statistics(second)
    ours = sum(row if sign == 1 else other for row, other, sign in zip(a, b, signs, strict=True))
    theirs = sum(other if sign == 1 else row for row, other, sign in zip(a, b, signs, strict=True))
    return float(metric.value(ours) - metric.value(theirs))


@pytest.mark.parametrize("name", ["f1_macro", "ece"])
def test_p_values_are_those_of_all_exchanges_of_items(name: str) -> None:
    first, second = random_predictions(1, 8), random_predictions(2, 8, strength=0.0)
    got = compare((METRICS[name],), first, second)[name]
    expected = plain_p_value(8, lambda signs: swapped(METRICS[name], first, second, signs))
    assert (got.p_value, got.test) == (pytest.approx(expected), "randomization")
    assert got.difference == pytest.approx(swapped(METRICS[name], first, second, [1] * 8))


def test_intervals_are_those_of_resampled_items() -> None:
    metric, (first, second) = METRICS["f1_macro"], (random_predictions(1, 40), random_predictions(2, 40))
    a, b = metric.statistics(first), metric.statistics(second)
    resampled = np.array([metric.value(row @ a) - metric.value(row @ b) for row in resamples_of(40).astype(float)])
    jackknife = np.array(
        [metric.value(np.delete(a, i, 0).sum(0)) - metric.value(np.delete(b, i, 0).sum(0)) for i in range(40)]
    )
    got = compare((metric,), first, second)["f1_macro"]
    expected = bca_interval(resampled, got.difference, jackknife)
    assert (got.interval.low, got.interval.high) == pytest.approx((expected.low, expected.high))
    assert got.standard_error == pytest.approx(resampled.std(ddof=1))


def test_metrics_of_the_same_statistics_are_computed_together_and_independently_of_their_order() -> None:
    first, second = random_predictions(1, 40), random_predictions(2, 40)
    metrics = task_metrics("xnli", "fr")
    together = compare(metrics, first, second)
    assert list(together) == [metric.name for metric in metrics]
    for metric in metrics:
        assert compare((metric,), first, second)[metric.name] == together[metric.name]
        assert measure((metric,), first)[metric.name] == measure(metrics, first)[metric.name]


def test_equal_predictions_differ_by_0_with_an_interval_around_it() -> None:
    predictions = random_predictions(1, 40)
    for got in compare(task_metrics("xnli", "fr"), predictions, predictions).values():
        assert (got.difference, got.p_value, got.interval_contradicts_p) == (0.0, 1.0, False)
        assert got.interval.low < 0.0 < got.interval.high


def test_a_perfect_translation_has_an_interval_with_a_width() -> None:
    sentences = tuple(f"the {number} cats sat on the mat" for number in range(20))
    value = measure((METRICS["bleu"],), Translations(tuple(map(str, range(20))), sentences, sentences))["bleu"]
    assert (value.value, value.method, value.interval.high) == (pytest.approx(1.0), "score", 1.0)
    assert 0.7 < value.interval.low < 0.95


def test_one_item_has_a_value_without_a_standard_error() -> None:
    first, second = random_predictions(1, 1), random_predictions(2, 1)
    metrics = task_metrics("xnli", "fr")
    assert all(value.standard_error is None for value in measure(metrics, first).values())
    assert all(got.interval.contains(got.difference) for got in compare(metrics, first, second).values())
