"""Outlier ratios and sparsities of OWL, compared with plain loops, and their properties."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.errors import BadInputError, StatisticsError
from mlprune.numeric.activations.outlier_ratios import outlier_ratio, owl_sparsities

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
RATIOS = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).abs()


@pytest.mark.parametrize("m", [0.5, 1.5, 2.5])
def test_the_ratio_equals_its_definition_written_as_loops_over_all_layers_of_a_block(m: float) -> None:
    layers = [drawn(7, 5), drawn(3, 11, seed=1) * 4]
    values = [float(value) for layer in layers for value in layer.flatten()]
    mean = sum(values) / len(values)
    expected = sum(value > m * mean for value in values) / len(values)
    assert 0 < expected < 1
    assert outlier_ratio(iter(layers), m) == expected


def test_the_ratio_of_a_large_layer_is_that_of_its_entries() -> None:
    scores = drawn(300, 400).pow(3)
    wide = scores.double()
    assert outlier_ratio([scores], 5) == float((wide > 5 * wide.mean()).double().mean())


def test_scaling_all_scores_keeps_the_ratio_and_scores_at_the_threshold_are_not_outliers() -> None:
    scores = drawn(20, 30)
    assert outlier_ratio([scores * 8], 2) == outlier_ratio([scores], 2)
    assert outlier_ratio([torch.ones(4, 4)], 1) == 0
    assert outlier_ratio([torch.zeros(4, 4)], 5) == 0


def test_half_precision_scores_are_summed_without_overflow() -> None:
    scores = torch.full((100, 100), 60_000.0, dtype=torch.float16)
    assert outlier_ratio([scores], 0.5) == 1


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_an_impossible_score_and_a_block_without_scores_are_errors(value: float) -> None:
    with pytest.raises(StatisticsError, match="negative or not finite"):
        outlier_ratio([torch.ones(2, 2), torch.tensor([[1.0, value]])], 5)
    with pytest.raises(StatisticsError, match="no scores"):
        outlier_ratio([], 5)


@pytest.mark.parametrize("m", [0.0, -1.0, math.nan, math.inf])
def test_an_outlier_threshold_that_is_not_positive_is_an_error(m: float) -> None:
    with pytest.raises(BadInputError, match="outlier threshold"):
        outlier_ratio([torch.ones(2, 2)], m)


def test_sparsities_equal_the_published_scaling() -> None:
    # scaled to [0, 0.16]: 0, 0.08, 0.16, 0.04, of mean 0.07
    assert owl_sparsities([0.01, 0.03, 0.05, 0.02], 0.5) == (0.57, 0.49, 0.41, 0.53)
    assert owl_sparsities([1.0, 3.0, 5.0, 2.0], 0.7, spread=0.04) == (0.735, 0.695, 0.655, 0.715)


def test_more_outliers_mean_a_lower_sparsity_and_percents_do_as_well_as_fractions() -> None:
    ratios = [0.02, 0.05, 0.01, 0.03]
    sparsities = owl_sparsities(ratios, 0.6)
    order = sorted(range(4), key=lambda block: ratios[block])
    assert sorted(range(4), key=lambda block: -sparsities[block]) == order
    assert owl_sparsities([100 * ratio for ratio in ratios], 0.6) == sparsities


@PROPERTY
@given(ratios=RATIOS, sparsity=st.floats(0.2, 0.8), spread=st.floats(0.01, 0.1))
def test_the_mean_is_the_target_and_the_extremes_are_twice_the_spread_apart(
    ratios: list[float], sparsity: float, spread: float
) -> None:
    sparsities = owl_sparsities(ratios, sparsity, spread=spread)
    assert math.isclose(sum(sparsities) / len(ratios), sparsity, abs_tol=1e-11)
    if max(ratios) > min(ratios):
        assert math.isclose(max(sparsities) - min(sparsities), 2 * spread, abs_tol=1e-11)


@PROPERTY
@given(ratios=RATIOS, pair=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)), spread=st.floats(0.01, 0.49))
def test_a_higher_target_lowers_no_block_and_all_stay_in_range(
    ratios: list[float], pair: tuple[float, float], spread: float
) -> None:
    low, high = (owl_sparsities(ratios, sparsity, spread=spread) for sparsity in sorted(pair))
    assert all(a <= b for a, b in zip(low, high, strict=True))
    assert all(0 <= sparsity < 1 for sparsity in low + high)


def test_equal_ratios_one_block_and_sparsity_zero_are_uniform() -> None:
    assert owl_sparsities([0.2, 0.2, 0.2], 0.29) == (0.29, 0.29, 0.29)
    assert owl_sparsities([0.2], 0.29) == (0.29,)
    assert owl_sparsities([0.1, 0.2], 0) == (0, 0)


def test_a_sparsity_out_of_range_is_cut() -> None:
    low, high = owl_sparsities([0.0, 1.0], 0.05), owl_sparsities([0.0, 1.0], 0.97)
    assert low == (0.13, 0)
    assert high == (math.nextafter(1, 0), 0.89)


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, math.nan])
def test_a_target_out_of_range_is_an_error(sparsity: float) -> None:
    with pytest.raises(BadInputError, match="sparsity is out of range"):
        owl_sparsities([0.1, 0.2], sparsity)


@pytest.mark.parametrize("spread", [0.0, -0.1, 0.5, math.nan])
def test_a_spread_out_of_range_is_an_error(spread: float) -> None:
    with pytest.raises(BadInputError, match="spread"):
        owl_sparsities([0.1, 0.2], 0.5, spread=spread)


@pytest.mark.parametrize("ratios", [[], [0.1, math.nan], [math.inf, 0.1]])
def test_missing_and_non_finite_ratios_are_errors(ratios: list[float]) -> None:
    with pytest.raises(StatisticsError, match="missing or not finite"):
        owl_sparsities(ratios, 0.5)
