"""Wanda's alpha variant, compared with its definition as loops."""

import math
from decimal import Decimal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.numeric.masks.keep_masks import combined_masks
from mlprune.numeric.selection import levels as levels_module
from mlprune.numeric.selection.levels import (
    alpha_counts,
    alpha_levels,
    levels_of,
    matrix_levels,
    n_m_levels,
    n_removed,
    row_levels,
)
from tests.level_masks import keep_mask, removed_counts
from tests.refusals import refused

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def looped_counts(scores: np.ndarray, sparsity: float, *, highest: bool = False) -> list[int]:
    """The bisection as in the definition; sums and shares in float64."""
    low, high, seen = 0.0, 1.0, []
    for _ in range(60):
        alpha = (low + high) / 2
        counts = []
        for row in scores.tolist():
            ordered = sorted(row, reverse=highest)
            total = 0.0
            for value in ordered:
                total += value
            count, running = 0, 0.0
            for value in ordered:
                running += value
                count += running <= alpha * total
            counts.append(count)
        achieved = sum(counts) / scores.size
        seen.append((abs(achieved - sparsity), len(seen), counts))
        if abs(achieved - sparsity) <= 0.001:
            break
        low, high = (alpha, high) if achieved < sparsity else (low, alpha)
    return min(seen)[2]


@PROPERTY
@given(st.integers(1, 5), st.integers(1, 12), st.floats(0.01, 0.99), st.booleans(), st.data())
def test_counts_equal_the_definition_written_as_loops(n_rows, width, sparsity, highest, data) -> None:
    size = n_rows * width
    values = data.draw(st.lists(st.floats(0, 100, width=32), min_size=size, max_size=size))
    scores = np.array(values, np.float32).reshape(n_rows, width)
    counts = alpha_counts(scores, [sparsity], highest=highest)
    assert counts[:, 0].tolist() == looped_counts(scores, sparsity, highest=highest)


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.77])
def test_a_matrix_comes_within_a_thousandth_of_the_sparsity_but_its_rows_differ(sparsity: float) -> None:
    random = np.random.default_rng(0)
    scores = (random.random((60, 200)) ** random.uniform(0.5, 4, (60, 1))).astype(np.float32)
    counts = alpha_counts(scores, [sparsity])[:, 0]
    assert abs(counts.sum() / scores.size - sparsity) <= 0.001
    assert len(set(counts.tolist())) > 5


def test_sparsity_0_removes_nothing_and_counts_ascend() -> None:
    scores = np.random.default_rng(0).random((5, 40)).astype(np.float32)
    counts = alpha_counts(scores, [0.0, 0.3, 0.3004, 0.3008, 0.9])
    assert counts[:, 0].tolist() == [0] * 5
    assert (np.diff(counts, axis=1) >= 0).all()


def test_alpha_takes_finite_scores_of_a_float32_matrix_that_are_not_negative() -> None:
    with refused(StatisticsError, expected=">= 0", got=-2.0):
        alpha_counts(np.array([[1, -2]], np.float32), [0.5])
    for value in (np.nan, np.inf, -np.inf):
        with refused(StatisticsError, n_wrong=1):
            alpha_counts(np.array([[1, value], [1, 2]], np.float32), [0.5])
    with refused(ShapeError, expected="float32 [out, in]", got="float64 (2, 2)"):
        alpha_counts(np.ones((2, 2)), [0.5])
    assert alpha_counts(np.empty((0, 3), np.float32), [0.5]).shape == (0, 1)


SPARSITIES = st.lists(st.integers(0, 99).map(lambda percent: percent / 100), min_size=1, max_size=6).map(sorted)


@st.composite
def score_matrices(draw: st.DrawFn) -> Tensor:
    """Small matrices with few distinct values, so that ties are common."""
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
    with refused(BadInputError, expected="0 <= sparsity < 1"):
        n_removed(sparsity, 10)


@PROPERTY
@given(score_matrices(), SPARSITIES)
def test_row_masks_equal_a_sort_written_as_loops(scores: Tensor, sparsities: list[float]) -> None:
    levels = row_levels(scores, sparsities)
    assert levels.dtype == torch.uint8
    for index, sparsity in enumerate(sparsities):
        assert keep_mask(levels, index).tolist() == looped_keep(scores, sparsity)


