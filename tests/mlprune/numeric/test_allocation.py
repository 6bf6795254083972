"""Sparsities around a total, compared with the formula as plain loops, and their properties."""

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError, StatisticsError
from mlprune.numeric.allocation import (
    CUTOFFS,
    MOST,
    block_score,
    dlp_sparsities,
    hill_tail,
    layer_tail,
    outlier_ratio,
    scaled_sparsities,
    shifted_sparsities,
    spectrum,
)
from tests.drawn import drawn
from tests.refusals import refused
from tests.spectra_reference import hill, peak_exponent

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
PARTS = st.lists(st.tuples(st.floats(-2, 5), st.integers(1, 100)), min_size=1, max_size=6)


def check_allocation(
    allocate: Callable[..., Sequence[float]],
    parts: list[tuple[float, int]],
    totals: tuple[float, float],
    *,
    spread: float,
    rises: bool,
) -> None:
    """Check range, weighted mean and order of the sparsities for two totals, of which the higher lowers no part.

    Args:
        parts: value and number of weights of every part.
        rises: a higher value means a higher sparsity; otherwise a lower one.
    """
    values, sizes = [value for value, _ in parts], [n for _, n in parts]
    low, high = (allocate(values, total, spread=spread, n_weights=sizes) for total in sorted(totals))
    for total, result in zip(sorted(totals), (low, high), strict=True):
        assert sum(n * s for n, s in zip(sizes, result, strict=True)) / sum(sizes) == pytest.approx(total, abs=1e-9)
        assert all(0 <= one <= MOST for one in result)
        by_value = [one if rises else -one for _, one in sorted(zip(values, result, strict=True))]
        assert all(first <= second + 1e-9 for first, second in pairwise(by_value))
    assert all(first <= second + 1e-12 for first, second in zip(low, high, strict=True))


def test_a_table_by_hand() -> None:
    result = shifted_sparsities([1.0, 2.0, 5.0], 0.5, spread=0.2, n_weights=[1, 3, 2])
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
        with refused(BadInputError, expected="0 <= sparsity < 1 and 0 < spread < 0.5"):
            shifted_sparsities([1.0, 2.0], sparsity, spread=spread, n_weights=[1, 1])
    for values in ([], [1.0, float("nan")]):
        with pytest.raises(StatisticsError):
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


LLAMA2_7B = (
    *(2.13563367, 2.7064359, 3.12323141, 3.12369503, 3.1421864, 3.13326877, 3.01261122, 3.07200663, 2.80807533),
    *(2.90998619, 2.71361412, 2.67604865, 2.84377592, 3.01278792, 3.05158918, 3.12148353, 3.43874274, 3.6877376),
    *(3.97584551, 3.80454254, 4.3339449, 4.27430064, 4.19692799, 4.12057992, 4.19476696, 4.09297838, 3.69893868),
    *(4.24375357, 4.15788501, 4.08514827, 4.27772774, 3.48347456),
)
"""Mean exponents of the blocks of LLaMA2-7B: data/llama2-7b-hf/alpha_peak.npy of haiquanlu/AlphaPruning."""


def scaled_by_loops(values: list[float], sizes: list[int], sparsity: float, epsilon: float) -> list[float]:
    """The published code, in float64."""
    low, high = min(values), max(values)
    ratios = [(value - low) / (high - low) * 2 * epsilon + 1 - epsilon for value in values]
    scale = sum(sizes) * sparsity / sum(n * ratio for n, ratio in zip(sizes, ratios, strict=True))
    return [ratio * scale for ratio in ratios]


def test_sparsities_of_published_exponents_are_those_of_the_published_code() -> None:
    sizes = [1] * len(LLAMA2_7B)
    result = scaled_sparsities(LLAMA2_7B, 0.7, n_weights=sizes)
    assert result == pytest.approx(scaled_by_loops(list(LLAMA2_7B), sizes, 0.7, 0.3), abs=1e-12)
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
    assert max(scaled_by_loops([1.0, 2.0, 3.0], [1, 1, 1], 0.9, 0.3)) > 1
    assert result == pytest.approx([0.801, 0.9, 0.999])


