"""Metrics, choices and Pareto fronts, compared with plain loops and examples by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from mlprune.errors import PermanentError, ShapeError
from mlprune.numeric.evaluation import choice
from mlprune.numeric.evaluation.metrics import (
    bleu,
    chrf,
    confidence,
    confusion_cells,
    highest,
    label_metric,
    perplexity,
)

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def padded(rows: list[list[float]]) -> np.ndarray:
    """Items with different numbers of candidates, padded with NaN."""
    longest = max(map(len, rows))
    return np.array([row + [math.nan] * (longest - len(row)) for row in rows])


def test_the_prediction_is_the_highest_score_and_of_equal_ones_the_earlier() -> None:
    rows = [[-3.0, -1.0, -2.0], [-3.0, -1.0, -1.0], [-math.inf, -math.inf], [-7.0]]
    assert highest(padded(rows)).tolist() == [1, 1, 0, 0]


SCORES = st.lists(st.lists(st.sampled_from([-0.5, -1.0, -3.0]), min_size=1, max_size=5), min_size=1, max_size=20)


@PROPERTY
@given(SCORES)
def test_confidence_is_the_highest_probability_of_the_softmax(rows: list[list[float]]) -> None:
    expected = [max(math.exp(s) / math.fsum(map(math.exp, row)) for s in row) for row in rows]
    assert confidence(padded(rows)) == pytest.approx(expected, rel=1e-12)


def test_many_sums_at_once_give_the_values_of_each() -> None:
    cells = confusion_cells(np.array([0, 1, 2, 1]), np.array([0, 1, 1, 2]), 3)
    sums = np.stack([cells.sum(axis=0), cells[:2].sum(axis=0)])
    values = label_metric(sums, "f1", weighted=False)
    assert values.tolist() == [float(label_metric(one, "f1", weighted=False)) for one in sums]


@pytest.mark.parametrize(("gold", "predictions"), [([0], [0, 1]), ([0, 3], [0, 0]), ([0, 0], [0, -1])])
def test_labels_that_are_unpaired_or_unknown_are_an_error(gold: list[int], predictions: list[int]) -> None:
    with pytest.raises(ShapeError):
        confusion_cells(np.array(gold), np.array(predictions), 3)


def test_perplexity_is_over_tokens_not_over_texts() -> None:
    assert float(perplexity(np.array(-2.0 - 10.0), np.array(1 + 3))) == pytest.approx(math.exp(3.0))


def test_perplexity_of_an_impossible_text_is_infinite() -> None:
    assert perplexity(np.array([-math.inf, -1e6]), np.array([2.0, 2.0])).tolist() == [math.inf] * 2


def counts(seed: int, n_rows: int, n_pairs: int) -> np.ndarray:
    """[rows, pairs, 2] matches and totals, many of them 0."""
    rng = np.random.default_rng(seed)
    totals = rng.integers(0, 30, (n_rows, n_pairs)) * rng.integers(0, 2, (n_rows, n_pairs))
    return np.stack([rng.integers(0, totals + 1), totals], axis=-1)


def test_bleu_equals_that_of_sacrebleu() -> None:
    pairs = counts(0, 300, 4)
    lengths = np.random.default_rng(1).integers(0, 40, (300, 2))
    sums = np.concatenate([lengths, pairs[..., 0], pairs[..., 1]], axis=1)
    expected = [BLEU()._compute_score_from_stats(row).score / 100 for row in sums.tolist()]
    assert bleu(sums.astype(float)) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert len({value > 0 for value in expected}) == 2


def test_chrf_equals_that_of_sacrebleu() -> None:
    pairs = counts(2, 300, 6)
    references = np.random.default_rng(3).integers(0, 2, (300, 6)) * (pairs[..., 0] + 3)
    sums = np.stack([pairs[..., 1], references, np.minimum(pairs[..., 0], references)], axis=-1).reshape(300, 18)
    expected = [CHRF()._compute_score_from_stats(row).score / 100 for row in sums.tolist()]
    assert chrf(sums.astype(float)) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert len({value > 0 for value in expected}) == 2


def plain_front(first: list[float], second: list[float]) -> list[bool]:
    points = list(zip(first, second, strict=True))
    return [not any(a >= x and b >= y and (a > x or b > y) for a, b in points) for x, y in points]


def test_the_front_is_that_of_plain_loops_with_ties_in_one_and_in_both_values() -> None:
    generator = np.random.default_rng(3)
    for n_values, n_candidates in ((3, 7), (2, 4), (50, 20), (1, 3)):
        first, second = generator.integers(0, n_values, (2, 300, n_candidates)) / n_values
        fronts = choice.pareto_front(first, second)
        expected = [plain_front(a.tolist(), b.tolist()) for a, b in zip(first, second, strict=True)]
        assert fronts.tolist() == expected
    assert fronts.all()


def test_a_candidate_keeps_both_if_neither_value_is_below_the_reference() -> None:
    first, second = np.array([[0.5, 0.5, 0.6, 0.4]]), np.array([[0.2, 0.2, 0.1, 0.9]])
    assert choice.keeps_both(first, second, reference=0).tolist() == [[True, True, False, False]]


def test_of_equally_good_candidates_the_first_is_chosen_in_the_sample_and_in_every_resample() -> None:
    values = np.array([0.1 + 0.2, 0.3, 0.2])
    assert (choice.best_candidate(values), choice.n_tied(values)) == (0, 2)
    assert (choice.best_candidate(values[::-1]), choice.n_tied(values[:1])) == (1, 1)
    shares = choice.win_shares(np.array([[0.3, 0.1 + 0.2, 0.1], [0.1, 0.5, 0.4], [0.1, 0.5, 0.6], [0.1, 0.7, 0.1]]))
    assert shares.tolist() == [0.25, 0.5, 0.25]


def test_rounding_errors_of_dyadic_values_make_no_difference() -> None:
    value = 1 / 1024
    assert choice.n_tied(np.array([value, np.nextafter(value, 0), np.nextafter(value, 1)])) == 3


def test_impossible_values_are_refused() -> None:
    with pytest.raises(ShapeError):
        choice.best_candidate(np.zeros(0))
    with pytest.raises(ShapeError):
        choice.win_shares(np.zeros(3))
    with pytest.raises(ShapeError):
        choice.pareto_front(np.zeros((1, 2)), np.zeros((1, 3)))
    with pytest.raises(ShapeError):
        choice.keeps_both(np.zeros((1, 2)), np.zeros((1, 3)), reference=0)
    with pytest.raises(PermanentError):
        choice.n_tied(np.array([1.0, np.nan]))
