"""Gradients of the language-modelling loss by all prunable weights, one block at a time backwards.

The loss of a demonstration is the mean over its counted tokens of -log p(token | tokens before it), as causal language
models compute it with `labels` equal to the tokens; a first token has no prediction. The result is

    G[i, j] = sqrt(mean over demonstrations n of (d L_n / d W[i, j]) ** 2)

as in the gradients that Pruner-Zero (Dong et al., arXiv:2406.02924; code pprp/Pruner-Zero) aggregates with their L2
norm. Only the hidden states before every block stay in memory, and each block runs forward once more before it runs
backward. The sums over demonstrations of all blocks take 8 bytes for each prunable weight.

Differences to the published code: the dtype of the model with float32 products and float64 sums (there: float16
gradients); demonstrations of any length without padding (there: sequences of 2,048 tokens).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from mlprune.models.block_ranges import EMBEDDINGS
from mlprune.models.gradients.block_backward import BlockBackward, BlockGradients, counted_lengths, run_backward
from mlprune.models.messages import HiddenStates, TokenBatch
from mlprune.processes.parallel import n_threads, parallel_map

if TYPE_CHECKING:  # importing the runner imports transformers, which takes seconds
    from mlprune.models.inference.block_runner import BlockRunner

_LOGITS_TOGETHER = 2**23
"""Logits that are computed at once: 32 MiB as float32, and as much for their gradients."""


def loss_gradients(
    runner: BlockRunner, batches: Sequence[TokenBatch], load: Callable[[int], None]
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Yield (block, layer -> [out, in] float32), block 0 first, once all batches have run.

    As many batches run at a time as the process has threads. The result does not depend on it.

    Args:
        runner: of the whole model.
        batches: in the order in which demonstrations are added.
        load: called with a part of the model before it runs; n_blocks for the final norm and the head.
    Raises:
        StatisticsError: a gradient is not finite; block and layer are named.
    """
    sums = {block: BlockGradients() for block in runner.blocks}
    runner.hooks.observe_outputs()
    n_together = n_threads()
    for start in range(0, len(batches), n_together):
        _add(runner, batches[start : start + n_together], load, sums)
    for block in runner.blocks:
        yield block, sums.pop(block).root_means(block)


def _add(
    runner: BlockRunner, batches: Sequence[TokenBatch], load: Callable[[int], None], sums: dict[int, BlockGradients]
) -> None:
    """Add the gradients of some batches that run together."""
    load(EMBEDDINGS)
    lengths = [counted_lengths(batch.counted) for batch in batches]

    @torch.inference_mode()
    def embed(batch: TokenBatch) -> HiddenStates:
        return runner.embed(batch.token_ids, batch.attention_mask)

    before = [list(parallel_map(embed, batches))]
    for block in runner.blocks:
        load(block)
        before.append(_stepped(runner, block, before[-1]))
    load(runner.n_blocks)
    after = [states.hidden for states in before.pop()]
    gradients = list(parallel_map(lambda pair: _of_hidden(runner, *pair), zip(after, batches, strict=True)))
    for block in reversed(runner.blocks):
        load(block)

        def backward(item: tuple[HiddenStates, Tensor, list[int]], block: int = block) -> BlockBackward:
            states, gradient, of_rows = item
            return run_backward(runner, block, states, lambda _: gradient, lengths=of_rows, wants_input=True)

        results = list(parallel_map(backward, zip(before.pop(), gradients, lengths, strict=True)))
        gradients = [result.of_input for result in results if result.of_input is not None]
        sums[block].add([result.flows for result in results])


def _stepped(runner: BlockRunner, block: int, before: Sequence[HiddenStates]) -> list[HiddenStates]:
    """Return the states after a block."""

    @torch.inference_mode()
    def step(states: HiddenStates) -> HiddenStates:
        return runner.step(block, states)

    return list(parallel_map(step, before))


def _of_hidden(runner: BlockRunner, hidden: Tensor, batch: TokenBatch) -> Tensor:
    """Return the gradients of the losses of a batch by the hidden states after the last block, [b, s, d]."""
    rows, positions = batch.counted[:, 1:].nonzero(as_tuple=True)
    if not len(rows):
        return torch.zeros_like(hidden)
    n_targets = batch.counted[:, 1:].sum(dim=1).clamp(min=1)
    with torch.inference_mode(False), torch.enable_grad():
        leaf = hidden.clone().requires_grad_()
        device = hidden.device
        predicting = runner.apply_final_norm(leaf)[rows.to(device), positions.to(device)]
        targets, shares = batch.token_ids[rows, positions + 1], 1 / n_targets[rows]
        n_together = max(1, _LOGITS_TOGETHER // runner.head.weight.shape[0])
        parts = zip(*(torch.split(one, n_together) for one in (predicting.detach(), targets, shares)), strict=True)
        pieces = [_of_states(runner, states, wanted, share) for states, wanted, share in parts]
        (gradient,) = torch.autograd.grad(predicting, leaf, torch.cat(pieces))
    return gradient


def _of_states(runner: BlockRunner, states: Tensor, targets: Tensor, shares: Tensor) -> Tensor:
    """Return the gradients of weighted losses by the states that predict the targets, [k, d]."""
    leaf = states.requires_grad_()
    logits = functional.linear(leaf, runner.head.weight, runner.head.bias)
    logits = runner.cap_logits(logits.to(torch.float32))
    losses = functional.cross_entropy(logits, targets.to(logits.device), reduction="none")
    (gradient,) = torch.autograd.grad((losses * shares.to(losses)).sum(), leaf)
    return gradient
