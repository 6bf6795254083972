"""Criteria and outcome of a choice: how candidates are compared, differences on test, overlap of splits, rows."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlprune.evaluation.inference.aggregates import Aggregate, aggregate
from mlprune.evaluation.inference.estimates import Difference, finite
from mlprune.evaluation.inference.language_sums import CandidateSums, LanguageGroup, language_sums
from mlprune.evaluation.inference.methods import compare
from mlprune.evaluation.task_metrics import Metric
from mlprune.json_values import JsonValue, Row
from mlprune.languages import ENGLISH
from mlprune.numeric.arrays import Array
from mlprune.numeric.evaluation.choice import best_candidate, keeps_both, n_tied, pareto_front, win_shares
from mlprune.steps.evaluate.results import StoredPredictions, on_shared_items, predictions_of
from mlprune.steps.job import RecordKey
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.tasks.stored_items import items_identity
from mlprune.store.store import Store

Evaluations = Mapping[str, EvaluationSpec]
"""Language -> evaluation of one candidate."""
TESTED = (
    "difference", "ci_low", "ci_high", "interval", "standard_error", "p_value", "test", "n_items", "n_clusters",
)  # fmt: skip
"""Columns of a difference on test."""


@dataclass(frozen=True)
class Criterion:
    """One criterion on dev with the candidates that were evaluated in all of its languages."""

    dev: CandidateSums
    group: LanguageGroup

    @cached_property
    def candidates(self) -> list[int]:
        """Indices of the candidates, in the order of preference; 0 is the dense model."""
        return self.dev.candidates(self.group.languages)

    @property
    def is_log(self) -> bool:
        """Whether values and differences are logarithms."""
        return self.dev.metric.inference == "log_likelihood"

    @cached_property
    def values(self) -> Array:
        """[candidates] values on the scale of differences: the logarithm of perplexity."""
        return self.reduced(self.dev.observed[self.candidates])

    @cached_property
    def chosen(self) -> int:
        """Index of the chosen candidate."""
        return self.candidates[best_candidate(self.dev.sign * self.values)]

    @property
    def n_tied(self) -> int:
        """Number of candidates with the best value."""
        return n_tied(self.dev.sign * self.values)

    @property
    def win_shares(self) -> Array:
        """[candidates] share of the resamples of dev in which each candidate is chosen."""
        return win_shares(self.dev.sign * self.reduced(self.dev.resampled[:, self.candidates]))

    @property
    def n_items(self) -> int:
        """Number of different items on dev."""
        return len({name for language in self.group.languages for name in self.dev.items[language]})

    @property
    def n_clusters(self) -> int:
        """Number of different clusters on dev."""
        return len({name for language in self.group.languages for name in self.dev.clusters_of[language]})

    def reduced(self, values: Array) -> Array:
        """Return the group's value, [...], of [..., languages] values: their mean, or the worst of them."""
        of_group = values[..., [self.dev.languages.index(name) for name in self.group.languages]]
        if self.group.kind != "worst":
            return np.asarray(of_group.mean(axis=-1))
        return np.asarray(self.dev.sign * (self.dev.sign * of_group).min(axis=-1))


def criteria_of(dev: CandidateSums, main_languages: Mapping[str, str]) -> list[Criterion]:
    """Return the criteria of a task: each language, the mean outside English, and the worst language.

    Args:
        main_languages: language, or pair such as `fr-en` -> the language by which it is English or not.
    """
    foreign = tuple(name for name in dev.languages if main_languages[name] != ENGLISH)
    groups = [LanguageGroup("language", name, (name,)) for name in dev.languages]
    if foreign:
        groups.append(LanguageGroup("outside_english", "", foreign))
    if len(dev.languages) > 1:
        groups.append(LanguageGroup("worst", "", dev.languages))
    return [Criterion(dev, group) for group in groups]


