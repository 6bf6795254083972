"""Packed triangles of symmetric matrices, and combinations of Gram matrices."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import ShapeError, StatisticsError
from mlprune.numeric.activations import gram as module
from mlprune.numeric.activations.gram import (
    GramAccumulator,
    combined_products,
    mirrored,
    packed_triangle,
    unpacked_triangle,
)
from mlprune.processes.parallel import set_worker_threads
from tests.drawn import drawn
from tests.pretended_gpus import pretended_gpus
from tests.refusals import refused


def symmetric(n: int, seed: int = 0) -> torch.Tensor:
    rows = torch.randn(n + 2, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return rows.T @ rows


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9])
def test_a_matrix_comes_back_from_its_upper_triangle(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TILE", 3)
    matrix = mirrored(symmetric(n))
    packed = packed_triangle(matrix.triu())
    assert packed.tolist() == [float(matrix[i, j]) for i in range(n) for j in range(i, n)]
    assert torch.equal(unpacked_triangle(packed), matrix)
    assert torch.equal(mirrored(matrix.triu() + torch.full((n, n), torch.nan).tril(-1).nan_to_num(5.0)), matrix)


def test_a_vector_of_another_length_is_refused() -> None:
    for wrong in (torch.zeros(2), torch.zeros(3, 2)):
        with pytest.raises(ShapeError):
            unpacked_triangle(wrong)


def test_sets_count_by_their_shares_whatever_their_traces() -> None:
    first, second = symmetric(4), symmetric(4, seed=1) * 1000
    combined = combined_products([first, second], (0.25, 0.75))
    traces = [sum(float(matrix[k, k]) for k in range(4)) for matrix in (first, second)]
    for i, j in itertools.product(range(4), repeat=2):
        expected = 0.25 * float(first[i, j]) / traces[0] + 0.75 * float(second[i, j]) / traces[1]
        assert float(combined[i, j]) == pytest.approx(expected)
    torch.testing.assert_close(combined, combined_products([first * 7, second], (0.25, 0.75)))
    assert float(combined.diagonal().sum()) == pytest.approx(1)


def test_a_single_matrix_stays_as_it_is_and_a_silent_set_counts_as_zero() -> None:
    matrix, silent = symmetric(3), torch.zeros(3, 3, dtype=torch.float64)
    assert combined_products([matrix], (1.0,)) is matrix
    torch.testing.assert_close(combined_products([matrix, silent], (0.5, 0.5)), 0.5 * matrix / matrix.diagonal().sum())
    for wrong in ([silent, silent], [matrix, -matrix], [matrix, matrix * torch.nan]):
        with pytest.raises(StatisticsError):
            combined_products(wrong, (0.5, 0.5))


PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_sums_equal_plain_loops_in_float64(dtype: torch.dtype) -> None:
    pieces = [drawn(5, 7).to(dtype), drawn(0, 7).to(dtype), drawn(3, 7, seed=1).to(dtype)]
    sums = GramAccumulator(7, CPU)
    sums.add(pieces)
    rows = [row for piece in pieces for row in piece.double().tolist()]
    loops = [[sum(row[i] * row[j] for row in rows) for j in range(7)] for i in range(7)]
    assert sums.matrix().dtype == torch.float64
    torch.testing.assert_close(sums.matrix(), torch.tensor(loops, dtype=torch.float64), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_float32_products_of_each_demonstration_are_added_in_float64(dtype: torch.dtype) -> None:
    pieces = [drawn(n, 7, seed=n).to(dtype) for n in (30, 0, 3)]
    sums = GramAccumulator(7, CPU, dtype=torch.float32)
    sums.add(pieces)
    expected = sum((piece.float().T @ piece.float()).double() for piece in pieces)
    assert sums.matrix().dtype == torch.float64
    assert torch.equal(sums.matrix(), mirrored(expected))


@PROPERTY
@given(
    n_features=st.integers(1, 20),
    tile=st.integers(1, 8),
    cut=st.integers(0, 4),
    n_threads=st.integers(1, 3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_neither_calls_nor_threads_change_bits_and_the_sum_is_symmetric(
    n_features: int, tile: int, cut: int, n_threads: int, dtype: torch.dtype
) -> None:
    pieces = [drawn(n_tokens, n_features, seed=n_tokens) for n_tokens in (4, 1, 9, 2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_GRAM_TILE", tile)
        alone, parted = (GramAccumulator(n_features, CPU, dtype=dtype) for _ in range(2))
        alone.add(pieces)
        set_worker_threads(n_threads)
        try:
            parted.add(pieces[:cut])
            parted.add(pieces[cut:])
        finally:
            set_worker_threads(1)
        assert torch.equal(alone.matrix(), parted.matrix())
        assert torch.equal(alone.matrix(), alone.matrix().T)
        expected = sum(piece.double().T @ piece.double() for piece in pieces)
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        torch.testing.assert_close(alone.matrix(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("tile", "most_operations"), [(4096, 30), (4, 90)])
def test_an_accelerator_adds_in_few_operations_without_a_wait(tile: int, most_operations: int) -> None:
    pieces = [drawn(5, 7), drawn(3, 7, seed=1)]
    with pytest.MonkeyPatch.context() as patch, pretended_gpus() as ledger:
        patch.setattr(module, "_ACCELERATOR_TILE", tile)
        sums = GramAccumulator(7, torch.device("cuda:0"))
        on_gpu = [piece.to("cuda:0") for piece in pieces]
        ledger.clear()
        sums.add(on_gpu)
        assert ledger.waits == 0
        assert ledger.operations <= most_operations
        found = sums.matrix().cpu()
    assert torch.equal(found, found.T)
    torch.testing.assert_close(found, sum(piece.double().T @ piece.double() for piece in pieces))


def test_the_matrix_may_be_read_between_two_additions() -> None:
    sums = GramAccumulator(4, CPU)
    sums.add([drawn(3, 4)])
    first = sums.matrix().clone()
    sums.add([drawn(3, 4)])
    torch.testing.assert_close(sums.matrix(), 2 * first)


def test_tokens_of_other_features_are_an_error_and_nothing_is_added() -> None:
    sums = GramAccumulator(4, CPU)
    for wrong in (drawn(3, 5), drawn(4)):
        with refused(ShapeError, expected="[tokens, 4]"):
            sums.add([drawn(2, 4), wrong])
    assert not sums.matrix().any()
