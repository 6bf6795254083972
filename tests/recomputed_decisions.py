"""Corrected p-values, choices on dev and rank consistency of a store computed again, by docs/definitions.md."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm
from scipy.stats import t as student

from tests import defined_statistics as defined
from tests.defined_statistics import Array
from tests.recomputed import Item, Part, Recomputed, Row, paired

TestKey = tuple[str, str, str]
"""Question, comparison ('' for a mean) and language ('' for a test of the question itself)."""
SAME = ("variant_id", "baseline_id", "task", "split", "scoring_rule", "protocol_id", "example_limit")
"""Columns that an aggregate shares with the comparisons of its languages."""
FAMILY = ("task", "split", "metric", "scoring_rule", "protocol_id", "profile")


class Decisions:
    """Functions that recompute rows of a store which depend on many evaluations."""

    def __init__(self, store: Recomputed) -> None:
        self.store = store
        self._ranks: dict[str, dict[str, Array]] = {}

    # --- families ---

    @cached_property
    def primary(self) -> dict[tuple[str, str, str], tuple[float, int]]:
        """Return question, comparison ('' for a mean) and language ('' for none) -> corrected p and size of family."""
        questions = {
            row["question_id"]: row for row in self.store.query("FROM internal.described_questions WHERE is_primary")
        }
        recipes = defaultdict(set)
        for row in self.store.query("FROM recipe_questions UNION SELECT recipe, question_id FROM questions"):
            if row["question_id"] in questions:
                recipes[row["recipe"]].add(row["question_id"])
        found: dict[tuple[str, str, str], tuple[float, int]] = {}
        for members in recipes.values():
            tests = [self._tests(questions[key]) for key in sorted(members)]
            all_values = [np.array([p for of in (own, languages) for p in of.values()]) for own, languages in tests]
            for (own, languages), corrected in zip(tests, defined.graphical(all_values), strict=True):
                sizes = [len(tests) * len(of) for of in (own, languages) for _ in of]
                for key, p, size in zip([*own, *languages], corrected, sizes, strict=True):
                    found[key] = max((float(p), size), found.get(key, (0.0, 0)))
        return found

    def _tests(self, question: Row) -> tuple[dict[tuple[str, str, str], float], dict[tuple[str, str, str], float]]:
        """Return the p-values of a question's tests, and of its languages, corrected within the question."""
        key = question["question_id"]
        column = "p_value" if question["claim"] == "gain" else "p_margin"
        answers = self.store.query(f"FROM answer_results WHERE question_id = '{key}'")
        pairs = self.store.query(f"FROM question_variants WHERE question_id = '{key}'")
        own = {(key, row["comparison_id"], ""): 1.0 if row[column] is None else row[column] for row in answers}
        n_tests = 1 if question["over"] == "mean" else len(pairs)
        own |= {(key, f"missing {number}", ""): 1.0 for number in range(n_tests - len(own))}
        corrected = dict(zip(own, defined.holm(list(own.values())), strict=True))
        has_languages = question["group_kind"] not in ("language", "worst")
        if column == "p_margin" or question["over"] == "mean" or len(pairs) > 1 or not has_languages:
            return corrected, {}
        rows = [
            (row, aggregate)
            for aggregate in self.store.query("FROM aggregate_results")
            if aggregate["comparison_id"] == answers[0]["comparison_id"]
            and all(aggregate[name] == question[name] for name in ("metric", "group_kind", "group_name"))
            for row in self.store.query(f"FROM comparison_results WHERE metric = '{question['metric']}'")
            if all(row[name] == aggregate[name] for name in SAME) and row["language"] in aggregate["languages"].split()
        ]
        languages = defined.holm([row["p_value"] for row, _ in rows])
        return corrected, {
            (key, answers[0]["comparison_id"], row["language"]): max(float(p), answers[0]["p_value"])
            for (row, _), p in zip(rows, languages, strict=True)
        }

    @cached_property
    def exploratory(self) -> dict[tuple[Any, ...], tuple[float, float, int]]:
        """Return test -> Holm's p, q and size of its exploratory family."""
        families = defaultdict(list)
        tested = {row["task"] for row in self.store.evaluations.values() if row["split"] == "test"}
        for table in ("comparisons", "aggregates"):
            for row in self.store.query(f"FROM internal.{table} WHERE p_value IS NOT NULL AND NOT is_primary"):
                assert row["split"] != "dev" or row["task"] not in tested
                variant, baseline = (self.store.variants[row[f"{who}_id"]] for who in ("variant", "baseline"))
                is_against_dense = baseline["is_dense"] and baseline["base_model_id"] == variant["base_model_id"]
                kind = (table, row.get("group_kind"), variant["base_model_id"], is_against_dense)
                families[kind, tuple(row[name] for name in FAMILY)].append(row)
        found = {}
        for rows in families.values():
            p_values = [row["p_value"] for row in rows]
            corrected = zip(defined.holm(p_values), defined.benjamini_hochberg(p_values), strict=True)
            for row, (p, q) in zip(rows, corrected, strict=True):
                found[_test_key(row)] = (float(p), float(q), len(rows))
        return found

    def family(self, row: Row) -> dict[str, Any]:
        """Recompute the corrected p-value of a row of comparisons or aggregates."""
        if row["p_value"] is None:
            return {"p_corrected": None, "n_family": None}
        if not row["is_primary"]:
            p, q, size = self.exploratory[_test_key(row)]
            return {"p_corrected": p, "q_bh": q, "n_family": size}
        of_mean = (row["question_id"], row["comparison_id"], "")
        of_language = (key for key in self.primary if (key[0], key[2]) == (row["question_id"], row.get("language")))
        p, size = self.primary[next(of_language, of_mean)]
        return {"p_corrected": p, "n_family": size}

    def power(self, row: Row) -> dict[str, Any]:
        """Recompute what a test by sign flips, or of the worst language, can find in its family."""
        if row["n_family"] is None:
            return {"detectable_difference": None}
        z, error = norm.ppf(1 - 0.025 / row["n_family"]), row["standard_error"]
        half = max(row["difference"] - row["ci_low"], row["ci_high"] - row["difference"])
        length = half / defined.Z if row["test"] == "minima" else error
        detectable = z * length + norm.ppf(0.8) * error if error else None
        if "group_kind" in row:
            return self._power_of_group(row, detectable)
        n_clusters = next(k for k in range(1, 2000) if 0.5**k < 0.05 / row["n_family"])
        if row["n_gained"] is None or n_clusters > row["n_clusters"]:
            return {"smallest_significant": None, "detectable_difference": detectable}
        smallest = n_clusters / row["n"]
        if row["p_value"] < 0.05 / row["n_family"]:
            smallest = min(smallest, abs(row["difference"]))
        return {
            "smallest_significant": smallest,
            "detectable_difference": None if detectable is None else max(detectable, smallest),
        }

    def _power_of_group(self, row: Row, detectable: float | None) -> dict[str, Any]:
        """Recompute the power of a group of languages: one item of one language changes in each of k clusters."""
        n_clusters = next(k for k in range(1, 2000) if 0.5**k < 0.05 / row["n_family"])
        has_credit = row["metric"] in ("accuracy", "exact_match") and row["group_kind"] not in ("worst", "gap")
        if row["test"] != "sign_flip" or not has_credit or n_clusters > row["n_clusters"]:
            return {"smallest_significant": None, "detectable_difference": detectable}
        smallest = n_clusters / (row["n_items"] * row["n_languages"])
        if row["p_value"] < 0.05 / row["n_family"]:
            smallest = min(smallest, abs(row["difference"]))
        return {
            "smallest_significant": smallest,
            "detectable_difference": None if detectable is None else max(detectable, smallest),
        }

    def answer(self, row: Row) -> dict[str, Any]:
        """Recompute the corrected p-value of an answer to a primary question, and whether it is supported."""
        key = (row["question_id"], row["comparison_id"], "")
        if key not in self.primary:
            return {"is_supported": False}
        p, size = self.primary[key]
        question = self.store.query(f"FROM questions WHERE question_id = '{row['question_id']}'")[0]
        is_loss = question["metric"] in ("perplexity", "ece")
        is_better = question["claim"] != "gain" or (row["difference"] < 0 if is_loss else row["difference"] > 0)
        column = "p_corrected" if question["claim"] == "gain" else "p_margin_corrected"
        return {column: p, "n_family": size, "is_supported": p < 0.05 and is_better}

    def answer_test(self, row: Row) -> dict[str, Any]:
        """Recompute the p-values of an answer about credit: of no difference, and of its margin."""
        question = self.store.query(f"FROM questions WHERE question_id = '{row['question_id']}'")[0]
        pairs = self.store.query(f"FROM question_variants WHERE question_id = '{row['question_id']}'")
        if question["metric"] != "accuracy" or question["group_kind"] == "worst" or row["test"] != "sign_flip":
            return {}
        is_mean = question["over"] == "mean"
        compared = [self._contributions(question, pair) for pair in (pairs if is_mean else [row])]
        d, m = (sum(of) / len(compared) for of in zip(*compared, strict=True))
        found = {"difference": d.sum() / m.sum(), "p_value": defined.sign_flip_p(d)}
        if question["claim"] == "noninferior":
            found["p_margin"] = defined.margin_p(d, m, question["margin"])
        if question["claim"] == "equivalent":
            found["p_margin"] = max(defined.margin_p(sign * d, m, question["margin"]) for sign in (1, -1))
        return found

    def answer_over_seeds(self, row: Row) -> dict[str, Any]:
        """Recompute the answer of a mean over several seeds: the two-way table of seeds and clusters."""
        question = self.store.query(f"FROM questions WHERE question_id = '{row['question_id']}'")[0]
        if question["group_kind"] == "worst":
            return {}
        by_seed: dict[int, list[Array]] = defaultdict(list)
        for pair in self.store.query(f"FROM question_variants WHERE question_id = '{row['question_id']}'"):
            d, m = self._contributions(question, pair)
            difference, size = d.sum() / m.sum(), m / m.sum()
            one = len(d) * (d / m.sum() - difference * size) + difference
            by_seed[self.store.variants[pair["variant_id"]]["seed"]].append(one)
        half_width, mean = _crossed([np.mean(of, axis=0) for of in by_seed.values()])
        half = half_width(0.025)
        tail = brentq(lambda log: half_width(math.exp(log)) - abs(mean), math.log(1e-90), math.log(0.499))
        found = {"difference": mean, "ci_low": mean - half, "ci_high": mean + half, "n_seeds": len(by_seed)}
        return found | {"p_value": 2 * math.exp(tail)}

    def power_over_seeds(self, row: Row) -> dict[str, Any]:
        """Check that the parts of the error of a mean add up, and the power of its detectable difference."""
        question = self.store.query(f"FROM questions WHERE question_id = '{row['question_id']}'")[0]
        degrees = [row["n_seeds"] - 1, row["n_clusters"] - 1]
        squared, of_seeds = row["standard_error"] ** 2, row["error_of_seeds"] ** 2
        sizes = {"claim": question["claim"], "n_family": row["n_family"]}
        parts = [of_seeds, row["error_of_items"] ** 2]
        power = defined.power_of_mean(row["detectable_difference"], parts, degrees, **sizes)
        is_right = abs(power - 0.8) < 0.002
        return {
            "error_of_baseline_seeds": 0.0, "error_of_items": math.sqrt(squared - of_seeds),
            "detectable_difference": row["detectable_difference"] if is_right else math.nan,
        }  # fmt: skip

    def _contributions(self, question: Row, pair: Row) -> tuple[Array, Array]:
        is_language = question["group_kind"] == "language"
        table = "comparison_results" if is_language else "aggregate_results"
        columns = ["variant_id", "baseline_id", "task", "split", "metric"]
        columns += ["language"] if is_language else ["group_kind", "group_name"]
        values = {**question, **pair, "language": question["group_name"]}
        wanted = " AND ".join(f"{name} = '{values[name]}'" for name in columns)
        row = self.store.query(f"FROM {table} WHERE {wanted}")[0]
        if not is_language:
            return self.store.group(row).contributions()
        parts = (self.store.part(row[key], row["metric"]) for key in ("evaluation_id", "baseline_evaluation_id"))
        return paired(*parts, metric=row["metric"])

    # --- choices ---

    def choice(self, row: Row) -> dict[str, Any]:
        """Recompute a row of choices: values on both splits, the chosen candidate and its share of resamples."""
        key = (row["choice_id"], row["group_kind"], row["group_name"])
        if key not in self._choices:
            self._choices[key] = self._criterion(key)
        return self._choices[key][row["variant_id"]]

    @cached_property
    def _choices(self) -> dict[tuple[str, str, str], dict[str, dict[str, Any]]]:
        return {}

    def _criterion(self, key: tuple[str, str, str]) -> dict[str, dict[str, Any]]:
        every_row = self.store.query(f"FROM choices WHERE choice_id = '{key[0]}'")
        rows = [row for row in every_row if (row["group_kind"], row["group_name"]) == key[1:]]
        sign = -1 if rows[0]["metric"] == "perplexity" else 1
        limits = {"dev": rows[0]["dev_limit"], "test": rows[0]["example_limit"]}
        every = sorted({language for row in every_row for language in row["languages"].split()})
        languages = rows[0]["languages"].split()
        parts = {
            (row["variant_id"], split, language): self.store.part(
                self.store.evaluation_of(row, row["variant_id"], language, split=split, example_limit=limits[split]),
                row["metric"],
            )
            for row in rows for split in limits for language in every
        }  # fmt: skip
        ids = [row["variant_id"] for row in rows]
        clusters = list(dict.fromkeys(name for language in every for name in parts[ids[0], "dev", language].clusters))

        def values(split: str, counts: Array | None = None) -> Array:
            """Return the criterion of each candidate, [candidates] or [candidates, R]; more is better."""
            ratios = [[_ratio(parts[key, split, name], clusters, counts) for name in languages] for key in ids]
            of = np.array(ratios)
            return np.asarray(of.min(axis=1) if rows[0]["group_kind"] == "worst" else of.mean(axis=1))

        def order(index: int) -> tuple[bool, float, str]:
            variant = self.store.variants[ids[index]]
            return not variant["is_dense"], variant["sparsity"] or 0.0, ids[index]

        by_rank = sorted(range(len(ids)), key=order)
        dev, test = values("dev"), values("test")
        steps = np.rint(dev * 2**30)
        chosen = max(by_rank, key=lambda index: steps[index])
        dense = by_rank[0]
        counts = defined.resamples(len(clusters))
        resampled = np.rint(values("dev", counts)[by_rank] * 2**30)
        resampled = resampled[:, np.isfinite(resampled).all(axis=0)]
        winners = np.bincount(resampled.argmax(axis=0), minlength=len(ids)) / resampled.shape[1]
        found = {}
        for place, index in enumerate(by_rank):
            found[ids[index]] = {
                "dev_value": _shown(dev[index], sign), "test_value": _shown(test[index], sign),
                "test_dense_value": _shown(test[dense], sign), "dev_difference": sign * (dev[index] - dev[dense]),
                "n_candidates": len(ids), "n_tied": int((steps == steps.max()).sum()),
                "is_chosen": index == chosen, "win_share": float(winners[place]),
            }  # fmt: skip
        found[ids[chosen]] |= {
            "difference": sign * (test[chosen] - test[dense]),
            "optimism": (dev[chosen] - dev[dense]) - (test[chosen] - test[dense]),
        }
        return found

    # --- rank consistency ---

    def rank(self, row: Row) -> dict[str, Any]:
        """Recompute a row of rank_consistency."""
        own, n_skipped = self._pairs(row, row["variant_id"])
        terms = np.array([of for _, of in own.values()])
        value, chance, expected, both_wrong, agreed, by_chance = terms.T
        names = [cluster for cluster, _ in own.values()]
        sizes, *columns = (_cluster_sums(names, of) for of in (np.ones(len(own)), value, chance, expected))
        n_wrong = int(both_wrong.sum())
        found = {
            "n_items": len(own), "n_skipped": n_skipped, "n_clusters": len(sizes), "value": value.mean(),
            "chance": chance.mean(), "corrected": (value.mean() - chance.mean()) / (1 - chance.mean()),
            "expected": expected.mean(), "above_expected": value.mean() - expected.mean(), "n_both_wrong": n_wrong,
            "agreement_both_wrong": agreed.sum() / n_wrong if n_wrong else None,
            "chance_both_wrong": by_chance[both_wrong > 0].mean() if n_wrong else None,
        }  # fmt: skip
        for prefix, (statistic, least) in RANK_STATISTICS.items():
            found |= _bca_ends(prefix, statistic, np.array([sizes, *columns]), least)
        if row["baseline_id"] is not None:
            dense, _ = self._pairs(row, row["baseline_id"])
            changes = np.array([own[key][1][0] - dense[key][1][0] for key in own])
            found["difference"] = changes.mean()
            found["p_value"] = None if row["split"] == "dev" else defined.sign_flip_p(_cluster_sums(names, changes))
        return found

    def _pairs(self, row: Row, variant: str) -> tuple[dict[str, tuple[str, Array]], int]:
        """Return the items that a pair of languages shares, with cluster and terms, and the number of skipped ones."""
        pair = sorted((row["language"], row["reference_language"]))
        ids = [self.store.evaluation_of(row, variant, language) for language in pair]
        first, second = ({item.id: item for item in self.store.items(key)} for key in ids)
        found, n_skipped = {}, 0
        for key in (key for key in first if key in second):
            one, other = first[key], second[key]
            if (len(one.candidates), one.gold) != (len(other.candidates), other.gold):
                n_skipped += 1
                continue
            rankings = (self._ranking(ids[0], one), self._ranking(ids[1], other))
            found[key] = (one.cluster, agreement(*rankings, one.gold))
        return found, n_skipped

    def _ranking(self, evaluation_id: str, item: Item) -> Array:
        """Return the candidates of an item, best first."""
        rankings = self._ranks.setdefault(evaluation_id, {})
        if item.id not in rankings:
            hashes = [hashlib.sha256(f"{item.id}:{index}".encode()).hexdigest() for index in range(len(item.scores))]
            order = sorted(range(len(item.scores)), key=lambda index: (-item.scores[index], hashes[index]))
            rankings[item.id] = np.array(order)
        return rankings[item.id]


