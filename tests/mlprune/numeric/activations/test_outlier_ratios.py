"""Outlier ratios and sparsities of OWL, compared with plain loops, and their properties."""

import math

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.errors import BadInputError, StatisticsError
from mlprune.numeric.activations.outlier_ratios import outlier_ratio

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
