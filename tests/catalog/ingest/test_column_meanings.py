"""Meanings of the columns of views."""

import pytest

from catalog.ingest.column_meanings import meanings_in
from catalog.ingest.view_files import views
from catalog.sql_files import statement
from catalog.store import Catalog


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
