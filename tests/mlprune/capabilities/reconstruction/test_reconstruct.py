"""Reconstructed variants of a tiny recipe: their weights, rows and labels; killed, resumed and on two shards."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file
from torch import Tensor

from mlprune.api.masked_model import load_masked_model
from mlprune.capabilities.publishing.export import export_variant
from mlprune.capabilities.publishing.patches import INDEX, export_patches
from mlprune.capabilities.reconstruction.reconstruct import ReconstructJob, reconstruction_cost
from mlprune.errors import PermanentError, RecipeError, WorkerLostError
from mlprune.models.inference import spilled_states
from mlprune.models.local_chain import local_chain
from mlprune.models.placement.memory_estimate import MAX_STATE_BYTES
from mlprune.models.shard import Shard
from mlprune.planning import build_plan
from mlprune.processes.job_parts import PartCounter, counting_parts
from mlprune.pruning.mask_files import read_block_weights, weights_path, write_block_weights
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.compare.differences import CompareJob
from mlprune.steps.compare.seeds import seed_groups
from mlprune.steps.job import SetSize
from mlprune.steps.variants.variant_rows import require_masks
from mlprune.store.store import Store
from tests.chains import TransportChain, WatchedChain, budget_for, chain_with_masks, worker_threads
from tests.derived_recipe import reconstructed_recipe
from tests.mlprune.capabilities.publishing.publications import require_equal_models
from tests.mlprune.steps.job_costs import N_WEIGHTS, SET_TOKENS, costs_by_class, sizes_of
from tests.refusals import refused
from tests.tiny_recipes import (
    FinishedRun,
    chain_of,
    contents,
    copy_of,
    reference_model,
    store_with_sets,
)

N_BLOCKS = 3


@pytest.fixture(name="run")
def _run(reconstructed_run: FinishedRun) -> FinishedRun:
    return reconstructed_run


def job_of(run: FinishedRun, name: str) -> ReconstructJob:
    ids = {variant.id for variant in run.named(name)}
    return next(job for job in run.plan.jobs if isinstance(job, ReconstructJob) and job.variant.id in ids)


def weights_of(store: Store, variant_id: str) -> dict[tuple[int, str], Tensor]:
    files = [read_block_weights(store, file) for file in require_masks(store, variant_id).weights]
    return {(block, layer): weight for block, of_block in enumerate(files) for layer, weight in of_block.items()}


def rows_of(run: FinishedRun, job: ReconstructJob) -> list[dict[str, Any]]:
    records = [run.store.require(*key) for key in job.intermediates]
    return [dict(row) for record in records for row in record.rows["reconstructed_blocks"]]


@pytest.mark.parametrize("name", ["own", "two", "sparsegpt"])
def test_every_block_comes_closer_to_the_dense_one_and_keeps_its_mask(run: FinishedRun, name: str) -> None:
    job = job_of(run, name)
    masks, parents = run.keep_masks(job.variant.id), run.keep_masks(job.variant.parent.id)
    weights = weights_of(run.store, job.variant.id)
    assert set(masks) == set(parents) == set(weights)
    for key, keep in masks.items():
        assert torch.equal(keep, parents[key])
        assert (weights[key][~keep] == 0).all()
    rows = rows_of(run, job)
    assert [row["demonstration_set_id"] for row in rows] == [*job.variant.set_ids] * N_BLOCKS
    shares = dict(zip(job.variant.set_ids, job.variant.shares, strict=True))
    for block in range(N_BLOCKS):
        losses = [
            sum(shares[row["demonstration_set_id"]] * row[column] for row in rows if row["block"] == block)
            for column in ("loss_before", "loss_after")
        ]
        assert losses[1] < losses[0]


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ["own", "two"])
def test_losses_are_those_of_the_hidden_states_of_both_models(run: FinishedRun, name: str) -> None:
    """With the model library's own forward; after blocks of the dense model, only one block has other weights."""
    job = job_of(run, name)
    dense, fitted = (reference_model(run.folder / "model") for _ in range(2))
    for row in rows_of(run, job):
        if job.variant.settings.propagation == "dense":
            fitted = reference_model(run.folder / "model")
        for (block, layer), weight in weights_of(run.store, job.variant.id).items():
            if block == row["block"]:
                fitted.model.layers[block].get_submodule(layer).weight.data.copy_(weight)
        table = run.store.read_table(run.store.require("demonstration_sets", row["demonstration_set_id"]).artefacts[0])
        states = [
            [states_after(model, row["block"], list(ids)) for ids in table["token_ids"]] for model in (dense, fitted)
        ]
        difference, square = (sum(map(float, sums)) for sums in zip(*map(squares, *states), strict=True))
        assert row["loss_after"] == pytest.approx(difference / square, rel=1e-4)


