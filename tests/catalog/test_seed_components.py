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


@pytest.mark.thorough("fills and folds catalogs of its own")
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


def test_methods_are_ranked_by_their_means_over_seeds_with_mean_costs(catalog: Catalog, rows: Rows) -> None:
    dense = next(row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0)
    keys = {"baseline_id": dense, "task": "perplexity", "metric": "perplexity", "split": "test"}
    compared = {
        (row["language"], row["variant_id"]): row for row in rows["comparison_results"] if keys.items() <= row.items()
    }
    seconds = {row["variant_id"]: row["prune_cpu_s"] for row in catalog.query("FROM costs")}
    found = run_user_query(catalog, "methods_compared", ()).as_dicts()
    assert sorted((row["language"], one) for row in found for one in row["variant_ids"]) == sorted(compared)
    for row in found:
        differences = [compared[row["language"], one] for one in row["variant_ids"]]
        assert row["ratio"] == pytest.approx(math.exp(statistics.fmean(one["difference"] for one in differences)))
        assert row["n_seeds"] == (2 if row["score"] == "random" else 1) == len(differences)
        ends = [pytest.approx(math.exp(one["ci_low"])) for one in differences]
        assert row["ratio_ci_low"] == (ends[0] if len(ends) == 1 else None)
        known = [seconds[one] for one in row["variant_ids"] if one in seconds]
        assert row["prune_cpu_s"] == (pytest.approx(statistics.fmean(known)) if known else None)
        alike = [
            other["ratio"]
            for other in found
            if all(other[column] == row[column] for column in ("language", "sparsity", "structure"))
        ]
        assert row["rank_at_sparsity"] == 1 + sum(ratio < row["ratio"] for ratio in alike)
        of_language = [other["ratio"] for other in found if other["language"] == row["language"]]
        assert row["rank"] == 1 + sum(ratio < row["ratio"] for ratio in of_language)
    assert any(row["prune_cpu_s"] for row in found)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_an_interval_for_other_seeds_is_that_of_the_seeds(full_store: Store, rows: Rows) -> None:
    chosen = [row["variant_id"] for row in rows["variants"] if (row["score"], row["sparsity"]) == ("random", 0.3)]
    compared = next(
        row for row in rows["comparison_results"] if (row["variant_id"], row["task"]) == (chosen[0], "perplexity")
    )
    seeds = {"variant_id": chosen[0], "variant_ids": chosen, "seeds": [0, 1], "seed_of": "score", "n_seeds": 2}
    keys = {"task": "perplexity", "split": "test", "metric": "perplexity", "profile": "corrected"}
    keys |= {"group_kind": "language", "group_name": "fr"}
    keys |= {column: compared[column] for column in ("baseline_id", "scoring_rule", "protocol_id")}
    numbers = {"difference": 0.01, "ci_low": -0.2, "ci_high": 0.3, "scale": "log_ratio"}
    row = {"seed_components_id": "@id", **seeds, **keys, **numbers}
    write_rows(full_store, "seed_components", parameters={"seeds": 2}, rows={"seed_components": [row]})
    with Catalog.open(full_store) as opened:
        found = run_user_query(opened, "methods_compared", ()).as_dicts()
    shown = [row for row in found if row["score"] == "random" and row["ratio_ci_low"] is not None]
    assert [(row["language"], row["sparsity"], set(row["variant_ids"])) for row in shown] == [("fr", 0.3, set(chosen))]
    ends = [shown[0][column] for column in ("ratio", "ratio_ci_low", "ratio_ci_high")]
    assert ends == pytest.approx([math.exp(end) for end in (0.01, -0.2, 0.3)])


def test_variants_with_a_single_draw_are_marked(catalog: Catalog, rows: Rows) -> None:
    draws = {row["variant_id"]: row for row in catalog.query("SELECT * FROM internal.variant_draws")}
    for row in rows["variants"]:
        found = draws[row["variant_id"]]
        n_draws = {"random": 2, None: 0}.get(row["score"], 0 if row["demonstration_set_id"] is None else 1)
        assert (found["n_draws"], found["conditional_on_one_draw"]) == (n_draws, n_draws == 1), row["score"]
    marked = catalog.query("SELECT DISTINCT variant_id, conditional_on_one_draw AS is_marked FROM internal.comparisons")
    assert {row["variant_id"]: row["is_marked"] for row in marked} == {
        row["variant_id"]: draws[row["variant_id"]]["conditional_on_one_draw"] for row in marked
    }
    assert {row["is_marked"] for row in marked} == {True, False}
