"""Tables as text and as files."""

from dataclasses import replace
from pathlib import Path

import pytest

from catalog.store import Catalog
from catalog.tables.output import build_tables, render_tables, write_tables
from catalog.tables.spec import RANK_CONSISTENCY
from mlprune.errors import BadInputError, QueryError
from tests.catalog.table_specs import FACTS

XNLI = replace(FACTS, name="xnli", task="xnli")


def test_a_table_without_values_is_one_line_and_the_others_are_built(catalog: Catalog) -> None:
    built = build_tables(catalog, [XNLI, FACTS])
    assert [table.spec.name for table in built.tables] == ["facts"]
    (note,) = built.notes
    assert note.startswith("xnli: not written, the store has no accuracy of xnli (test); it has ")
    assert "accuracy, ece of facts (dev)" in note
    with pytest.raises(QueryError, match="no table has a value"):
        build_tables(catalog, [XNLI])


def test_every_format_is_written_with_a_second_file_for_intervals(catalog: Catalog, tmp_path: Path) -> None:
    ranks = replace(FACTS, name="ranks", metric=RANK_CONSISTENCY)
    tables = build_tables(catalog, [FACTS, ranks]).tables
    paths = list(write_tables(tables, tmp_path / "new", formats=["latex", "markdown", "csv"]))
    names = ["facts", "facts-intervals", "ranks", "ranks-intervals"]
    assert sorted(path.name for path in paths) == sorted(
        f"{name}.{end}" for name in names for end in ("tex", "md", "csv")
    )
    assert all(path.read_text("utf-8").endswith("\n") for path in paths)
    contents = {path: path.read_bytes() for path in paths}
    assert {path: path.read_bytes() for path in write_tables(tables, tmp_path / "new", formats=["latex"])}.items() <= (
        contents.items()
    )


def test_all_tables_in_one_text(catalog: Catalog) -> None:
    tables = build_tables(catalog, [FACTS]).tables
    assert render_tables(tables, "latex").count(r"\begin{table}") == 2
    with pytest.raises(BadInputError, match="nearest='latex'"):
        render_tables(tables, "latx")


def test_a_folder_that_cannot_be_made_is_one_line(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    tables = build_tables(catalog, [FACTS]).tables
    with pytest.raises(BadInputError, match="cannot be written") as caught:
        list(write_tables(tables, tmp_path / "file" / "out", formats=["csv"]))
    assert "\n" not in str(caught.value)
