"""Exports of mixtures of experts: masks on layers of experts, and removed experts."""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.api.masked_model import load_masked_model
from mlprune.capabilities.publishing.export import export_variant
from mlprune.errors import BadInputError, MlpruneError, ModelError
from mlprune.models.checkpoint.tensor_hashes import read_hashes
from mlprune.models.checkpoint.weight_files import INDEX_FILE, SINGLE_FILE, architecture_at
from mlprune.pruning.mask_files import mask_path, write_block_masks
from mlprune.pruning.scoring import described_levels
from mlprune.steps.rescore.verify import verify_variant
from mlprune.steps.variants.variant_rows import require_masks
from mlprune.store.store import Store
from tests.expert_models import EXPERT_TYPES, save_expert_model
from tests.mlprune.capabilities.publishing.publications import publish, require_equal_models
from tests.refusals import refused
from tests.tiny_recipes import FinishedRun, finished_run, small_recipe, write_texts

TOKENS = torch.tensor([[5, 9, 80, 31, 77, 12, 50]])


def expert_run(
    folder: Path, model_type: str, variants: list[dict[str, Any]], *, shard: str = "", **changes: Any
) -> FinishedRun:
    save_expert_model(folder / "model", model_type, n_experts=6, **changes)
    if shard:
        model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype="auto")
        (folder / "model" / SINGLE_FILE).unlink()
        model.save_pretrained(folder / "model", max_shard_size=shard)
    write_texts(folder)
    return finished_run(folder, {**small_recipe(), "variants": variants, "evaluations": []}, name="experts")


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        values: Tensor = model(TOKENS, use_cache=False).logits
    return values


