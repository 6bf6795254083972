"""What one batch goes through in a shard, written as a generator that says which part of the model it needs next.

Whoever drives it has that part in memory when it goes on: one batch may run on its own, or many may go through each
block together (`lockstep`), with the same numbers either way. Parts are numbered as `running` does.
"""

from collections.abc import Generator
from typing import TypeVar

import torch
from torch import Tensor
from transformers import DynamicCache

from mlprune.errors import StatisticsError
from mlprune.models.inference.block_runner import BEFORE, BlockRunner, leaving
from mlprune.models.messages import DecodePart, DecodeStep, Observation, ObservationPart, TokenBatch
from mlprune.numeric.activations.statistics import hidden_magnitudes

Result = TypeVar("Result")
Pass = Generator[int, None, Result]
"""Yields the part it needs next, returns what the shard returns."""


def observing(runner: BlockRunner, payload: TokenBatch | ObservationPart) -> Pass[ObservationPart | Observation]:
    """Run a batch through the blocks and sum what their layers read.

    Raises:
        StatisticsError: a counted activation is not finite; the block is named.
    """
    if isinstance(payload, TokenBatch):
        yield BEFORE
        states = runner.embed(payload.token_ids, payload.attention_mask)
        counted, sums = payload.counted, {}
        magnitudes = [_magnitudes(states.hidden, counted, n_blocks_run=0)]
    else:
        states = runner.arrived(payload.states)
        counted, sums, magnitudes = payload.counted, dict(payload.sums), list(payload.magnitudes)
    for block in runner.blocks:
        yield block
        after, block_sums = runner.step_observed(block, states, counted)
        sums |= {(block, name): tensor for name, tensor in block_sums.items()}
        magnitudes.append(_magnitudes(after.hidden, counted, n_blocks_run=block + 1))
        states = after
    if runner.is_last:
        return Observation(sums, torch.stack(magnitudes), counted.sum(dim=1))
    return ObservationPart(leaving(states), counted, sums, tuple(magnitudes))


def decoding(runner: BlockRunner, payload: DecodeStep | DecodePart, cache: DynamicCache) -> Pass[DecodePart | Tensor]:
    """Run the next tokens of a session on top of its cache; the last shard returns the likeliest, [b] int64.

    A cap of the logits does not change which is highest and is left out.
    """
    if isinstance(payload, DecodeStep):
        yield BEFORE
        positions = (payload.attention_mask.long().cumsum(dim=1) - 1).clamp(min=0)
        positions = positions[:, -payload.token_ids.shape[1] :]
        states = runner.embed(payload.token_ids, payload.attention_mask, cache=cache, positions=positions)
    else:
        states = runner.arrived(payload.states)
    for block in runner.blocks:
        yield block
        states = runner.step(block, states, cache)
    if runner.is_first:
        runner.pad_remote_cache_lengths(cache, *states.hidden.shape[:2])
    if not runner.is_last:
        return DecodePart(payload.key, leaving(states))
    yield runner.behind
    logits: Tensor = runner.head(runner.normed(states.hidden[:, -1]))
    return logits.float().argmax(dim=1).cpu()


def _magnitudes(hidden: Tensor, counted: Tensor, *, n_blocks_run: int) -> Tensor:
    """[b, d] float32, on the CPU."""
    try:
        return hidden_magnitudes(hidden, counted).cpu()
    except StatisticsError as err:
        raise StatisticsError(err.message, err.context, n_blocks_run=n_blocks_run) from err
