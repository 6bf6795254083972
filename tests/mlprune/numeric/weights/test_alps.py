"""ALPS, compared with a slow computation from its formula, and properties of its results."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.methods import AlpsParameters
from mlprune.numeric.weights.alps import alps, conjugate_gradients
from mlprune.numeric.weights.sparsegpt import sparsegpt
from tests.drawn import drawn

PROPERTY = settings(max_examples=15, deadline=None, derandomize=True, database=None)


def correlated(d_in: int, n_tokens: int = 64, seed: int = 9) -> Tensor:
    """[n_tokens, d_in] float64 inputs with correlated features of different size."""
    mixing = torch.eye(d_in) + 0.5 * drawn(d_in, d_in, seed=seed)
    sizes = torch.linspace(0.2, 3, d_in)
    return (drawn(n_tokens, d_in, seed=seed + 1) @ mixing * sizes).double()


def groups_of(n_rows: int, d_in: int, structure: str, sparsity: float) -> tuple[list[list[tuple[int, int]]], int]:
    """The places of every comparison group, and how many of them are removed."""
    places = [[(i, j) for j in range(d_in)] for i in range(n_rows)]
    if structure == "matrix":
        places = [[place for row in places for place in row]]
    elif structure != "row":
        m = int(structure[2])
        places = [row[start : start + m] for row in places for start in range(0, d_in, m)]
        return places, int(structure[0])
    return places, int(sparsity * 100 + 0.5) * len(places[0]) // 100


def looped(
    weight: Tensor,
    products: Tensor,
    *,
    sparsity: float,
    structure: str,
    damping: float = 0.01,
    max_iterations: int = 300,
    gradient_steps: int = 10,
) -> tuple[list[list[bool]], Tensor, list[float]]:
    """The same from the formula: explicit inverses, sorted lists, one row at a time. Also every penalty."""
    n_rows, d_in = weight.shape
    mean = sum(float(products[j, j]) for j in range(d_in)) / d_in
    hessian = products + damping * mean * torch.eye(d_in, dtype=torch.float64)
    d = [math.sqrt(hessian[j, j]) for j in range(d_in)]
    hessian = torch.stack([torch.stack([hessian[i, j] / (d[i] * d[j]) for j in range(d_in)]) for i in range(d_in)])
    groups, count = groups_of(n_rows, d_in, structure, sparsity)

    def support(values: Tensor) -> list[list[bool]]:
        keep = [[True] * d_in for _ in range(n_rows)]
        for group in groups:
            for _, i, j in sorted((abs(float(values[i, j])), i, j) for i, j in group)[:count]:
                keep[i][j] = False
        return keep

    def largest(values: Tensor) -> Tensor:
        return torch.where(torch.tensor(support(values)), values, 0.0)

    b0 = weight.double() * torch.tensor(d, dtype=torch.float64)
    rho, grown, b, sparse, v = 0.1, False, b0, largest(b0), torch.zeros_like(b0)
    last, penalties = support(b0), [0.1]
    for i in range(max_iterations):
        b = (b0 @ hessian - v + rho * sparse) @ torch.linalg.inv(hessian + rho * torch.eye(d_in, dtype=torch.float64))
        now = support(b + v / rho)
        sparse = largest(b + v / rho)
        v = v + rho * (b - sparse)
        if (i + 1) % 3 == 0:
            c = sum(one != other for a, z in zip(now, last, strict=True) for one, other in zip(a, z, strict=True))
            k, last = sum(map(sum, now)), now
            if c / k > 0.1:
                rho, grown = rho * 1.3, True
            elif c / k > 0.005:
                rho, grown = rho * 1.2, True
            elif c > 0 and grown:
                rho = rho * 1.1
            elif c > 0:
                rho, sparse, v = rho / 5, largest(b0), torch.zeros_like(b0)
            elif grown:
                break
            else:
                rho = rho / 5
            penalties.append(rho)
            if i >= 30 and c / k < 0.0003:
                break
    keep, fitted = torch.tensor(support(b)), largest(b)
    for i in range(n_rows):
        kept = keep[i].nonzero().flatten()
        a, x = hessian[kept][:, kept], fitted[i, kept]
        residual = (b0 @ hessian)[i, kept] - a @ x
        direction = residual
        for _ in range(gradient_steps):
            if float(residual @ residual) < 1e-24:
                break
            step = (residual @ residual) / (direction @ a @ direction)
            x, before = x + step * direction, residual
            residual = residual - step * (a @ direction)
            direction = residual + (residual @ residual) / (before @ before) * direction
        fitted[i, kept] = x
    return keep.tolist(), fitted / torch.tensor(d, dtype=torch.float64), penalties


def error_of(weight: Tensor, changed: Tensor, products: Tensor) -> float:
    removed = (weight - changed).double()
    return float((removed @ products * removed).sum())


def damped(products: Tensor, damping: float = 0.01) -> Tensor:
    return products + damping * products.diagonal().mean() * torch.eye(len(products), dtype=torch.float64)


@pytest.mark.thorough("draws and compares many arrays")
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("structure", "sparsity"),
    [("matrix", 0.29), ("matrix", 0.7), ("row", 0.5), ("row", 0.8), ("2:4", 0.5), ("1:2", 0.5)],
)
def test_masks_and_weights_equal_the_slow_computation(structure: str, sparsity: float, seed: int) -> None:
    inputs = correlated(8, seed=seed + 20)
    weight, products = drawn(6, 8, seed=seed), inputs.t() @ inputs
    result = alps(weight, products, sparsity=sparsity, structure=structure)
    keep, expected, _ = looped(weight, products, sparsity=sparsity, structure=structure)
    assert result.keep.tolist() == keep
    torch.testing.assert_close(result.weight.double(), expected, rtol=1e-5, atol=1e-6)
    assert (result.weight.dtype, result.n_dampings) == (torch.float32, 0)


@pytest.mark.parametrize("options", [{"damping": 0.1}, {"max_iterations": 4}, {"gradient_steps": 0}])
def test_every_option_has_its_effect_in_the_slow_computation_too(options: dict[str, float]) -> None:
    inputs = correlated(8)
    weight, products = drawn(6, 8), inputs.t() @ inputs
    result = alps(weight, products, sparsity=0.7, parameters=AlpsParameters(**options))
    keep, expected, _ = looped(weight, products, sparsity=0.7, structure="matrix", **options)
    assert result.keep.tolist() == keep
    torch.testing.assert_close(result.weight.double(), expected, rtol=1e-5, atol=1e-6)
    assert not torch.equal(result.weight, alps(weight, products, sparsity=0.7).weight)


def test_the_penalty_shrinks_until_the_support_changes_and_then_grows() -> None:
    products = torch.eye(4, dtype=torch.float64) + 0.05
    weight = torch.tensor([[4.0, 3.0, 0.2, 0.1], [2.0, 5.0, 0.3, 0.4]])
    keep, expected, penalties = looped(weight, products, sparsity=0.5, structure="row")
    assert penalties[1] == penalties[0] / 5
    result = alps(weight, products, sparsity=0.5, structure="row")
    assert result.keep.tolist() == keep
    torch.testing.assert_close(result.weight.double(), expected, rtol=1e-5, atol=1e-6)


@PROPERTY
@given(
    n_rows=st.integers(1, 5),
    n_groups=st.integers(1, 3),
    structure=st.sampled_from(["matrix", "row", "1:2", "2:4", "3:4"]),
    percent=st.integers(0, 99),
)
def test_every_group_loses_exactly_its_share(n_rows: int, n_groups: int, structure: str, percent: int) -> None:
    d_in = 4 * n_groups
    sparsity = int(structure[0]) / int(structure[2]) if ":" in structure else percent / 100
    inputs = correlated(d_in)
    weight = drawn(n_rows, d_in)
    result = alps(weight, inputs.t() @ inputs, sparsity=sparsity, structure=structure)
    groups, count = groups_of(n_rows, d_in, structure, sparsity)
    assert {sum(not result.keep[i, j] for i, j in group) for group in groups} == {count}
    assert torch.equal(result.weight == 0, ~result.keep)


@pytest.mark.parametrize(("structure", "sparsity"), [("matrix", 0.7), ("row", 0.5), ("2:4", 0.5)])
@pytest.mark.parametrize("seed", [0, 1])
def test_outputs_change_less_than_by_magnitude_and_by_sparsegpt(structure: str, sparsity: float, seed: int) -> None:
    inputs = correlated(32, n_tokens=200, seed=seed + 40)
    weight, products = drawn(24, 32, seed=seed), inputs.t() @ inputs
    result = alps(weight, products, sparsity=sparsity, structure=structure)
    groups, count = groups_of(24, 32, structure, sparsity)
    by_magnitude = weight.clone()
    for group in groups:
        for _, i, j in sorted((abs(float(weight[i, j])), i, j) for i, j in group)[:count]:
            by_magnitude[i, j] = 0
    other = sparsegpt(weight, products, sparsity=sparsity, structure=structure, block_size=8)
    error = error_of(weight, result.weight, products)
    assert error < error_of(weight, by_magnitude, products)
    assert error < error_of(weight, other.weight, products)


def test_conjugate_gradients_never_raise_the_error_and_end_at_least_squares() -> None:
    inputs = correlated(12)
    weight, products = drawn(5, 12).double(), damped(inputs.t() @ inputs)
    keep = drawn(5, 12, seed=3) > 0
    errors = []
    for steps in range(13):
        fitted = conjugate_gradients(weight * keep, keep, weight @ products, products, steps=steps)
        errors.append([error_of(weight[i : i + 1], fitted[i : i + 1], products) for i in range(5)])
        assert (fitted[~keep] == 0).all()
    for before, after in pairwise(errors):
        assert all(late <= early * (1 + 1e-9) for early, late in zip(before, after, strict=True))
    assert sum(errors[-1]) < sum(errors[0])
    for i in range(5):
        kept = keep[i].nonzero().flatten()
        solved = torch.linalg.solve(products[kept][:, kept], (weight @ products)[i, kept])
        torch.testing.assert_close(fitted[i, kept], solved, rtol=1e-6, atol=1e-8)


def test_uncorrelated_features_give_nearly_the_mask_of_wanda_and_keep_their_weights() -> None:
    norms = torch.linspace(1, 4, 32)
    weight, products = drawn(24, 32), torch.diag(norms.double().square())
    result = alps(weight, products, sparsity=0.5, parameters=AlpsParameters(damping=1e-9))
    scores = weight.abs() * norms
    best = weight * (scores > scores.flatten().kthvalue(384).values)
    torch.testing.assert_close(result.weight, weight * result.keep, rtol=1e-6, atol=0)
    least = error_of(weight, best, products)
    assert least <= error_of(weight, result.weight, products) < 1.02 * least


def test_weights_of_features_that_are_never_active_compete_with_the_damping_and_keep_their_values() -> None:
    inputs = correlated(8)
    inputs[:, [2, 5]] = 0
    weight, products = drawn(6, 8), inputs.t() @ inputs
    weight[:, [2, 5]] /= 100
    weight[0, 2] = 1000.0
    result = alps(weight, products, sparsity=0.5)
    assert result.keep[0, 2]
    assert float(result.weight[0, 2]) == pytest.approx(1000.0, rel=1e-6)
    assert not result.keep[1:, [2, 5]].any()


def test_a_layer_none_of_whose_features_is_active_is_pruned_by_magnitude() -> None:
    weight = drawn(3, 4)
    result = alps(weight, torch.zeros(4, 4, dtype=torch.float64), sparsity=0.25)
    assert torch.equal(result.keep, weight.abs() > weight.abs().flatten().kthvalue(3).values)
    torch.testing.assert_close(result.weight, weight * result.keep, rtol=1e-6, atol=0)


def test_the_first_weights_in_row_major_order_of_equal_magnitudes_are_removed() -> None:
    once = AlpsParameters(max_iterations=1)
    result = alps(torch.ones(2, 4), torch.eye(4, dtype=torch.float64), sparsity=0.75, parameters=once)
    assert result.keep.tolist() == [[False] * 4, [False, False, True, True]]


@pytest.mark.parametrize("structure", ["matrix", "row"])
def test_a_share_that_removes_nothing_changes_nothing(structure: str) -> None:
    weight = drawn(3, 4)
    result = alps(weight, torch.eye(4, dtype=torch.float64), sparsity=0.05, structure=structure)
    assert result.keep.all()
    assert torch.equal(result.weight, weight)
