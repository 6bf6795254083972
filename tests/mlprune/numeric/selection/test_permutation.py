"""Channel permutation before N:M, compared with all orders of a few inputs and with the steps as plain loops."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError
from mlprune.numeric.selection.levels import levels_of, permuted_levels
from mlprune.numeric.selection.permutation import column_order, kept_sum
from mlprune.processes.parallel import set_worker_threads
from tests.refusals import refused

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def kept_by_loops(scores: list[list[float]], order: list[int], n: int, m: int) -> float:
    groups = [order[start : start + m] for start in range(0, len(order), m)]
    return sum(sum(sorted(row[column] for column in group)[n:]) for row in scores for group in groups)


def best_kept(scores: list[list[float]], n: int, m: int) -> float:
    """The highest kept sum of all orders."""
    return max(kept_by_loops(scores, list(order), n, m) for order in permutations(range(len(scores[0]))))


def order_by_loops(scores: list[list[float]], n: int, m: int) -> list[int]:
    """The published steps, with every assignment found by trying all of them."""
    d_in = len(scores[0])
    n_groups = d_in // m
    by_sum = sorted(range(d_in), key=lambda column: sum(row[column] for row in scores))
    order = [0] * d_in
    for place, column in enumerate(by_sum):
        position, group = divmod(place, n_groups)
        order[(n_groups - 1 - group if position % 2 else group) * m + position] = column
    for position in range(m):
        tried = []
        for moved in permutations(order[position::m]):
            trial = list(order)
            trial[position::m] = moved
            tried.append((kept_by_loops(scores, trial, n, m), trial))
        order = max(tried, key=lambda one: one[0])[1]
    given = list(range(d_in))
    return order if kept_by_loops(scores, order, n, m) > kept_by_loops(scores, given, n, m) else given


def drawn(seed: int, d_out: int, d_in: int) -> Tensor:
    """Scores whose inputs differ in size, as those of real layers do."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(d_out, d_in, generator=generator) * torch.randn(d_in, generator=generator).exp()


@pytest.mark.parametrize(("n", "m", "d_in"), [(2, 4, 8), (1, 2, 6), (1, 3, 6), (3, 4, 8)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_order_is_that_of_the_steps_as_loops(n: int, m: int, d_in: int, seed: int) -> None:
    scores = drawn(seed, 5, d_in)
    order = column_order(scores, n, m)
    assert sorted(order.tolist()) == list(range(d_in))
    kept = kept_sum(scores.numpy(), order, n=n, m=m)
    assert kept == pytest.approx(kept_by_loops(scores.tolist(), order.tolist(), n, m), rel=1e-6)
    expected = order_by_loops(scores.tolist(), n, m)
    assert kept == pytest.approx(kept_by_loops(scores.tolist(), expected, n, m), rel=1e-6)


def test_on_average_most_of_what_the_best_order_gains_is_gained() -> None:
    gained = possible = 0.0
    for seed in range(4):
        scores = drawn(seed, 4, 6)
        given = kept_by_loops(scores.tolist(), list(range(6)), 1, 2)
        gained += kept_sum(scores.numpy(), column_order(scores, 1, 2), n=1, m=2) - given
        possible += best_kept(scores.tolist(), 1, 2) - given
    assert 0.6 * possible < gained <= possible * (1 + 1e-6)


@PROPERTY
@given(st.integers(0, 2**16), st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 8)]), st.integers(1, 4), st.integers(1, 6))
def test_the_kept_sum_is_never_lower_than_in_the_given_order(
    seed: int, pattern: tuple[int, int], n_groups: int, d_out: int
) -> None:
    n, m = pattern
    scores = drawn(seed, d_out, n_groups * m).mul_(8).round_()  # with ties
    order, given = column_order(scores, n, m), np.arange(n_groups * m)
    assert sorted(order.tolist()) == given.tolist()
    assert kept_sum(scores.numpy(), order, n=n, m=m) >= kept_sum(scores.numpy(), given, n=n, m=m)


def test_four_outstanding_inputs_side_by_side_come_into_four_groups() -> None:
    scores = torch.ones(3, 16)
    scores[:, 4:8] = 100
    order = column_order(scores, 2, 4).reshape(4, 4)
    assert [sum(4 <= column < 8 for column in group) for group in order.tolist()] == [1, 1, 1, 1]
    kept = permuted_levels(scores, "2:4", sparsities=[0.5]) == 1
    assert kept[:, 4:8].all()
    assert not (levels_of(scores, "2:4", sparsities=[0.5]) == 1)[:, 4:8].all()


def test_levels_are_n_of_m_in_the_found_order() -> None:
    scores = drawn(3, 6, 16)
    levels, order = permuted_levels(scores, "2:4", sparsities=[0.5]), column_order(scores, 2, 4)
    groups = levels[:, order].reshape(-1, 4)
    assert groups.sum(dim=1).tolist() == [2] * len(groups)
    lowest = scores[:, order].reshape(-1, 4).argsort(dim=1)[:, :2]
    assert groups.gather(1, lowest).eq(0).all()


def test_an_order_that_gains_nothing_is_the_given_one() -> None:
    assert column_order(torch.ones(3, 8), 2, 4).tolist() == list(range(8))
    assert column_order(drawn(0, 3, 4), 2, 4).tolist() == list(range(4))


def test_the_order_does_not_depend_on_the_number_of_threads() -> None:
    scores = drawn(4, 7, 160)
    alone = column_order(scores, 2, 4)
    try:
        set_worker_threads(3)
        assert np.array_equal(column_order(scores, 2, 4), alone)
    finally:
        set_worker_threads(1)


def test_what_is_no_pattern_is_refused() -> None:
    with refused(BadInputError, expected="0 < n < m", got="4:4"):
        column_order(torch.ones(2, 8), 4, 4)
    with refused(BadInputError, expected="2:4, say", got="row"):
        permuted_levels(torch.ones(2, 8), "row", sparsities=[0.5])
    with refused(ShapeError, expected="a multiple of 4", got=6):
        column_order(torch.ones(2, 6), 2, 4)
