"""Keep masks and new weights on the blocks of a shard: put in place, and taken off again bit for bit.

No copy of the unpruned weights is held. The checkpoint on disk is the one they come back from, a block at a time and
only those layers that were changed; its file is mapped while it is copied from and let go again. Which weights stay,
and what they become, is decided elsewhere.
"""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from mlprune.errors import ModelError, ShapeError
from mlprune.models.families import Family, oriented
from mlprune.threads import side_by_side

Stored = Callable[[int, Iterable[str]], Mapping[str, Tensor]]
"""Reads layers of a block from the checkpoint: layer -> weight as it is stored, not turned."""


class MaskedBlocks:
    """The prunable weights of some blocks, each layer dense or changed.

    Args:
        blocks: their modules, holding the checkpoint's weights.
        family: of the model.
        stored: reads those weights anew.
    """

    def __init__(self, blocks: Mapping[int, nn.Module], family: Family, stored: Stored) -> None:
        self._family = family
        self._stored = stored
        self._weights = {
            (block, layer): module.get_submodule(layer).get_parameter("weight")
            for block, module in blocks.items()
            for layer in family.layers
        }
        self._changed: set[tuple[int, str]] = set()

    def dense(self, block: int) -> dict[str, Tensor]:
        """Make a block dense: layer -> its weight [out, in], in the family's order; not to be written to.

        Raises:
            ModelError: the block is not in this shard, or the checkpoint no longer holds its weights.
        """
        self._require(block)
        self._put(block, {}, {})
        return {layer: self._oriented(block, layer) for layer in self._family.layers}

    def set_all(self, masks: Mapping[tuple[int, str], Tensor]) -> None:
        """Put masks on, and make every layer without one dense; masks of blocks that are not here are passed over.

        Args:
            masks: (block, layer) -> bool [out, in], True where the weight stays.
        Raises:
            ModelError: a block of this family has no such layer, or the checkpoint no longer holds the weights.
            ShapeError: a mask does not fit its weight.
        """
        by_block: dict[int, dict[str, Tensor]] = {block: {} for block, _ in self._weights}
        for (block, layer), mask in masks.items():
            self._family.input_of(layer)
            if block in by_block:
                by_block[block][layer] = mask
        for block, own in by_block.items():
            self._check(block, own, kind="mask")
        for block, own in by_block.items():
            self._put(block, own, {})

    def set_block(self, block: int, masks: Mapping[str, Tensor], weights: Mapping[str, Tensor] | None = None) -> None:
        """The same for one block, other blocks stay as they are; its weights may be replaced before they are masked.

        Args:
            block: one of the shard's.
            masks: layer -> bool [out, in], True where the weight stays.
            weights: layer -> [out, in], any float dtype; a layer that is not among them keeps its dense weight.
        Raises:
            ModelError: the block is not here, has no such layer, or the checkpoint no longer holds its weights.
            ShapeError: a mask or a new weight does not fit.
        """
        self._require(block)
        for layer in (*masks, *(weights or {})):
            self._family.input_of(layer)
        self._check(block, masks, kind="mask")
        self._check(block, weights or {}, kind="new weight")
        self._put(block, masks, weights or {})

    def _put(self, block: int, masks: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
        """Give every layer of a block its new weight or the dense one, and zero what its mask removes."""
        from_disk = [layer for layer in self._family.layers if layer not in weights and (block, layer) in self._changed]
        stored = self._checked_stored(block, from_disk) if from_disk else {}

        def put(layer: str) -> None:
            if layer in stored:
                self._weights[block, layer].copy_(stored[layer])
            if layer in weights:
                self._oriented(block, layer).copy_(weights[layer])
            if layer in masks:
                mask = masks[layer].to(self._weights[block, layer].device)
                self._oriented(block, layer).masked_fill_(mask.logical_not(), 0)

        self._changed.update((block, layer) for layer in (*masks, *weights))
        list(side_by_side(put, self._family.layers))
        self._changed.difference_update((block, layer) for layer in from_disk if layer not in masks)

    def _checked_stored(self, block: int, layers: list[str]) -> Mapping[str, Tensor]:
        stored = self._stored(block, layers)
        for layer, weight in stored.items():
            expected = tuple(self._weights[block, layer].shape)
            if tuple(weight.shape) != expected:
                message, got = "the checkpoint is no longer the one that was loaded", tuple(weight.shape)
                raise ModelError(message, block=block, layer=layer, expected=expected, got=got)
        return stored

    def _oriented(self, block: int, layer: str) -> Tensor:
        return oriented(self._weights[block, layer].detach(), self._family)

    def _require(self, block: int) -> None:
        if (block, self._family.layers[0]) not in self._weights:
            raise ModelError("the block is not in this shard", block=block)

    def _check(self, block: int, tensors: Mapping[str, Tensor], *, kind: str) -> None:
        for layer, tensor in tensors.items():
            expected = tuple(self._oriented(block, layer).shape)
            is_right = tensor.dtype == torch.bool if kind == "mask" else tensor.is_floating_point()
            if tuple(tensor.shape) != expected or not is_right:
                got = f"{tensor.dtype} {tuple(tensor.shape)}"
                raise ShapeError(
                    f"a {kind} does not fit its layer", block=block, layer=layer, expected=expected, got=got
                )
