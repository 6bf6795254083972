"""Which texts are scored together: prefixes of about equal length, and behind them what continues them.

Where texts are cut is decided in `branching.py`. Batches depend on the texts and on `batch_tokens` alone, so whoever
scores them gets the same bits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlprune.evaluation.scoring.prefix_tree import ScoredText, Stem, Tokens, stems
from mlprune.models.messages import Continuations, ScoringBatch

GROUP_COST = 48
"""What one more group costs, in tokens: its operations are launched in every block."""

BATCH_COST = 256
"""What one more batch costs, in tokens: all weights are read once more."""

MAX_GROUP_TOKENS = 1024
"""Most tokens of a group: what it holds beside the model stays small."""

MAX_GROUP_KEYS = 8192
"""Most tokens that the rows of a group look back at, their own included: each row holds keys and values of its own."""

KEYS_A_TOKEN = 8
"""The same for each token that a batch may have: small batches are small in this too."""


@dataclass(frozen=True)
class TextBatch:
    """A batch, and which texts it scores."""

    batch: ScoringBatch
    texts: tuple[int, ...]
    starts: NDArray[np.int64]
    """[n_texts], rising from 0: where the targets of each text begin in the batch."""


def plan_texts(texts: Sequence[ScoredText], *, batch_tokens: int) -> list[TextBatch]:
    """Cut texts into prefixes and the rest, and those into batches.

    Args:
        batch_tokens: most tokens that are run together, padding included; a prefix that takes more than half of them
            has a batch of its own, with up to as many tokens behind it as it has.
    Returns: batches that score every text once; the same for the same texts.
    """
    max_keys = min(MAX_GROUP_KEYS, KEYS_A_TOKEN * batch_tokens)
    return [_batch(texts, chosen, max_keys=max_keys) for chosen in _filled(stems(texts), batch_tokens, max_keys)]


def _filled(wholes: Sequence[Stem], batch_tokens: int, max_keys: int) -> Iterator[list[Stem]]:
    """Stems that are run together, those of equal length beside each other; large ones are divided."""
    chosen: list[Stem] = []
    for stem in (part for whole in wholes for part in _divided(whole, batch_tokens)):
        if chosen and not _fits([*chosen, stem], batch_tokens, max_keys):
            yield chosen
            chosen = []
        chosen.append(stem)
    if chosen:
        yield chosen


def _fits(together: Sequence[Stem], batch_tokens: int, max_keys: int) -> bool:
    """Whether stems, the longest last, may be one batch."""
    n_before = len(together[-1].prefix)
    n_prefix = len(together) * n_before
    if n_prefix - sum(len(stem.prefix) for stem in together) > BATCH_COST:
        return False
    lengths = sorted(n_own for stem in together for n_own in stem.rest)
    if n_prefix + len(lengths) * lengths[-1] <= batch_tokens:
        return True
    if n_prefix + sum(lengths) > batch_tokens:
        return False
    bounds = _group_bounds(lengths, n_before=n_before, max_keys=max_keys)
    return n_prefix + sum((end - start) * lengths[end - 1] for start, end in bounds) <= batch_tokens


def _divided(stem: Stem, batch_tokens: int) -> Iterator[Stem]:
    """A stem in parts that fit a batch each, whatever padding their rests get."""
    room = max(batch_tokens - len(stem.prefix), len(stem.prefix))
    first = 0
    for place in range(1, len(stem.rest)):
        if (place + 1 - first) * stem.rest[first] > room:
            yield Stem(stem.prefix, stem.members[first:place], stem.rest[first:place])
            first = place
    yield Stem(stem.prefix, stem.members[first:], stem.rest[first:])


def _batch(texts: Sequence[ScoredText], together: Sequence[Stem], *, max_keys: int) -> TextBatch:
    """Stems as one batch, their texts in rising order."""
    longest = max(len(stem.prefix) for stem in together)
    prefix_ids, prefix_mask = _padded([stem.prefix for stem in together], longest, side="left")
    rows = sorted(
        (n_own, row, text)
        for row, stem in enumerate(together)
        for text, n_own in zip(stem.members, stem.rest, strict=True)
    )
    offset = prefix_ids.numel()
    rest_of = {text: (0, 0) for _, _, text in rows}
    groups = []
    for start, end in _group_bounds([n_own for n_own, _, _ in rows], n_before=longest, max_keys=max_keys):
        members = rows[start:end]
        length = members[-1][0]
        rests = [texts[text].inputs[-n_own:] for n_own, _, text in members]
        token_ids, mask = _padded(rests, length, side="right")
        groups.append(Continuations(token_ids, mask, torch.tensor([row for _, row, _ in members])))
        rest_of |= {text: (offset + place * length, n_own) for place, (n_own, _, text) in enumerate(members)}
        offset += token_ids.numel()
    ends = {text: (row + 1) * longest for _, row, text in rows}
    chosen = tuple(sorted(rest_of))
    states = [_states(texts[text], prefix_end=ends[text], rest=rest_of[text]) for text in chosen]
    targets = [torch.tensor(texts[text].tokens[texts[text].n_context :]) for text in chosen]
    starts = np.cumsum([0, *(len(one) for one in states[:-1])]).astype(np.int64)
    batch = ScoringBatch(prefix_ids, prefix_mask, tuple(groups), torch.cat(states), torch.cat(targets))
    return TextBatch(batch, chosen, starts)


def _group_bounds(lengths: Sequence[int], *, n_before: int, max_keys: int) -> list[tuple[int, int]]:
    """Divide rows of rising length, those of none left out, such that padding and the cost of groups are least.

    Args:
        n_before: tokens that every row looks back at.
        max_keys: most tokens that the rows of a group look at; a single row may exceed it.
    """
    values, n_each = np.unique(np.array(lengths, dtype=np.int64), return_counts=True)
    first = int(n_each[values == 0].sum())
    values, ends = values[values > 0], np.cumsum(np.concatenate([[0], n_each[values > 0]]))
    most = np.maximum(1, np.minimum(MAX_GROUP_TOKENS // values, max_keys // (n_before + values)))
    best, came_from = np.zeros(values.size + 1, dtype=np.int64), np.zeros(values.size + 1, dtype=np.int64)
    for end in range(1, values.size + 1):
        n_rows = ends[end] - ends[:end]
        costs = best[:end] + n_rows * values[end - 1] + GROUP_COST * -(-n_rows // most[end - 1])
        came_from[end], best[end] = np.argmin(costs), costs.min()
    bounds: list[tuple[int, int]] = []
    end = values.size
    while end > 0:
        begin = int(came_from[end])
        n_parts = int(-(-(ends[end] - ends[begin]) // most[end - 1]))
        cuts = [first + int(ends[begin] + (ends[end] - ends[begin]) * part // n_parts) for part in range(n_parts + 1)]
        bounds = [*pairwise(cuts), *bounds]
        end = begin
    return bounds


def _states(text: ScoredText, *, prefix_end: int, rest: tuple[int, int]) -> Tensor:
    """[k] int64: the states that predict the scored tokens of a text, in the batch's count.

    Args:
        prefix_end: the place behind the last of its prefix's states.
        rest: the place of its first state behind the prefix, and how many there are.
    """
    first, n_rest = rest
    length = len(text.inputs) - n_rest
    places = torch.arange(text.n_context - 1, len(text.inputs))
    return torch.where(places < length, prefix_end - length + places, first + places - length)


def _padded(rows: Sequence[Tokens], length: int, *, side: str) -> tuple[Tensor, Tensor]:
    """[n, length] int64 ids, padded with zeros, and bool mask."""
    token_ids = torch.zeros(len(rows), length, dtype=torch.int64)
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    for number, row in enumerate(rows):
        places = slice(length - len(row), length) if side == "left" else slice(0, len(row))
        token_ids[number, places] = torch.tensor(row)
        mask[number, places] = True
    return token_ids, mask
