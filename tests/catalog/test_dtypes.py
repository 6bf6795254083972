"""Analyses of one model and the same sets in two dtypes: both are in the catalog, and neither replaces the other."""

from typing import Any

import pytest

from catalog.report.panels.features import feature_heat_maps
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from mlprune.store.store import Store
from tests.catalog.query_answers import answers
from tests.catalog_data import write_base_and_sets, write_rows

VALUES = {"bfloat16": 0.25, "float32": 0.125}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Overlaps of two sets and layer errors of a variant, in two dtypes."""
    store = Store(tmp_path_factory.mktemp("dtypes"))
    base_id, sets = write_base_and_sets(store, ("fr", "sw"))
    variant = {"variant_id": "@id", "base_model_id": base_id, "score": "random", "sparsity": 0.5}
    variant_id = write_rows(store, "variants", parameters={"score": "random"}, rows={"variants": [variant]})
    for dtype, value in VALUES.items():
        _write_overlaps(store, base_id, sorted(sets.values()), dtype=dtype, value=value)
        matrices = write_rows(store, "gram_matrices", parameters={"dtype": dtype}, rows={})
        row = {"variant_id": variant_id, "demonstration_set_id": sets["fr"], "block": 0, "layer": "fc1"}
        rows: dict[str, list[dict[str, Any]]] = {"layer_errors": [{**row, "n_weights": 4, "error": value}]}
        write_rows(store, "layer_errors", parameters={}, parents={"gram_matrices": matrices}, rows=rows)
    return Catalog.in_memory(store)


def _write_overlaps(store: Store, base_id: str, sets: list[str], *, dtype: str, value: float) -> None:
    for kind, table in (("statistics", "feature_overlaps"), ("expert_statistics", "expert_overlaps")):
        ids = [
            write_rows(store, kind, parameters={"dtype": dtype}, parents={"demonstration_set": one}, rows={})
            for one in sets
        ]
        row = {"base_model_id": base_id, "set_a": sets[0], "set_b": sets[1], "share": 0.3}
        if table == "feature_overlaps":
            rows = [{**row, "depth": 0, "value": value}, {**row, "set_a": sets[1], "set_b": sets[0], "depth": 0}]
            rows[1]["value"] = value / 2
        else:
            rows = [
                {**row, "block": 0, "n_top": 2, "jaccard": value, "by_chance": 0.1, "weighted": 0.5, "p_value": 0.5}
            ]
        write_rows(store, table, parameters={"share": 0.3}, parents={kind: ids}, rows={table: rows})


@pytest.mark.thorough("fills and folds catalogs of its own")
@pytest.mark.parametrize(
    ("query", "column"),
    [
        ("feature_overlap_by_depth", "value"),
        ("layer_error_by_language", "mean_error"),
    ],
)
def test_a_query_has_a_row_per_dtype(catalog: Catalog, query: str, column: str) -> None:
    rows = answers(catalog, query)
    values = {dtype: max(row[column] for row in rows if row["dtype"] == dtype) for dtype in VALUES}
    assert values == VALUES
    assert {row.get("rank", 1) for row in rows} == {1}


def test_each_direction_of_an_overlap_names_the_statistics_of_its_sets(catalog: Catalog) -> None:
    parents = catalog.query("FROM record_parents WHERE kind = 'statistics'")
    set_of = {row["id"]: row["parent_id"] for row in parents}
    rows = catalog.query("FROM feature_overlaps")
    assert len(rows) == 4
    assert all(set_of[row[f"statistics_{side}"]] == row[f"set_{side}"] for row in rows for side in "ab")


def test_the_heat_maps_of_dtypes_are_apart(catalog: Catalog) -> None:
    groups = list(feature_heat_maps(run_report_query(catalog, "feature_overlaps").rows))
    assert [group.title.partition(": ")[0].rpartition(", ")[2] for group in groups] == ["bfloat16", "float32"]
    assert all(len(group.rows) == 2 for group in groups)
