"""Answers to items, which a query reads from the predictions."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb
import pytest

from catalog.queries import run_user_query
from catalog.sql_files import statement
from catalog.store import Catalog
from catalog.store.item_answers import AnswerCall, answer_calls, loaded_answers
from mlprune.errors import QueryError
from mlprune.evaluation.scoring.translation import TRANSLATION_SCHEMA
from mlprune.store.store import Store
from tests.catalog_data import LANGUAGES, N_ITEMS

Rows = dict[str, list[dict[str, Any]]]


def calls(sql: str, **parameters: Any) -> list[AnswerCall]:
    with duckdb.connect() as connection:
        rows = connection.execute(statement("answers", "parse"), {"sql": sql}).fetchall()
    return answer_calls(str(rows[0][0]), parameters)


def test_calls_are_found_with_their_arguments() -> None:
    sql = (
        "WITH a AS (FROM item_answers('facts')) SELECT * FROM a JOIN (SELECT 1 FROM "
        "item_answers($task, 'dev', of_variant := 'dense', of_language := NULL)) ON true WHERE 'item_answers' <> ''"
    )
    expected = [AnswerCall("facts"), AnswerCall("xnli", "dev", None, "dense")]
    assert sorted(calls(sql, task="xnli"), key=str) == sorted(expected, key=str)
    assert calls("SELECT 'item_answers'") == []
    assert calls("not SQL item_answers(") == []


@pytest.mark.parametrize("arguments", ["'facts', of_seed := 1", "upper('facts')", "NULL", "'a', 'b', 'c', 'd', 'e'"])
def test_other_arguments_are_refused(arguments: str) -> None:
    with pytest.raises(QueryError):
        calls(f"FROM item_answers({arguments})")


def stored(store: Store, rows: Rows, *, language: str, variant_id: str) -> dict[str, tuple[bool, float, str]]:
    """Example id -> right, margin and choice, by plain loops over the predictions of facts on test."""
    wanted = {"task": "facts", "language": language, "split": "test", "variant_id": variant_id}
    evaluation = next(row["evaluation_id"] for row in rows["evaluations"] if wanted.items() <= row.items())
    columns = store.read_table(store.require("evaluations", evaluation).artefacts[0])
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    for example, candidate, score in zip(
        columns["example_id"], columns["candidate"], columns["log_likelihood"], strict=True
    ):
        scores[example][candidate] = score
    answers = {}
    for example, by_candidate in scores.items():
        margin = by_candidate["b"] - max(by_candidate["a"], by_candidate["c"])
        best = [name for name, score in by_candidate.items() if score == max(by_candidate.values())]
        answers[example] = (margin > 0, margin, " | ".join(best))
    return answers


def test_answers_are_those_of_the_predictions(filled: Store, catalog: Catalog, rows: Rows) -> None:
    dense = next(row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0)
    found = catalog.query(
        "FROM item_answers('facts', of_language := $language, of_variant := 'dense')", {"language": "sw"}
    )
    expected = stored(filled, rows, language="sw", variant_id=dense)
    assert {row["example_id"]: (row["is_right"], row["margin"], row["chosen"]) for row in found} == expected
    assert len(found) == N_ITEMS
    assert {(row["label"], row["language"], row["gold"]) for row in found} == {("dense", "sw", "b")}
    for row in found:
        example = int(row["example_id"])
        assert (row["cluster"], row["category"]) == (str(example // 2), ("even", "odd")[example % 2])
        assert row["question"] is None
    assert any(" | " in row["chosen"] for row in found), "facts share ties"
    labelled = catalog.query("FROM item_answers('facts', of_language := 'sw', of_variant := 'magnitude 0.3')")
    assert {row["label"] for row in labelled} == {"magnitude 0.3"}
    assert len(labelled) == N_ITEMS


def test_flips_categories_and_transfer_follow_from_the_predictions(filled: Store, catalog: Catalog, rows: Rows) -> None:
    dense = next(row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0)
    variant = next(row["variant_id"] for row in rows["variants"] if row["score"] == "contrast")
    right = {
        (name, language): {example: each[0] for example, each in answers.items()}
        for name in (dense, variant)
        for language in LANGUAGES
        for answers in [stored(filled, rows, language=language, variant_id=name)]
    }
    only = [f"variant_id={variant}"]
    flips = run_user_query(catalog, "answers_flipped", only).as_dicts()
    assert {(row["language"], row["example_id"], row["change"]) for row in flips} == {
        (language, example, "gained" if is_right else "lost")
        for language in LANGUAGES
        for example, is_right in right[variant, language].items()
        if is_right != right[dense, language][example]
    }
    for row in run_user_query(catalog, "accuracy_by_category", only).as_dicts():
        rest = ("even", "odd").index(row["category"])
        mine, theirs = (
            [is_right for example, is_right in right[name, row["language"]].items() if int(example) % 2 == rest]
            for name in (variant, dense)
        )
        n = N_ITEMS // 2
        assert (row["n"], row["n_clusters"], row["accuracy"]) == (n, n, sum(mine) / n)
        assert row["n_gained"] - row["n_lost"] == sum(mine) - sum(theirs)
    transfer = {row["language"]: row for row in run_user_query(catalog, "transfer_from_english", only).as_dicts()}
    assert transfer.keys() == set(LANGUAGES) - {"en"}
    english = right[variant, "en"]
    for language, row in transfer.items():
        both = [is_right for example, is_right in right[variant, language].items() if english[example]]
        assert row["n_right_in_english"] == len(both)
        assert row["transfer"] == pytest.approx(sum(both) / len(both))


def test_a_category_has_wilsons_interval_unless_its_items_share_clusters() -> None:
    answers = [("a", "1", 8), ("b", "2", 9), ("a", "3", 9)]  # category, example, cluster
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA internal")
        connection.execute("CREATE TABLE internal.protocols (protocol_id VARCHAR, protocol VARCHAR)")
        connection.execute("CREATE TABLE given (category VARCHAR, example_id VARCHAR, cluster VARCHAR)")
        connection.executemany("INSERT INTO given VALUES (?, ?, ?)", answers)
        connection.execute(
            "CREATE MACRO item_answers(task, of_split, of_language, of_variant) AS TABLE SELECT *, true AS is_right, "
            "'m' AS base_model_id, 'v' AS variant_id, 'e' AS evaluation_id, 'x' AS label, 'en' AS language, "
            "'mean' AS scoring_rule, 'p' AS protocol_id FROM given"
        )
        values = {"task": "t", "split": "test", "language": None, "variant_id": "dense"}
        sql = statement("queries", "accuracy_by_category").rstrip("\n;")

        def intervals() -> dict[str, tuple[float, float] | None]:
            rows = connection.execute(f"SELECT category, ci_low, ci_high FROM ({sql})", values).fetchall()
            return {name: None if low is None else (low, high) for name, low, high in rows}

        assert intervals()["a"] == pytest.approx((0.3424, 1.0), abs=1e-3)
        connection.execute("UPDATE given SET cluster = '9'")
        assert intervals()["a"] is None
        assert intervals()["b"] is not None


def test_an_item_with_several_categories_counts_in_each() -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA internal")
        connection.execute("CREATE TABLE internal.protocols (protocol_id VARCHAR, protocol VARCHAR)")
        connection.execute(
            "CREATE TABLE given AS SELECT * FROM (VALUES ('STEM' || chr(10) || 'culture', '1', true), "
            "('STEM', '2', false), ('', '3', true)) AS rows (category, example_id, is_right)"
        )
        connection.execute(
            "CREATE MACRO item_answers(task, of_split, of_language, of_variant) AS TABLE SELECT *, "
            "example_id AS cluster, 'm' AS base_model_id, 'v' AS variant_id, 'e' AS evaluation_id, 'x' AS label, "
            "'en' AS language, 'mean' AS scoring_rule, 'p' AS protocol_id FROM given"
        )
        values = {"task": "t", "split": "test", "language": None, "variant_id": "dense"}
        sql = statement("queries", "accuracy_by_category").rstrip("\n;")
        rows = connection.execute(f"SELECT category, n, accuracy, dense_accuracy FROM ({sql})", values).fetchall()
    assert rows == [("", 1, 1.0, 1.0), ("STEM", 2, 0.5, 0.5), ("culture", 1, 1.0, 1.0)]


def test_translations_are_right_if_they_equal_the_reference(tmp_path: Path) -> None:
    store = Store(tmp_path)
    columns = {"example_id": ["1", "2"], "prompt": ["", ""], "output": ["oui ", "non"], "reference": ["oui", "si"]}
    columns |= {"cluster": ["c", "c"], "category": ["x", "y"]}
    predictions = store.write_table("predictions/e.parquet", columns, TRANSLATION_SCHEMA)
    pairs = {"example_id": ["1", "2"], "source": ["yes", "if"], "reference": ["oui", "si"]}
    items = store.write_table("items/i.parquet", pairs, dict.fromkeys(pairs, "string"))
    row = {**vars(predictions), "evaluation_id": "e", "task": "translation", "scoring_rule": "greedy", "items_id": "i"}
    found = loaded_answers(store, [row], items={"i": vars(items)}).to_pylist()
    assert [(row["is_right"], row["chosen"], row["question"], row["cluster"], row["category"]) for row in found] == [
        (True, "oui", "yes", "c", "x"),
        (False, "non", "if", "c", "y"),
    ]
    assert {row["margin"] for row in found} == {None}


def test_tasks_without_right_answers_have_no_rows(catalog: Catalog) -> None:
    assert catalog.query("FROM item_answers('perplexity')") == []
    assert catalog.query("FROM item_answers('no such task')") == []
    assert catalog.arrow("FROM item_answers('facts', 'dev', 'fr', 'dense')").num_rows == N_ITEMS
