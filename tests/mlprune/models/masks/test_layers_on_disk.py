"""Dense weights of a block on disk: each access reads one layer, oriented [out, in]."""

from collections.abc import Iterable, Mapping

import pytest
import torch
from torch import Tensor

from mlprune.models.families.records import FAMILIES
from mlprune.models.masks.layers_on_disk import LayersOnDisk


@pytest.mark.parametrize("name", ["xglm", "gpt2"])
def test_a_layer_is_read_alone_and_on_every_access(name: str) -> None:
    family, reads = FAMILIES[name], []

    def read(block: int, layers: Iterable[str]) -> Mapping[str, Tensor]:
        reads.append((block, *layers))
        return {layer: torch.arange(6.0).reshape(2, 3) for layer in layers}

    weights = LayersOnDisk(7, family, read, dtype=torch.bfloat16)
    assert list(weights) == list(family.layers)
    assert len(weights) == len(family.layers)
    assert not reads
    first = family.layers[0]
    for _ in range(2):
        weight = weights[first]
        assert weight.dtype == torch.bfloat16
        assert weight.shape == ((3, 2) if family.transposed else (2, 3))
    assert reads == [(7, first)] * 2
    with pytest.raises(KeyError):
        weights["no such layer"]
