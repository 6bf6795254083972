"""Packed triangles of symmetric matrices, and combinations of Gram matrices."""

import itertools

import pytest
import torch

from mlprune.errors import ShapeError, StatisticsError
from mlprune.numeric.activations import packed_triangle as module
from mlprune.numeric.activations.packed_triangle import combined_products, mirrored, packed_triangle, unpacked_triangle


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
