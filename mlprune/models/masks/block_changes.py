"""Changes of a block: masks, new weights, biases and quantisation, and the dense values they replace.

New biases in the layers of a shard, and the dense biases that come back bit for bit.

Biases are small: the new ones of all blocks, and the dense ones of the layers that have a new one, stay in memory. A
layer without a bias gets one while a variant adds it.

Spill the masks and new weights of offloaded blocks to a scratch folder, until a block is dense again.

A mask takes one bit per weight, and a new weight as much as in the model. The folder is deleted when the process ends;
finished variants are in the store.
"""

import tempfile
import threading
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mlprune.errors import ModelError, ShapeError
from mlprune.models.architecture.architecture import BlockArchitecture
from mlprune.numeric.masks.packed_masks import PackedMask
from mlprune.numeric.weights.quantisation import Quantisation, quantise
from mlprune.processes.parallel import n_threads, parallel_map
from mlprune.store.scratch import scratch_folder

BlockMasks = Mapping[str, Tensor] | Mapping[str, PackedMask]
"""Layer -> the weights to keep, bool [out, in] or packed."""
DENSE: Hashable = "dense"
"""Source of a block without changes."""
_PARALLEL_WEIGHTS = 2**28
"""Largest number of weights whose changes are read at the same time; with larger blocks, one block is read ahead."""
LayerKey = tuple[int, str]
"""(block, layer)."""
ReadLayers = Callable[[int, Iterable[str]], Mapping[str, Tensor]]
"""Reads layers of a block from the checkpoint: layer -> weight as it is stored, in its dtype, not transposed."""
_MASK, _WEIGHT = "mask/", "weight/"


@dataclass(frozen=True)
class BlockChanges:
    """The changes of one block against its dense weights. Layers that are not listed are dense."""

    masks: Mapping[str, PackedMask]
    """Layer -> the weights to keep."""
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    """Layer -> new weight [out, in], any float dtype; a mask of the layer is applied to it."""
    quantisation: Quantisation | None = None
    """Rounding of every prunable layer, also of those without a mask, after masks and new weights; None: none."""
    biases: Mapping[str, Tensor] = field(default_factory=dict)
    """Layer -> new bias [out], any float dtype."""

    @classmethod
    def of(cls, masks: BlockMasks, weights: Mapping[str, Tensor] | None = None) -> "BlockChanges":
        """Pack boolean masks, [out, in], on their devices; masks that are packed stay as they are."""
        packed = {
            layer: mask if isinstance(mask, PackedMask) else PackedMask.pack(mask) for layer, mask in masks.items()
        }
        return cls(packed, weights or {})


ReadChanges = Callable[[int], BlockChanges]
"""Returns the changes of a block; thread-safe and picklable."""


@runtime_checkable
class NamedChanges(Protocol):
    """Changes that say what they are read from, so that a block that has them already is not read again."""

    def __call__(self, block: int, /) -> BlockChanges:
        """Return the changes of a block."""

    def source(self, block: int, /) -> Hashable:
        """Return what determines the changes of a block: equal sources have equal changes."""


def source_of(read: ReadChanges, block: int) -> Hashable | None:
    """Return what the changes of a block are read from; None if it is not known."""
    return read.source(block) if isinstance(read, NamedChanges) else None


def read_each(
    read: ReadChanges, blocks: Sequence[int], change: Callable[[int, BlockChanges], None], *, n_weights: int
) -> None:
    """Read the changes of blocks and call a function with each: in parallel if that fits in memory, else in order.

    Args:
        change: called with a block and its changes; thread-safe.
        n_weights: of the largest block.
    Raises: any error of `read` or `change`.
    """
    if n_threads() <= len(blocks) and n_threads() * n_weights <= _PARALLEL_WEIGHTS:
        list(parallel_map(lambda block: change(block, read(block)), blocks))
        return
    for block, changes in read_ahead(read, blocks):
        change(block, changes)


def read_ahead(read: ReadChanges, blocks: Sequence[int]) -> Iterator[tuple[int, BlockChanges]]:
    """Yield each block with its changes, while those of the next block are read in the background."""
    with ThreadPoolExecutor(1, thread_name_prefix="reads-masks") as background:
        pending = [background.submit(read, block) for block in blocks[:1]]
        for position, block in enumerate(blocks):
            changes = pending.pop().result()
            pending = [background.submit(read, later) for later in blocks[position + 1 : position + 2]]
            yield block, changes


