"""Variants of dense propagation, compared with the formulas on stored statistics and with results by hand."""

import math
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mlprune.planning import build_plan, pending_jobs
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.store.store import Store
from tests.chains import worker_threads
from tests.method_reference import ByHand
from tests.tiny_recipes import FinishedRun, contents, method_recipe, run_jobs, run_plan, small_recipe


def lowest_removed(scores: Tensor, sparsity: float) -> Tensor:
    """Keep mask that removes the lowest scores of each row."""
    n_removed = math.floor(sparsity * scores.shape[1] + 1e-9)
    keep = torch.ones_like(scores, dtype=torch.bool)
    for row, values in enumerate(scores.tolist()):
        for column in sorted(range(len(values)), key=lambda index: (values[index], index))[:n_removed]:
            keep[row, column] = False
    return keep


def test_magnitude_masks_are_those_of_the_weights(tiny_run: FinishedRun) -> None:
    weights = load_file(tiny_run.folder / "model" / "model.safetensors")
    for (block, layer), mask in tiny_run.keep_masks(tiny_run.labelled("magnitude 0.5 row").id).items():
        assert torch.equal(mask, lowest_removed(weights[f"model.layers.{block}.{layer}.weight"].abs(), 0.5))


DENSE = [
    str(one["name"])
    for one in method_recipe()["variants"]
    if "dense" in one.get("propagation", ()) and "combine" not in one
]


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", DENSE)
def test_the_masks_of_every_method_are_those_made_by_hand(method_run: FinishedRun, name: str) -> None:
    for variant in method_run.named(name, "dense"):
        assert_by_hand(method_run, variant)


def assert_by_hand(run: FinishedRun, variant: PlannedVariant) -> None:
    masks = run.keep_masks(variant.id)
    by_hand = ByHand(run.folder, variant)
    expected = by_hand.keep_masks()
    assert list(masks) == list(expected)
    assert [key for key, mask in masks.items() if not torch.equal(mask, expected[key])] == []
    assert not all(mask.all() for mask in masks.values())


def test_methods_differ_from_each_other(method_run: FinishedRun) -> None:
    variants = [variant for name in DENSE for variant in method_run.named(name, "dense")]
    result = {method_run.row("variants", variant.id)["mask_sha256"] for variant in variants}
    assert len(result) == len(variants) == len(DENSE) + 2


def test_left_out_layers_are_whole_and_lower_the_achieved_sparsity(method_run: FinishedRun) -> None:
    for variant in method_run.named("scope"):
        masks = method_run.keep_masks(variant.id)
        pruned = {key for key, mask in masks.items() if not mask.all()}
        assert pruned == {(block, layer) for block in (0, 2) for layer in ("fc1", "self_attn.q_proj")}
        row = method_run.row("variants", variant.id)
        n_removed = sum(masks[key].numel() for key in pruned) / 2
        assert row["achieved_sparsity"] == n_removed / sum(mask.numel() for mask in masks.values())
        assert (row["sparsity"], row["scope"]) == (0.5, {"blocks": [0, 2], "layers": ["self_attn.q_proj", "fc1"]})


def test_given_sparsities_are_those_of_their_blocks_and_layers(method_run: FinishedRun) -> None:
    for variant in method_run.named("given"):
        for (block, layer), mask in method_run.keep_masks(variant.id).items():
            expected = 0.25 if block == 1 else 0.75 if layer == "fc1" else 0.5
            assert float((~mask).double().mean()) == expected
        assert method_run.row("variants", variant.id)["schedule"] == "given"


@pytest.mark.thorough("runs a model for every case")
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
    variants = [[key for key in keys if key[0] == "variants"] for keys in (before, after)]
    assert len(variants[1]) == len(variants[0]) + 1
    assert not pending_jobs(plan.jobs, store)
    assert not pending_jobs(small_run.plan.jobs, store)


@pytest.mark.thorough("runs a model for every case")
def test_threads_change_no_byte(method_run: FinishedRun, tmp_path: Any) -> None:
    """All that is made without a sweep, which has its own test."""
    store, jobs = Store(tmp_path / "store"), []
    made: set[tuple[str, str]] = set()
    for job in method_run.plan.jobs:
        if job.step in ("demonstrate", "observe", "prune") and set(job.needs) <= made:
            jobs.append(job)
            made |= set(job.makes)
    with worker_threads(2):
        run_jobs(jobs, store, model=method_run.plan.model)
    first, second = contents(method_run.store), contents(store)
    assert {path.split("/")[1] for path in second if path.startswith("records/")} >= {"masks", "variants", "statistics"}
    assert [path for path, data in second.items() if first[path] != data] == []
