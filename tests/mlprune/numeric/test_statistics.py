"""Activation statistics against plain loops, and what must not change them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.numeric.statistics import demonstration_sums, feature_norms, hidden_magnitudes, mean_squares, merge_parts

PROPERTY = settings(max_examples=40, deadline=None, derandomize=True, database=None)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def counted(lengths: list[int], seq: int) -> Tensor:
    return torch.arange(seq)[None, :] < torch.tensor(lengths)[:, None]


def looped_sums(inputs: Tensor, token_mask: Tensor) -> list[list[float]]:
    batch, seq, d_in = inputs.shape
    return [
        [sum(float(inputs[n, t, j]) ** 2 for t in range(seq) if token_mask[n, t]) for j in range(d_in)]
        for n in range(batch)
    ]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_sums_equal_the_formula_written_as_loops(dtype: torch.dtype) -> None:
    inputs, mask = drawn(3, 7, 5).to(dtype), counted([7, 2, 4], 7)
    sums = demonstration_sums(inputs, mask)
    assert sums.dtype == torch.float32
    torch.testing.assert_close(sums.double(), torch.tensor(looped_sums(inputs, mask)).double(), rtol=2e-7, atol=0)


def test_half_precision_is_widened_before_squaring() -> None:
    inputs = torch.full((1, 2, 1), 300.0, dtype=torch.float16)  # 300 ** 2 is beyond float16
    assert demonstration_sums(inputs, counted([2], 2)).item() == 180_000.0


def test_many_small_squares_beside_a_large_one_are_not_lost() -> None:
    inputs = torch.cat([torch.full((1, 1, 1), 4096.0), torch.ones(1, 4096, 1)], dim=1)
    assert demonstration_sums(inputs, counted([4097], 4097)).item() == 4096.0**2 + 4096


@PROPERTY
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5), pad=st.integers(0, 6), left=st.booleans())
def test_a_demonstration_gives_the_same_bits_alone_and_in_any_padded_batch(
    lengths: list[int], pad: int, left: bool
) -> None:
    alone = [drawn(1, n_tokens, 6, seed=row) for row, n_tokens in enumerate(lengths)]
    seq = max(lengths) + pad
    batch = torch.full((len(lengths), seq, 6), math.nan)
    mask = torch.zeros(len(lengths), seq, dtype=torch.bool)
    for row, demonstration in enumerate(alone):
        n_tokens = demonstration.shape[1]
        place = slice(seq - n_tokens, seq) if left else slice(0, n_tokens)
        batch[row, place] = demonstration[0]
        mask[row, place] = True
    one_by_one = [demonstration_sums(x, torch.ones(x.shape[:2], dtype=torch.bool)) for x in alone]
    assert torch.equal(demonstration_sums(batch, mask), torch.cat(one_by_one))


@pytest.mark.parametrize("filler", [math.nan, math.inf, 1e30])
def test_padding_tokens_do_not_change_statistics_whatever_they_hold(filler: float) -> None:
    inputs, mask = drawn(2, 6, 4), counted([3, 6], 6)
    clean = demonstration_sums(inputs, mask)
    inputs[~mask] = filler
    assert torch.equal(demonstration_sums(inputs, mask), clean)
    assert torch.isfinite(hidden_magnitudes(inputs, mask)).all()


@pytest.mark.parametrize("function", [demonstration_sums, hidden_magnitudes])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_non_finite_counted_activation_is_an_error_that_says_where(function, value: float) -> None:
    inputs = drawn(2, 3, 4)
    inputs[1, 2, 3] = value
    with pytest.raises(StatisticsError, match=r"row_in_batch=1, feature=3"):
        function(inputs, counted([3, 3], 3))


def test_a_sum_beyond_float32_is_an_error() -> None:
    with pytest.raises(StatisticsError, match="too large"):
        demonstration_sums(torch.full((1, 1, 1), 1e20), counted([1], 1))


@pytest.mark.parametrize("function", [demonstration_sums, hidden_magnitudes])
@pytest.mark.parametrize(
    "mask", [torch.ones(2, 4, dtype=torch.bool), torch.ones(2, 3, dtype=torch.int64), torch.ones(2, dtype=torch.bool)]
)
def test_a_mask_that_does_not_fit_is_an_error(function, mask: Tensor) -> None:
    with pytest.raises(ShapeError, match="token mask"):
        function(drawn(2, 3, 4), mask)


def test_a_demonstration_without_counted_tokens_sums_to_zero() -> None:
    assert demonstration_sums(drawn(1, 3, 4), counted([0], 3)).tolist() == [[0.0] * 4]


def test_hidden_magnitudes_equal_the_formula_written_as_loops() -> None:
    hidden, mask = drawn(3, 5, 4), counted([5, 1, 3], 5)
    expected = [[math.sqrt(value) for value in row] for row in looped_sums(hidden, mask)]
    magnitudes = hidden_magnitudes(hidden, mask)
    assert magnitudes.dtype == torch.float32
    torch.testing.assert_close(magnitudes.double(), torch.tensor(expected).double(), rtol=2e-7, atol=0)


def test_hidden_magnitudes_whose_square_is_beyond_float32_are_finite() -> None:
    magnitude = hidden_magnitudes(torch.full((1, 1, 1), 1e25), counted([1], 1))
    assert magnitude.item() == pytest.approx(1e25, rel=1e-6)


def test_norms_and_mean_squares_equal_the_formula_written_as_loops() -> None:
    sum_sq = drawn(9, 5).square()
    totals = [sum(float(sum_sq[n, j]) for n in range(9)) for j in range(5)]
    norms, means = feature_norms(sum_sq), mean_squares(sum_sq)
    assert (norms.dtype, means.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(norms.double(), torch.tensor(totals).double().sqrt(), rtol=1e-7, atol=0)
    assert means.tolist() == [total / 9 for total in totals]  # the same additions in the same order: the same bits


def test_mean_squares_do_not_change_when_every_demonstration_is_held_twice() -> None:
    sum_sq = drawn(4, 3).square()
    torch.testing.assert_close(mean_squares(torch.cat([sum_sq, sum_sq])), mean_squares(sum_sq), rtol=1e-14, atol=0)


@pytest.mark.parametrize("function", [feature_norms, mean_squares])
@pytest.mark.parametrize("value", [-1e-3, math.nan, math.inf])
def test_impossible_sums_of_squares_are_an_error_that_says_where(function, value: float) -> None:
    sum_sq = torch.ones(3, 4)
    sum_sq[2, 1] = value
    with pytest.raises(StatisticsError, match="demonstration=2, feature=1"):
        function(sum_sq)


@pytest.mark.parametrize("function", [feature_norms, mean_squares])
def test_statistics_without_demonstrations_or_that_are_no_matrix_are_errors(function) -> None:
    with pytest.raises(StatisticsError, match="no demonstration"):
        function(torch.ones(0, 4))
    with pytest.raises(ShapeError, match="not a matrix"):
        function(torch.ones(4))


@PROPERTY
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6), data=st.data())
def test_parts_merge_to_the_same_statistics_in_whatever_order_they_arrive(sizes: list[int], data) -> None:
    whole = drawn(sum(sizes), 3).square()
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    parts = [(start, whole[start : start + size]) for start, size in zip(starts, sizes, strict=True)]
    assert torch.equal(merge_parts(data.draw(st.permutations(parts))), whole)


@pytest.mark.parametrize(
    ("starts", "problem"), [([0, 3], "missing"), ([1, 3], "missing"), ([0, 1], "overlapping"), ([0, 0], "overlapping")]
)
def test_missing_and_overlapping_demonstrations_are_errors(starts: list[int], problem: str) -> None:
    with pytest.raises(StatisticsError, match=problem):
        merge_parts([(start, torch.ones(2, 3)) for start in reversed(starts)])


def test_merging_nothing_or_parts_of_unlike_shape_is_an_error() -> None:
    with pytest.raises(StatisticsError, match="no statistics"):
        merge_parts([])
    with pytest.raises(ShapeError, match="do not fit together"):
        merge_parts([(0, torch.ones(2, 3)), (2, torch.ones(2, 4))])
    with pytest.raises(ShapeError, match="do not fit together"):
        merge_parts([(0, torch.ones(3))])


def test_the_number_of_threads_does_not_change_a_bit() -> None:
    inputs, mask = drawn(2, 200, 301), counted([200, 130], 200)
    n_threads = torch.get_num_threads()
    try:
        results = []
        for n in (1, 2):
            torch.set_num_threads(n)
            results.append(demonstration_sums(inputs, mask))
    finally:
        torch.set_num_threads(n_threads)
    assert torch.equal(*results)
