"""FLAP: scores of attention heads and feed-forward neurons, the units to remove, and biases for their means.

An et al., *Fluctuation-based Adaptive Structured Pruning for Large Language Models*, arXiv:2312.11983; published code
CASIA-IVA-Lab/FLAP, `prune_flap` with metric WIFV and structure AL-AM. A unit whose output hardly varies can be replaced
by a constant, and the bias of the next layer can contain that constant. Units of all blocks are removed by ascending
score until the weights that remain are nearest to the target; a unit counts as many weights as it has. (The published
code has the ratio of LLaMA-7B as a constant, 512/3 for a head against 1 for a neuron, which is the ratio of their
weights.)

Differences to the published code: the variance is that of all counted tokens, in float64 (there: an online update in
half precision whose first sample counts as 0, and whose k-th sample counts (k - 1) / k of its squared deviations, so
later samples weigh more); as many units are removed as come nearest to the target (there: those above a threshold stay,
which is the score of a unit, so one more is removed); the best head and the best neuron of every block stay; the
compensation is added to a bias that the model has (there: it replaces the bias). Like there, the scores of the features
of heads are squared before they are standardised; the paper does not mention it, and `head_power: 1` leaves it out.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError
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


@dataclass(frozen=True)
class UnitGroup:
    """The units of one kind in one block."""

    block: int
    kind: str
    """`heads` or `neurons`."""
    scores: Tensor
    """[n_units] float64; the lowest are removed first."""
    unit_weights: int
    """Prunable weights of one unit."""

    @property
    def n_weights(self) -> int:
        """Prunable weights of all units."""
        return self.unit_weights * self.scores.numel()


@dataclass(frozen=True)
class _Step:
    """Units that are removed together."""

    score: float
    units: tuple[tuple[int, int], ...]
    """(index of the group, index of the unit)."""
    n_weights: int


def removed_units(groups: Sequence[UnitGroup], sparsity: float, *, equal_widths: bool = False) -> tuple[Tensor, ...]:
    """Choose the units to remove so that the share of removed weights is nearest to the sparsity.

    Units are removed by ascending score; of equal scores, the earlier group, then the lower index first. With
    `equal_widths`, all blocks lose the same number of heads and of neurons: a step removes the next unit of every
    block, and its score is the mean of theirs. The result differs from the target by at most half a step, unless too
    few units may be removed; of two totals that are equally near, the lower one is chosen. A higher sparsity never
    keeps a unit that a lower one removes.

    Args:
        groups: of all blocks.
        sparsity: share of the weights of all groups together, in [0, 1).
    Returns: for each group, [n_units] bool, True for units that are removed.
    Raises:
        StatisticsError: a score is not finite.
        ShapeError: `equal_widths`, and blocks have different numbers of units of one kind.
        BadInputError: the sparsity is out of range.
    """
    for group in groups:
        if not bool(torch.isfinite(group.scores).all()):
            raise StatisticsError("a score of a unit is not finite", block=group.block, kind=group.kind)
    if not 0 <= sparsity < 1:
        raise BadInputError("a sparsity is out of range", expected="0 <= sparsity < 1", got=sparsity)
    target = float(Fraction(str(sparsity)) * sum(group.n_weights for group in groups))
    steps = sorted(_equal_steps(groups) if equal_widths else _single_steps(groups), key=lambda step: step.score)
    totals = np.concatenate([[0], np.cumsum([step.n_weights for step in steps], dtype=np.int64)])
    n_steps = int(np.argmin(np.abs(totals - target)))
    removed = tuple(torch.zeros(group.scores.numel(), dtype=torch.bool) for group in groups)
    for step in steps[:n_steps]:
        for group_index, unit in step.units:
            removed[group_index][unit] = True
    return removed


def _ascending(group: UnitGroup) -> Tensor:
    """Return the units of a group by ascending score, without the best one, which stays."""
    return torch.argsort(group.scores, stable=True)[:-1]


def _single_steps(groups: Sequence[UnitGroup]) -> Iterator[_Step]:
    for index, group in enumerate(groups):
        scores = group.scores.tolist()
        for unit in sorted(_ascending(group).tolist()):
            yield _Step(scores[unit], ((index, unit),), group.unit_weights)


def _equal_steps(groups: Sequence[UnitGroup]) -> Iterator[_Step]:
    by_kind: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        by_kind[group.kind].append(index)
    for kind, indices in by_kind.items():
        sizes = [groups[index].scores.numel() for index in indices]
        if len(set(sizes)) > 1:
            raise ShapeError("blocks have different numbers of units: leave equal_widths out", kind=kind, got=sizes)
        orders = [_ascending(groups[index]).tolist() for index in indices]
        n_weights = sum(groups[index].unit_weights for index in indices)
        for units in zip(*orders, strict=True):
            pairs = tuple(zip(indices, units, strict=True))
            score = sum(float(groups[index].scores[unit]) for index, unit in pairs) / len(pairs)
            yield _Step(score, pairs, n_weights)
