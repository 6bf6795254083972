"""Sums of squared gradients against the formula as loops."""

import math

import pytest
import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.numeric.activations import gradient_squares
from mlprune.numeric.activations.gradient_squares import Flow, GradientSquares
from mlprune.processes.parallel import set_worker_threads

D_OUT, D_IN = 5, 3
CPU = torch.device("cpu")


def flows(*lengths: int, seed: int = 0) -> list[Flow]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(length, D_OUT, generator=generator), torch.randn(length, D_IN, generator=generator))
        for length in lengths
    ]


def by_loops(given: list[Flow], weights: list[float]) -> list[list[float]]:
    result = [[0.0] * D_IN for _ in range(D_OUT)]
    for (gradients, inputs), weight in zip(given, weights, strict=True):
        for i in range(D_OUT):
            for j in range(D_IN):
                total = sum(d[i] * x[j] for d, x in zip(gradients.tolist(), inputs.tolist(), strict=True))
                result[i][j] += weight * total**2 / sum(weights)
    return [[math.sqrt(value) for value in row] for row in result]


def summed(given: list[Flow], weights: list[float] | None = None) -> Tensor:
    sums = GradientSquares((D_OUT, D_IN), CPU)
    sums.add(given, weights=weights)
    return sums.root_means()


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0, 1.0], [0.0, 2.0, 1.0, 0.0]])
def test_the_root_of_the_mean_of_squared_gradients_is_that_of_loops(weights: list[float]) -> None:
    given = flows(4, 1, 0, 6)  # one demonstration has no tokens: its gradient is 0
    result = summed(given, weights)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), torch.tensor(by_loops(given, weights)).double(), rtol=1e-5, atol=1e-7)


def test_a_weight_of_two_counts_a_demonstration_twice_and_zero_not_at_all() -> None:
    first, second, third = flows(3, 4, 5)
    weighted = summed([first, second, third], [2.0, 0.0, 1.0])
    torch.testing.assert_close(weighted, summed([first, first, third]), rtol=1e-6, atol=0)


def test_bits_depend_neither_on_threads_nor_on_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_squares, "_WEIGHTS_TOGETHER", 2 * D_IN)
    given = flows(4, 2, 7)
    alone = summed(given)
    sums = GradientSquares((D_OUT, D_IN), CPU)
    try:
        set_worker_threads(3)
        for flow in given:
            sums.add([flow])
        assert torch.equal(sums.root_means(), alone)
    finally:
        set_worker_threads(1)


def test_tiny_and_large_gradients_do_not_vanish_or_overflow() -> None:
    for scale in (1e-30, 1e30):
        ((gradients, inputs),) = flows(3)
        result = summed([(gradients * scale, inputs)])
        torch.testing.assert_close(result / scale, summed([(gradients, inputs)]), rtol=1e-5, atol=0)


def test_what_does_not_fit_or_is_not_finite_is_an_error() -> None:
    ((gradients, inputs),) = flows(3)
    with pytest.raises(ShapeError, match="do not fit the layer"):
        summed([(gradients[:2], inputs)])
    with pytest.raises(StatisticsError, match="no demonstrations"):
        GradientSquares((D_OUT, D_IN), CPU).root_means()
    gradients[0, 2] = torch.nan
    with pytest.raises(StatisticsError, match="not finite") as caught:
        summed([(gradients, inputs)])
    assert caught.value.context["output"] == 2
