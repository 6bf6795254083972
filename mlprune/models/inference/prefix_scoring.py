"""Scoring texts that share beginnings: each beginning runs once, and the rest of every text reads on from it.

A batch holds prefixes, padded on the left, and what continues them in groups of about equal length, padded on the
right. Blocks are run one after another for the whole batch, so keys and values of one block are held at a time and its
weights are read once; the last token of a text is never run, for nothing is predicted from it. What the model's own
code calls its blocks with is recorded and replayed as everywhere (`hooks.py`); which texts stand together is decided by
the evaluation.

Prefixes have no padding in their middle: blocks that see a window count places, not tokens.
"""

from typing import Any

import torch
from torch import Tensor

from mlprune.models.inference.block_runner import BEFORE, BlockRunner, leaving
from mlprune.models.inference.passes import Pass
from mlprune.models.messages import ScoringBatch, ScoringPart
from mlprune.numeric.inference.log_probs import TargetScores, target_scores


def scoring(runner: BlockRunner, payload: ScoringBatch | ScoringPart) -> Pass[ScoringPart | TargetScores]:
    """Run prefixes and, on top of each block's keys and values of theirs, the rest; the last shard scores."""
    if isinstance(payload, ScoringBatch):
        yield BEFORE
        part = _embedded(runner, payload)
    else:
        groups = tuple(runner.arrived(states) for states in payload.groups)
        part = ScoringPart(payload.batch, runner.arrived(payload.prefix), groups)
    for block in runner.blocks:
        yield block
        part = _through(runner, block, part)
    if not runner.is_last:
        return ScoringPart(part.batch, leaving(part.prefix), tuple(leaving(states) for states in part.groups))
    yield runner.behind
    return _scores(runner, part)


def _embedded(runner: BlockRunner, batch: ScoringBatch) -> ScoringPart:
    """What the model's code makes of the tokens, the groups as continuing a cache as long as the prefixes."""
    places = _places(batch.prefix_mask)
    prefix = runner.embed(batch.prefix_ids, batch.prefix_mask, cache=runner.new_cache(), positions=places)
    length = runner.cache_of_length(*batch.prefix_ids.shape)
    groups = []
    for group in batch.groups:
        mask = torch.cat([batch.prefix_mask[group.parent], group.mask], dim=1)
        places = _places(mask)[:, batch.prefix_ids.shape[1] :]
        groups.append(runner.embed(group.token_ids, mask, cache=length, positions=places))
    return ScoringPart(batch, prefix, tuple(groups))


def _places(mask: Tensor) -> Tensor:
    """[n, s] int64: the place of each token among the real ones of its row."""
    return (mask.long().cumsum(dim=1) - 1).clamp(min=0)


def _through(runner: BlockRunner, block: int, part: ScoringPart) -> ScoringPart:
    """Run one block on the prefixes, then on each group behind the keys and values of its prefixes."""
    if not part.groups:
        return ScoringPart(part.batch, runner.step(block, part.prefix), ())
    cache = runner.new_cache()
    prefix = runner.step(block, part.prefix, cache)
    seen = cache.layers[block]
    groups = []
    for group, states in zip(part.batch.groups, part.groups, strict=True):
        parent = group.parent.to(seen.keys.device)
        own = runner.new_cache()
        own.update(seen.keys[parent], seen.values[parent], block)
        groups.append(runner.step(block, states, own))
    return ScoringPart(part.batch, prefix, tuple(groups))


def _scores(runner: BlockRunner, part: ScoringPart) -> TargetScores:
    """Project every state that predicts something, once."""
    batch = part.batch
    needed, places = torch.unique(batch.states, return_inverse=True)
    flat = [states.hidden.flatten(end_dim=1) for states in (part.prefix, *part.groups)]
    hidden = runner.normed(torch.cat([one.to(flat[0].device) for one in flat])[needed.to(flat[0].device)])
    options: dict[str, Any] = {"head_bias": runner.head.bias, "softcap": runner.logit_softcap}
    return target_scores(hidden, runner.head.weight, states=places, targets=batch.targets, **options)
