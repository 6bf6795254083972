"""Variants of dense propagation, against the formulas on the stored weights and statistics."""

import math
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mlprune.models.families import FAMILIES
from mlprune.plan import build_plan, pending_jobs
from mlprune.plan.variants import PlannedVariant
from mlprune.pruning.mask_files import stored_keep_masks
from mlprune.recipe import parse_recipe
from mlprune.steps.prune import mask_artefacts
from mlprune.steps.statistics_files import read_block_statistics
from tests.tiny_recipes import FinishedRun, run_plan, small_recipe

XGLM = FAMILIES["xglm"]


def labelled(run: FinishedRun, label: str) -> PlannedVariant:
    return next(one for one in run.plan.variants.values() if one.label == label)


def keep_masks_of(run: FinishedRun, variant_id: str) -> list[dict[str, Tensor]]:
    """Block -> layer -> keep mask, from the store."""
    record = run.store.require("variants", variant_id)
    level = record.rows["variants"][0]["level"]
    layers = dict.fromkeys(XGLM.layers, torch.empty(0))
    return [stored_keep_masks(layers, run.store.uri, one, level)[0] for one in mask_artefacts(record)]


def block_weights(run: FinishedRun, block: int) -> dict[str, Tensor]:
    tensors = load_file(run.folder / "model" / "model.safetensors")
    return {layer: tensors[f"model.layers.{block}.{layer}.weight"] for layer in XGLM.layers}


def lowest_removed(scores: Tensor, sparsity: float) -> Tensor:
    """Keep mask that removes the lowest scores of each row."""
    n_removed = math.floor(sparsity * scores.shape[1] + 1e-9)
    keep = torch.ones_like(scores, dtype=torch.bool)
    for row, values in enumerate(scores.tolist()):
        for column in sorted(range(len(values)), key=lambda index: (values[index], index))[:n_removed]:
            keep[row, column] = False
    return keep


@pytest.mark.parametrize("sparsity", [0.25, 0.5])
def test_wanda_masks_are_those_of_the_formula(tiny_run: FinishedRun, sparsity: float) -> None:
    variant = labelled(tiny_run, f"wanda fr-en {sparsity} row dense")
    assert variant.demonstrations is not None
    statistics = tiny_run.store.require(*variant.demonstrations.observe.identity.key)
    for block, masks in enumerate(keep_masks_of(tiny_run, variant.id)):
        sums = read_block_statistics(tiny_run.store, statistics, block)
        for layer, weight in block_weights(tiny_run, block).items():
            norms = sums[XGLM.input_of(layer)].double().sum(dim=0).sqrt()
            assert torch.equal(masks[layer], lowest_removed(weight.double().abs() * norms, sparsity))


def test_contrast_masks_are_those_of_the_formula(tiny_run: FinishedRun) -> None:
    variant = labelled(tiny_run, "contrast sw-en against code 0.5 row dense")
    assert variant.demonstrations is not None
    assert variant.contrast is not None
    records = [tiny_run.store.require(*one.observe.identity.key) for one in (variant.demonstrations, variant.contrast)]
    for block, masks in enumerate(keep_masks_of(tiny_run, variant.id)):
        mt, code = (read_block_statistics(tiny_run.store, one, block) for one in records)
        for layer, weight in block_weights(tiny_run, block).items():
            name = XGLM.input_of(layer)
            s_mt, s_code = mt[name].double().mean(dim=0), code[name].double().mean(dim=0)
            scores = weight.double().abs() * (s_mt * s_mt / s_code).sqrt()
            assert torch.equal(masks[layer], lowest_removed(scores, 0.5))


def test_magnitude_masks_are_those_of_the_weights(tiny_run: FinishedRun) -> None:
    for block, masks in enumerate(keep_masks_of(tiny_run, labelled(tiny_run, "magnitude 0.5 row").id)):
        for layer, weight in block_weights(tiny_run, block).items():
            assert torch.equal(masks[layer], lowest_removed(weight.abs(), 0.5))


def test_n_of_m_keeps_two_of_every_four_inputs(tiny_run: FinishedRun) -> None:
    variant = labelled(tiny_run, "wanda mixed 0.5 2:4 dense")
    for masks in keep_masks_of(tiny_run, variant.id):
        for mask in masks.values():
            assert (mask.reshape(-1, 4).sum(dim=1) == 2).all()


