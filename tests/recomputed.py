"""The numbers of a store computed again, by docs/definitions.md, from its items and predictions.

Each kind of number has a query of rows and a function that returns, for a row, column -> recomputed value.
Only files and the catalog's tables are read; nothing of mlprune's arithmetic is used.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tests import defined_statistics as defined
from tests.defined_statistics import Array

Row = Mapping[str, Any]
Query = Callable[[str], list[dict[str, Any]]]
# tasks in which positions of candidates mean nothing: candidates that share the top share the credit
SHARED_CREDIT = {"facts", "multiblimp", "global_mmlu", "include", "xquad_spans", "mbbq", "mmlu_prox", "afrimmlu"}
SHARED_CREDIT |= {"global_piqa", "global_piqa_parallel", "m_hellaswag", "mmmlu", "xcsqa"}
CONDITIONS = ("split", "example_limit", "task", "scoring_rule", "protocol_id")


@dataclass(frozen=True)
class Item:
    """An item with the scores of its candidates; of a text or a translation with one candidate."""

    id: str
    cluster: str
    candidates: tuple[str, ...]
    gold: int
    scores: Array
    log_likelihood: float
    n_tokens: int
    is_match: bool


@dataclass(frozen=True)
class Part:
    """Sums of a metric's numerators and denominators over clusters, of one variant and language."""

    clusters: Sequence[str]
    values: Array
    sizes: Array

    def over(self, clusters: Sequence[str]) -> tuple[Array, Array]:
        """Return both sums for a longer list of clusters, [C] each."""
        place = {name: index for index, name in enumerate(self.clusters)}
        found = [place.get(name) for name in clusters]
        return tuple(np.array([0.0 if i is None else of[i] for i in found]) for of in (self.values, self.sizes))  # type: ignore[return-value]


