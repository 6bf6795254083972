"""Gradients, one block at a time: of the language-modelling loss, and regional ones of a block.

Regional gradients: the gradient of the norm of a block's output by the block's own weights, per demonstration.

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

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlprune.errors import statistics_context
from mlprune.models.architecture.architecture import BlockArchitecture
from mlprune.models.experts import routed_rows
from mlprune.models.hooks import check_run
from mlprune.models.messages import HiddenStates
from mlprune.numeric.activations.feature_sums import Flow, GradientSquares
from mlprune.numeric.activations.statistics import CountedTokens
from mlprune.processes.parallel import n_threads, parallel_map

Batches = Sequence[tuple[HiddenStates, CountedTokens]]
"""Hidden states before a block, with the tokens that count."""
if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner
LayerFlows = Mapping[str, Sequence[Flow]]
"""Layer -> one pair per demonstration, in the dtype of the model."""


def run_backward(
    runner: BlockRunner,
    block: int,
    states: HiddenStates,
    gradient_of: Callable[[Tensor], Tensor],
    *,
    lengths: Sequence[int],
) -> LayerFlows:
    """Run one block forward, and backward from the gradient of its output; no gradient of a weight is computed.

    `LayerHooks.observe_outputs` was called before. Several threads may do this at once.

    A layer of an expert reads only the tokens that are routed there; the flows have those.

    Args:
        states: before the block; they stay as they are.
        gradient_of: returns the gradient [b, s, d] of the hidden states [b, s, d] after the block.
        lengths: tokens of each demonstration that are part of the flows, from the first on.
    Raises:
        ModelError: the block did not run a layer.
    """
    kind, recorded = runner.architecture.block(block), RecordedLayers()
    with torch.inference_mode(False), torch.enable_grad():
        call = states.calls[block].replace_instances(Tensor, torch.clone)
        hidden = states.hidden.clone().requires_grad_()
        with runner.hooks.listening(recorded.take_input, outputs=recorded.take_output):
            after = runner.step(block, HiddenStates(hidden, {block: call})).hidden
        used = [layer for layer in kind.layers if layer in recorded.outputs]
        check_run([layer for layer in kind.layers if not kind.is_routed(layer)], used)
        targets = [recorded.outputs[layer] for layer in used]
        gradients = torch.autograd.grad(after, targets, gradient_of(after.detach()))
    flows: dict[str, list[Flow]] = {}
    for layer, of_outputs in zip(used, gradients, strict=True):
        inputs, rows = recorded.inputs[kind.input_of(layer)], recorded.rows.get(kind.input_of(layer))
        if rows is None:
            of_texts = (values.reshape(*hidden.shape[:2], -1) for values in (of_outputs, inputs))
            pairs = zip(*of_texts, lengths, strict=True)
            flows[layer] = [(of_row[:length], row[:length]) for of_row, row, length in pairs]
        else:
            flows[layer] = _routed_flows(of_outputs, inputs, rows, lengths=lengths, n_tokens=hidden.shape[1])
    return flows | _unused_flows(kind, flows)


def _routed_flows(
    gradients: Tensor, inputs: Tensor, rows: Tensor, *, lengths: Sequence[int], n_tokens: int
) -> list[Flow]:
    """Return the flows of a layer of an expert.

    Args:
        gradients: [n, out].
        inputs: [n, in].
        rows: [n] int64, the places of the tokens in the batch, ascending.
        n_tokens: of each text, with padding.
    """
    owners = rows // n_tokens
    kept = rows % n_tokens < torch.tensor(lengths, device=rows.device)[owners]
    n_kept = torch.bincount(owners[kept], minlength=len(lengths)).tolist()
    pairs = (torch.split(values[kept], n_kept) for values in (gradients, inputs))
    return list(zip(*pairs, strict=True))


def _unused_flows(kind: BlockArchitecture, flows: Mapping[str, list[Flow]]) -> dict[str, list[Flow]]:
    """Return flows without tokens for the experts to which no token was routed."""
    if kind.experts is None:
        return {}
    unused: dict[str, list[Flow]] = {}
    for position in range(2):
        layers = [kind.experts.layers(expert)[position] for expert in range(kind.experts.n_experts)]
        used = next(flows[layer] for layer in layers if layer in flows)
        empty = [(gradients[:0], inputs[:0]) for gradients, inputs in used]
        unused |= {layer: empty for layer in layers if layer not in flows}
    return unused


class RecordedLayers:
    """Inputs and outputs of the layers of a block, for one run of the block."""

    def __init__(self) -> None:
        self.inputs: dict[str, Tensor] = {}
        self.rows: dict[str, Tensor] = {}
        """Input of a layer of an expert -> places of its tokens in the batch."""
        self.outputs: dict[str, Tensor] = {}

    def take_input(self, name: str, inputs: Tensor) -> None:
        """Keep the input of layers."""
        self.inputs[name] = inputs.detach()
        if (rows := routed_rows()) is not None:
            self.rows[name] = rows

    def take_output(self, layer: str, outputs: Tensor) -> None:
        """Keep the output of a layer, with its place in the graph."""
        self.outputs[layer] = outputs


class BlockGradients:
    """Running sums of the squared gradients of the layers of one block."""

    def __init__(self) -> None:
        self._sums: dict[str, GradientSquares] = {}

    def add(self, observed: Sequence[LayerFlows], *, weights: Sequence[float] | None = None) -> None:
        """Add the demonstrations of some batches, in their order; see `GradientSquares.add`."""
        for layer in observed[0]:
            flows = [flow for of_batch in observed for flow in of_batch[layer]]
            if layer not in self._sums:
                gradients, inputs = flows[0]
                self._sums[layer] = GradientSquares((gradients.shape[1], inputs.shape[1]), inputs.device)
            self._sums[layer].add(flows, weights=weights)

    def root_means(self, block: int) -> dict[str, Tensor]:
        """Return layer -> [out, in] float32, root of the mean over demonstrations, in the block's order.

        Raises:
            StatisticsError: a gradient is not finite; block and layer are named.
        """
        result = {}
        for layer, sums in self._sums.items():
            with statistics_context(layer=layer, block=block):
                result[layer] = sums.root_means()
        return result


def counted_lengths(mask: Tensor) -> list[int]:
    """Return for each demonstration the number of tokens up to the last counted one; 0 if none counts.

    Args:
        mask: [b, s] bool, on the CPU.
    """
    positions = torch.arange(1, mask.shape[1] + 1)
    lengths: list[int] = (mask * positions).amax(dim=1).tolist()
    return lengths


def regional_gradients(
    runner: BlockRunner, block: int, batches: Batches, *, weights: Sequence[float] | None = None
) -> dict[str, Tensor]:
    """Return the regional gradients of the layers of a block over all demonstrations of some batches.

    As many batches run at a time as the process has threads. The result does not depend on it.

    Args:
        runner: runs the block with its current weights.
        batches: in the order in which demonstrations are added.
        weights: how often each demonstration counts, in the order of the rows of the batches; None: once.
    Returns: layer -> [out, in] float32, on the device of the block, in the block's order.
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