def test_one_block_equal_values_and_impossible_arguments() -> None:
    assert scaled_sparsities([2.0], 0.7, n_weights=[3]) == (0.7,)
    assert scaled_sparsities([2.0, 2.0], 0.7, n_weights=[3, 1]) == (0.7, 0.7)
    for sparsity, spread in ((1.0, 0.3), (0.5, 0.0), (0.5, 1.0)):
        with refused(BadInputError, expected="0 <= sparsity < 1 and 0 < spread < 1"):
            scaled_sparsities([1.0, 2.0], sparsity, spread=spread, n_weights=[1, 1])
    with pytest.raises(StatisticsError):
        scaled_sparsities([], 0.5, n_weights=[])


@pytest.mark.parametrize("m", [0.5, 1.5, 2.5])
def test_the_ratio_equals_its_definition_written_as_loops_over_all_layers_of_a_block(m: float) -> None:
    layers = [drawn(7, 5).abs(), drawn(3, 11, seed=1).abs() * 4]
    values = [float(value) for layer in layers for value in layer.flatten()]
    mean = sum(values) / len(values)
    expected = sum(value > m * mean for value in values) / len(values)
    assert 0 < expected < 1
    assert outlier_ratio(iter(layers), m) == expected


def test_the_ratio_of_a_large_layer_is_that_of_its_entries() -> None:
    scores = drawn(300, 400).abs().pow(3)
    wide = scores.double()
    assert outlier_ratio([scores], 5) == float((wide > 5 * wide.mean()).double().mean())


def test_scaling_all_scores_keeps_the_ratio_and_scores_at_the_threshold_are_not_outliers() -> None:
    scores = drawn(20, 30).abs()
    assert outlier_ratio([scores * 8], 2) == outlier_ratio([scores], 2)
    assert outlier_ratio([torch.ones(4, 4)], 1) == 0
    assert outlier_ratio([torch.zeros(4, 4)], 5) == 0


def test_half_precision_scores_are_summed_without_overflow() -> None:
    scores = torch.full((100, 100), 60_000.0, dtype=torch.float16)
    assert outlier_ratio([scores], 0.5) == 1


def test_impossible_scores_a_block_without_scores_and_a_threshold_that_is_not_positive_are_errors() -> None:
    for value in (-1.0, math.nan, math.inf):
        with pytest.raises(StatisticsError):
            outlier_ratio([torch.ones(2, 2), torch.tensor([[1.0, value]])], 5)
    with pytest.raises(StatisticsError):
        outlier_ratio([], 5)
    for m in (0.0, -1.0, math.nan, math.inf):
        with refused(BadInputError, expected="m > 0"):
            outlier_ratio([torch.ones(2, 2)], m)


PUBLISHED = (
    *(0.4651903510093689, 0.44965916872024536, 0.42350709438323975, 0.40378159284591675, 0.39465150237083435),
    *(0.3844759166240692, 0.37226057052612305, 0.3638628125190735, 0.35829776525497437, 0.35106420516967773),
    *(0.34578561782836914, 0.3391496539115906, 0.33272311091423035, 0.32491350173950195, 0.3165825605392456),
    *(0.3084643483161926, 0.29250648617744446, 0.28542560338974, 0.2731557786464691, 0.2680259048938751),
    *(0.25662869215011597, 0.25134027004241943, 0.24069496989250183, 0.23161152005195618, 0.22931307554244995),
    *(0.21939389407634735, 0.21083170175552368, 0.19912394881248474, 0.18748991191387177, 0.1825939267873764),
    *(0.16519032418727875, 0.17230449616909027),
)
"""Kept shares of the 32 blocks of LLaMA2-7B at 70 %: ratios/Llama-2-7b-hf_sparsity_0.7_alpha_0.15.json of
ironartisan/DLP."""


def kept_by_loops(scores: list[float], sparsity: float, alpha: float) -> list[float]:
    """Kept share of every block as in the published code, in float64."""
    ratios = [1 - score / sum(scores) for score in scores]
    scaled = [(one - min(ratios)) * (1 / (max(ratios) - min(ratios)) * alpha * 2) for one in ratios]
    return [one - sum(scaled) / len(scaled) + (1 - sparsity) for one in scaled]


def test_the_score_of_a_block_pools_the_weights_of_all_layers() -> None:
    layers = [drawn(7, 5).abs(), drawn(3, 11, seed=1).abs() * 4]
    values = [float(value) for layer in layers for value in layer.flatten()]
    assert block_score(iter(layers)) == pytest.approx(sum(values) / len(values), rel=1e-12)
    assert block_score(iter(layers), "median") == statistics.median_low(values)
    assert block_score([torch.tensor([[4.0, 1.0], [3.0, 2.0]])], "median") == 2


