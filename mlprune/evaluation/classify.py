"""Scores of candidates: from items to batches once, then from batches to log-likelihoods for every variant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import PermanentError, ShapeError
from mlprune.evaluation.batches import PlannedBatch, plan_scoring
from mlprune.evaluation.tasks import ChoiceItem
from mlprune.models.chain import Chain


@dataclass(frozen=True)
class PreparedTask:
    """Items cut into batches: what every variant is run on."""

    items: tuple[ChoiceItem, ...]
    batches: tuple[PlannedBatch, ...]


@dataclass(frozen=True)
class ItemScores:
    """What a model makes of the candidates of all items, item after item."""

    starts: NDArray[np.int64]
    """[n_items + 1]: the candidates of item i are rows starts[i] ... starts[i + 1] - 1."""
    log_likelihoods: NDArray[np.float64]
    """[rows], sums over the scored tokens of each whole text."""
    n_tokens: NDArray[np.int64]
    """[rows], scored tokens: one less than the text has."""

    def of(self, item: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Log-likelihoods and scored tokens of one item's candidates."""
        rows = slice(int(self.starts[item]), int(self.starts[item + 1]))
        return self.log_likelihoods[rows], self.n_tokens[rows]


def prepare(
    tokenizer: Any, items: Sequence[ChoiceItem], *, batch_tokens: int, max_positions: int | None
) -> PreparedTask:
    """Tokenise the texts, each whole and with the tokenizer's default special tokens, and plan their batches.

    Raises:
        TaskFileError: a text has fewer than two tokens or more than `max_positions`.
    """
    texts = [text for item in items for text in item.texts]
    encoded = iter(tokenizer(texts, truncation=False, verbose=False)["input_ids"] if texts else ())
    token_ids = [[next(encoded) for _ in item.texts] for item in items]
    plan = plan_scoring(
        token_ids,
        batch_tokens=batch_tokens,
        max_positions=max_positions,
        example_ids=[item.example_id for item in items],
    )
    return PreparedTask(tuple(items), tuple(plan))


def run(chain: Chain, prepared: PreparedTask) -> ItemScores:
    """Score all candidates with the model as the chain holds it now."""
    starts = _starts(len(item.texts) for item in prepared.items)
    log_likelihoods = np.full(int(starts[-1]), np.nan)
    n_tokens = np.zeros(int(starts[-1]), dtype=np.int64)
    scores = chain.stream("score", (planned.batch for planned in prepared.batches))
    for planned, scored in zip(prepared.batches, scores, strict=True):
        places = [int(starts[example]) + candidate for example, candidate in planned.rows]
        log_likelihoods[places] = scored.log_likelihoods.numpy()
        n_tokens[places] = scored.n_tokens.numpy()
    return ItemScores(starts, log_likelihoods, n_tokens)


def score_items(
    chain: Chain, tokenizer: Any, items: Sequence[ChoiceItem], *, batch_tokens: int, max_positions: int | None
) -> ItemScores:
    """`prepare` and `run` in one, for items that are scored once."""
    return run(chain, prepare(tokenizer, items, batch_tokens=batch_tokens, max_positions=max_positions))


def prediction_rows(items: Sequence[ChoiceItem], scores: ItemScores) -> list[dict[str, Any]]:
    """One row per candidate, in file order: what is stored of an evaluation."""
    rows = []
    for number, item in enumerate(items):
        log_likelihoods, n_tokens = scores.of(number)
        for index, candidate in enumerate(item.candidates):
            row = {
                "example_id": item.example_id,
                "candidate_index": index,
                "candidate": candidate,
                "is_gold": index == item.gold,
                "log_likelihood": float(log_likelihoods[index]),
                "n_tokens": int(n_tokens[index]),
            }
            rows.append(row)
    return rows


@dataclass(frozen=True)
class Predictions:
    """Scored candidates with their gold: what metrics are computed on."""

    example_ids: tuple[str, ...]
    starts: NDArray[np.int64]
    """[n_items + 1], as in `ItemScores`."""
    gold: NDArray[np.int64]
    """[n_items] index of the right candidate."""
    log_likelihoods: NDArray[np.float64]
    n_tokens: NDArray[np.int64]

    @classmethod
    def from_scores(cls, items: Sequence[ChoiceItem], scores: ItemScores) -> "Predictions":
        """Of a model just run."""
        gold = np.array([item.gold for item in items], dtype=np.int64)
        ids = tuple(item.example_id for item in items)
        return cls(ids, scores.starts, gold, scores.log_likelihoods, scores.n_tokens)

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[Any]]) -> "Predictions":
        """Of stored rows, given as columns in their stored order.

        Raises:
            ShapeError: an example's candidates do not stand together, in order, with one right one.
        """
        index = np.asarray(columns["candidate_index"], dtype=np.int64)
        firsts = np.flatnonzero(index == 0)
        starts = np.append(firsts, index.size).astype(np.int64)
        sizes = np.diff(starts)
        owner = np.repeat(np.arange(sizes.size), sizes)
        gold_rows = np.flatnonzero(np.asarray(columns["is_gold"], dtype=np.bool_))
        in_order = owner.size == index.size and np.array_equal(index, np.arange(index.size) - starts[owner])
        if not in_order or not np.array_equal(owner[gold_rows], np.arange(sizes.size)):
            raise ShapeError("stored candidates are out of order or have no single gold", rows=int(index.size))
        return cls(
            example_ids=tuple(str(columns["example_id"][row]) for row in firsts.tolist()),
            starts=starts,
            gold=index[gold_rows],
            log_likelihoods=np.asarray(columns["log_likelihood"], dtype=np.float64),
            n_tokens=np.asarray(columns["n_tokens"], dtype=np.int64),
        )

    def mean_scores(self) -> list[NDArray[np.float64]]:
        """For each item the scores of its candidates: log-likelihood per scored token."""
        return np.split(self.log_likelihoods / self.n_tokens, self.starts[1:-1])

    @cached_property
    def score_matrix(self) -> NDArray[np.float64]:
        """[n_items, most candidates] mean scores, NaN where an item has fewer candidates.

        Raises:
            PermanentError: a score is not a number.
        """
        scores = self.log_likelihoods / self.n_tokens
        if np.isnan(scores).any():
            raise PermanentError("a candidate's score is not a number", n_wrong=int(np.isnan(scores).sum()))
        sizes = np.diff(self.starts)
        matrix = np.full((sizes.size, int(sizes.max(initial=0))), np.nan)
        matrix[np.arange(matrix.shape[1]) < sizes[:, None]] = scores
        return matrix


def _starts(sizes: Any) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(list(sizes), dtype=np.int64)]).astype(np.int64)
