"""Counting, ranking and listing of combinations of levels with a given weighted sum."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.search.level_sums import LevelSums, reachable_sums

WEIGHTS = st.lists(st.sampled_from([1, 2, 5]), min_size=1, max_size=5)


@settings(deadline=None, max_examples=25)
@given(WEIGHTS, st.integers(1, 4), st.integers(0, 30))
def test_ranks_number_exactly_the_combinations_with_the_sum(weights: list[int], n_levels: int, target: int) -> None:
    sums = LevelSums(weights, n_levels, target=target)
    listed = [
        levels
        for levels in product(range(n_levels), repeat=len(weights))
        if sum(weight * level for weight, level in zip(weights, levels, strict=True)) == target
    ]
    numbered = [sums.at(rank) for rank in range(sums.n_combinations)]
    assert sorted(numbered) == listed
    assert [sums.rank(levels) for levels in numbered] == list(range(len(listed)))
    if len(set(weights)) == 1:
        assert numbered == listed


@settings(deadline=None, max_examples=25)
@given(WEIGHTS, st.integers(1, 4))
def test_reachable_sums_are_those_of_some_levels(weights: list[int], n_levels: int) -> None:
    for first, bits in enumerate(reachable_sums(weights, n_levels)):
        later = weights[first:]
        reached = {
            sum(w * k for w, k in zip(later, levels, strict=True))
            for levels in product(range(n_levels), repeat=len(later))
        }
        assert {index for index in range(bits.bit_length()) if bits >> index & 1} == reached


def test_large_models_are_counted_exactly() -> None:
    """The blocks and layers of 32 blocks with two sizes of layers."""
    sums = LevelSums([16, 16, 16, 16, 43, 43, 43] * 32, 5, target=2 * 32 * (4 * 16 + 3 * 43))
    rank = sums.n_combinations // 3
    levels = sums.at(rank)
    assert sums.rank(levels) == rank
    assert sum(weight * level for weight, level in zip(sums.weights, levels, strict=True)) == sums.target
    assert 5**219 < sums.n_combinations < 5**220  # one combination in 1,600 has the mean sum