def test_scores_that_are_missing_negative_or_not_finite_are_errors() -> None:
    for statistic in ("mean", "median"):
        for layers in ([], [torch.tensor([[-1.0]])], [torch.tensor([[float("inf")]])]):
            with pytest.raises(StatisticsError):
                block_score(layers, statistic)  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(scores=st.lists(st.floats(0.1, 10), min_size=2, max_size=8, unique=True), sparsity=st.floats(0.4, 0.6))
def test_sparsities_are_those_of_the_published_formula(scores: list[float], sparsity: float) -> None:
    result = dlp_sparsities(scores, sparsity, n_weights=[7] * len(scores))
    assert result == pytest.approx([1 - one for one in kept_by_loops(scores, sparsity, 0.15)], abs=1e-9)


def test_published_sparsities_follow_from_any_linear_function_of_them() -> None:
    scores = [3.0 - 2.5 * kept for kept in PUBLISHED]
    result = dlp_sparsities(scores, 0.7, n_weights=[1] * len(scores))
    assert [1 - one for one in result] == pytest.approx(PUBLISHED, abs=1e-6)


def test_one_block_and_equal_scores_get_the_total() -> None:
    assert dlp_sparsities([2.0], 0.7, n_weights=[1]) == (0.7,)
    assert dlp_sparsities([2.0, 2.0], 0.7, n_weights=[1, 5]) == (0.7, 0.7)


def pareto(exponent: float, n: int) -> np.ndarray:
    """Quantiles of the density proportional to v^-exponent above 1, ascending."""
    return (1 - (np.arange(n) + 0.5) / n) ** (-1 / (exponent - 1))


def with_spectrum(values: np.ndarray, n_rows: int) -> torch.Tensor:
    """A matrix [n_rows, n] with given squared singular values."""
    n = len(values)
    left, _ = torch.linalg.qr(drawn(n_rows, n, seed=1).double())
    right, _ = torch.linalg.qr(drawn(n, n, seed=2).double())
    return left @ torch.diag(torch.from_numpy(np.sqrt(values))) @ right


@pytest.mark.parametrize("shape", [(24, 24), (40, 16), (16, 40)])
def test_spectra_are_squared_singular_values(shape: tuple[int, int]) -> None:
    weight = drawn(*shape) * 0.1
    expected = np.sort(np.linalg.svd(weight.double().numpy(), compute_uv=False) ** 2)
    assert spectrum(weight) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_exponents_are_those_of_the_published_formulas_written_as_loops(seed: int) -> None:
    weight = drawn(48, 32, seed=seed) * 0.1
    values = spectrum(weight)
    half = layer_tail(values, "half")
    assert (half.exponent, half.distance) == pytest.approx(hill(values, 16), rel=1e-9)
    assert (half.n, half.smallest) == (16, values[16])
    assert layer_tail(values, "peak").exponent == pytest.approx(peak_exponent(weight.double().numpy()), rel=1e-6)


def test_a_planted_power_law_is_found_from_the_matrix() -> None:
    for exponent in (2.0, 3.5):
        values = spectrum(with_spectrum(pareto(exponent, 120), 150))
        assert hill_tail(values, start=0).exponent == pytest.approx(exponent, rel=0.02)
        for cutoff in CUTOFFS:
            assert layer_tail(values, cutoff).exponent == pytest.approx(exponent, rel=0.1)


def test_zero_singular_values_do_not_count() -> None:
    copied = drawn(20, 10)
    copied = torch.cat([copied, copied[:, :5]], dim=1)
    assert len(spectrum(copied)) == 10
    assert np.isfinite(layer_tail(spectrum(copied), "peak").exponent)


@pytest.mark.parametrize("cutoff", CUTOFFS)
@pytest.mark.parametrize("weight", [torch.zeros(4, 4), torch.eye(4), torch.ones(4, 4)])
def test_a_matrix_without_different_singular_values_has_no_tail(weight: torch.Tensor, cutoff: str) -> None:
    with refused(StatisticsError, expected="different singular values"):
        layer_tail(spectrum(weight), cutoff)  # type: ignore[arg-type]


def test_a_weight_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(StatisticsError):
        spectrum(torch.tensor([[1.0, float("nan")]]))
