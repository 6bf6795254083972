"""Batches of texts: shared prefixes, groups of similar length, and their costs.

Costs and bounds that decide how texts form batches and groups, for each kind of device.

They are part of what determines a result: a batch of another shape can differ in the last bits. Ids contain the kind
of device, so these constants change only together with ids.

Shared prefixes of texts: a prefix that several texts share is run once.

The texts form a prefix tree. Each text is split into a prefix that others may share and a continuation, such that few
tokens are run: at every node of the tree, from the leaves up, texts share its prefix if that costs less. (Of 3,000
small sets of texts, 3 had a better split, by one token.) Candidates thus share their question, questions share their
few-shot examples, and equal texts are run once. The result does not depend on the order of the texts.

Batches of texts: prefixes of similar length, followed by their continuations.

Batches depend only on the texts, on `batch_tokens` and on the kind of device, so every worker computes the same bits.

Some models cannot continue a prefix: their batches are whole texts, of which one that begins another is not run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlprune.errors import BadInputError
from mlprune.models.messages import Continuations, ScoringBatch
from mlprune.vocabulary import DeviceName, LongerName

KEYS_PER_TOKEN = 8
"""Most tokens to which the rows of a group attend, per token of `batch_tokens`."""
Tokens = tuple[int, ...]


@dataclass(frozen=True)
class TextLimits:
    """What texts and their batches have to fit."""

    batch_tokens: int
    """Most tokens of a batch, padding and new tokens included; a single prompt may exceed it."""
    max_positions: int | None
    """Positions of the model; None if it has no bound."""
    longer: LongerName = "refuse"
    """What happens to a text that does not fit the model: it is refused or left out, or its start is cut off."""
    max_new_tokens: int = 64
    """Most tokens that the model writes after a prompt."""
    device: DeviceName = "cpu"
    """Kind of device that computes."""
    whole_texts: bool = False
    """Whether texts share no prefixes; see `Architecture.runs_whole_texts`."""


@dataclass(frozen=True)
class Grouping:
    """Costs in tokens: the padding that may be computed to save one group or batch."""

    group_cost: int
    """Cost of one more group: every block launches its operations, and small products are slow."""
    batch_cost: int
    """Cost of one more batch: all weights are read again."""
    max_group_tokens: int
    """Most tokens of a group, so that its activations stay small."""
    max_group_keys: int
    """Most tokens to which the rows of a group attend, including themselves: each row has its own keys and values."""

    def max_keys(self, batch_tokens: int) -> int:
        """Return the most tokens to which the rows of a group attend in batches of some size."""
        return min(self.max_group_keys, KEYS_PER_TOKEN * batch_tokens)


GROUPINGS: Mapping[DeviceName, Grouping] = {
    "cpu": Grouping(group_cost=48, batch_cost=256, max_group_tokens=1024, max_group_keys=8192),
    "cuda": Grouping(group_cost=128, batch_cost=512, max_group_tokens=4096, max_group_keys=65_536),
}
"""Kind of device -> its constants."""


@dataclass(frozen=True)
class ScoredText:
    """A text and its scored part.

    Raises:
        BadInputError: no token is scored, or the first one is, which nothing precedes.
    """

    tokens: Tokens
    n_context: int
    """Number of tokens at the start that are given and not scored, >= 1."""

    def __post_init__(self) -> None:
        if not 1 <= self.n_context < len(self.tokens):
            expected = f"1 to {len(self.tokens) - 1} tokens of context"
            raise BadInputError("nothing is scored, or nothing is given", expected=expected, got=self.n_context)

    @property
    def inputs(self) -> Tokens:
        """The tokens that run through the model: all but the last."""
        return self.tokens[:-1]


@dataclass(frozen=True)
class PrefixGroup:
    """Texts that share one prefix."""

    prefix: Tokens
    members: tuple[int, ...]
    """Indices of the texts."""
    continuation_lengths: tuple[int, ...]
    """Number of tokens that each member runs after the prefix."""


@dataclass(frozen=True)
class _Part:
    """Texts that share one prefix in a partial solution."""

    depth: int
    """Length of the prefix."""
    texts: tuple[int, ...]
    n_tokens: int
    """Inputs of all texts."""

    def cost(self, depth: int = 0) -> int:
        """Number of tokens run for the texts: prefix and continuations, or what follows another prefix of `depth`."""
        if depth:
            return self.n_tokens - len(self.texts) * depth
        return self.depth + self.cost(self.depth)


def shared_prefixes(texts: Sequence[ScoredText]) -> list[PrefixGroup]:
    """Group all texts by the prefixes that they share, short prefixes first. Equal texts give equal groups."""
    order = sorted(range(len(texts)), key=lambda index: (texts[index].inputs, texts[index].tokens, index))
    groups = [_group(texts, part.texts, length=part.depth) for part in _parts(texts, order)]
    return sorted(groups, key=lambda group: (len(group.prefix), group.prefix, group.members))


def _parts(texts: Sequence[ScoredText], order: Sequence[int]) -> list[_Part]:
    """Divide texts in alphabetical order such that few tokens are run.

    The prefix tree is walked from its leaves: a node is closed when the next text does not begin with its prefix.
    """
    waiting: list[tuple[int, list[_Part]]] = []
    done: list[_Part] = []
    for index, text in enumerate(order):
        inputs = texts[text].inputs
        shared = _common_length(inputs, texts[order[index + 1]].inputs) if index + 1 < len(order) else 0
        done = [_Part(len(inputs), (text,), len(inputs))]
        while waiting and waiting[-1][0] > shared:
            depth, parts = waiting.pop()
            done = _closed(depth, [*parts, *done])
        if not waiting or waiting[-1][0] < shared:
            waiting.append((shared, []))
        waiting[-1][1].extend(done)
    return waiting[0][1] if waiting else []


def _closed(depth: int, parts: list[_Part]) -> list[_Part]:
    """Let parts share the prefix of a node if that saves more tokens than the prefix costs."""
    joined = [part for part in parts if part.cost(depth) < part.cost()]
    if sum(part.cost() - part.cost(depth) for part in joined) <= depth:
        return parts
    together = tuple(text for part in joined for text in part.texts)
    alone = [part for part in parts if part.cost(depth) >= part.cost()]
    return [_Part(depth, together, sum(part.n_tokens for part in joined)), *alone]


def _common_length(first: Tokens, second: Tokens) -> int:
    bound = min(len(first), len(second))
    if first[:bound] == second[:bound]:
        return bound
    return next(index for index in range(bound) if first[index] != second[index])


def _group(texts: Sequence[ScoredText], members: Sequence[int], *, length: int) -> PrefixGroup:
    """Sort the members by falling length, so that the parts of a divided group have little padding."""
    ordered = sorted(members, key=lambda text: (-len(texts[text].inputs), text))
    lengths = tuple(len(texts[text].inputs) - length for text in ordered)
    return PrefixGroup(texts[ordered[0]].inputs[:length], tuple(ordered), lengths)


@dataclass(frozen=True)
class TextBatch:
    """A batch and the texts that it scores."""

    batch: ScoringBatch
    texts: tuple[int, ...]
    starts: NDArray[np.int64]
    """[n_texts], ascending from 0: index of each text's first target in the batch."""


