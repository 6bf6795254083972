"""Keep masks and new weights on the blocks of a shard: put in place, and taken off again bit for bit.

No copy of the unpruned weights is held. The checkpoint on disk is the one they come back from, a block at a time and
only those layers that were changed; its file is mapped while it is copied from and let go again. Which weights stay,
and what they become, is decided elsewhere.

Where blocks take turns in memory, changes of those blocks are kept on the disk as well: changing a block that is away
costs no reading of its weights, and `restore` puts its changes on when it comes back.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from mlprune.errors import ModelError, ShapeError
from mlprune.models.families.checks import oriented
from mlprune.models.families.records import Family
from mlprune.models.mask_spill import MaskSpill
from mlprune.parallel import parallel_map

Stored = Callable[[int, Iterable[str]], Mapping[str, Tensor]]
"""Reads layers of a block from the checkpoint: layer -> weight as it is stored, not turned."""


class MaskedBlocks:
    """The prunable weights of some blocks, each layer dense or changed.

    Args:
        blocks: their modules, holding the checkpoint's weights.
        family: of the model.
        stored: reads those weights anew.
        in_turns: the blocks that are not always in memory, dense whenever they come back to it.
        is_here: whether such a block is in memory now.
    """

    def __init__(
        self,
        blocks: Mapping[int, nn.Module],
        family: Family,
        stored: Stored,
        *,
        in_turns: Collection[int] = (),
        is_here: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self._blocks = blocks
        self._family = family
        self._stored = stored
        self._in_turns = frozenset(in_turns)
        self._is_here = is_here
        self._changed: set[tuple[int, str]] = set()
        self._kept = MaskSpill()

    def dense(self, block: int) -> Mapping[str, Tensor]:
        """Make a block dense: layer -> its weight [out, in], in the family's order; not to be written to.

        Those of a block that is away are read when they are looked at.

        Raises:
            ModelError: the block is not in this shard, or the checkpoint no longer holds its weights.
        """
        self._require(block)
        self._put(block, {}, {})
        if self._is_away(block):
            return _LayersOnDisk(block, self._family, self._stored)
        return {layer: self._oriented(block, layer) for layer in self._family.layers}

    def restore(self, block: int) -> None:
        """Put the changes of a block on its dense weights, which have just come back to memory.

        Raises:
            ModelError: the changes kept of it are gone.
        """
        for layer in self._family.layers:
            if (block, layer) in self._changed:
                weight, mask = self._kept.weight_of(block, layer), self._kept.mask_of(block, layer)
                self._change(block, layer, weight=weight, mask=mask)

    def set_all(self, masks: Mapping[tuple[int, str], Tensor]) -> None:
        """Put masks on, and make every layer without one dense; masks of blocks that are not here are passed over.

        Args:
            masks: (block, layer) -> bool [out, in], True where the weight stays.
        Raises:
            ModelError: a block of this family has no such layer, or the checkpoint no longer holds the weights.
            ShapeError: a mask does not fit its weight.
        """
        by_block: dict[int, dict[str, Tensor]] = {block: {} for block in self._blocks}
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
        if block in self._in_turns:
            dtypes = {layer: self._weight(block, layer).dtype for layer in weights}
            self._kept.keep(block, masks, {layer: weights[layer].to(dtypes[layer]) for layer in weights})
        layers = self._family.layers
        if not self._is_away(block):
            from_disk = [layer for layer in layers if layer not in weights and (block, layer) in self._changed]
            stored = self._checked_stored(block, from_disk) if from_disk else {}

            def put(layer: str) -> None:
                if layer in stored:
                    self._weight(block, layer).copy_(stored[layer])
                self._change(block, layer, weight=weights.get(layer), mask=masks.get(layer))

            self._changed.update((block, layer) for layer in (*masks, *weights))
            list(parallel_map(put, layers))
        self._changed.difference_update((block, layer) for layer in layers)
        self._changed.update((block, layer) for layer in (*masks, *weights))

    def _change(self, block: int, layer: str, *, weight: Tensor | None, mask: Tensor | None) -> None:
        """Give a layer a new weight, if there is one, and zero what a mask removes."""
        place = self._oriented(block, layer)
        if weight is not None:
            place.copy_(weight)
        if mask is not None:
            place.masked_fill_(mask.to(place.device).logical_not(), 0)

    def _checked_stored(self, block: int, layers: list[str]) -> Mapping[str, Tensor]:
        stored = self._stored(block, layers)
        for layer, weight in stored.items():
            expected = tuple(self._weight(block, layer).shape)
            if tuple(weight.shape) != expected:
                message, got = "the checkpoint is no longer the one that was loaded", tuple(weight.shape)
                raise ModelError(message, block=block, layer=layer, expected=expected, got=got)
        return stored

    def _oriented(self, block: int, layer: str) -> Tensor:
        return oriented(self._weight(block, layer).detach(), self._family)

    def _weight(self, block: int, layer: str) -> Tensor:
        return self._blocks[block].get_submodule(layer).get_parameter("weight")

    def _is_away(self, block: int) -> bool:
        return block in self._in_turns and not self._is_here(block)

    def _require(self, block: int) -> None:
        if block not in self._blocks:
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


class _LayersOnDisk(Mapping[str, Tensor]):
    """Dense weights of a block that is not in memory: layer -> [out, in], read each time one is looked at."""

    def __init__(self, block: int, family: Family, stored: Stored) -> None:
        self._block = block
        self._family = family
        self._stored = stored

    def __getitem__(self, layer: str) -> Tensor:
        if layer not in self._family.layers:
            raise KeyError(layer)
        return oriented(self._stored(self._block, [layer])[layer], self._family)

    def __iter__(self) -> Iterator[str]:
        return iter(self._family.layers)

    def __len__(self) -> int:
        return len(self._family.layers)
