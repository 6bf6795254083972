"""Metrics of tables."""

from typing import Any

import pytest

from catalog.capabilities.tables.spec import (
    COLUMNS_OF_VARIANTS,
    RANK_CONSISTENCY,
    MeasuredVariant,
    RowSpec,
    TableSpec,
    choose_rows,
    grouped_cells,
    is_fraction,
    languages_in_order,
    measured_variants,
    placeholders,
)
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.vocabulary import is_higher_better
from tests.catalog.families import exploratory, key_of


def test_directions_and_units_of_metrics() -> None:
    metrics = (RANK_CONSISTENCY, "bleu", "perplexity")
    assert [is_higher_better(metric) for metric in metrics] == [True, True, False]
    assert [is_fraction(metric) for metric in metrics] == [True, True, False]


def test_variants_are_chosen_by_the_metric_of_the_table_or_by_accuracy() -> None:
    assert TableSpec("t", "T", "x", "bleu", ()).chosen_by == "bleu"
    assert TableSpec("t", "T", "x", RANK_CONSISTENCY, ()).chosen_by == "accuracy"
    assert TableSpec("t", "T", "x", RANK_CONSISTENCY, (), choose_by="f1_macro").chosen_by == "f1_macro"


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
            assert cell.p_corrected == (of_test and families[of_test].p_corrected)


def test_rank_consistency_has_the_same_columns_and_no_english_column(catalog: Catalog) -> None:
    queries = [statement("tables", name) for name in ("metric_cells", "rank_consistency_cells")]
    parameters: list[dict[str, Any]] = [{"task": "facts", "metric": "accuracy", "split": "test"}]
    parameters.append({"task": "facts", "split": "test"})
    columns = [catalog.select(*query).columns for query in zip(queries, parameters, strict=True)]
    assert columns[0] == columns[1]
    assert set(COLUMNS_OF_VARIANTS) <= set(columns[0])
    variants = measured_variants(catalog, task="facts", metric=RANK_CONSISTENCY, split="test")
    assert languages_in_order(variants) == ["es", "fr", "sw"]


def test_evaluations_of_one_variant_in_several_ways_are_kept_apart(catalog: Catalog) -> None:
    rows = catalog.query(statement("tables", "metric_cells"), {"task": "facts", "metric": "accuracy", "split": "test"})
    pmi = [{**row, "scoring_rule": "pmi"} for row in rows]
    assert len(grouped_cells([*rows, *pmi])) == 2 * len(grouped_cells(rows))


SPEC = TableSpec("t", "T", "facts", "accuracy", ())


def variant(variant_id: str, sparsity: float = 0.3, **columns: Any) -> MeasuredVariant:
    row = {
        "variant_id": variant_id,
        "sparsity": sparsity,
        "score": "wanda",
        "seed": 0,
        "label": f"label of {variant_id}",
    }
    return MeasuredVariant({**row, **columns}, {})


def chosen(
    spec: TableSpec, variants: list[MeasuredVariant], dev_values: dict[str, float]
) -> list[tuple[str, str, int]]:
    row = RowSpec("row {score}", {})
    rows = choose_rows(spec, row, variants=variants, dev_values=dev_values)
    return [(choice.label, choice.variant.variant_id, choice.n_candidates) for choice in rows]


def test_the_best_on_dev_is_chosen_and_the_denser_one_of_equals_then_the_smaller_id() -> None:
    variants = [variant("a", 0.1), variant("b", 0.5), variant("c", 0.3)]
    assert chosen(SPEC, variants, {"a": 0.6, "b": 0.5, "c": 0.5}) == [("row wanda", "a", 3)]
    assert chosen(SPEC, variants, {"a": 0.5 - 1e-12, "b": 0.5, "c": 0.5}) == [("row wanda", "a", 3)]
    assert chosen(SPEC, [variant("z"), variant("y")], {"y": 0.5, "z": 0.5}) == [("row wanda", "y", 2)]


@pytest.mark.parametrize(("metric", "expected"), [("perplexity", "a"), ("bleu", "b")])
def test_lower_is_better_where_the_metric_says_so(metric: str, expected: str) -> None:
    spec = TableSpec("t", "T", "x", metric, ())
    assert chosen(spec, [variant("a"), variant("b")], {"a": 10.0, "b": 20.0}) == [("row wanda", expected, 2)]


def test_variants_without_a_value_on_dev_are_not_candidates() -> None:
    assert chosen(SPEC, [variant("a"), variant("b"), variant("c")], {"b": 0.1, "c": 0.0}) == [("row wanda", "b", 2)]


def test_values_in_a_label_give_rows_of_their_own() -> None:
    variants = [variant("a"), variant("b", score="ria"), variant("c", score="ria")]
    assert chosen(SPEC, variants, {"c": 1.0}) == [("row wanda", "a", 1), ("row ria", "c", 1)]
    assert placeholders("{score} on {demonstration_label}") == ("score", "demonstration_label")


def test_without_values_on_dev_labels_name_the_seed_or_the_variant() -> None:
    seeds = [variant("a", seed=0), variant("b", seed=1), variant("c", 0.5)]
    assert [label for label, _, _ in chosen(SPEC, seeds, {})] == ["row wanda, seed 0", "row wanda, seed 1", "row wanda"]
    alike = [variant("a"), variant("b")]
    assert [label for label, _, _ in chosen(SPEC, alike, {})] == ["label of a", "label of b"]


def test_filters_take_one_value_or_several() -> None:
    both = variant("a", score="ria", intervention=None)
    assert both.matches({"score": ("wanda", "ria"), "intervention": (None,)})
    assert not both.matches({"score": ("wanda",)})
