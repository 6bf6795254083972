"""Predictions of choices, as stored and as read by metrics, and the rules that score them.

Scoring rules: the score of a candidate from its log-likelihoods.

A text has two parts: the context, which is equal for all candidates, and the candidate part, which is the candidate and
the text after it. (The candidate without that text would be incomplete: in XNLI's template it is the hypothesis.)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import PermanentError, ShapeError, TaskFileError
from mlprune.evaluation.tasks.items import ChoiceItem, ItemGroup, clusters_of
from mlprune.vocabulary import ProfileName, RuleName

Floats = NDArray[np.float64]
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
    "cluster": "string",
    "category": "string",
}
"""Columns of a predictions file of a task with candidates.

`log_likelihood` and `n_tokens` describe the whole text, the next two columns the candidate part.
`alone_log_likelihood` is NULL except under the rule `pmi`. `rank` is 1 for the candidates with the highest score under
the rule of the evaluation. `cluster` names the items that depend on each other; it is the example's id if there are
none. `category` is empty for items without one. Files of version 4 have neither of the two.
"""
_LIKELIHOODS: tuple[tuple[str, type], ...] = (
    ("log_likelihood", np.float64),
    ("n_tokens", np.int64),
    ("candidate_log_likelihood", np.float64),
    ("candidate_n_tokens", np.int64),
    ("alone_log_likelihood", np.float64),
)
"""Stored columns and their types, in the order of the fields of `Likelihoods`. NULL becomes NaN."""


@dataclass(frozen=True)
class Likelihoods:
    """Log-likelihoods of candidates, one row each, summed over scored tokens. A text's first token is never scored."""

    whole: Floats
    """[rows], log-likelihood of the whole text."""
    n_whole: NDArray[np.int64]
    """[rows], number of scored tokens of the whole text."""
    part: Floats
    """[rows], log-likelihood of the candidate part given the context."""
    n_part: NDArray[np.int64]
    """[rows], number of scored tokens of the candidate part."""
    alone: Floats
    """[rows], log-likelihood of the candidate part given only a start token; NaN if it was not computed."""

    def take(self, rows: NDArray[np.int64]) -> "Likelihoods":
        """Return the likelihoods of some rows, in the given order."""
        return Likelihoods(self.whole[rows], self.n_whole[rows], self.part[rows], self.n_part[rows], self.alone[rows])


@dataclass(frozen=True)
class Rule:
    """A scoring rule."""

    scores: Callable[[Likelihoods], Floats]
    """[rows], higher is better."""
    needs_alone: bool = False
    """Whether the rule reads `Likelihoods.alone`."""


RULES: Mapping[RuleName, Rule] = {
    "mean": Rule(lambda likelihoods: likelihoods.whole / likelihoods.n_whole),
    "candidate_mean": Rule(lambda likelihoods: likelihoods.part / likelihoods.n_part),
    "candidate_sum": Rule(lambda likelihoods: likelihoods.part),
    "pmi": Rule(lambda likelihoods: likelihoods.part - likelihoods.alone, needs_alone=True),
}
"""`mean` is the log-probability per scored token of the whole text. `candidate_mean` and `candidate_sum` are the mean
and the sum over the candidate part. `pmi` is this sum minus the log-likelihood of the same tokens without the context
(Holtzman et al., arXiv:2104.08315, with an empty context)."""


def rule_scores(rule: RuleName, likelihoods: Likelihoods, *, profile: ProfileName = "corrected") -> Floats:
    """Score all candidates under a rule.

    Profile `paper` is the published code's only score: the sum of the scored tokens divided by the number T of all
    tokens of the text, although its first token has no score. `mean` divides by T - 1.

    Raises:
        TaskFileError: the rule reads `alone`, which was not computed for these candidates.
    """
    if profile == "paper":
        return likelihoods.whole / (likelihoods.n_whole + 1)
    if RULES[rule].needs_alone and np.isnan(likelihoods.alone).any():
        expected = f"predictions of an evaluation with rule: {rule}"
        raise TaskFileError("these predictions lack the candidates' own scores", rule=rule, expected=expected, got=None)
    return RULES[rule].scores(likelihoods)


