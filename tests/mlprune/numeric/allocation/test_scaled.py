"""Sparsities of AlphaPruning, compared with the published formula as loops, and their properties."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError, StatisticsError
from mlprune.numeric.allocation.scaled import scaled_sparsities
from tests.mlprune.numeric.allocation.allocation_checks import check_allocation

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
LLAMA2_7B = (
    *(2.13563367, 2.7064359, 3.12323141, 3.12369503, 3.1421864, 3.13326877, 3.01261122, 3.07200663, 2.80807533),
    *(2.90998619, 2.71361412, 2.67604865, 2.84377592, 3.01278792, 3.05158918, 3.12148353, 3.43874274, 3.6877376),
    *(3.97584551, 3.80454254, 4.3339449, 4.27430064, 4.19692799, 4.12057992, 4.19476696, 4.09297838, 3.69893868),
    *(4.24375357, 4.15788501, 4.08514827, 4.27772774, 3.48347456),
)
"""Mean exponents of the blocks of LLaMA2-7B: data/llama2-7b-hf/alpha_peak.npy of haiquanlu/AlphaPruning."""


def by_loops(values: list[float], sizes: list[int], sparsity: float, epsilon: float) -> list[float]:
    """The published code, in float64."""
    low, high = min(values), max(values)
    ratios = [(value - low) / (high - low) * 2 * epsilon + 1 - epsilon for value in values]
    scale = sum(sizes) * sparsity / sum(n * ratio for n, ratio in zip(sizes, ratios, strict=True))
    return [ratio * scale for ratio in ratios]


def test_sparsities_of_published_exponents_are_those_of_the_published_code() -> None:
    sizes = [1] * len(LLAMA2_7B)
    result = scaled_sparsities(LLAMA2_7B, 0.7, n_weights=sizes)
    assert result == pytest.approx(by_loops(list(LLAMA2_7B), sizes, 0.7, 0.3), abs=1e-12)
    assert sum(result) / len(result) == pytest.approx(0.7, abs=1e-12)
    assert max(result) / min(result) == pytest.approx(1.3 / 0.7)


@PROPERTY
@given(
    blocks=st.lists(st.tuples(st.floats(1, 8), st.integers(1, 100)), min_size=1, max_size=6),
    pair=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)),
    spread=st.floats(0.01, 0.99),
)
def test_the_weighted_mean_is_the_total_and_a_higher_total_lowers_no_block(
    blocks: list[tuple[float, int]], pair: tuple[float, float], spread: float
) -> None:
    check_allocation(scaled_sparsities, blocks, pair, spread=spread, rises=True)


def test_a_high_total_makes_all_differences_smaller_instead_of_clipping_a_block() -> None:
    result = scaled_sparsities([1.0, 2.0, 3.0], 0.9, n_weights=[1, 1, 1])
    assert max(by_loops([1.0, 2.0, 3.0], [1, 1, 1], 0.9, 0.3)) > 1
    assert result == pytest.approx([0.801, 0.9, 0.999])


def test_one_block_equal_values_and_impossible_arguments() -> None:
    assert scaled_sparsities([2.0], 0.7, n_weights=[3]) == (0.7,)
    assert scaled_sparsities([2.0, 2.0], 0.7, n_weights=[3, 1]) == (0.7, 0.7)
    for sparsity, spread in ((1.0, 0.3), (0.5, 0.0), (0.5, 1.0)):
        with pytest.raises(BadInputError, match="out of range"):
            scaled_sparsities([1.0, 2.0], sparsity, spread=spread, n_weights=[1, 1])
    with pytest.raises(StatisticsError, match="missing or not finite"):
        scaled_sparsities([], 0.5, n_weights=[])
