"""Verdicts of answers: what cannot be asked of models at chance or at the best value; and their power."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import duckdb
import pytest
from scipy import special

from catalog.ingest.fold import update_schema
from catalog.ingest.insert_rows import insert_rows, refresh_all
from catalog.ingest.table_files import declared_tables
from mlprune.numeric.statistics.power import (
    detectable_difference,
    detectable_difference_of_items,
    detectable_difference_of_mean,
    fewest_changed,
    two_sided_quantile,
)
from mlprune.numeric.statistics.variance_components import ErrorNumbers, ErrorParts
from mlprune.vocabulary import ClaimName
from tests import defined_statistics as defined

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


@pytest.mark.thorough("fills and folds catalogs of its own")
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


@pytest.mark.thorough("fills and folds catalogs of its own")
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


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_power_of_an_answer_is_that_of_its_family(connection: duckdb.DuckDBPyConnection) -> None:
    """Two primary questions of one test each: the level is 0.025."""
    sides: dict[str, Value] = {"fr": HIGH}
    ask(connection, "gain", dense=sides, pruned=sides, group=("language", "fr"))
    other = {
        **TASK,
        "question_id": "p",
        "name": "p",
        "criterion_id": "p",
        "is_primary": True,
        "recipe": "r",
        "claim": "gain",
    }
    pair = {"question_id": "p", "variant_id": "w", "baseline_id": "d"}
    for table, row in (("questions", other), ("question_variants", pair)):
        insert_rows(connection, declared_tables()[table], [row])
    sql = "SELECT n_family, smallest_significant, detectable_difference FROM answers"
    connection.execute(
        "UPDATE comparison_results SET n = 150, n_gained = 9, n_lost = 4, n_clusters = 50, test = 'tango'"
    )
    connection.execute(
        "UPDATE answer_results SET n_items = 150, n_languages = 1, n_clusters = 50, standard_error = 0.03"
    )
    connection.execute("UPDATE answer_results SET test = 'tango'")
    refresh_all(connection)
    ((n_family, smallest, detectable),) = connection.execute(sql).fetchall()
    assert n_family == 2
    assert smallest == fewest_changed(n_tests=2, test="tango") / 150
    assert detectable == detectable_difference_of_items(150, 13 / 150, n_tests=2, test="tango")
    connection.execute("UPDATE answer_results SET test = 'sign_flip'")
    ((_, smallest, detectable),) = connection.execute(sql).fetchall()
    assert smallest == fewest_changed(n_tests=2, test="mcnemar_mid_p") / 150
    assert detectable == pytest.approx(detectable_difference(0.03, n_tests=2), rel=1e-5)
    connection.execute("UPDATE answer_results SET test = 'minima', ci_low = -0.08, ci_high = 0.14, difference = 0.01")
    ((_, smallest, detectable),) = connection.execute(sql).fetchall()
    scale = two_sided_quantile(2) / two_sided_quantile(1)
    assert (smallest, detectable) == (None, pytest.approx(0.13 * scale + float(special.ndtri(0.8)) * 0.03, rel=1e-5))
    connection.execute("UPDATE questions SET is_primary = false")
    assert connection.execute(sql).fetchall() == [(None, None, None)]


@pytest.mark.parametrize(
    "claim", ["gain", pytest.param("equivalent", marks=pytest.mark.thorough("folds a catalog for each claim"))]
)
def test_the_power_of_a_mean_is_that_of_its_own_test(connection: duckdb.DuckDBPyConnection, claim: ClaimName) -> None:
    sides: dict[str, Value] = {"fr": HIGH}
    ask(connection, claim, dense=sides, pruned=sides, group=("language", "fr"), over="mean")
    numbers = {"n_seeds": 3, "n_baseline_seeds": 4, "n_clusters": 50}
    errors = {"error_of_seeds": 0.02, "error_of_baseline_seeds": 0.03, "error_of_items": 0.04}
    columns = {**numbers, **errors, "standard_error": 0.054}
    values = ", ".join(f"{name} = {value}" for name, value in columns.items())
    connection.execute(f"UPDATE answer_results SET test = 'crossed_t', {values}")
    parts = ErrorParts(0.02**2, 0.03**2, 0.04**2)
    expected = partial(detectable_difference_of_mean, parts, ErrorNumbers(3, 4, 50), claim=claim)
    sql = "SELECT n_family, smallest_significant, detectable_difference FROM answers"
    refresh_all(connection)
    assert connection.execute(sql).fetchall() == [(1, None, pytest.approx(expected(n_tests=1)))]
    other = {**TASK, "question_id": "p", "name": "p", "criterion_id": "p", "is_primary": True, "recipe": "r"}
    pair = {"question_id": "p", "variant_id": "w", "baseline_id": "d"}
    for table, row in (("questions", {**other, "claim": "gain"}), ("question_variants", pair)):
        insert_rows(connection, declared_tables()[table], [row])
    refresh_all(connection)
    assert connection.execute(sql).fetchall() == [(2, None, pytest.approx(expected(n_tests=2)))]
    ((stored,),) = connection.execute("SELECT detectable_difference FROM internal.mean_powers").fetchall()
    squares = [errors[f"error_of_{name}"] ** 2 for name in ("seeds", "baseline_seeds", "items")]
    power = defined.power_of_mean(stored, squares, [2, 3, 49], claim=claim, n_family=2)
    assert power == pytest.approx(0.8, abs=0.004)
    connection.execute("UPDATE answer_results SET error_of_items = NULL")
    connection.execute("DELETE FROM internal.mean_powers")
    refresh_all(connection)
    assert connection.execute(sql).fetchall() == [(2, None, None)]
    connection.execute("UPDATE questions SET is_primary = false")
    assert connection.execute(sql).fetchall() == [(None, None, None)]


@pytest.mark.thorough("fills and folds catalogs of its own")
@pytest.mark.parametrize(
    ("dtype", "metric", "n_languages", "noise"),
    [
        ("float32", "accuracy", 1, None),
        ("bfloat16", "accuracy", 1, 0.013),
        ("bfloat16", "accuracy", 3, 0.004),
        ("bfloat16", "perplexity", 1, 0.019),
        ("bfloat16", "perplexity", 3, 0.013),
        ("bfloat16", "bleu", 1, None),
    ],
)
def test_the_noise_of_the_arithmetic_is_that_of_the_metric_and_the_dtype(
    connection: duckdb.DuckDBPyConnection, dtype: str, metric: str, n_languages: int, noise: float | None
) -> None:
    sides: dict[str, Value] = {"fr": HIGH}
    ask(connection, "gain", dense=sides, pruned=sides, group=("language", "fr"))
    connection.execute("UPDATE answer_results SET dtype = $1, n_languages = $2, n_variants = 1", [dtype, n_languages])
    connection.execute("UPDATE questions SET metric = $1", [metric])
    ((stored,),) = connection.execute("SELECT arithmetic_noise FROM answers").fetchall()
    assert (None if stored is None else float(stored)) == noise