def test_variants_of_one_ordering_share_its_files_and_are_nested(tiny_run: FinishedRun) -> None:
    low, high = (labelled(tiny_run, f"wanda fr-en {one} row dense").id for one in (0.25, 0.5))
    records = [tiny_run.store.require("variants", one) for one in (low, high)]
    assert mask_artefacts(records[0]) == mask_artefacts(records[1])
    assert [record.rows["variants"][0]["level"] for record in records] == [0, 1]
    for first, second in zip(keep_masks_of(tiny_run, low), keep_masks_of(tiny_run, high), strict=True):
        assert not any((second[layer] & ~first[layer]).any() for layer in first)


def test_every_layer_is_counted(tiny_run: FinishedRun) -> None:
    for variant in tiny_run.plan.variants.values():
        rows = [row for row in tiny_run.rows("variant_layers") if row["variant_id"] == variant.id]
        masks = keep_masks_of(tiny_run, variant.id)
        assert len(rows) == sum(len(one) for one in masks)
        for row in rows:
            mask = masks[row["block"]][row["layer"]]
            assert (row["n_weights"], row["n_removed"]) == (mask.numel(), int((~mask).sum()))
        (own,) = (row for row in tiny_run.rows("variants") if row["variant_id"] == variant.id)
        total = sum(row["n_weights"] for row in rows)
        assert own["achieved_sparsity"] == (sum(row["n_removed"] for row in rows) / total if rows else 0.0)
        assert own["sparsity"] == variant.spec.sparsity


def test_what_a_score_does_not_read_is_null_in_its_row(tiny_run: FinishedRun) -> None:
    rows = {row["variant_id"]: row for row in tiny_run.rows("variants")}
    nothing = {"demonstration_set_id": None, "contrast_set_id": None, "propagation": None}
    dense = rows[labelled(tiny_run, "dense").id]
    expected = {**nothing, "score": None, "structure": None, "sparsity": 0.0, "ordering_id": None, "level": None}
    assert {key: dense[key] for key in expected} == expected
    for label, seed in (("magnitude 0.5 row", None), ("random 0.5 row", 0), ("random 0.5 row seed 1", 1)):
        row = rows[labelled(tiny_run, label).id]
        assert {key: row[key] for key in nothing} == nothing
        assert (row["seed"], row["structure"], row["score"]) == (seed, "row", label.split(maxsplit=1)[0])
    wanda = rows[labelled(tiny_run, "wanda fr 0.5 row dense").id]
    assert (wanda["propagation"], wanda["seed"], wanda["contrast_set_id"]) == ("dense", None, None)
    assert (wanda["weights_changed"], wanda["intervention"]) == (False, None)


def test_the_sets_a_score_read_stand_with_their_roles(tiny_run: FinishedRun) -> None:
    variant = labelled(tiny_run, "contrast fr-en against code 0.5 row dense")
    assert variant.contrast is not None
    rows = [row for row in tiny_run.rows("variant_demonstrations") if row["variant_id"] == variant.id]
    assert [(row["role"], row["demonstration_set_id"]) for row in rows] == [
        ("demonstrations", variant.spec.demonstration_set_id),
        ("contrast", variant.contrast.id),
    ]
    without = labelled(tiny_run, "magnitude 0.5 row").id
    assert not [row for row in tiny_run.rows("variant_demonstrations") if row["variant_id"] == without]


def test_the_base_model_and_its_dense_variant_are_recorded(tiny_run: FinishedRun) -> None:
    (row,) = tiny_run.rows("base_models")
    expected = {"source": "model", "family": "xglm", "n_blocks": 3, "hidden_size": 16}
    assert {key: row[key] for key in expected} == expected
    assert row["n_prunable"] == sum(w.numel() for block in range(3) for w in block_weights(tiny_run, block).values())


def test_one_more_sparsity_in_another_recipe_changes_no_record(small_run: FinishedRun, copied_store: Any) -> None:
    store = copied_store(small_run.store)
    before = {(record.kind, record.id): record.to_json() for record in store.records()}
    recipe = small_recipe()
    recipe["variants"][0]["sparsity"] = [0.25, 0.4, 0.5]
    plan = build_plan(parse_recipe(recipe, folder=small_run.folder))
    steps = run_plan(plan, store)
    assert steps.count("evaluate") == 1
    after = {(record.kind, record.id): record.to_json() for record in store.records()}
    assert {key: after[key] for key in before} == before
    assert (
        len([key for key in after if key[0] == "variants"]) == len([key for key in before if key[0] == "variants"]) + 1
    )
    assert not pending_jobs(plan.jobs, store)
    assert not pending_jobs(small_run.plan.jobs, store)
