"""Views and queries for profiles, bootstraps, schedules, several sets, combinations and changed weights."""

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from catalog.check import check
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.store.store import Store
from tests.catalog.method_data import N_WEIGHTS, RATIOS, Methods
from tests.catalog.query_answers import answers
from tests.catalog_data import LAYERS, N_BLOCKS, write_rows

Rows = dict[str, list[dict[str, Any]]]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_store_with_every_further_kind_of_variant_is_sound(with_methods: tuple[Store, Methods]) -> None:
    assert check(with_methods[0]) == ([], [])


def test_settings_describe_what_is_not_at_its_default(methods_catalog: Catalog, methods: Methods) -> None:
    sql = "SELECT variant_id, settings FROM described_variants"
    settings = {row["variant_id"]: row["settings"] for row in methods_catalog.query(sql)}
    assert {name: settings[variant_id] for name, variant_id in methods.ids.items()} == {
        "plain": None,
        "paper": "paper profile",
        "spanish": None,
        "spanish paper": "paper profile",
        "resampled 1": "resampled",
        "resampled 2": "resampled",
        "first 5": "first 5 demonstrations",
        "target": "target tokens",
        "last shot, first 5": "last shot tokens, first 5 demonstrations",
        "highest": "removes the highest",
        "upper": "only blocks 1",
        "owl": "owl schedule, spread 0.1",
        "dlp": "dlp schedule",
        "given": "given schedule, blocks [[0,0.25]]",
        "budget": "budget of 300 tokens",
        "unpaired": "unpaired",
        "several": "mean over es-en x 0.75 + fr-en x 0.25",
        "task": None,
        "in order": "sentences of profile paper",
        "sparsegpt": None,
        "magnitude": None,
        "both keep": "intersection of wanda on fr-en and magnitude",
        "one keeps": "union of wanda on fr-en and wanda on es-en",
    }


def test_every_variant_has_a_label_of_its_own(methods_catalog: Catalog, methods: Methods) -> None:
    labels = {row["variant_id"]: row["label"] for row in methods_catalog.query("FROM described_variants")}
    assert len(set(labels.values())) == len(labels)
    assert labels[methods.ids["resampled 1"]] == "wanda fr-en 0.5, resampled, resample seed 1"
    assert labels[methods.ids["magnitude"]].startswith("magnitude 0.5")
    assert labels[methods.ids["both keep"]].startswith("intersection of wanda on fr-en and magnitude 0.")
    assert {"dense", "wanda es-en sequential 0.1", "random 0.3, seed 1"} <= set(labels.values())


def test_variants_of_a_method_are_the_points_of_a_curve(methods_catalog: Catalog, methods: Methods) -> None:
    rows = methods_catalog.query("FROM internal.variant_descriptions")
    assert len({(row["method"], row["method_id"]) for row in rows}) == len({row["method_id"] for row in rows})
    assert len({row["method"] for row in rows}) == len({row["method_id"] for row in rows})
    points: dict[str, set[float]] = defaultdict(set)
    for row in rows:
        points[row["method"]].add(row["sparsity"])
    for method in ("wanda fr-en", "wanda es-en sequential", "contrast fr-en", "random"):
        assert points[method] >= {0.1, 0.3, 0.5}, method
    by_id = {row["variant_id"]: row["method"] for row in rows}
    assert by_id[methods.ids["resampled 1"]] == by_id[methods.ids["resampled 2"]] == "wanda fr-en, resampled"


def test_equal_settings_have_equal_ids_and_different_ones_do_not(methods_catalog: Catalog) -> None:
    rows = methods_catalog.query("SELECT DISTINCT settings, settings_id FROM described_variants")
    assert len({row["settings_id"] for row in rows}) == len({row["settings"] for row in rows}) == len(rows)


