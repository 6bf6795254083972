"""Packed levels: round trip, size and bit order."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import ShapeError
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


def test_a_level_that_does_not_exist_is_an_error() -> None:
    levels = torch.tensor([[0, 3]], dtype=torch.uint8)
    with refused(ShapeError, expected="at most 2", got=3):
        pack_levels(levels, 2)
    with refused(ShapeError, expected="at most 2", got=3):
        unpack_levels(pack_levels(levels, 3), (1, 2), 2)
    with refused(ShapeError, expected="at most 2", got="more"):
        kept_bits(pack_levels(levels, 3), (1, 2), 2, level=0)


@pytest.mark.parametrize("level", [-1, 2])
def test_a_sparsity_that_the_levels_do_not_have_has_no_mask(level: int) -> None:
    with refused(ShapeError, expected="0 <= level < 2"):
        kept_bits(pack_levels(torch.zeros(1, 8, dtype=torch.uint8), 2), (1, 8), 2, level=level)


@pytest.mark.parametrize("n_levels", [0, 256])
def test_a_number_of_levels_out_of_range_is_an_error(n_levels: int) -> None:
    with refused(ShapeError, expected="1 to 255"):
        pack_levels(torch.zeros(1, 8, dtype=torch.uint8), n_levels)
    with refused(ShapeError, expected="1 to 255"):
        unpack_levels(b"\0", (1, 8), n_levels)


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0"])
def test_packed_levels_of_another_length_are_an_error(data: bytes) -> None:
    with refused(ShapeError, expected=2):
        unpack_levels(data, (3, 4), 1)
