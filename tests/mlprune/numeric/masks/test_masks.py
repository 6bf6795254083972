"""Keep masks and packed levels: sets, round trip, size and bit order, and masks applied while weights are rounded."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.numeric.masks.keep_masks import combined_masks, jaccard_removed, top_bottom_overlap, top_features
from mlprune.numeric.masks.packed_masks import PackedLevels, PackedMask, write_masked
from mlprune.numeric.masks.packing import kept_bits, pack_levels, unpack_flags, unpack_levels
from tests.refusals import refused

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)


@PROPERTY
@given(st.integers(1, 255), st.integers(1, 5), st.integers(1, 9), st.data())
def test_levels_survive_packing_at_the_promised_size(n_levels: int, n_rows: int, d_in: int, data) -> None:
    size = n_rows * d_in
    values = data.draw(st.lists(st.integers(0, n_levels), min_size=size, max_size=size))
    levels = torch.tensor(values, dtype=torch.uint8).reshape(n_rows, d_in)
    packed = pack_levels(levels, n_levels)
    assert len(packed) == math.ceil(math.log2(n_levels + 1)) * math.ceil(size / 8)
    unpacked = unpack_levels(packed, (n_rows, d_in), n_levels)
    assert unpacked.dtype == torch.uint8
    assert torch.equal(unpacked, levels)
    level = data.draw(st.integers(0, n_levels - 1))
    kept = unpack_flags(kept_bits(packed, (n_rows, d_in), n_levels, level=level), (n_rows, d_in))
    assert kept.tolist() == [[one > level for one in row] for row in levels.tolist()]


def test_one_sparsity_takes_one_bit_per_weight_which_is_set_if_the_weight_is_kept() -> None:
    levels = torch.tensor([[1, 0, 0, 0, 0], [0, 0, 0, 1, 1]], dtype=torch.uint8)
    assert pack_levels(levels, 1) == bytes([0b00000001, 0b00000011])


def test_bit_planes_come_least_significant_first() -> None:
    assert pack_levels(torch.tensor([[0, 1, 2, 3]], dtype=torch.uint8), 3) == bytes([0b1010, 0b1100])


def test_levels_are_packed_row_major_for_any_memory_layout() -> None:
    levels = torch.tensor([[0, 1, 1], [1, 0, 0]], dtype=torch.uint8)
    assert pack_levels(levels.T.contiguous().T, 1) == pack_levels(levels, 1)


def test_levels_that_do_not_exist_or_do_not_fit_are_errors() -> None:
    levels, zeros = torch.tensor([[0, 3]], dtype=torch.uint8), torch.zeros(1, 8, dtype=torch.uint8)
    with refused(ShapeError, expected="at most 2", got=3):
        pack_levels(levels, 2)
    with refused(ShapeError, expected="at most 2", got=3):
        unpack_levels(pack_levels(levels, 3), (1, 2), 2)
    with refused(ShapeError, expected="at most 2", got="more"):
        kept_bits(pack_levels(levels, 3), (1, 2), 2, level=0)
    for level in (-1, 2):
        with refused(ShapeError, expected="0 <= level < 2"):
            kept_bits(pack_levels(zeros, 2), (1, 8), 2, level=level)
    for n_levels in (0, 256):
        with refused(ShapeError, expected="1 to 255"):
            pack_levels(zeros, n_levels)
        with refused(ShapeError, expected="1 to 255"):
            unpack_levels(b"\0", (1, 8), n_levels)
    for data in (b"", b"\0", b"\0\0\0"):
        with refused(ShapeError, expected=2):
            unpack_levels(data, (3, 4), 1)


@pytest.mark.thorough("draws and compares many arrays")
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


@pytest.mark.thorough("draws and compares many arrays")
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


@PROPERTY
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_jaccard_equals_its_definition_on_sets(pairs: list[tuple[bool, bool]]) -> None:
    a, b = ({i for i, pair in enumerate(pairs) if pair[side]} for side in (0, 1))
    expected = len(a & b) / len(a | b) if a | b else 1.0
    removed = torch.tensor(pairs)
    assert jaccard_removed(removed[:, 0], removed[:, 1]) == expected


def test_combined_masks_are_sets_of_kept_weights() -> None:
    kept = [{0, 1, 2, 3}, {0, 1, 4, 5}, {0, 2, 4, 6}]
    masks = [torch.tensor([[weight in one for weight in range(8)]]) for one in kept]
    expected = {
        "intersection": kept[0] & kept[1] & kept[2],
        "union": kept[0] | kept[1] | kept[2],
        "difference": kept[0] - kept[1] - kept[2],
    }
    for how, weights in expected.items():
        assert set(combined_masks(masks, how).nonzero()[:, 1].tolist()) == weights
    assert set(combined_masks(masks[:2], "symmetric_difference").nonzero()[:, 1].tolist()) == kept[0] ^ kept[1]


def test_masks_that_do_not_fit_each_other_or_the_combination_are_errors() -> None:
    for n, how in ((0, "union"), (1, "symmetric_difference"), (3, "symmetric_difference")):
        with pytest.raises(BadInputError):
            combined_masks([torch.ones(2, 2, dtype=torch.bool)] * n, how)
    mask = torch.zeros(2, 3, dtype=torch.bool)
    for other in (torch.zeros(3, 2, dtype=torch.bool), torch.zeros(2, 3, dtype=torch.uint8)):
        with refused(ShapeError, expected="torch.bool (2, 3)"):
            jaccard_removed(mask, other)
        with refused(ShapeError, expected="torch.bool (2, 3)"):
            combined_masks([mask, other], "union")


MAGNITUDES = st.lists(st.integers(0, 4).map(float), min_size=1, max_size=15)


@PROPERTY
@given(MAGNITUDES, st.data())
def test_the_largest_features_come_first_and_of_equal_ones_the_lower_index(values: list[float], data) -> None:
    k = data.draw(st.integers(0, len(values)))
    expected = sorted(range(len(values)), key=lambda feature: (-values[feature], feature))[:k]
    assert top_features(np.array(values), k).tolist() == expected


@PROPERTY
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=15), st.integers(5, 10))
def test_the_overlap_equals_its_definition_written_as_loops(pairs: list[tuple[int, int]], tenths: int) -> None:
    share, d = tenths / 10, len(pairs)
    k = round(share * d)
    top = sorted(range(d), key=lambda feature: (-pairs[feature][0], feature))[:k]
    bottom = sorted(range(d), key=lambda feature: (pairs[feature][1], feature))[:k]
    a, b = (np.array([float(pair[side]) for pair in pairs]) for side in (0, 1))
    assert top_bottom_overlap(a, b, share) == len(set(top) & set(bottom)) / k


def test_shares_numbers_and_magnitudes_out_of_range_are_errors() -> None:
    for share in (0.0, -0.1, 1.1, 0.04, math.nan):
        with refused(BadInputError, expected="0 < share <= 1", n_features=10):
            top_bottom_overlap(np.arange(10.0), np.arange(10.0), share)
    for k in (-1, 4):
        with refused(ShapeError, expected="0 <= k <= 3"):
            top_features(np.ones(3), k)
    with refused(ShapeError, expected=3, got=4):
        top_bottom_overlap(np.ones(3), np.ones(4), 0.5)
    with refused(ShapeError, expected="[d]", got=(2, 2)):
        top_features(np.ones((2, 2)), 1)
    with refused(ShapeError, expected="[d]", got=(2, 2)):
        top_bottom_overlap(np.ones(4), np.ones((2, 2)), 0.5)
    broken = np.array([1.0, math.nan, 2.0])
    with refused(StatisticsError, feature=1):
        top_features(broken, 1)
    with refused(StatisticsError, feature=1):
        top_bottom_overlap(np.ones(3), broken, 0.5)