def test_sparsity_0_stays_the_dense_model(run: FinishedRun) -> None:
    dense, _ = run.named("own")
    assert dense.is_dense
    assert "own" in {entry.name for entry in dense.entries}


def test_a_block_of_which_nothing_is_removed_keeps_its_weights(run: FinishedRun) -> None:
    job = job_of(run, "one-block")
    assert {block for block, _ in weights_of(run.store, job.variant.id)} == {1}
    before_it, fitted, after_it = rows_of(run, job)
    assert before_it["loss_before"] == before_it["loss_after"] == 0
    assert fitted["loss_after"] < fitted["loss_before"]
    assert after_it["loss_before"] == after_it["loss_after"] > 0
    assert [row["n_steps"] > 0 for row in (before_it, fitted, after_it)] == [False, True, False]
    assert 0 < fitted["step_length"] <= 0.02
    assert before_it["step_length"] is after_it["step_length"] is None


@pytest.mark.parametrize("name", ["too-fast", "too-fast-rounded"])
def test_blocks_that_keep_their_first_weights_are_exported_published_and_loaded(
    run: FinishedRun, tmp_path: Path, name: str
) -> None:
    (variant,) = run.named(name)
    fitted = job_of(run, "too-fast")
    assert {row["n_steps"] for row in rows_of(run, fitted)} == {0}
    require_equal_models(run.store, variant.id, run.folder / "model", tmp_path)
    exported = load_file(tmp_path / "exported" / "model.safetensors")
    if name == "too-fast":
        export_variant(run.store, fitted.variant.parent.id, run.folder / "model", tmp_path / "parent")
        parent = load_file(tmp_path / "parent" / "model.safetensors")
        assert all(torch.equal(tensor, parent[key]) for key, tensor in exported.items())
    loaded = load_masked_model(run.store, variant.id, run.folder / "model").state_dict()
    assert all(torch.equal(tensor, loaded[key]) for key, tensor in exported.items())


def test_patches_lead_from_and_to_a_variant_of_which_some_blocks_keep_their_first_weights(
    run: FinishedRun, tmp_path: Path
) -> None:
    own = job_of(run, "own").variant
    store = without_new_weights(run.store, own.id, block=1, folder=tmp_path / "store")
    model = run.folder / "model"
    require_equal_models(store, own.id, model, tmp_path)
    exported = load_file(tmp_path / "exported" / "model.safetensors")
    layers = list(weights_of(run.store, own.id).items())
    assert all(
        torch.equal(exported[f"model.layers.{block}.{layer}.weight"], weight) == (block != 1)
        for (block, layer), weight in layers
    )
    for number, ends in enumerate([(own.parent.id, own.id), (own.id, own.parent.id)]):
        n_values = export_patches(store, ends, model, tmp_path / f"patches-{number}")
        assert 0 < n_values < sum(weight.numel() for _, weight in layers)
        assert not any(".layers.1." in name for name in patched_tensors(tmp_path / f"patches-{number}"))