def check_changes(
    block: int, changes: BlockChanges, *, architecture: BlockArchitecture, weights: Mapping[str, Tensor]
) -> None:
    """Check that changes fit the layers of a block.

    Args:
        weights: layer -> [out, in], the weights of the block.
    Raises:
        ModelError: the block has no such layer.
        ShapeError: a mask or a new weight does not fit its layer.
    """
    for layer in (*changes.masks, *changes.weights):
        architecture.input_of(layer)
    kinds: dict[str, Mapping[str, tuple[int | str, ...]]] = {
        "mask": {layer: mask.shape for layer, mask in changes.masks.items()},
        "new weight": {
            layer: tuple(weight.shape) if weight.is_floating_point() else (str(weight.dtype),)
            for layer, weight in changes.weights.items()
        },
    }
    for kind, shapes in kinds.items():
        for layer, got in shapes.items():
            expected = tuple(weights[layer].shape)
            if got != expected:
                raise ShapeError(
                    f"a {kind} does not fit its layer", block=block, layer=layer, expected=expected, got=got
                )


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


class DenseCopies:
    """Copies of dense weights on the device of the weight. Without them, a swap gets removed weights from the host.

    Args:
        spare_bytes: accelerator -> bytes for copies; a device that is not listed gets none.
    """

    def __init__(self, spare_bytes: Mapping[torch.device, int]) -> None:
        self._spare_bytes = dict(spare_bytes)
        self._lock = threading.Lock()
        self._copies: dict[LayerKey, Tensor] = {}

    def keep(self, key: LayerKey, weight: Tensor) -> None:
        """Copy the dense weight of a layer, if its device has room. The weight is about to change."""
        n_bytes = weight.numel() * weight.element_size()
        with self._lock:
            spare = self._spare_bytes.get(weight.device, 0)
            if key in self._copies or weight.device.type == "cpu" or n_bytes > spare:
                return
            self._spare_bytes[weight.device] = spare - n_bytes
        self._copies[key] = weight.clone()

    def get(self, key: LayerKey) -> Tensor | None:
        """Return the dense weight of a layer; None if it has no copy."""
        return self._copies.get(key)