def _whole_texts(texts: Sequence[ScoredText]) -> list[PrefixGroup]:
    """Return texts as prefixes without continuations, short ones first. The beginning of another text is part of it."""
    groups: list[list[int]] = []
    for index in sorted(range(len(texts)), key=lambda index: texts[index].inputs, reverse=True):
        inputs = texts[index].inputs
        if groups and texts[groups[-1][0]].inputs[: len(inputs)] == inputs:
            groups[-1].append(index)
        else:
            groups.append([index])
    whole = [PrefixGroup(texts[group[0]].inputs, tuple(group), (0,) * len(group)) for group in groups]
    return sorted(whole, key=lambda group: (len(group.prefix), group.prefix))


def plan_texts(
    texts: Sequence[ScoredText], *, batch_tokens: int, device: DeviceName = "cpu", whole_texts: bool = False
) -> list[TextBatch]:
    """Split texts into shared prefixes and continuations, and group these into batches.

    Args:
        batch_tokens: most tokens of a batch, padding included. A prefix longer than half of it gets its own batch,
            with at most as many tokens of continuations as it is long.
        device: kind of device that computes the batches.
        whole_texts: run whole texts, padded on the right; see `Architecture.runs_whole_texts`.
    Returns: batches that score every text once. Equal texts give equal batches.
    """
    limits = _Limits(batch_tokens, GROUPINGS[device], "right" if whole_texts else "left")
    groups = _whole_texts(texts) if whole_texts else shared_prefixes(texts)
    return [_batch(texts, batch, limits) for batch in _filled(groups, limits)]


