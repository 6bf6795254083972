"""Apply keep masks, new weights, new biases and quantisation to the blocks of a shard; restore the dense ones exactly.

A mask is applied as packed bits. When it replaces another one, only weights that the earlier mask removed and this one
keeps are read again: from a dense copy on the same device, or from the checkpoint, which is mapped while one block is
read. Layers that keep their mask are not touched. Weights are quantised after their mask, and read again afterwards.

The changes of offloaded blocks are also on disk. Changing such a block does not read its weights; `restore` applies the
changes after the block was loaded.
"""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile

import torch
from torch import Tensor, nn

from mlprune.errors import ModelError
from mlprune.models.architecture.architecture import Architecture, as_returned, oriented
from mlprune.models.checkpoint.weight_files import LayersOnDisk, shapes_of
from mlprune.models.masks.block_changes import (
    DENSE,
    BlockChanges,
    BlockMasks,
    ChangedBiases,
    DenseCopies,
    LayerKey,
    MaskSpill,
    ReadChanges,
    ReadLayers,
    check_changes,
    check_stored,
    read_each,
    source_of,
)
from mlprune.models.removed_experts import remove_experts, removed_experts, require_choice
from mlprune.numeric.masks.packed_masks import PackedMask, replace_mask, write_masked
from mlprune.numeric.weights.quantisation import Quantisation, quantise
from mlprune.processes.parallel import parallel_map


@dataclass(frozen=True)
class RemovedBlock(BlockChanges):
    """A block that is passed by: hidden states go through it unchanged. Its weights stay dense."""

    masks: Mapping[str, PackedMask] = field(default_factory=dict)


def pass_by(
    hidden_states: Tensor, *args: object, block: int, n_returned: int | None, **kwargs: object
) -> Tensor | tuple[Tensor | None, ...]:
    """Replace the forward of a removed block; a cache gets a placeholder."""
    # A plan imports this module, and the library takes seconds.
    from transformers import Cache  # noqa: PLC0415

    from mlprune.models.inference.block_runner import add_placeholder  # noqa: PLC0415

    n_rows, n_tokens, _ = hidden_states.shape
    for cache in (value for value in (*args, *kwargs.values()) if isinstance(value, Cache)):
        add_placeholder(cache, block, hidden_states.new_zeros(n_rows, 1, n_tokens, 1))
    return as_returned(hidden_states, n_returned)


