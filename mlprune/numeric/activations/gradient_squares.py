"""Squared gradients of weights: sums over demonstrations, from the inputs of a layer and the gradients of its outputs.

A gradient of one demonstration is as large as the weight, so it exists for a few rows at a time only. Threads work on
different rows, and each row adds the demonstrations in their order, so the bits do not depend on the number of threads.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.processes.parallel import parallel_map

_WEIGHTS_TOGETHER = 2**18
"""Weights whose gradients are computed at once on the CPU: 1 MiB as float32. Another value may change last bits."""

_ACCELERATOR_WEIGHTS_TOGETHER = 2**24
"""The same on an accelerator."""

Flow = tuple[Tensor, Tensor]
"""Of one demonstration: [tokens, out], the gradients of a layer's outputs, and [tokens, in], its inputs."""


class GradientSquares:
    """Running sum over demonstrations of the squared gradient of one layer's weight.

    G[i, j] = sum over demonstrations n of w[n] * (sum over tokens t of d[n, t, i] * x[n, t, j]) ** 2

    The inner sums are products of float32 matrices; squares are computed and added in float64.

    Args:
        shape: (out, in).
        device: of the sum.
    """

    def __init__(self, shape: tuple[int, int], device: torch.device) -> None:
        self._sums = torch.zeros(shape, dtype=torch.float64, device=device)
        self._weight = 0.0

    @torch.inference_mode()
    def add(self, flows: Sequence[Flow], *, weights: Sequence[float] | None = None) -> None:
        """Add demonstrations, in their order. The result does not depend on the number of calls or threads.

        Args:
            flows: one per demonstration, any float dtype. One without tokens has the gradient 0, and counts.
            weights: how often each demonstration counts; None: once.
        Raises:
            ShapeError: a part has another number of features than the layer.
        """
        d_out, d_in = self._sums.shape
        for gradients, inputs in flows:
            if gradients.shape[1:] != (d_out,) or inputs.shape[1:] != (d_in,) or len(gradients) != len(inputs):
                expected = f"[tokens, {d_out}] and [tokens, {d_in}]"
                got = f"{tuple(gradients.shape)} and {tuple(inputs.shape)}"
                raise ShapeError("gradients and inputs do not fit the layer", expected=expected, got=got)
        factors = [1.0] * len(flows) if weights is None else list(weights)
        used = [
            (gradients.to(torch.float32), inputs.to(torch.float32), factor)
            for (gradients, inputs), factor in zip(flows, factors, strict=True)
            if factor and len(gradients)
        ]

        def add_rows(rows: slice) -> None:
            for gradients, inputs, factor in used:
                of_weights = (gradients[:, rows].T @ inputs).to(torch.float64)
                self._sums[rows].addcmul_(of_weights, of_weights, value=factor)

        list(parallel_map(add_rows, self._row_chunks()))
        self._weight += sum(factors)

    def root_means(self) -> Tensor:
        """Return the root of the mean over demonstrations, [out, in] float32.

        Raises:
            StatisticsError: no demonstration was added, or a gradient is not finite.
        """
        if not self._weight:
            raise StatisticsError("gradients have no demonstrations")
        means = (self._sums / self._weight).sqrt_().to(torch.float32)
        wrong = ~torch.isfinite(means)
        if bool(wrong.any()):
            row, column = wrong.nonzero()[0].tolist()
            raise StatisticsError("a gradient is not finite", output=row, feature=column)
        return means

    def _row_chunks(self) -> list[slice]:
        d_out, d_in = self._sums.shape
        together = _WEIGHTS_TOGETHER if self._sums.device.type == "cpu" else _ACCELERATOR_WEIGHTS_TOGETHER
        n_together = max(1, together // max(1, d_in))
        return [slice(start, start + n_together) for start in range(0, d_out, n_together)]
