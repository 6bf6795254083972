"""Gram matrices, compared with plain float64 loops, and their properties."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mlprune.numeric.activations.gram as products_module
from mlprune.errors import ShapeError
from mlprune.numeric.activations.gram import GramAccumulator
from mlprune.numeric.activations.packed_triangle import mirrored
from mlprune.processes.parallel import set_worker_threads
from tests.pretended_gpus import pretended_gpus

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
CPU = torch.device("cpu")


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


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
    rows = [row for piece in pieces for row in piece.double().tolist()]
    loops = [[sum(row[i] * row[j] for row in rows) for j in range(7)] for i in range(7)]
    torch.testing.assert_close(sums.matrix(), torch.tensor(loops, dtype=torch.float64), rtol=1e-5, atol=1e-5)


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
        patch.setattr(products_module, "_TILE", tile)
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
        patch.setattr(products_module, "_ACCELERATOR_TILE", tile)
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
        with pytest.raises(ShapeError, match="tokens do not fit"):
            sums.add([drawn(2, 4), wrong])
    assert not sums.matrix().any()
