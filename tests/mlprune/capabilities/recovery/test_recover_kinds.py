"""Recovery after every structure: removed blocks, experts and units, combinations and checkpoints of others."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from mlprune.api.masked_model import load_masked_model
from mlprune.capabilities.publishing.export import export_variant
from mlprune.capabilities.recovery.variant import RecoveredVariant
from mlprune.models.local_chain import local_chain
from mlprune.models.shard import Shard
from mlprune.pruning.mask_files import read_block_weights
from mlprune.steps.rescore.verify import Recheck, has_masks_to_rebuild
from mlprune.steps.variants.variant_rows import require_masks, stored_changes
from tests.expert_models import save_expert_model
from tests.tiny_recipes import FinishedRun, finished_run, small_recipe, write_inputs, write_texts

FIT = {"demonstrations": "mt", "steps": 4, "learning_rate": 0.02, "batch": 2, "every": 2}
WANDA = {"demonstrations": "mt", "propagation": "dense", "score": "wanda", "sparsity": 0.5}
KINDS: dict[str, dict[str, Any]] = {
    "blocks": {"score": "random", "structure": "blocks", "sparsity": 0.34},
    "n-m": {**WANDA, "structure": "2:4"},
    "sparsegpt": {"score": "sparsegpt", "demonstrations": "mt", "sparsity": 0.5},
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
    recovered = [{"name": name, **entry, "recover": FIT} for name, entry in kinds.items()]
    return {**small_recipe(), "variants": [plain, random, *recovered]}


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


def check(run: FinishedRun, name: str, folder: Path) -> RecoveredVariant:
    """The held-out loss falls, removed weights stay 0, the card names it, and results follow from stored files."""
    (variant,) = run.named(name)
    spec = variant.spec
    assert isinstance(spec, RecoveredVariant)
    rows = [row for row in run.rows("recovery_losses") if row["variant_id"] == spec.id and row["is_held_out"]]
    losses = {row["step"]: row["divergence"] for row in rows}
    (best,) = (row["step"] for row in rows if row["is_stored"])
    assert losses[best] < losses[0]
    for block, file in enumerate(require_masks(run.store, spec.id).weights):
        for layer, weight in read_block_weights(run.store, file).items():
            assert not weight[~run.keep_masks(spec.id)[block, layer]].any()
    record = run.store.require("variants", spec.id)
    assert not has_masks_to_rebuild(record)
    assert Recheck(run.store, lambda _: run.folder / "model").contradictions(record) == []
    export_variant(run.store, spec.id, run.folder / "model", folder)
    assert "| recovery |" in (folder / "README.md").read_text("utf-8")
    return spec


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", [name for name in KINDS if name != "blocks"])
def test_any_variant_can_be_recovered(kinds_run: FinishedRun, tmp_path: Path, name: str) -> None:
    spec = check(kinds_run, name, tmp_path / "out")
    masks, parents = kinds_run.keep_masks(spec.id), kinds_run.keep_masks(spec.parent.id)
    assert all(torch.equal(keep, parents[key]) for key, keep in masks.items())


@pytest.mark.parametrize("name", EXPERTS)
def test_experts_can_be_recovered(experts_run: FinishedRun, tmp_path: Path, name: str) -> None:
    spec = check(experts_run, name, tmp_path / "out")
    empty = [key for key, keep in experts_run.keep_masks(spec.id).items() if not keep.any()]
    assert bool(empty) == (name == "whole")


def test_the_blocks_that_remain_can_be_recovered(kinds_run: FinishedRun, tmp_path: Path) -> None:
    """The export, the variant in place and the one in memory compute the same."""
    spec = check(kinds_run, "blocks", tmp_path / "out")
    row, of_parent = (kinds_run.row("variants", one.id) for one in (spec, spec.parent))
    (removed,) = row["removed_blocks"]
    assert (row["removed_blocks"], row["n_removed_blocks"]) == (of_parent["removed_blocks"], 1)
    assert row["achieved_sparsity"] == pytest.approx(1 / 3)
    assert {block for (block, _), keep in kinds_run.keep_masks(spec.id).items() if not keep.any()} == {removed}
    assert (
        load_file(tmp_path / "out" / "model.safetensors").keys()
        == load_file(export_of(kinds_run, spec.parent.id, tmp_path)).keys()
    )
    ids = torch.tensor([[5, 9, 30, 31, 12]])
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    loaded = load_masked_model(kinds_run.store, spec.id, kinds_run.folder / "model").eval()
    parent = AutoModelForCausalLM.from_pretrained(tmp_path / "parent").eval()
    chain = local_chain(kinds_run.folder / "model")
    chain.everywhere(Shard.exchange_changes, stored_changes(kinds_run.store, spec.id))
    runner = chain.shards[0].runner
    with torch.no_grad():
        states = runner.embed(ids, torch.ones_like(ids, dtype=torch.bool))
        for block in runner.blocks:
            states = runner.step(block, states)
        in_place = runner.head(runner.apply_final_norm(states.hidden))
        expected = exported(ids).logits
        torch.testing.assert_close(in_place, expected)
        torch.testing.assert_close(loaded(ids).logits, expected)
        assert (parent(ids).logits - expected).abs().max() > 1e-3


def export_of(run: FinishedRun, variant_id: str, folder: Path) -> Path:
    export_variant(run.store, variant_id, run.folder / "model", folder / "parent")
    return folder / "parent" / "model.safetensors"
