"""Masks against plain loops, and exact counts, ties, nesting and packing as properties."""

import math
from decimal import Decimal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import mlprune.numeric.masks as masks_module
from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.numeric.masks import (
    jaccard_removed,
    keep_mask,
    n_m_levels,
    n_removed,
    pack_levels,
    removed_counts,
    row_levels,
    unpack_levels,
)

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True, database=None)
SPARSITIES = st.lists(st.integers(0, 99).map(lambda percent: percent / 100), min_size=1, max_size=6).map(sorted)


@st.composite
def score_matrices(draw: st.DrawFn) -> Tensor:
    """Small matrices with few distinct values, so that ties are the rule."""
    n_rows, d_in = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    values = draw(st.lists(st.integers(0, 5), min_size=n_rows * d_in, max_size=n_rows * d_in))
    return torch.tensor(values, dtype=torch.float32).reshape(n_rows, d_in)


def looped_keep(scores: Tensor, sparsity: float) -> list[list[bool]]:
    keep = []
    for row in scores.tolist():
        n = math.floor(Decimal(str(sparsity)) * len(row))
        removed = sorted(range(len(row)), key=lambda column: (row[column], column))[:n]
        keep.append([column not in removed for column in range(len(row))])
    return keep


def test_a_sparsity_of_0_29_of_100_removes_29() -> None:
    assert n_removed(0.29, 100) == 29
    assert int(0.29 * 100) == 28  # what binary arithmetic would remove


@PROPERTY
@given(st.integers(0, 999), st.integers(1, 20_000))
def test_the_removed_count_is_the_floor_of_the_written_decimal(thousandths: int, d_in: int) -> None:
    assert n_removed(thousandths / 1000, d_in) == thousandths * d_in // 1000
    assert n_removed(np.float64(thousandths / 1000), d_in) == thousandths * d_in // 1000


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, math.nan])
def test_a_sparsity_out_of_range_is_an_error(sparsity: float) -> None:
    with pytest.raises(BadInputError, match="out of range"):
        n_removed(sparsity, 10)
    with pytest.raises(BadInputError):
        row_levels(torch.ones(2, 4), [sparsity])


@PROPERTY
@given(score_matrices(), SPARSITIES)
def test_row_masks_equal_a_sort_written_as_loops(scores: Tensor, sparsities: list[float]) -> None:
    levels = row_levels(scores, sparsities)
    assert levels.dtype == torch.uint8
    for index, sparsity in enumerate(sparsities):
        assert keep_mask(levels, index).tolist() == looped_keep(scores, sparsity)


@PROPERTY
@given(score_matrices(), SPARSITIES)
def test_every_row_loses_exactly_the_asked_number_and_masks_are_nested(scores: Tensor, sparsities: list[float]) -> None:
    levels = row_levels(scores, sparsities)
    n_rows, d_in = scores.shape
    previous = torch.ones_like(scores, dtype=torch.bool)
    for index, sparsity in enumerate(sparsities):
        keep = keep_mask(levels, index)
        assert (~keep).sum(dim=1).tolist() == [n_removed(sparsity, d_in)] * n_rows
        assert not (keep & ~previous).any()
        previous = keep
    assert removed_counts(levels, len(sparsities)) == [n_rows * n_removed(s, d_in) for s in sparsities]


@PROPERTY
@given(score_matrices(), SPARSITIES, st.lists(st.integers(-20, 20), min_size=4, max_size=4))
def test_scaling_rows_by_powers_of_two_does_not_change_the_masks(
    scores: Tensor, sparsities: list[float], exponents: list[int]
) -> None:
    scale = torch.tensor([2.0**exponent for exponent in exponents[: scores.shape[0]]])[:, None]
    assert torch.equal(row_levels(scores * scale, sparsities), row_levels(scores, sparsities))


def test_equal_scores_lose_the_lower_columns_first() -> None:
    assert row_levels(torch.ones(1, 6), [0.34, 0.5]).tolist() == [[0, 0, 1, 2, 2, 2]]


def test_zero_and_negative_zero_are_equal_scores() -> None:
    assert row_levels(torch.tensor([[0.0, -0.0, 0.0, -0.0]]), [0.5]).tolist() == [[0, 0, 1, 1]]


def test_each_sparsity_alone_gives_the_mask_it_gives_among_others() -> None:
    scores = torch.rand(5, 40, generator=torch.Generator().manual_seed(0))
    together = row_levels(scores, [0.1, 0.3, 0.55])
    for index, sparsity in enumerate([0.1, 0.3, 0.55]):
        assert torch.equal(keep_mask(row_levels(scores, [sparsity]), 0), keep_mask(together, index))


def test_sorting_in_chunks_of_rows_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = torch.randint(0, 9, (7, 12), generator=torch.Generator().manual_seed(0)).float()
    by_row, by_group = row_levels(scores, [0.25, 0.5]), n_m_levels(scores, 2, 4)
    monkeypatch.setattr(masks_module, "_WEIGHTS_PER_SORT", 30)
    assert torch.equal(row_levels(scores, [0.25, 0.5]), by_row)
    assert torch.equal(n_m_levels(scores, 2, 4), by_group)


def test_half_of_a_long_row_of_ties_falls_at_its_start() -> None:
    levels = row_levels(torch.zeros(2, 5000), [0.5])
    assert levels[:, :2500].sum() == 0
    assert (levels[:, 2500:] == 1).all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_non_finite_score_is_an_error(value: float) -> None:
    scores = torch.ones(2, 4)
    scores[1, 2] = value
    with pytest.raises(StatisticsError, match="not finite"):
        row_levels(scores, [0.5])
    with pytest.raises(StatisticsError, match="not finite"):
        n_m_levels(scores, 2, 4)


