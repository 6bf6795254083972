"""Reconstruction of one block: masks and new weights, in the process that has the weights."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mlprune.numeric.weights.layer_inputs import LayerInputs
from mlprune.numeric.weights.reconstruction_functions import RECONSTRUCTION_FUNCTIONS
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.scoring import BlockLevels, LayerLevels, LayerSparsities, described_levels, unpruned_levels
from mlprune.pruning.spec import ScoreSpec


def reconstruct_block(
    inputs: Mapping[str, LayerInputs], score: ScoreSpec, sparsities: LayerSparsities
) -> tuple[BlockLevels, dict[str, Tensor]]:
    """Choose masks and new weights of every layer of a block. The largest layers start first.

    Args:
        inputs: layer -> its weight, [out, in], and the Gram matrix of its inputs; observed on the pruned blocks before
            it (sequential propagation) or on the dense model (dense propagation).
        score: a score that changes weights, its structure and its parameters.
        sparsities: layer -> its single sparsity; a layer with sparsity 0 is not changed.
    Returns: levels 0 (removed) and 1 (kept) of all layers; new weights of the pruned layers, in their dtype.
    Raises:
        StatisticsError: a Hessian is not positive definite with any damping.
    """
    function = RECONSTRUCTION_FUNCTIONS[score.score]

    def rewritten(layer: str) -> tuple[LayerLevels, Tensor | None]:
        weight, (sparsity,) = inputs[layer].weight, sparsities[layer]
        if not sparsity:
            return unpruned_levels(weight.shape, sparsities[layer]), None
        result = function(inputs[layer], sparsity, score.structure, score.score_parameters)
        levels = described_levels(result.keep.to(torch.uint8), sparsities[layer], n_dampings=result.n_dampings)
        return levels, result.weight.to(weight.dtype)

    largest_first = sorted(inputs, key=lambda layer: -inputs[layer].weight.numel())
    made = dict(zip(largest_first, parallel_map(rewritten, largest_first), strict=True))
    changed = {layer: weight for layer in inputs if (weight := made[layer][1]) is not None}
    return {layer: made[layer][0] for layer in inputs}, changed
