"""Texts of a table: rounding, bold type and marks."""

from dataclasses import replace

from catalog.store import Catalog
from catalog.tables.grid import interval_grid, value_grid
from catalog.tables.spec import RANK_CONSISTENCY
from catalog.tables.table import Table, build_table
from tests.catalog.table_specs import FACTS


def test_bold_marks_the_best_value_of_every_column(facts: Table) -> None:
    grid = value_grid(facts)
    for place, column in enumerate(facts.value_columns):
        cells = [row[grid.n_labels + place] for row in grid.blocks[0]]
        best = max(float(cell.text) for cell in cells)
        assert [cell.is_bold for cell in cells] == [float(cell.text) == best for cell in cells], column


def test_marks_are_the_corrected_p_values_below_alpha(facts: Table) -> None:
    facts = replace(facts, spec=replace(facts.spec, alpha=0.5))
    grid = value_grid(facts)
    for row, cells in zip(facts.rows, grid.blocks[0], strict=True):
        for place, column in enumerate(facts.columns):
            cell = row.cell(column)
            assert cell is not None
            significant = cell.p_holm is not None and cell.p_holm < 0.5
            expected = ("*" if (cell.difference or 0) > 0 else "†") if significant else ""
            assert cells[grid.n_labels + place].mark == expected
    marks = [cell.mark for cells in grid.blocks[0] for cell in cells]
    assert {"*", "†"} <= set(marks)
    unmarked = value_grid(replace(facts, spec=replace(facts.spec, marks=False)))
    assert not any(cell.mark for cells in unmarked.blocks[0] for cell in cells)


def test_a_lower_perplexity_is_better(catalog: Catalog) -> None:
    table = build_table(catalog, replace(FACTS, task="perplexity", metric="perplexity", choose_on=None))
    assert table is not None
    marks = [
        (cell.difference, text.mark)
        for row, cells in zip(table.rows, value_grid(table).blocks[0], strict=True)
        for cell, text in zip((row.cell(column) for column in table.columns), cells[3:], strict=False)
        if cell is not None and cell.difference is not None
    ]
    assert all((difference < 0) == (mark == "*") for difference, mark in marks if mark)
    assert {"*", "†"} <= {mark for _, mark in marks}


def test_intervals_have_the_same_rows_and_no_macro_column(facts: Table, catalog: Catalog) -> None:
    grid = interval_grid(facts)
    assert grid is not None
    assert grid.header == ("model", "method", "sparsity", "en", "es", "fr", "sw")
    cell = facts.rows[0].cell("en")
    assert cell is not None
    assert grid.blocks[0][0][3].text == f"{100 * (cell.ci_low or 0):.1f} to {100 * (cell.ci_high or 0):.1f}"
    ranks = build_table(catalog, replace(FACTS, metric=RANK_CONSISTENCY))
    assert ranks is not None
    assert interval_grid(ranks) is not None
