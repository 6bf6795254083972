"""Meanings of the columns of views."""

import re
from graphlib import CycleError

import pytest

from catalog.ingest import table_files
from catalog.ingest.insert_rows import TYPES
from catalog.ingest.table_files import (
    ForeignKey,
    declared_tables,
    foreign_keys,
    in_dependency_order,
    macros,
    meanings_in,
    views,
)
from catalog.sql_files import SqlFile, statement
from catalog.store import Catalog


def test_every_column_has_a_type_that_rows_can_be_inserted_as() -> None:
    for table in declared_tables().values():
        assert {column.type for column in table.columns} <= TYPES.keys(), table.name


def test_every_line_of_a_statement_declares_a_column_or_the_key() -> None:
    for table in declared_tables().values():
        n_lines = len(table.file.statement.splitlines()) - len(("CREATE", "PRIMARY KEY", ");"))
        assert len(table.columns) == n_lines, table.name
        assert table.primary_key, table.name
        assert set(table.primary_key) <= set(table.column_names), table.name


def test_every_foreign_key_leads_to_a_column_of_a_primary_key() -> None:
    assert ForeignKey("metrics", "variant_id", "variants", "variant_id") in foreign_keys()
    assert ForeignKey("record_parents", "parent_id", "records", "id") in foreign_keys()
    for key in foreign_keys():
        assert key.parent_column in declared_tables()[key.parent].primary_key, key


def test_a_foreign_key_to_a_table_of_several_key_columns_has_to_name_one() -> None:
    with pytest.raises(ValueError, match="metrics"):
        table_files._single_key_column("metrics")


READ = re.compile(r"\b(?:FROM|JOIN) (?:internal\.)?(\w+)")


def files(**texts: str) -> dict[str, SqlFile]:
    return {name: SqlFile(name, text) for name, text in texts.items()}


def test_statements_come_after_those_that_they_read() -> None:
    ordered = in_dependency_order(files(a="SELECT * FROM c", b="SELECT 1 -- c and d", c="SELECT 2", d="FROM a JOIN b"))
    assert list(ordered) == ["b", "c", "a", "d"]


def test_statements_that_read_each_other_are_refused() -> None:
    with pytest.raises(CycleError):
        in_dependency_order(files(a="FROM b", b="FROM a"))


def test_every_view_comes_after_the_views_that_it_reads() -> None:
    order = list(views())
    read = {(name, other) for name, file in views().items() for other in READ.findall(file.statement) if other in order}
    assert [(name, other) for name, other in read if order.index(other) >= order.index(name)] == []
    assert len(read) > 10
    assert not set(order) & set(macros())


def test_the_view_of_languages_has_the_rows_of_the_language_table() -> None:
    assert (
        "('zh-Hant', 'Hant', 5, 'traditional Chinese'), ('ru', 'Cyrl', 4, 'Russian')"
        in views()["language_resources"].statement
    )


@pytest.mark.parametrize(
    ("view", "column", "relation"),
    [
        ("comparisons", "ci_low", "comparison_results"),
        ("against_dense", "standard_error", "comparison_results"),
        ("aggregates", "interval", "aggregate_results"),
        ("measured", "ci_low", "metrics"),
        ("rank_consistency_by_language", "chance", "rank_consistency"),
        ("described_questions", "name", "questions"),
        ("variant_ancestors", "kind", "records"),
        ("variant_orderings", "level", "ordering_variants"),
        ("method_differences", "estimate", "method_differences"),
    ],
)
def test_a_column_has_its_meaning_from_what_the_view_reads(view: str, column: str, relation: str) -> None:
    assert meanings_in(view)[column].relation == relation


def test_every_column_of_a_view_has_a_meaning_and_every_meaning_a_column(catalog: Catalog) -> None:
    rows = catalog.query(statement("reference", "columns"))
    for name, file in views().items():
        columns = {row["column_name"] for row in rows if row["relation"] == file.relation}
        assert columns
        assert all(meanings_in(name)[column].text for column in columns)
        assert file.column_comments.keys() <= columns