def test_records_without_the_new_keys_have_default_settings(catalog: Catalog) -> None:
    found = catalog.query("SELECT * FROM described_variants")
    assert {row["settings"] for row in found} == {None}
    assert {(row["removes"], row["schedule"], row["profile"]) for row in found} == {("lowest", "uniform", "corrected")}
    columns = "removes, schedule, scope, profile, token_scope, aggregation, combination, mask_sha256, score_parameters"
    assert {tuple(row.values()) for row in catalog.query(f"SELECT {columns} FROM variants")} == {(None,) * 9}


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_contrast_with_anything_but_code_is_named(store: Store) -> None:
    contrast = next(record for record in store.records("variants") if record.parameters["score"] == "contrast")
    other = next(record.id for record in store.records("demonstration_sets") if record.parameters["name"] == "sw")
    links = contrast.rows["variant_demonstrations"]
    for link in links:
        link["demonstration_set_id"] = other if link["role"] == "contrast" else link["demonstration_set_id"]
    rows = {"variants": contrast.rows["variants"], "variant_demonstrations": links}
    rows = {table: [{**row, "variant_id": "@id"} for row in members] for table, members in rows.items()}
    variant_id = write_rows(store, "variants", parameters={"against": "sw"}, rows=rows)
    with Catalog.open(store) as opened:
        sql = "SELECT settings FROM described_variants WHERE variant_id = $variant_id"
        assert opened.query(sql, {"variant_id": variant_id}) == [{"settings": "against sw"}]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_only_the_base_model_is_dense_even_if_a_combination_removes_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    store = Store(tmp_path_factory.mktemp("nothing"))
    row = {"variant_id": "@id", "base_model_id": "m", "sparsity": 0.0, "weights_changed": False}
    dense = write_rows(store, "variants", parameters={"dense": True}, rows={"variants": [row]})
    combined = [{**row, "combination": "union", "score": "wanda"}]
    write_rows(store, "variants", parameters={"dense": False}, rows={"variants": combined})
    with Catalog.in_memory(store) as opened:
        found = opened.query("SELECT variant_id FROM described_variants WHERE is_dense")
    assert found == [{"variant_id": dense}]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_refiner_and_its_parameters_distinguish_methods(tmp_path_factory: pytest.TempPathFactory) -> None:
    store = Store(tmp_path_factory.mktemp("refined"))
    row = {"variant_id": "@id", "base_model_id": "m", "sparsity": 0.5, "weights_changed": False, "score": "wanda"}
    swaps = {"refiner": "gram_swaps", "refiner_parameters": {"swaps": 3}}
    columns: dict[str | None, dict[str, Any]] = {
        None: {},
        "refined by gram swaps, swaps 3": swaps,
        "refined by dsnot": {"refiner": "dsnot"},
    }
    expected = {}
    for settings, more in columns.items():
        expected[write_rows(store, "variants", parameters=more, rows={"variants": [{**row, **more}]})] = settings
    with Catalog.in_memory(store) as opened:
        found = opened.query("SELECT variant_id, settings, settings_id FROM described_variants")
    assert {one["variant_id"]: one["settings"] for one in found} == expected
    assert len({one["settings_id"] for one in found}) == 3


def test_mask_pairs_list_the_attributes_in_which_two_variants_differ(
    methods_catalog: Catalog, methods: Methods
) -> None:
    names = {variant_id: name for name, variant_id in methods.ids.items()}
    found = {
        frozenset((names[row["variant_a"]], names[row["variant_b"]])): row["differs_in"]
        for row in methods_catalog.query("SELECT * FROM internal.mask_pairs")
        if row["variant_a"] in names
    }
    expected = {
        ("plain", "paper"): "profile",
        ("plain", "spanish"): "sets",
        ("plain", "spanish paper"): "profile sets",
        ("plain", "first 5"): "n_demonstrations",
        ("resampled 1", "resampled 2"): "resample_seed",
        ("plain", "target"): "token_scope",
        ("plain", "last shot, first 5"): "token_scope n_demonstrations",
        ("plain", "highest"): "removes",
        ("plain", "upper"): "scope",
        ("owl", "given"): "schedule parameters",
        ("plain", "budget"): "sets",
        ("plain", "unpaired"): "sets",
        ("plain", "several"): "aggregation sets",
    }
    assert {pair: found[frozenset(pair)] for pair in expected} == expected


