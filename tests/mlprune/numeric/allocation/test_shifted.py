"""Sparsities around a total, compared with the formula as plain loops, and their properties."""

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
