"""Stored comparisons, compared with plain computation."""

import math
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest

from mlprune.evaluation.scoring.translation import Translations
from mlprune.evaluation.task_metrics import METRICS
from mlprune.steps.compare import differences
from mlprune.steps.compare.differences import CompareJob
from mlprune.steps.compare.overlaps import FeatureOverlapJob, MaskOverlapJob
from mlprune.steps.compare.rank_consistency import RankConsistencyJob
from mlprune.steps.evaluate.results import on_shared_items
from mlprune.steps.job import make_identity
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.store.store import Store
from mlprune.vocabulary import GroupKind
from tests import defined_statistics as defined
from tests.mlprune.steps.compare.stored_scores import Table, mean_scores, read_tables
from tests.plain_inference import answers
from tests.tiny_recipes import N_FACTS, FinishedRun

LANGUAGES = ("en", "fr", "sw")
POOLED = ("ar", "en", "fr", "sw", "tr")


@pytest.fixture(scope="module")
def tables(tiny_run: FinishedRun) -> dict[str, Table]:
    """Evaluation id -> its predictions."""
    return read_tables(tiny_run)


def right_answers(table: Table) -> np.ndarray:
    """[items] 1 if the right candidate has the highest score."""
    gold = [index for index, is_gold in zip(table["candidate_index"], table["is_gold"], strict=True) if is_gold]
    scores = mean_scores(table).values()
    return np.array(
        [float(item_scores.index(max(item_scores)) == g) for item_scores, g in zip(scores, gold, strict=True)]
    )


def test_accuracy_rows_are_the_paired_differences_and_tangos_test(
    tiny_run: FinishedRun, tables: dict[str, Table]
) -> None:
    rows = [row for row in tiny_run.rows("comparison_results") if (row["task"], row["metric"]) == ("facts", "accuracy")]
    assert len(rows) >= 3 * (len(tiny_run.plan.variants) - 1)
    for row in rows:
        a, b = (right_answers(tables[row[key]]) for key in ("evaluation_id", "baseline_evaluation_id"))
        n_gained, n_lost = int((a > b).sum()), int((a < b).sum())
        assert (row["n"], row["n_clusters"], row["n_gained"], row["n_lost"]) == (N_FACTS, N_FACTS, n_gained, n_lost)
        assert row["difference"] == pytest.approx(a.mean() - b.mean(), abs=1e-12)
        statistic = (n_gained - n_lost) / math.sqrt(n_gained + n_lost) if n_gained + n_lost else 0.0
        assert row["p_value"] == pytest.approx(math.erfc(abs(statistic) / math.sqrt(2)), rel=1e-12)
        assert row["ci_low"] <= row["difference"] <= row["ci_high"]
        assert (row["interval"], row["test"], row["interval_contradicts_p"]) == ("tango", "tango", False)
        assert row["ci_low"] < row["ci_high"]
    assert len({row["difference"] for row in rows}) > 3


def test_perplexity_rows_are_logarithms_of_ratios(tiny_run: FinishedRun, tables: dict[str, Table]) -> None:
    rows = [row for row in tiny_run.rows("comparison_results") if row["task"] == "perplexity"]
    assert {row["language"] for row in rows} == {"en", "fr"}
    for row in rows:
        values = []
        for key in ("evaluation_id", "baseline_evaluation_id"):
            sums, n = (np.array(tables[row[key]][name], dtype=float) for name in ("log_likelihood", "n_tokens"))
            values.append(math.exp(-sums.sum() / n.sum()))
        assert (row["scale"], row["test"]) == ("log_ratio", "sign_flip")
        assert math.exp(row["difference"]) == pytest.approx(values[0] / values[1], rel=1e-9)
        assert row["p_value"] >= 1 / 2**4


def test_groups_of_languages_are_compared_in_the_same_record(tiny_run: FinishedRun) -> None:
    languages = {
        (row["comparison_id"], row["metric"], row["language"]): row for row in tiny_run.rows("comparison_results")
    }
    rows = tiny_run.rows("aggregate_results")
    assert {row["metric"] for row in rows} == {"accuracy", "perplexity", "exact_match", "bleu", "chrf"}
    assert {row["group_kind"] for row in rows} == set(get_args(GroupKind)) - {"language"}
    for row in rows:
        group = [languages[row["comparison_id"], row["metric"], name] for name in row["languages"].split()]
        assert len(group) == row["n_languages"]
        for key in ("variant_id", "baseline_id", "task", "split", "scoring_rule", "protocol_id", "scale"):
            assert {of_language[key] for of_language in group} == {row[key]}
        differences = {of_language["language"]: of_language["difference"] for of_language in group}
        if row["group_kind"] == "gap":
            english = differences.pop("en")
            assert row["difference"] == pytest.approx(fmean(differences.values()) - english, abs=1e-12)
        elif row["group_kind"] != "worst":
            assert row["difference"] == pytest.approx(fmean(differences.values()), abs=1e-12)
        assert (row["worst_language"] is not None) == (row["group_kind"] == "worst")


