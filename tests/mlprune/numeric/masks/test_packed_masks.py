"""Masks that are applied while float32 weights are rounded to bfloat16."""

import pytest
import torch

from mlprune.errors import ShapeError
from mlprune.numeric.masks.packed_masks import PackedLevels, PackedMask, write_masked
from mlprune.numeric.masks.packing import pack_levels
from tests.refusals import refused


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


SHAPES = [(1, 1), (3, 5), (24, 3), (25, 7), (40, 16)]


def drawn(shape: tuple[int, int], n_levels: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n_levels)
    return torch.randint(n_levels + 1, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("n_levels", [1, 3, 10, 255])
@pytest.mark.parametrize("shape", SHAPES)
def test_levels_of_a_few_rows_at_a_time_pack_to_the_same_bytes(shape: tuple[int, int], n_levels: int) -> None:
    levels = drawn(shape, n_levels)
    chunks = []

    def levels_of_rows(rows: slice) -> torch.Tensor:
        chunks.append(rows)
        return levels[rows]

    packed = PackedLevels.pack_rows(levels_of_rows, shape, n_levels, n_together=1)
    assert packed.levels == pack_levels(levels, n_levels)
    assert len(chunks) == -(-shape[0] // 8)
    assert torch.equal(packed.unpack(), levels)


@pytest.mark.parametrize("n_levels", [1, 3, 10])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_masks_of_all_sparsities_keep_the_weights_of_higher_levels(shape: tuple[int, int], n_levels: int) -> None:
    levels = drawn(shape, n_levels)
    masks = list(PackedLevels.pack(levels, n_levels).kept_of_all())
    assert len(masks) == n_levels
    for level, mask in enumerate(masks):
        assert torch.equal(mask.unpack(), levels > level)
        assert mask.n_kept() == int((levels > level).sum())
        assert torch.equal(PackedLevels.pack(levels, n_levels).kept(level).unpack(), mask.unpack())


@pytest.mark.parametrize("row", [0, 8])
def test_a_level_above_the_number_of_sparsities_is_an_error_in_every_chunk(row: int) -> None:
    levels = torch.zeros(9, 9, dtype=torch.uint8)
    levels[row, 8] = 3
    with refused(ShapeError, expected="at most 2", got=3):
        PackedLevels.pack(levels, 2)
    with refused(ShapeError, expected="at most 2", got=3):
        PackedLevels.pack_rows(lambda rows: levels[rows], (9, 9), 2, n_together=1)
    stored = PackedLevels(pack_levels(levels, 3), (9, 9), 2)
    with refused(ShapeError, expected="at most 2", got="more"):
        list(stored.kept_of_all())
