"""Accuracy: Wilson and Tango for independent items, sign flips over clusters otherwise."""

import numpy as np
import pytest
from scipy import stats

from mlprune.evaluation.inference.methods import compare, measure
from mlprune.evaluation.task_metrics import METRICS, task_metrics
from mlprune.numeric.statistics.paired_proportions import tango_interval, tango_p_value
from tests.plain_inference import answers, plain_p_value

ACCURACY = METRICS["accuracy"]
SHARED = next(metric for metric in task_metrics("facts", "fr") if metric.name == "accuracy")


def test_independent_right_or_wrong_answers_have_wilsons_interval() -> None:
    value = measure((ACCURACY,), answers([1] * 30 + [0] * 10))["accuracy"]
    expected = stats.binomtest(30, 40).proportion_ci(method="wilson")
    assert (value.method, value.value, value.n, value.n_clusters) == ("wilson", 0.75, 40, 40)
    assert (value.interval.low, value.interval.high) == pytest.approx((expected.low, expected.high))
    assert value.standard_error == pytest.approx(np.sqrt(0.75 * 0.25 / 39))


def test_an_accuracy_of_1_has_an_interval_with_a_width() -> None:
    value = measure((ACCURACY,), answers([1] * 150))["accuracy"]
    assert value.interval.high == 1.0
    assert value.interval.low == pytest.approx(0.975, abs=0.002)


def test_items_of_one_cluster_widen_the_interval() -> None:
    right = [1] * 12 + [0] * 12
    clusters = [f"c{number // 4}" for number in range(24)]
    alone, together = (measure((ACCURACY,), answers(right, names))["accuracy"] for names in ((), clusters))
    assert (together.method, together.n, together.n_clusters) == ("wilson_effective", 24, 6)
    assert together.interval.low < alone.interval.low < alone.interval.high < together.interval.high


def test_independent_items_are_compared_by_tangos_test() -> None:
    ours, theirs = [1] * 9 + [0] * 3 + [1] * 20 + [0] * 8, [0] * 9 + [1] * 3 + [1] * 20 + [0] * 8
    got = compare((ACCURACY,), answers(ours), answers(theirs))["accuracy"]
    assert (got.method, got.test, got.scale) == ("tango", "tango", "difference")
    assert (got.n, got.n_gained, got.n_lost, got.difference) == (40, 9, 3, pytest.approx(6 / 40))
    assert (got.p_value, got.interval) == (tango_p_value(9, 3, 40), tango_interval(9, 3, 40))
    exact = stats.binomtest(3, 12)
    assert got.p_mid_mcnemar == pytest.approx(exact.pvalue - stats.binom.pmf(3, 12, 0.5))
    assert got.smallest_significant == pytest.approx(4 / 40)
    assert got.detectable_difference is not None
    assert 0.15 < got.detectable_difference < 0.35


def test_clusters_are_exchanged_as_a_whole() -> None:
    ours = np.array([1, 1, 1, 0, 1, 1, 0, 0, 1, 1, 0, 1], dtype=float)
    theirs = np.array([0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0], dtype=float)
    clusters = list("aabbccddeeff")
    sums = (ours - theirs).reshape(6, 2).sum(axis=1)
    got = compare((ACCURACY,), answers(ours, clusters), answers(theirs, clusters))["accuracy"]
    assert got.p_value == pytest.approx(plain_p_value(6, lambda signs: float(np.dot(signs, sums))))
    assert (got.method, got.test, got.n_clusters) == ("sign_flip", "sign_flip", 6)
    assert got.standard_error == pytest.approx(np.sqrt(6 / 5 * ((sums - sums.mean()) ** 2).sum()) / 12)
    assert not got.interval_contradicts_p


def test_a_tie_makes_credit_fractional_and_leaves_mcnemar_undefined() -> None:
    got = compare((SHARED,), answers([1.0, 0.5, 0.0] * 5), answers([0.5, 0.5, 0.0] * 5))["accuracy"]
    assert (got.method, got.p_mid_mcnemar, got.n_gained, got.n_lost) == ("sign_flip", None, 5, 0)
    assert got.difference == pytest.approx(0.5 / 3)


@pytest.mark.parametrize("clusters", [(), [f"c{number // 2}" for number in range(40)]])
def test_equal_answers_differ_by_0_within_an_interval_with_a_width(clusters: list[str]) -> None:
    predictions = answers([1] * 40, clusters)
    got = compare((ACCURACY,), predictions, predictions)["accuracy"]
    assert (got.difference, got.p_value, got.interval_contradicts_p) == (0.0, 1.0, False)
    assert got.interval.low < -0.05 < 0.05 < got.interval.high
