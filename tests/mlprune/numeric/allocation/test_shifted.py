"""Sparsities around a total, compared with the formula as plain loops, and their properties."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError, StatisticsError
from mlprune.numeric.allocation.shifted import shifted_sparsities
from tests.mlprune.numeric.allocation.allocation_checks import check_allocation

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
PARTS = st.lists(st.tuples(st.floats(-2, 5), st.integers(1, 100)), min_size=1, max_size=6)


def by_loops(parts: list[tuple[float, int]], sparsity: float, spread: float) -> list[float]:
    """The formula where no part leaves the range."""
    low, high = min(value for value, _ in parts), max(value for value, _ in parts)
    ratios = [2 * spread * (value - low) / (high - low) for value, _ in parts]
    total = sum(n * ratio for ratio, (_, n) in zip(ratios, parts, strict=True))
    return [sparsity - (ratio - total / sum(n for _, n in parts)) for ratio in ratios]


def test_a_table_by_hand() -> None:
    parts = [(1.0, 1), (2.0, 3), (5.0, 2)]
    result = shifted_sparsities([1.0, 2.0, 5.0], 0.5, spread=0.2, n_weights=[1, 3, 2])
    assert result == pytest.approx(by_loops(parts, 0.5, 0.2), abs=1e-12)
    # shifts 0, 0.1, 0.4 of weighted mean 1.1 / 6
    assert result == pytest.approx([0.5 + 1.1 / 6, 0.4 + 1.1 / 6, 0.1 + 1.1 / 6], abs=1e-12)


@PROPERTY
@given(parts=PARTS, pair=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)), spread=st.floats(0.01, 0.49))
def test_the_weighted_mean_is_the_total_and_a_higher_total_lowers_no_part(
    parts: list[tuple[float, int]], pair: tuple[float, float], spread: float
) -> None:
    check_allocation(shifted_sparsities, parts, pair, spread=spread, rises=False)


def test_a_sparsity_and_a_spread_out_of_range_and_missing_values_are_errors() -> None:
    for sparsity, spread in ((1.0, 0.1), (-0.1, 0.1), (0.5, 0.0), (0.5, 0.5)):
        with pytest.raises(BadInputError, match="out of range"):
            shifted_sparsities([1.0, 2.0], sparsity, spread=spread, n_weights=[1, 1])
    for values in ([], [1.0, float("nan")]):
        with pytest.raises(StatisticsError, match="missing or not finite"):
            shifted_sparsities(values, 0.5, spread=0.1, n_weights=[1] * len(values))


def owl_sparsities(ratios: list[float], sparsity: float, *, spread: float = 0.08) -> tuple[float, ...]:
    """OWL: outlier ratios of blocks of equal size."""
    return shifted_sparsities(ratios, sparsity, spread=spread, n_weights=[1] * len(ratios))


def test_of_outlier_ratios_they_equal_the_published_scaling_of_owl() -> None:
    # scaled to [0, 0.16]: 0, 0.08, 0.16, 0.04, of mean 0.07
    assert owl_sparsities([0.01, 0.03, 0.05, 0.02], 0.5) == (0.57, 0.49, 0.41, 0.53)
    assert owl_sparsities([1.0, 3.0, 5.0, 2.0], 0.7, spread=0.04) == (0.735, 0.695, 0.655, 0.715)
    assert owl_sparsities([2.0, 5.0, 1.0, 3.0], 0.6) == owl_sparsities([0.02, 0.05, 0.01, 0.03], 0.6)


@PROPERTY
@given(
    ratios=st.lists(st.floats(0, 1), min_size=1, max_size=8),
    sparsity=st.floats(0.17, 0.83),
)
def test_without_a_block_out_of_range_they_are_those_of_earlier_versions_bit_for_bit(
    ratios: list[float], sparsity: float
) -> None:
    lowest, highest = min(ratios), max(ratios)
    if lowest == highest:
        expected = (sparsity,) * len(ratios)
    else:
        scaled = [2 * 0.08 * ((ratio - lowest) / (highest - lowest)) for ratio in ratios]
        mean = math.fsum(scaled) / len(scaled)
        expected = tuple(round(sparsity - (shift - mean), 12) for shift in scaled)
    assert owl_sparsities(ratios, sparsity) == expected


def test_equal_ratios_one_block_and_sparsity_zero_are_uniform() -> None:
    assert owl_sparsities([0.2, 0.2, 0.2], 0.29) == (0.29, 0.29, 0.29)
    assert owl_sparsities([0.2], 0.29) == (0.29,)
    assert owl_sparsities([0.1, 0.2], 0) == (0, 0)