def agreement(first: Array, second: Array, gold: int) -> Array:
    """Return RankC of an item, its chance and expectation, both wrong, same wrong answer and the chance of that."""
    n = len(first)
    weights = np.exp(n - np.arange(1, n + 1))
    weights /= weights.sum()
    value = chance = expected = 0.0
    for j, weight in enumerate(weights, start=1):
        tops = [set(of[:j].tolist()) for of in (first, second)]
        g1, g2 = (int(gold in top) for top in tops)
        value += weight * len(tops[0] & tops[1]) / j
        chance += weight * j / n
        expected += weight / j * (g1 * g2 + (j - g1) * (j - g2) / (n - 1))
    both_wrong = gold not in (first[0], second[0])
    return np.array([value, chance, expected, both_wrong, both_wrong and first[0] == second[0], 1 / (n - 1)])


RANK_STATISTICS = {
    "": (lambda of: of[1] / of[0], 0.0),
    "corrected_": (lambda of: (of[1] - of[2]) / (of[0] - of[2]), -1.0),
    "above_expected_": (lambda of: (of[1] - of[3]) / of[0], -1.0),
}
"""Prefix of columns -> statistic of sums of items, value, chance and expectation; its smallest value."""


def _bca_ends(prefix: str, statistic: Callable[[Array], Any], sums: Array, least: float) -> dict[str, float | None]:
    totals = sums.sum(axis=1)
    if sums.shape[1] == 1:
        return {f"{prefix}ci_low": None, f"{prefix}ci_high": None}
    resampled = statistic(sums @ defined.resamples(sums.shape[1]).T)
    low, high = defined.bca(float(statistic(totals)), resampled, statistic(totals[:, None] - sums))
    return {f"{prefix}ci_low": max(low, least), f"{prefix}ci_high": min(high, 1.0)}