@dataclass(frozen=True)
class _Limits:
    """Bounds of a batch and its groups, and the side on which its prefixes are padded."""

    batch_tokens: int
    grouping: Grouping
    prefix_padding: Literal["left", "right"]

    def rows_per_group(self, lengths: NDArray[np.int64], *, n_before: int) -> NDArray[np.int64]:
        """Return the most rows of a group whose longest row has each length, after a prefix of `n_before` tokens."""
        max_keys = self.grouping.max_keys(self.batch_tokens)
        rows = np.minimum(self.grouping.max_group_tokens // lengths, max_keys // (n_before + lengths))
        return np.maximum(1, rows)


def _filled(groups: Sequence[PrefixGroup], limits: _Limits) -> Iterator[list[PrefixGroup]]:
    """Fill batches with prefix groups in order; large groups are divided."""
    batch: list[PrefixGroup] = []
    for group in (part for whole in groups for part in _divided(whole, limits.batch_tokens)):
        if batch and not _fits([*batch, group], limits):
            yield batch
            batch = []
        batch.append(group)
    if batch:
        yield batch


def _fits(groups: Sequence[PrefixGroup], limits: _Limits) -> bool:
    """Whether prefix groups, the one with the longest prefix last, fit into one batch."""
    n_before = len(groups[-1].prefix)
    n_prefix = len(groups) * n_before
    if n_prefix - sum(len(group.prefix) for group in groups) > limits.grouping.batch_cost:
        return False
    lengths = sorted(length for group in groups for length in group.continuation_lengths)
    if n_prefix + len(lengths) * lengths[-1] <= limits.batch_tokens:
        return True
    if n_prefix + sum(lengths) > limits.batch_tokens:
        return False
    bounds = _group_bounds(lengths, limits, n_before=n_before)
    return n_prefix + sum((end - start) * lengths[end - 1] for start, end in bounds) <= limits.batch_tokens


def _divided(group: PrefixGroup, batch_tokens: int) -> Iterator[PrefixGroup]:
    """Divide a prefix group into parts that each fit into a batch, with the padding of their continuations."""
    room = max(batch_tokens - len(group.prefix), len(group.prefix))
    first = 0
    for index in range(1, len(group.members)):
        if (index + 1 - first) * group.continuation_lengths[first] > room:
            yield _part(group, slice(first, index))
            first = index
    yield _part(group, slice(first, None))


def _part(group: PrefixGroup, members: slice) -> PrefixGroup:
    return PrefixGroup(group.prefix, group.members[members], group.continuation_lengths[members])


def _batch(texts: Sequence[ScoredText], groups: Sequence[PrefixGroup], limits: _Limits) -> TextBatch:
    """Build one batch of some prefix groups, with the texts in ascending order."""
    longest = max(len(group.prefix) for group in groups)
    prefix_ids, prefix_mask = _padded([group.prefix for group in groups], longest, side=limits.prefix_padding)
    rows = sorted(
        (length, row, text)
        for row, group in enumerate(groups)
        for text, length in zip(group.members, group.continuation_lengths, strict=True)
    )
    offset = prefix_ids.numel()
    continuation_of = {text: (0, 0) for _, _, text in rows}
    continuations = []
    for start, end in _group_bounds([length for length, _, _ in rows], limits, n_before=longest):
        members = rows[start:end]
        longest_continuation = members[-1][0]
        inputs = [texts[text].inputs[-length:] for length, _, text in members]
        token_ids, mask = _padded(inputs, longest_continuation, side="right")
        continuations.append(Continuations(token_ids, mask, torch.tensor([row for _, row, _ in members])))
        for index, (length, _, text) in enumerate(members):
            continuation_of[text] = (offset + index * longest_continuation, length)
        offset += token_ids.numel()
    prefix_ends = {
        text: (row + 1) * longest if limits.prefix_padding == "left" else row * longest + len(texts[text].inputs)
        for _, row, text in rows
    }
    order = tuple(sorted(continuation_of))
    states = [_states(texts[text], prefix_end=prefix_ends[text], continuation=continuation_of[text]) for text in order]
    targets = [torch.tensor(texts[text].tokens[texts[text].n_context :]) for text in order]
    starts = np.cumsum([0, *(len(indices) for indices in states[:-1])]).astype(np.int64)
    batch = ScoringBatch(prefix_ids, prefix_mask, tuple(continuations), torch.cat(states), torch.cat(targets))
    return TextBatch(batch, order, starts)


def _group_bounds(lengths: Sequence[int], limits: _Limits, *, n_before: int) -> list[tuple[int, int]]:
    """Divide rows of ascending length into groups such that padding and the cost of groups are minimal.

    Rows of length 0 are left out.

    Args:
        n_before: tokens of the prefix, to which every row attends. A single row may exceed the bound of keys.
    """
    values, n_each = np.unique(np.array(lengths, dtype=np.int64), return_counts=True)
    first = int(n_each[values == 0].sum())
    values, ends = values[values > 0], np.cumsum(np.concatenate([[0], n_each[values > 0]]))
    most, group_cost = limits.rows_per_group(values, n_before=n_before), limits.grouping.group_cost
    best, came_from = np.zeros(values.size + 1, dtype=np.int64), np.zeros(values.size + 1, dtype=np.int64)
    for end in range(1, values.size + 1):
        n_rows = ends[end] - ends[:end]
        costs = best[:end] + n_rows * values[end - 1] + group_cost * -(-n_rows // most[end - 1])
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


def _states(text: ScoredText, *, prefix_end: int, continuation: tuple[int, int]) -> Tensor:
    """[k] int64: indices in the batch of the states that predict the scored tokens of a text.

    Args:
        prefix_end: index after the last state of the prefix that the text reads.
        continuation: index of the first state after the prefix, and the number of these states.
    """
    first, n_continuation = continuation
    length = len(text.inputs) - n_continuation
    positions = torch.arange(text.n_context - 1, len(text.inputs))
    return torch.where(positions < length, prefix_end - length + positions, first + positions - length)


def _padded(rows: Sequence[Tokens], length: int, *, side: str) -> tuple[Tensor, Tensor]:
    """[n, length] int64 ids, padded with zeros, and bool mask."""
    token_ids = torch.zeros(len(rows), length, dtype=torch.int64)
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    for number, row in enumerate(rows):
        positions = slice(length - len(row), length) if side == "left" else slice(0, len(row))
        token_ids[number, positions] = torch.tensor(row)
        mask[number, positions] = True
    return token_ids, mask
