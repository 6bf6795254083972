"""The loop that fits a block: compared with plain float64 loops, planted solutions, limits and draws."""

import math
from collections.abc import Callable, Mapping, Sequence

import pytest
import torch
from torch import Tensor

from mlprune.capabilities.reconstruction.fit import Weights, reconstruct
from mlprune.capabilities.reconstruction.fit_settings import Reconstruction
from mlprune.errors import StatisticsError
from mlprune.numeric.weights.adamw import drawn_batches, relative_rate
from tests.chains import worker_threads


class LinearBlock:
    """Squared errors of x -> V tanh(U x), one demonstration per entry of `inputs`."""

    def __init__(self, inputs: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
        self.inputs, self.targets = inputs, targets
        self.measured: list[list[float]] = []

    def _error(self, weights: Weights, number: int) -> Tensor:
        hidden = torch.tanh(self.inputs[number] @ weights["up"].T)
        return (hidden @ weights["down"].T - self.targets[number]).square().sum()

    def errors(self, weights: Weights) -> list[float]:
        weights = {name: weight.double() for name, weight in weights.items()}
        self.measured.append([float(self._error(weights, number)) for number in range(len(self.inputs))])
        return self.measured[-1]

    def gradients(self, weights: Weights, coefficients: Mapping[int, float]) -> dict[str, Tensor]:
        leaves = {name: weight.double().requires_grad_() for name, weight in weights.items()}
        loss = sum((factor * self._error(leaves, number) for number, factor in coefficients.items()), torch.tensor(0.0))
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        return {name: gradient.float().contiguous() for name, gradient in zip(leaves, gradients, strict=True)}


def planted(seed: int, *, sparsity: float = 0.5) -> tuple[dict[str, Tensor], dict[str, Tensor], LinearBlock]:
    """Pruned weights, their masks, and the outputs of the dense weights for six demonstrations."""
    draw = torch.Generator().manual_seed(seed)
    dense = {
        "up": torch.randn(6, 4, generator=draw, dtype=torch.float64),
        "down": torch.randn(4, 6, generator=draw, dtype=torch.float64),
    }
    inputs = [torch.randn(5, 4, generator=draw, dtype=torch.float64) for _ in range(6)]
    targets = [torch.tanh(one @ dense["up"].T) @ dense["down"].T for one in inputs]
    keeps = {name: torch.rand(weight.shape, generator=draw) >= sparsity for name, weight in dense.items()}
    weights = {name: (weight * keeps[name]).float() for name, weight in dense.items()}
    return weights, keeps, LinearBlock(inputs, targets)


def nearly_fitted(seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor], LinearBlock]:
    """The same, with outputs of weights that differ from the pruned ones by about 1 %."""
    weights, keeps, block = planted(seed)
    draw = torch.Generator().manual_seed(seed)
    near = {
        name: weight.double() * (1 + 0.01 * torch.randn(weight.shape, generator=draw, dtype=torch.float64))
        for name, weight in weights.items()
    }
    block.targets = [torch.tanh(one @ near["up"].T) @ near["down"].T for one in block.inputs]
    return weights, keeps, block


def fitted_by_hand(
    weights: Mapping[str, Tensor],
    keeps: Mapping[str, Tensor],
    block: LinearBlock,
    coefficients: Sequence[float],
    settings: Reconstruction,
) -> tuple[dict[str, list[list[float]]], list[float], float]:
    """The best weights, all measured losses and the step length, with plain Python numbers."""
    values = {name: weight.tolist() for name, weight in weights.items()}
    keep = {name: mask.tolist() for name, mask in keeps.items()}
    cells = [(name, i, j) for name, rows in values.items() for i, row in enumerate(rows) for j in range(len(row))]
    kept = {name: [values[n][i][j] for n, i, j in cells if n == name and keep[n][i][j]] for name in values}
    scale = {name: math.sqrt(sum(value**2 for value in of_layer) / len(of_layer)) for name, of_layer in kept.items()}
    first, second = (dict.fromkeys(cells, 0.0) for _ in range(2))

    def loss() -> float:
        errors = block.errors({name: torch.tensor(rows, dtype=torch.float64) for name, rows in values.items()})
        return sum(factor * error for factor, error in zip(coefficients, errors, strict=True))

    def slopes(at: Mapping[str, list[list[float]]], numbers: Sequence[int]) -> Weights:
        tensors = {name: torch.tensor(rows, dtype=torch.float64) for name, rows in at.items()}
        return block.gradients(tensors, {number: coefficients[number] for number in numbers})

    losses = [loss()]
    (probed,) = drawn_batches(len(block.inputs), batch=8, steps=1, seed=settings.seed)
    before = slopes(values, probed)
    direction = {
        name: [
            [scale[name] * math.copysign(1, before[name][i, j]) * keep[name][i][j] for j in range(len(row))]
            for i, row in enumerate(rows)
        ]
        for name, rows in values.items()
    }
    moved = {
        name: [
            [value - 3e-4 * step for value, step in zip(*pair, strict=True)]
            for pair in zip(rows, direction[name], strict=True)
        ]
        for name, rows in values.items()
    }
    after = slopes(moved, probed)
    of_start, of_moved = (
        sum(float(gradients[name][i, j]) * direction[name][i][j] for name, i, j in cells)
        for gradients in (before, after)
    )
    length = min(0.02, 3e-4 * of_start / (of_start - of_moved)) if of_start > of_moved else 0.02
    best = {name: [list(row) for row in rows] for name, rows in values.items()}
    measured = [math.ceil(settings.steps / 2), settings.steps]
    draws = drawn_batches(len(block.inputs), batch=settings.batch, steps=settings.steps, seed=settings.seed)
    for step, batch in enumerate(draws, start=1):
        share = len(block.inputs) / len(batch) / losses[0]
        tensors = {name: torch.tensor(rows, dtype=torch.float64) for name, rows in values.items()}
        gradients = block.gradients(tensors, {number: share * coefficients[number] for number in batch})
        rate = settings.learning_rate * length * relative_rate(step, settings.steps)
        for name, i, j in cells:
            gradient = float(gradients[name][i, j]) if keep[name][i][j] else 0.0
            cell = (name, i, j)
            first[cell] = 0.9 * first[cell] + 0.1 * gradient
            second[cell] = 0.95 * second[cell] + 0.05 * gradient**2
            change = (first[cell] / (1 - 0.9**step)) / (math.sqrt(second[cell] / (1 - 0.95**step)) + 1e-8)
            values[name][i][j] -= rate * scale[name] * change
        if step in measured:
            losses.append(loss())
            if losses[-1] < min(losses[:-1]):
                best = {name: [list(row) for row in rows] for name, rows in values.items()}
    return best, losses, length


