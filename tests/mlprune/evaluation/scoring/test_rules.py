"""Rules and ranks, compared with plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import TaskFileError
from mlprune.evaluation.scoring.rules import RULES, Likelihoods, ranks, rule_scores

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
NUMBER = st.floats(-50, 0)
ROWS = st.lists(st.tuples(NUMBER, st.integers(1, 9), NUMBER, st.integers(1, 9), NUMBER), min_size=1, max_size=9)


@PROPERTY
@given(ROWS)
def test_scores_are_means_sums_and_differences(rows: list[tuple[float, int, float, int, float]]) -> None:
    likelihoods = Likelihoods(*(np.array(column) for column in zip(*rows, strict=True)))
    expected = {
        "mean": [whole / n for whole, n, _, _, _ in rows],
        "candidate_mean": [part / n for _, _, part, n, _ in rows],
        "candidate_sum": [part for _, _, part, _, _ in rows],
        "pmi": [part - alone for _, _, part, _, alone in rows],
    }
    assert set(expected) == set(RULES)
    for rule, scores in expected.items():
        assert rule_scores(rule, likelihoods).tolist() == scores  # type: ignore[arg-type]


@PROPERTY
@given(st.lists(st.lists(st.integers(-3, 0), min_size=1, max_size=5), min_size=1, max_size=6))
def test_a_rank_is_one_plus_the_number_of_better_candidates(items: list[list[int]]) -> None:
    starts = np.cumsum([0, *map(len, items)])
    flat = np.array([float(score) for item in items for score in item])
    expected = [1 + sum(other > score for other in item) for item in items for score in item]
    assert ranks(flat, starts).tolist() == expected


def test_only_pmi_reads_the_scores_without_context() -> None:
    likelihoods = Likelihoods(*(np.array([-1.0]), np.array([1])) * 2, np.array([np.nan]))
    with pytest.raises(TaskFileError, match="lack the candidates' own scores"):
        rule_scores("pmi", likelihoods)
    assert [rule_scores(rule, likelihoods).tolist() for rule in RULES if rule != "pmi"] == [[-1.0]] * 3


def test_the_published_score_divides_by_the_number_of_all_tokens() -> None:
    likelihoods = Likelihoods(
        np.array([-6.0, -7.0]), np.array([2, 3]), np.zeros(2), np.ones(2, dtype=np.int64), np.zeros(2)
    )
    assert rule_scores("mean", likelihoods, profile="paper").tolist() == [-6 / 3, -7 / 4]
