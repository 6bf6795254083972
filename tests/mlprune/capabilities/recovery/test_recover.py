"""Recovered variants of a tiny recipe: weights, rows, exports; killed and resumed; refused in one line."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mlprune.capabilities.capability import all_capabilities
from mlprune.capabilities.publishing.export import export_variant
from mlprune.capabilities.recovery import fit
from mlprune.capabilities.recovery.passes import Passes
from mlprune.capabilities.recovery.recover import RecoverJob
from mlprune.capabilities.recovery.recovery_run import RecoveryRun
from mlprune.corpus.calibration import SCHEMA
from mlprune.errors import BadInputError, CorpusError, ModelError, RecipeError, StatisticsError
from mlprune.models.local_chain import local_chain
from mlprune.models.shard import Shard
from mlprune.planning import build_plan
from mlprune.planning.resources.node_capacity import Node
from mlprune.planning.resources.worker_pool import plan_pool
from mlprune.pruning.mask_files import read_block_weights
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.compare.differences import CompareJob
from mlprune.steps.plan_lines import PlannedJobs
from mlprune.steps.rescore.verify import Recheck, has_masks_to_rebuild
from mlprune.steps.variants.variant_rows import require_masks, stored_changes
from mlprune.store.retention import mask_files
from mlprune.store.store import Store
from tests.chains import budget_for, chain_with_masks, worker_threads
from tests.derived_recipe import recovered_recipe
from tests.mlprune.capabilities.publishing.publications import require_equal_models
from tests.mlprune.steps.job_costs import N_WEIGHTS, SET_TOKENS, costs_by_class, sizes_of
from tests.refusals import refused
from tests.search_recipes import search_recipe
from tests.tiny_recipes import FinishedRun, chain_of, contents, store_with_sets

GIB = 2**30


@pytest.fixture(name="run")
def _run(recovered_run: FinishedRun) -> FinishedRun:
    return recovered_run


def job_of(run: FinishedRun, name: str) -> RecoverJob:
    ids = {one.id for variant in run.named(name) for one in (variant, *variant.parents)}
    return next(job for job in run.plan.jobs if isinstance(job, RecoverJob) and job.variant.id in ids)


def weights_of(store: Store, variant_id: str) -> dict[tuple[int, str], Tensor]:
    files = [read_block_weights(store, file) for file in require_masks(store, variant_id).weights]
    return {(block, layer): weight for block, of_block in enumerate(files) for layer, weight in of_block.items()}


def rows_of(run: FinishedRun, name: str, *, held_out: bool = True) -> list[dict[str, Any]]:
    rows = [row for row in run.rows("recovery_losses") if row["variant_id"] == job_of(run, name).variant.id]
    return [row for row in rows if row["is_held_out"] == held_out]


def with_parent_only(run: FinishedRun, job: RecoverJob, folder: Path) -> Store:
    store = store_with_sets(run, *(key for _, key in run.store.record_names("demonstration_sets")), folder=folder)
    masks = require_masks(run.store, job.variant.parent.id).record
    for artefact in masks.artefacts:
        store.write_bytes(artefact.path, run.store.read_bytes(artefact))
    for record in (masks, run.store.require(*job.variant.parent.identity.key)):
        store.write_record(record)
    return store


def assert_same_files(store: Store, undisturbed: Store) -> None:
    expected = contents(undisturbed)
    for path, data in contents(store).items():
        assert data == expected[path], path


@pytest.mark.parametrize("name", ["own", "two", "low-rank", "fitted"])
def test_the_held_out_divergence_falls_and_the_mask_stays(run: FinishedRun, name: str) -> None:
    job = job_of(run, name)
    masks, parents = run.keep_masks(job.variant.id), run.keep_masks(job.variant.parent.id)
    weights = weights_of(run.store, job.variant.id)
    assert set(masks) == set(parents) == set(weights)
    for key, keep in masks.items():
        assert torch.equal(keep, parents[key])
        assert not weights[key][~keep].any()
    rows, shares = rows_of(run, name), dict(zip(job.variant.set_ids, job.variant.shares, strict=True))
    share = job.variant.settings.text_share
    losses = {
        step: sum(
            shares[row["demonstration_set_id"]] * (row["divergence"] + share * row["cross_entropy"])
            for row in rows
            if row["step"] == step
        )
        for step in (0, 2, 4, 6)
    }
    assert len(rows) == 4 * len(shares)
    best = min(losses, key=lambda step: losses[step])
    assert best > 0
    assert {row["step"] for row in rows if row["is_stored"]} == {best}
    assert {row["step"] for row in rows_of(run, name, held_out=False)} == set(range(1, 7))
    if share == 0:
        assert losses[best] < losses[0]


def test_without_a_better_state_the_weights_are_those_of_the_parent(run: FinishedRun, tmp_path: Path) -> None:
    for name in ("no-steps", "too-fast"):
        (variant,) = run.named(name)
        assert {row["step"] for row in rows_of(run, name) if row["is_stored"]} == {0}
        folders = [tmp_path / f"{name}-{part}" for part in ("own", "parent")]
        for one, folder in zip((variant.id, variant.parents[0].id), folders, strict=True):
            export_variant(run.store, one, run.folder / "model", folder)
        own, parent = (load_file(folder / "model.safetensors") for folder in folders)
        assert all(torch.equal(tensor, parent[key]) for key, tensor in own.items())


def test_sparsity_0_stays_the_dense_model(run: FinishedRun) -> None:
    dense, _ = run.named("own")
    assert dense.is_dense
    assert "own" in {entry.name for entry in dense.entries}


def test_a_dense_model_without_steps_stays_dense_bit_by_bit(run: FinishedRun, tmp_path: Path) -> None:
    """As a function of a shard: recipes leave the dense model out."""
    job = job_of(run, "own")
    settings = replace(job.variant.settings, steps=2)
    store = with_parent_only(run, job, tmp_path / "store")
    for one in (settings, replace(settings, steps=0)):
        recovery = RecoveryRun(store.uri, replace(job.variant, settings=one), "ordering", None, 1)
        chain = chain_of(run.plan)
        written = chain.on_block(0, Shard.with_whole, recovery)
        assert {row["divergence"] for row in written.rows} == {0}
        assert [read_block_weights(store, files[1]) for files in written.files] == [{}] * chain.n_blocks


def test_exports_load_and_have_the_new_weights(run: FinishedRun, tmp_path: Path) -> None:
    (variant,) = run.named("own", "dense")[-1:]
    require_equal_models(run.store, variant.id, run.folder / "model", tmp_path)
    exported = load_file(tmp_path / "exported" / "model.safetensors")
    for (block, layer), weight in weights_of(run.store, variant.id).items():
        assert torch.equal(exported[f"model.layers.{block}.{layer}.weight"], weight)
    card = (tmp_path / "exported" / "README.md").read_text("utf-8")
    assert "| recovery |" in card
    record = run.store.require("variants", variant.id)
    assert not has_masks_to_rebuild(record)
    assert Recheck(run.store, lambda _: run.folder / "model").contradictions(record) == []


def test_the_measured_loss_is_that_of_the_stored_weights_in_place(run: FinishedRun) -> None:
    """On shards, as evaluations apply them."""
    job = job_of(run, "own")
    store = Store(run.store.uri)
    chain = chain_of(run.plan)
    recovery = RecoveryRun(store.uri, job.variant, job.ordering.id, stored_changes(store, job.variant.parent.id), 9)
    shard = chain.shards[0]  # type: ignore[attr-defined]
    texts, _, held_out = recovery._texts(store)
    passes = Passes(shard.runner, texts, settings=job.variant.settings)
    passes.keep_dense_states()
    shard.exchange_changes(stored_changes(store, job.variant.id))
    found = passes.losses(held_out[0].numbers)
    (stored,) = (row for row in rows_of(run, "own") if row["is_stored"])
    assert sum(losses.divergence for losses in found) / held_out[0].n_positions == stored["divergence"]


def test_the_catalog_knows_the_parent_the_sets_and_the_settings(run: FinishedRun) -> None:
    job = job_of(run, "two")
    record, parent = run.store.require(*job.variant.identity.key), job.variant.parent
    (row,), (of_parent,) = record.rows["variants"], run.store.require(*parent.identity.key).rows["variants"]
    assert row["mask_sha256"] == of_parent["mask_sha256"]
    given = {"steps": 6, "learning_rate": 0.02, "batch": 2, "every": 2, "text_share": 0.5, "divergence": "reverse"}
    assert row["recovery"] == given
    assert row["weights_changed"]
    links = [(link["role"], link["weight"]) for link in record.rows["variant_demonstrations"]]
    assert links == [("demonstrations", 1.0), ("recovery", 0.25), ("recovery", 0.75)]
    (link,) = record.rows["variant_parents"]
    assert (link["parent_variant_id"], link["role"]) == (parent.id, "unrecovered")
    (rounded,) = run.named("rounded")
    assert rounded.spec.unquantised.id == job_of(run, "own").variant.id


def test_a_recovered_variant_is_compared_with_its_parent(run: FinishedRun) -> None:
    job = job_of(run, "own")
    pairs = {(one.variant_id, one.baseline_id) for one in run.plan.jobs if isinstance(one, CompareJob)}
    assert (job.variant.id, job.variant.parent.id) in pairs


def test_a_finished_run_leaves_no_checkpoint_and_its_files_can_be_made_again(run: FinishedRun) -> None:
    assert not any(path.startswith("checkpoints/") for path in run.store.list(""))
    ordering = job_of(run, "own").ordering.id
    (found,) = (one for one in mask_files(run.store) if one.ordering_id == ordering)
    assert found.remaking.name == "WITH_THE_MODEL"


@pytest.mark.parametrize("name", ["own", "low-rank"])
def test_a_killed_job_resumes_at_its_checkpoint(
    run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    job = job_of(run, name)
    store = with_parent_only(run, job, tmp_path / "store")
    step, taken = fit.Recoverer._step, list[int]()

    def killed(self: fit.Recoverer, number: int, numbers: list[int]) -> None:
        taken.append(number)
        if number == 4 and len(taken) == 4:
            raise KeyboardInterrupt
        step(self, number, numbers)

    monkeypatch.setattr(fit.Recoverer, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        job.run(store, lambda: chain_of(run.plan))
    assert store.read_record(*job.variant.identity.key) is None
    job.run(store, lambda: chain_of(run.plan))
    assert taken == [1, 2, 3, 4, 3, 4, 5, 6]
    assert_same_files(store, run.store)


def test_threads_and_checkpoints_change_no_byte(run: FinishedRun, tmp_path: Path) -> None:
    job = job_of(run, "two")
    store = with_parent_only(run, job, tmp_path / "store")
    with worker_threads(2):
        replace(job, checkpoint=1).run(store, lambda: chain_of(run.plan))
    assert_same_files(store, run.store)


def test_a_job_leaves_the_model_dense(run: FinishedRun, tmp_path: Path) -> None:
    job, chain = job_of(run, "own"), local_chain(run.folder / "model")
    runner = chain.shards[0].runner
    before = {name: value.clone() for name, value in runner.modules[1].named_parameters()}
    job.run(with_parent_only(run, job, tmp_path / "store"), lambda: chain)
    assert all(torch.equal(value, before[name]) for name, value in runner.modules[1].named_parameters())


def test_a_loss_that_is_not_finite_leaves_nothing(run: FinishedRun, tmp_path: Path) -> None:
    job = job_of(run, "own")
    store = with_parent_only(run, job, tmp_path / "store")
    before = contents(store)
    settings = replace(job.variant.settings, learning_rate=1e38)
    bad = replace(job, variant=replace(job.variant, settings=settings), checkpoint=1)
    with pytest.raises(StatisticsError) as caught:
        bad.run(store, lambda: chain_of(run.plan))
    assert "\n" not in str(caught.value)
    assert contents(store) == before


@pytest.mark.parametrize("where", ["shards", "disk"])
def test_a_model_that_is_not_whole_in_one_shard_is_refused(run: FinishedRun, tmp_path: Path, where: str) -> None:
    job, path = job_of(run, "own"), run.folder / "model"
    store = with_parent_only(run, job, tmp_path / "store")
    parts = chain_with_masks(path, n_shards=2) if where == "shards" else local_chain(path, budget=budget_for(path, 1))
    with refused(ModelError, expected=3):
        job.run(store, lambda: parts)


def test_a_model_that_does_not_fit_is_refused_when_it_is_planned_with_the_number(run: FinishedRun) -> None:
    sizes, compute = sizes_of(run.plan), run.plan.recipe.compute
    (_, cost), *_ = costs_by_class(run.plan, RecoverJob)
    large = replace(cost, fixed_bytes=6 * GIB)
    node = Node(2, 5 * GIB)
    with pytest.raises(BadInputError) as caught:
        plan_pool(compute, sizes, [node], costs=[large])
    assert "6.7 GiB" in str(caught.value)
    shards = compute.model_copy(update={"shards": 2})
    with pytest.raises(BadInputError):
        plan_pool(shards, sizes, [Node(2, 20 * GIB)], costs=[large])
    assert plan_pool(compute, sizes, [Node(2, 20 * GIB)], costs=[large]).n_shards == 1
    assert plan_pool(shards, sizes, [Node(2, 20 * GIB)], costs=[replace(large, is_whole=False)]).n_shards == 2


def test_the_plan_counts_steps_measurements_and_three_copies_of_all_weights(run: FinishedRun) -> None:
    costs = {job.variant.id: (job, cost) for job, cost in costs_by_class(run.plan, RecoverJob)}
    job, cost = costs[job_of(run, "own").variant.id]
    sizes = sizes_of(run.plan)
    tokens = SET_TOKENS * (1 + 4 / 10) + 4 * 6 * 2 * 48
    of_head = 2.0 * sizes.hidden * sizes.vocabulary
    assert cost.flops == pytest.approx(1.35 * tokens * (2.0 * N_WEIGHTS + of_head))
    states = 4 * sizes.hidden * (SET_TOKENS + 5 * 2 * 48)
    assert cost.device_fixed_bytes == 13 * N_WEIGHTS + 4 * N_WEIGHTS + states + 8 * N_WEIGHTS // 3
    assert cost.is_whole
    of_low_rank = costs[job_of(run, "low-rank").variant.id][1]
    assert of_low_rank.fixed_bytes < cost.fixed_bytes
    assert job.intermediates == ()


def test_the_plan_says_once_what_several_recoveries_need(run: FinishedRun) -> None:
    pending = costs_by_class(run.plan, RecoverJob)
    sizes = sizes_of(run.plan)
    jobs = [job for job, _ in pending]
    planned = PlannedJobs(jobs, [*pending, *pending], run.plan.model.base_model_id, sizes, run.store)
    lines = [text for _, text in RecoverJob.plan_lines(planned)]
    assert len(set(lines)) == len(lines) < 2 * len(pending)


FIT = {"demonstrations": "mt"}
RANDOM = {"score": "random", "sparsity": 0.5}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"score": "magnitude", "sparsity": 0.5, "recover": {}}, "demonstrations"),
    ({**RANDOM, "recover": {"demonstrations": "nothing"}}, "unknown"),
    ({**RANDOM, "recover": {"over": ["mt", "mono"], "shares": [1]}}, "shares"),
    ({**RANDOM, "recover": {"demonstrations": "mt", "shares": [1]}}, "shares"),
    ({**RANDOM, "recover": {**FIT, "rank": 17}}, "at most 16"),
    ({**RANDOM, "recover": {**FIT, "learning_rate": 0}}, "learning_rate"),
    ({**RANDOM, "recover": {**FIT, "learning_rate": float("inf")}}, "learning_rate"),
    ({**RANDOM, "recover": {**FIT, "learning_rate": float("nan")}}, "learning_rate"),
    ({**RANDOM, "recover": {**FIT, "text_share": -1}}, "text_share"),
    ({**RANDOM, "recover": {"demonstrations": "mono", "tokens": "target"}}, "target"),
    ({**RANDOM, "recover": {**FIT, "demonstrations": "one"}}, "two or more"),
    ({"structure": "vocabulary", "keep": {"languages": ["fr"]}, "recover": FIT}, "recover"),
]


@pytest.mark.parametrize(("entry", "words"), BAD, ids=[f"{number} {words}" for number, (_, words) in enumerate(BAD)])
def test_what_cannot_be_recovered_is_refused_in_one_line(tiny_inputs: Path, entry: dict[str, Any], words: str) -> None:
    recipe = {**recovered_recipe(), "variants": [entry]}
    first = recipe["demonstrations"][0]
    recipe["demonstrations"] = [*recipe["demonstrations"], {**first, "name": "one", "samples": 1}]
    with pytest.raises(RecipeError) as caught:
        build_plan(parse_recipe(recipe, folder=tiny_inputs))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_winner_of_a_search_is_refused(tiny_inputs: Path) -> None:
    recipe = search_recipe()
    schedule = {"kind": "search", "from": recipe["searches"][0]["name"]}
    recipe["variants"] = [{"name": "winner", "score": "magnitude", "schedule": schedule, "recover": FIT}]
    with refused(RecipeError, variant="winner", got="search"):
        build_plan(parse_recipe(recipe, folder=tiny_inputs))


def test_a_quantised_parent_is_refused(run: FinishedRun) -> None:
    (rounded,) = run.named("rounded")
    (entry,) = (one for one in run.plan.recipe.variants if one.name == "own" and one.sparsity)
    variants = {rounded.id: replace(rounded, entries=(entry,))}
    recovery = next(one for one in all_capabilities() if one.name == "recovery")
    with refused(RecipeError, got=4):
        recovery.derived(SimpleNamespace(given=run.plan.recipe), variants)  # type: ignore[arg-type]


def test_a_set_without_predictions_is_refused(run: FinishedRun, tmp_path: Path) -> None:
    job = job_of(run, "own")
    store = with_parent_only(run, job, tmp_path / "store")
    record = store.require("demonstration_sets", job.variant.set_ids[0])
    table = store.read_table(record.artefacts[0])
    per_token = ("token_ids", "sides", "shots")
    cut = {name: [one[:1] if name in per_token else one for one in values] for name, values in table.items()}
    artefact = store.write_table(record.artefacts[0].path, cut, SCHEMA)
    store.write_record(replace(record, artefacts=(artefact,)))
    with refused(CorpusError, demonstration_set_id=record.id):
        job.run(store, lambda: chain_of(run.plan))
