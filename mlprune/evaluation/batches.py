"""Which candidate texts are scored together: shared beginnings computed once, little padding, few small batches.

The candidates of an example mostly begin alike, and examples may share a premise. A batch computes each distinct prefix
once and lets the rest of every text, its suffix, read on from it. All prefixes of a batch have one length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mlprune.errors import TaskFileError
from mlprune.models.shard import ScoringBatch

BATCH_COST = 300
"""What one more batch costs, in tokens: launching its operations takes as long as computing about this many."""

Tokens = Sequence[int]
Candidates = Sequence[Tokens]


@dataclass(frozen=True)
class PlannedBatch:
    """A batch, and whose text each of its rows is."""

    batch: ScoringBatch
    rows: tuple[tuple[int, int], ...]
    """(example, candidate) of each row."""

    @property
    def n_computed(self) -> int:
        """Tokens that are computed, padding included: p * lp + n * ls."""
        return int(self.batch.prefix_ids.numel() + self.batch.suffix_ids.numel())


@dataclass(frozen=True)
class _Sizes:
    """What planning knows of each example."""

    shared: NDArray[np.int64]
    """[n] longest prefix all its candidates may be cut at."""
    longest: NDArray[np.int64]
    """[n] tokens of its longest candidate."""
    n_candidates: NDArray[np.int64]
    n_prefixes: NDArray[np.int64]
    """[n] distinct prefixes: 1, or more where not even the first token is shared."""


def plan_scoring(
    token_ids: Sequence[Candidates],
    *,
    batch_tokens: int,
    max_positions: int | None = None,
    example_ids: Sequence[str] | None = None,
) -> list[PlannedBatch]:
    """Cut the candidates of all examples into batches of whole examples.

    An example may be cut anywhere up to its shared prefix: the longest beginning common to its candidates that leaves
    each a token (the first token, where they differ from the start). A batch cuts all its examples at the shortest of
    their shared prefixes. Examples are ordered by their longest text (measured on XNLI and facts, that beat ordering by
    prefix and by suffix), and the order is divided into runs such that computed tokens + `BATCH_COST` per batch are as
    few as they can be.

    Args:
        token_ids: for each example and candidate its tokens, special ones included.
        batch_tokens: most computed tokens of a batch, p * lp + n * ls; a single example may exceed it.
        max_positions: most tokens of a text, None if the model sets no bound.
        example_ids: names for the error message; without them examples are numbered.
    Returns: batches that hold every candidate once; the same for the same arguments.
    Raises:
        TaskFileError: a text has fewer than two tokens or more than `max_positions`.
    """
    names = example_ids or [str(number) for number in range(len(token_ids))]
    _check_lengths(token_ids, names=names, max_positions=max_positions)
    if not token_ids:
        return []
    sizes = _sizes(token_ids)
    order = _order(token_ids, sizes)
    runs = [order[start:end] for start, end in _cheapest_runs(token_ids, sizes, order=order, batch_tokens=batch_tokens)]
    return [_batch(token_ids, run, length=int(sizes.shared[run].min())) for run in runs]


def _check_lengths(token_ids: Sequence[Candidates], *, names: Sequence[str], max_positions: int | None) -> None:
    for name, candidates in zip(names, token_ids, strict=True):
        for index, tokens in enumerate(candidates):
            if len(tokens) < 2:
                message, expected = "a text is too short to score", "at least 2 tokens"
            elif max_positions is not None and len(tokens) > max_positions:
                message, expected = "a text is longer than the model's positions", f"at most {max_positions} tokens"
            else:
                continue
            raise TaskFileError(message, example=name, candidate=index, expected=expected, got=len(tokens))


def _sizes(token_ids: Sequence[Candidates]) -> _Sizes:
    shared = [max(1, _common_length(candidates)) for candidates in token_ids]
    prefixes = [
        len({tuple(tokens[:length]) for tokens in candidates})
        for candidates, length in zip(token_ids, shared, strict=True)
    ]
    return _Sizes(
        shared=np.array(shared, dtype=np.int64),
        longest=np.array([max(map(len, candidates)) for candidates in token_ids], dtype=np.int64),
        n_candidates=np.array([len(candidates) for candidates in token_ids], dtype=np.int64),
        n_prefixes=np.array(prefixes, dtype=np.int64),
    )


def _common_length(candidates: Candidates) -> int:
    """Length of the longest common beginning that leaves every candidate at least one token."""
    bound = min(map(len, candidates)) - 1
    first = candidates[0]
    for place in range(bound):
        if any(tokens[place] != first[place] for tokens in candidates[1:]):
            return place
    return bound


def _prefix(token_ids: Sequence[Candidates], sizes: _Sizes, example: int) -> tuple[int, ...]:
    return tuple(token_ids[example][0][: int(sizes.shared[example])])


def _order(token_ids: Sequence[Candidates], sizes: _Sizes) -> NDArray[np.int64]:
    """Examples by their longest text, those of equal prefix staying together."""
    prefixes = [_prefix(token_ids, sizes, example) for example in range(len(token_ids))]
    longest_of: dict[tuple[int, ...], int] = {}
    for prefix, longest in zip(prefixes, sizes.longest.tolist(), strict=True):
        longest_of[prefix] = max(longest, longest_of.get(prefix, 0))

    def key(example: int) -> tuple[int, int, tuple[int, ...], int, int]:
        prefix = prefixes[example]
        return longest_of[prefix], len(prefix), prefix, int(sizes.longest[example]), example

    return np.array(sorted(range(len(token_ids)), key=key), dtype=np.int64)


def _cheapest_runs(
    token_ids: Sequence[Candidates], sizes: _Sizes, *, order: NDArray[np.int64], batch_tokens: int
) -> list[tuple[int, int]]:
    """Divide an order into runs of least cost, by dynamic programming over the last run of each beginning.

    A run from i to j computes P * C + R * (M - C) tokens: P prefixes, R rows, C the shortest shared prefix, M the
    longest text. That grows with every example added, so the first i a run to j can start at never moves back.
    """
    n = order.size
    shared, longest = sizes.shared[order], sizes.longest[order]
    own_prefixes = sizes.n_prefixes[order]
    rows_before = np.concatenate([[0], np.cumsum(sizes.n_candidates[order])])
    prefixes = [_prefix(token_ids, sizes, int(example)) for example in order]
    repeats = np.array([k > 0 and own_prefixes[k] == 1 and prefixes[k] == prefixes[k - 1] for k in range(n)])
    added_before = np.concatenate([[0], np.cumsum(np.where(repeats, 0, own_prefixes))])
    cut, text = np.full(n, np.iinfo(np.int64).max), np.zeros(n, dtype=np.int64)
    best, came_from = np.zeros(n + 1, dtype=np.int64), np.zeros(n + 1, dtype=np.int64)
    first = 0
    for last in range(n):
        starts = slice(first, last + 1)
        cut[starts], text[starts] = np.minimum(cut[starts], shared[last]), np.maximum(text[starts], longest[last])
        n_rows = rows_before[last + 1] - rows_before[starts]
        n_prefixes = own_prefixes[starts] + added_before[last + 1] - added_before[first + 1 : last + 2]
        tokens = n_prefixes * cut[starts] + n_rows * (text[starts] - cut[starts])
        allowed = tokens <= batch_tokens
        allowed[-1] = True
        skipped = int(np.argmax(allowed))
        costs = (best[starts] + tokens + BATCH_COST)[skipped:]
        first += skipped
        came_from[last + 1] = first + int(np.argmin(costs))
        best[last + 1] = costs.min()
    return _runs(came_from)


def _runs(came_from: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The runs, first to last, from where each one's end came from."""
    runs = []
    end = came_from.size - 1
    while end > 0:
        start = int(came_from[end])
        runs.append((start, end))
        end = start
    return runs[::-1]


def _batch(token_ids: Sequence[Candidates], examples: NDArray[np.int64], *, length: int) -> PlannedBatch:
    """The examples as one batch whose prefixes have the given length."""
    rows = tuple((int(example), index) for example in examples for index in range(len(token_ids[int(example)])))
    places: dict[tuple[int, ...], int] = {}
    parent, suffixes = [], []
    for example, index in rows:
        tokens = token_ids[example][index]
        parent.append(places.setdefault(tuple(tokens[:length]), len(places)))
        suffixes.append(tokens[length:])
    suffix_ids = torch.zeros(len(rows), max(map(len, suffixes)), dtype=torch.int64)
    suffix_mask = torch.zeros(suffix_ids.shape, dtype=torch.bool)
    for row, suffix in enumerate(suffixes):
        suffix_ids[row, : len(suffix)] = torch.tensor(suffix, dtype=torch.int64)
        suffix_mask[row, : len(suffix)] = True
    batch = ScoringBatch(
        prefix_ids=torch.tensor(list(places), dtype=torch.int64),
        suffix_ids=suffix_ids,
        suffix_mask=suffix_mask,
        parent=torch.tensor(parent, dtype=torch.int64),
    )
    return PlannedBatch(batch, rows)
