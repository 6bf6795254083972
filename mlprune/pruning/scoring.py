"""Score the layers of one block and order their weights."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.models.families.records import Family
from mlprune.numeric.masks.keep_masks import keep_mask, packed_mask, removed_counts
from mlprune.numeric.masks.packing import levels_on_cpu
from mlprune.numeric.selection.levels import levels_of
from mlprune.numeric.weights.scores import SCORE_FUNCTIONS, LayerInputs
from mlprune.parallel import parallel_map
from mlprune.pruning.feature_factors import Factors
from mlprune.pruning.spec import ScoreSpec

LayerSparsities = Mapping[str, tuple[float, ...]]
"""Layer -> its sparsities, one per sparsity of the whole model."""


@dataclass(frozen=True)
class LayerLevels:
    """The ordering of the weights of one layer, cut at several sparsities."""

    levels: Tensor
    """[out, in] uint8: index of the first sparsity that removes the weight; the number of sparsities if none does."""
    sparsities: tuple[float, ...]
    """Of this layer, ascending."""
    n_removed: tuple[int, ...]
    """Weights removed at each sparsity."""
    keep_sha256: tuple[str, ...]
    """SHA-256 of the packed keep mask at each sparsity."""
    n_silent_features: int = 0
    """Input features that the contrast set never activates: their contrast score uses the target set only."""
    n_dampings: int | None = None
    """Times SparseGPT raised its damping; None for other scores."""


BlockLevels = Mapping[str, LayerLevels]
"""Layer -> its levels, for all layers of a block."""


def block_levels(
    weights: Mapping[str, Tensor],
    *,
    score: ScoreSpec,
    sparsities: LayerSparsities,
    block: int,
    family: Family,
    factors: Factors | None = None,
) -> BlockLevels:
    """Score and order every layer of a block, for all sparsities at once. The largest layers start first.

    Args:
        weights: layer -> [out, in], any float dtype.
        score: the score, its parameters, and the comparison group.
        sparsities: layer -> its sparsities; all zero for a layer that is not pruned.
        block: index of the block; random scores depend on it.
        family: maps layers to their inputs.
        factors: of the features; None for scores without statistics.
    Raises:
        ShapeError: statistics do not fit a weight, or M does not divide its inputs.
        StatisticsError: statistics are negative or not finite.
    """

    def ordered(layer: str) -> LayerLevels:
        factor, n_silent = (factors or {}).get(family.input_of(layer), (None, 0))
        if not any(sparsities[layer]):
            return unpruned_levels(weights[layer].shape, sparsities[layer])
        scores = layer_scores(weights[layer], score=score, block=block, layer=layer, factors=factor)
        levels = levels_of(
            scores, score.structure, sparsities=sparsities[layer], rounding=score.rounding, removes=score.removes
        )
        return described_levels(levels, sparsities[layer], n_silent_features=n_silent)

    largest_first = sorted(weights, key=lambda layer: -weights[layer].numel())
    ordered_layers = dict(zip(largest_first, parallel_map(ordered, largest_first), strict=True))
    return {layer: ordered_layers[layer] for layer in weights}


def layer_scores(weight: Tensor, *, score: ScoreSpec, block: int, layer: str, factors: Tensor | None) -> Tensor:
    """Return the scores of one layer, [out, in] float32.

    Raises:
        StatisticsError: the score reads statistics and there are no factors.
    """
    inputs = LayerInputs(weight, factors, block=block, layer=layer)
    return SCORE_FUNCTIONS[score.score](inputs, score.score_parameters)


def described_levels(
    levels: Tensor, sparsities: Sequence[float], *, n_silent_features: int = 0, n_dampings: int | None = None
) -> LayerLevels:
    """Return levels on the CPU, together with their counts and hashes."""
    n = len(sparsities)
    levels = levels_on_cpu(levels, n)
    hashes = tuple(mask_sha256(keep_mask(levels, level)) for level in range(n))
    counts = tuple(removed_counts(levels, n))
    return LayerLevels(levels, tuple(sparsities), counts, hashes, n_silent_features, n_dampings)


def mask_sha256(keep: Tensor) -> str:
    """Return the SHA-256 of a keep mask, packed row-major into bits."""
    return hashlib.sha256(packed_mask(keep)).hexdigest()


def unpruned_levels(shape: tuple[int, ...], sparsities: Sequence[float]) -> LayerLevels:
    """Return the levels of a layer of which nothing is removed at any sparsity."""
    return described_levels(torch.full(tuple(shape), len(sparsities), dtype=torch.uint8), sparsities)


def keep_masks(levels: BlockLevels, *, level: int) -> dict[str, Tensor]:
    """Return layer -> bool [out, in], True where the weight stays at the sparsity of index `level`."""
    return {layer: keep_mask(of_layer.levels, level) for layer, of_layer in levels.items()}
