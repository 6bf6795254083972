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

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlprune.errors import ModelError, statistics_context
from mlprune.models.messages import HiddenStates
from mlprune.numeric.activations.counted_tokens import CountedTokens
from mlprune.numeric.activations.gradient_squares import Flow, GradientSquares
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
        StatisticsError: a gradient is not finite, or no demonstration is given; block and layer are named.
    """
    sums: dict[str, GradientSquares] = {}
    runner.hooks.observe_outputs()
    n_together, first = n_threads(), 0
    for start in range(0, len(batches), n_together):
        group = batches[start : start + n_together]
        observed = list(parallel_map(lambda batch: layer_flows(runner, block, *batch), group))
        n_rows = sum(len(counted.mask) for _, counted in group)
        chosen = None if weights is None else weights[first : first + n_rows]
        first += n_rows
        for layer in runner.family.layers:
            flows = [flow for of_batch in observed for flow in of_batch[layer]]
            if layer not in sums:
                gradients, inputs = flows[0]
                sums[layer] = GradientSquares((gradients.shape[1], inputs.shape[1]), inputs.device)
            sums[layer].add(flows, weights=chosen)
    with statistics_context(block=block):
        return {layer: _root_means(layer, of_layer) for layer, of_layer in sums.items()}


def layer_flows(
    runner: BlockRunner, block: int, states: HiddenStates, counted: CountedTokens
) -> Mapping[str, Sequence[Flow]]:
    """Run one block forward and backward; return the gradients of the outputs of its layers, and their inputs.

    `LayerHooks.observe_outputs` was called before.

    Returns: layer -> one pair per demonstration, up to its last counted token, in the dtype of the model.
    Raises:
        ModelError: the block did not run a layer.
    """
    recorded = _Recorded()
    with torch.inference_mode(False), torch.enable_grad():
        call = states.calls[block].replace_instances(Tensor, torch.clone)
        hidden = states.hidden.clone().requires_grad_()
        with runner.hooks.listening(recorded.take_input, outputs=recorded.take_output):
            after = runner.step(block, HiddenStates(hidden, {block: call})).hidden
        missing = [layer for layer in runner.family.layers if layer not in recorded.outputs]
        if missing:
            message = "a block did not run layers that its record in mlprune/models/families/records.py lists"
            raise ModelError(message, family=runner.family.name, missing=missing)
        outputs = [recorded.outputs[layer] for layer in runner.family.layers]
        gradients = torch.autograd.grad(after, outputs, _gradients_of_norms(after.detach(), counted))
    lengths = _lengths(counted)
    shape = counted.mask.shape
    flows: dict[str, list[Flow]] = {}
    for layer, of_outputs in zip(runner.family.layers, gradients, strict=True):
        inputs = recorded.inputs[runner.family.input_of(layer)].reshape(*shape, -1)
        pairs = zip(of_outputs.reshape(*shape, -1), inputs, lengths, strict=True)
        flows[layer] = [(of_row[:length], row[:length]) for of_row, row, length in pairs]
    return flows


class _Recorded:
    """Inputs and outputs of the layers of a block, for one run of the block."""

    def __init__(self) -> None:
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}

    def take_input(self, name: str, inputs: Tensor) -> None:
        """Keep the input of layers."""
        self.inputs[name] = inputs.detach()

    def take_output(self, layer: str, outputs: Tensor) -> None:
        """Keep the output of a layer, with its place in the graph."""
        self.outputs[layer] = outputs


def _gradients_of_norms(hidden: Tensor, counted: CountedTokens) -> Tensor:
    """Return the gradients of the norms of all demonstrations by the hidden states, [b, s, d]: h / ||h||, else 0.

    A norm is computed in float64.
    """
    values = hidden.masked_fill(counted.ignored_on(hidden.device), 0)
    norms = torch.linalg.vector_norm(values, dim=(1, 2), keepdim=True, dtype=torch.float64)
    inverse = torch.where(norms == 0, torch.zeros_like(norms), 1 / norms)
    return (values * inverse).to(hidden.dtype)


def _lengths(counted: CountedTokens) -> list[int]:
    """Return for each demonstration the number of tokens up to the last counted one."""
    positions = torch.arange(1, counted.mask.shape[1] + 1)
    lengths: list[int] = (counted.mask * positions).amax(dim=1).tolist()
    return lengths


def _root_means(layer: str, sums: GradientSquares) -> Tensor:
    with statistics_context(layer=layer):
        return sums.root_means()