def test_zero_and_negative_zero_are_equal_scores() -> None:
    assert row_levels(torch.tensor([[0.0, -0.0, 0.0, -0.0]]), [0.5]).tolist() == [[0, 0, 1, 1]]


@PROPERTY
@given(score_matrices(), SPARSITIES, st.booleans())
def test_the_sort_for_other_devices_finds_the_levels_of_the_kernels(scores: Tensor, sparsities, highest: bool) -> None:
    counts = [n_removed(sparsity, scores.shape[1]) for sparsity in sparsities]
    sorted_levels = levels_module._levels_by_sorting(scores, counts, highest=highest)
    assert torch.equal(sorted_levels, row_levels(scores, sparsities, removes="highest" if highest else "lowest"))


@pytest.mark.gpu
def test_an_accelerator_finds_the_same_levels() -> None:
    scores = torch.randint(0, 50, (64, 48), generator=torch.Generator().manual_seed(0)).float()
    for structure in ("row", "matrix", "alpha", "2:4"):
        for removes in ("lowest", "highest"):
            options = {"sparsities": (0.25, 0.5), "removes": removes}
            there = levels_of(scores.to("cuda"), structure, **options)
            assert there.device.type == "cuda"
            assert torch.equal(there.cpu(), levels_of(scores, structure, **options))


def test_sorting_in_chunks_of_rows_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = torch.randint(0, 9, (7, 12), generator=torch.Generator().manual_seed(0)).float()
    at_once = levels_module._levels_by_sorting(scores, [3, 6], highest=False)
    monkeypatch.setattr(levels_module, "_WEIGHTS_PER_SORT", 30)
    assert torch.equal(levels_module._levels_by_sorting(scores, [3, 6], highest=False), at_once)


