"""FLAP: scores of attention heads and feed-forward neurons by how much their outputs vary, and biases for their means.

An et al., *Fluctuation-based Adaptive Structured Pruning for Large Language Models*, arXiv:2312.11983; published code
CASIA-IVA-Lab/FLAP, `prune_flap` with metric WIFV and structure AL-AM. A unit whose output hardly varies can be replaced
by a constant, and the bias of the next layer can contain that constant.

Differences to the published code: the variance is that of all counted tokens, in float64 (there: an online update in
half precision whose first sample counts as 0, and whose k-th sample counts (k - 1) / k of its squared deviations, so
later samples weigh more); as many units are removed as come nearest to the target (there: those above a threshold stay,
which is the score of a unit, so one more is removed); the compensation is added to a bias that the model has (there: it
replaces the bias). Like there, the scores of the features of heads are squared before they are standardised; the paper
does not mention it, and `head_power: 1` leaves it out.
"""

import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.numeric.weights.layer_inputs import FeatureMoments


def feature_variances(moments: FeatureMoments) -> Tensor:
    """Return the variance of every feature over all counted tokens, [in] float64, >= 0.

    Var(x_j) = sum x_j ** 2 / n - (sum x_j / n) ** 2

    Raises:
        StatisticsError: no token counts, or a sum is not finite.
    """
    mean = feature_means(moments)
    squares = moments.squares.to(torch.float64)
    if not bool(torch.isfinite(squares).all()):
        raise StatisticsError("sums of squares are not finite")
    return (squares / moments.n_tokens - mean.square()).clamp(min=0)


def feature_means(moments: FeatureMoments) -> Tensor:
    """Return the mean of every feature over all counted tokens, [in] float64.

    Raises:
        StatisticsError: no token counts, or a sum is not finite.
    """
    if not moments.n_tokens > 0:
        raise StatisticsError("moments without counted tokens", expected="n_tokens > 0", got=moments.n_tokens)
    sums = moments.sums.to(torch.float64)
    if not bool(torch.isfinite(sums).all()):
        raise StatisticsError("sums of features are not finite")
    return sums / moments.n_tokens


def feature_scores(weight: Tensor, moments: FeatureMoments) -> Tensor:
    """Score the input features of an output or down projection, [in] float64, >= 0.

    S_j = Var(x_j) * sum_i W[i, j] ** 2

    Args:
        weight: [out, in], any float dtype.
        moments: of the inputs of the layer.
    Raises:
        ShapeError: `in` differs between the two.
        StatisticsError: no token counts, or a sum is not finite.
    """
    variances = feature_variances(moments)
    if weight.ndim != 2 or weight.shape[1] != variances.numel():
        got = tuple(variances.shape)
        raise ShapeError("statistics do not fit the weight", expected=(weight.shape[-1],), got=got)
    return variances * weight.to(torch.float64).square().sum(dim=0).to(variances.device)


def unit_scores(scores: Tensor, owners: Tensor, *, n_units: int, power: float = 1.0) -> Tensor:
    """Return one score per unit: the mean of the standardised scores of its features, [n_units] float64.

    z_j = (S_j ** power - mean) / std over the features of the layer (std divides by n - 1)

    If all features have equal scores, every unit has score 0.

    Args:
        scores: [in], of the features.
        owners: [in] int64, the unit of each feature, in [0, n_units); every unit has a feature.
        power: 2 for heads in the published code, and 1 for neurons.
    Raises:
        ShapeError: the two lengths differ.
    """
    if scores.shape != owners.shape:
        raise ShapeError("units do not fit the scores", expected=tuple(scores.shape), got=tuple(owners.shape))
    powers = scores.to(torch.float64) ** power
    deviations = powers - powers.mean()
    n_features = scores.numel()
    std = (deviations.square().sum() / max(n_features - 1, 1)).sqrt()
    standardised = deviations / std if bool(std > 0) else torch.zeros_like(deviations)
    sums = torch.zeros(n_units, dtype=torch.float64).index_add_(0, owners, standardised)
    return sums / torch.bincount(owners, minlength=n_units)


def compensated_bias(weight: Tensor, bias: Tensor, *, removed: Tensor, moments: FeatureMoments) -> Tensor:
    """Return the bias that replaces removed inputs by their means, [out] in the dtype of `bias`.

    b_i + sum of W[i, j] * mean(x_j) over removed j, in float64

    If the removed inputs are constant, the outputs stay the same.

    Args:
        weight: [out, in], the dense weight, any float dtype.
        bias: [out], the dense bias.
        removed: [in] bool.
    Raises:
        ShapeError: `in` differs.
        StatisticsError: no token counts, or a sum is not finite.
    """
    means = feature_means(moments)
    if not weight.shape[1] == means.numel() == removed.numel():
        got = (means.numel(), removed.numel())
        raise ShapeError("statistics do not fit the weight", expected=weight.shape[1], got=got)
    removed_weights = weight[:, removed].to(torch.float64)
    return (bias.to(torch.float64) + removed_weights @ means[removed]).to(bias.dtype)