def test_the_share_of_differing_entries_is_that_of_the_masks_themselves(
    methods_catalog: Catalog, methods: Methods
) -> None:
    found = answers(methods_catalog, "profile_differences")
    pairs = [("plain", "paper"), ("spanish", "spanish paper"), ("in order", "paper")]
    assert len(found) == len(pairs) * (1 + N_BLOCKS + N_BLOCKS * len(LAYERS))
    for corrected, paper in pairs:
        ids = (methods.ids[corrected], methods.ids[paper])
        rows = [row for row in found if (row["corrected_id"], row["paper_id"]) == ids]
        assert len(rows) == len(found) / len(pairs)
        for row in rows:
            keys = [
                key
                for key in methods.removed[corrected]
                if row["block"] in (None, key[0]) and row["layer"] in (None, key[1])
            ]
            first, second = (
                np.concatenate([methods.removed[name][key] for key in keys]) for name in (corrected, paper)
            )
            assert row["n_weights"] == N_WEIGHTS * len(keys) == first.size
            assert row["n_differing"] == int((first != second).sum())
            assert row["share_differing"] == pytest.approx(float((first != second).mean()))
            assert row["jaccard"] == pytest.approx(float((first & second).sum() / (first | second).sum()))
            assert row["share_by_chance"] == 0.5


def test_profile_differences_of_one_variant_are_asked_for_by_either_of_the_pair(
    methods_catalog: Catalog, methods: Methods
) -> None:
    for name in ("plain", "paper"):
        rows = answers(methods_catalog, "profile_differences", f"variant_id={methods.ids[name]}")
        assert {row["paper_id"] for row in rows} == {methods.ids["paper"]}
        expected = {"plain": {None}, "paper": {None, "sentences of profile paper"}}
        assert {row["settings"] for row in rows} == expected[name]
    assert answers(methods_catalog, "profile_differences", f"variant_id={methods.ids['owl']}") == []


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_masks_that_remove_nothing_are_equal(tmp_path_factory: pytest.TempPathFactory) -> None:
    store = Store(tmp_path_factory.mktemp("unremoved"))
    ids = []
    for profile in ("corrected", "paper"):
        row = {"variant_id": "@id", "base_model_id": "m", "score": "magnitude", "sparsity": 0.1, "profile": profile}
        layer = {"variant_id": "@id", "block": 0, "layer": "fc1", "n_weights": 4, "n_removed": 0}
        rows = {"variants": [row], "variant_layers": [layer]}
        ids.append(write_rows(store, "variants", parameters={"profile": profile}, rows=rows))
    first, second = sorted(ids)
    overlap = {"variant_a": first, "variant_b": second, "block": 0, "layer": "fc1", "jaccard": 1.0}
    write_rows(store, "mask_overlaps", parameters={}, rows={"mask_overlaps": [overlap]})
    with Catalog.in_memory(store) as opened:
        found = answers(opened, "profile_differences")
    assert {(row["n_differing"], row["share_differing"], row["jaccard"]) for row in found} == {(0, 0.0, 1.0)}
    assert len(found) == 3


def test_mask_stability_is_over_pairs_that_differ_in_one_thing(methods_catalog: Catalog, methods: Methods) -> None:
    found = {
        (row["differs_in"], row["first"], row["second"], row["settings"], row["block"]): row
        for row in answers(methods_catalog, "mask_overlap_by_layer", "by_pair=true")
        if row["differs_in"] != "sets"
    }
    expected = {
        ("resample_seed", "resampled", "resampled", "resampled"): [("resampled 1", "resampled 2")],
        ("resample_seed", "original", "resampled", "defaults | resampled"): [
            ("plain", "resampled 1"),
            ("plain", "resampled 2"),
        ],
        ("n_demonstrations", "5", "all", "defaults | first 5 demonstrations"): [("plain", "first 5")],
        ("token_scope", "all", "target", "defaults | target tokens"): [("plain", "target")],
        (
            "token_scope",
            "all",
            "last_shot",
            "first 5 demonstrations | last shot tokens, first 5 demonstrations",
        ): [("first 5", "last shot, first 5")],
    }
    assert set(found) == {(*key, block) for key in expected for block in range(N_BLOCKS)}
    for key, pairs in expected.items():
        for block in range(N_BLOCKS):
            row = found[*key, block]
            jaccards = [
                float((first & second).sum() / (first | second).sum())
                for names in pairs
                for layer in LAYERS
                for first, second in [[methods.removed[name][block, layer] for name in names]]
            ]
            assert row["n_pairs"] == len(pairs)
            assert row["mean_jaccard"] == pytest.approx(np.mean(jaccards))
            assert (row["min_jaccard"], row["max_jaccard"]) == (min(jaccards), max(jaccards))