@PROPERTY
@given(score_matrices(), SPARSITIES)
def test_removing_the_highest_scores_is_removing_the_lowest_of_the_negated(scores: Tensor, sparsities) -> None:
    for levels in (row_levels, matrix_levels):
        assert torch.equal(levels(scores, sparsities, removes="highest"), levels(-scores, sparsities))
    whole = scores[:, : scores.shape[1] // 2 * 2]
    assert torch.equal(n_m_levels(whole, 1, 2, removes="highest"), n_m_levels(-whole, 1, 2))


@PROPERTY
@given(score_matrices(), SPARSITIES)
def test_a_matrix_compared_as_a_whole_is_one_long_row(scores: Tensor, sparsities: list[float]) -> None:
    levels = matrix_levels(scores, sparsities)
    for index, sparsity in enumerate(sparsities):
        keep = [value for row in keep_mask(levels, index).tolist() for value in row]
        assert keep == looped_keep(scores.reshape(1, -1), sparsity)[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrower_scores_are_compared_exactly(dtype: torch.dtype) -> None:
    scores = torch.rand(6, 50, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert keep_mask(row_levels(scores, [0.5]), 0).tolist() == looped_keep(scores, 0.5)


def test_the_memory_layout_of_the_scores_does_not_matter() -> None:
    scores = torch.rand(30, 48, generator=torch.Generator().manual_seed(0))
    for structure in ("row", "matrix", "alpha", "2:4"):
        expected = levels_of(scores, structure, sparsities=(0.3, 0.5))
        assert torch.equal(levels_of(scores.T.contiguous().T, structure, sparsities=(0.3, 0.5)), expected)


def test_rounding_as_published_code_removes_28_of_100_at_0_29() -> None:
    assert n_removed(0.29, 100, rounding="binary") == 28
    scores = torch.rand(3, 100, generator=torch.Generator().manual_seed(0))
    assert removed_counts(row_levels(scores, [0.29], rounding="binary"), 1) == [84]
    assert removed_counts(row_levels(scores, [0.29]), 1) == [87]
    assert removed_counts(matrix_levels(scores[:1], [0.29], rounding="binary"), 1) == [28]


def test_the_error_of_an_unknown_name_has_the_known_and_the_nearest_names() -> None:
    scores = torch.ones(2, 4)
    with refused(BadInputError, got="matrx", nearest="matrix"):
        levels_of(scores, "matrx", sparsities=(0.5,))
    with refused(BadInputError, expected="2:4, say", got="N:M"):
        levels_of(scores, "N:M", sparsities=(0.5,))
    with refused(BadInputError, got="high", nearest="highest"):
        row_levels(scores, [0.5], removes="high")
    with refused(BadInputError, got="binry", nearest="binary"):
        n_removed(0.5, 4, rounding="binry")
    with refused(BadInputError, got="unions", nearest="union"):
        combined_masks([scores.bool()], "unions")


def test_structures_by_name_are_their_functions() -> None:
    scores = torch.rand(8, 16, generator=torch.Generator().manual_seed(0))
    options = {"sparsities": (0.29, 0.5), "rounding": "binary", "removes": "highest"}
    expected = {
        "row": row_levels(scores, (0.29, 0.5), rounding="binary", removes="highest"),
        "matrix": matrix_levels(scores, (0.29, 0.5), rounding="binary", removes="highest"),
        "alpha": alpha_levels(scores, (0.29, 0.5), removes="highest"),
        "2:4": n_m_levels(scores, 2, 4, removes="highest") * 2,
    }
    for structure, levels in expected.items():
        assert torch.equal(levels_of(scores, structure, **options), levels), structure
    assert len({tuple(levels.flatten().tolist()) for levels in expected.values()}) == 4


@pytest.mark.parametrize("structure", ["row", "matrix", "alpha", "2:4"])
def test_sparsity_0_removes_nothing_for_any_structure(structure: str) -> None:
    scores = torch.rand(4, 8, generator=torch.Generator().manual_seed(0))
    scores[0] = 0
    assert (levels_of(scores, structure, sparsities=(0.0,)) == 1).all()
    both = levels_of(scores, structure, sparsities=(0.0, 0.5))
    assert both.min() == 1
    assert torch.equal(keep_mask(both, 1), keep_mask(levels_of(scores, structure, sparsities=(0.5,)), 0))


@PROPERTY
@given(score_matrices(), SPARSITIES)
def test_alpha_removes_the_lowest_of_every_row_and_is_nested(scores: Tensor, sparsities: list[float]) -> None:
    levels = alpha_levels(scores, sparsities)
    for index in range(len(sparsities)):
        for row, keep in zip(scores.tolist(), keep_mask(levels, index).tolist(), strict=True):
            order = sorted(range(len(row)), key=lambda column: (row[column], column))
            n = keep.count(False)
            assert [column for column in range(len(row)) if not keep[column]] == sorted(order[:n])
    assert removed_counts(levels, len(sparsities)) == sorted(removed_counts(levels, len(sparsities)))


def test_scores_patterns_and_sparsities_that_cannot_be_are_errors() -> None:
    for levels in (row_levels, matrix_levels, alpha_levels):
        with refused(ShapeError, expected="float32", got="torch.float64"):
            levels(torch.ones(2, 4, dtype=torch.float64), [0.5])
    for value in (math.nan, math.inf):
        scores = torch.ones(2, 4)
        scores[1, 2] = value
        for structure in ("row", "matrix", "alpha", "2:4"):
            with refused(StatisticsError, n_wrong=1):
                levels_of(scores, structure, sparsities=(0.5,))
    with refused(ShapeError, expected="[out, in]", got=(4,)):
        row_levels(torch.ones(4), [0.5])
    with refused(ShapeError, expected="[out, in]", got=(4,)):
        n_m_levels(torch.ones(4), 2, 4)
    with refused(ShapeError, expected="a multiple of 4", got=6):
        n_m_levels(torch.ones(2, 6), 2, 4)
    for n, m in ((0, 4), (4, 4), (5, 4), (-1, 2)):
        with refused(BadInputError, expected="0 < n < m"):
            n_m_levels(torch.ones(2, 8), n, m)
    for sparsities in ([], [0.5, 0.3], [0.1] * 256, [1.0]):
        with pytest.raises(BadInputError):
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
