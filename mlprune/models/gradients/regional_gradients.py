"""Regional gradients: the gradient of the norm of a block's output by the block's own weights, per demonstration.

Wanda++ (Yang et al., arXiv:2503.04992) makes one backward pass through one block instead of the whole model:

    L_n = ||f(X_n)||_2        G[i, j] = sqrt(mean over demonstrations n of (d L_n / d W[i, j]) ** 2)

f(X_n) are the hidden states after the block at the counted tokens of demonstration n, residual included, and X_n those
before it. The demonstrations of a batch do not see each other, so one backward pass gives the gradients of the outputs
of all layers for all of them. Their products with the inputs of a layer, demonstration by demonstration, are the
gradients of its weight. Tokens after the last counted one have no influence, so padding is never read.

The paper's code is not public. Its text leaves open which tokens and which dtype; a reproduction by others
(github.com/TTTTTTris/wandaplus) takes all tokens and adds squares in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlprune.models.gradients.block_backward import BlockGradients, LayerFlows, counted_lengths, run_backward
from mlprune.models.messages import HiddenStates
from mlprune.numeric.activations.counted_tokens import CountedTokens
from mlprune.processes.parallel import n_threads, parallel_map

if TYPE_CHECKING:  # importing the runner imports transformers, which takes seconds
    from mlprune.models.inference.block_runner import BlockRunner

Batches = Sequence[tuple[HiddenStates, CountedTokens]]
"""Hidden states before a block, with the tokens that count."""


def regional_gradients(
    runner: BlockRunner, block: int, batches: Batches, *, weights: Sequence[float] | None = None
) -> dict[str, Tensor]:
    """Return the regional gradients of the layers of a block over all demonstrations of some batches.

    As many batches run at a time as the process has threads. The result does not depend on it.

    Args:
        runner: runs the block with its current weights.
        batches: in the order in which demonstrations are added.
        weights: how often each demonstration counts, in the order of the rows of the batches; None: once.
    Returns: layer -> [out, in] float32, on the device of the block, in the family's order.
    Raises:
        StatisticsError: a gradient is not finite; block and layer are named.
    """
    sums = BlockGradients()
    runner.hooks.observe_outputs()
    n_together, first = n_threads(), 0

    def flows_of(batch: tuple[HiddenStates, CountedTokens]) -> LayerFlows:
        states, counted = batch
        gradient_of = partial(_gradients_of_norms, counted=counted)
        return run_backward(runner, block, states, gradient_of, lengths=counted_lengths(counted.mask))

    for start in range(0, len(batches), n_together):
        group = batches[start : start + n_together]
        observed = list(parallel_map(flows_of, group))
        n_rows = sum(len(counted.mask) for _, counted in group)
        chosen = None if weights is None else weights[first : first + n_rows]
        first += n_rows
        sums.add(observed, weights=chosen)
    return sums.root_means(block)


def _gradients_of_norms(hidden: Tensor, counted: CountedTokens) -> Tensor:
    """Return the gradients of the norms of all demonstrations by the hidden states, [b, s, d]: h / ||h||, else 0.

    A norm is computed in float64.
    """
    values = hidden.masked_fill(counted.ignored_on(hidden.device), 0)
    norms = torch.linalg.vector_norm(values, dim=(1, 2), keepdim=True, dtype=torch.float64)
    inverse = torch.where(norms == 0, torch.zeros_like(norms), 1 / norms)
    return (values * inverse).to(hidden.dtype)
