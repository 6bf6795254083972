"""Spill the masks and new weights of offloaded blocks to a scratch folder, until a block is dense again.

A mask takes one bit per weight, and a new weight as much as in the model. The folder is deleted when the process ends;
finished variants are in the store.
"""

import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mlprune.errors import ModelError
from mlprune.numeric.masks.packed_masks import PackedMask
from mlprune.store.scratch import scratch_folder

_MASK, _WEIGHT = "mask/", "weight/"


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