@dataclass(frozen=True)
class Balance:
    """English and the mean outside English, for the candidates that were evaluated in all languages."""

    english: Criterion
    others: Criterion

    @cached_property
    def candidates(self) -> list[int]:
        """Indices of the candidates; 0 is the dense model."""
        return self.english.dev.candidates((*self.english.group.languages, *self.others.group.languages))

    @cached_property
    def dev_values(self) -> tuple[Array, Array]:
        """Values in English and outside English on dev, both [candidates]."""
        return self._both(self.english.dev.observed[self.candidates])

    @property
    def probabilities(self) -> tuple[Array, Array]:
        """[candidates] shares of the resamples of dev in which each is on the front, and in which each keeps both."""
        english, others = (self.english.dev.sign * values for values in self._both(self._resampled))
        return pareto_front(english, others).mean(axis=0), keeps_both(english, others, reference=0).mean(axis=0)

    def test_values(self, values: Array) -> tuple[Array, Array]:
        """Return the values in English and outside English, both [candidates], of [all candidates, languages]."""
        return self._both(values[self.candidates])

    def membership(self, values: tuple[Array, Array]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which candidates are on the front and which keep both, both [candidates]; never without a value."""
        is_known = np.isfinite(values[0]) & np.isfinite(values[1])
        on_front, kept = np.zeros(is_known.shape, dtype=np.bool_), np.zeros(is_known.shape, dtype=np.bool_)
        if is_known[0]:
            english, others = (self.english.dev.sign * part[None, is_known] for part in values)
            on_front[is_known] = pareto_front(english, others)[0]
            kept[is_known] = keeps_both(english, others, reference=0)[0]
        return on_front, kept

    @property
    def _resampled(self) -> Array:
        return self.english.dev.resampled[:, self.candidates]

    def _both(self, values: Array) -> tuple[Array, Array]:
        return self.english.reduced(values), self.others.reduced(values)


def balance_of(criteria: Sequence[Criterion]) -> Balance | None:
    """Return the balance of English and the mean outside English; None without one of them."""
    english = [criterion for criterion in criteria if criterion.group.languages == (ENGLISH,)]
    others = [criterion for criterion in criteria if criterion.group.kind == "outside_english"]
    return Balance(english[0], others[0]) if english and others else None


@dataclass(frozen=True)
class SplitItems:
    """Texts and clusters of the items of one language and split."""

    texts: Mapping[str, tuple[str, ...]]
    """Id of an item -> its texts."""
    clusters: Mapping[str, str]
    """Id of an item -> its cluster."""

    @property
    def named_clusters(self) -> frozenset[str]:
        """Clusters with a name of their own. The id of an item, which may be its row number, says nothing elsewhere."""
        return frozenset(self.clusters.values()) - frozenset(self.clusters)

    def shared_with(self, other: "SplitItems") -> list[str]:
        """Return the ids of the items whose texts are those of an item of another split."""
        known = frozenset(other.texts.values())
        return [example_id for example_id, texts in self.texts.items() if texts in known]


@dataclass(frozen=True)
class Overlap:
    """What a test split shares with dev."""

    n_shared_items: int
    """Items of test whose texts are those of an item of dev in the same language."""
    shared_clusters: float
    """Share of the clusters of test with a name that occurs in dev, or with an item that does."""


def items_key(evaluation: EvaluationSpec) -> RecordKey:
    """Return kind and id of the record with the items of an evaluation."""
    return items_identity(evaluation.task, evaluation.identity.contents).key


def read_items(store: Store, evaluation: EvaluationSpec) -> SplitItems:
    """Read the items of an evaluation."""
    columns: Mapping[str, Sequence[Any]] = store.read_table(store.require(*items_key(evaluation)).artefacts[0])
    texts: dict[str, list[str]] = defaultdict(list)
    for example_id, text in zip(
        columns["example_id"], columns["source" if "source" in columns else "text"], strict=True
    ):
        texts[example_id].append(text)
    clusters = dict(zip(columns["example_id"], columns["cluster"], strict=True))
    return SplitItems({example_id: tuple(of_item) for example_id, of_item in texts.items()}, clusters)


def overlap_of(dev: Mapping[str, SplitItems], test: Mapping[str, SplitItems]) -> Overlap:
    """Compare two splits in several languages; items and clusters of equal name are the same in all languages.

    Args:
        dev: language -> items.
        test: language -> items.
    """
    named = frozenset().union(*(items.named_clusters for items in dev.values()))
    shared_items: dict[str, None] = {}
    clusters: dict[str, bool] = {}
    for language, items in test.items():
        in_dev = set(items.shared_with(dev[language])) if language in dev else set()
        shared_items |= dict.fromkeys(in_dev)
        by_name = named & items.named_clusters
        for example_id, cluster in items.clusters.items():
            clusters[cluster] = clusters.get(cluster, False) or cluster in by_name or example_id in in_dev
    return Overlap(len(shared_items), sum(clusters.values()) / len(clusters))


@dataclass(frozen=True)
class TestSplit:
    """The evaluations of the dense model on test, and the metric of each language."""

    __test__ = False
    store: Store
    metrics: Mapping[str, Metric]
    baseline: Evaluations

    @cached_property
    def _of_baseline(self) -> Mapping[str, StoredPredictions]:
        """Language -> predictions of the dense model, which every chosen candidate is compared with."""
        return {language: predictions_of(self.store, evaluation) for language, evaluation in self.baseline.items()}

    def difference(self, group: LanguageGroup, variant: Evaluations) -> Difference | Aggregate | None:
        """Return the difference of a variant in a group of languages; None if it lacks one of them on test.

        The clusters are those of all languages in which both were evaluated, as in the record of their comparison.
        """
        languages = sorted(variant.keys() & self.baseline.keys())
        if not set(group.languages) <= set(languages):
            return None
        if group.kind == "language":
            metric = self.metrics[group.name]
            both = self._predictions(group.name, variant)
            return compare([metric], *both, asked=[metric.name])[metric.name]
        predictions = {language: self._predictions(language, variant) for language in languages}
        sums = language_sums({language: self.metrics[language] for language in languages}, predictions)
        return aggregate(sums, [group])[0]

    def _predictions(self, language: str, variant: Evaluations) -> tuple[StoredPredictions, StoredPredictions]:
        predictions = predictions_of(self.store, variant[language])
        return on_shared_items(variant[language].task, predictions, self._of_baseline[language])


def tested_columns(difference: Difference | Aggregate | None) -> dict[str, JsonValue]:
    """Return the columns of a chosen candidate's difference to dense; NULL without one."""
    if difference is None:
        return dict.fromkeys(TESTED)
    columns = {**difference.columns, "n_items": difference.n_items}
    return {name: columns[name] for name in TESTED}


def criterion_rows(
    criterion: Criterion,
    variant_ids: Sequence[str],
    *,
    test_values: Array,
    tested: Difference | Aggregate | None,
    overlap: Overlap | None,
) -> list[Row]:
    """Return one row per candidate of a criterion, in the order of preference.

    difference: of the chosen candidate on test; 0 without a test if it is the dense model. optimism: its gain over
    dense on dev minus that on test, on the scale of differences; a gain is a difference with a positive sign if it is
    an improvement.

    Args:
        variant_ids: of all candidates.
        test_values: [all candidates, languages] on the scale of differences; not a number without an evaluation.
        tested: difference of the chosen candidate to dense on test; None for dense, or if it cannot be compared.
        overlap: of both splits in the languages of the criterion; None without a test split.
    """
    on_test = criterion.reduced(test_values[criterion.candidates])
    gains = criterion.dev.sign * (criterion.values - criterion.values[0])
    of_test = criterion.dev.sign * (on_test - on_test[0])
    rows: list[Row] = []
    for place, (index, share) in enumerate(zip(criterion.candidates, criterion.win_shares.tolist(), strict=True)):
        is_chosen = index == criterion.chosen
        columns = tested_columns(tested if is_chosen else None)
        if is_chosen and index == 0 and math.isfinite(on_test[0]):
            columns["difference"] = 0.0
        row: Row = {
            "variant_id": variant_ids[index],
            "group_kind": criterion.group.kind,
            "group_name": criterion.group.name,
            "languages": " ".join(criterion.group.languages),
            "n_languages": len(criterion.group.languages),
            "n_candidates": len(criterion.candidates),
            "dev_value": _shown(criterion, criterion.values[place]),
            "dev_difference": float(criterion.values[place] - criterion.values[0]),
            "win_share": share,
            "n_tied": criterion.n_tied,
            "is_chosen": is_chosen,
            "test_value": _shown(criterion, on_test[place]),
            "test_dense_value": _shown(criterion, on_test[0]),
            **columns,
            "scale": "log_ratio" if criterion.is_log else "difference",
            "optimism": finite(float(gains[place] - of_test[place])) if is_chosen else None,
            "dev_n_items": criterion.n_items,
            "dev_n_clusters": criterion.n_clusters,
            "n_shared_items": None if overlap is None else overlap.n_shared_items,
            "shared_clusters": None if overlap is None else overlap.shared_clusters,
        }
        rows.append(row)
    return rows


def pareto_rows(balance: Balance, variant_ids: Sequence[str], *, test_values: Array) -> list[Row]:
    """Return one row per candidate that was evaluated in all languages of dev, in the order of preference.

    Args:
        variant_ids: of all candidates.
        test_values: [all candidates, languages] on the scale of differences; not a number without an evaluation.
    """
    on_test = balance.test_values(test_values)
    dev, test = balance.membership(balance.dev_values), balance.membership(on_test)
    probabilities = balance.probabilities
    rows: list[Row] = []
    for place, index in enumerate(balance.candidates):
        values = {
            f"{split}_{side}_value": _shown(criterion, part[place])
            for split, parts in (("dev", balance.dev_values), ("test", on_test))
            for side, criterion, part in zip(
                ("english", "others"), (balance.english, balance.others), parts, strict=True
            )
        }
        has_test = values["test_english_value"] is not None and values["test_others_value"] is not None
        row: Row = {
            "variant_id": variant_ids[index],
            "languages": " ".join(sorted((*balance.english.group.languages, *balance.others.group.languages))),
            "n_others": len(balance.others.group.languages),
            "n_candidates": len(balance.candidates),
            **values,
            "on_front_dev": bool(dev[0][place]),
            "probability": float(probabilities[0][place]),
            "keeps_both_dev": bool(dev[1][place]),
            "keeps_both_probability": float(probabilities[1][place]),
            "on_front_test": bool(test[0][place]) if has_test else None,
            "keeps_both_test": bool(test[1][place]) if has_test else None,
        }
        rows.append(row)
    return rows


def _shown(criterion: Criterion, value: float) -> float | None:
    """Return a value as the catalog has it; None if there is none."""
    return finite(float(np.exp(value) if criterion.is_log else value))
