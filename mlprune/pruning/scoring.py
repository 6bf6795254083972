"""Score the layers of one block and order their weights.

Plain tensors in, levels out: who observed the statistics, and behind what, is the business of `mlprune.steps`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.models.families import Family
from mlprune.numeric.masks import n_m_levels, removed_counts, row_levels
from mlprune.numeric.scores import contrast_norms, magnitude_scores, random_scores, wanda_scores
from mlprune.numeric.statistics import feature_norms, mean_squares
from mlprune.terms import ScoreName

BlockStatistics = Mapping[str, Tensor]
"""Input name -> [n, in] float32, sums of squares of every demonstration."""


@dataclass(frozen=True)
class ScoreChoice:
    """How the weights of a variant are scored and compared."""

    score: ScoreName
    structure: str = "row"
    """`row`, or `N:M`."""
    seed: int | None = None
    """Seed of the random score; None for the others."""


@dataclass(frozen=True)
class LayerLevels:
    """The ordering of one layer, cut at some sparsities."""

    levels: Tensor
    """[out, in] uint8: index of the first sparsity that removes the weight, their number where none does."""
    n_removed: tuple[int, ...]
    """Weights removed at each sparsity."""
    n_silent_features: int
    """Input features the contrast set never activates, where a contrast score falls back to the target set alone."""


BlockLevels = Mapping[str, LayerLevels]
"""Layer -> its ordering, for all layers of a block."""


def block_levels(
    weights: Mapping[str, Tensor],
    *,
    choice: ScoreChoice,
    sparsities: Sequence[float],
    block: int,
    family: Family,
    statistics: BlockStatistics | None = None,
    contrast: BlockStatistics | None = None,
) -> BlockLevels:
    """Score and order every layer of a block, for all sparsities at once.

    Args:
        weights: layer -> [out, in], any float dtype.
        choice: the score, its seed, and the comparison group.
        sparsities: ascending, distinct, in (0, 1); for N:M the one it implies.
        block: index of the block, which keys random scores.
        family: says which layers read one input.
        statistics: of the demonstration set; needed by wanda and contrast.
        contrast: of the contrast set; needed by contrast.
    Raises:
        ShapeError: statistics do not fit a weight, or M does not divide its inputs.
        StatisticsError: statistics are negative or not finite.
    """
    norms = _norms_of_inputs(choice, statistics, contrast)
    found = {}
    for layer, weight in weights.items():
        factors, n_silent = norms.get(family.input_of(layer), (None, 0))
        scores = _scores(weight, choice=choice, block=block, layer=layer, norms=factors)
        levels = _levels(scores, structure=choice.structure, sparsities=sparsities)
        n_removed = tuple(removed_counts(levels, len(sparsities)))
        found[layer] = LayerLevels(levels=levels, n_removed=n_removed, n_silent_features=n_silent)
    return found


def _norms_of_inputs(
    choice: ScoreChoice, statistics: BlockStatistics | None, contrast: BlockStatistics | None
) -> dict[str, tuple[Tensor, int]]:
    """Input name -> the factor of each of its features, and how many of them fell back to the target set."""
    if choice.score == "wanda" and statistics is not None:
        return {name: (feature_norms(sum_sq), 0) for name, sum_sq in statistics.items()}
    if choice.score == "contrast" and statistics is not None and contrast is not None:
        return {name: contrast_norms(mean_squares(s), mean_squares(contrast[name])) for name, s in statistics.items()}
    return {}


def _scores(weight: Tensor, *, choice: ScoreChoice, block: int, layer: str, norms: Tensor | None) -> Tensor:
    """Scores of one layer, [out, in] float32."""
    if choice.score == "magnitude":
        return magnitude_scores(weight)
    if choice.score == "random":
        assert choice.seed is not None, "planning gives random scores a seed"
        return random_scores((weight.shape[0], weight.shape[1]), choice.seed, block, layer)
    assert norms is not None, "planning gives wanda and contrast their statistics"
    return wanda_scores(weight, norms)


def _levels(scores: Tensor, *, structure: str, sparsities: Sequence[float]) -> Tensor:
    """Levels of one layer, [out, in] uint8, in the comparison groups of the structure."""
    if structure == "row":
        return row_levels(scores, sparsities)
    n, m = (int(number) for number in structure.split(":"))
    return n_m_levels(scores, n, m)


def keep_masks(levels: BlockLevels, *, level: int) -> dict[str, Tensor]:
    """Layer -> bool [out, in], True where the weight stays at the sparsity of index `level`."""
    return {layer: torch.gt(one.levels, level) for layer, one in levels.items()}