class Recomputed:
    """Functions that recompute rows of a store."""

    def __init__(self, query: Query, folder: Path) -> None:
        self.query, self.folder = query, folder
        self._items: dict[str, list[Item]] = {}

    # --- reading ---

    @cached_property
    def evaluations(self) -> dict[str, dict[str, Any]]:
        """Return the evaluations by id."""
        return {row["evaluation_id"]: row for row in self.query("FROM evaluations")}

    @cached_property
    def variants(self) -> dict[str, dict[str, Any]]:
        """Return the variants by id."""
        return {row["variant_id"]: row for row in self.query("FROM internal.variant_descriptions")}

    def evaluation_of(self, row: Row, variant: str, language: str, **conditions: Any) -> str:
        """Return the evaluation of a variant in a language that is otherwise like that of a row."""
        same = {name: row.get(name) for name in CONDITIONS} | conditions
        return self._ids[variant, language, *(same[name] for name in CONDITIONS)]

    @cached_property
    def _ids(self) -> dict[tuple[Any, ...], str]:
        columns = ("variant_id", "language", *CONDITIONS)
        return {tuple(row[name] for name in columns): key for key, row in self.evaluations.items()}

    def items(self, evaluation_id: str) -> list[Item]:
        """Return the items of an evaluation in the order of the file."""
        if evaluation_id not in self._items:
            rows = (
                pq.ParquetFile(self.folder / "predictions" / f"{evaluation_id}.parquet")
                .read(use_threads=False)
                .to_pylist()
            )
            by_item = groupby(rows, key=lambda row: row["example_id"])
            rule = self.evaluations[evaluation_id]["scoring_rule"]
            self._items[evaluation_id] = [_item(key, list(own), rule) for key, own in by_item]
        return self._items[evaluation_id]

    def part(self, evaluation_id: str, metric: str) -> Part:
        """Return the cluster sums of an evaluation: credit and items, or log-likelihoods and tokens."""
        items = self.items(evaluation_id)
        clusters = list(dict.fromkeys(item.cluster for item in items))
        values, sizes = dict.fromkeys(clusters, 0.0), dict.fromkeys(clusters, 0.0)
        for item in items:
            values[item.cluster] += self.contribution(evaluation_id, item, metric)
            sizes[item.cluster] += item.n_tokens if metric == "perplexity" else 1
        return Part(clusters, np.array(list(values.values())), np.array(list(sizes.values())))

    def contribution(self, evaluation_id: str, item: Item, metric: str) -> float:
        """Return an item's log-likelihood or credit."""
        if metric == "perplexity":
            return item.log_likelihood
        if metric == "exact_match":
            return float(item.is_match)
        best = item.scores == item.scores.max()
        if self.evaluations[evaluation_id]["task"] in SHARED_CREDIT:
            return float(best[item.gold] / best.sum())
        return float(np.argmax(best) == item.gold)

    # --- values ---

    def value(self, row: Row) -> dict[str, Any]:
        """Recompute a row of metrics."""
        evaluation_id, metric = row["evaluation_id"], row["metric"]
        if metric == "ece":
            return {"value": self.calibration_error(evaluation_id)}
        part = self.part(evaluation_id, metric)
        n, n_clusters = len(self.items(evaluation_id)), len(part.clusters)
        common = {"n": n, "n_clusters": n_clusters}
        if metric == "perplexity":
            value = math.exp(-part.values.sum() / part.sizes.sum())
            low, high = defined.log_interval(-part.values, part.sizes)
            error = defined.ratio_error(part.values, part.sizes)
            return common | {
                "value": value, "ci_low": math.exp(low), "ci_high": math.exp(high),
                "standard_error": None if error is None else value * error,
                "interval": "log_t" if n_clusters < 10 else "log_bootstrap_t",
            }  # fmt: skip
        credit = [self.contribution(evaluation_id, item, metric) for item in self.items(evaluation_id)]
        is_plain = n == n_clusters and set(credit) <= {0.0, 1.0}
        p = math.fsum(credit) / n
        low, high = defined.wilson(p, n if is_plain else defined.effective_items(part.values, part.sizes))
        own = {
            "value": p, "ci_low": low, "ci_high": high, "interval": "wilson" if is_plain else "wilson_effective",
            "standard_error": defined.ratio_error(part.values, part.sizes),
        }  # fmt: skip
        return common | own | (self.chance(evaluation_id, is_plain=is_plain, high=high) if metric == "accuracy" else {})

    def chance(self, evaluation_id: str, *, is_plain: bool, high: float) -> dict[str, Any]:
        """Recompute chance, p_chance and limit_reached."""
        items, part = self.items(evaluation_id), self.part(evaluation_id, "accuracy")
        chances = [1 / len(item.candidates) for item in items]
        if len({item.candidates for item in items}) == 1:
            golds = [item.gold for item in items]
            chances = [max(golds.count(gold) for gold in golds) / len(golds)] * len(items)
        if is_plain:
            p_chance = defined.at_least(chances, round(part.values.sum()))
        else:
            above = dict.fromkeys(part.clusters, 0.0)
            for item, chance in zip(items, chances, strict=True):
                above[item.cluster] += self.contribution(evaluation_id, item, "accuracy") - chance
            p_chance = defined.one_sided_flip_p(np.array(list(above.values())))
        limit = "floor" if p_chance >= 0.05 else "ceiling" if high >= 1 else None
        return {"chance": math.fsum(chances) / len(chances), "p_chance": p_chance, "limit_reached": limit}

    def calibration_error(self, evaluation_id: str) -> float:
        """Recompute ece: ten bins of the largest probability of the softmax of the scores."""
        items = self.items(evaluation_id)
        bins: dict[int, float] = defaultdict(float)
        for item in items:
            powers = np.exp(item.scores - item.scores.max())
            confidence = float(powers.max() / powers.sum())
            bins[math.ceil(confidence * 10)] += self.contribution(evaluation_id, item, "accuracy") - confidence
        return math.fsum(abs(total) for total in bins.values()) / len(items)

    # --- paired differences ---

    def difference(self, row: Row) -> dict[str, Any]:
        """Recompute a row of comparison_results."""
        ids, metric = (row["evaluation_id"], row["baseline_evaluation_id"]), row["metric"]
        if metric == "ece":
            return {"difference": self.calibration_error(ids[0]) - self.calibration_error(ids[1])}
        d, m = paired(*(self.part(key, metric) for key in ids), metric=metric)
        common = {
            "difference": d.sum() / m.sum(), "standard_error": defined.ratio_error(d, m),
            "n": len(self.items(ids[0])), "n_clusters": len(d),
        }  # fmt: skip
        if metric == "perplexity":
            return common | {"test": "sign_flip", "p_value": defined.sign_flip_p(d)}
        changes = self.changes(*ids, metric)
        gained, lost, n = int((changes > 0).sum()), int((changes < 0).sum()), len(changes)
        credit = {self.contribution(key, item, metric) for key in ids for item in self.items(key)}
        common |= {"n_gained": gained, "n_lost": lost}
        common["p_mid_mcnemar"] = defined.mid_mcnemar(gained, lost) if credit <= {0.0, 1.0} else None
        if n > len(d) or not credit <= {0.0, 1.0}:
            return common | {"test": "sign_flip", "p_value": defined.sign_flip_p(d)}
        low, high = defined.tango(gained, lost, n, 0.95)
        low90, high90 = defined.tango(gained, lost, n, 0.9)
        return common | {
            "test": "tango", "p_value": defined.two_sided(defined.tango_z(gained, lost, n, 0.0)),
            "ci_low": low, "ci_high": high, "ci90_low": low90, "ci90_high": high90,
        }  # fmt: skip

    def changes(self, evaluation_id: str, baseline_id: str, metric: str) -> Array:
        """Return the changes of credit of all items, [items]."""
        own, base = (
            np.array([self.contribution(key, item, metric) for item in self.items(key)])
            for key in (evaluation_id, baseline_id)
        )
        return np.asarray(own - base)

    def sign_flip_interval(self, row: Row) -> dict[str, Any]:
        """Recompute the intervals of a difference by sign flips."""
        metric = row["metric"]
        ids = (row["evaluation_id"], row["baseline_evaluation_id"])
        d, m = paired(*(self.part(key, metric) for key in ids), metric=metric)
        return intervals(d, m, has_score=metric != "perplexity")

    def loss(self, row: Row) -> dict[str, Any]:
        """Recompute a row of sensitivity about the perplexity of a language."""
        ids = [self.evaluation_of(row, row[f"{who}_id"], row["group_name"]) for who in ("variant", "baseline")]
        d, m = paired(*(self.part(key, row["metric"]) for key in ids), metric=row["metric"])
        ends = intervals(d, m, has_score=False)
        return {
            "loss": d.sum() / m.sum(), "standard_error": defined.ratio_error(d, m), "p_value": defined.sign_flip_p(d),
            "ci_low": ends["ci_low"], "ci_high": ends["ci_high"], "n_items": len(self.items(ids[0])),
            "n_clusters": len(d),
        }  # fmt: skip

    def group(self, row: Row) -> "Group":
        """Return the languages of a row of aggregate_results."""
        languages, kind, name = sorted(row["languages"].split()), row["group_kind"], row["group_name"]
        weights = {language: 1 / len(languages) for language in languages}
        if kind == "gap":
            others = [name] if name else [language for language in languages if language != "en"]
            weights = {"en": -1.0} | {language: 1 / len(others) for language in others}
        weights = {language: weights[language] for language in sorted(weights)}
        parts = {
            who: [self.part(self.evaluation_of(row, row[f"{who}_id"], language), row["metric"]) for language in weights]
            for who in ("variant", "baseline")
        }
        return Group(row["metric"], kind, list(weights.values()), parts)

    def aggregate(self, row: Row) -> dict[str, Any]:
        """Recompute a row of aggregate_results about credit or perplexity."""
        group, is_loss = self.group(row), row["metric"] == "perplexity"
        counts = defined.resamples(len(group.clusters))
        resampled = group.value("variant", counts) - group.value("baseline", counts)
        own, base = (float(group.value(who, np.ones(len(group.clusters)))) for who in ("variant", "baseline"))
        found = {
            "difference": own - base, "n_clusters": len(group.clusters),
            "value": math.exp(own) if is_loss else own, "baseline_value": math.exp(base) if is_loss else base,
            "standard_error": resampled[np.isfinite(resampled)].std(ddof=1),
        }  # fmt: skip
        return found | ({} if group.kind == "worst" else {"p_value": defined.sign_flip_p(group.contributions()[0])})

    def aggregate_interval(self, row: Row) -> dict[str, Any]:
        """Recompute the intervals of a row of aggregate_results; of a gap, twice those of its halved contributions."""
        group = self.group(row)
        factor = 2 if group.kind == "gap" else 1
        d, m = group.contributions()
        ends = intervals(d / factor, m, has_score=group.metric != "perplexity")
        return {column: factor * end for column, end in ends.items()}


