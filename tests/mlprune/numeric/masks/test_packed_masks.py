"""Masks that are applied while float32 weights are rounded to bfloat16."""

import torch

from mlprune.numeric.masks.packed_masks import PackedMask, write_masked


def test_masked_weights_are_rounded_as_torch_rounds_them() -> None:
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(-(2**31), 2**31, (64, 33), generator=generator).to(torch.int32)
    bits[0, :4] = torch.tensor([0x3F808000, 0x3F818000, 0x7F7FFFFF, 0x00008000], dtype=torch.int32)
    source = torch.where(bits.view(torch.float32).isnan(), 1.5, bits.view(torch.float32))
    mask = torch.rand(source.shape, generator=generator) > 0.3
    target = torch.full(source.shape, 7.0, dtype=torch.bfloat16)
    write_masked(target, source, PackedMask.pack(mask))
    expected = torch.where(mask, source.bfloat16(), 0)
    assert torch.equal(target.view(torch.int16), expected.view(torch.int16))
    write_masked(target, source.fill_(float("nan")), PackedMask.pack(mask))
    assert torch.equal(target.isnan(), mask)