def test_scores_that_are_no_matrix_are_an_error() -> None:
    with pytest.raises(ShapeError, match="not a matrix"):
        row_levels(torch.ones(4), [0.5])
    with pytest.raises(ShapeError, match="not a matrix"):
        n_m_levels(torch.ones(4), 2, 4)


@pytest.mark.parametrize("sparsities", [[], [0.5, 0.3], [0.1] * 256])
def test_sparsities_that_are_none_too_many_or_not_ascending_are_an_error(sparsities: list[float]) -> None:
    with pytest.raises(BadInputError, match="sparsities"):
        row_levels(torch.ones(2, 4), sparsities)


@PROPERTY
@given(st.sampled_from([(1, 2), (2, 4), (4, 8), (1, 4)]), st.integers(1, 3), st.integers(1, 3), st.data())
def test_n_m_masks_equal_a_sort_within_groups_written_as_loops(
    pattern: tuple[int, int], n_rows, n_groups, data
) -> None:
    n, m = pattern
    size = n_rows * n_groups * m
    values = data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    scores = torch.tensor(values, dtype=torch.float32).reshape(n_rows, n_groups * m)
    expected = []
    for row in scores.tolist():
        levels = [1] * len(row)
        for start in range(0, len(row), m):
            for column in sorted(range(start, start + m), key=lambda place: (row[place], place))[:n]:
                levels[column] = 0
        expected.append(levels)
    levels = n_m_levels(scores, n, m)
    assert levels.dtype == torch.uint8
    assert levels.tolist() == expected
    assert removed_counts(levels, 1) == [n_rows * n_groups * n]


def test_a_row_that_does_not_divide_into_groups_is_an_error() -> None:
    with pytest.raises(ShapeError, match="multiple of 4"):
        n_m_levels(torch.ones(2, 6), 2, 4)


@pytest.mark.parametrize(("n", "m"), [(0, 4), (4, 4), (5, 4), (-1, 2)])
def test_a_pattern_that_removes_nothing_or_everything_is_an_error(n: int, m: int) -> None:
    with pytest.raises(BadInputError, match="N:M"):
        n_m_levels(torch.ones(2, 8), n, m)


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


def test_one_sparsity_takes_one_bit_a_weight_and_the_bit_says_kept() -> None:
    levels = torch.tensor([[1, 0, 0, 0, 0], [0, 0, 0, 1, 1]], dtype=torch.uint8)
    assert pack_levels(levels, 1) == bytes([0b00000001, 0b00000011])


def test_bit_planes_come_least_significant_first() -> None:
    assert pack_levels(torch.tensor([[0, 1, 2, 3]], dtype=torch.uint8), 3) == bytes([0b1010, 0b1100])


def test_levels_are_packed_by_rows_whatever_their_memory_layout() -> None:
    levels = torch.tensor([[0, 1, 1], [1, 0, 0]], dtype=torch.uint8)
    assert pack_levels(levels.T.contiguous().T, 1) == pack_levels(levels, 1)


def test_a_level_that_does_not_exist_is_an_error() -> None:
    levels = torch.tensor([[0, 3]], dtype=torch.uint8)
    for function in (pack_levels, removed_counts):
        with pytest.raises(ShapeError, match="does not exist"):
            function(levels, 2)
    with pytest.raises(ShapeError, match="does not exist"):
        unpack_levels(pack_levels(levels, 3), (1, 2), 2)


@pytest.mark.parametrize("n_levels", [0, 256])
def test_a_number_of_levels_out_of_range_is_an_error(n_levels: int) -> None:
    levels = torch.zeros(1, 8, dtype=torch.uint8)
    for function in (pack_levels, removed_counts):
        with pytest.raises(ShapeError, match="number of levels"):
            function(levels, n_levels)
    with pytest.raises(ShapeError, match="number of levels"):
        unpack_levels(b"\0", (1, 8), n_levels)


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0"])
def test_packed_levels_of_another_length_are_an_error(data: bytes) -> None:
    with pytest.raises(ShapeError, match="do not fit the weight"):
        unpack_levels(data, (3, 4), 1)


@pytest.mark.parametrize("level", [-1, 255])
def test_a_keep_mask_of_no_level_is_an_error(level: int) -> None:
    with pytest.raises(ShapeError, match="no such level"):
        keep_mask(torch.zeros(1, 1, dtype=torch.uint8), level)


@PROPERTY
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_jaccard_equals_its_definition_on_sets(pairs: list[tuple[bool, bool]]) -> None:
    a, b = ({i for i, pair in enumerate(pairs) if pair[side]} for side in (0, 1))
    expected = len(a & b) / len(a | b) if a | b else 1.0
    removed = torch.tensor(pairs)
    assert jaccard_removed(removed[:, 0], removed[:, 1]) == expected


def test_two_empty_removed_sets_are_equal() -> None:
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    assert jaccard_removed(nothing, nothing) == 1.0


def test_masks_that_do_not_fit_each_other_are_an_error() -> None:
    a = torch.zeros(2, 3, dtype=torch.bool)
    for b in (torch.zeros(3, 2, dtype=torch.bool), torch.zeros(2, 3, dtype=torch.uint8)):
        with pytest.raises(ShapeError, match="do not fit each other"):
            jaccard_removed(a, b)