def assert_same_logits(got: Any, expected: Any) -> None:
    torch.testing.assert_close(logits(got), logits(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.thorough("exports and loads models")
@pytest.mark.parametrize("model_type", EXPERT_TYPES)
def test_masks_of_layers_of_experts_are_in_an_export_an_applied_variant_and_a_loaded_model(
    model_type: str, tmp_path: Path
) -> None:
    variants: list[dict[str, Any]] = [
        {"name": "magnitude", "score": "magnitude", "sparsity": 0.5},
        {"name": "bits", "score": "magnitude", "sparsity": 0.5, "bits": 4, "quantisation_group": 4},
        {"name": "sparsegpt", "demonstrations": "mt", "score": "sparsegpt", "sparsity": 0.5},
    ]
    run = expert_run(tmp_path, model_type, variants)
    for name in ("magnitude", "bits", "sparsegpt"):
        variant = run.named(name)[0]
        made = tmp_path / name
        require_equal_models(run.store, variant.id, run.folder / "model", made)
        exported = AutoModelForCausalLM.from_pretrained(made / "exported", dtype="auto")
        assert_same_logits(exported, load_masked_model(run.store, variant.id, run.folder / "model"))
    magnitude = run.store.require("variants", run.named("magnitude")[0].id)
    assert verify_variant(run.store, magnitude, run.folder / "model").is_equal
    n_removed = sum(row["n_removed"] for row in magnitude.rows["variant_layers"])
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "magnitude" / "exported")
    assert sum(int((weight == 0).sum()) for weight in exported.parameters()) == n_removed
    names = set(read_hashes(tmp_path / "magnitude" / "exported"))
    assert any(".experts.5." in name for name in names) == (model_type not in ("gpt_oss", "granitemoe"))


def without_experts(
    run: FinishedRun,
    variant_id: str,
    removed: Mapping[int, Collection[int]],
    folder: Path,
) -> Store:
    """Copy a variant to a new store, with masks that also remove all weights of some experts."""
    store, variant = Store(folder), run.store.require("variants", variant_id)
    ordering, architecture = require_masks(run.store, variant_id).record, architecture_at(run.folder / "model")
    artefacts, counts = [], {}
    for block in range(architecture.n_blocks):
        kind = architecture.block(block).experts
        gone = {layer for expert in removed.get(block, ()) for layer in kind.layers(expert)} if kind else set()
        masks = run.keep_masks(variant_id)
        kept = {layer: mask & (layer not in gone) for (of, layer), mask in masks.items() if of == block}
        levels = {layer: described_levels(mask.to(torch.uint8), (0.5,)) for layer, mask in kept.items()}
        artefacts.append(write_block_masks(store, mask_path(ordering.id, block), levels))
        counts |= {(block, layer): int((~mask).sum()) for layer, mask in kept.items()}
    rows = [{**row, "n_removed": counts[row["block"], row["layer"]]} for row in variant.rows["variant_layers"]]
    for parent in run.store.records():
        if parent.kind not in ("variants", "masks", "mask_compositions"):
            store.write_record(replace(parent, artefacts=()))
    store.write_record(replace(ordering, artefacts=tuple(artefacts)))
    store.write_record(replace(variant, rows={**variant.rows, "variant_layers": rows}))
    return store


MAGNITUDE = {"name": "m", "score": "magnitude", "sparsity": 0.25}
REMOVED = {0: (1, 4), 1: (0, 3)}
"""Block -> one expert of each group."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, FinishedRun]:
    """Model type -> a run with a pruned variant; other variants are copies of it without some experts."""
    return Runs(tmp_path_factory)


class Runs(dict[str, FinishedRun]):
    """Runs that are made when a test asks for them first."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        super().__init__()
        self._factory = factory

    def __missing__(self, model_type: str) -> FinishedRun:
        return self.setdefault(model_type, expert_run(self._factory.mktemp(model_type), model_type, [MAGNITUDE]))


def removed_of(run: FinishedRun) -> dict[int, Collection[int]]:
    architecture = architecture_at(run.folder / "model")
    return {block: experts for block, experts in REMOVED.items() if architecture.block(block).experts}


@pytest.mark.thorough("exports and loads models")
@pytest.mark.parametrize("smaller", [False, True])
@pytest.mark.parametrize("model_type", EXPERT_TYPES)
def test_removed_experts_are_cut_out_of_an_export_that_is_equal_to_the_variant(
    runs: Mapping[str, FinishedRun], model_type: str, smaller: bool, tmp_path: Path
) -> None:
    run = runs[model_type]
    variant = run.named("m")[0].id
    store = without_experts(run, variant, removed_of(run), tmp_path / "store")
    export_variant(store, variant, run.folder / "model", tmp_path / "out", smaller=smaller)
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert_same_logits(exported, load_masked_model(store, variant, run.folder / "model"))
    experts = architecture_at(tmp_path / "out").block(1).experts
    assert experts is not None
    assert experts.n_experts == 4
    n_before = sum(path.stat().st_size for path in (run.folder / "model").glob("*.safetensors"))
    assert sum(path.stat().st_size for path in (tmp_path / "out").glob("*.safetensors")) < n_before
    assert "experts remain" in (tmp_path / "out" / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("model_type", "removed", "error"),
    [
        ("qwen3_moe", {0: (1,), 1: (0, 3)}, BadInputError),
        ("gpt_oss", {1: (5,)}, BadInputError),
        ("deepseek_v3", {1: (0, 1, 3)}, BadInputError),
        ("mixtral", {0: (1, 2, 3, 4, 5), 1: (1, 2, 3, 4, 5)}, ModelError),
    ],
)
def test_numbers_of_experts_that_no_config_states_or_no_router_can_choose_from_are_refused(
    runs: Mapping[str, FinishedRun],
    model_type: str,
    removed: Mapping[int, Collection[int]],
    error: type[MlpruneError],
    tmp_path: Path,
) -> None:
    run = runs[model_type]
    variant = run.named("m")[0].id
    store = without_experts(run, variant, removed, tmp_path / "store")
    with pytest.raises(error) as caught:
        export_variant(store, variant, run.folder / "model", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_variant_without_experts_cannot_be_published_as_masks(
    runs: Mapping[str, FinishedRun], tmp_path: Path
) -> None:
    run = runs["qwen3_moe"]
    variant = run.named("m")[0].id
    store = without_experts(run, variant, {1: (2,)}, tmp_path / "store")
    with refused(BadInputError, blocks=[1]):
        publish(store, [variant], run.folder / "model", tmp_path / "out")


@pytest.mark.thorough("exports and loads models")
def test_experts_in_several_weight_files_are_renumbered_and_so_is_the_index(tmp_path: Path) -> None:
    run = expert_run(tmp_path, "qwen3_moe", [MAGNITUDE], shard="8KB")
    variant = run.named("m")[0].id
    store = without_experts(run, variant, REMOVED, tmp_path / "store")
    export_variant(store, variant, run.folder / "model", tmp_path / "out")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert_same_logits(exported, load_masked_model(store, variant, run.folder / "model"))
    index = json.loads((tmp_path / "out" / INDEX_FILE).read_text("utf-8"))
    files = {path.name: load_file(path) for path in (tmp_path / "out").glob("*.safetensors")}
    assert len(files) > 3
    assert index["weight_map"] == {name: file for file, tensors in files.items() for name in tensors}
    assert index["metadata"]["total_size"] == sum(t.nbytes for tensors in files.values() for t in tensors.values())
