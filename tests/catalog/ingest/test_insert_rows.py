"""Rows as typed columns, and materialized tables that follow from them."""

import re
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from catalog.ingest.fold import update_schema
from catalog.ingest.insert_rows import (
    arrow_rows,
    dependencies,
    insert_rows,
    invalidate_materialized,
    materialized_is_current,
    read_state,
    refresh,
    refresh_all,
    write_state,
)
from catalog.ingest.table_files import declared_tables, views
from catalog.sql_files import sql_files

COLUMNS = (
    ("name", "VARCHAR"),
    ("n", "INTEGER"),
    ("size", "BIGINT"),
    ("counts", "BIGINT[]"),
    ("value", "DOUBLE"),
    ("is_dense", "BOOLEAN"),
)


def test_rows_become_columns_with_null_for_what_is_missing() -> None:
    whole = {"name": "a", "n": 1, "size": 2**40, "counts": [2**40, 0], "value": 1, "is_dense": True}
    rows: list[dict[str, Any]] = [whole, {"other": 5}]
    assert arrow_rows(COLUMNS, rows).to_pylist() == [
        {**whole, "value": 1.0},
        dict.fromkeys((name for name, _ in COLUMNS), None),
    ]


def test_a_value_other_than_text_becomes_json_text_in_a_column_of_text() -> None:
    rows = [{"name": 5}, {"name": "5"}, {"name": {"a": [1]}}, {}]
    assert arrow_rows(COLUMNS[:1], rows).column("name").to_pylist() == ["5", "5", '{"a": [1]}', None]


def test_a_count_that_could_overflow_a_sum_of_a_view_is_refused_and_a_seed_is_not() -> None:
    columns = (("n_items", "BIGINT"), ("seed", "BIGINT"))
    for count in (2**53, -(2**53), None):
        assert arrow_rows(columns, [{"n_items": count, "seed": 2**63 - 1}]).num_rows == 1
    for count in (2**53 + 1, -(2**63)):
        with pytest.raises(ValueError, match="n_items"):
            arrow_rows(columns, [{"n_items": 1}, {"n_items": count}])


@pytest.mark.parametrize(
    "row",
    [
        {"n": "many"},
        {"n": 1.5},
        {"n": 2**31},
        {"size": 2**63},
        {"counts": [1.5]},
        {"counts": ["one"]},
        {"counts": 1},
        {"value": "high"},
        {"is_dense": "yes"},
    ],
)
def test_a_value_of_another_type_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"column {next(iter(row))}"):
        arrow_rows(COLUMNS, [row])


NAMES = declared_tables()["names"]
LAYERS = declared_tables()["variant_layers"]


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        update_schema(connection)
        yield connection


def name(text: str) -> dict[str, str]:
    return {"recipe": "r", "kind": "variant", "name": text, "id": "1"}


def layer(n_removed: int) -> dict[str, object]:
    return {"variant_id": "v", "block": 0, "layer": "fc1", "n_weights": 10, "n_removed": n_removed}


def removed(connection: duckdb.DuckDBPyConnection) -> list[tuple[int]]:
    return connection.execute("SELECT n_removed FROM variant_layers").fetchall()


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_of_rows_with_the_same_key_the_greater_one_stays(
    connection: duckdb.DuckDBPyConnection, order: tuple[int, int]
) -> None:
    for n_removed in order:
        insert_rows(connection, LAYERS, [layer(n_removed)])
    assert removed(connection) == [(2,)]


