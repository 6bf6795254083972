"""Scores of blocks and sparsities of DLP, compared with float64 loops and with published sparsities."""

import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.numeric.allocation.block_scores import block_score, dlp_sparsities

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


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).abs()


def kept_by_loops(scores: list[float], sparsity: float, alpha: float) -> list[float]:
    """Kept share of every block as in the published code, in float64."""
    ratios = [1 - score / sum(scores) for score in scores]
    scaled = [(one - min(ratios)) * (1 / (max(ratios) - min(ratios)) * alpha * 2) for one in ratios]
    return [one - sum(scaled) / len(scaled) + (1 - sparsity) for one in scaled]


def test_the_score_of_a_block_pools_the_weights_of_all_layers() -> None:
    layers = [drawn(7, 5), drawn(3, 11, seed=1) * 4]
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


def test_a_planted_block_of_low_scores_keeps_the_most() -> None:
    scores = [block_score([drawn(20, 30, seed=seed) * (0.1 if seed == 2 else 1)]) for seed in range(5)]
    sparsities = dlp_sparsities(scores, 0.5, n_weights=[600] * 5)
    assert min(range(5), key=lambda block: sparsities[block]) == 2
    assert max(sparsities) - min(sparsities) == pytest.approx(0.3)
    assert sum(sparsities) / 5 == pytest.approx(0.5)


def test_one_block_and_equal_scores_get_the_total() -> None:
    assert dlp_sparsities([2.0], 0.7, n_weights=[1]) == (0.7,)
    assert dlp_sparsities([2.0, 2.0], 0.7, n_weights=[1, 5]) == (0.7, 0.7)
