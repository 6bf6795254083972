"""Predictions of choices: what a model said of every candidate, as it is stored and as metrics read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import PermanentError, ShapeError
from mlprune.evaluation.scoring.rules import Likelihoods, ranks, rule_scores
from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.vocabulary import RuleName

CHOICE_SCHEMA = {
    "example_id": "string",
    "candidate_index": "int32",
    "candidate": "string",
    "is_gold": "bool",
    "log_likelihood": "double",
    "n_tokens": "int64",
    "candidate_log_likelihood": "double",
    "candidate_n_tokens": "int64",
    "alone_log_likelihood": "double",
    "rank": "int64",
}
"""Columns of a predictions file of a task with candidates.

`log_likelihood` and `n_tokens` are of the whole text, the next two of the candidate part, `alone_log_likelihood` is
NULL but under the rule `pmi`, and `rank` is 1 for the candidates with the highest score under the evaluation's rule.
"""


@dataclass(frozen=True)
class ItemScores:
    """What a model makes of the candidates of all items, item after item."""

    starts: NDArray[np.int64]
    """[n_items + 1]: the candidates of item i are rows starts[i] ... starts[i + 1] - 1."""
    found: Likelihoods

    def of(self, item: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Log-likelihoods and scored tokens of the whole texts of one item's candidates."""
        rows = slice(int(self.starts[item]), int(self.starts[item + 1]))
        return self.found.whole[rows], self.found.n_whole[rows]

    def with_alone(self, alone: NDArray[np.float64]) -> "ItemScores":
        """The same, knowing also [rows] log-likelihoods of the candidate parts behind nothing but a start token."""
        return replace(self, found=replace(self.found, alone=alone))


@dataclass(frozen=True)
class Predictions:
    """Scored candidates with their gold: what metrics are computed on."""

    example_ids: tuple[str, ...]
    starts: NDArray[np.int64]
    """[n_items + 1], as in `ItemScores`."""
    gold: NDArray[np.int64]
    """[n_items] index of the right candidate."""
    candidates: tuple[str, ...]
    """[rows] the candidates as the file writes them."""
    found: Likelihoods
    rule: RuleName = "mean"

    @classmethod
    def from_scores(cls, items: Sequence[ChoiceItem], scores: ItemScores, *, rule: RuleName = "mean") -> "Predictions":
        """Of a model just run."""
        gold = np.array([item.gold for item in items], dtype=np.int64)
        candidates = tuple(candidate for item in items for candidate in item.candidates)
        return cls(tuple(item.example_id for item in items), scores.starts, gold, candidates, scores.found, rule)

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[object]], *, rule: RuleName = "mean") -> "Predictions":
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
            candidates=tuple(map(str, columns["candidate"])),
            found=Likelihoods(
                *(np.asarray(columns[name], dtype=kind) for name, kind in _LIKELIHOODS),
            ),
            rule=rule,
        )

    def columns(self) -> dict[str, Sequence[object]]:
        """The stored rows: one a candidate, in file order; see `CHOICE_SCHEMA`."""
        sizes = np.diff(self.starts)
        index = np.arange(int(self.starts[-1])) - np.repeat(self.starts[:-1], sizes)
        found = self.found
        alone = [None if np.isnan(value) else value for value in found.alone.tolist()]
        return {
            "example_id": [name for name, size in zip(self.example_ids, sizes, strict=True) for _ in range(size)],
            "candidate_index": index.tolist(),
            "candidate": list(self.candidates),
            "is_gold": (index == np.repeat(self.gold, sizes)).tolist(),
            "log_likelihood": found.whole.tolist(),
            "n_tokens": found.n_whole.tolist(),
            "candidate_log_likelihood": found.part.tolist(),
            "candidate_n_tokens": found.n_part.tolist(),
            "alone_log_likelihood": alone,
            "rank": ranks(self.scores, self.starts).tolist(),
        }

    def under(self, rule: RuleName) -> "Predictions":
        """The same candidates, scored by another rule; what that rule does not read is forgotten."""
        found = self.found if rule == "pmi" else replace(self.found, alone=np.full(self.found.whole.size, np.nan))
        return replace(self, rule=rule, found=found)

    def only(self, example_ids: frozenset[str]) -> "Predictions":
        """The items of these ids, in their order."""
        items = [place for place, name in enumerate(self.example_ids) if name in example_ids]
        sizes = np.diff(self.starts)[items]
        firsts = self.starts[:-1][items]
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        rows = np.repeat(firsts - starts[:-1], sizes) + np.arange(int(starts[-1]))
        return Predictions(
            tuple(self.example_ids[place] for place in items),
            starts,
            self.gold[items],
            tuple(self.candidates[row] for row in rows.tolist()),
            self.found.take(rows),
            self.rule,
        )

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """[rows] scores of the candidates under the rule.

        Raises:
            PermanentError: a score is not a number.
        """
        scores = rule_scores(self.rule, self.found)
        if np.isnan(scores).any():
            raise PermanentError("a candidate's score is not a number", n_wrong=int(np.isnan(scores).sum()))
        return scores

    def item_scores(self) -> list[NDArray[np.float64]]:
        """For each item the scores of its candidates under the rule."""
        return np.split(self.scores, self.starts[1:-1])

    @cached_property
    def score_matrix(self) -> NDArray[np.float64]:
        """[n_items, most candidates] scores under the rule, NaN where an item has fewer candidates.

        Raises:
            PermanentError: a score is not a number.
        """
        sizes = np.diff(self.starts)
        matrix = np.full((sizes.size, int(sizes.max(initial=0))), np.nan)
        matrix[np.arange(matrix.shape[1]) < sizes[:, None]] = self.scores
        return matrix


_LIKELIHOODS: tuple[tuple[str, type], ...] = (
    ("log_likelihood", np.float64),
    ("n_tokens", np.int64),
    ("candidate_log_likelihood", np.float64),
    ("candidate_n_tokens", np.int64),
    ("alone_log_likelihood", np.float64),
)
"""Stored columns in the order of the fields of `Likelihoods`; NULL becomes NaN."""