class MaskedBlocks:
    """The prunable weights of some blocks, each layer dense or changed.

    Args:
        blocks: block -> module, with the weights of the checkpoint.
        architecture: architecture of the model.
        read_layers: reads those weights again, in the dtype of the checkpoint.
        offloaded: blocks that stay on disk; such a block is dense whenever it was loaded.
        in_memory: whether an offloaded block is in memory now.
        spare_bytes: accelerator -> bytes for dense copies of its weights; none by default.
    """

    def __init__(
        self,
        blocks: Mapping[int, nn.Module],
        architecture: Architecture,
        read_layers: ReadLayers,
        *,
        offloaded: Collection[int] = (),
        in_memory: Callable[[int], bool] = lambda _: True,
        spare_bytes: Mapping[torch.device, int] | None = None,
    ) -> None:
        self._blocks = blocks
        self._model_architecture = architecture
        self._architectures = {block: architecture.block(block) for block in blocks}
        self._read_layers = read_layers
        self._offloaded = frozenset(offloaded)
        self._in_memory = in_memory
        self._changed: dict[LayerKey, PackedMask | None] = {}
        """Layers that are not dense, with their mask; None if kept weights changed or the block is offloaded."""
        self._dense = set(blocks)
        """Blocks without any change."""
        self._quantisations: dict[int, Quantisation | None] = {}
        self._sources: dict[int, Hashable] = {}
        """Blocks whose changes were read from a known source, with this source."""
        self._spill = MaskSpill()
        self._copies = DenseCopies(spare_bytes or {})
        self._biases = ChangedBiases(blocks, self._architectures)

    def dense(self, block: int) -> Mapping[str, Tensor]:
        """Make a block dense; return layer -> [out, in] in its order, read-only; on disk, read on access.

        Raises:
            ModelError: the block is not in this shard, or the checkpoint no longer has its weights.
        """
        self._require(block)
        self._change_block(block, BlockChanges({}))
        if self._is_on_disk(block):
            shapes = shapes_of({layer: self._oriented(block, layer) for layer in self._architectures[block].layers})
            return LayersOnDisk(shapes, partial(self._read_layer, block))
        return {layer: self._oriented(block, layer) for layer in self._architectures[block].layers}

    def restore(self, block: int, layers: Collection[str] | None = None) -> None:
        """Apply the changes of a block to its dense weights, which were just loaded.

        Args:
            layers: those that were loaded; None for all.
        Raises:
            ModelError: the stored changes are gone.
        """
        loaded = self._architectures[block].layers if layers is None else layers
        for layer in loaded:
            if (block, layer) in self._changed:
                weight, mask = self._spill.weight_of(block, layer), self._spill.mask_of(block, layer)
                target = self._oriented(block, layer)
                if weight is not None:
                    target.copy_(weight)
                write_masked(target, target, mask)
                self._quantise(block, target)
        self._biases.restore(block, loaded)

    def set_all(self, masks: Mapping[LayerKey, Tensor]) -> None:
        """Apply masks, and make every layer without a mask dense. Masks for blocks of other shards are ignored.

        Args:
            masks: (block, layer) -> bool [out, in], True for weights to keep.
        Raises:
            ModelError: a block has no such layer, or the checkpoint no longer has the weights.
            ShapeError: a mask does not fit its weight.
        """
        by_block: dict[int, dict[str, Tensor]] = {block: {} for block in self._blocks}
        for (block, layer), mask in masks.items():
            self._model_architecture.block(block).input_of(layer)
            if block in by_block:
                by_block[block][layer] = mask
        changes = {block: BlockChanges.of(block_masks) for block, block_masks in by_block.items()}
        for block, of_block in changes.items():
            self._check(block, of_block)
        for block, of_block in changes.items():
            self._change_block(block, of_block)

    def set_block(self, block: int, masks: BlockMasks, weights: Mapping[str, Tensor] | None = None) -> None:
        """Replace weights of one block and apply masks to it; other blocks stay as they are.

        Args:
            block: a block of the shard.
            masks: layer -> the weights to keep.
            weights: layer -> [out, in], any float dtype; all other layers get their dense weight.
        Raises:
            ModelError: the block is not in this shard, has no such layer, or the checkpoint no longer has its weights.
            ShapeError: a mask or a new weight does not fit.
        """
        self._require(block)
        changes = BlockChanges.of(masks, weights)
        self._check(block, changes)
        self._change_block(block, changes)

    def exchange(self, read: ReadChanges, *, blocks: Sequence[int] | None = None) -> None:
        """Replace the changes of blocks. After an error, blocks that were not reached have their earlier changes.

        Args:
            read: returns the changes of a block.
            blocks: the blocks to change; None: all.
        Raises: any error of `read`, and as `set_block`.
        """

        def change(block: int, changes: BlockChanges) -> None:
            self._check(block, changes)
            self._change_block(block, changes)
            self._sources[block] = source_of(read, block)

        blocks = list(self._blocks) if blocks is None else blocks
        for block in blocks:
            self._require(block)
        blocks = [block for block in blocks if not self._has_changes_of(read, block)]
        if not blocks:
            return
        n_weights = max(
            sum(self._weight(block, layer).numel() for layer in self._architectures[block].layers) for block in blocks
        )
        read_each(read, blocks, change, n_weights=n_weights)

    def contents(self) -> tuple[Hashable, ...]:
        """Return what determines the weights of the first blocks, up to the first one of which it is not known."""
        sources = (DENSE if block in self._dense else self._sources.get(block) for block in self._blocks)
        return tuple(takewhile(lambda source: source is not None, sources))

    def _has_changes_of(self, read: ReadChanges, block: int) -> bool:
        return (source := source_of(read, block)) is not None and source == self._sources.get(block)

    def _change_block(self, block: int, changes: BlockChanges) -> None:
        """Set every layer of a block to its new or dense weight, zero what its mask removes, and quantise it."""
        masks, weights, layers = changes.masks, changes.weights, self._architectures[block].layers
        self._sources.pop(block, None)
        self._dense.discard(block)
        self._set_forward(block, is_removed=isinstance(changes, RemovedBlock))
        self._set_experts(block, masks)
        self._quantisations[block] = changes.quantisation
        self._biases.set(block, changes.biases, is_loaded=not self._is_on_disk(block))
        if block in self._offloaded:
            dtypes = {layer: self._weight(block, layer).dtype for layer in weights}
            self._spill.write(block, masks, {layer: weights[layer].to(dtypes[layer]) for layer in weights})
        if not self._is_on_disk(block):
            stored = self._checked_stored(block, [name for name in layers if self._needs_stored(block, name, changes)])
            changing = [layer for layer in layers if self._is_changing(block, layer, changes)]

            def change(layer: str) -> None:
                mask = masks.get(layer)
                self._change_layer((block, layer), mask, weight=weights.get(layer), stored=stored.get(layer))

            list(parallel_map(change, changing))
        for layer in layers:
            self._changed.pop((block, layer), None)
            if layer in masks or layer in weights or changes.quantisation is not None:
                has_values = layer in weights or block in self._offloaded or changes.quantisation is not None
                self._changed[block, layer] = None if has_values else masks[layer]
        if changes == BlockChanges({}):
            self._dense.add(block)

    def _set_forward(self, block: int, *, is_removed: bool) -> None:
        """Let hidden states pass a block unchanged, or run it again."""
        own = vars(self._blocks[block])
        own.pop("forward", None)
        if is_removed:
            own["forward"] = partial(pass_by, block=block, n_returned=self._architectures[block].n_returned)

    def _set_experts(self, block: int, masks: Mapping[str, PackedMask]) -> None:
        """Let the router of a block choose among the experts of which the masks keep a weight."""
        if (experts := self._architectures[block].experts) is not None:
            remove_experts(self._blocks[block], experts, removed_experts(experts, masks))

    def _is_changing(self, block: int, layer: str, changes: BlockChanges) -> bool:
        """Whether a layer gets another weight or another mask than it has."""
        key = block, layer
        if layer in changes.weights or changes.quantisation is not None:
            return True
        if key not in self._changed:
            return layer in changes.masks
        earlier, mask = self._changed[key], changes.masks.get(layer)
        return earlier is None or mask is None or not mask.equals(earlier)

    def _needs_stored(self, block: int, layer: str, changes: BlockChanges) -> bool:
        """Whether the dense weight of a layer has to be read from the checkpoint."""
        key = block, layer
        if layer in changes.weights or key not in self._changed or self._copies.get(key) is not None:
            return False
        earlier, mask = self._changed[key], changes.masks.get(layer)
        return earlier is None or mask is None or not mask.without(earlier).is_empty()

    def _change_layer(
        self, key: LayerKey, mask: PackedMask | None, *, weight: Tensor | None, stored: Tensor | None
    ) -> None:
        """Set a layer to a new weight, or to its dense weight, zero what a mask removes, and quantise it.

        Args:
            weight: the new weight, if there is one.
            stored: the dense weight from the checkpoint, if a weight has to return that is not on the device.
        """
        target, copy = self._oriented(*key), self._copies.get(key)
        is_dense, earlier = key not in self._changed, self._changed.get(key)
        if is_dense:
            self._copies.keep(key, target)
        self._changed[key] = None  # until the layer is complete
        dense = copy if stored is None else oriented(stored, self._architectures[key[0]])
        if weight is not None:
            write_masked(target, target.copy_(weight), mask)
        elif is_dense:
            write_masked(target, target, mask)
        elif earlier is not None and copy is None:
            replace_mask(target, dense, mask, earlier=earlier)
        else:
            assert dense is not None, "the dense weight was read, or is on the device"
            write_masked(target, dense, mask)
        self._quantise(key[0], target)

    def _quantise(self, block: int, weight: Tensor) -> None:
        quantisation = self._quantisations.get(block)
        if quantisation is not None:
            quantise(weight, quantisation)

    def _read_layer(self, block: int, layer: str) -> Tensor:
        """Read the dense weight of a layer, [out, in] in the dtype of the model."""
        stored = self._read_layers(block, [layer])[layer]
        return oriented(stored, self._architectures[block]).to(self._weight(block, layer).dtype)

    def _checked_stored(self, block: int, layers: list[str]) -> Mapping[str, Tensor]:
        stored = self._read_layers(block, layers) if layers else {}
        check_stored(block, stored, {layer: self._weight(block, layer) for layer in layers})
        return stored

    def _oriented(self, block: int, layer: str) -> Tensor:
        return oriented(self._weight(block, layer).detach(), self._architectures[block])

    def _weight(self, block: int, layer: str) -> Tensor:
        return self._blocks[block].get_submodule(layer).get_parameter("weight")

    def _is_on_disk(self, block: int) -> bool:
        return block in self._offloaded and not self._in_memory(block)

    def _require(self, block: int) -> None:
        if block not in self._blocks:
            raise ModelError("the block is not in this shard", block=block)

    def _check(self, block: int, changes: BlockChanges) -> None:
        weights = {layer: self._oriented(block, layer) for layer in self._architectures[block].layers}
        check_changes(block, changes, architecture=self._architectures[block], weights=weights)
        self._biases.check(block, changes.biases)
        if (experts := self._architectures[block].experts) is not None:
            require_choice(experts, removed_experts(experts, changes.masks), block=block)