@pytest.mark.parametrize(
    ("inputs", "settings"),
    [
        (planted, Reconstruction(30, 2.5, 4)),
        (planted, Reconstruction(7, 10.0, 5, seed=3)),
        (nearly_fitted, Reconstruction(30, 1.0, 4)),
        (nearly_fitted, Reconstruction(7, 0.5, 5, seed=3)),
    ],
)
def test_weights_and_losses_are_those_of_plain_loops(
    inputs: Callable[[int], tuple[dict[str, Tensor], dict[str, Tensor], LinearBlock]], settings: Reconstruction
) -> None:
    weights, keeps, block = inputs(1)
    coefficients = [0.5, 0.1, 0.2, 0.0, 1.0, 0.3]
    expected, losses, length = fitted_by_hand(weights, keeps, block, coefficients, settings)
    result = reconstruct(weights, keeps, block, coefficients, settings)
    for name, rows in expected.items():
        torch.testing.assert_close(result.weights[name].double(), torch.tensor(rows).double(), rtol=1e-4, atol=1e-5)
    weighted = [sum(c * e for c, e in zip(coefficients, of, strict=True)) for of in (result.before, result.after)]
    assert weighted == pytest.approx([losses[0], min(losses)], rel=1e-4)
    assert result.step_length == pytest.approx(length, rel=1e-3)
    assert result.n_steps > 0


@pytest.mark.parametrize("seed", range(4))
def test_one_step_of_the_measured_length_lowers_the_loss_most(seed: int) -> None:
    """All six demonstrations are read, and the first step of AdamW has the same size for all weights."""
    weights, keeps, block = nearly_fitted(seed)
    losses = []
    for rate in (0.9, 1.0, 1.1, 2.0):
        reconstruct(weights, keeps, block, [1.0] * 6, Reconstruction(1, rate, batch=6))
        losses.append(sum(block.measured[-1]))
    assert losses[1] == min(losses) < sum(block.measured[0])
    assert losses[3] > losses[1] + 4 * (losses[0] - losses[1])


def test_a_weight_takes_over_a_lost_direction() -> None:
    """Two inputs are equal, so the output without one of them is that of twice the other weight."""
    draw = torch.Generator().manual_seed(0)
    inputs = [torch.randn(8, 2, generator=draw, dtype=torch.float64) for _ in range(4)]
    doubled = [torch.stack([one[:, 0], one[:, 0], one[:, 1]], dim=1) for one in inputs]
    up, down = torch.tensor([[0.3, 0.3, 0.0], [0.0, 0.0, 0.4]]), torch.tensor([[1.0, 0.5]])
    targets = [torch.tanh(one @ up.double().T) @ down.double().T for one in doubled]
    keeps = {"up": torch.tensor([[True, False, False], [False, False, True]]), "down": torch.ones(1, 2).bool()}
    pruned = {"up": up * keeps["up"], "down": down}
    settings = Reconstruction(400, 1.0, 4)
    result = reconstruct(pruned, keeps, LinearBlock(doubled, targets), [1.0] * 4, settings)
    assert sum(result.after) < 1e-6 * sum(result.before)
    torch.testing.assert_close(result.weights["up"][0, 0], torch.tensor(0.6), rtol=1e-2, atol=0)


class BlockWithBiases(LinearBlock):
    """Squared errors of x -> V tanh(U x + b) + c."""

    def _error(self, weights: Weights, number: int) -> Tensor:
        hidden = torch.tanh(self.inputs[number] @ weights["up"].T + weights["up.bias"])
        return (hidden @ weights["down"].T + weights["down.bias"] - self.targets[number]).square().sum()


