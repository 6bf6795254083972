"""Scores that read gradients: the score of Wanda++."""

import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.numeric.weights.layer_inputs import LayerInputs
from mlprune.numeric.weights.score_rows import check_norms, row_chunks


def wanda_plus_plus_scores(weight: Tensor, norms: Tensor, gradients: Tensor, *, alpha: float = 100.0) -> Tensor:
    """Score each weight by its magnitude times the sum of a gradient and the norm of the feature it reads.

    S[i, j] = |W[i, j]| * (alpha * G[i, j] + ||X_j||_2)        (Yang et al., Wanda++, arXiv:2503.04992)

    Both G and the norm are roots of means over demonstrations, so that their balance does not depend on how many there
    are. Wanda's code, which the paper extends, takes this mean; the paper's own code is not public. Everything is
    float64 until the result is rounded once. The paper's regional optimiser, which changes weights, is not included.

    Args:
        weight: [out, in], any float dtype.
        norms: [in], float32 or wider.
        gradients: [out, in], float32, from `GradientSquares.root_means`.
        alpha: weight of the gradient, >= 0; the paper's is 100.
    Returns: [out, in], float32, >= 0.
    Raises:
        ShapeError: the shapes differ.
        StatisticsError: `norms` holds a negative or non-finite value.
    """
    check_norms(weight, norms)
    _check_gradients(weight, gradients)
    scores = torch.empty(weight.shape, dtype=torch.float32, device=weight.device)
    factors = norms.to(device=weight.device, dtype=torch.float64)
    for rows in row_chunks(weight):
        sums = gradients[rows].to(device=weight.device, dtype=torch.float64).mul_(alpha).add_(factors)
        scores[rows] = weight.detach()[rows].to(torch.float64).abs().mul_(sums).to(torch.float32)
    return scores


def gradients_of(inputs: LayerInputs, gradients: Tensor | None) -> Tensor:
    """Return the gradients that a score reads.

    Raises:
        StatisticsError: there are none.
    """
    if gradients is None:
        raise StatisticsError("a score reads gradients, and there are none", block=inputs.block, layer=inputs.layer)
    return gradients


def _check_gradients(weight: Tensor, gradients: Tensor) -> None:
    if weight.ndim != 2 or gradients.shape != weight.shape:
        expected, got = tuple(weight.shape), tuple(gradients.shape)
        raise ShapeError("gradients do not fit the weight", expected=expected, got=got)
