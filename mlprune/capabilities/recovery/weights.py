"""Weights of a layer that are optimised: all kept ones, or updates of a low rank that are merged into the kept ones.

Low rank: W' = (W + B A) o M with the mask M. B [out, r] is 0 at first. The entries of A [r, in] are drawn evenly from
-sqrt(3 / r) to sqrt(3 / r), so that a change of B by some root mean square changes W' by about the same. With the
gradient G of W', that of B is (G o M) A^T and that of A is B^T (G o M).
"""

from collections.abc import Mapping
from math import sqrt
from typing import Protocol

import torch
from torch import Tensor

from mlprune.hashing import digest
from mlprune.numeric.weights.adamw import Parameter, clear_removed


class TrainedWeight(Protocol):
    """The weight of one layer while it is optimised."""

    def update(self, gradient: Tensor, *, rate: float) -> None:
        """Take one step of AdamW.

        Args:
            gradient: float32, contiguous, in the shape of the weight; it may be changed.
            rate: relative to the root mean square of the kept weights.
        """

    def value(self) -> Tensor:
        """Return the current weight, [out, in] float32, 0 where it is removed; to be read only."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Return name -> tensor of all that changes, through which it can be restored."""


class FullWeight:
    """All kept weights of a layer.

    Args:
        weight: [out, in], any float dtype, 0 where it is removed.
        removed: bool of its shape.
        scale: root mean square of its kept values.
    """

    def __init__(self, weight: Tensor, removed: Tensor, *, scale: float) -> None:
        self._parameter = Parameter(weight, removed, scale=scale)

    def update(self, gradient: Tensor, *, rate: float) -> None:
        """See `TrainedWeight.update`."""
        self._parameter.update(gradient, rate=rate)

    def value(self) -> Tensor:
        """See `TrainedWeight.value`."""
        return self._parameter.weight

    def tensors(self) -> Mapping[str, Tensor]:
        """See `TrainedWeight.tensors`."""
        return _tensors_of("", self._parameter)


class LowRankWeight:
    """A weight with an update of low rank.

    Args:
        weight, removed, scale: as for `FullWeight`.
        rank: at most the smaller side of the weight.
        draw: determines the first factor A.
    """

    def __init__(self, weight: Tensor, removed: Tensor, *, scale: float, rank: int, draw: str) -> None:
        self._first, self._removed = weight.clone(), removed
        n_out, n_in = weight.shape
        generator = torch.Generator().manual_seed(int(digest(draw)[:15], 16))
        drawn = (2 * torch.rand(rank, n_in, generator=generator) - 1) * sqrt(3 / rank)
        none = torch.zeros(1, dtype=torch.bool, device=weight.device)
        narrow = torch.zeros(n_out, rank, device=weight.device)
        self._left = Parameter(narrow, none.expand(n_out, rank), scale=scale)
        self._right = Parameter(drawn.to(weight.device), none.expand(rank, n_in), scale=1 / sqrt(rank))

    def update(self, gradient: Tensor, *, rate: float) -> None:
        """See `TrainedWeight.update`."""
        clear_removed(gradient, self._removed)
        left, right = gradient @ self._right.weight.T, self._left.weight.T @ gradient
        self._left.update(left.contiguous(), rate=rate)
        self._right.update(right.contiguous(), rate=rate)

    def value(self) -> Tensor:
        """See `TrainedWeight.value`."""
        merged = (self._left.weight @ self._right.weight).add_(self._first)
        clear_removed(merged, self._removed)
        return merged

    def tensors(self) -> Mapping[str, Tensor]:
        """See `TrainedWeight.tensors`."""
        return {**_tensors_of("left ", self._left), **_tensors_of("right ", self._right)}


def _tensors_of(prefix: str, parameter: Parameter) -> dict[str, Tensor]:
    first, second = parameter.moments
    return {
        f"{prefix}weight": parameter.weight,
        f"{prefix}first moment": first,
        f"{prefix}second moment": second,
        f"{prefix}steps": parameter.n_steps,
    }