def ranks(scores: Floats, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """[rows] rank of each candidate in its item: 1 + the number of candidates with a higher score. Equal scores tie.

    Args:
        scores: [rows], item after item.
        starts: [n_items + 1]: the candidates of item i are rows starts[i] ... starts[i + 1] - 1.
    """
    item_ranks = np.empty(scores.size, dtype=np.int64)
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        item_scores = scores[start:end]
        n_lower_or_equal = np.searchsorted(np.sort(item_scores), item_scores, side="right")
        item_ranks[start:end] = 1 + item_scores.size - n_lower_or_equal
    return item_ranks


@dataclass(frozen=True)
class ItemScores:
    """Log-likelihoods of the candidates of all items, item after item."""

    starts: NDArray[np.int64]
    """[n_items + 1]: the candidates of item i are rows starts[i] ... starts[i + 1] - 1."""
    likelihoods: Likelihoods
    measures: Mapping[str, Floats] = field(default_factory=dict)
    """Name -> [rows] what else was measured, summed over the scored tokens of each whole text."""

    def of(self, item: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Log-likelihoods and scored tokens of the whole texts of one item's candidates."""
        rows = slice(int(self.starts[item]), int(self.starts[item + 1]))
        return self.likelihoods.whole[rows], self.likelihoods.n_whole[rows]

    def with_alone(self, alone: NDArray[np.float64]) -> "ItemScores":
        """Add [rows] log-likelihoods of the candidate parts given only a start token."""
        return replace(self, likelihoods=replace(self.likelihoods, alone=alone))


@dataclass(frozen=True)
class Predictions:
    """Scored candidates and the right ones: the input of metrics."""

    example_ids: tuple[str, ...]
    starts: NDArray[np.int64]
    """[n_items + 1], as in `ItemScores`."""
    gold: NDArray[np.int64]
    """[n_items] index of each item's right candidate."""
    candidates: tuple[str, ...]
    """[rows] the candidates as they are in the task file."""
    likelihoods: Likelihoods
    rule: RuleName = "mean"
    profile: ProfileName = "corrected"
    clusters: tuple[str, ...] = ()
    """[n_items] name of each item's cluster; the ids of the examples if left out."""
    categories: tuple[str, ...] = ()
    """[n_items] category of each item, empty for none; all empty if left out."""
    measures: Mapping[str, Floats] = field(default_factory=dict)
    """Name -> [rows] what else was measured of the candidates, as in `ItemScores`; further columns of the file."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "clusters", self.clusters or self.example_ids)
        object.__setattr__(self, "categories", self.categories or ("",) * len(self.example_ids))

    @classmethod
    def from_scores(cls, items: Sequence[ChoiceItem], scores: ItemScores, *, rule: RuleName = "mean") -> "Predictions":
        """Build predictions from the scores of a model."""
        gold = np.array([item.gold for item in items], dtype=np.int64)
        candidates = tuple(candidate for item in items for candidate in item.candidates)
        return cls(
            tuple(item.example_id for item in items),
            scores.starts,
            gold,
            candidates,
            scores.likelihoods,
            rule,
            clusters=clusters_of(items),
            categories=tuple(item.category for item in items),
            measures=scores.measures,
        )

    @classmethod
    def from_columns(
        cls, columns: Mapping[str, Sequence[object]], *, rule: RuleName = "mean", profile: ProfileName = "corrected"
    ) -> "Predictions":
        """Build predictions from stored rows, given as columns in their stored order.

        Raises:
            ShapeError: the candidates of an example are not adjacent and in order, or not exactly one is right.
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
            likelihoods=Likelihoods(
                *(np.asarray(columns[name], dtype=kind) for name, kind in _LIKELIHOODS),
            ),
            rule=rule,
            profile=profile,
            clusters=tuple(str(columns["cluster"][row]) for row in firsts.tolist()) if "cluster" in columns else (),
            categories=tuple(str(columns["category"][row]) for row in firsts.tolist()) if "category" in columns else (),
            measures={
                name: np.asarray(values, dtype=np.float64)
                for name, values in columns.items()
                if name not in CHOICE_SCHEMA
            },
        )

    @property
    def schema(self) -> dict[str, str]:
        """The columns to store and their types."""
        return {**CHOICE_SCHEMA, **dict.fromkeys(self.measures, "double")}

    def columns(self) -> dict[str, Sequence[object]]:
        """The rows to store, one per candidate and in file order; see `CHOICE_SCHEMA`."""
        sizes = np.diff(self.starts)
        index = np.arange(int(self.starts[-1])) - np.repeat(self.starts[:-1], sizes)
        likelihoods = self.likelihoods
        per_item = {"example_id": self.example_ids, "cluster": self.clusters, "category": self.categories}
        repeated = {
            key: [value for value, size in zip(values, sizes.tolist(), strict=True) for _ in range(size)]
            for key, values in per_item.items()
        }
        alone = [None if np.isnan(value) else value for value in likelihoods.alone.tolist()]
        return {
            "example_id": repeated["example_id"],
            "candidate_index": index.tolist(),
            "candidate": list(self.candidates),
            "is_gold": (index == np.repeat(self.gold, sizes)).tolist(),
            "log_likelihood": likelihoods.whole.tolist(),
            "n_tokens": likelihoods.n_whole.tolist(),
            "candidate_log_likelihood": likelihoods.part.tolist(),
            "candidate_n_tokens": likelihoods.n_part.tolist(),
            "alone_log_likelihood": alone,
            "rank": ranks(self.scores, self.starts).tolist(),
            "cluster": repeated["cluster"],
            "category": repeated["category"],
            **{name: values.tolist() for name, values in self.measures.items()},
        }

    def with_rule(self, rule: RuleName, *, profile: ProfileName = "corrected") -> "Predictions":
        """Return the same candidates under another rule, without log-likelihoods that this rule does not read."""
        if rule == "pmi":
            return replace(self, rule=rule, profile=profile)
        without_alone = replace(self.likelihoods, alone=np.full(self.likelihoods.whole.size, np.nan))
        return replace(self, rule=rule, profile=profile, likelihoods=without_alone)

    def select(self, example_ids: frozenset[str]) -> "Predictions":
        """Return the items with the given ids, in their order."""
        items = [index for index, name in enumerate(self.example_ids) if name in example_ids]
        sizes = np.diff(self.starts)[items]
        firsts = self.starts[:-1][items]
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        rows = np.repeat(firsts - starts[:-1], sizes) + np.arange(int(starts[-1]))
        return Predictions(
            tuple(self.example_ids[index] for index in items),
            starts,
            self.gold[items],
            tuple(self.candidates[row] for row in rows.tolist()),
            self.likelihoods.take(rows),
            self.rule,
            self.profile,
            tuple(self.clusters[index] for index in items),
            tuple(self.categories[index] for index in items),
            {name: values[rows] for name, values in self.measures.items()},
        )

    def with_groups(self, groups: Mapping[str, ItemGroup]) -> "Predictions":
        """Return the same predictions with other clusters and categories.

        Args:
            groups: example id -> its group, for every example; a cluster that is empty is the example's own.
        """
        clusters = tuple(groups[name].cluster or name for name in self.example_ids)
        return replace(self, clusters=clusters, categories=tuple(groups[name].category for name in self.example_ids))

    def measured(self, name: str) -> Floats:
        """Return [n_items] a measure of each item, or its scored tokens (`n_tokens`), summed over its candidates."""
        values = self.likelihoods.n_whole.astype(np.float64) if name == "n_tokens" else self.measures[name]
        return np.add.reduceat(values, self.starts[:-1])

    @cached_property
    def item_keys(self) -> tuple[tuple[str, int], ...]:
        """[n_items] id and index of the right candidate: the same id with another answer is another item."""
        return tuple(zip(self.example_ids, self.gold.tolist(), strict=True))

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """[rows] scores of the candidates under the rule.

        Raises:
            PermanentError: a score is not a number.
        """
        scores = rule_scores(self.rule, self.likelihoods, profile=self.profile)
        if np.isnan(scores).any():
            raise PermanentError("a candidate's score is not a number", n_wrong=int(np.isnan(scores).sum()))
        return scores

    def item_scores(self) -> list[NDArray[np.float64]]:
        """Scores of the candidates under the rule, for each item."""
        return np.split(self.scores, self.starts[1:-1])

    @cached_property
    def score_matrix(self) -> NDArray[np.float64]:
        """[n_items, most candidates] scores under the rule; NaN for candidates that an item does not have.

        Raises:
            PermanentError: a score is not a number.
        """
        return matrix_of(self.scores, self.starts)


def matrix_of(values: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the [rows] values of candidates as [n_items, most candidates]; NaN where an item has fewer candidates."""
    sizes = np.diff(starts)
    matrix = np.full((sizes.size, int(sizes.max(initial=0))), np.nan)
    matrix[np.arange(matrix.shape[1]) < sizes[:, None]] = values
    return matrix
