"""SparseGPT on one block: masks and updated weights, in the process that has the weights."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mlprune.methods import SparseGptParameters
from mlprune.models.families.records import FAMILIES
from mlprune.numeric.weights.sparsegpt import sparsegpt
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.scoring import BlockLevels, LayerLevels, LayerSparsities, described_levels, unpruned_levels
from mlprune.pruning.spec import ScoreSpec


def sparsegpt_block(
    weights: Mapping[str, Tensor],
    products: Mapping[str, Tensor],
    score: ScoreSpec,
    sparsities: LayerSparsities,
    family: str,
) -> tuple[BlockLevels, dict[str, Tensor]]:
    """Choose masks and new weights of every layer of a block (Frantar and Alistarh, arXiv:2301.00774).

    Args:
        weights: layer -> [out, in].
        products: input -> [in, in] float64, sums of x x^T over counted tokens.
        score: structure and damping.
        sparsities: layer -> its single sparsity; a layer with sparsity 0 is not changed.
        family: name of the family, which maps layers to their inputs.
    Returns: levels 0 (removed) and 1 (kept) of all layers; new weights of the pruned layers, in their dtype.
    Raises:
        StatisticsError: a Hessian is not positive definite with any damping.
    """
    record, parameters = FAMILIES[family], score.score_parameters
    if not isinstance(parameters, SparseGptParameters):
        raise TypeError(f"expected SparseGptParameters, got {type(parameters).__name__}")

    def rewritten(layer: str) -> tuple[LayerLevels, Tensor | None]:
        weight = weights[layer]
        if not any(sparsities[layer]):
            return unpruned_levels(weight.shape, sparsities[layer]), None
        result = sparsegpt(
            weight,
            products[record.input_of(layer)],
            sparsity=sparsities[layer][0],
            structure=score.structure,
            damping=parameters.damping,
        )
        levels = described_levels(result.keep.to(torch.uint8), sparsities[layer], n_dampings=result.n_dampings)
        return levels, result.weight.to(weight.dtype)

    made = dict(zip(weights, parallel_map(rewritten, weights), strict=True))
    changed = {layer: weight for layer, (_, weight) in made.items() if weight is not None}
    return {layer: levels for layer, (levels, _) in made.items()}, changed
