"""Corrected p-values of primary questions: within a question, and over the questions of a recipe."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import duckdb
import numpy as np
import pytest

from catalog.ingest.fold import update_schema
from catalog.ingest.insert_rows import insert_rows, refresh_all
from catalog.ingest.table_files import declared_tables
from tests.catalog.families import corrected, gated, rejected

Found = Mapping[tuple[str, str], float]
TASK = {"task": "facts", "split": "test", "metric": "accuracy"}


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        update_schema(connection)
        yield connection


def ask(connection: duckdb.DuckDBPyConnection, question_id: str, p_values: Sequence[float], **values: Any) -> None:
    """Insert a primary question, see `question_rows`."""
    insert(connection, [question_rows(question_id, p_values, **values)])


def insert(connection: duckdb.DuckDBPyConnection, questions: Sequence[Mapping[str, list[dict[str, Any]]]]) -> None:
    for table in questions[0]:
        insert_rows(connection, declared_tables()[table], [row for rows in questions for row in rows[table]])


def question_rows(
    question_id: str,
    p_values: Sequence[float],
    *,
    variants: Sequence[str] = (),
    recipes: Sequence[str] = ("r",),
    **values: Any,
) -> dict[str, list[dict[str, Any]]]:
    """Rows of a primary question about gains in English with the answers of its variants."""
    variants = variants or [f"{question_id}-v{n}" for n in range(len(p_values))]
    question = {**TASK, "question_id": question_id, "name": question_id, "group_kind": "language", "group_name": "en"}
    question |= {"claim": "gain", "over": "each", "is_primary": True, "is_declared": True, "recipe": recipes[0]}
    question |= {"criterion_id": question_id, **values}
    key = {"question_id": question_id, "baseline_id": "dense"}
    return {
        "questions": [question],
        "question_variants": [{**key, "variant_id": variant} for variant in variants],
        "recipe_questions": [{"recipe": recipe, "question_id": question_id} for recipe in recipes],
        "answer_results": [
            {**key, "variant_id": variant, "comparison_id": f"c-{variant}", "p_value": p, "p_margin": p}
            for variant, p in zip(variants, p_values, strict=False)
        ],
    }


def found(connection: duckdb.DuckDBPyConnection) -> Found:
    """(Question, comparison) -> corrected p-value, the largest of several recipes."""
    sql = "SELECT question_id, comparison_id, max(p_corrected) FROM question_tests WHERE language = '' GROUP BY ALL"
    return {(row[0], row[1]): row[2] for row in connection.execute(sql).fetchall()}


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_questions_of_a_recipe_pass_on_their_level_when_all_their_tests_are_rejected(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    generator = np.random.default_rng(0)
    for round_ in range(12):
        asked = [list(generator.uniform(0, 1, n) ** 4) for n in (1, 2, 1, 3)]
        for n, p_values in enumerate(asked):
            ask(connection, f"q{round_}-{n}", p_values, recipes=[f"r{round_}"])
        values = found(connection)
        within = [[each.p_corrected for each in corrected(p_values)] for p_values in asked]
        for alpha in (0.01, 0.05, 0.2, 0.5):
            for n, decisions in enumerate(rejected(within, alpha)):
                key = f"q{round_}-{n}"
                assert [values[key, f"c-{key}-v{v}"] <= alpha for v in range(len(decisions))] == decisions


def test_three_hundred_questions_gain_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    generator = np.random.default_rng(1)
    p_values = generator.uniform(0, 1, 300)
    insert(connection, [question_rows(f"q{n}", [p_value]) for n, p_value in enumerate(p_values)])
    values = found(connection)
    expected = corrected(list(p_values))
    assert [values[f"q{n}", f"c-q{n}-v0"] for n in range(300)] == pytest.approx([each.p_corrected for each in expected])
    assert p_values.min() < 0.05 < min(values.values())
    sizes = connection.execute("SELECT DISTINCT n_family, n_questions, n_tests FROM question_tests").fetchall()
    assert sizes == [(300, 300, 1)]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_another_recipe_or_one_more_variant_does_not_leave_the_other_questions(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    for n in range(10):
        ask(connection, f"q{n}", [0.01 + 0.1 * n])
    assert found(connection)["q0", "c-q0-v0"] == pytest.approx(0.1)
    insert_rows(connection, declared_tables()["recipe_questions"], [{"recipe": "alone", "question_id": "q0"}])
    assert found(connection)["q0", "c-q0-v0"] == pytest.approx(0.1)
    grown = {"variants": ["q0-v0", "new"], "recipes": ["alone"], "criterion_id": "q0"}
    ask(connection, "grown", [0.01, 0.9], **grown)
    assert found(connection)["grown", "c-q0-v0"] == pytest.approx(10 * 2 * 0.01), "q0 passes its level on"


def test_a_question_with_more_variants_replaces_the_one_of_its_name(connection: duckdb.DuckDBPyConnection) -> None:
    for n in range(10):
        ask(connection, f"q{n}", [0.01 + 0.1 * n])
    ask(connection, "grown", [0.01, 0.9], variants=["q0-v0", "new"], name="q0", criterion_id="q0")
    values = found(connection)
    assert values["grown", "c-q0-v0"] == pytest.approx(10 * 2 * 0.01)
    assert ("q0", "c-q0-v0") not in values


def test_an_unanswered_question_with_more_variants_is_one_more_question(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    ask(connection, "asked", [0.01, 0.02], variants=["a", "b"], name="q", criterion_id="x")
    ask(connection, "dropped", [], variants=["a", "b", "c"], name="q", criterion_id="x")
    ask(connection, "renamed", [0.01, 0.02], variants=["a", "b"], name="q", criterion_id="x", recipes=["s"])
    expected = {("asked", "c-a"): 2 * 2 * 0.01, ("asked", "c-b"): 2 * 0.02}
    values = found(connection)
    assert {key: p for key, p in values.items() if key[0] == "asked"} == pytest.approx(expected)
    sql = "SELECT DISTINCT recipe, n_questions FROM question_tests ORDER BY recipe"
    assert connection.execute(sql).fetchall() == [("r", 2), ("s", 1)]
    refresh_all(connection)
    sql = "SELECT verdict, p_corrected FROM answers WHERE question_id = 'asked' ORDER BY comparison_id"
    assert [row[1] for row in connection.execute(sql).fetchall()] == pytest.approx(list(expected.values()))


def test_a_test_without_a_result_counts_as_not_rejected(connection: duckdb.DuckDBPyConnection) -> None:
    ask(connection, "unfinished", [0.001], variants=["a", "b"])
    ask(connection, "other", [0.03], claim="noninferior", margin=0.1)
    assert found(connection) == {("unfinished", "c-a"): 2 * 2 * 0.001, ("other", "c-other-v0"): 2 * 0.03}


def languages(connection: duckdb.DuckDBPyConnection, variant: str, p_values: Mapping[str, float]) -> None:
    """Insert the comparisons of a variant in some languages, and their mean."""
    row = {**TASK, "comparison_id": f"c-{variant}", "variant_id": variant, "baseline_id": "dense", "test": "sign_flip"}
    row |= {"scoring_rule": "mean", "protocol_id": "p", "profile": "corrected"}
    single = [
        {
            **row,
            "language": language,
            "p_value": p,
            "evaluation_id": f"{variant}-{language}",
            "baseline_evaluation_id": f"dense-{language}",
        }
        for language, p in p_values.items()
    ]
    insert_rows(connection, declared_tables()["comparison_results"], single)
    mean = {**row, "group_kind": "outside_english", "group_name": "", "languages": " ".join(p_values), "p_value": 0.01}
    insert_rows(connection, declared_tables()["aggregate_results"], [mean])


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_languages_of_a_mean_are_tested_after_it(connection: duckdb.DuckDBPyConnection) -> None:
    singles = {"fr": 0.001, "sw": 0.004, "zh": 0.9}
    languages(connection, "v", singles)
    ask(connection, "q", [0.01], variants=["v"], group_kind="outside_english", group_name="")
    refresh_all(connection)
    expected = gated(0.01, list(singles.values()))
    sql = "SELECT language, test_family, n_family, p_corrected, is_primary FROM comparisons ORDER BY language"
    rows = connection.execute(sql).fetchall()
    assert [(row[0], row[1], row[2], row[4]) for row in rows] == [(name, "q #q", 3, True) for name in singles]
    assert [row[3] for row in rows] == pytest.approx(expected[1:])
    assert connection.execute("SELECT p_corrected, is_primary FROM aggregates").fetchall() == [(0.01, True)]
    (answer,) = connection.execute("SELECT n_tests, n_questions, n_family, p_corrected FROM answers").fetchall()
    assert answer == (1, 1, 1, 0.01)
    ask(connection, "other", [0.5])
    refresh_all(connection)
    rows = connection.execute(sql).fetchall()
    assert [row[3] for row in rows] == pytest.approx([min(1, 2 * p) for p in expected[1:]])


def test_a_replaced_question_is_not_asked_instead_of_unsupported(connection: duckdb.DuckDBPyConnection) -> None:
    languages(connection, "a", {"en": 0.01})
    ask(connection, "first", [0.01], variants=["a"], name="q", criterion_id="x")
    ask(connection, "grown", [0.01, 0.9], variants=["a", "b"], name="q", criterion_id="x")
    refresh_all(connection)
    sql = "SELECT verdict, verdict_reason FROM answers WHERE question_id = 'first'"
    (verdict,) = connection.execute(sql).fetchall()
    assert verdict == ("cannot be asked", "the same question with more variants replaces it")
    sql = "SELECT DISTINCT verdict_reason FROM answers WHERE question_id = 'grown'"
    assert connection.execute(sql).fetchall() == [(None,)]


def test_the_languages_of_several_variants_stay_exploratory(connection: duckdb.DuckDBPyConnection) -> None:
    for variant in ("v", "w"):
        languages(connection, variant, {"fr": 0.001, "sw": 0.002})
    ask(connection, "q", [0.01, 0.01], variants=["v", "w"], group_kind="outside_english", group_name="")
    refresh_all(connection)
    assert connection.execute("SELECT DISTINCT is_primary, n_family FROM comparisons").fetchall() == [(False, 4)]
    assert connection.execute("SELECT DISTINCT is_primary, p_corrected FROM aggregates").fetchall() == [(True, 0.02)]


@pytest.mark.thorough("fills and folds catalogs of its own")
@pytest.mark.parametrize("is_true", [each for each in product((True, False), repeat=5) if any(each)])
def test_whatever_is_true_the_error_of_the_family_is_at_most_five_percent(is_true: tuple[bool, ...]) -> None:
    """A mean with two languages, and a question with two tests; what is false is always rejected."""
    p_values = np.random.default_rng(2).uniform(0, 1, (1500, 5)) * np.array(is_true)
    n_errors = 0
    for mean, first, second, *others in p_values.tolist():
        within = [gated(mean, [first, second]), [each.p_corrected for each in corrected(others)]]
        decisions = [decision for question in rejected(within, 0.05) for decision in question]
        n_errors += any(decision and true for decision, true in zip(decisions, is_true, strict=True))
    assert n_errors / len(p_values) < 0.05 + 3 * (0.05 * 0.95 / len(p_values)) ** 0.5
