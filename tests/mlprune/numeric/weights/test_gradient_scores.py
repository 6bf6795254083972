"""Scores that read gradients, compared with plain loops."""

import pytest
import torch
from torch import Tensor

from mlprune.errors import ShapeError
from mlprune.numeric.weights.gradient_scores import pruner_zero_scores, wanda_plus_plus_scores
from mlprune.numeric.weights.scores import wanda_scores


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("alpha", [0.0, 100.0])
def test_wanda_plus_plus_scores_equal_the_formula_written_as_loops(alpha: float, dtype: torch.dtype) -> None:
    weight, norms, gradients = drawn(6, 5).to(dtype), drawn(5, seed=1).abs(), drawn(6, 5, seed=2).abs()
    rows = [
        [abs(float(weight[i, j])) * (alpha * float(gradients[i, j]) + float(norms[j])) for j in range(5)]
        for i in range(6)
    ]
    scores = wanda_plus_plus_scores(weight, norms, gradients, alpha=alpha)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.double(), torch.tensor(rows, dtype=torch.float64), rtol=1e-6, atol=0)
    if alpha == 0:
        torch.testing.assert_close(scores, wanda_scores(weight, norms), rtol=1e-6, atol=0)


def test_pruner_zero_scores_equal_the_formula_written_as_loops_up_to_one_factor() -> None:
    weight, gradients = drawn(6, 5), drawn(6, 5, seed=2).abs()
    values = gradients.double().flatten().tolist()
    least, most, largest = min(values), max(values), float(weight.abs().max())
    rows = [
        [(float(weight[i, j]) / largest) ** 2 * (float(gradients[i, j]) - least) / (most - least) for j in range(5)]
        for i in range(6)
    ]
    scores = pruner_zero_scores(weight, gradients)
    torch.testing.assert_close(scores.double(), torch.tensor(rows, dtype=torch.float64), rtol=1e-6, atol=1e-12)
    assert torch.equal(pruner_zero_scores(weight, gradients * 8), scores)  # a scaled loss changes nothing


def test_pruner_zero_scores_of_equal_gradients_or_zero_weights_are_numbers() -> None:
    weight = drawn(3, 4)
    equal = pruner_zero_scores(weight, torch.full((3, 4), 0.5))
    torch.testing.assert_close(equal, (weight / weight.abs().max()).square(), rtol=1e-6, atol=0)
    assert pruner_zero_scores(torch.zeros(3, 4), drawn(3, 4).abs()).eq(0).all()


def test_gradients_of_another_shape_are_an_error() -> None:
    with pytest.raises(ShapeError, match="gradients do not fit"):
        pruner_zero_scores(drawn(3, 4), drawn(4, 3))
    with pytest.raises(ShapeError, match="gradients do not fit"):
        wanda_plus_plus_scores(drawn(3, 4), drawn(4).abs(), drawn(3, 5))
