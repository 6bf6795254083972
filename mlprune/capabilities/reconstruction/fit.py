"""Fit the kept weights and the biases of a block: AdamW steps; the best measured state is returned.

The loss is a weighted sum of squared errors, one per demonstration:

    L(W) = sum over demonstrations n of c_n * E_n(W)

Each step reads a few demonstrations B and follows the gradient of N / |B| * sum over n in B of c_n * E_n(W) / L(W_0),
with N demonstrations and the first weights W_0:

    m = 0.9 m + 0.1 g          v = 0.95 v + 0.05 g^2          W = W - rate * m' / (sqrt(v') + 1e-8)

m' and v' are m and v divided by 1 - 0.9^t and 1 - 0.95^t after t steps (AdamW without decay: Loshchilov and Hutter,
arXiv:1711.05101). The rate of a parameter is `learning_rate` times the step length of the block times the root mean
square r of its kept values; it rises linearly during the first tenth of the steps and then falls to 0 as half a cosine.
A bias of zeros stays.

The step length of a block is measured, because the best rates of blocks differ by a factor of ten. It is the t at which
a first step of equal relative size, W_0 - t r sign(dL / dW_0), lowers the loss of eight demonstrations most. They are
those that a first step of eight would read. The slopes of their loss at t = 0 and at t = 0.0003 give a quadratic, whose
minimum is the step length; it is at most 0.02, also where the loss does not curve upwards.

L is measured over all demonstrations before the first step and after each half of the steps, with weights rounded to
the dtype in which they are stored. The state with the least loss is returned, the earlier one of equals. So no
reconstruction raises the measured loss, and a loss of 0 stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, isfinite
from typing import Protocol

import torch
from torch import Tensor

from mlprune.capabilities.reconstruction.fit_settings import Reconstruction
from mlprune.errors import StatisticsError
from mlprune.numeric.weights.adamw import Parameter, clear_removed, drawn_batches, relative_rate, root_mean_squares
from mlprune.processes.parallel import parallel_map

Weights = Mapping[str, Tensor]
"""Parameter -> [out, in], or [out] of a bias."""
_N_MEASURED = 2
"""How often the loss is measured after steps."""
N_PROBED = 8
"""Demonstrations on which the step length is measured, if there are as many."""
_PROBE, _LONGEST_STEP = 3e-4, 2e-2
"""Length at which the second slope is measured, and the largest step length."""


class Objective(Protocol):
    """The squared errors of a block's output, one per demonstration."""

    def errors(self, weights: Weights) -> Sequence[float]:
        """Return the squared error of each demonstration with weights in the dtype in which they are stored."""

    def gradients(self, weights: Weights, coefficients: Mapping[int, float]) -> Weights:
        """Return the gradients of a sum of squared errors.

        Args:
            weights: float32.
            coefficients: demonstration -> factor of its squared error.
        Returns: parameter -> contiguous float32, of its shape. They may be changed.
        """


@dataclass(frozen=True)
class ReconstructedBlock:
    """The best state that was measured."""

    weights: Weights
    """In the dtype of the first weights, exactly 0 where they were removed."""
    before: Sequence[float]
    """Squared error of each demonstration with the first weights."""
    after: Sequence[float]
    """The same with `weights`."""
    n_steps: int
    """Number of steps after which `weights` were measured."""
    step_length: float | None
    """The measured step length; None if the first weights have no error."""


def reconstruct(
    weights: Weights,
    keeps: Weights,
    objective: Objective,
    coefficients: Sequence[float],
    settings: Reconstruction,
) -> ReconstructedBlock:
    """Fit the kept weights and the biases of a block.

    Args:
        weights: any float dtype, 0 where `keeps` is False; they stay as they are.
        keeps: parameter -> bool of its shape, True where the weight stays.
        coefficients: c_n of each demonstration, >= 0.
    Raises:
        StatisticsError: an error of the first weights is not finite.
    """
    before = objective.errors(weights)
    first = best_loss = _loss(before, coefficients)
    if not isfinite(first):
        raise StatisticsError("the output of a block is not finite before its reconstruction", got=first)
    if first == 0:
        return ReconstructedBlock(weights, before, before, 0, None)
    scales = root_mean_squares(weights, keeps)
    removed = {name: ~keeps[name].to(weight.device) for name, weight in weights.items()}
    (probed,) = drawn_batches(len(coefficients), batch=N_PROBED, steps=1, seed=settings.seed)
    factors = {number: coefficients[number] / first for number in probed}
    length = _step_length(weights, removed, scales, objective, factors)
    best = ReconstructedBlock(weights, before, before, 0, length)
    states = {name: Parameter(weight, removed[name], scale=scales[name]) for name, weight in weights.items()}
    current = {name: state.weight for name, state in states.items()}
    measured = {-(-settings.steps * part // _N_MEASURED) for part in range(1, _N_MEASURED + 1)}
    draws = drawn_batches(len(coefficients), batch=settings.batch, steps=settings.steps, seed=settings.seed)
    for step, batch in enumerate(draws, start=1):
        share = len(coefficients) / len(batch) / first
        gradients = objective.gradients(current, {n: share * coefficients[n] for n in batch})
        rate = settings.learning_rate * length * relative_rate(step, settings.steps)
        _update_all(states, gradients, rate=rate)
        if step in measured:
            rounded = {name: weight.to(weights[name].dtype, copy=True) for name, weight in current.items()}
            errors = objective.errors(rounded)
            if (loss := _loss(errors, coefficients)) < best_loss:
                best, best_loss = ReconstructedBlock(rounded, before, errors, step, length), loss
    return best


def _step_length(
    weights: Weights,
    removed: Weights,
    scales: Mapping[str, float],
    objective: Objective,
    coefficients: Mapping[int, float],
) -> float:
    """Return the relative length of the best first step over some demonstrations; see the module."""
    start = {name: weight.to(torch.float32) for name, weight in weights.items()}
    gradients = _of_kept(objective.gradients(start, coefficients), removed)
    slope = _weighted_sum({name: gradient.abs() for name, gradient in gradients.items()}, scales)
    signs = {name: gradient.sign_() for name, gradient in gradients.items()}
    probe = {name: weight - _PROBE * scales[name] * signs[name] for name, weight in start.items()}
    later = _of_kept(objective.gradients(probe, coefficients), removed)
    later_slope = _weighted_sum({name: gradient.mul_(signs[name]) for name, gradient in later.items()}, scales)
    curvature = (slope - later_slope) / _PROBE
    return min(_LONGEST_STEP, slope / curvature) if curvature > 0 else _LONGEST_STEP


def _of_kept(gradients: Weights, removed: Weights) -> Weights:
    """Set the gradients of removed weights to 0, in place."""
    for name, gradient in gradients.items():
        clear_removed(gradient, removed[name])
    return gradients


def _weighted_sum(tensors: Weights, factors: Mapping[str, float]) -> float:
    """Return the sum over parameters of a factor times the sum of the entries, in float64."""
    return float(torch.stack([factors[name] * tensor.double().sum() for name, tensor in tensors.items()]).sum())


def _update_all(states: Mapping[str, Parameter], gradients: Weights, *, rate: float) -> None:
    def update(name: str) -> None:
        states[name].update(gradients[name], rate=rate)

    for _ in parallel_map(update, states):
        pass


def _loss(errors: Sequence[float], coefficients: Sequence[float]) -> float:
    return fsum(coefficient * error for coefficient, error in zip(coefficients, errors, strict=True))