def test_a_schedule_has_the_removed_share_of_every_block_and_the_values_that_it_reads(
    methods_catalog: Catalog, methods: Methods
) -> None:
    rows = methods_catalog.query(statement("report", "layer_schedule"))
    owl = [row for row in rows if row["schedule"] == "owl"]
    assert [(row["block"], row["removed_share"], row["outlier_ratio"]) for row in owl] == [
        (0, 0.4, RATIOS[0]),
        (1, 0.6, RATIOS[1]),
    ]
    assert {(row["outliers_id"], row["outlier_m"]) for row in owl} == {(methods.outliers_id, 5.0)}
    assert {row["block_value"] for row in owl} == {None}
    dlp = [row for row in rows if row["schedule"] == "dlp"]
    assert [(row["block"], row["removed_share"], row["block_value_name"], row["block_value"]) for row in dlp] == [
        (0, 0.35, "mean_score", 50 * RATIOS[0]),
        (1, 0.55, "mean_score", 50 * RATIOS[1]),
    ]
    assert {(row["block_values_id"], row["outlier_ratio"]) for row in dlp} == {(methods.block_values_id, None)}
    given = [row for row in rows if row["variant_id"] == methods.ids["given"]]
    assert [(row["removed_share"], row["outlier_ratio"]) for row in given] == [(0.25, None), (0.5, None)]
    blocks = answers(methods_catalog, "layer_sparsity", "by_block=true", f"variant_id={methods.ids['given']}")
    assert [(row["block"], row["layer"], row["sparsity"]) for row in blocks] == [(0, None, 0.25), (1, None, 0.5)]


def _kind_and_reading(row: dict[str, Any]) -> tuple[str, str | None, str | None]:
    return row["baseline_kind"], row["propagation"], row["settings"]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_translation_is_compared_with_random_pruning_and_unpaired_sets_of_the_same_kind_only(
    with_methods: tuple[Store, Methods],
) -> None:
    """The variant that removes the highest scores has no random pruning that does. A set without pairs is an opponent
    only of the paired set that is read in the same way."""
    store, made = with_methods
    with Catalog.in_memory(store) as before:
        known = answers(before, "variants_compared", "group_kind=outside_english", "score=wanda")
    random = next(
        record
        for record in store.records("variants")
        if record.parameters == {"score": "random", "sparsity": 0.5} | {"propagation": None, "seed": 0}
    )
    tables = []
    pairs = [(name, random.id) for name in ("plain", "highest", "target")]
    pairs += [("plain", made.ids["unpaired"]), ("target", made.ids["unpaired"]), ("unpaired", made.ids["plain"])]
    for name, baseline in pairs:
        row = {"comparison_id": "@id", "variant_id": made.ids[name], "baseline_id": baseline, "task": "facts"}
        row |= {
            "split": "test",
            "metric": "accuracy",
            "group_kind": "outside_english",
            "group_name": "",
            "p_value": 0.5,
            "test": "sign_flip",
        }
        tables.append({**row, "difference": 0.5, "profile": "corrected", "protocol_id": "protocol of facts"})
    extra = Store(store.uri)
    comparison_ids = []
    with Catalog.in_memory(extra) as opened:
        try:
            for row in tables:
                of = {"by": "hand", "variant": row["variant_id"], "baseline": row["baseline_id"]}
                comparison_ids.append(
                    write_rows(extra, "comparisons", parameters=of, rows={"aggregate_results": [row]})
                )
            found = answers(opened, "variants_compared", "group_kind=outside_english", "score=wanda")
        finally:
            for comparison_id in comparison_ids:
                extra.quarantine(extra.require("comparisons", comparison_id))
    counts, old = (
        Counter(_kind_and_reading(row) for row in rows if row["baseline_kind"] != "other variant")
        for rows in (found, known)
    )
    assert counts["random", "dense", None] == old["random", "dense", None] + 1
    assert counts["random", "dense", "target tokens"] == 1
    assert counts["unpaired translation", "dense", None] == 1
    assert set(counts) - set(old) == {("random", "dense", "target tokens"), ("unpaired translation", "dense", None)}