def test_a_block_of_which_some_pruned_layers_lack_new_weights_is_refused(run: FinishedRun, tmp_path: Path) -> None:
    own = job_of(run, "own").variant
    store = without_new_weights(run.store, own.id, block=1, layers=("fc1",), folder=tmp_path / "store")
    with refused(PermanentError, got=[(1, "fc1")]):
        export_variant(store, own.id, run.folder / "model", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def without_new_weights(
    store: Store, variant_id: str, *, block: int, folder: Path, layers: Sequence[str] | None = None
) -> Store:
    """Copy a store, and remove new weights of layers of one block, by default of all, from a variant."""
    copied = copy_of(store, folder)
    masks = require_masks(copied, variant_id).record
    (old,) = (file for file in masks.artefacts if file.path == weights_path(variant_id, block))
    weights = read_block_weights(copied, old)
    (folder / old.path).unlink()
    kept = {layer: weight for layer, weight in weights.items() if layers is not None and layer not in layers}
    new = write_block_weights(copied, old.path, kept)
    copied.write_record(replace(masks, artefacts=tuple(new if file == old else file for file in masks.artefacts)))
    return copied


def patched_tensors(folder: Path) -> list[str]:
    return list(json.loads((folder / INDEX).read_text("utf-8"))["tensors"])


def test_the_catalog_knows_the_parent_the_sets_and_the_settings(run: FinishedRun) -> None:
    job = job_of(run, "two")
    record, parent = run.store.require(*job.variant.identity.key), job.variant.parent
    (row,), (of_parent,) = record.rows["variants"], run.store.require(*parent.identity.key).rows["variants"]
    assert row["mask_sha256"] == of_parent["mask_sha256"]
    assert row["reconstruction"] == {
        "unit": "block",
        "steps": 12,
        "learning_rate": 1.5,
        "batch": 2,
        "propagation": "dense",
    }
    assert row["weights_changed"]
    links = [(link["role"], link["weight"]) for link in record.rows["variant_demonstrations"]]
    assert links == [("demonstrations", 1.0), ("reconstruction", 0.25), ("reconstruction", 0.75)]
    (link,) = record.rows["variant_parents"]
    assert (link["parent_variant_id"], link["role"]) == (parent.id, "unreconstructed")
    (rounded,) = run.named("rounded")
    assert rounded.spec.unquantised.id == job_of(run, "own").variant.id


def test_a_reconstructed_variant_is_compared_with_its_parent(run: FinishedRun) -> None:
    job = job_of(run, "own")
    pairs = {(one.variant_id, one.baseline_id) for one in run.plan.jobs if isinstance(one, CompareJob)}
    assert (job.variant.id, job.variant.parent.id) in pairs


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("files_are_written", [False, True])
def test_a_killed_job_resumes_at_the_block_where_it_stopped(
    run: FinishedRun, tmp_path: Path, files_are_written: bool
) -> None:
    assert_resumes_after_a_kill(run, job_of(run, "own"), tmp_path / "store", files_are_written=files_are_written)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(("name", "n_shards", "n_threads"), [("own", 2, 1), ("two", 3, 1), ("sparsegpt", 1, 2)])
def test_shards_and_threads_change_no_byte(
    run: FinishedRun, tmp_path: Path, name: str, n_shards: int, n_threads: int
) -> None:
    assert_equal_on_shards(run, job_of(run, name), tmp_path / "store", n_shards=n_shards, n_threads=n_threads)


def test_blocks_on_disk_change_no_byte(run: FinishedRun, tmp_path: Path) -> None:
    job = job_of(run, "own")
    store, path = with_parent_only(run, job, tmp_path / "store"), Path(run.plan.model.path)
    job.run(store, lambda: local_chain(path, budget=budget_for(path, 1)))
    assert_same_files(store, run.store)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(("name", "n_shards"), [("own", 1), ("two", 2)])
def test_states_on_disk_change_no_byte(
    run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, n_shards: int
) -> None:
    """Memory for the states of three demonstrations."""
    job = job_of(run, name)
    store = with_parent_only(run, job, tmp_path / "store")
    read: list[Path] = []

    def load_file(path: Path) -> dict[str, Tensor]:
        read.append(path)
        return safetensors.torch.load_file(path)

    monkeypatch.setattr(spilled_states, "load_file", load_file)
    monkeypatch.setattr(spilled_states, "MAX_STATE_BYTES", 3 * 48 * sizes_of(run.plan).hidden * 4)
    chain = chain_with_masks(Path(run.plan.model.path), n_shards=n_shards)
    job.run(store, lambda: chain)
    assert len(read) > 100
    assert_same_files(store, run.store)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"score": "magnitude", "sparsity": 0.5, "reconstruct": "block"}, "reads demonstrations"),
    ({"score": "wanda", "demonstrations": "mt", "sparsity": 0.5, "reconstruct": "layer"}, "reconstruct is block"),
    ({"score": "random", "sparsity": 0.5, "reconstruct": {"demonstrations": "nothing"}}, "unknown"),
    ({"score": "random", "sparsity": 0.5, "reconstruct": {"over": ["mt", "mono"], "shares": [1]}}, "shares"),
    ({"score": "random", "sparsity": 0.5, "reconstruct": {"demonstrations": "mt", "shares": [1]}}, "shares"),
    (
        {"score": "random", "structure": "blocks", "sparsity": 0.5, "reconstruct": {"demonstrations": "mt"}},
        "reconstruct",
    ),
    (
        {"structure": "vocabulary", "keep": {"languages": ["fr"]}, "reconstruct": {"demonstrations": "mt"}},
        "reconstruct",
    ),
]