@pytest.mark.thorough("draws and compares many arrays")
def test_a_bias_takes_over_a_constant_and_one_of_zeros_stays() -> None:
    """The lost weight multiplies an input of ones."""
    draw = torch.Generator().manual_seed(0)
    drawn = [torch.randn(8, 2, generator=draw, dtype=torch.float64) for _ in range(4)]
    inputs = [torch.cat([one, torch.ones(8, 1)], dim=1) for one in drawn]
    dense = {"up": torch.tensor([[0.7, 0.2, 0.3], [-0.5, 0.4, 0.0]]), "down": torch.tensor([[1.0, 0.5]])}
    targets = [torch.tanh(one @ dense["up"].double().T) @ dense["down"].double().T for one in inputs]
    keeps = {"up": torch.tensor([[True, True, False]] * 2), "down": torch.ones(1, 2).bool()}
    biases = {"up.bias": torch.tensor([0.1, 0.1]), "down.bias": torch.zeros(1)}
    pruned = {**{name: weight * keeps[name] for name, weight in dense.items()}, **biases}
    kept = {**keeps, **{name: torch.ones(bias.shape).bool() for name, bias in biases.items()}}
    result = reconstruct(pruned, kept, BlockWithBiases(inputs, targets), [1.0] * 4, Reconstruction(600, 2.5, 4))
    assert sum(result.after) < 1e-5 * sum(result.before)
    torch.testing.assert_close(result.weights["up.bias"], torch.tensor([0.3, 0.0]), rtol=0, atol=0.01)
    assert not result.weights["down.bias"].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_removed_weights_stay_zero_and_the_dtype_stays(dtype: torch.dtype) -> None:
    weights, keeps, block = planted(2)
    stored = {name: weight.to(dtype) for name, weight in weights.items()}
    given = {name: weight.clone() for name, weight in stored.items()}
    result = reconstruct(stored, keeps, block, [1.0] * 6, Reconstruction(20, 2.5))
    for name, weight in result.weights.items():
        assert weight.dtype == dtype
        assert (weight[~keeps[name]] == 0).all()
        assert torch.equal(stored[name], given[name])
    assert sum(result.after) < sum(result.before)
    assert block.errors(result.weights) == list(result.after)


def test_the_layout_of_weights_in_memory_changes_no_bit() -> None:
    """GPT-2 and some experts store transposed weights."""
    weights, keeps, block = planted(8)
    transposed = {name: weight.T.contiguous().T for name, weight in weights.items()}
    results = [reconstruct(one, keeps, block, [1.0] * 6, Reconstruction(10)) for one in (weights, transposed)]
    assert all(torch.equal(results[0].weights[name], results[1].weights[name]) for name in weights)
    assert results[0].n_steps > 0


def test_weights_without_an_error_stay_as_they_are() -> None:
    weights, keeps, block = planted(3, sparsity=0)
    block.targets = [torch.tanh(one @ weights["up"].double().T) @ weights["down"].double().T for one in block.inputs]
    result = reconstruct(weights, keeps, block, [1.0] * 6, Reconstruction(8))
    assert all(torch.equal(result.weights[name], weight) for name, weight in weights.items())
    assert (result.n_steps, result.step_length) == (0, None)
    assert len(block.measured) == 1


@pytest.mark.parametrize("learning_rate", [0.05, 25.0, 2500.0])
def test_no_reconstruction_raises_the_measured_loss(learning_rate: float) -> None:
    weights, keeps, block = planted(4)
    result = reconstruct(weights, keeps, block, [1.0] * 6, Reconstruction(16, learning_rate))
    totals = [sum(errors) for errors in block.measured]
    assert len(totals) == 3
    assert sum(result.after) == min(totals)
    if min(totals) == totals[0]:
        assert result.n_steps == 0
        assert all(torch.equal(result.weights[name], weight) for name, weight in weights.items())


def test_a_demonstration_without_a_share_changes_nothing() -> None:
    weights, keeps, block = planted(5)
    shares = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    results = []
    for _ in range(2):
        results.append(reconstruct(weights, keeps, block, shares, Reconstruction(10, batch=6)))
        block.targets = [*block.targets[:3], *(target + 1 for target in block.targets[3:])]
    assert all(torch.equal(results[0].weights[name], results[1].weights[name]) for name in weights)


def test_threads_change_no_bit() -> None:
    weights, keeps, block = planted(6)
    alone = reconstruct(weights, keeps, block, [1.0] * 6, Reconstruction(10))
    with worker_threads(2):
        together = reconstruct(weights, keeps, block, [1.0] * 6, Reconstruction(10))
    assert all(torch.equal(alone.weights[name], together.weights[name]) for name in weights)


def test_an_output_that_is_not_finite_is_refused() -> None:
    weights, keeps, block = planted(7)
    block.targets = [target * math.nan for target in block.targets]
    with pytest.raises(StatisticsError):
        reconstruct(weights, keeps, block, [1.0] * 6, Reconstruction(4))