def _cluster_sums(names: Sequence[str], values: Array) -> Array:
    sums = dict.fromkeys(names, 0.0)
    for name, value in zip(names, values, strict=True):
        sums[name] += value
    return np.array(list(sums.values()))


def _crossed(seeds: Sequence[Array]) -> tuple[Callable[[float], float], float]:
    """Return the half width of an interval of the mean by its tail, and the mean, of a table of seeds and clusters."""
    table = np.array(seeds)
    n_seeds, n_clusters = table.shape
    of_seeds, of_clusters, mean = table.mean(axis=1), table.mean(axis=0), float(table.mean())
    rest = ((table - of_seeds[:, None] - of_clusters + mean) ** 2).sum() / ((n_seeds - 1) * (n_clusters - 1))
    seed, item = of_seeds.var(ddof=1) / n_seeds, n_seeds * of_clusters.var(ddof=1)

    def half_width(tail: float) -> float:
        t_seeds, t_clusters = (student.isf(tail, n - 1) for n in (n_seeds, n_clusters))
        both = t_seeds**2 * seed + t_clusters**2 * max(0.0, item - rest) / n_seeds / n_clusters
        return math.sqrt(max(both, t_clusters**2 * item / (n_seeds * n_clusters)))

    return half_width, mean


def _ratio(part: Part, clusters: Sequence[str], counts: Array | None) -> Any:
    if counts is None:
        return part.values.sum() / part.sizes.sum()
    values, sizes = part.over(clusters)
    with np.errstate(invalid="ignore", divide="ignore"):
        return counts @ values / (counts @ sizes)


def _shown(value: float, sign: int) -> float:
    return math.exp(-value) if sign < 0 else float(value)


def _test_key(row: Row) -> tuple[Any, ...]:
    names = ("evaluation_id", "baseline_evaluation_id", "comparison_id", "metric", "group_kind", "group_name")
    return tuple(row.get(name) for name in names)