@pytest.mark.parametrize(("entry", "words"), BAD, ids=[words for _, words in BAD])
def test_what_cannot_be_reconstructed_is_refused_in_one_line(
    tiny_inputs: Path, entry: dict[str, Any], words: str
) -> None:
    recipe = {**reconstructed_recipe(), "variants": [entry]}
    with pytest.raises(RecipeError) as caught:
        build_plan(parse_recipe(recipe, folder=tiny_inputs))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sets_of_the_seed_of_the_entry_are_read(tiny_inputs: Path) -> None:
    recipe = reconstructed_recipe()
    for entry in recipe["demonstrations"]:
        entry["seed"] = [0, 1]
    wanda = {"score": "wanda", "demonstrations": "mt", "sparsity": 0.5}
    recipe["variants"] = [{"name": "other", **wanda, "reconstruct": {"demonstrations": "mono"}}]
    plan = build_plan(parse_recipe(recipe, folder=tiny_inputs))
    planned = [variant for variant in plan.variants.values() if variant.entries]
    assert [[one.spec.seed for one in (*variant.sets, *variant.parents[0].sets)] for variant in planned] == [
        [0, 0],
        [1, 1],
    ]
    recipe["demonstrations"][1]["seed"] = [1, 2]
    with pytest.raises(RecipeError):
        build_plan(parse_recipe(recipe, folder=tiny_inputs))


def test_the_seed_of_its_sets_is_that_of_a_variant_whose_parent_has_none(tiny_inputs: Path) -> None:
    recipe = reconstructed_recipe()
    recipe["demonstrations"][0]["seed"] = [0, 1]
    fit = {"demonstrations": "mt", "steps": 2}
    recipe["variants"] = [{"name": "fitted", "score": "magnitude", "sparsity": 0.5, "reconstruct": fit}]
    variants = build_plan(parse_recipe(recipe, folder=tiny_inputs)).variants
    fitted = [variant for variant in variants.values() if variant.entries]
    assert [variant.seed for variant in fitted] == [0, 1]
    (group,) = seed_groups(variants.values())
    assert group.source == "demonstrations"
    assert group.variants == tuple((variant.seed, variant.id) for variant in fitted)
    assert fitted[0].differing_aspects(fitted[1]) == {"seed"}


