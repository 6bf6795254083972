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

The step length is measured, because blocks differ by a factor of ten in what they bear. It is the t at which one step of
equal relative size, W(t) = W_0 - t r sign(g), lowers the loss of some demonstrations most: the slopes of the loss along
the step at 0 and at 0.0003 give a quadratic, and t is its minimum, at most 0.02.

L is measured over all demonstrations before the first step and after each half of the steps, with weights rounded to
the dtype in which they are stored. The state with the least loss is returned, the earlier one of equals. So no
reconstruction raises the measured loss, and a loss of 0 stays.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import cos, fsum, isfinite, pi, sqrt
from typing import Protocol

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from mlprune.errors import StatisticsError
from mlprune.hashing import ordered_by_hash
from mlprune.methods.reconstruction import Reconstruction
from mlprune.processes.parallel import parallel_map

Weights = Mapping[str, Tensor]
"""Parameter -> [out, in], or [out] of a bias."""
_FIRST_DECAY, _SECOND_DECAY, _EPSILON = 0.9, 0.95, 1e-8
_N_MEASURED = 2
"""How often the loss is measured after steps."""
_N_PROBED = 8
"""Demonstrations by which the step length is measured."""
_PROBE, _LONGEST_STEP = 3e-4, 2e-2
"""Step at which the second slope is measured, and the largest step length."""


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
    best = ReconstructedBlock(weights, before, before, 0)
    if first == 0:
        return best
    scales = _root_mean_squares(weights, keeps)
    states = {name: _Parameter(weight, keeps[name], scale=scales[name]) for name, weight in weights.items()}
    current = {name: state.weight for name, state in states.items()}
    learning_rate = settings.learning_rate * _step_length(states, objective, coefficients, first, settings)
    measured = {-(-settings.steps * part // _N_MEASURED) for part in range(1, _N_MEASURED + 1)}
    draws = drawn_batches(len(coefficients), settings)
    for step, batch in enumerate(draws, start=1):
        share = len(coefficients) / len(batch) / first
        gradients = objective.gradients(current, {n: share * coefficients[n] for n in batch})
        rate = learning_rate * relative_rate(step, settings.steps)
        _update_all(states, gradients, rate=rate)
        if step in measured:
            rounded = {name: weight.to(weights[name].dtype, copy=True) for name, weight in current.items()}
            errors = objective.errors(rounded)
            if (loss := _loss(errors, coefficients)) < best_loss:
                best, best_loss = ReconstructedBlock(rounded, before, errors, step), loss
    return best


def _step_length(
    states: Mapping[str, "_Parameter"],
    objective: Objective,
    coefficients: Sequence[float],
    first: float,
    settings: Reconstruction,
) -> float:
    """Return the relative length of the best first step; see the module."""
    (probed,) = drawn_batches(len(coefficients), replace(settings, batch=_N_PROBED, steps=1))
    factors = {number: coefficients[number] / first for number in probed}
    weights = {name: state.weight for name, state in states.items()}
    gradients = objective.gradients(weights, factors)
    steps = {name: state.even_step(gradients[name]) for name, state in states.items()}
    slopes = [_product(gradients, steps)]
    probe = {name: weight - _PROBE * steps[name] for name, weight in weights.items()}
    slopes.append(_product(objective.gradients(probe, factors), steps))
    curvature = (slopes[0] - slopes[1]) / _PROBE
    return min(_LONGEST_STEP, slopes[0] / curvature) if curvature > 0 else _LONGEST_STEP


def _product(gradients: Weights, steps: Weights) -> float:
    """Return the sum of products of all entries, in float64."""
    return fsum(torch.stack([(gradients[name].double() * step).sum() for name, step in steps.items()]).tolist())


def relative_rate(step: int, steps: int) -> float:
    """Return the factor of the learning rate in a step, counted from 1: it rises linearly, then falls as a cosine."""
    rising = max(1, steps // 10)
    return step / rising if step <= rising else 0.5 * (1 + cos(pi * (step - rising) / (steps - rising + 1)))


def drawn_batches(n: int, settings: Reconstruction) -> Iterator[tuple[int, ...]]:
    """Yield the demonstrations of each step.

    Every demonstration is read once before one is read again: round r has them in the order of the SHA-256 of
    `"seed:r n"`. A step may have demonstrations of two rounds, but each only once.
    """
    size = min(settings.batch, n)
    waiting: list[int] = []
    n_rounds = 0
    for _ in range(settings.steps):
        if len(waiting) < size:
            names = ordered_by_hash(settings.seed, (f"{n_rounds} {number}" for number in range(n)))
            numbers = [int(name.partition(" ")[2]) for name in names]
            waiting += sorted(numbers, key=lambda number: number in waiting[:size])  # those of this step come last
            n_rounds += 1
        yield tuple(waiting[:size])
        del waiting[:size]


class _Parameter:
    """Weights or biases of a layer in float32, with the two moments of their gradients."""

    def __init__(self, weight: Tensor, keep: Tensor, *, scale: float) -> None:
        # The fused step reads memory in order: a transposed weight must have the layout of its gradient.
        self.weight = weight.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        self._removed = ~keep.to(weight.device)
        self._scale = scale
        self._first, self._second = torch.zeros_like(self.weight), torch.zeros_like(self.weight)
        self._n_steps = torch.zeros((), device=weight.device)

    def even_step(self, gradient: Tensor) -> Tensor:
        """Return a step of equal size for every kept value, relative to their root mean square."""
        return gradient.sign().masked_fill_(self._removed, 0).mul_(self._scale)

    def update(self, gradient: Tensor, *, rate: float) -> None:
        """Take one step. Gradients of removed weights count as 0, so these stay 0."""
        gradient.masked_fill_(self._removed, 0)
        adamw(
            [self.weight],
            [gradient],
            [self._first],
            [self._second],
            [],
            [self._n_steps],
            fused=True,
            amsgrad=False,
            maximize=False,
            lr=rate * self._scale,
            beta1=_FIRST_DECAY,
            beta2=_SECOND_DECAY,
            eps=_EPSILON,
            weight_decay=0,
        )


def _root_mean_squares(weights: Weights, keeps: Weights) -> dict[str, float]:
    """Return parameter -> root mean square of its kept values; a device waits once for all of them."""
    squares = torch.stack([weight.double().square().sum() for weight in weights.values()]).tolist()
    counts = [max(1, int(keeps[name].sum())) for name in weights]
    return {name: sqrt(square / count) for name, square, count in zip(weights, squares, counts, strict=True)}


def _update_all(states: Mapping[str, _Parameter], gradients: Weights, *, rate: float) -> None:
    def update(name: str) -> None:
        states[name].update(gradients[name], rate=rate)

    for _ in parallel_map(update, states):
        pass


def _loss(errors: Sequence[float], coefficients: Sequence[float]) -> float:
    return fsum(coefficient * error for coefficient, error in zip(coefficients, errors, strict=True))
