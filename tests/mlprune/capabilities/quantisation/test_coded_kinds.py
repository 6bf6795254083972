"""Codes of models with experts, with transposed weights and in half precision, and after every way to make a mask."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, load_file

from mlprune.capabilities.publishing.export import export_variant
from mlprune.capabilities.quantisation.coded import CodeJob
from mlprune.capabilities.quantisation.variant import CodedVariant
from mlprune.models.local_chain import local_chain
from mlprune.models.shard import Shard
from mlprune.numeric.weights.codes import CodeFormat
from mlprune.numeric.weights.gptq import gptq, input_factor, nearest
from mlprune.pruning.mask_files import read_block_weights
from mlprune.steps.evaluate.model_evaluation import apply_variant
from mlprune.steps.prune.result_warnings import variant_warnings
from mlprune.steps.rescore.verify import Recheck
from mlprune.steps.variants.variant_rows import require_masks
from tests.chains import WatchedChain, worker_threads
from tests.derived_recipe import coded_recipe
from tests.expert_models import save_expert_model
from tests.mlprune.capabilities.quantisation.test_coded_jobs import assert_same_files, with_parent_only
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import (
    FinishedRun,
    chain_of,
    finished_run,
    gram_matrices,
    reference_model,
    small_recipe,
    write_inputs,
    write_texts,
)

WANDA = {"demonstrations": "mt", "propagation": "dense", "score": "wanda", "sparsity": 0.5}
FIT = {"demonstrations": "mt", "steps": 8, "learning_rate": 1.5, "batch": 2}
TYPES = ("llama", "gpt2", "bloom")
KINDS: dict[str, dict[str, Any]] = {
    "magnitude": {"score": "magnitude", "sparsity": 0.5, "quantise": {"demonstrations": "mt"}},
    "n-m": {**WANDA, "structure": "2:4"},
    "swaps": {**WANDA, "refine": "gram_swaps"},
    "fitted": {**WANDA, "reconstruct": {**FIT, "biases": True}},
    "units": {**WANDA, "score": "flap", "structure": "units"},
    "units-dense": {**WANDA, "score": "flap", "quantise": {"propagation": "dense"}},
    "union": {"combine": "intersection", "of": ["plain", "random"], "quantise": {"demonstrations": "mt"}},
    "tokens": {**WANDA, "keep": {"languages": ["en"]}},
}


def recipe_of(entries: dict[str, dict[str, Any]], *, dtype: str = "float32") -> dict[str, Any]:
    recipe = {**small_recipe(), "evaluations": []}
    recipe["model"] = {**recipe["model"], "dtype": dtype}
    plain = [{"name": "plain", **WANDA}, {"name": "random", "score": "random", "sparsity": 0.5}]
    recipe["variants"] = [*plain, *({"name": name, "quantise": {}, **entry} for name, entry in entries.items())]
    return recipe


def job_of(run: FinishedRun, name: str) -> CodeJob:
    """The job that made the codes of an entry, also if something is derived from them."""
    lineage = {one.id for variant in run.named(name) for one in variant.lineage}
    return next(job for job in run.plan.jobs if isinstance(job, CodeJob) and job.variant.id in lineage)


def check(run: FinishedRun, name: str, folder: Path) -> None:
    """An export and the variant in place have the weights of the codes, and stored results follow from stored files."""
    (variant,) = run.named(name)
    coded = job_of(run, name).variant
    masks, parents = run.keep_masks(coded.id), run.keep_masks(coded.parent.id)
    assert all(torch.equal(keep, masks[key]) for key, keep in parents.items())
    export_variant(run.store, variant.id, run.folder / "model", folder)
    chain, exported = chain_of(run.plan), local_chain(folder, dtype=run.plan.model.dtype)
    apply_variant(chain, run.store, variant.id)
    architecture = chain.everywhere(Shard.architecture)[0]
    has_all_experts = not any(not keep.any() for keep in masks.values())
    for block, file in enumerate(require_masks(run.store, coded.id).weights):
        for layer, weight in read_block_weights(run.store, file).items():
            assert not weight[~masks[block, layer]].any()
            if has_all_experts:  # those that remain have new numbers in an export
                for one in (chain, exported):
                    found = one.on_block(block, _weight, block, layer)
                    assert torch.equal(found.T if architecture.block(block).transposed else found, weight)
    for record in (run.store.require("variants", one) for one in (variant.id, coded.id)):
        assert Recheck(run.store, lambda _: run.folder / "model").contradictions(record) == []


def _weight(shard: Shard, block: int, layer: str) -> torch.Tensor:
    return shard.runner.modules[block].get_submodule(layer).get_parameter("weight").detach().clone()


@pytest.mark.thorough("runs a model for every type")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", TYPES)
def test_every_type_and_dtype_is_quantised_in_its_dtype(tmp_path: Path, family: str, dtype: str) -> None:
    save_tiny_model(tmp_path / "model", family)
    write_texts(tmp_path)
    run = finished_run(tmp_path, recipe_of({"codes": WANDA}, dtype=dtype), name="types")
    job = job_of(run, "codes")
    for file in require_masks(run.store, job.variant.id).weights:
        scales = [tensor for name, tensor in load(run.store.read_bytes(file)).items() if name.endswith("/scales")]
        assert scales
        assert all(tensor.dtype == getattr(torch, dtype) for tensor in scales)
        assert all(weight.dtype == getattr(torch, dtype) for weight in read_block_weights(run.store, file).values())
    errors = [row for row in run.rows("quantisation_errors") if row["variant_id"] == job.variant.id]
    assert all(0 < row["error"] < 1 for row in errors)
    check(run, "codes", tmp_path / "out")
    store = with_parent_only(run, job, tmp_path / "again")
    with worker_threads(2):
        job.run(store, lambda: WatchedChain(chain_of(run.plan)))
    assert_same_files(store, run.store)


@pytest.fixture(scope="module")
def kinds_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = write_inputs(tmp_path_factory.mktemp("kinds"))
    return finished_run(folder, recipe_of(KINDS), name="kinds")


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", [name for name in KINDS if name != "tokens"])
def test_any_variant_can_be_quantised(kinds_run: FinishedRun, tmp_path: Path, name: str) -> None:
    check(kinds_run, name, tmp_path / "out")


@pytest.mark.thorough("runs a model for every case")
def test_tokens_are_removed_after_the_weights_are_rounded(kinds_run: FinishedRun, tmp_path: Path) -> None:
    (variant,) = kinds_run.named("tokens")
    assert isinstance(variant.parents[0].spec, CodedVariant)
    export_variant(kinds_run.store, variant.id, kinds_run.folder / "model", tmp_path / "out")
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    files = require_masks(kinds_run.store, variant.parents[0].id).weights
    for block, file in enumerate(files):
        for layer, weight in read_block_weights(kinds_run.store, file).items():
            assert torch.equal(tensors[f"model.layers.{block}.{layer}.weight"], weight)


@pytest.mark.thorough("runs a model for every case")
def test_new_biases_of_the_parent_stay(kinds_run: FinishedRun) -> None:
    for name in ("fitted", "units", "units-dense"):
        variant = job_of(kinds_run, name).variant
        files = [require_masks(kinds_run.store, one).biases for one in (variant.id, variant.parent.id)]
        assert files[0]
        for own, parent in zip(*files, strict=True):
            assert kinds_run.store.read_bytes(own) == kinds_run.store.read_bytes(parent)
        assert kinds_run.row("variants", variant.id)["biases_changed"]


@pytest.mark.thorough("runs a model for every case")
def test_removed_units_whose_means_are_in_a_bias_are_not_compensated_again(kinds_run: FinishedRun) -> None:
    """The codes are those of the smaller layer alone, also where the dense inputs of the removed units are active."""
    variant = job_of(kinds_run, "units-dense").variant
    model, masks = reference_model(kinds_run.folder / "model"), kinds_run.keep_masks(variant.id)
    table = kinds_run.store.read_table(kinds_run.store.require("demonstration_sets", variant.set_ids[0]).artefacts[0])
    products = gram_matrices(model, [list(ids) for ids in table["token_ids"]], layers=("fc2",))
    n_different = n_rows = 0
    for block, file in enumerate(require_masks(kinds_run.store, variant.id).weights):
        kept = masks[block, "fc2"].any(dim=0)
        assert not kept.all()
        assert products[block, "fc2"][~kept].any()
        weight = model.model.layers[block].fc2.weight.detach()[:, kept]
        factor = input_factor(products[block, "fc2"][kept][:, kept])
        alone = gptq(weight, factor, layout=CodeFormat(), dtype=torch.float32).dequantised()
        found = read_block_weights(kinds_run.store, file)["fc2"][:, kept]
        n_different += int((alone - found).abs().gt(1e-4).any(dim=1).sum())
        n_rows += len(found)
    assert n_different <= n_rows / 16


ONE = {"sparsity": 0, "quantise": {"demonstrations": "mt"}}
TWO = {"sparsity": 0, "quantise": {"over": ["mt", "mono"], "propagation": "dense"}}
WHOLE = {**WANDA, "score": "reap", "structure": "experts"}


@pytest.fixture(scope="module")
def experts_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Two short texts, which do not reach all experts."""
    folder = tmp_path_factory.mktemp("experts")
    save_expert_model(folder / "model", n_experts=12, blocks=1)
    write_texts(folder)
    recipe = recipe_of({"one": ONE, "two": TWO, "whole": WHOLE})
    recipe["demonstrations"] = [{**one, "samples": 1, "max_tokens": 12} for one in coded_recipe()["demonstrations"]]
    return finished_run(folder, recipe, name="experts")


