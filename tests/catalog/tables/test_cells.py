"""Cells of tables, from rows of the catalog."""

from typing import Any

from catalog.queries import find_query
from catalog.store import Catalog
from catalog.tables.cells import grouped_cells, languages_in_order, measured_variants
from catalog.tables.spec import COLUMNS_OF_VARIANTS, RANK_CONSISTENCY
from tests.catalog.families import exploratory, key_of

Rows = dict[str, list[dict[str, Any]]]


def test_a_cell_has_the_value_interval_and_corrected_p_value_of_the_catalog(catalog: Catalog, rows: Rows) -> None:
    metrics = {(row["evaluation_id"], row["metric"]): row for row in rows["metrics"]}
    dense = next(row["variant_id"] for row in rows["variants"] if not row["score"])
    families = exploratory(rows)
    tests = {
        row["evaluation_id"]: row
        for row in rows["comparison_results"]
        if row["metric"] == "accuracy" and row["baseline_id"] == dense
    }
    variants = measured_variants(catalog, task="facts", metric="accuracy", split="test")
    assert len(variants) == len(rows["variants"])
    for variant in variants:
        for cell in variant.cells.values():
            row = metrics[cell.evaluation_id, "accuracy"]
            assert (cell.value, cell.ci_low, cell.ci_high, cell.n) == tuple(
                row[key] for key in ("value", "ci_low", "ci_high", "n")
            )
            of_test = key_of(tests[cell.evaluation_id]) if variant.row["score"] else None
            assert cell.p_holm == (of_test and families[of_test].p_holm)


def test_rank_consistency_has_the_same_columns_and_no_english_column(catalog: Catalog) -> None:
    queries = [find_query(name).sql for name in ("cells_of_metric", "cells_of_rank_consistency")]
    parameters: list[dict[str, Any]] = [{"task": "facts", "metric": "accuracy", "split": "test"}]
    parameters.append({"task": "facts", "split": "test"})
    columns = [catalog.select(*query).columns for query in zip(queries, parameters, strict=True)]
    assert columns[0] == columns[1]
    assert set(COLUMNS_OF_VARIANTS) <= set(columns[0])
    variants = measured_variants(catalog, task="facts", metric=RANK_CONSISTENCY, split="test")
    assert languages_in_order(variants) == ["es", "fr", "sw"]


def test_evaluations_of_one_variant_in_several_ways_are_kept_apart(catalog: Catalog) -> None:
    rows = catalog.query(find_query("cells_of_metric").sql, {"task": "facts", "metric": "accuracy", "split": "test"})
    pmi = [{**row, "scoring_rule": "pmi"} for row in rows]
    assert len(grouped_cells([*rows, *pmi])) == 2 * len(grouped_cells(rows))