@dataclass(frozen=True)
class Group:
    """Languages whose values are averaged, with the parts of variant and baseline; of a gap, English counts -1."""

    metric: str
    kind: str
    weights: Sequence[float]
    parts: Mapping[str, Sequence[Part]]

    @cached_property
    def clusters(self) -> list[str]:
        """Return the names of all clusters in order."""
        return list(dict.fromkeys(name for part in self.parts["variant"] for name in part.clusters))

    def contributions(self) -> tuple[Array, Array]:
        """Return contributions to the mean difference, and sizes, [C] each."""
        total, size = np.zeros(len(self.clusters)), np.zeros(len(self.clusters))
        share = sum(map(abs, self.weights))
        for weight, own, base in zip(self.weights, self.parts["variant"], self.parts["baseline"], strict=True):
            d, m = Part(own.clusters, *paired(own, base, metric=self.metric)).over(self.clusters)
            total += weight * d / m.sum()
            size += abs(weight) / share * m / m.sum()
        return total, size

    def value(self, who: str, counts: Array) -> Array:
        """Return the group's value, of perplexity its logarithm, for numbers of clusters [C] or [R, C]."""
        sums = [[counts @ of for of in part.over(self.clusters)] for part in self.parts[who]]
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.array([top / size for top, size in sums]) * (-1 if self.metric == "perplexity" else 1)
        if self.kind == "worst":
            return np.asarray(values.max(axis=0) if self.metric == "perplexity" else values.min(axis=0))
        return np.asarray(np.array(self.weights) @ values)


