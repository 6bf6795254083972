"""Layer errors, compared with the outputs themselves."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import ShapeError, StatisticsError
from mlprune.numeric.weights.layer_inputs import layer_error, layer_errors
from mlprune.processes import parallel
from tests.drawn import drawn


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
