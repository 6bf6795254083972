"""What one batch goes through in a shard, written as a generator that says which part of the model it needs next.

Whoever drives it has that part in memory when it goes on: one batch may run on its own, or many may go through each
block together (`lockstep`), with the same numbers either way. Parts are numbered as `running` does.
"""

from collections.abc import Generator
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import DynamicCache

from mlprune.errors import StatisticsError
from mlprune.models.payloads import (
    DecodePart,
    DecodeStep,
    Observation,
    ObservationPart,
    Scores,
    ScoringBatch,
    ScoringPart,
    TokenBatch,
)
from mlprune.models.running import BEFORE, BlockRunner, leaving
from mlprune.numeric.projection import target_scores
from mlprune.numeric.statistics import hidden_magnitudes

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


def scoring(runner: BlockRunner, payload: ScoringBatch | ScoringPart) -> Pass[ScoringPart | Scores]:
    """Run prefixes and, on top of each block's keys and values of theirs, the suffixes; the last shard scores."""
    if isinstance(payload, ScoringBatch):
        batch = payload
        yield BEFORE
        seen = torch.ones_like(batch.prefix_ids, dtype=torch.bool)
        prefix = runner.embed(batch.prefix_ids, seen, cache=runner.new_cache())
        length = runner.cache_of_length(*batch.prefix_ids.shape)
        length.batch_select_indices(batch.parent.to(runner.device))
        mask = torch.cat([seen[batch.parent], batch.suffix_mask], dim=1)
        suffix = runner.embed(batch.suffix_ids, mask, cache=length)
    else:
        batch, prefix, suffix = payload.batch, runner.arrived(payload.prefix), runner.arrived(payload.suffix)
    for block in runner.blocks:
        yield block
        cache = runner.new_cache()
        prefix = runner.step(block, prefix, cache)
        cache.batch_select_indices(batch.parent.to(prefix.hidden.device))
        suffix = runner.step(block, suffix, cache)
    if not runner.is_last:
        return ScoringPart(batch, leaving(prefix), leaving(suffix))
    yield runner.behind
    return _scores(runner, batch, prefix.hidden, suffix.hidden)


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
        runner.note_blocks_elsewhere(cache, *states.hidden.shape[:2])
    if not runner.is_last:
        return DecodePart(payload.key, leaving(states))
    yield runner.behind
    logits: Tensor = runner.head(runner.normed(states.hidden[:, -1]))
    return logits.float().argmax(dim=1).cpu()


def _scores(runner: BlockRunner, batch: ScoringBatch, prefix: Tensor, suffix: Tensor) -> Scores:
    """Scores from the hidden states [p, lp, d] and [n, ls, d] behind the last block."""
    everywhere = torch.ones_like(batch.prefix_ids[:, 1:]).bool()
    within = _log_probs(runner, prefix[:, :-1], batch.prefix_ids[:, 1:], mask=everywhere)
    last = prefix[:, -1:][batch.parent.to(prefix.device)]
    before = torch.cat([last, suffix[:, :-1].to(last.device)], dim=1)
    behind = _log_probs(runner, before, batch.suffix_ids, mask=batch.suffix_mask)
    n_tokens = batch.prefix_ids.shape[1] - 1 + batch.suffix_mask.sum(dim=1)
    return Scores(within.sum(dim=1)[batch.parent] + behind.sum(dim=1), n_tokens, within, behind)


def _log_probs(runner: BlockRunner, hidden: Tensor, targets: Tensor, *, mask: Tensor) -> Tensor:
    """[n, s] float64, on the CPU: log-probabilities of the targets [n, s] where the mask is True, elsewhere 0."""
    picked = torch.zeros(mask.shape, dtype=torch.float64)
    if mask.any():
        head = runner.head
        states = runner.normed(hidden[mask.to(hidden.device)]).to(head.weight.device)
        options: dict[str, Any] = {"head_bias": head.bias, "softcap": runner.logit_softcap}
        each = torch.arange(states.shape[0])
        picked[mask] = target_scores(states, head.weight, states=each, targets=targets[mask], **options).log_probs
    return picked


def _magnitudes(hidden: Tensor, counted: Tensor, *, n_blocks_run: int) -> Tensor:
    """[b, d] float32, on the CPU."""
    try:
        return hidden_magnitudes(hidden, counted).cpu()
    except StatisticsError as err:
        raise StatisticsError(err.message, err.context, n_blocks_run=n_blocks_run) from err
