"""Query of seeds, and the variants that have a single draw."""

import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from catalog.queries import run_user_query
from catalog.store import Catalog
from mlprune.store.store import Store
from tests.catalog_data import LANGUAGES, SPARSITIES, write_rows

Rows = dict[str, list[dict[str, Any]]]


def test_seed_variance_is_over_the_seeds_of_random_pruning(catalog: Catalog, rows: Rows) -> None:
    found = run_user_query(catalog, "seed_variance", ()).as_dicts()
    assert {(row["score"], row["n_seeds"], row["seed_of"]) for row in found} == {("random", 2, "score")}
    assert len(found) == len(SPARSITIES) * len(LANGUAGES)
    chosen = {row["variant_id"] for row in rows["variants"] if (row["score"], row["sparsity"]) == ("random", 0.3)}
    keys = {"task": "facts", "split": "test", "metric": "accuracy", "language": "fr"}
    values = [row["value"] for row in rows["metrics"] if row["variant_id"] in chosen and keys.items() <= row.items()]
    row = next(row for row in found if (row["sparsity"], row["group_name"]) == (0.3, "fr"))
    assert row["sd_seed"] == pytest.approx(statistics.stdev(values))
    assert set(row["variant_ids"]) == chosen


def test_of_two_recipes_the_one_with_more_seeds_is_shown(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for seed in (0, 7):
        variant = {"variant_id": f"variant {seed}", "score": "random", "sparsity": 0.5, "base_model_id": "base"}
        write_rows(store, "variants", parameters={"seed": seed}, rows={"variants": [variant]})
    for seeds in ([0, 1], [0, 1, 2], [7, 8]):
        ids = [f"variant {seed}" for seed in seeds]
        row = {"seed_components_id": "@id", "variant_id": ids[0], "variant_ids": ids, "seeds": seeds}
        row |= {"seed_of": "score", "task": "facts", "split": "test", "metric": "accuracy", "group_kind": "language"}
        row |= {"group_name": "fr", "n_seeds": len(seeds), "protocol_id": "p"}
        write_rows(store, "seed_components", parameters={"seeds": seeds}, rows={"seed_components": [row]})
    with Catalog.open(store) as opened:
        found = run_user_query(opened, "seed_variance", ["task=facts"]).as_dicts()
    assert sorted(row["seeds"] for row in found) == [[0, 1, 2], [7, 8]]


def compared_methods(catalog: Catalog) -> dict[tuple[str, tuple[str, ...]], dict[str, Any]]:
    found = run_user_query(catalog, "methods_over_seeds", ()).as_dicts()
    assert found == sorted(
        found, key=lambda row: (row["language"], row["sparsity"], row["structure"] or "", row["rank"])
    )
    return {(row["language"], tuple(row["variant_ids"])): row for row in found}


def test_methods_without_seeds_are_single_variants(catalog: Catalog, rows: Rows) -> None:
    dense = next(row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0)
    keys = {"baseline_id": dense, "task": "perplexity", "metric": "perplexity", "split": "test"}
    single = [row for row in rows["comparison_results"] if keys.items() <= row.items()]
    found = compared_methods(catalog)
    assert set(found) == {(row["language"], (row["variant_id"],)) for row in single}
    for row in single:
        shown = found[row["language"], (row["variant_id"],)]
        expected = [math.exp(row[column]) for column in ("difference", "ci_low", "ci_high")]
        assert [shown[column] for column in ("ratio", "ratio_ci_low", "ratio_ci_high")] == pytest.approx(expected)
        assert shown["n_seeds"] == 1


def test_methods_with_seeds_are_one_row_with_mean_costs_and_the_rank_of_their_mean(
    catalog: Catalog, full_store: Store, rows: Rows
) -> None:
    costs = "SELECT variant_id, prune_cpu_s FROM variant_costs JOIN variants USING (variant_id) WHERE sparsity = 0.1"
    seconds = {row["variant_id"]: row["prune_cpu_s"] for row in catalog.query(costs)}
    ids = sorted(seconds)[:2]
    single = {key: row for key, row in compared_methods(catalog).items() if key[0] == "fr" and row["sparsity"] == 0.1}
    evaluation = next(row for row in rows["evaluations"] if row["variant_id"] == ids[0] and row["task"] == "perplexity")
    group = {"seed_components_id": "@id", "variant_id": ids[0], "variant_ids": ids, "seeds": [0, 1], "seed_of": "score"}
    group |= {
        "task": "perplexity",
        "split": "test",
        "metric": "perplexity",
        "group_kind": "language",
        "group_name": "fr",
    }
    group |= {"difference": 0.01, "ci_low": -0.2, "ci_high": 0.3, "scale": "log_ratio", "n_seeds": 2, "n_items": 9}
    group |= {"profile": "corrected", "protocol_id": evaluation["protocol_id"]}
    write_rows(full_store, "seed_components", parameters={"seeds": 2}, rows={"seed_components": [group]})
    with Catalog.open(full_store) as opened:
        found = {key: row for key, row in compared_methods(opened).items() if key[0] == "fr" and row["sparsity"] == 0.1}
    assert set(found) == set(single) - {("fr", (one,)) for one in ids} | {("fr", tuple(ids))}
    row = found["fr", tuple(ids)]
    assert (row["ratio"], row["ratio_ci_low"]) == pytest.approx((math.exp(0.01), math.exp(-0.2)))
    assert (row["n_seeds"], row["n_items"]) == (2, 9)
    assert row["prune_cpu_s"] == pytest.approx(statistics.fmean(seconds[one] for one in ids))
    same = [other["ratio"] for other in found.values() if other["structure"] == row["structure"]]
    assert row["rank"] == 1 + sum(ratio < row["ratio"] for ratio in same)


def test_variants_with_a_single_draw_are_marked(catalog: Catalog, rows: Rows) -> None:
    draws = {row["variant_id"]: row for row in catalog.query("SELECT * FROM variant_draws")}
    for row in rows["variants"]:
        found = draws[row["variant_id"]]
        n_draws = {"random": 2, None: 0}.get(row["score"], 0 if row["demonstration_set_id"] is None else 1)
        assert (found["n_draws"], found["conditional_on_one_draw"]) == (n_draws, n_draws == 1), row["score"]
    marked = catalog.query("SELECT DISTINCT variant_id, conditional_on_one_draw AS is_marked FROM comparisons")
    assert {row["variant_id"]: row["is_marked"] for row in marked} == {
        row["variant_id"]: draws[row["variant_id"]]["conditional_on_one_draw"] for row in marked
    }
    assert {row["is_marked"] for row in marked} == {True, False}
