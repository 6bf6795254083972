from pathlib import Path

import pytest
import torch

from mlprune.errors import ModelError
from mlprune.models.masks.mask_spill import MaskSpill
from mlprune.numeric.masks.packed_masks import PackedMask


def packed(masks):
    return {layer: PackedMask.pack(mask) for layer, mask in masks.items()}


def test_spilled_masks_and_weights_are_read_back_unchanged():
    generator = torch.Generator().manual_seed(0)
    masks = {"fc1": torch.rand(7, 5, generator=generator) > 0.5, "a.b": torch.rand(3, 11, generator=generator).T > 0.5}
    weights = {"fc2": torch.randn(4, 6, generator=generator).to(torch.bfloat16).T}
    kept = MaskSpill()
    kept.write(3, packed(masks), weights)
    for layer, mask in masks.items():
        assert torch.equal(kept.mask_of(3, layer).unpack(), mask)
    assert torch.equal(kept.weight_of(3, "fc2"), weights["fc2"])
    assert kept.mask_of(3, "fc2") is kept.weight_of(3, "fc1") is kept.mask_of(2, "fc1") is None
    kept.write(3, packed({"fc1": ~masks["fc1"]}), {})
    assert torch.equal(kept.mask_of(3, "fc1").unpack(), ~masks["fc1"])
    assert kept.mask_of(3, "a.b") is kept.weight_of(3, "fc2") is None


def test_a_spilled_mask_takes_one_bit_per_weight_and_a_dense_block_nothing():
    kept = MaskSpill()
    kept.write(0, packed({"fc1": torch.ones(800, 1000, dtype=torch.bool)}), {})
    folder = Path(kept._folder.name)
    assert 100_000 < sum(file.stat().st_size for file in folder.glob("*.safetensors")) < 101_000
    kept.write(0, {}, {})
    assert not list(folder.glob("*.safetensors"))
    assert kept.mask_of(0, "fc1") is None
    del kept
    assert not folder.exists()


def test_a_deleted_scratch_folder_is_an_error():
    kept = MaskSpill()
    kept.write(0, packed({"fc1": torch.ones(2, 2, dtype=torch.bool)}), {})
    kept._file(0).unlink()
    with pytest.raises(ModelError, match="are gone"):
        kept.mask_of(0, "fc1")
    kept._folder.cleanup()
    with pytest.raises(ModelError, match="cannot be written"):
        kept.write(0, packed({"fc1": torch.ones(2, 2, dtype=torch.bool)}), {})