def test_of_rows_with_the_same_key_in_one_insert_the_greater_one_stays(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    insert_rows(connection, LAYERS, [layer(3), layer(1), layer(2)])
    assert removed(connection) == [(3,)]


def test_equal_rows_of_keys_only_are_inserted_once(connection: duckdb.DuckDBPyConnection) -> None:
    insert_rows(connection, NAMES, [name("a"), name("b")])
    insert_rows(connection, NAMES, [name("b"), name("b")])
    assert connection.execute("SELECT name FROM names ORDER BY name").fetchall() == [("a",), ("b",)]


def test_unknown_keys_are_ignored_and_missing_ones_are_null(connection: duckdb.DuckDBPyConnection) -> None:
    insert_rows(connection, LAYERS, [{**layer(1), "unknown": 5}])
    assert connection.execute("SELECT n_dampings FROM variant_layers").fetchall() == [(None,)]


def test_a_key_column_that_a_row_lacks_is_an_empty_text(connection: duckdb.DuckDBPyConnection) -> None:
    insert_rows(connection, NAMES, [{"recipe": "r", "kind": "variant", "name": "a"}])
    assert connection.execute("SELECT id FROM names").fetchall() == [("",)]


def test_a_value_of_another_type_is_refused_of_insert(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(ValueError, match="n_removed"):
        insert_rows(connection, LAYERS, [{**layer(1), "n_removed": "many"}])


def tables_read(text: str) -> set[str]:
    """Tables that a statement reads, directly or through views."""
    names = set(re.findall(r"\b(?:FROM|JOIN)\s+(?:internal\.)?(\w+)", text))
    through_views = [tables_read(views()[name].statement) for name in names & views().keys()]
    return (names & declared_tables().keys()).union(*through_views)


def test_a_materialized_table_depends_on_the_tables_that_its_statement_reads() -> None:
    reads = {file.name: tables_read(file.statement) - {file.name} for file in sql_files("materialized")}
    assert dependencies().keys() == reads.keys()
    for name, tables in dependencies().items():
        indirectly = set().union(*(reads[other] for other in reads[name] & reads.keys()))
        assert reads[name] - reads.keys() <= tables, name
        assert tables <= reads[name] | indirectly, name


def test_each_comes_after_the_materialized_tables_that_it_reads() -> None:
    order = list(dependencies())
    assert order.index("variant_descriptions") < order.index("dense_values")


@pytest.fixture
def evaluated() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as evaluated:
        update_schema(evaluated)
        evaluation = {"variant_id": "v", "task": "facts", "language": "fr", "split": "test", "scoring_rule": "mean"}
        rows = [
            {**evaluation, "protocol_id": "p", "evaluation_id": f"e{n}", "n_examples": n_examples}
            for n, n_examples in enumerate((10, 20, 20))
        ]
        insert_rows(evaluated, declared_tables()["evaluations"], rows)
        records = [{"kind": "evaluations", "id": f"e{n}", "step_version": 4, "n_artefacts": 1} for n in range(3)]
        insert_rows(evaluated, declared_tables()["records"], records)
        yield evaluated


def outdone(evaluated: duckdb.DuckDBPyConnection) -> list[tuple[str]]:
    return evaluated.execute("SELECT evaluation_id FROM internal.outdone_evaluations ORDER BY ALL").fetchall()


def test_a_refresh_computes_only_tables_that_depend_on_changed_ones(evaluated: duckdb.DuckDBPyConnection) -> None:
    refresh(evaluated, changed={"comparison_results"}, ids={"e0", "e1", "e2"})
    assert outdone(evaluated) == []
    refresh(evaluated, changed={"evaluations"}, ids={"e2"})
    assert outdone(evaluated) == [("e0",), ("e2",)]


def test_a_refresh_of_everything_finds_the_changed_rows_itself(evaluated: duckdb.DuckDBPyConnection) -> None:
    refresh_all(evaluated)
    assert outdone(evaluated) == [("e0",), ("e2",)]


def test_an_equally_large_evaluation_of_a_later_version_replaces_the_earlier_one(
    evaluated: duckdb.DuckDBPyConnection,
) -> None:
    evaluated.execute("UPDATE records SET step_version = 5 WHERE id = 'e2'")
    refresh_all(evaluated)
    assert outdone(evaluated) == [("e0",), ("e1",)]


def test_materialized_tables_are_current_from_a_refresh_until_they_are_invalidated(
    evaluated: duckdb.DuckDBPyConnection,
) -> None:
    assert not materialized_is_current(evaluated)
    refresh_all(evaluated)
    assert materialized_is_current(evaluated)
    invalidate_materialized(evaluated)
    assert not materialized_is_current(evaluated)


def test_the_last_note_under_a_name_is_the_one_that_is_read(evaluated: duckdb.DuckDBPyConnection) -> None:
    assert read_state(evaluated, "records") is None
    write_state(evaluated, "records", "a")
    write_state(evaluated, "records", "b")
    assert read_state(evaluated, "records") == "b"
