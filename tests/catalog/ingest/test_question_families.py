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
    sql = "SELECT question_id, comparison_id, max(p_corrected) FROM internal.question_tests "
    sql += "WHERE language = '' GROUP BY ALL"
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
    sizes = connection.execute("SELECT DISTINCT n_family, n_questions, n_tests FROM internal.question_tests").fetchall()
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
    sql = "SELECT DISTINCT recipe, n_questions FROM internal.question_tests ORDER BY recipe"
    assert connection.execute(sql).fetchall() == [("r", 2), ("s", 1)]
    refresh_all(connection)
    sql = "SELECT verdict, p_corrected FROM answers WHERE question_id = 'asked' ORDER BY comparison_id"
    assert [row[1] for row in connection.execute(sql).fetchall()] == pytest.approx(list(expected.values()))


def test_a_quarantined_question_counts_as_not_rejected_unless_its_recipe_still_asks_it(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    ask(connection, "asked", [0.01])
    lost = [{"recipe": recipe, "question_id": question, "record_id": "x"} for recipe, question in LOST]
    insert_rows(connection, declared_tables()["quarantined_questions"], lost)
    assert found(connection) == {("asked", "c-asked-v0"): 3 * 0.01}


LOST = [("r", "asked"), ("r", "lost"), ("r", "also lost"), ("another", "lost")]


def test_known_baselines_multiply_the_p_values_of_a_question_and_of_its_languages(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    ask(connection, "known", [0.02], group_kind="outside_english", group_name="")
    languages(connection, "known-v0", {"fr": 0.01, "sw": 0.001})
    known = {"question_id": "known", "variant_id": "known-v0", "baseline_id": "dense", "n_known_baselines": 2}
    connection.execute("DELETE FROM question_variants")
    connection.execute("UPDATE answer_results SET difference = 0.1")
    insert_rows(connection, declared_tables()["question_variants"], [known])
    sql = "SELECT language, p_value, p_corrected, n_family FROM internal.question_tests ORDER BY language"
    rows = connection.execute(sql).fetchall()
    assert rows == [("", 0.02, 0.04, 2), ("fr", 0.01, 0.04, 4), ("sw", 0.001, 0.04, 4)]
    refresh_all(connection)
    sql = "SELECT verdict, p_corrected, n_known_baselines, remarks IS NOT NULL FROM answers"
    assert connection.execute(sql).fetchall() == [("yes", 0.04, 2, True)]
    connection.execute("UPDATE question_variants SET n_known_baselines = 3")
    assert connection.execute("SELECT verdict, p_corrected FROM answers").fetchall() == [("not shown", 0.06)]


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
    sql = "SELECT language, test_family, n_family, p_corrected, is_primary FROM internal.comparisons ORDER BY language"
    rows = connection.execute(sql).fetchall()
    assert [(row[0], row[1], row[2], row[4]) for row in rows] == [(name, "q #q", 3, True) for name in singles]
    assert [row[3] for row in rows] == pytest.approx(expected[1:])
    assert connection.execute("SELECT p_corrected, is_primary FROM internal.aggregates").fetchall() == [(0.01, True)]
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
    assert connection.execute("SELECT DISTINCT is_primary, n_family FROM internal.comparisons").fetchall() == [
        (False, 4)
    ]
    assert connection.execute("SELECT DISTINCT is_primary, p_corrected FROM internal.aggregates").fetchall() == [
        (True, 0.02)
    ]


def measure(connection: duckdb.DuckDBPyConnection, **higher_is_better: bool) -> None:
    """Insert an evaluation with each metric."""
    rows = [
        {**TASK, "evaluation_id": f"e-{metric}", "metric": metric, "higher_is_better": is_higher}
        for metric, is_higher in higher_is_better.items()
    ]
    insert_rows(connection, declared_tables()["metrics"], rows)


def differ(connection: duckdb.DuckDBPyConnection, **differences: float) -> None:
    """Set the differences of answers by variant."""
    for variant, difference in differences.items():
        connection.execute(
            "UPDATE answer_results SET difference = $1 WHERE variant_id = $2", [difference, variant.replace("_", "-")]
        )


def test_the_opposite_of_a_claim_is_no_at_the_same_corrected_level(connection: duckdb.DuckDBPyConnection) -> None:
    """Eight questions of one test: 0.05 / 8 is 0.00625."""
    measure(connection, accuracy=True, perplexity=False)
    ask(connection, "better", [0.001])
    ask(connection, "worse", [0.001])
    ask(connection, "unclear", [0.2])
    ask(connection, "lower", [0.001], metric="perplexity")
    ask(connection, "kept", [0.001], claim="noninferior", margin=0.02)
    ask(connection, "lost", [0.999], claim="noninferior", margin=0.02)
    ask(connection, "beyond", [0.9], claim="noninferior", margin=0.02)
    ask(connection, "different", [0.996], claim="equivalent", margin=0.02)
    differ(connection, better_v0=0.1, worse_v0=-0.1, unclear_v0=-0.1, lower_v0=-0.1)
    sql = "SELECT question_id, verdict, p_opposite_corrected FROM answers"
    answers = {question: (verdict, p) for question, verdict, p in connection.execute(sql).fetchall()}
    found = {question: verdict for question, (verdict, _) in answers.items()}
    assert found == dict.fromkeys(("better", "lower", "kept"), "yes") | dict.fromkeys(("worse", "lost"), "no") | (
        dict.fromkeys(("unclear", "beyond", "different"), "not shown")
    )
    assert answers["worse"][1] is None
    assert answers["lost"][1] == pytest.approx(8 * 0.001)
    assert answers["different"][1] == pytest.approx(2 * 8 * 0.004)


@pytest.mark.parametrize(("p_opposite", "verdict"), [(0.005, "no"), (0.009, "not shown")])
def test_the_opposite_of_a_margin_has_a_test_of_its_own_that_counts_known_baselines(
    connection: duckdb.DuckDBPyConnection, p_opposite: float, verdict: str
) -> None:
    """Two questions and three known baselines: 0.05 / 6 is 0.0083."""
    ask(connection, "lost", [0.999], claim="noninferior", margin=0.02)
    ask(connection, "other", [0.5])
    connection.execute("UPDATE question_variants SET n_known_baselines = 3 WHERE question_id = 'lost'")
    connection.execute("UPDATE answer_results SET p_opposite = $1 WHERE question_id = 'lost'", [p_opposite])
    sql = "SELECT verdict, p_opposite_corrected, n_known_baselines FROM answers WHERE question_id = 'lost'"
    assert connection.execute(sql).fetchall() == [(verdict, pytest.approx(6 * p_opposite), 3)]


def test_an_answer_that_passes_its_level_on_because_of_a_loss_says_no(connection: duckdb.DuckDBPyConnection) -> None:
    measure(connection, accuracy=True)
    ask(connection, "lost", [0.02])
    ask(connection, "gained", [0.04])
    differ(connection, lost_v0=-0.1, gained_v0=0.1)
    verdicts = dict(connection.execute("SELECT question_id, verdict FROM answers").fetchall())
    assert verdicts == {"lost": "no", "gained": "yes"}
    connection.execute("UPDATE answer_results SET p_value = 0.03 WHERE question_id = 'lost'")
    verdicts = dict(connection.execute("SELECT question_id, verdict FROM answers").fetchall())
    assert verdicts == {"lost": "not shown", "gained": "not shown"}


def test_a_question_with_several_tests_has_a_tally_and_no_verdict_of_its_own(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    measure(connection, accuracy=True)
    ask(connection, "several", [0.0001, 0.0001, 0.0001, 0.6])
    ask(connection, "one", [0.9])
    ask(connection, "late", [0.001, 0.001], is_primary=False)
    differ(connection, several_v0=0.1, several_v1=-0.1, several_v2=0.1, several_v3=0.1)
    answers = dict(connection.execute("SELECT question_id, answer FROM internal.question_answers").fetchall())
    assert answers == {
        "several": "yes 2, no 1, not shown 1 of 4",
        "one": "not shown",
        "late": "exploratory 2 of 2",
    }


def test_of_equal_differences_the_lower_sparsity_is_the_best_then_the_smaller_id(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    measure(connection, accuracy=True)
    variants = {"c": 0.2, "b": 0.4, "a": 0.4, "d": 0.1}
    ask(connection, "gain", [0.5] * 4, variants=list(variants))
    ask(connection, "same", [0.5] * 4, variants=list(variants), claim="equivalent", margin=0.3)
    described = [{"variant_id": variant, "sparsity": sparsity} for variant, sparsity in variants.items()]
    insert_rows(connection, declared_tables()["variant_descriptions"], described)
    differ(connection, a=0.1, b=0.1 + 1e-12, c=0.1 - 1e-12, d=-0.2)
    sql = "SELECT variant_id FROM answers WHERE question_id = $1 ORDER BY place"
    assert [row[0] for row in connection.execute(sql, ["gain"]).fetchall()] == ["c", "a", "b", "d"]
    differ(connection, d=-0.05)
    assert [row[0] for row in connection.execute(sql, ["same"]).fetchall()] == ["d", "c", "a", "b"]


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