def test_the_plan_counts_steps_states_and_one_block_with_two_moments(run: FinishedRun) -> None:
    costs = {job.variant.id: cost for job, cost in costs_by_class(run.plan, ReconstructJob)}
    job, sizes = job_of(run, "two"), sizes_of(run.plan)
    cost, block = costs[job.variant.id], N_WEIGHTS // N_BLOCKS
    forward = 2.0 * N_WEIGHTS * 2 * SET_TOKENS
    # forward and backward: 12 steps of 2 of 8 demonstrations, and twice all for the step length
    read = 3 * (12 * 2 + 2 * 8) / 8
    assert cost.flops == pytest.approx(1.35 * forward * (5 + read))
    states = 2 * 2 * SET_TOKENS * sizes.hidden * 4
    of_block = block * (2 * 4 + 4 + 2 * 4 + 1) + 2 * 4 * block + 4 * sizes.block
    assert cost.device_fixed_bytes == states + of_block + 8 * 48 * 3 * 4 * sizes.inputs
    assert cost.disk_bytes == pytest.approx(N_WEIGHTS * (4 + 1 / 8))
    assert cost.runs_model


def test_states_beyond_the_limit_are_planned_on_the_disk(run: FinishedRun) -> None:
    sizes, job = sizes_of(run.plan), job_of(run, "own")
    costs = [
        reconstruction_cost("sweep", sizes, SetSize(n_tokens, 10**6), job.variant.settings, longest=48)
        for n_tokens in (10**9, 10**10)
    ]
    assert costs[0].fixed_bytes == costs[1].fixed_bytes < MAX_STATE_BYTES * 1.1
    assert costs[0].flops < costs[1].flops


def with_parent_only(run: FinishedRun, job: ReconstructJob, folder: Path) -> Store:
    """A store that contains what a job needs."""
    store = store_with_sets(run, *(key for _, key in run.store.record_names("demonstration_sets")), folder=folder)
    masks = require_masks(run.store, job.variant.parent.id).record
    for artefact in masks.artefacts:
        store.write_bytes(artefact.path, run.store.read_bytes(artefact))
    for record in (masks, run.store.require(*job.variant.parent.identity.key)):
        store.write_record(record)
    return store


def assert_resumes_after_a_kill(
    run: FinishedRun, job: ReconstructJob, folder: Path, *, files_are_written: bool
) -> None:
    """Kill a job in its second block, before or after its files are written, and run it again."""
    store = with_parent_only(run, job, folder)
    watch = {"stop_at": 1, "method": Shard.sweep_fit, "files_are_written": files_are_written}
    with pytest.raises(WorkerLostError):
        job.run(store, lambda: WatchedChain(chain_of(run.plan), **watch))
    assert store.read_record(*job.variant.identity.key) is None
    resumed = WatchedChain(chain_of(run.plan))
    with counting_parts(counter := PartCounter(job.step)):
        job.run(store, lambda: resumed)
    assert resumed.blocks_of(Shard.sweep_fit) == [1, 2]
    assert (parts := counter.parts) is not None
    assert (parts.kind, parts.n, parts.share, parts.found) == ("block", 3, 1, pytest.approx(1 / 3))
    assert_same_files(store, run.store)


def assert_equal_on_shards(
    run: FinishedRun, job: ReconstructJob, folder: Path, *, n_shards: int, n_threads: int
) -> None:
    """Run a job on shards, and compare all files. No states travel."""
    store = with_parent_only(run, job, folder)
    chain = TransportChain(chain_with_masks(Path(run.plan.model.path), n_shards=n_shards))
    with worker_threads(n_threads):
        job.run(store, lambda: chain)
    assert_same_files(store, run.store)
    assert set(chain.tensors) <= {"sweep_release"}


def assert_same_files(store: Store, undisturbed: Store) -> None:
    expected = contents(undisturbed)
    for path, data in contents(store).items():
        assert data == expected[path], path


def states_after(model: Any, block: int, ids: list[int]) -> Tensor:
    """The hidden states after a block."""
    found: list[Tensor] = []

    def keep(_module: Any, _args: Any, result: Any) -> None:
        found.append(result if isinstance(result, Tensor) else result[0])

    hook = model.model.layers[block].register_forward_hook(keep)
    with torch.no_grad():
        model(torch.tensor([ids]))
    hook.remove()
    return found[0].double()


def squares(dense: Tensor, fitted: Tensor) -> tuple[Tensor, Tensor]:
    """The squared difference, and the squared states of the dense model."""
    return (dense - fitted).square().sum(), dense.square().sum()
