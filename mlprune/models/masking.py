"""Keep masks on the blocks of a shard: weights are zeroed in place and can always be had back as they were.

One pristine copy is kept, of the prunable weights of a block, made when the block is first masked. Which weights stay
is decided elsewhere.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mlprune.errors import ModelError, ShapeError
from mlprune.models.families import Family, oriented


class MaskedBlocks:
    """The prunable weights of some blocks, dense or masked."""

    def __init__(self, blocks: Mapping[int, nn.Module], family: Family) -> None:
        self._family = family
        self._weights = {
            (block, layer): module.get_submodule(layer).get_parameter("weight")
            for block, module in blocks.items()
            for layer in family.layers
        }
        self._originals: dict[tuple[int, str], Tensor] = {}
        self._masked: dict[tuple[int, str], bool] = dict.fromkeys(self._weights, False)

    def dense(self, block: int) -> dict[str, Tensor]:
        """The unpruned weights of a block: layer -> [out, in], in the family's order; views, not to be written to."""
        keys = [(block, layer) for layer in self._family.layers]
        return {key[1]: oriented(self._originals.get(key, self._weights[key]), self._family) for key in keys}

    def set_all(self, masks: Mapping[tuple[int, str], Tensor]) -> None:
        """Put masks on, and make every layer without one dense; masks of blocks that are not here are passed over.

        Args:
            masks: (block, layer) -> bool [out, in], True where the weight stays.
        Raises:
            ModelError: a block of this family has no such layer.
            ShapeError: a mask does not fit its weight.
        """
        for block, layer in masks:
            self._family.input_of(layer)
            if (block, layer) in self._weights:
                self._check(block, layer, masks[block, layer])
        for key in self._weights:
            self._set(key, masks.get(key))

    def set_block(self, block: int, masks: Mapping[str, Tensor]) -> None:
        """The same for one block: layer -> bool [out, in]; other blocks stay as they are."""
        for layer, mask in masks.items():
            self._family.input_of(layer)
            self._check(block, layer, mask)
        for layer in self._family.layers:
            self._set((block, layer), masks.get(layer))

    def _check(self, block: int, layer: str, mask: Tensor) -> None:
        if (block, layer) not in self._weights:
            raise ModelError("the block is not in this shard", block=block, layer=layer)
        expected = tuple(oriented(self._weights[block, layer], self._family).shape)
        if tuple(mask.shape) != expected or mask.dtype != torch.bool:
            got = f"{mask.dtype} {tuple(mask.shape)}"
            raise ShapeError("a mask does not fit its weight", block=block, layer=layer, expected=expected, got=got)

    def _set(self, key: tuple[int, str], mask: Tensor | None) -> None:
        if mask is None and not self._masked[key]:
            return
        weight = self._weights[key]
        if key not in self._originals:
            self._originals[key] = weight.detach().clone()
        weight.copy_(self._originals[key])
        if mask is not None:
            oriented(weight, self._family).masked_fill_(~mask.to(weight.device), 0)
        self._masked[key] = mask is not None
