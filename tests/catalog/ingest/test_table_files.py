"""Meanings of the columns of views."""

import hashlib
import re
from graphlib import CycleError

import pytest

from catalog.ingest import table_files
from catalog.ingest.insert_rows import TYPES
from catalog.ingest.table_files import (
    SCHEMA_VERSION,
    ForeignKey,
    declared_tables,
    foreign_keys,
    in_dependency_order,
    macros,
    meanings_in,
    views,
)
from catalog.sql_files import SqlFile, sql_files, statement
from catalog.store import Catalog

HASHES = {
    1: "96d36293b260319ea71d1137d9514ee7eda501e62ad49047dfbb1fae2119d7ad",
    2: "9515d4ca9038dce0bc824668a7e82954142e683ed565252c6dde9b9a7bec967f",
    3: "8471c294542b98121548502b3675380357f2a33ce4a4ba9a92437283f57a40b8",
    4: "cfa0fd8a9362f7e92bc3dda420385ad6d7520f692ebded7b965e825307b1fa60",
    5: "71f195dd6c2e9984a655624e4f7e7ab456eceede1c285c940705807dd8d25447",
    6: "8481d52959562fc56babdc14c5b43d7a2a1cdde55dbb873e32cacbbe0a40bf79",
    7: "6ae0dc522d6916512e7a244ee60adc2756fc0e9b896f6bbdc0929041ac3e3e82",
    8: "826b1468edd58446cb5e6ea43cef217d4388f5e339a6b7be74b245492d5476f6",
    9: "697f9b55cf6409438d8008e488274c2e3a4b2f8e2f6b1707d5c6a640be0bf56f",
    10: "c1ae471445874a07f7d87827e2e08be39aebec1bb0ef573060076978569b617b",
    11: "b40ae04fb9025cc9b7cd8566f0242f3ea9bf03119d332a4cdb02dedf37bff023",
    12: "658dd85f904f220143ce6fbf3007069dc622b4744081101e435ced875d6215c1",
    13: "df6fbffa249e9420cab635d43446bfd0afcb073ffc272a69aa55f376f557041a",
}
"""Version of the schema -> hash of its statements. A changed statement needs a new version and a new line here: without
it catalog files of users would keep their old tables."""


def test_the_schema_of_each_version_is_the_pinned_one() -> None:
    statements = [file.statement for folder in ("schema", "materialized", "parts") for file in sql_files(folder)]
    schema_hash = hashlib.sha256("\n".join(statements).encode()).hexdigest()
    assert max(HASHES) == SCHEMA_VERSION
    assert schema_hash == HASHES[SCHEMA_VERSION], f"the hash of the statements is {schema_hash}"


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


READ = re.compile(r"\b(?:FROM|JOIN) (\w+)")


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
    assert "('zh-Hant', 'Hant', 5), ('ru', 'Cyrl', 4)" in views()["language_resources"].statement


@pytest.mark.parametrize(
    ("view", "column", "relation"),
    [
        ("comparisons", "ci_low", "comparison_results"),
        ("changes_to_dense", "standard_error", "comparison_results"),
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
        columns = {row["column_name"] for row in rows if row["relation"] == name}
        assert all(meanings_in(name)[column].text for column in columns)
        assert file.column_comments.keys() <= columns
