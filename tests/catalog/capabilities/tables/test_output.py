"""Tables as CSV: parsed back, they equal the catalog."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog.capabilities.tables.output import (
    build_tables,
    escape,
    intervals_to_csv,
    render_tables,
    to_latex,
    to_markdown,
    values_to_csv,
    write_tables,
)
from catalog.capabilities.tables.spec import RANK_CONSISTENCY
from catalog.capabilities.tables.table import Grid, GridCell, Table, value_grid
from catalog.store import Catalog
from mlprune.errors import BadInputError, QueryError
from tests.catalog.capabilities.tables.table_specs import FACTS

Rows = dict[str, list[dict[str, Any]]]


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_values_and_intervals_equal_the_records(facts: Table, rows: Rows) -> None:
    metrics = {
        (row["variant_id"], row["language"]): row
        for row in rows["metrics"]
        if (row["task"], row["split"], row["metric"]) == ("facts", "test", "accuracy")
    }
    values, intervals = parsed(values_to_csv(facts)), parsed(intervals_to_csv(facts))
    assert len(values) == len(intervals) == len(facts.rows)
    for value_row, interval_row in zip(values, intervals, strict=True):
        for column in facts.columns:
            row = metrics[value_row["variant_id"], column]
            assert float(value_row[column]) == row["value"]
            assert float(interval_row[f"{column}_low"]) == row["ci_low"]
            assert float(interval_row[f"{column}_high"]) == row["ci_high"]
            assert int(interval_row[f"{column}_n"]) == row["n"]
    assert values[0]["sparsity"] == "0.0"
    assert [row["method"] for row in values] == [row.label for row in facts.rows]


def test_a_value_that_is_missing_is_an_empty_cell(facts: Table) -> None:
    row = facts.rows[0]
    incomplete = type(row)(row.label, type(row.variant)(row.variant.row, {}), 1, None)
    block = type(facts.blocks[0])("tiny", (incomplete,))
    table = type(facts)(facts.spec, facts.columns, facts.macro_columns, (block,))
    assert parsed(values_to_csv(table))[0]["en"] == parsed(values_to_csv(table))[0]["macro"] == ""
    assert parsed(intervals_to_csv(table))[0]["en_low"] == ""


NASTY = Grid(
    "t",
    "50 % of {a}_b & c\\d",
    1,
    ("method", "en"),
    (
        (
            (GridCell("a_b & 50 %"), GridCell("1.0", is_bold=True, mark="*")),
            (GridCell("#~^$"), GridCell("–", is_bold=True)),
        ),
    ),
)


def unescaped(text: str, character: str) -> int:
    return len(re.findall(rf"(?<!\\){re.escape(character)}", text))


def check_structure(text: str) -> list[list[str]]:
    """Check that a table is balanced, and return its rows of cells."""
    environments = re.findall(r"\\(begin|end)\{(\w+)\}", text)
    assert environments == [("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table")]
    comment, _, text = text.partition("\n")
    assert re.fullmatch(r"% .*\\usepackage\{booktabs\}.*", comment)
    assert unescaped(text, "{") == unescaped(text, "}")
    assert unescaped(text, "$") % 2 == 0
    assert not re.search(r"(?<!\\)[%#~]", text)
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
    assert columns is not None
    lines = [line for line in text.splitlines() if line.endswith(r" \\")]
    rows = [re.split(r"(?<!\\)&", line.removesuffix(r" \\")) for line in lines]
    assert {len(row) for row in rows} == {len(columns[1])}
    assert all("_" not in re.sub(r"\\_", "", line) for line in lines)
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in text.splitlines()
    return [[cell.strip() for cell in row] for row in rows]


def test_a_table_is_balanced_and_has_every_cell(facts: Table) -> None:
    rows = check_structure(to_latex(value_grid(facts)))
    assert rows[0] == ["model", "method", "sparsity", "en", "es", "fr", "sw", "macro"]
    assert len(rows) == 1 + len(facts.rows)
    assert [row[1] for row in rows[1:]] == [row.label for row in facts.rows]
    for row, cells in zip(facts.rows, rows[1:], strict=True):
        shown = [re.sub(r"\\textbf\{|\}|\$.*", "", cell) for cell in cells[3:]]
        assert shown == [f"{100 * (row.value(column) or 0):.1f}" for column in facts.value_columns]


def test_characters_with_a_meaning_are_escaped() -> None:
    rows = check_structure(to_latex(NASTY))
    assert rows[1] == [r"a\_b \& 50 \%", r"\textbf{1.0}$^{*}$"]
    assert rows[2] == [r"\#\textasciitilde{}\textasciicircum{}\$", "--"]


@pytest.mark.parametrize(
    ("text", "expected"), [("a\nb", "a b"), ("<x>", r"\textless{}x\textgreater{}"), ("中文", "中文")]
)
def test_other_characters_print_as_they_are(text: str, expected: str) -> None:
    assert escape(text) == expected


def pipes(line: str) -> list[int]:
    return [match.start() for match in re.finditer(r"(?<!\\)\|", line)]


def test_pipes_are_aligned(facts: Table) -> None:
    caption, empty, *lines = to_markdown(value_grid(facts)).splitlines()
    assert caption.startswith("Facts: accuracy")
    assert empty == ""
    assert len({tuple(pipes(line)) for line in lines}) == 1
    assert len(lines) == 2 + len(facts.rows)
    assert re.fullmatch(r"\|( -+ \|){3}( -+: \|){5}", lines[1])


def test_bold_marks_and_special_characters() -> None:
    row = (GridCell("a|b*c_d"), GridCell("1.0", is_bold=True, mark="*"), GridCell("–", is_bold=True))
    text = to_markdown(Grid("t", "50 % *", 1, ("method", "en", "fr"), ((row,),)))
    assert r"| a\|b\*c\_d | **1.0**\* |   – |" in text
    assert text.startswith("50 % \\*\n")


def test_wide_characters_take_two_columns() -> None:
    rows = ((GridCell("中文"), GridCell("1.0")), (GridCell("fr"), GridCell("2.0")))
    lines = to_markdown(Grid("t", "c", 1, ("method", "en"), (rows,))).splitlines()[2:]
    assert lines[2] == "| 中文   | 1.0 |"
    assert lines[3] == "| fr     | 2.0 |"


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
