"""AdamW on kept weights: one step, the learning rate of each step, and the demonstrations that it reads."""

from collections.abc import Iterator, Mapping
from math import cos, pi, sqrt

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from mlprune.hashing import ordered_by_hash

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.95, 1e-8
_ENTRIES_PER_CHUNK = 2**18
"""Entries that are cleared at a time, so that they stay in the cache."""


class Parameter:
    """Weights or biases of a layer in float32, with the two moments of their gradients."""

    def __init__(self, weight: Tensor, removed: Tensor, *, scale: float) -> None:
        # The fused step reads memory in order: a transposed weight must have the layout of its gradient.
        self.weight = weight.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        self._removed = removed
        self._scale = scale
        self.moments = torch.zeros_like(self.weight), torch.zeros_like(self.weight)
        """Running means of the gradients and of their squares."""
        self.n_steps = torch.zeros((), device=weight.device)

    def update(self, gradient: Tensor, *, rate: float) -> None:
        """Take one step. Gradients of removed weights count as 0, so these stay 0."""
        clear_removed(gradient, self._removed)
        adamw(
            [self.weight],
            [gradient],
            [self.moments[0]],
            [self.moments[1]],
            [],
            [self.n_steps],
            fused=True,
            amsgrad=False,
            maximize=False,
            lr=rate * self._scale,
            beta1=FIRST_DECAY,
            beta2=SECOND_DECAY,
            eps=EPSILON,
            weight_decay=0,
        )


def root_mean_squares(weights: Mapping[str, Tensor], keeps: Mapping[str, Tensor]) -> dict[str, float]:
    """Return parameter -> root mean square of its kept values; a device waits once for all of them.

    Args:
        weights: any float dtype, 0 where `keeps` is False.
        keeps: parameter -> bool of its shape.
    """
    squares = torch.stack([weight.double().square().sum() for weight in weights.values()]).tolist()
    counts = [max(1, int(keeps[name].sum())) for name in weights]
    return {name: sqrt(square / count) for name, square, count in zip(weights, squares, counts, strict=True)}


def clear_removed(gradient: Tensor, removed: Tensor) -> None:
    """Set some entries of a gradient to 0, in place, as `masked_fill_` does.

    On a CPU the bits are cleared, which takes an eighth of the time of `masked_fill_`: 1.9 against 14.8 ms of CPU time
    for 4096 x 1024 entries.

    Args:
        gradient: float32.
        removed: bool of its shape.
    """
    if gradient.device.type != "cpu" or not gradient.numel():
        gradient.masked_fill_(removed, 0)
        return
    n_rows = max(1, _ENTRIES_PER_CHUNK * len(gradient) // gradient.numel())
    for start in range(0, len(gradient), n_rows):
        kept_bits = removed[start : start + n_rows].to(torch.int32).sub_(1)  # all bits of a kept entry
        gradient[start : start + n_rows].view(torch.int32).bitwise_and_(kept_bits)


def relative_rate(step: int, steps: int) -> float:
    """Return the factor of the learning rate in a step, counted from 1: it rises linearly, then falls as a cosine."""
    rising = max(1, steps // 10)
    return step / rising if step <= rising else 0.5 * (1 + cos(pi * (step - rising) / (steps - rising + 1)))


def drawn_batches(n: int, *, batch: int, steps: int, seed: int) -> Iterator[tuple[int, ...]]:
    """Yield the demonstrations of each step, numbers below n.

    Every demonstration is read once before one is read again: round r has them in the order of the SHA-256 of
    `"seed:r n"`. A step may have demonstrations of two rounds, but each only once.
    """
    size = min(batch, n)
    waiting: list[int] = []
    n_rounds = 0
    for _ in range(steps):
        if len(waiting) < size:
            names = ordered_by_hash(seed, (f"{n_rounds} {number}" for number in range(n)))
            numbers = [int(name.partition(" ")[2]) for name in names]
            waiting += sorted(numbers, key=lambda number: number in waiting[:size])  # those of this step come last
            n_rounds += 1
        yield tuple(waiting[:size])
        del waiting[:size]
