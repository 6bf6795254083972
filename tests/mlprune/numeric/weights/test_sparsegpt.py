"""SparseGPT, compared with a slow computation with explicit inverses, and properties of its results."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.numeric.weights.sparsegpt import Reconstruction, sparsegpt
from tests.drawn import drawn

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def correlated(d_in: int, n_tokens: int = 64, seed: int = 9) -> Tensor:
    """[n_tokens, d_in] float64 inputs with correlated features."""
    mixing = torch.eye(d_in) + 0.5 * drawn(d_in, d_in, seed=seed)
    return (drawn(n_tokens, d_in, seed=seed + 1) @ mixing).double()


def damped(products: Tensor, damping: float) -> Tensor:
    hessian = products.clone()
    for j in range(hessian.shape[0]):
        if hessian[j, j] == 0:
            hessian[j, j] = 1
    mean = sum(float(hessian[j, j]) for j in range(hessian.shape[0])) / hessian.shape[0]
    return hessian + damping * mean * torch.eye(hessian.shape[0], dtype=torch.float64)


def looped(
    weight: Tensor, products: Tensor, *, sparsity: float, structure: str, block_size: int, damping: float
) -> tuple[list[list[bool]], list[list[float]]]:
    """The same by the formula of the optimal brain surgeon: a new inverse over the remaining columns at each column."""
    hessian = damped(products, damping)
    n_rows, d_in = weight.shape
    w = [[0.0 if products[j, j] == 0 else float(weight[i, j]) for j in range(d_in)] for i in range(n_rows)]
    keep = [[True] * d_in for _ in range(n_rows)]
    free = [torch.linalg.inv(hessian[j:, j:]).tolist() for j in range(d_in)]

    def remove_lowest(rows: range, columns: range, count: int) -> None:
        losses = [(w[i][j] ** 2 / free[j][0][0], i, j) for i in rows for j in columns]
        for _, i, j in sorted(losses)[:count]:
            keep[i][j] = False

    for j in range(d_in):
        if structure == "matrix" and j % block_size == 0:
            columns = range(j, min(j + block_size, d_in))
            remove_lowest(range(n_rows), columns, int(sparsity * 100 + 0.5) * n_rows * len(columns) // 100)
        elif structure == "row" and j % block_size == 0:
            columns = range(j, min(j + block_size, d_in))
            percent = int(sparsity * 100 + 0.5)
            for i in range(n_rows):
                remove_lowest(range(i, i + 1), columns, percent * columns.stop // 100 - percent * j // 100)
        elif structure not in ("matrix", "row") and j % int(structure[2]) == 0:
            for i in range(n_rows):
                remove_lowest(range(i, i + 1), range(j, j + int(structure[2])), int(structure[0]))
        for i in range(n_rows):
            if not keep[i][j]:
                error = w[i][j] / free[j][0][0]
                for k in range(j, d_in):
                    w[i][k] -= error * free[j][0][k - j]
                w[i][j] = 0.0
    return keep, w


def output_error(weight: Tensor, changed: Tensor, inputs: Tensor) -> float:
    return float((inputs @ (weight - changed).double().t()).square().sum())


def pruned_by_magnitude(weight: Tensor, structure: str, n_removed: int) -> Tensor:
    """The weight without its smallest entries, of the matrix, of each row or of each group of M."""
    size = {"matrix": weight.numel(), "row": weight.shape[1]}.get(structure) or int(structure[2])
    groups = weight.reshape(-1, size)
    removed = groups.abs().argsort(dim=1)[:, : n_removed // len(groups)]
    return groups.scatter(1, removed, 0.0).reshape(weight.shape)


def assert_equals_loops(result: Reconstruction, loops: tuple[list[list[bool]], list[list[float]]]) -> None:
    assert result.keep.tolist() == loops[0]
    torch.testing.assert_close(result.weight.double(), torch.tensor(loops[1]).double(), rtol=1e-5, atol=1e-6)
    assert result.weight.dtype == torch.float32
    assert result.n_dampings == 0


SHARES = [(0.0, 4), (0.29, 1), (0.29, 128), (0.5, 3), (0.5, 8), (0.7, 4)]
PATTERNS = [("2:4", 0.5, 1), ("2:4", 0.5, 6), ("1:4", 0.25, 4), ("1:2", 0.5, 128), ("1:2", 0.5, 6), ("5:8", 0.625, 4)]


@pytest.mark.parametrize(
    ("structure", "sparsity", "block_size"),
    [*((structure, *share) for structure in ("matrix", "row") for share in SHARES), *PATTERNS],
)
def test_masks_and_weights_equal_the_slow_computation(structure: str, sparsity: float, block_size: int) -> None:
    inputs = correlated(8)
    weight, products = drawn(6, 8), inputs.t() @ inputs
    options = {"sparsity": sparsity, "structure": structure, "block_size": block_size, "damping": 0.01}
    assert_equals_loops(sparsegpt(weight, products, **options), looped(weight, products, **options))


@PROPERTY
@given(n_rows=st.integers(1, 5), groups=st.integers(1, 4), pattern=st.sampled_from([(1, 2), (2, 4), (3, 4)]))
def test_every_group_of_m_loses_exactly_n(n_rows: int, groups: int, pattern: tuple[int, int]) -> None:
    n, m = pattern
    inputs = correlated(groups * m)
    result = sparsegpt(drawn(n_rows, groups * m), inputs.t() @ inputs, sparsity=n / m, structure=f"{n}:{m}")
    assert ((~result.keep).reshape(n_rows, groups, m).sum(2) == n).all()


@PROPERTY
@given(n_rows=st.integers(1, 6), d_in=st.integers(1, 12), percent=st.integers(0, 99), block_size=st.integers(1, 12))
def test_every_column_block_loses_the_floor_of_its_share(n_rows: int, d_in: int, percent: int, block_size: int) -> None:
    inputs = correlated(d_in)
    weight = drawn(n_rows, d_in)
    result = sparsegpt(weight, inputs.t() @ inputs, sparsity=percent / 100, block_size=block_size)
    for columns in result.keep.split(block_size, dim=1):
        assert int((~columns).sum()) == columns.numel() * percent // 100
    assert torch.equal(result.weight == 0, ~result.keep)


@PROPERTY
@given(n_rows=st.integers(1, 4), d_in=st.integers(1, 12), percent=st.integers(0, 99), block_size=st.integers(1, 12))
def test_every_row_loses_the_floor_of_its_share(n_rows: int, d_in: int, percent: int, block_size: int) -> None:
    inputs = correlated(d_in)
    options = {"sparsity": percent / 100, "structure": "row", "block_size": block_size}
    result = sparsegpt(drawn(n_rows, d_in), inputs.t() @ inputs, **options)
    for end in [*range(block_size, d_in, block_size), d_in]:
        assert ((~result.keep[:, :end]).sum(1) == end * percent // 100).all()


def test_the_first_weights_in_row_major_order_of_equal_losses_are_removed() -> None:
    result = sparsegpt(torch.ones(2, 4), torch.eye(4, dtype=torch.float64), sparsity=0.75)
    assert result.keep.tolist() == [[False] * 4, [False, False, True, True]]
    result = sparsegpt(torch.ones(2, 4), torch.eye(4, dtype=torch.float64), sparsity=0.5, structure="2:4")
    assert result.keep.tolist() == [[False, False, True, True]] * 2


@pytest.mark.parametrize(("structure", "sparsity"), [("matrix", 0.5), ("2:4", 0.5), ("matrix", 0.8), ("row", 0.5)])
def test_outputs_change_less_than_with_the_same_mask_alone_and_less_than_by_magnitude(
    structure: str, sparsity: float
) -> None:
    inputs = correlated(32, n_tokens=200)
    weight = drawn(24, 32)
    result = sparsegpt(weight, inputs.t() @ inputs, sparsity=sparsity, structure=structure, block_size=8)
    error = output_error(weight, result.weight, inputs)
    assert error < output_error(weight, weight * result.keep, inputs)
    by_magnitude = pruned_by_magnitude(weight, structure, int((~result.keep).sum()))
    assert int((by_magnitude == 0).sum()) == int((~result.keep).sum())
    assert error < output_error(weight, by_magnitude, inputs)


def test_uncorrelated_features_need_no_update_and_give_the_mask_of_wanda() -> None:
    norms = torch.tensor([1.0, 4.0, 2.0, 3.0])
    weight = drawn(5, 4)
    result = sparsegpt(weight, torch.diag(norms.double().square()), sparsity=0.5, damping=1e-9)
    losses = weight.abs() * norms
    assert torch.equal(result.keep, losses > losses.flatten().kthvalue(10).values)
    torch.testing.assert_close(result.weight, weight * result.keep, rtol=1e-6, atol=0)


def test_features_that_are_never_active_lose_their_weights_first() -> None:
    inputs = correlated(8)
    inputs[:, [2, 5]] = 0
    weight, products = drawn(6, 8), inputs.t() @ inputs
    options = {"sparsity": 0.5, "structure": "matrix", "block_size": 4, "damping": 0.01}
    result = sparsegpt(weight, products, **options)
    assert_equals_loops(result, looped(weight, products, **options))
    assert (~result.keep[:, [2, 5]]).all()
    few = sparsegpt(weight, products, **{**options, "sparsity": 0.1})
    assert (few.weight[:, [2, 5]] == 0).all()
    assert int((~few.keep).sum()) == 4


def test_a_layer_none_of_whose_features_is_active_becomes_zero() -> None:
    result = sparsegpt(drawn(3, 4), torch.zeros(4, 4, dtype=torch.float64), sparsity=0.25)
    assert (result.weight == 0).all()
    assert int((~result.keep).sum()) == 3


def test_a_singular_hessian_is_damped_until_it_is_positive_definite() -> None:
    result = sparsegpt(drawn(3, 4), torch.ones(4, 4, dtype=torch.float64), sparsity=0.5, damping=1e-20)
    assert 1 <= result.n_dampings <= 10
    assert torch.isfinite(result.weight).all()
    again = sparsegpt(
        drawn(3, 4), torch.ones(4, 4, dtype=torch.float64), sparsity=0.5, damping=1e-20 * 10**result.n_dampings
    )
    assert again.n_dampings == 0
    assert torch.equal(again.weight, result.weight)


def test_an_update_beyond_float32_is_an_error() -> None:
    products = torch.tensor([[1.0, 1 - 1e-9], [1 - 1e-9, 1.0]], dtype=torch.float64)
    with pytest.raises(StatisticsError):
        sparsegpt(torch.tensor([[3e38, 3.1e38]]), products, sparsity=0.5, damping=1e-9)
