"""Descriptions of queries, tables, views and macros."""

import pytest

from catalog.describe import describe
from catalog.ingest.table_files import declared_tables, views
from catalog.sql_files import Parameter, list_queries, listed_views
from catalog.store import Catalog
from mlprune.errors import QueryError


def test_a_query_has_its_parameters_and_its_columns_with_type_unit_and_meaning(catalog: Catalog) -> None:
    found = describe(catalog, "best_by_language")
    columns = {column.name: column for column in found.columns}
    assert found.kind == "query"
    assert Parameter("with_groups", "BOOLEAN", default=False) in found.parameters
    assert (columns["win_share"].type, columns["win_share"].unit) == ("DOUBLE", "fraction")
    assert "resamples" in columns["win_share"].meaning
    assert columns["chosen_on_dev"].unit == ""


@pytest.mark.parametrize("name", sorted(listed_views()))
def test_every_column_of_a_view_for_people_has_a_meaning(catalog: Catalog, name: str) -> None:
    found = describe(catalog, name)
    assert found.kind == "view"
    assert [column.name for column in found.columns if not column.meaning] == []


def test_a_helper_is_found_with_and_without_its_schema(catalog: Catalog) -> None:
    assert describe(catalog, "protocols") == describe(catalog, "internal.protocols")
    assert describe(catalog, "internal.protocols").name == "internal.protocols"
    assert describe(catalog, "origins").kind == "macro"


def test_a_name_of_a_query_and_a_table_is_the_query_and_lines_fit(catalog: Catalog) -> None:
    assert "failures" in declared_tables().keys() & {query.name for query in list_queries()}
    found = describe(catalog, "failures")
    assert found.kind == "query"
    for width in (40, 80):
        assert max(map(len, found.lines(width))) <= width


def test_a_helper_view_is_not_listed() -> None:
    assert "protocols" in views()
    assert "protocols" not in listed_views()


def test_an_unknown_name_is_an_error_that_names_near_ones(catalog: Catalog) -> None:
    with pytest.raises(QueryError) as error:
        describe(catalog, "measure")
    assert "measured" in str(error.value.context["nearest"])
