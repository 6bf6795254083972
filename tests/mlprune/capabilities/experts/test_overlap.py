"""Overlap of experts: the mean by chance against all choices, and the permutation test against plain loops."""

import itertools

import numpy as np
import pytest

from mlprune.capabilities.experts.overlap import expert_overlap, jaccard_by_chance, permutations
from mlprune.errors import ShapeError


@pytest.mark.parametrize(("n", "m"), [(1, 1), (4, 1), (5, 2), (6, 4), (6, 6)])
def test_the_overlap_by_chance_is_the_mean_over_all_pairs_of_choices(n: int, m: int) -> None:
    choices = [set(one) for one in itertools.combinations(range(n), m)]
    values = [len(a & b) / len(a | b) for a in choices for b in choices]
    assert jaccard_by_chance(n, m) == pytest.approx(np.mean(values), rel=1e-12)


def _jaccard(a: list[list[float]], b: list[list[float]], m: int) -> float:
    tops = []
    for rows in (a, b):
        totals = [sum(column) for column in zip(*rows, strict=True)]
        tops.append(set(sorted(range(len(totals)), key=lambda expert: (-totals[expert], expert))[:m]))
    return len(tops[0] & tops[1]) / len(tops[0] | tops[1])


def _weighted(a: list[list[float]], b: list[list[float]]) -> float:
    totals = [[sum(column) for column in zip(*rows, strict=True)] for rows in (a, b)]
    shares = [[one / sum(total) for one in total] for total in totals]
    return sum(map(min, *shares)) / sum(map(max, *shares))


def test_overlap_and_p_value_are_those_of_plain_loops() -> None:
    generator = np.random.default_rng(3)
    a = generator.integers(0, 5, size=(6, 7)).astype(float)
    b = generator.integers(0, 5, size=(4, 7)).astype(float)
    chosen = permutations(6, 4, n_permutations=99)
    found = expert_overlap(a, b, 0.4, chosen=chosen)
    assert found.n_top == 3
    assert found.jaccard == _jaccard(a.tolist(), b.tolist(), 3)
    rows = [*a.tolist(), *b.tolist()]
    assert found.weighted == pytest.approx(_weighted(a.tolist(), b.tolist()), rel=1e-12)
    n_lower = 0
    for row in chosen.tolist():
        parts = ([one for one, is_first in zip(rows, row, strict=True) if is_first is side] for side in (True, False))
        n_lower += _weighted(*parts) <= found.weighted + 1e-12
    assert found.p_value == (1 + n_lower) / 100


def test_sets_that_use_other_experts_have_a_small_p_value_and_equal_sets_a_large_one() -> None:
    chosen = permutations(10, 10)
    assert chosen.sum(axis=1).tolist() == [10] * 999
    first, second = np.tile([9.0, 8, 0, 0], (10, 1)), np.tile([0.0, 0, 9, 8], (10, 1))
    apart = expert_overlap(first, second, 0.5, chosen=chosen)
    assert (apart.jaccard, apart.p_value < 0.01) == (0.0, True)
    same = expert_overlap(first, first, 0.5, chosen=chosen)
    assert (same.jaccard, same.p_value) == (1.0, 1.0)


def test_sets_of_other_experts_are_refused() -> None:
    with pytest.raises(ShapeError):
        expert_overlap(np.ones((2, 3)), np.ones((2, 4)), 0.5, chosen=permutations(2, 2))
    with pytest.raises(ShapeError):
        expert_overlap(np.ones((2, 3)), np.ones((2, 3)), 0.5, chosen=permutations(3, 2))
