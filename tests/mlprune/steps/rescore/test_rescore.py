"""Rescoring, compared with a recipe that has the rule and with plain computation; no model runs."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import BadInputError, TaskFileError
from mlprune.evaluation import languages
from mlprune.evaluation.languages import installed_detector
from mlprune.evaluation.scoring.translation import TRANSLATION_SCHEMA
from mlprune.steps.rescore.rescore import Change, Rescored, Selection, rescore
from mlprune.store.records import Record, identity
from mlprune.store.store import Store
from tests.tiny_recipes import N_FACTS, FinishedRun, contents, copy_of, finished_run, small_recipe

N_EVALUATIONS = 8
"""Four variants in two languages."""


@pytest.fixture(scope="module")
def rules_run(tiny_inputs: Path) -> FinishedRun:
    """The small recipe with three rules at once."""
    recipe = small_recipe()
    recipe["evaluations"][0]["rule"] = ["mean", "candidate_sum", "pmi"]
    return finished_run(tiny_inputs, recipe, name="rules")


@pytest.fixture
def mean_store(small_run: FinishedRun, tmp_path: Path) -> Store:
    """A copy of the store of the small recipe, whose only rule is mean."""
    return copy_of(small_run.store, tmp_path / "store")


def evaluations(store: Store, rule: str | None = None) -> Iterator[Record]:
    return (
        record
        for record in store.records("evaluations")
        if rule in (None, record.rows["evaluations"][0]["scoring_rule"])
    )


@pytest.mark.thorough("computes the records of runs again")
def test_a_rescored_evaluation_equals_that_of_a_recipe(rules_run: FinishedRun, mean_store: Store) -> None:
    before = contents(mean_store)
    rescored = rescore(mean_store, Change(rule="candidate_sum"))
    assert (rescored.n_new, len(rescored.evaluation_ids), rescored.n_too_old) == (N_EVALUATIONS, N_EVALUATIONS, 0)
    after, expected = contents(mean_store), contents(rules_run.store)
    new = set(after) - set(before)
    assert rescored.n_compared == 3 + 4
    assert len(new) == 2 * N_EVALUATIONS + rescored.n_compared + len([path for path in new if "contributions" in path])
    assert sum("contributions" in path for path in new) == 3
    for path in new:
        assert after[path] == expected[path], path


@pytest.mark.thorough("computes the records of runs again")
def test_rescoring_again_only_writes_what_is_missing(mean_store: Store) -> None:
    first = rescore(mean_store, Change(rule="candidate_mean"))
    after = contents(mean_store)
    again = rescore(mean_store, Change(rule="candidate_mean"))
    assert again == Rescored(first.evaluation_ids, 0, 0, 0)
    mean_store.quarantine(mean_store.require("evaluations", first.evaluation_ids[0]))
    assert rescore(mean_store, Change(rule="candidate_mean")).n_new == 1
    assert contents(mean_store) == after


def test_other_rules_can_be_computed_from_pmi_but_not_pmi_from_them(
    rules_run: FinishedRun, mean_store: Store, tmp_path: Path
) -> None:
    with pytest.raises(TaskFileError):
        rescore(mean_store, Change(rule="pmi"))
    store = copy_of(rules_run.store, tmp_path / "rules")
    expected = contents(store)
    for record in evaluations(store, "mean"):
        store.quarantine(record)
    assert rescore(store, Change(rule="pmi")).n_new == 0
    assert rescore(store, Change(rule="mean"), Selection(rule="pmi")).n_new == N_EVALUATIONS
    assert contents(store) == expected


def test_each_rule_is_its_formula_over_the_stored_columns(rules_run: FinishedRun) -> None:
    for record in evaluations(rules_run.store):
        table = rules_run.store.read_table(record.artefacts[0])
        right = 0
        for start in range(0, 3 * N_FACTS, 3):
            rule = record.rows["evaluations"][0]["scoring_rule"]
            scores = [_score(table, row, rule) for row in range(start, start + 3)]
            assert table["rank"][start : start + 3] == [1 + sum(b > a for b in scores) for a in scores]
            right += table["is_gold"][start + scores.index(max(scores))]
        value = next(row["value"] for row in record.rows["metrics"] if row["metric"] == "accuracy")
        assert value == pytest.approx(right / N_FACTS)
    rows = [record.rows["evaluations"][0] for record in evaluations(rules_run.store)]
    assert {row["scoring_rule"] for row in rows} == {"mean", "candidate_sum", "pmi"}


def _score(table: dict[str, list[Any]], row: int, rule: str) -> float:
    whole, part, alone = (table[f"{name}log_likelihood"][row] for name in ("", "candidate_", "alone_"))
    assert (alone is None) == (rule != "pmi")
    if rule == "mean":
        return float(whole / table["n_tokens"][row])
    return float(part - alone if rule == "pmi" else part)


def test_a_part_of_the_examples_is_an_evaluation_of_its_own(mean_store: Store) -> None:
    ids = frozenset(["0", "3", "5", "absent"])
    rescored = rescore(mean_store, Change(examples=ids), Selection(language="fr"))
    assert len(rescored.evaluation_ids) == N_EVALUATIONS // 2
    for evaluation_id in rescored.evaluation_ids:
        record = mean_store.require("evaluations", evaluation_id)
        table = mean_store.read_table(record.artefacts[0])
        (row,) = record.rows["evaluations"]
        assert sorted(set(table["example_id"])) == ["0", "3", "5"]
        assert (row["n_examples"], row["language"]) == (3, "fr")
        assert row["subset_n_asked"] == 4
        assert row["subset_sha256"] == hashlib.sha256(b"0\n3\n5\nabsent").hexdigest()


def test_other_metrics_are_an_evaluation_of_their_own_and_compared(mean_store: Store) -> None:
    rescored = rescore(mean_store, Change(metrics=("f1_weighted", "precision_weighted")))
    assert rescored.n_new == N_EVALUATIONS
    record = mean_store.require("evaluations", rescored.evaluation_ids[0])
    assert [row["metric"] for row in record.rows["metrics"]] == ["f1_weighted", "precision_weighted"]
    assert record.rows["evaluations"][0]["metric_names"] == ["f1_weighted", "precision_weighted"]
    rows = [row for record in mean_store.records("comparisons") for row in record.rows["comparison_results"]]
    assert {row["metric"] for row in rows} == {"accuracy", "ece", "f1_weighted", "precision_weighted"}


@pytest.mark.thorough("computes the records of runs again")
def test_evaluations_of_an_older_version_are_skipped(mean_store: Store) -> None:
    old = next(evaluations(mean_store))
    inputs = {"parameters": old.parameters, "parents": old.parents, "contents": old.contents, "step_version": 1}
    mean_store.write_record(Record(**{**vars(old), **inputs, "id": identity(old.kind, **inputs)}))
    rescored = rescore(mean_store, Change(rule="candidate_sum"))
    assert (rescored.n_too_old, rescored.n_new) == (1, N_EVALUATIONS)


@pytest.mark.parametrize(
    ("change", "selection"),
    [
        (Change(), Selection()),
        (Change(rule="candidate_sum"), Selection(tasks=["xnli"])),
        (Change(rule="candidate_sum"), Selection(split="dev")),
        (Change(rule="candidate_sum"), Selection(variant_id="0")),
        (Change(metrics=("bleu",)), Selection()),
        (Change(examples=frozenset(["absent"])), Selection()),
    ],
)
def test_impossible_rescoring_is_refused_before_anything_is_written(
    mean_store: Store, change: Change, selection: Selection
) -> None:
    before = contents(mean_store)
    with pytest.raises(BadInputError):
        rescore(mean_store, change, selection)
    assert contents(mean_store) == before


def test_translations_and_perplexities_keep_their_scoring_rule(tiny_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(tiny_run.store, tmp_path / "tiny")
    with pytest.raises(BadInputError):
        rescore(store, Change(rule="candidate_sum"), Selection(tasks=["perplexity"]))
    rescored = rescore(store, Change(metrics=("exact_match",)), Selection(tasks=["translation"]))
    greedy = [record for record in evaluations(store, "greedy") if "metrics" not in record.parameters]
    assert rescored.n_new == len(greedy) > 1
    record = store.require("evaluations", rescored.evaluation_ids[0])
    assert record.rows["evaluations"][0]["scoring_rule"] == "greedy"
    assert list(store.read_table(record.artefacts[0])) == list(TRANSLATION_SCHEMA)


def test_pass_rates_of_translations_name_their_detector_in_the_id(
    tiny_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = copy_of(tiny_run.store, tmp_path / "store")
    with pytest.raises(BadInputError):
        rescore(store, Change(metrics=("word_pass_rate",)), Selection(tasks=["translation"]))
    rescored = rescore(store, Change(metrics=("line_pass_rate", "judged_share")))
    with pytest.raises(BadInputError):
        rescore(store, Change(metrics=("judged_share",)), Selection(tasks=["facts"]))
    assert rescored.n_compared > 0
    for evaluation_id in rescored.evaluation_ids:
        record = store.require("evaluations", evaluation_id)
        names = ["line_pass_rate", "judged_share"]
        assert record.parameters["metrics"] == [f"{name}@{installed_detector()}" for name in names]
        rows = record.rows["metrics"]
        assert [row["metric"] for row in rows] == names
        assert all(0 <= row["value"] <= 1 and row["signature"] == installed_detector() for row in rows)
    monkeypatch.setattr(languages, "version", lambda package: "9.9")
    other = rescore(store, Change(metrics=("judged_share",)), Selection(tasks=["translation"]))
    assert not set(other.evaluation_ids) & set(rescored.evaluation_ids)
