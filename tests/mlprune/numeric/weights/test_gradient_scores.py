"""Scores that read gradients, compared with plain loops."""

import pytest
import torch
from torch import Tensor

from mlprune.errors import ShapeError
from mlprune.numeric.weights.gradient_scores import wanda_plus_plus_scores
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


def test_gradients_of_another_shape_are_an_error() -> None:
    with pytest.raises(ShapeError, match="gradients do not fit"):
        wanda_plus_plus_scores(drawn(3, 4), drawn(4).abs(), drawn(3, 5))
