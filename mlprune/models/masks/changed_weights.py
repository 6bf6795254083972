"""Weights of a block as a variant has them, without changing the dense ones."""

from collections.abc import Mapping

from torch import Tensor

from mlprune.models.masks.block_changes import BlockChanges
from mlprune.numeric.weights.quantisation import quantise


def changed_weights(weights: Mapping[str, Tensor], changes: BlockChanges) -> dict[str, Tensor]:
    """Return layer -> [out, in] as a variant has them: new weights, masks, rounding, in this order.

    Args:
        weights: layer -> [out, in] of the dense model; they stay as they are.
    """
    changed = {}
    for layer, dense in weights.items():
        weight = changes.weights.get(layer, dense).to(dense.dtype)
        if layer in changes.masks:
            weight = weight * changes.masks[layer].unpack()
        if changes.quantisation is not None:
            weight = weight.clone()
            quantise(weight, changes.quantisation)
        changed[layer] = weight
    return changed
