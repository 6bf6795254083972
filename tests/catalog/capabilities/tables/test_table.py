"""Tables of values: rows that are chosen on dev and reported on test, and the macro column."""

from dataclasses import replace
from typing import Any

import pytest

from catalog.capabilities.tables.spec import RANK_CONSISTENCY, RowSpec
from catalog.capabilities.tables.table import (
    MACRO,
    Table,
    best_values,
    build_table,
    interval_caption,
    interval_grid,
    value_caption,
    value_grid,
)
from catalog.store import Catalog
from tests.catalog.capabilities.tables.table_specs import FACTS

Rows = dict[str, list[dict[str, Any]]]
OTHERS = ("es", "fr", "sw")


def accuracies(rows: Rows, split: str) -> dict[str, dict[str, float]]:
    """Variant -> language -> accuracy on facts, from the records."""
    values: dict[str, dict[str, float]] = {}
    for row in rows["metrics"]:
        if (row["task"], row["split"], row["metric"]) == ("facts", split, "accuracy"):
            values.setdefault(row["variant_id"], {})[row["language"]] = row["value"]
    return values


def test_every_row_is_the_best_variant_on_dev_with_its_values_on_test(facts: Table, rows: Rows) -> None:
    dev, test = accuracies(rows, "dev"), accuracies(rows, "test")
    variants = {row["variant_id"]: row for row in rows["variants"]}
    labels = [row.label for row in facts.rows]
    assert labels == ["dense model", "random", "translation es-en", "translation fr-en"]
    random = [variant for variant in variants if variants[variant]["score"] == "random"]
    best = max(sum(dev[variant][language] for language in OTHERS) for variant in random)
    chosen = facts.rows[1].variant.variant_id
    assert sum(dev[chosen][language] for language in OTHERS) == best
    assert facts.rows[1].n_candidates == len(random) == 6
    for row in facts.rows:
        assert {column: row.value(column) for column in facts.columns} == test[row.variant.variant_id]


def test_the_macro_column_is_the_mean_outside_english(facts: Table) -> None:
    assert (facts.columns, facts.macro_columns) == (("en", *OTHERS), OTHERS)
    for row in facts.rows:
        values = [row.value(column) for column in OTHERS]
        assert row.value(MACRO) == pytest.approx(sum(value or 0 for value in values) / 3)


def test_the_best_value_of_a_column_is_the_lowest_for_perplexity(catalog: Catalog) -> None:
    table = build_table(catalog, replace(FACTS, task="perplexity", metric="perplexity", choose_on=None))
    assert table is not None
    values = [row.value("en") for row in table.rows]
    assert best_values(table, table.blocks[0])["en"] == min(value for value in values if value is not None)


def test_without_a_development_split_every_variant_is_a_row(catalog: Catalog) -> None:
    table = build_table(catalog, replace(FACTS, choose_on=None))
    assert table is not None
    labels = [row.label for row in table.rows]
    assert labels.count("translation fr-en") == 3
    assert labels.count("random, seed 0") == labels.count("random, seed 1") == 3
    assert table.n_dev == 0


def test_columns_come_in_the_order_of_the_specification_and_empty_ones_are_reported(catalog: Catalog) -> None:
    rows = (*FACTS.rows, RowSpec("RIA {demonstration_label}", {"score": ("ria",)}))
    table = build_table(catalog, replace(FACTS, columns=("sw", "hi", "en"), rows=rows))
    assert table is not None
    assert table.value_columns == ("sw", "en", MACRO)
    assert table.notes == ("facts: no values in the columns hi", "facts: no variants for the rows RIA")


def test_rows_of_demonstrations_follow_the_order_of_the_columns(catalog: Catalog) -> None:
    table = build_table(catalog, replace(FACTS, columns=("fr", "es")))
    assert table is not None
    assert [row.label for row in table.rows][2:] == ["translation fr-en", "translation es-en"]


def test_a_table_without_values_is_none(catalog: Catalog) -> None:
    assert build_table(catalog, replace(FACTS, task="xnli")) is None
    assert build_table(catalog, replace(FACTS, rows=(RowSpec("RIA", {"score": ("ria",)}),))) is None
    assert build_table(catalog, replace(FACTS, where={"model": ("another",)})) is None


def test_variants_can_be_chosen_on_another_task(catalog: Catalog, facts: Table) -> None:
    spec = replace(FACTS, task="translation", metric="bleu", macro="all", choose_task="facts")
    table = build_table(catalog, spec)
    assert table is not None
    assert [row.variant.variant_id for row in table.rows] == [row.variant.variant_id for row in facts.rows]
    assert table.columns == ("es-en", "fr-en")
    assert spec.chosen_by == "accuracy"


def test_a_caption_says_what_is_needed_to_read_the_table(facts: Table) -> None:
    caption = value_caption(facts)
    for words in (
        "accuracy in percent, split test, n = 40 per column",
        "best of up to 6 variants, chosen on split dev by the mean accuracy over es, fr, sw (n = 40 per language)",
        "macro: the mean over es, fr, sw",
        "Tango's score test, p < 0.05 after Holm's correction over a family of 156 tests",
        "The macro column is not tested",
    ):
        assert words in caption
    assert "LRP2" not in caption
    assert "95 % intervals of accuracy in percent, split test, n = 40" in interval_caption(facts)


def test_the_test_of_rank_consistency_is_named(catalog: Catalog) -> None:
    table = build_table(catalog, replace(FACTS, metric=RANK_CONSISTENCY))
    assert table is not None
    assert "sign flips of clusters of items, p < 0.05 after Holm's correction" in value_caption(table)
    assert "95 % intervals of RankC with English" in interval_caption(table)


def test_missing_tests_are_said(facts: Table) -> None:
    assert "Differences are not tested here." in value_caption(replace(facts, spec=replace(FACTS, marks=False)))


def test_the_direction_and_the_test_follow_the_metric(catalog: Catalog) -> None:
    table = build_table(catalog, replace(FACTS, task="perplexity", metric="perplexity", macro="none"))
    assert table is not None
    caption = value_caption(table)
    assert "Bold: the lowest value" in caption
    assert "sign flips of clusters of items" in caption
    assert "percent" not in caption
    assert "macro" not in caption


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
            significant = cell.p_corrected is not None and cell.p_corrected < 0.5
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
