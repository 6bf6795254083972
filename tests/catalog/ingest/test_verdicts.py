"""Verdicts of answers: what cannot be asked of models at chance or at the best value, and what the claims show."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pytest

from catalog.ingest.fold import update_schema
from catalog.ingest.insert_rows import insert_rows
from catalog.ingest.table_files import declared_tables

TASK = {"task": "facts", "split": "test", "metric": "accuracy"}
CHANCE, HIGH, BEST = (0.25, "floor"), (0.6, None), (1.0, "ceiling")
Value = tuple[float, str | None]


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        update_schema(connection)
        yield connection


def ask(
    connection: duckdb.DuckDBPyConnection,
    claim: str,
    *,
    dense: Mapping[str, Value],
    pruned: Mapping[str, Value],
    group: tuple[str, str] = ("outside_english", ""),
    **question: Any,
) -> tuple[str, str | None]:
    """Insert a question with a p-value of 0.001, and return its verdict and the reason."""
    over, key = question.get("over", "each"), {"question_id": "q", "baseline_id": "dense", "variant_id": "v"}
    asked = {**TASK, "question_id": "q", "name": "q", "group_kind": group[0], "group_name": group[1], "claim": claim}
    asked |= {
        "over": over,
        "is_primary": True,
        "is_declared": True,
        "recipe": "r",
        "criterion_id": "q",
        "against": "dense",
        **question,
    }
    comparison = {**TASK, "comparison_id": "c", "variant_id": "v", "baseline_id": "dense"}
    rows: dict[str, list[dict[str, Any]]] = {
        "questions": [asked],
        "question_variants": [key],
        "recipe_questions": [{"recipe": "r", "question_id": "q"}],
        "answer_results": [
            {
                **key,
                "comparison_id": "c" if over == "each" else "",
                "p_value": 0.001,
                "p_margin": 0.001,
                "difference": 0.1,
            }
        ],
        "comparison_results": [
            {
                **comparison,
                "language": language,
                "evaluation_id": f"v {language}",
                "baseline_evaluation_id": f"d {language}",
            }
            for language in dense
        ],
        "metrics": [
            {**TASK, "evaluation_id": f"{side} {language}", "value": value, "chance": 0.25, "standard_error": 0.03}
            | {"limit_reached": limit, "higher_is_better": True}
            for side, values in (("d", dense), ("v", pruned))
            for language, (value, limit) in values.items()
        ],
    }
    if group[0] != "language":
        lowest = [min(values, key=lambda language: values[language][0]) for values in (pruned, dense)]
        worst = dict(zip(("worst_language", "baseline_worst_language"), lowest, strict=True))
        names = {"group_kind": group[0], "group_name": group[1], "languages": " ".join(sorted(set(dense) - {"en"}))}
        rows["aggregate_results"] = [{**comparison, **names, **worst}]
    for table, added in rows.items():
        insert_rows(connection, declared_tables()[table], added)
    ((verdict, reason, is_supported),) = connection.execute(
        "SELECT verdict, verdict_reason, is_supported FROM answers"
    ).fetchall()
    assert is_supported == (verdict == "yes")
    return verdict, reason


@pytest.mark.parametrize("over", ["each", "mean"])
@pytest.mark.parametrize(
    ("claim", "dense", "pruned", "verdict"),
    [
        ("noninferior", CHANCE, CHANCE, ("cannot be asked", "dense is at chance")),
        ("noninferior", HIGH, CHANCE, ("yes", None)),
        ("equivalent", CHANCE, CHANCE, ("cannot be asked", "both are at chance")),
        ("equivalent", CHANCE, HIGH, ("yes", None)),
        ("equivalent", HIGH, CHANCE, ("yes", None)),
        ("gain", CHANCE, CHANCE, ("yes", None)),
        ("gain", BEST, HIGH, ("cannot be asked", "dense is at the best value")),
    ],
)
def test_a_claim_without_room_cannot_be_asked(
    connection: duckdb.DuckDBPyConnection,
    claim: str,
    dense: Value,
    pruned: Value,
    verdict: tuple[str, str | None],
    over: str,
) -> None:
    languages = {"group": ("language", "fr"), "over": over}
    assert (
        ask(connection, claim, dense={"en": HIGH, "fr": dense}, pruned={"en": HIGH, "fr": pruned}, **languages)
        == verdict
    )


@pytest.mark.parametrize(
    ("values", "is_at_chance"),
    [((0.25, 0.31), True), ((0.25, 0.6), False), ((0.29, 0.29), True), ((0.31, 0.31), False)],
)
def test_a_group_is_at_chance_if_its_mean_is(
    connection: duckdb.DuckDBPyConnection, values: Sequence[float], is_at_chance: bool
) -> None:
    dense: dict[str, Value] = {"en": HIGH, "fr": (values[0], "floor"), "sw": (values[1], "floor")}
    verdict, _ = ask(connection, "noninferior", dense=dense, pruned=dense)
    assert (verdict == "cannot be asked") is is_at_chance


def test_the_worst_language_of_each_side_counts(connection: duckdb.DuckDBPyConnection) -> None:
    dense: dict[str, Value] = {"fr": CHANCE, "sw": HIGH}
    pruned: dict[str, Value] = {"fr": HIGH, "sw": CHANCE}
    assert ask(connection, "equivalent", dense=dense, pruned=pruned, group=("worst", "")) == (
        "cannot be asked",
        "both are at chance",
    )


def test_an_exploratory_question_that_cannot_be_asked_says_so(connection: duckdb.DuckDBPyConnection) -> None:
    sides: dict[str, Value] = {"fr": CHANCE}
    exploratory = {"group": ("language", "fr"), "is_primary": False}
    assert ask(connection, "noninferior", dense=sides, pruned=sides, **exploratory)[0] == "cannot be asked"
    connection.execute("UPDATE metrics SET limit_reached = NULL")
    assert connection.execute("SELECT verdict, is_supported FROM answers").fetchall() == [("exploratory", False)]
