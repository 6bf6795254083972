"""Apply keep masks and new weights to the blocks of a shard, and restore the dense weights bit for bit.

Dense weights are not copied: they are read again from the checkpoint, one block at a time and only for changed layers.
The file is mapped only while it is read.

The changes of offloaded blocks are also on disk. Changing such a block does not read its weights; `restore` applies the
changes after the block was loaded.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from mlprune.errors import ModelError, ShapeError
from mlprune.models.families.checks import oriented
from mlprune.models.families.records import Family
from mlprune.models.mask_spill import MaskSpill
from mlprune.parallel import parallel_map

ReadLayers = Callable[[int, Iterable[str]], Mapping[str, Tensor]]
"""Reads layers of a block from the checkpoint: layer -> weight as it is stored, not transposed."""


class MaskedBlocks:
    """The prunable weights of some blocks, each layer dense or changed.

    Args:
        blocks: block -> module, with the weights of the checkpoint.
        family: family of the model.
        read_layers: reads those weights again.
        offloaded: blocks that stay on disk; such a block is dense whenever it was loaded.
        in_memory: whether an offloaded block is in memory now.
    """

    def __init__(
        self,
        blocks: Mapping[int, nn.Module],
        family: Family,
        read_layers: ReadLayers,
        *,
        offloaded: Collection[int] = (),
        in_memory: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self._blocks = blocks
        self._family = family
        self._read_layers = read_layers
        self._offloaded = frozenset(offloaded)
        self._in_memory = in_memory
        self._changed: set[tuple[int, str]] = set()
        self._spill = MaskSpill()

    def dense(self, block: int) -> Mapping[str, Tensor]:
        """Make a block dense and return its weights: layer -> [out, in], in the family's order; read-only.

        Weights of a block on disk are read on access.

        Raises:
            ModelError: the block is not in this shard, or the checkpoint no longer has its weights.
        """
        self._require(block)
        self._set_layers(block, {}, {})
        if self._is_on_disk(block):
            return _LayersOnDisk(block, self._family, self._read_layers)
        return {layer: self._oriented(block, layer) for layer in self._family.layers}

    def restore(self, block: int) -> None:
        """Apply the changes of a block to its dense weights, which were just loaded.

        Raises:
            ModelError: the stored changes are gone.
        """
        for layer in self._family.layers:
            if (block, layer) in self._changed:
                weight, mask = self._spill.weight_of(block, layer), self._spill.mask_of(block, layer)
                self._change(block, layer, weight=weight, mask=mask)

    def set_all(self, masks: Mapping[tuple[int, str], Tensor]) -> None:
        """Apply masks, and make every layer without a mask dense. Masks for blocks of other shards are ignored.

        Args:
            masks: (block, layer) -> bool [out, in], True for weights to keep.
        Raises:
            ModelError: a block of this family has no such layer, or the checkpoint no longer has the weights.
            ShapeError: a mask does not fit its weight.
        """
        by_block: dict[int, dict[str, Tensor]] = {block: {} for block in self._blocks}
        for (block, layer), mask in masks.items():
            self._family.input_of(layer)
            if block in by_block:
                by_block[block][layer] = mask
        for block, block_masks in by_block.items():
            self._check(block, block_masks, kind="mask")
        for block, block_masks in by_block.items():
            self._set_layers(block, block_masks, {})

    def set_block(self, block: int, masks: Mapping[str, Tensor], weights: Mapping[str, Tensor] | None = None) -> None:
        """Replace weights of one block and apply masks to it; other blocks stay as they are.

        Args:
            block: a block of the shard.
            masks: layer -> bool [out, in], True for weights to keep.
            weights: layer -> [out, in], any float dtype; all other layers get their dense weight.
        Raises:
            ModelError: the block is not in this shard, has no such layer, or the checkpoint no longer has its weights.
            ShapeError: a mask or a new weight does not fit.
        """
        self._require(block)
        for layer in (*masks, *(weights or {})):
            self._family.input_of(layer)
        self._check(block, masks, kind="mask")
        self._check(block, weights or {}, kind="new weight")
        self._set_layers(block, masks, weights or {})

    def _set_layers(self, block: int, masks: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
        """Set every layer of a block to its new or dense weight, and zero what its mask removes."""
        if block in self._offloaded:
            dtypes = {layer: self._weight(block, layer).dtype for layer in weights}
            self._spill.write(block, masks, {layer: weights[layer].to(dtypes[layer]) for layer in weights})
        layers = self._family.layers
        if not self._is_on_disk(block):
            from_checkpoint = [layer for layer in layers if layer not in weights and (block, layer) in self._changed]
            stored = self._checked_stored(block, from_checkpoint) if from_checkpoint else {}

            def set_layer(layer: str) -> None:
                if layer in stored:
                    self._weight(block, layer).copy_(stored[layer])
                self._change(block, layer, weight=weights.get(layer), mask=masks.get(layer))

            self._changed.update((block, layer) for layer in (*masks, *weights))
            list(parallel_map(set_layer, layers))
        self._changed.difference_update((block, layer) for layer in layers)
        self._changed.update((block, layer) for layer in (*masks, *weights))

    def _change(self, block: int, layer: str, *, weight: Tensor | None, mask: Tensor | None) -> None:
        """Set a layer to a new weight, if there is one, and zero what a mask removes."""
        target = self._oriented(block, layer)
        if weight is not None:
            target.copy_(weight)
        if mask is not None:
            target.masked_fill_(mask.to(target.device).logical_not(), 0)

    def _checked_stored(self, block: int, layers: list[str]) -> Mapping[str, Tensor]:
        stored = self._read_layers(block, layers)
        for layer, weight in stored.items():
            expected = tuple(self._weight(block, layer).shape)
            if tuple(weight.shape) != expected:
                message, got = "the checkpoint has changed since it was loaded", tuple(weight.shape)
                raise ModelError(message, block=block, layer=layer, expected=expected, got=got)
        return stored

    def _oriented(self, block: int, layer: str) -> Tensor:
        return oriented(self._weight(block, layer).detach(), self._family)

    def _weight(self, block: int, layer: str) -> Tensor:
        return self._blocks[block].get_submodule(layer).get_parameter("weight")

    def _is_on_disk(self, block: int) -> bool:
        return block in self._offloaded and not self._in_memory(block)

    def _require(self, block: int) -> None:
        if block not in self._blocks:
            raise ModelError("the block is not in this shard", block=block)

    def _check(self, block: int, tensors: Mapping[str, Tensor], *, kind: str) -> None:
        for layer, tensor in tensors.items():
            expected = tuple(self._oriented(block, layer).shape)
            has_kind = tensor.dtype == torch.bool if kind == "mask" else tensor.is_floating_point()
            if tuple(tensor.shape) != expected or not has_kind:
                got = f"{tensor.dtype} {tuple(tensor.shape)}"
                raise ShapeError(
                    f"a {kind} does not fit its layer", block=block, layer=layer, expected=expected, got=got
                )


class _LayersOnDisk(Mapping[str, Tensor]):
    """Dense weights of a block on disk: layer -> [out, in], read on every access."""

    def __init__(self, block: int, family: Family, read_layers: ReadLayers) -> None:
        self._block = block
        self._family = family
        self._read_layers = read_layers

    def __getitem__(self, layer: str) -> Tensor:
        if layer not in self._family.layers:
            raise KeyError(layer)
        return oriented(self._read_layers(self._block, [layer])[layer], self._family)

    def __iter__(self) -> Iterator[str]:
        return iter(self._family.layers)

    def __len__(self) -> int:
        return len(self._family.layers)