@pytest.mark.parametrize("name", ["one", "two"])
def test_experts_that_no_token_of_the_sets_reached_are_rounded_to_nearest_and_counted(
    experts_run: FinishedRun, name: str
) -> None:
    variant = job_of(experts_run, name).variant
    rows = [row for row in experts_run.rows("quantised_layers") if row["variant_id"] == variant.id]
    unreached = {row["layer"] for row in rows if not row["is_reached"]}
    assert unreached
    assert all(".experts." in layer for layer in unreached)
    assert len(unreached) < sum(".experts." in row["layer"] for row in rows)
    files = require_masks(experts_run.store, variant.id).weights
    found = read_block_weights(experts_run.store, files[0])
    dense = chain_of(experts_run.plan)
    for layer, weight in found.items():
        plain = nearest(dense.on_block(0, _weight, 0, layer), CodeFormat(), dtype=torch.float32).dequantised()
        assert weight.any()
        assert torch.equal(weight, plain) == (layer in unreached)
    errors = {row["layer"] for row in experts_run.rows("quantisation_errors") if row["variant_id"] == variant.id}
    assert errors == {row["layer"] for row in rows} - unreached
    warnings = list(variant_warnings(experts_run.store, experts_run.store.require("variants", variant.id)))
    (warning,) = (one for one in warnings if f"{len(unreached)} of {len(rows)}" in one)
    assert variant.id in warning


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ["one", "whole"])
def test_experts_are_exported_and_applied(experts_run: FinishedRun, tmp_path: Path, name: str) -> None:
    check(experts_run, name, tmp_path / "out")
    job = job_of(experts_run, name)
    store = with_parent_only(experts_run, job, tmp_path / "again")
    with worker_threads(2):
        job.run(store, lambda: WatchedChain(chain_of(experts_run.plan)))
    assert_same_files(store, experts_run.store)


@pytest.mark.thorough("runs a model for every case")
def test_removed_experts_are_not_counted_as_experts_without_tokens(experts_run: FinishedRun) -> None:
    variant = job_of(experts_run, "whole").variant
    masks = experts_run.keep_masks(variant.id)
    empty = {layer for (_, layer), keep in masks.items() if not keep.any()}
    assert empty
    rows = [row for row in experts_run.rows("quantised_layers") if row["variant_id"] == variant.id]
    n_unreached = sum(not row["is_reached"] and row["layer"] not in empty for row in rows)
    found = variant_warnings(experts_run.store, experts_run.store.require("variants", variant.id))
    warnings = [text for text in found if "rounded to nearest" in text]
    assert len(warnings) == bool(n_unreached)
    assert all(f"{n_unreached} of" in text for text in warnings)
    assert any(not row["is_reached"] for row in rows if row["layer"] in empty)
