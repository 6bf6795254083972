"""Perplexity on the scale of its logarithm."""

import math

import numpy as np
import pytest
from scipy import stats

from mlprune.evaluation.inference.methods import compare, measure
from mlprune.evaluation.task_metrics import METRICS
from tests.plain_inference import plain_p_value, texts

PERPLEXITY = METRICS["perplexity"]
N_TOKENS = [5, 3, 8, 2, 6, 4, 7]
OURS = np.array([-9.0, -7.5, -14.0, -5.0, -13.0, -7.0, -12.0])
THEIRS = np.array([-8.0, -7.0, -15.0, -3.0, -12.0, -7.5, -11.0])


def test_a_value_of_many_texts_has_the_bootstrap_t_interval_of_its_logarithm() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(2, 9, 30)
    losses = tokens * rng.exponential(2.0, 30)
    value = measure((PERPLEXITY,), texts(-losses, tokens.tolist()))["perplexity"]
    ratio = losses.sum() / tokens.sum()

    def ratio_and_error(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
        centre = a.sum() / b.sum()
        return centre, np.sqrt(30 / 29 * ((a - centre * b) ** 2).sum()) / b.sum()

    drawn = np.random.Generator(np.random.PCG64(0)).integers(0, 30, size=(1999, 30))
    resampled = np.array([ratio_and_error(losses[row], tokens[row]) for row in drawn])
    quantiles = np.quantile((resampled[:, 0] - ratio) / resampled[:, 1], [0.975, 0.025])
    expected = np.exp(ratio - quantiles * ratio_and_error(losses, tokens)[1])
    assert value.method == "log_bootstrap_t"
    assert (value.interval.low, value.interval.high) == pytest.approx(tuple(expected))


def test_a_value_of_few_texts_has_the_t_interval_of_its_logarithm() -> None:
    value = measure((PERPLEXITY,), texts(OURS, N_TOKENS))["perplexity"]
    tokens = np.array(N_TOKENS)
    ratio = -OURS.sum() / tokens.sum()
    error = np.sqrt(7 / 6 * ((-OURS - ratio * tokens) ** 2).sum()) / tokens.sum()
    reach = stats.t.ppf(0.975, 6) * error
    assert (value.value, value.method) == (pytest.approx(math.exp(ratio)), "log_t")
    assert (value.interval.low, value.interval.high) == pytest.approx(
        (math.exp(ratio - reach), math.exp(ratio + reach))
    )
    assert value.standard_error == pytest.approx(math.exp(ratio) * error)


def test_one_text_has_no_interval() -> None:
    value = measure((PERPLEXITY,), texts([-3.0], [2]))["perplexity"]
    assert (value.value, value.interval, value.standard_error) == (pytest.approx(math.exp(1.5)), None, None)


def test_a_difference_is_the_logarithm_of_the_ratio_and_is_tested_by_exchanges() -> None:
    got = compare((PERPLEXITY,), texts(OURS, N_TOKENS), texts(THEIRS, N_TOKENS))["perplexity"]
    values = [measure((PERPLEXITY,), texts(each, N_TOKENS))["perplexity"].value for each in (OURS, THEIRS)]
    assert (got.scale, got.difference) == ("log_ratio", pytest.approx(math.log(values[0] / values[1])))
    assert got.p_value == pytest.approx(plain_p_value(7, lambda signs: float(np.dot(signs, THEIRS - OURS))))
    assert not got.interval_contradicts_p
    assert got.n_gained is got.smallest_significant is None


def test_texts_of_one_cluster_are_exchanged_together() -> None:
    clusters = list("aabbccc")
    got = compare((PERPLEXITY,), texts(OURS, N_TOKENS, clusters), texts(THEIRS, N_TOKENS, clusters))["perplexity"]
    sums = [(THEIRS - OURS)[rows].sum() for rows in ([0, 1], [2, 3], [4, 5, 6])]
    assert got.n_clusters == 3
    assert got.p_value == pytest.approx(plain_p_value(3, lambda signs: float(np.dot(signs, sums))))
