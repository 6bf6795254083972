"""Parameters of queries, and the SQL on the page about the catalog."""

import pytest

from catalog.ingest.table_files import declared_tables
from catalog.queries import run_user_query
from catalog.sql_files import (
    Parameter,
    check_values,
    find_query,
    list_queries,
    listed_views,
    parse_parameters,
)
from catalog.store import Catalog
from mlprune.errors import QueryError
from tests.docs.pages import ROOT, blocks


def test_parameters_have_types_and_defaults() -> None:
    query = find_query("best_by_language")
    assert query.parameters == (
        Parameter("task", "VARCHAR", "facts"),
        Parameter("metric", "VARCHAR", None),
        Parameter("with_groups", "BOOLEAN", default=False),
    )
    assert parse_parameters(["metric=bleu", "task=a=b"], query.parameters) == {
        "task": "a=b",
        "metric": "bleu",
        "with_groups": False,
    }
    assert find_query("lineage_of_metric").parameters == (Parameter("evaluation_id", "VARCHAR", required=True),)
    assert parse_parameters([], find_query("layer_sparsity").parameters) == {"variant_id": None, "by_block": False}


def test_null_is_the_value_of_an_optional_parameter_alone() -> None:
    found = parse_parameters(["task=NULL", "metric=null"], find_query("values_by_variant").parameters)
    assert (found["task"], found["metric"]) == (None, "null")
    needed = find_query("lineage_of_metric").parameters
    assert parse_parameters(["evaluation_id=NULL"], needed) == {"evaluation_id": "NULL"}


ADDED = {"calibration_tokens", "recovery_by_step", "removal_curve", "routing_entropy_by_language"}
"""Queries of analyses that were added after the forty were chosen, and whose rows no other query has."""


def test_there_are_forty_queries_and_one_of_a_capability_that_pages_follow_and_six_views() -> None:
    names = {query.name for query in list_queries()}
    assert names >= ADDED
    assert len(names - ADDED) <= 40 + 1
    views = {"answers", "best_variant", "costs", "described_variants", "differences", "measured"}
    assert listed_views().keys() == views
    assert not views & declared_tables().keys()


def test_a_name_and_the_first_sentence_about_it_fit_a_line_of_80_columns() -> None:
    texts = {query.name: query.summary for query in list_queries()} | listed_views()
    width = max(map(len, texts))
    assert {name: text for name, text in texts.items() if len(f"  {' ' * width}  {text}") > 80} == {}


@pytest.mark.parametrize(
    ("name", "pairs", "message"),
    [
        ("english_cost", ["nothing"], "name=value"),
        ("english_cost", ["=1"], "name=value"),
        ("english_cost", ["task=a", "task=b"], "occurs twice"),
        ("english_cost", ["language=en"], "a parameter is unknown"),
        ("lineage_of_metric", [], "a parameter is missing"),
        ("english_cost", ["sparsity=small"], "wrong type"),
    ],
)
def test_a_wrong_parameter_is_an_error(name: str, *, pairs: list[str], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        parse_parameters(pairs, find_query(name).parameters)


def test_parameters_of_sql_are_numbers_where_they_read_as_such(catalog: Catalog) -> None:
    assert parse_parameters(["a=0.5", "b=fr", "c=true", "d=null", 'e="01"', "f=NaN", "g=[1]"]) == {
        "a": 0.5,
        "b": "fr",
        "c": True,
        "d": None,
        "e": "01",
        "f": "NaN",
        "g": "[1]",
    }
    sql = "SELECT count(*) AS n FROM variants WHERE sparsity = $sparsity AND score = $score"
    assert run_user_query(catalog, sql, ["sparsity=0.3", "score=random"]).rows == ((2,),)


def test_values_of_a_program_keep_their_types_and_null() -> None:
    declared = (
        Parameter("task", "VARCHAR", "facts"),
        Parameter("alpha", "DOUBLE", 0.05),
        Parameter("n", "INTEGER", required=True),
        Parameter("all", "BOOLEAN", default=False),
    )
    values = check_values({"n": "3", "alpha": 1, "all": True, "task": None}, declared, query="q")
    assert values == {"task": None, "alpha": 1, "n": 3, "all": True}
    assert check_values({"n": 2}, declared, query="q") == {"task": "facts", "alpha": 0.05, "n": 2, "all": False}


@pytest.mark.parametrize(
    "values", [{}, {"n": None}, {"n": 1, "tsk": "x"}, {"n": 1.5}, {"n": True}, {"n": 1, "alpha": True}, {"n": "x"}]
)
def test_wrong_values_of_a_program_are_refused(values: dict[str, float | str | None]) -> None:
    declared = (Parameter("n", "INTEGER", required=True), Parameter("alpha", "DOUBLE", 0.05))
    with pytest.raises(QueryError, match="parameter"):
        check_values(values, declared, query="q")


ELSEWHERE = ("INSTALL", "-- longest")
"""First words of blocks that need a network or a parameter."""


def test_the_examples_on_the_page_run(catalog: Catalog) -> None:
    texts = [block.text for block in blocks(ROOT / "docs/catalog.md") if block.words == "sql"]
    statements = [one for text in texts if not text.startswith(ELSEWHERE) for one in text.split(";") if one.strip()]
    assert len(statements) > 2
    assert all(catalog.select(one).columns for one in statements)
