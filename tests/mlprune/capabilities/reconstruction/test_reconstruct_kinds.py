"""Reconstruction after every way to make a mask: refiners, N:M, heads and neurons, experts, foreign checkpoints."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mlprune.capabilities.publishing.export import export_variant
from mlprune.capabilities.reconstruction.variant import ReconstructedVariant
from mlprune.pruning.mask_files import read_block_weights
from mlprune.steps.rescore.verify import Recheck, has_masks_to_rebuild
from mlprune.steps.variants.variant_rows import require_masks
from tests.expert_models import save_expert_model
from tests.tiny_recipes import FinishedRun, finished_run, small_recipe, write_inputs, write_texts

FIT = {"demonstrations": "mt", "steps": 8, "learning_rate": 1.5, "batch": 2}
WANDA = {"demonstrations": "mt", "propagation": "dense", "score": "wanda", "sparsity": 0.5}
KINDS: dict[str, dict[str, Any]] = {
    "magnitude": {"score": "magnitude", "sparsity": 0.5},
    "n-m": {**WANDA, "structure": "2:4"},
    "swaps": {**WANDA, "refine": "gram_swaps"},
    "fit": {**WANDA, "refine": "least_squares"},
    "alps": {**WANDA, "score": "alps"},
    "units": {**WANDA, "score": "flap", "structure": "units"},
    "union": {"combine": "intersection", "of": ["plain", "random"]},
    "adopted": {"adopt": "pruned"},
}
EXPERTS: dict[str, dict[str, Any]] = {
    "inside": WANDA,
    "whole": {**WANDA, "score": "reap", "structure": "experts"},
}


def recipe_of(kinds: dict[str, dict[str, Any]]) -> dict[str, Any]:
    plain = {"name": "plain", **WANDA}
    random = {"name": "random", "score": "random", "sparsity": 0.5}
    fitted = [{"name": name, **entry, "reconstruct": FIT} for name, entry in kinds.items()]
    return {**small_recipe(), "variants": [plain, random, *fitted]}


@pytest.fixture(scope="module")
def kinds_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = write_inputs(tmp_path_factory.mktemp("kinds"))
    first = finished_run(folder, recipe_of({}), name="plain")
    export_variant(first.store, first.named("plain")[0].id, folder / "model", folder / "pruned")
    return finished_run(folder, recipe_of(KINDS), name="kinds")


@pytest.fixture(scope="module")
def experts_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("experts")
    save_expert_model(folder / "model", n_experts=8)
    write_texts(folder)
    return finished_run(folder, recipe_of(EXPERTS), name="experts")


def check(run: FinishedRun, name: str, folder: Path) -> None:
    """Losses fall, masks stay, the export has the new weights, and stored results follow from stored files."""
    (variant,) = run.named(name)
    spec = variant.spec
    assert isinstance(spec, ReconstructedVariant)
    stored = require_masks(run.store, spec.id)
    losses = [row for row in run.rows("reconstructed_blocks") if row["variant_id"] == spec.id]
    assert len(losses) == spec.model.n_blocks
    assert all(row["loss_after"] < row["loss_before"] and row["n_steps"] > 0 for row in losses)
    masks, parents = run.keep_masks(spec.id), run.keep_masks(spec.parent.id)
    assert all(torch.equal(keep, parents[key]) for key, keep in masks.items())

    export_variant(run.store, spec.id, run.folder / "model", folder)
    card = (folder / "README.md").read_text("utf-8")
    assert "## Parents" in card
    assert "| reconstruction |" in card
    tensors = load_file(folder / "model.safetensors")
    for block, file in enumerate(stored.weights):
        for layer, weight in read_block_weights(run.store, file).items():
            exported = tensors.get(f"model.layers.{block}.{layer}.weight")
            if exported is not None and ".experts." not in layer:  # those that remain have new numbers
                assert torch.equal(exported, weight)
    record = run.store.require("variants", spec.id)
    assert not has_masks_to_rebuild(record)
    assert Recheck(run.store, lambda _: run.folder / "model").contradictions(record) == []


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", KINDS)
def test_any_variant_can_be_reconstructed(kinds_run: FinishedRun, tmp_path: Path, name: str) -> None:
    check(kinds_run, name, tmp_path / "out")


@pytest.mark.parametrize("name", EXPERTS)
def test_experts_can_be_reconstructed(experts_run: FinishedRun, tmp_path: Path, name: str) -> None:
    check(experts_run, name, tmp_path / "out")
    (variant,) = experts_run.named(name)
    masks = experts_run.keep_masks(variant.id)
    empty = {layer for (block, layer), keep in masks.items() if block == 0 and not keep.any()}
    weights = read_block_weights(experts_run.store, require_masks(experts_run.store, variant.id).weights[0])
    assert set(weights) == {layer for block, layer in masks if block == 0}
    assert not any(bool(weights[layer].any()) for layer in empty)
    assert bool(empty) == (name == "whole")


def test_new_biases_of_the_parent_stay(kinds_run: FinishedRun) -> None:
    (variant,) = kinds_run.named("units")
    files = [require_masks(kinds_run.store, one).biases for one in (variant.id, variant.parents[0].id)]
    biases = [[read_block_weights(kinds_run.store, file) for file in of_variant] for of_variant in files]
    assert [set(of_block) for of_block in biases[0]] == [set(of_block) for of_block in biases[1]]
    for own, of_parent in zip(*biases, strict=True):
        assert all(torch.equal(own[layer], of_parent[layer]) for layer in of_parent)
    assert kinds_run.row("variants", variant.id)["biases_changed"]
