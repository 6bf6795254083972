"""Recovered weights, compared with ordinary least squares on the outputs of each row."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.numeric.refinement.least_squares import recovered_weights
from mlprune.numeric.weights.layer_errors import layer_error
from tests.mlprune.numeric.refinement.refinement_reference import (
    correlated,
    drawn,
    looped_least_squares,
    wanda_mask,
)

PROPERTY = settings(max_examples=20, deadline=None, derandomize=True, database=None)


def layer(n_rows: int, d_in: int, structure: str = "row", seed: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    weight, inputs = drawn(n_rows, d_in, seed=seed), correlated(d_in, seed=seed)
    return weight, wanda_mask(weight, inputs.T @ inputs, structure), inputs


@pytest.mark.parametrize("structure", ["row", "matrix", "2:4"])
@pytest.mark.parametrize("ridge", [1e-6, 0.01, 1.0])
def test_weights_equal_least_squares_on_the_outputs(structure: str, ridge: float) -> None:
    weight, keep, inputs = layer(6, 12, structure)
    recovered = recovered_weights(weight, keep, products=inputs.T @ inputs, ridge=ridge)
    expected = looped_least_squares(weight, keep, inputs, ridge)
    torch.testing.assert_close(recovered.double(), expected, rtol=1e-5, atol=1e-7)
    assert recovered.dtype == torch.float32


@PROPERTY
@given(seed=st.integers(0, 99), ridge=st.sampled_from([1e-4, 0.01, 0.5]))
def test_the_error_never_rises_and_removed_weights_are_zero(seed: int, ridge: float) -> None:
    weight, keep, inputs = layer(4, 8, seed=seed)
    products = inputs.T @ inputs
    recovered = recovered_weights(weight, keep, products=products, ridge=ridge)
    assert (recovered[~keep] == 0).all()
    assert layer_error(weight, recovered, products) <= layer_error(weight, weight * keep, products) * (1 + 1e-6)


def test_the_kept_copy_of_a_removed_feature_takes_over_its_weight() -> None:
    inputs = drawn(300, 4).double()
    inputs[:, 3] = inputs[:, 0]
    weight, keep = torch.tensor([[0.7, 1.0, -2.0, 0.4]]), torch.tensor([[True, True, True, False]])
    recovered = recovered_weights(weight, keep, products=inputs.T @ inputs, ridge=1e-9)
    torch.testing.assert_close(recovered, torch.tensor([[1.1, 1.0, -2.0, 0.0]]), rtol=1e-5, atol=1e-6)


def test_rows_without_kept_weights_and_features_that_are_never_active_are_no_problem() -> None:
    weight, _, inputs = layer(3, 6)
    inputs[:, 1] = 0
    keep = torch.tensor([[True] * 6, [False] * 6, [True, True, True, False, False, False]])
    recovered = recovered_weights(weight, keep, products=inputs.T @ inputs)
    torch.testing.assert_close(recovered[0], weight[0])
    assert (recovered[1] == 0).all()
    assert recovered[2, 1] == weight[2, 1]
    silent = recovered_weights(weight, keep, products=torch.zeros(6, 6))
    assert torch.equal(silent, weight * keep)


def test_a_matrix_that_rounding_made_indefinite_gets_a_larger_ridge() -> None:
    products = torch.tensor([[1.0, 1.1, 0.0], [1.1, 1.0, 0.0], [0.0, 0.0, 1.0]])
    recovered = recovered_weights(torch.ones(1, 3), torch.tensor([[True, True, False]]), products=products, ridge=0.01)
    assert torch.equal(recovered, torch.tensor([[1.0, 1.0, 0.0]]))
    with pytest.raises(StatisticsError):
        recovered_weights(
            torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), products=torch.tensor([[1.0, 1e20], [1e20, 1.0]])
        )


def test_impossible_arguments_are_refused() -> None:
    weight, keep, inputs = layer(2, 8)
    products = inputs.T @ inputs
    for ridge in (0.0, -1.0, float("nan")):
        with pytest.raises(BadInputError):
            recovered_weights(weight, keep, products=products, ridge=ridge)
    with pytest.raises(ShapeError):
        recovered_weights(weight, keep[:1], products=products)
    with pytest.raises(StatisticsError):
        recovered_weights(weight, keep, products=products * float("inf"))
