"""The page with every table, view and query: complete, a meaning for every column, links that lead somewhere."""

import re

import pytest

from catalog.ingest.table_files import ForeignKey, declared_tables, foreign_keys, macros, views
from catalog.sql_files import list_queries
from catalog.store.item_answers import MACRO
from infra.pages.site import DOCS


@pytest.fixture(scope="module")
def page() -> str:
    return (DOCS / "reference" / "catalog.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def headings(page: str) -> list[str]:
    return re.findall(r"^### `(\w+)`$", page, flags=re.MULTILINE)


def test_every_table_view_and_query_has_a_heading(headings: list[str]) -> None:
    queries = [query.name for query in list_queries()]
    assert sorted(headings) == sorted([*declared_tables(), *views(), *macros(), MACRO, *queries])


def test_every_column_of_a_table_has_a_type_and_a_meaning(page: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w*) \| (.*) \| (.*) \|$", page, flags=re.MULTILINE)
    assert len(rows) > 100
    assert all(kind and meaning.strip() for _, kind, _, meaning in rows)


def test_a_column_that_refers_to_a_table_names_it(page: str) -> None:
    assert ForeignKey("metrics", "variant_id", "variants", "variant_id") in foreign_keys()
    section = page.partition("### `metrics`")[2].partition("###")[0]
    assert "| `variant_id` | VARCHAR | → [variants](#variants) |" in section
    assert "| `metric` | VARCHAR | 2 |" in section


def test_two_headings_with_the_same_name_have_separate_links(page: str, headings: list[str]) -> None:
    assert headings.count("failures") == 2
    assert "[failures](#failures)" in page
    assert "[failures](#failures-1)" in page


def test_a_query_lists_its_parameters_and_its_columns(page: str) -> None:
    section = page.partition("### `best_by_language`")[2].partition("###")[0]
    assert '`$task VARCHAR = "facts"`' in section
    assert "`language`, " in section
