import re
from collections.abc import Iterator

import duckdb
import pytest

from catalog.ingest.fold import update_schema
from catalog.ingest.insert_rows import (
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


def tables_read(text: str) -> set[str]:
    """Tables that a statement reads, directly or through views."""
    names = set(re.findall(r"\b(?:FROM|JOIN)\s+(\w+)", text))
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
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        update_schema(connection)
        evaluation = {"variant_id": "v", "task": "facts", "language": "fr", "split": "test", "scoring_rule": "mean"}
        rows = [
            {**evaluation, "protocol_id": "p", "evaluation_id": f"e{n}", "n_examples": n_examples}
            for n, n_examples in enumerate((10, 20, 20))
        ]
        insert_rows(connection, declared_tables()["evaluations"], rows)
        records = [{"kind": "evaluations", "id": f"e{n}", "step_version": 4, "n_artefacts": 1} for n in range(3)]
        insert_rows(connection, declared_tables()["records"], records)
        yield connection


def outdone(connection: duckdb.DuckDBPyConnection) -> list[tuple[str]]:
    return connection.execute("SELECT evaluation_id FROM outdone_evaluations ORDER BY ALL").fetchall()


def test_a_refresh_computes_only_tables_that_depend_on_changed_ones(connection: duckdb.DuckDBPyConnection) -> None:
    refresh(connection, changed={"comparison_results"}, ids={"e0", "e1", "e2"})
    assert outdone(connection) == []
    refresh(connection, changed={"evaluations"}, ids={"e2"})
    assert outdone(connection) == [("e0",), ("e2",)]


def test_a_refresh_of_everything_finds_the_changed_rows_itself(connection: duckdb.DuckDBPyConnection) -> None:
    refresh_all(connection)
    assert outdone(connection) == [("e0",), ("e2",)]


def test_an_equally_large_evaluation_of_a_later_version_replaces_the_earlier_one(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    connection.execute("UPDATE records SET step_version = 5 WHERE id = 'e2'")
    refresh_all(connection)
    assert outdone(connection) == [("e0",), ("e1",)]


def test_materialized_tables_are_current_from_a_refresh_until_they_are_invalidated(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    assert not materialized_is_current(connection)
    refresh_all(connection)
    assert materialized_is_current(connection)
    invalidate_materialized(connection)
    assert not materialized_is_current(connection)


def test_the_last_note_under_a_name_is_the_one_that_is_read(connection: duckdb.DuckDBPyConnection) -> None:
    assert read_state(connection, "records") is None
    write_state(connection, "records", "a")
    write_state(connection, "records", "b")
    assert read_state(connection, "records") == "b"
