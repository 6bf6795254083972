"""Tables of values: rows that are chosen on dev and reported on test, and the macro column."""

from dataclasses import replace
from typing import Any

import pytest

from catalog.store import Catalog
from catalog.tables.spec import RowSpec
from catalog.tables.table import MACRO, Table, best_values, build_table
from tests.catalog.table_specs import FACTS

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