def paired(variant: Part, baseline: Part, *, metric: str) -> tuple[Array, Array]:
    """Return contributions and sizes of clusters of a difference; of perplexity of ln(variant / baseline)."""
    assert list(variant.clusters) == list(baseline.clusters)
    if metric != "perplexity":
        return variant.values - baseline.values, variant.sizes
    ratio = baseline.sizes.sum() / variant.sizes.sum()
    return baseline.values - ratio * variant.values, baseline.sizes


def intervals(d: Array, m: Array, *, has_score: bool) -> dict[str, float]:
    """Return both intervals of a difference by sign flips."""
    low, high = defined.sign_flip_interval(d, m, coverage=0.95, has_score=has_score)
    low90, high90 = defined.sign_flip_interval(d, m, coverage=0.9, has_score=has_score)
    return {"ci_low": low, "ci_high": high, "ci90_low": low90, "ci90_high": high90}


def _item(key: str, rows: Iterable[Row], rule: str) -> Item:
    rows = list(rows)
    if "candidate_index" not in rows[0]:
        row = rows[0]
        is_match = row["output"].strip() == row["reference"].strip()
        return Item(key, row["cluster"], ("",), 0, np.zeros(1), 0.0, 0, is_match=is_match)
    scores = np.array([_score(row, rule) for row in rows])
    golds = [index for index, row in enumerate(rows) if row["is_gold"]]
    return Item(
        key, rows[0]["cluster"], tuple(row["candidate"] for row in rows), golds[0], scores,
        rows[0]["log_likelihood"], rows[0]["n_tokens"], is_match=False,
    )  # fmt: skip


def _score(row: Row, rule: str) -> float:
    if rule in ("mean", "sum"):
        return float(row["log_likelihood"] / (row["n_tokens"] if rule == "mean" else 1))
    if rule == "candidate_sum":
        return float(row["candidate_log_likelihood"])
    assert rule == "candidate_mean", rule
    return float(row["candidate_log_likelihood"] / row["candidate_n_tokens"])
