"""Catalog rows of variants, and variants rebuilt from records."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from mlprune.errors import DamagedArtefactError, StoreError
from mlprune.numeric.masks.packed_masks import PackedMask
from mlprune.planning import build_plan
from mlprune.pruning.scoring import mask_sha256
from mlprune.pruning.spec import RefinementSpec
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.job import Identity
from mlprune.steps.variants.scored_variant import ScoredVariant, scored_parameters, scored_variant
from mlprune.steps.variants.variant import DenseVariant, agreeing_columns, variant_row
from mlprune.steps.variants.variant_rows import artefacts_below, require_masks
from mlprune.steps.variants.variant_text import settings_words
from mlprune.store.store import Store
from tests.planted_refiner import NAME, PlantedParameters, plant
from tests.tiny_models import ARCHITECTURES
from tests.tiny_recipes import FinishedRun, method_recipe, run_plan

XGLM = ARCHITECTURES["xglm"]


@pytest.mark.parametrize("run_name", ["tiny_run", "method_run"])
def test_every_layer_is_counted(request: pytest.FixtureRequest, run_name: str) -> None:
    run: FinishedRun = request.getfixturevalue(run_name)
    for variant in run.plan.variants.values():
        rows = run.store.require("variants", variant.id).rows.get("variant_layers", [])
        assert all(row["variant_id"] == variant.id for row in rows)
        masks = run.keep_masks(variant.id)
        assert len(rows) == len(masks)
        for row in rows:
            mask = masks[row["block"], row["layer"]]
            assert (row["n_weights"], row["n_removed"]) == (mask.numel(), int((~mask).sum()))
        own = run.row("variants", variant.id)
        total = sum(row["n_weights"] for row in rows)
        assert own["achieved_sparsity"] == (sum(row["n_removed"] for row in rows) / total if rows else 0.0)
        assert own["sparsity"] == (own["achieved_sparsity"] if own["combination"] else variant.spec.sparsity)


def test_only_sparsegpt_counts_dampings(method_run: FinishedRun) -> None:
    sparsegpt = {one.id for name in ("sparsegpt", "sparsegpt-n-m") for one in method_run.named(name)}
    (scoped,) = method_run.named("sparsegpt-scope")
    for row in method_run.rows("variant_layers"):
        is_counted = row["variant_id"] in sparsegpt or (row["variant_id"] == scoped.id and row["block"] != 1)
        assert row["n_dampings"] == (0 if is_counted else None)


def test_columns_that_a_score_does_not_use_are_null(tiny_run: FinishedRun) -> None:
    of_sets = ("demonstration_set_id", "contrast_set_id", "propagation", "token_scope", "aggregation")
    nothing = dict.fromkeys((*of_sets, "n_demonstrations", "resample_seed", "combination"))
    dense = tiny_run.row("variants", tiny_run.labelled("dense").id)
    of_scores = ("score", "structure", "score_parameters", "removes", "schedule", "scope", "profile")
    also = dict.fromkeys((*of_scores, "mask_sha256", "seed"))
    expected = {**nothing, **also, "sparsity": 0.0, "achieved_sparsity": 0.0, "weights_changed": False}
    assert {key: dense[key] for key in expected} == expected
    for label, seed in (("magnitude 0.5 row", None), ("random 0.5 row", 0), ("random 0.5 row seed 1", 1)):
        row = tiny_run.row("variants", tiny_run.labelled(label).id)
        assert {key: row[key] for key in nothing} == nothing
        assert (row["seed"], row["structure"], row["score"]) == (seed, "row", label.split(maxsplit=1)[0])
        defaults = {"removes": "lowest", "schedule": "uniform", "scope": None, "profile": "corrected"}
        assert {key: row[key] for key in defaults} == defaults


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nested", {"token_scope": "all", "n_demonstrations": None, "resample_seed": None, "aggregation": None}),
        ("first", {"n_demonstrations": 2, "removes": "lowest", "profile": "corrected", "score": "wanda"}),
        ("resample", {"resample_seed": 3, "n_demonstrations": None}),
        ("target", {"token_scope": "target"}),
        ("last-shot", {"token_scope": "last_shot"}),
        ("matrix", {"structure": "matrix"}),
        ("alpha", {"structure": "alpha"}),
        ("n-m", {"structure": "2:4", "sparsity": 0.5, "achieved_sparsity": 0.5}),
        ("highest", {"removes": "highest", "achieved_sparsity": 0.5}),
        ("ria", {"score": "ria"}),
        ("given", {"schedule": "given"}),
        ("owl", {"schedule": "owl"}),
        ("mean", {"aggregation": "mean", "demonstration_set_id": None}),
        ("pooled", {"aggregation": "pooled", "n_demonstrations": 3}),
        ("contrast", {"score": "contrast", "aggregation": "mean"}),
        ("paper", {"profile": "paper", "token_scope": "all"}),
        ("sparsegpt", {"score": "sparsegpt", "weights_changed": True, "structure": "matrix"}),
        ("sparsegpt-n-m", {"score": "sparsegpt", "weights_changed": True, "structure": "2:4"}),
    ],
)
def test_the_row_has_the_settings_of_the_variant(method_run: FinishedRun, name: str, words: dict[str, Any]) -> None:
    variants = method_run.named(name)
    assert variants
    for variant in variants:
        row = method_run.row("variants", variant.id)
        assert {key: row[key] for key in words} == words
        assert row["propagation"] == variant.spec.propagation
        assert row["weights_changed"] == (row["score"] == "sparsegpt")
        assert (row["combination"], row["intervention"]) == (None, None)


def test_the_sets_of_a_score_are_stored_with_their_roles_and_weights(method_run: FinishedRun) -> None:
    for name, weights in (("mean", (0.25, 0.75)), ("max", (0.5, 0.5)), ("contrast", (0.5, 0.5)), ("paper", (1.0,))):
        for variant in method_run.named(name):
            result = method_run.store.require("variants", variant.id).rows["variant_demonstrations"]
            expected = [(one, "demonstrations", w) for one, w in zip(variant.spec.set_ids, weights, strict=True)]
            if name == "contrast":
                expected.append((str(variant.spec.contrast_set_id), "contrast", 1.0))
            assert [(row["demonstration_set_id"], row["role"], row["weight"]) for row in result] == expected


def test_a_score_without_sets_has_no_rows_of_sets(tiny_run: FinishedRun) -> None:
    without = tiny_run.labelled("magnitude 0.5 row").id
    assert not [row for row in tiny_run.rows("variant_demonstrations") if row["variant_id"] == without]


def test_the_sets_of_profile_paper_are_separate_sets(method_run: FinishedRun) -> None:
    rows = {row["demonstration_set_id"]: row for row in method_run.rows("demonstration_sets")}
    paper = {one for variant in method_run.named("paper") for one in variant.spec.set_ids}
    assert {rows[one]["profile"] for one in paper} == {"paper"}
    others = {one for name in ("nested", "mean") for v in method_run.named(name) for one in v.spec.set_ids}
    assert {rows[one]["profile"] for one in others} == {"corrected"}


def test_a_fingerprint_is_that_of_the_masks_in_the_store(method_run: FinishedRun) -> None:
    for variant in method_run.plan.variants.values():
        row = method_run.row("variants", variant.id)
        if isinstance(variant.spec, DenseVariant):
            assert row["mask_sha256"] is None
            continue
        lines = [
            f"{block} {layer} {mask_sha256(PackedMask.pack(mask))}\n"
            for (block, layer), mask in method_run.keep_masks(variant.id).items()
        ]
        assert row["mask_sha256"] == hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.mark.thorough("runs a model for every case")
def test_two_recipes_that_keep_the_same_weights_have_one_fingerprint(method_run: FinishedRun, tmp_path: Any) -> None:
    entry = {"score": "magnitude", "sparsity": 0.5}
    same = {**entry, "name": "same", "schedule": {"blocks": dict.fromkeys(range(3), 0.5)}}
    recipe = {**method_recipe(), "variants": [{**entry, "name": "plain"}, same], "evaluations": []}
    plan = build_plan(parse_recipe(recipe, folder=method_run.folder))
    other = FinishedRun(method_run.recipe_path, plan, Store(tmp_path / "store"))
    run_plan(plan, other.store)
    (first,), (second,) = other.named("plain"), other.named("same")
    assert first.id != second.id
    rows = [other.row("variants", one.id) for one in (first, second)]
    assert rows[0]["mask_sha256"] == rows[1]["mask_sha256"]
    orderings = [require_masks(other.store, one.id).record.id for one in (first, second)]
    assert orderings[0] != orderings[1]


def test_the_base_model_and_its_dense_variant_are_recorded(tiny_run: FinishedRun) -> None:
    (row,) = tiny_run.rows("base_models")
    expected = {"source": "model", "family": "xglm", "n_blocks": 3, "hidden_size": 16}
    assert {key: row[key] for key in expected} == expected
    tensors = load_file(tiny_run.folder / "model" / "model.safetensors")
    prunable: list[Tensor] = [
        tensors[f"model.layers.{block}.{layer}.weight"] for block in range(3) for layer in XGLM.layers
    ]
    assert row["n_prunable"] == sum(one.numel() for one in prunable)
    layers = tiny_run.rows("model_layers")
    assert [(one["block"], one["layer"]) for one in layers] == [
        (block, one) for block in range(3) for one in XGLM.layers
    ]
    assert [(one["n_out"], one["n_in"]) for one in layers] == [tuple(one.shape) for one in prunable]
    assert {(one["base_model_id"], one["is_pruned"]) for one in layers} == {(row["base_model_id"], True)}


def test_a_refined_variant_has_the_columns_of_its_refiner_and_other_rows_do_not(
    small_run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, needs=("products",), changes_weights=True)
    (spec,) = (variant.spec for variant in small_run.named("sweep"))
    assert not {"refiner", "refiner_parameters"} & set(variant_row(spec, achieved=0.5))
    for parameters, expected in ((PlantedParameters(), None), (PlantedParameters(2.0), {"factor": 2.0})):
        refined = replace(spec, refinement=RefinementSpec(NAME, parameters))
        row = variant_row(refined, achieved=0.5)
        assert (row["refiner"], row["refiner_parameters"], row["weights_changed"]) == (NAME, expected, True)
        words = " ".join(settings_words(row))
        assert words == f"refined by {NAME}" + (" factor 2" if expected else "")


def test_a_refinement_is_part_of_the_id_and_comes_back_from_it(
    small_run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, needs=("products",))
    (spec,) = (variant.spec for variant in small_run.named("sweep"))
    options = {"sparsity": spec.sparsity, "schedule": spec.schedule, "scope": spec.scope}
    plain = scored_parameters(spec.score, spec.calibration, **options)
    for refinement in (RefinementSpec(NAME), RefinementSpec(NAME, PlantedParameters(2.0))):
        parameters = scored_parameters(spec.score, spec.calibration, **options, refinement=refinement)
        assert parameters == {**plain, "refinement": refinement.parameters}
        back = scored_variant(replace(spec.identity, parameters=parameters), spec.model)
        assert (back.refinement, back.is_alone, back.needs) == (refinement, True, ("squares", "products"))
    assert not spec.is_alone


def test_variants_of_one_ordering_share_its_files_and_are_nested(method_run: FinishedRun) -> None:
    variants = method_run.named("nested")
    stored = [require_masks(method_run.store, one.id) for one in variants]
    assert len({one.masks for one in stored}) == 1
    assert [one.levels for one in stored] == [(level,) * 3 for level in range(3)]
    masks = [method_run.keep_masks(one.id) for one in variants]
    for key in masks[0]:
        assert not (masks[1][key] & ~masks[0][key]).any()
        assert not (masks[2][key] & ~masks[1][key]).any()
        assert [float((~one[key]).double().mean()) for one in masks] == [0.25, 0.5, 0.75]


def test_artefacts_are_in_the_order_of_blocks(method_run: FinishedRun) -> None:
    (variant,) = method_run.named("sparsegpt")
    stored = require_masks(method_run.store, variant.id)
    masks, weights = f"masks/{stored.record.id}", f"weights/{variant.id}"
    assert [one.path for one in stored.masks] == [f"{masks}/block-00{block}.parquet" for block in range(3)]
    assert [one.path for one in stored.weights] == [f"{weights}/block-00{block}.safetensors" for block in range(3)]
    assert len(artefacts_below(stored.record, "statistics/")) == 3
    assert len(stored.record.artefacts) == 9


def test_an_ordering_has_its_number_of_levels_and_bytes(method_run: FinishedRun) -> None:
    orderings = {row["ordering_id"]: row for row in method_run.rows("orderings")}
    for variant in method_run.plan.variants.values():
        if not isinstance(variant.spec, DenseVariant):
            stored = require_masks(method_run.store, variant.id)
            row = orderings[stored.record.id]
            assert row["n_bytes"] == sum(one.n_bytes for one in stored.masks)
            in_nested = variant.id in {one.id for one in method_run.named("nested")}
            assert row["n_levels"] == (3 if in_nested else 1)


@pytest.mark.thorough("runs a model for every case")
def test_the_order_of_two_recipes_changes_no_record(method_run: FinishedRun, tmp_path: Path) -> None:
    entry = {"name": "magnitude", "score": "magnitude"}
    plans, stores = [], []
    for sparsity in ([0.3, 0.5], [0.3]):
        recipe = {**method_recipe(), "variants": [{**entry, "sparsity": sparsity}], "evaluations": []}
        plans.append(build_plan(parse_recipe(recipe, folder=method_run.folder)))

    for number, order in enumerate((plans, plans[::-1])):
        store = Store(tmp_path / str(number))
        for plan in order:
            run_plan(plan, store)
        stores.append({record.id: record.to_json() for record in store.records()})
    assert stores[0] == stores[1]


def test_a_variant_without_masks_or_without_an_ordering_is_an_error(method_run: FinishedRun, tmp_path: Path) -> None:
    dense = next(iter(method_run.plan.variants.values()))
    with pytest.raises(StoreError):
        require_masks(method_run.store, dense.id)
    (variant,) = method_run.named("sparsegpt")
    store = Store(tmp_path / "store")
    store.write_record(method_run.store.require("variants", variant.id))
    with pytest.raises(DamagedArtefactError):
        require_masks(store, variant.id)
    store.write_record(require_masks(method_run.store, variant.id).record)
    assert require_masks(store, variant.id).levels == (0, 0, 0)


def test_a_variant_is_built_again_from_its_record_and_absent_parameters_have_their_defaults(
    method_run: FinishedRun,
) -> None:
    for planned in method_run.plan.variants.values():
        spec = planned.spec
        if isinstance(spec, ScoredVariant):
            record = method_run.store.require("variants", spec.id)
            assert scored_variant(Identity.of_record(record), spec.model) == spec
            assert "profile" not in record.parameters or spec.profile != "corrected"
            assert "device" not in record.parameters


def test_columns_with_different_values_are_null() -> None:
    rows = [{"score": score, "scope": {"blocks": [1]}, "seed": 0} for score in ("ria", "wanda")]
    assert agreeing_columns(rows, ("score", "scope")) == {"score": None, "scope": {"blocks": [1]}}
