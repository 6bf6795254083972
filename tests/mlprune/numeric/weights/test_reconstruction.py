"""Layer errors, and what every reconstruction of a layer has to do: SparseGPT and ALPS."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.methods.scores import AlpsParameters
from mlprune.numeric.weights import alps as operator_splitting
from mlprune.numeric.weights.layer_inputs import layer_error, layer_errors
from mlprune.numeric.weights.sparsegpt import sparsegpt
from mlprune.processes import parallel
from tests.drawn import drawn
from tests.refusals import refused

EYE = torch.eye(4, dtype=torch.float64)


def alps(weight: Tensor, products: Tensor, *, sparsity: float, structure: str = "matrix", **options: Any) -> Any:
    """Reconstruct with ALPS, with some of its parameters."""
    parameters = AlpsParameters(**options)
    return operator_splitting.alps(weight, products, sparsity=sparsity, structure=structure, parameters=parameters)


BOTH = pytest.mark.parametrize("reconstruct", [sparsegpt, alps])


@BOTH
def test_an_indefinite_hessian_is_damped_until_it_is_positive_definite(reconstruct) -> None:
    products = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)  # eigenvalues 3 and -1, mean diagonal 1
    result = reconstruct(drawn(3, 2), products, sparsity=0.5, damping=0.02)
    assert result.n_dampings == 2
    assert int((~result.keep).sum()) == 3


@BOTH
def test_a_hessian_that_no_damping_helps_is_an_error(reconstruct) -> None:
    with pytest.raises(StatisticsError):
        reconstruct(drawn(3, 2), torch.tensor([[1.0, 1e30], [1e30, 1.0]], dtype=torch.float64), sparsity=0.5)


@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_weight_and_products_are_left_as_they_were(reconstruct, dtype: torch.dtype) -> None:
    inputs = drawn(64, 8, seed=9).double()
    weight, products = torch.nn.Parameter(drawn(8, 6).to(dtype).t()), inputs.t() @ inputs
    before = weight.detach().clone(), products.clone()
    result = reconstruct(weight, products, sparsity=0.5)
    assert torch.equal(weight, before[0])
    assert torch.equal(products, before[1])
    assert not result.weight.requires_grad
    assert result.weight.is_contiguous()
    assert result.keep.is_contiguous()


@BOTH
def test_the_scale_of_the_products_does_not_count(reconstruct) -> None:
    inputs = (drawn(64, 8, seed=10) @ (torch.eye(8) + 0.5 * drawn(8, 8, seed=9))).double()
    weight, products = drawn(6, 8), inputs.t() @ inputs
    one, other = (reconstruct(weight, scale * products, sparsity=0.5) for scale in (1, 2**-8))
    assert torch.equal(one.keep, other.keep)
    torch.testing.assert_close(one.weight, other.weight, rtol=1e-6, atol=1e-7)


@BOTH
def test_tensors_that_cannot_be_are_errors(reconstruct) -> None:
    for weight, products in (((3,), (3, 3)), ((2, 3), (2, 2)), ((2, 3), (3, 2)), ((2, 3), (3,))):
        with pytest.raises(ShapeError):
            reconstruct(torch.ones(weight), torch.ones(products), sparsity=0.5)
    with refused(ShapeError, expected="a multiple of 4", got=6):
        reconstruct(torch.ones(2, 6), torch.eye(6, dtype=torch.float64), sparsity=0.5, structure="2:4")
    for value in (math.nan, math.inf, -1.0):
        wrong: Tensor = EYE.clone()
        wrong[1, 1] = value
        with pytest.raises(StatisticsError):
            reconstruct(torch.ones(2, 4), wrong, sparsity=0.5)
    with pytest.raises(StatisticsError):
        reconstruct(torch.tensor([[1.0, math.nan, 1.0, 1.0]]), EYE, sparsity=0.5)


OPTIONS = [
    {"sparsity": 1.0},
    {"sparsity": -0.1},
    {"structure": "alpha"},
    {"structure": "4:2"},
    {"structure": "0:4"},
    {"structure": "2:4", "sparsity": 0.4},
    {"damping": 0.0},
    {"damping": math.nan},
]
SPECIAL = {sparsegpt: [{"block_size": 0}], alps: [{"penalty": math.nan}, {"max_iterations": 0}, {"gradient_steps": -1}]}


@BOTH
def test_options_out_of_range_are_errors(reconstruct) -> None:
    for options in (*OPTIONS, *SPECIAL[reconstruct]):
        with pytest.raises(BadInputError):
            reconstruct(torch.ones(2, 4), EYE, **{"sparsity": 0.5, **options})


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 99), n_rows=st.integers(1, 5), d_in=st.integers(1, 9))
def test_the_error_is_that_of_the_outputs(seed: int, n_rows: int, d_in: int) -> None:
    inputs, weight = drawn(20, d_in, seed=seed).double(), drawn(n_rows, d_in, seed=seed + 1)
    changed = weight * (drawn(n_rows, d_in, seed=seed + 2) > 0) * 1.1
    change = total = 0.0
    for x in inputs.tolist():
        for before, after in zip(weight.double().tolist(), changed.double().tolist(), strict=True):
            y = sum(w * value for w, value in zip(before, x, strict=True))
            change += (y - sum(w * value for w, value in zip(after, x, strict=True))) ** 2
            total += y**2
    assert layer_error(weight, changed, inputs.T @ inputs) == pytest.approx(change / total, rel=1e-9)


def test_removing_everything_is_1_and_nothing_is_0() -> None:
    weight, inputs = drawn(3, 4), drawn(20, 4, seed=1)
    assert layer_error(weight, torch.zeros(3, 4), inputs.T @ inputs) == 1
    assert layer_error(weight, weight, inputs.T @ inputs) == 0
    assert layer_errors(weight, [weight, torch.zeros(3, 4)], products=inputs.T @ inputs) == (0, 1)
    assert layer_error(torch.zeros(0, 4), torch.zeros(0, 4), inputs.T @ inputs) == 0
    assert layer_error(weight, torch.zeros(3, 4), torch.zeros(4, 4)) == 0


def test_the_value_does_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, inputs = drawn(50, 16), drawn(40, 16, seed=1)
    arguments = (weight, weight * (weight > 0), inputs.T @ inputs)
    monkeypatch.setattr("mlprune.numeric.weights.layer_inputs._WEIGHTS_PER_CHUNK", 16 * 7)
    value = layer_error(*arguments)
    parallel.set_worker_threads(2)
    try:
        assert layer_error(*arguments) == value
    finally:
        parallel.set_worker_threads(1)


def test_impossible_arguments_are_refused() -> None:
    weight = torch.ones(2, 3)
    with pytest.raises(ShapeError):
        layer_error(weight, weight[:1], torch.eye(3))
    with pytest.raises(ShapeError):
        layer_error(weight, weight, torch.eye(2))
    with pytest.raises(StatisticsError):
        layer_error(weight, weight * 0.5, torch.full((3, 3), float("inf")))
    with pytest.raises(StatisticsError):
        layer_error(torch.zeros(2, 3), weight, torch.eye(3))
