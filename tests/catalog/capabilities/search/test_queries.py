"""Queries about searches."""

from pathlib import Path

import pytest

from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.store.store import Store
from tests.catalog.query_answers import answers
from tests.catalog_data import declared_parameters, write_rows

P_VALUES = {"owl": 0.03, "random": 0.04, "uniform": 0.01}
"""Comparator -> two-sided p-value of its question."""
DIFFERENCES = {"owl": 0.03, "random": 0.02, "uniform": -0.05}


def test_trials_follow_the_winner_the_best_one_first(catalog: Catalog) -> None:
    rows = answers(catalog, "search_final", "with_trials=true")
    trials = [row for row in rows if row["role"] == "trial"]
    assert [row for row in rows if row["role"] != "trial"] == answers(catalog, "search_final")
    assert trials[0]["dev_value"] == max(row["dev_value"] for row in trials)
    assert [row["place"] for row in trials] == [1, 2, 3, 4, 5, 6]
    assert {row["test_value"] for row in trials} == {None}
    assert answers(catalog, "search_final", "search=other", "with_trials=true") == []


def test_saved_evaluation_is_the_share_of_items_that_were_not_scored(catalog: Catalog) -> None:
    (row,) = catalog.query(statement("report", "search_evaluation_saved"))
    assert (row["n_items"], row["n_items_if_all_were_scored"], row["saved_share"]) == (360, 480, 0.25)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_search_that_two_recipes_name_has_one_row(store: Store) -> None:
    (search_id,) = {row["search_id"] for record in store.records("searches") for row in record.rows["searches"]}
    names = [{"recipe": "second", "kind": "search", "name": "again", "id": search_id}]
    write_rows(store, "recipes", parameters={"recipe": "second"}, rows={"names": names})
    with Catalog.in_memory(store) as opened:
        (row,) = opened.query(statement("report", "search_evaluation_saved"))
    assert (row["name"], row["recipe"]) == ("again, blocks", "artificial, second")


def write_compared(folder: Path, metric: str, *, n_known: int = 0) -> Store:
    """Write a store with the report of one search, three comparators and a question about each.

    Args:
        n_known: number of results that existed before the questions were declared.
    """
    store = Store(folder)
    base = write_rows(store, "base_models", parameters={}, rows={"base_models": [{"base_model_id": "@id"}]})
    row = {"variant_id": "@id", "base_model_id": base, "score": "wanda", "sparsity": 0.5}
    ids = {
        role: write_rows(store, "variants", parameters={"role": role}, rows={"variants": [row]})
        for role in ("winner", *P_VALUES)
    }
    questions, pairs = [], []
    for role, p_value in P_VALUES.items():
        asked = {"recipe": "r", "name": f"blocks-against-{role}", "metric": metric, "claim": "gain"}
        asked |= {"is_declared": True, "is_primary": not n_known, "split": "test", "over": "each", "task": "facts"}
        asked |= {"declared_after": n_known}
        answer = {"question_id": "@id", "comparison_id": role, "variant_id": ids["winner"], "baseline_id": ids[role]}
        answer |= {"difference": DIFFERENCES[role], "p_value": p_value}
        question_id = write_rows(store, "answers", parameters={"role": role}, rows={"answers": [answer]})
        questions.append({**asked, "question_id": question_id, "criterion_id": role})
        pair = {"question_id": question_id, "variant_id": ids["winner"], "baseline_id": ids[role]}
        pairs.append({**pair, "declared_after": n_known})
    names = [{"recipe": "r", "kind": "search", "name": "blocks", "id": "s"}]
    rows = {"names": names, "questions": questions, "question_variants": pairs}
    write_rows(store, "recipes", parameters=declared_parameters(questions, pairs), rows=rows)
    key = {"result_id": "@id", "search_id": "s"}
    finalists = [{**key, "role": role, "variant_id": variant_id} for role, variant_id in ids.items()]
    searches = [{**key, "variant_id": ids["winner"], "direction": "maximise", "optimism": 0.1}]
    write_rows(store, "searches", parameters={}, rows={"searches": searches, "search_finalists": finalists})
    return store


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_p_values_and_verdicts_of_a_winner_are_those_of_the_answers(tmp_path: Path) -> None:
    with Catalog.in_memory(write_compared(tmp_path, "accuracy")) as opened:
        rows = {row["role"]: row for row in answers(opened, "search_final")}
    assert {role: rows[role]["p_corrected"] for role in P_VALUES} == pytest.approx(
        {"uniform": 0.03, "owl": 0.06, "random": 0.06}
    )
    verdicts = {role: rows[role]["verdict"] for role in rows}
    assert verdicts == {"winner": None, "uniform": "no", "owl": "not shown", "random": "not shown"}
    assert (rows["winner"]["optimism"], rows["owl"]["optimism"]) == (0.1, None)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_winner_that_had_results_on_the_split_of_the_report_has_no_verdict(tmp_path: Path) -> None:
    with Catalog.in_memory(write_compared(tmp_path, "accuracy", n_known=1)) as opened:
        rows = answers(opened, "search_final")
    assert {row["verdict"] for row in rows} == {None, "exploratory"}


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_winner_with_a_lower_calibration_error_is_better(tmp_path: Path) -> None:
    store = write_compared(tmp_path, "ece")
    measured = {"evaluation_id": "@id", "task": "facts", "split": "test", "metric": "ece", "value": 0.1}
    write_rows(store, "evaluations", parameters={}, rows={"metrics": [measured]})
    with Catalog.in_memory(store) as opened:
        verdicts = {row["role"]: row["verdict"] for row in answers(opened, "search_final")}
    assert verdicts["uniform"] == "yes"


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_search_without_a_winner_has_one_row_that_says_so(tmp_path: Path) -> None:
    store = write_compared(tmp_path, "accuracy")
    names = [{"recipe": "r", "kind": "search", "name": "strict", "id": "t"}]
    write_rows(store, "recipes", parameters={"recipe": "strict"}, rows={"names": names})
    searches = [{"result_id": "@id", "search_id": "t", "variant_id": None, "test_dense_value": 0.6}]
    write_rows(store, "searches", parameters={"search": "t"}, rows={"searches": searches})
    with Catalog.in_memory(store) as opened:
        (row,) = answers(opened, "search_final", "search=strict")
        assert len(answers(opened, "search_final")) == 5
    assert (row["role"], row["variant_id"], row["test_value"]) == ("no winner", None, None)
    assert (row["test_dense_value"], row["recipe"]) == (0.6, "r")