def check_stored(block: int, stored: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Check that layers that were read again have the shapes of the weights that were loaded.

    Raises:
        ModelError: a layer has another shape.
    """
    for layer, weight in stored.items():
        expected, got = tuple(weights[layer].shape), tuple(weight.shape)
        if got != expected:
            message = "the checkpoint has changed since it was loaded"
            raise ModelError(message, block=block, layer=layer, expected=expected, got=got)


class ChangedBiases:
    """The biases of some blocks, each dense or changed.

    Args:
        blocks: block -> module.
        architectures: block -> its architecture.
    """

    def __init__(self, blocks: Mapping[int, nn.Module], architectures: Mapping[int, BlockArchitecture]) -> None:
        self._blocks = blocks
        self._architectures = architectures
        self._new: dict[int, Mapping[str, Tensor]] = {}
        """Block -> layer -> new bias; a block without new biases is missing."""
        self._dense: dict[LayerKey, Tensor] = {}
        """Dense biases of the layers whose module has a new one."""
        self._added: set[LayerKey] = set()
        """Layers without a dense bias whose module has one now."""

    def check(self, block: int, biases: Mapping[str, Tensor]) -> None:
        """Check that new biases fit the layers of a block.

        Raises:
            ModelError: a layer does not exist.
            ShapeError: a new bias does not fit its layer.
        """
        for layer, bias in biases.items():
            self._architectures[block].input_of(layer)
            expected = (self._weight(block, layer).shape[1 if self._architectures[block].transposed else 0],)
            if bias.shape != expected or not bias.is_floating_point():
                got = f"{bias.dtype} {tuple(bias.shape)}"
                raise ShapeError(
                    "a new bias does not fit its layer", block=block, layer=layer, expected=expected, got=got
                )

    def set(self, block: int, biases: Mapping[str, Tensor], *, is_loaded: bool) -> None:
        """Give layers of a block new biases; all other layers get their dense bias.

        Args:
            biases: layer -> [out], any float dtype.
            is_loaded: whether the block is in memory; otherwise `restore` applies the biases after it was loaded.
        """
        for layer in self._new.pop(block, ()):
            if (block, layer) in self._added:
                self._added.remove((block, layer))
                self._layer(block, layer).register_parameter("bias", None)
            elif is_loaded:
                _copy(self._bias(block, layer), self._dense.pop((block, layer)))
        if biases:
            self._new[block] = dict(biases)
        if is_loaded:
            self.restore(block, biases)

    def restore(self, block: int, layers: Collection[str]) -> None:
        """Apply the new biases of layers of a block to its dense biases, which were just loaded."""
        new = {layer: bias for layer, bias in self._new.get(block, {}).items() if layer in layers}
        for layer, bias in new.items():
            module = self._layer(block, layer)
            if (block, layer) in self._added or module._parameters.get("bias") is None:
                self._added.add((block, layer))
                added = nn.Parameter(bias.to(self._weight(block, layer)), requires_grad=False)
                module.register_parameter("bias", added)
            else:
                target = self._bias(block, layer)
                self._dense[block, layer] = target.detach().clone()
                _copy(target, bias)

    def _layer(self, block: int, layer: str) -> nn.Module:
        return self._blocks[block].get_submodule(layer)

    def _weight(self, block: int, layer: str) -> Tensor:
        return self._layer(block, layer).get_parameter("weight")

    def _bias(self, block: int, layer: str) -> Tensor:
        return self._layer(block, layer).get_parameter("bias")


def _copy(target: Tensor, values: Tensor) -> None:
    target.detach().copy_(values)


class MaskSpill:
    """Changes of blocks, one file per block, in a folder that is deleted with this object."""

    def __init__(self) -> None:
        self._shapes: dict[int, dict[str, tuple[int, int]]] = {}

    def write(self, block: int, masks: Mapping[str, PackedMask], weights: Mapping[str, Tensor]) -> None:
        """Replace the changes of a block. A block without changes is dense.

        Args:
            masks: layer -> the weights to keep.
            weights: layer -> [out, in], in the dtype of the model.
        Raises:
            ModelError: the scratch folder cannot be written.
        """
        if not masks and not weights:
            self.delete(block)
            return
        packed = {_MASK + layer: torch.from_numpy(mask.bits) for layer, mask in masks.items()}
        new_weights = {_WEIGHT + layer: weight.cpu().contiguous() for layer, weight in weights.items()}
        try:
            save_file({**packed, **new_weights}, self._file(block))
        except (OSError, SafetensorError) as err:
            path, reason = str(self._file(block)), str(err)
            raise ModelError("the scratch folder cannot be written", path=path, reason=reason) from err
        self._shapes[block] = {layer: mask.shape for layer, mask in masks.items()}

    def delete(self, block: int) -> None:
        """Delete the changes of a block."""
        if self._shapes.pop(block, None) is not None:
            self._file(block).unlink(missing_ok=True)

    def mask_of(self, block: int, layer: str) -> PackedMask | None:
        """Return the keep mask of a layer; None if the layer has no mask.

        Raises:
            ModelError: the scratch folder is gone.
        """
        shape = self._shapes.get(block, {}).get(layer)
        if shape is None:
            return None
        packed = self._read(block, _MASK + layer)
        assert packed is not None, "a mask with a shape was stored"
        return PackedMask(packed.numpy(), shape)

    def weight_of(self, block: int, layer: str) -> Tensor | None:
        """Return the new weight of a layer, [out, in]; None if there is none. Raises as `mask_of`."""
        return self._read(block, _WEIGHT + layer) if block in self._shapes else None

    def _read(self, block: int, name: str) -> Tensor | None:
        try:
            with safe_open(str(self._file(block)), framework="pt") as file:
                tensor: Tensor | None = file.get_tensor(name) if name in set(file.keys()) else None
        except (OSError, SafetensorError) as err:
            path, reason = str(self._file(block)), str(err)
            raise ModelError("the spilled changes of a block are gone", path=path, reason=reason) from err
        return tensor

    def _file(self, block: int) -> Path:
        return Path(self._folder.name) / f"block-{block:03d}.safetensors"

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        return scratch_folder()
