"""Dense weights of a block that is on disk, read layer by layer."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor

from mlprune.errors import ModelError
from mlprune.models.families.checks import oriented
from mlprune.models.families.records import Family

ReadLayers = Callable[[int, Iterable[str]], Mapping[str, Tensor]]
"""Reads layers of a block from the checkpoint: layer -> weight as it is stored, in its dtype, not transposed."""


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


class LayersOnDisk(Mapping[str, Tensor]):
    """Dense weights of a block on disk: layer -> [out, in] in the dtype of the model, read on every access."""

    def __init__(self, block: int, family: Family, read_layers: ReadLayers, *, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._block = block
        self._family = family
        self._read_layers = read_layers

    def __getitem__(self, layer: str) -> Tensor:
        if layer not in self._family.layers:
            raise KeyError(layer)
        return oriented(self._read_layers(self._block, [layer])[layer], self._family).to(self._dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._family.layers)

    def __len__(self) -> int:
        return len(self._family.layers)
