"""Which texts are scored together, and where they are cut: shared beginnings run once, and there is little padding.

Texts are looked at as a tree of beginnings. A text has two parts, a prefix that others may share and the rest; where to
cut is chosen such that the fewest tokens are run. So the candidates of a question share the question, questions behind
one few-shot head share the head, and equal texts are run once. Nothing here depends on the order of the texts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mlprune.errors import BadInputError
from mlprune.models.branches import BranchBatch, Continuations

GROUP_COST = 48
"""What one more group costs, in tokens: its operations are launched in every block."""

BATCH_COST = 256
"""What one more batch costs, in tokens: all weights are read once more."""

MAX_GROUP_TOKENS = 1024
"""Most tokens of a group: what it holds beside the model stays small."""

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class ScoredText:
    """A text and the part of it that is scored.

    Raises:
        BadInputError: nothing is scored, or the first token is: nothing precedes it.
    """

    tokens: Tokens
    n_context: int
    """Tokens at the beginning that are given and not scored, >= 1."""

    def __post_init__(self) -> None:
        if not 1 <= self.n_context < len(self.tokens):
            expected = f"1 to {len(self.tokens) - 1} tokens of context"
            raise BadInputError("nothing is scored, or nothing is given", expected=expected, got=self.n_context)

    @property
    def inputs(self) -> Tokens:
        """The tokens that are run: all but the last."""
        return self.tokens[:-1]


@dataclass(frozen=True)
class TextBatch:
    """A batch, and which texts it scores."""

    batch: BranchBatch
    texts: tuple[int, ...]


@dataclass(frozen=True)
class _Family:
    """Texts that are run behind one prefix."""

    prefix: Tokens
    members: tuple[int, ...]
    rest: tuple[int, ...]
    """Tokens that each member runs behind the prefix."""


@dataclass
class _Node:
    """Texts, adjacent in alphabetical order, with a common beginning."""

    depth: int
    n_texts: int = 0
    n_tokens: int = 0
    """Inputs of all of them."""
    cost: int = 0
    """Fewest tokens that are run for them."""
    runs: list[tuple[int, int, int]] = field(default_factory=list)
    """(first, behind last, length of the prefix) of those that share one."""

    def add(self, other: "_Node") -> None:
        """Take over the texts of a node that begins alike and is deeper."""
        self.n_texts += other.n_texts
        self.n_tokens += other.n_tokens
        self.cost += other.cost
        self.runs += other.runs

    def close(self) -> None:
        """Decide whether all share one prefix, or go on as they are."""
        together = self.depth + self.n_tokens - self.n_texts * self.depth
        if self.depth > 0 and together < self.cost:
            self.cost, self.runs = together, [(self.runs[0][0], self.runs[-1][1], self.depth)]


def plan_texts(texts: Sequence[ScoredText], *, batch_tokens: int) -> list[TextBatch]:
    """Cut texts into prefixes and the rest, and those into batches.

    Args:
        batch_tokens: about the most tokens that are run together, padding included; a prefix that is longer has a batch
            of its own, with as many tokens behind it as it has.
    Returns: batches that score every text once; the same for the same texts.
    """
    order = sorted(range(len(texts)), key=lambda place: (texts[place].inputs, texts[place].tokens, place))
    families = [_family(texts, [order[place] for place in range(a, b)], length=c) for a, b, c in _cuts(texts, order)]
    families.sort(key=lambda family: (len(family.prefix), family.prefix, family.members))
    return [_batch(texts, chosen) for chosen in _filled(families, batch_tokens)]


def _cuts(texts: Sequence[ScoredText], order: Sequence[int]) -> list[tuple[int, int, int]]:
    """Runs of the ordered texts with the length of the prefix they share: the cheapest division.

    The tree of common beginnings is walked from its leaves: a node is closed when the next text parts from it.
    """
    waiting: list[_Node] = []
    done = _Node(depth=0)
    for place, text in enumerate(order):
        inputs = texts[text].inputs
        shared = _common_length(inputs, texts[order[place + 1]].inputs) if place + 1 < len(order) else -1
        done = _Node(len(inputs), 1, len(inputs), len(inputs), [(place, place + 1, len(inputs))])
        while waiting and waiting[-1].depth > shared:
            node = waiting.pop()
            node.add(done)
            node.close()
            done = node
        if shared >= 0:
            if not waiting or waiting[-1].depth < shared:
                waiting.append(_Node(shared))
            waiting[-1].add(done)
    return done.runs


def _common_length(one: Tokens, other: Tokens) -> int:
    bound = min(len(one), len(other))
    if one[:bound] == other[:bound]:
        return bound
    return next(place for place in range(bound) if one[place] != other[place])


def _family(texts: Sequence[ScoredText], members: Sequence[int], *, length: int) -> _Family:
    """The members with the longest rest first, so that a family that is divided has parts of little padding."""
    ordered = sorted(members, key=lambda text: (-len(texts[text].inputs), text))
    rest = tuple(len(texts[text].inputs) - length for text in ordered)
    return _Family(texts[ordered[0]].inputs[:length], tuple(ordered), rest)


def _filled(families: Sequence[_Family], batch_tokens: int) -> Iterator[list[_Family]]:
    """Families that are run together, those of equal length beside each other; large ones are divided."""
    chosen: list[_Family] = []
    n_rest = 0
    for family in (part for whole in families for part in _divided(whole, batch_tokens)):
        n_own = sum(family.rest)
        padding = sum(len(family.prefix) - len(other.prefix) for other in chosen)
        n_tokens = (len(chosen) + 1) * len(family.prefix) + n_rest + n_own
        if chosen and (n_tokens > batch_tokens or padding > BATCH_COST):
            yield chosen
            chosen, n_rest = [], 0
        chosen.append(family)
        n_rest += n_own
    if chosen:
        yield chosen


def _divided(family: _Family, batch_tokens: int) -> Iterator[_Family]:
    """A family in parts that fit a batch each."""
    room = max(batch_tokens - len(family.prefix), len(family.prefix))
    first = n_tokens = 0
    for place, n_own in enumerate(family.rest):
        if place > first and n_tokens + n_own > room:
            yield _Family(family.prefix, family.members[first:place], family.rest[first:place])
            first, n_tokens = place, 0
        n_tokens += n_own
    yield _Family(family.prefix, family.members[first:], family.rest[first:])


def _batch(texts: Sequence[ScoredText], families: Sequence[_Family]) -> TextBatch:
    """Families as one batch, their texts in rising order."""
    longest = max(len(family.prefix) for family in families)
    prefix_ids, prefix_mask = _padded([family.prefix for family in families], longest, side="left")
    rows = sorted(
        (n_own, row, text)
        for row, family in enumerate(families)
        for text, n_own in zip(family.members, family.rest, strict=True)
    )
    offset = prefix_ids.numel()
    rest_of = {text: (0, 0) for _, _, text in rows}
    groups = []
    for start, end in _group_bounds([n_own for n_own, _, _ in rows]):
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
    batch = BranchBatch(prefix_ids, prefix_mask, tuple(groups), torch.cat(states), torch.cat(targets), starts)
    return TextBatch(batch, chosen)


def _group_bounds(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Divide rows of rising length, those of none left out, such that padding and the cost of groups are least."""
    first = sum(length == 0 for length in lengths)
    n = len(lengths) - first
    best, came_from = np.zeros(n + 1, dtype=np.int64), np.zeros(n + 1, dtype=np.int64)
    for end in range(1, n + 1):
        length = lengths[first + end - 1]
        earliest = max(0, end - max(1, MAX_GROUP_TOKENS // length))
        begins = np.arange(earliest, end)
        costs = best[begins] + (end - begins) * length + GROUP_COST
        came_from[end] = begins[int(np.argmin(costs))]
        best[end] = costs.min()
    bounds = []
    while n > 0:
        bounds.append((first + int(came_from[n]), first + n))
        n = int(came_from[n])
    return bounds[::-1]


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