def test_contributions_of_clusters_add_up_to_the_differences(tiny_run: FinishedRun) -> None:
    for record in tiny_run.store.records("comparisons"):
        sums: dict[tuple[str, str, str], float] = defaultdict(float)
        table = tiny_run.store.read_table(record.artefacts[0])
        names = ("metric", "group_kind", "group_name", "contribution")
        for metric, kind, name, contribution in zip(*(table[key] for key in names), strict=True):
            sums[metric, kind, name] += contribution
        aggregates = record.rows["aggregate_results"]
        expected = {
            (row["metric"], row["group_kind"], row["group_name"]): row["difference"]
            for row in aggregates
            if row["group_kind"] != "gap"
        }
        metrics = {row["metric"] for row in aggregates}
        expected |= {
            (row["metric"], "language", row["language"]): row["difference"]
            for row in record.rows["comparison_results"]
            if row["metric"] in metrics
        }
        assert sums == pytest.approx(expected, abs=1e-12)


def evaluation(variant: str, language: str) -> EvaluationSpec:
    identity = make_identity("evaluations", {"of": language}, parents={"variant": variant})
    return EvaluationSpec(identity, TaskSpec("facts", language, "test"))


def test_a_record_has_the_model_over_languages_of_the_definitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty items that the languages share; nothing changes in Turkish."""
    shared = np.random.default_rng(5).choice([-1, 0, 1], 60, p=[0.3, 0.5, 0.2])
    own = {name: np.random.default_rng(n).choice([-1, 0, 1], 60, p=[0.2, 0.7, 0.1]) for n, name in enumerate(POOLED)}
    changes = {name: np.where(np.arange(60) < 30, shared, of) * (name != "tr") for name, of in own.items()}

    def read(_: Store, variant: EvaluationSpec, baseline: EvaluationSpec) -> differences.Compared:
        of = changes[variant.task.language]
        sides = answers((of == 1).astype(float).tolist()), answers((of == -1).astype(float).tolist())
        return differences.Compared(variant, baseline, sides, (METRICS["accuracy"],))

    monkeypatch.setattr(differences, "read_pair", read)
    pairs = [(evaluation("v", name), evaluation("d", name)) for name in POOLED]
    store = Store(tmp_path)
    CompareJob.of_pairs(pairs).run(store, lambda *_: pytest.fail("runs a model"))
    (record,) = store.records("comparisons")
    rows = record.rows["pooled_languages"]
    foreign = sorted(set(POOLED) - {"en"})
    assert [row["language"] for row in rows] == foreign
    table = np.array([changes[name] for name in foreign], dtype=float)
    ends = [defined.tango(int((of == 1).sum()), int((of == -1).sum()), 60, 0.95) for of in table]
    errors = np.array([(high - low) / (2 * defined.Z) for low, high in ends])
    residuals = table - table.mean(axis=1, keepdims=True)
    norms = [math.sqrt(math.fsum(of**2)) for of in residuals]
    correlations = np.array(
        [
            [1.0 if a == b else math.fsum(residuals[a] * residuals[b]) / (norms[a] * norms[b] or 1.0) for b in range(4)]
            for a in range(4)
        ]
    )
    expected = defined.pooled_languages(table.mean(axis=1), errors, correlations)
    for index, row in enumerate(rows):
        assert row["n_languages"] == 4
        assert (row["evaluation_id"], row["metric"]) == (evaluation("v", foreign[index]).identity.id, "accuracy")
        assert (row["difference"], row["error"]) == pytest.approx((table[index].mean(), errors[index]), rel=1e-9)
        for name, values in expected.items():
            value = values[index] if isinstance(values, list) else values
            assert row[name] == pytest.approx(value, rel=1e-7, abs=1e-9), name


def test_every_variant_is_compared_with_dense_in_every_language(tiny_run: FinishedRun) -> None:
    dense, *pruned = tiny_run.plan.variants
    rows = tiny_run.rows("comparison_results")
    for variant in pruned:
        languages = {row["language"] for row in rows if (row["variant_id"], row["baseline_id"]) == (variant, dense)}
        assert languages >= set(LANGUAGES)
    assert not any(row["variant_id"] == row["baseline_id"] for row in rows)


def test_comparisons_need_no_model(tiny_run: FinishedRun) -> None:
    kinds = (CompareJob, RankConsistencyJob, MaskOverlapJob, FeatureOverlapJob)
    assert {job.step for job in tiny_run.plan.jobs if isinstance(job, kinds)} == {"compare"}
    assert not any(job.needs_chain for job in tiny_run.plan.jobs if isinstance(job, kinds))


def test_two_models_that_left_out_different_items_are_compared_on_those_of_both() -> None:
    first = Translations(("1", "2", "4"), ("a", "b", "c"), ("x", "y", "z"))
    second = Translations(("2", "3", "4"), ("d", "e", "f"), ("y", "w", "z"))
    task = TaskSpec("translation", "fr-en", "test", longer="skip")
    kept = on_shared_items(task, first, second)
    assert [one.example_ids for one in kept] == [("2", "4")] * 2
    assert [one.outputs for one in kept] == [("b", "c"), ("d", "f")]
    assert on_shared_items(TaskSpec("translation", "fr-en", "test"), first, second) == (first, second)


@pytest.mark.parametrize("source", ["folder", "hub", "corpus"])
def test_a_limit_that_no_task_reaches_is_the_number_of_its_items(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    n_items = 3 * differences.MANY_ITEMS
    monkeypatch.setattr(differences, "task_data", lambda _: SimpleNamespace(items=range(n_items)))
    nothing = dict.fromkeys(("folder", "hub", "corpus"))
    unreadable: Any = SimpleNamespace(limit=10**12, **nothing)
    readable: Any = SimpleNamespace(limit=10**12, **{**nothing, source: "there"})
    assert (differences.most_items(unreadable), differences.most_items(readable)) == (10**12, n_items)
