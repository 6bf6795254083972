"""Level libraries: what they have in common with the variants that they compose, and what they cannot compose."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mlprune.capabilities.publishing.export import export_variant
from mlprune.errors import RecipeError, StoreError
from mlprune.models.masks import masking
from mlprune.numeric.masks import packed_masks
from mlprune.numeric.masks.packed_masks import write_masked
from mlprune.planning import Plan, build_plan, pending_jobs
from mlprune.pruning import mask_files
from mlprune.pruning.mask_files import read_packed_masks
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.evaluate.model_evaluation import apply_variant
from mlprune.steps.inputs import open_inputs
from mlprune.steps.job import Job
from mlprune.steps.prune.composed import (
    ComposeVariantJob,
    Library,
    composed_jobs,
    composed_levels,
    library_of,
    trial_jobs,
)
from mlprune.steps.prune.ordering import CollectVariantsJob, DenseVariantJob, OrderBlockJob
from mlprune.steps.prune.sweep import SweepJob
from mlprune.steps.rescore.verify import verify_variant
from mlprune.steps.variants.scored_variant import ScoredVariant
from mlprune.steps.variants.variant_rows import mask_artefacts, require_masks
from mlprune.store.garbage import find_garbage
from mlprune.store.merge import merge
from mlprune.store.records import Artefact, Record
from mlprune.store.repair import quarantine_on_damage, scrub
from mlprune.store.store import Store
from tests.composed_variants import BASES, LEVELS, PLACES, WANDA, Both
from tests.tiny_recipes import chain_of, contents, copy_of, method_recipe, results, run_jobs


def plan_of(folder: Path, *variants: dict[str, Any]) -> Plan:
    recipe = {**method_recipe(), "variants": list(variants), "evaluations": []}
    return build_plan(parse_recipe(recipe, folder=folder))


def library(plan: Plan, levels: tuple[float, ...] = LEVELS) -> Library:
    return library_of(plan.recipe, open_inputs(plan.recipe), list(plan.variants.values())[1], levels)


def scored(plan: Plan) -> ScoredVariant:
    """The first variant that is not dense."""
    spec = list(plan.variants.values())[1].spec
    assert isinstance(spec, ScoredVariant)
    return spec


@pytest.mark.parametrize("place", [{}, {"schedule": {"blocks": {1: 0.1}}}, {"scope": {"blocks": [1]}, "sparsity": 0.9}])
def test_the_library_of_any_trial_is_the_ordering_of_a_uniform_entry(tiny_inputs: Path, place: dict[str, Any]) -> None:
    by_hand = plan_of(tiny_inputs, {**WANDA, "sparsity": list(LEVELS)})
    made = library(plan_of(tiny_inputs, {**WANDA, **place}), (0.75, 0.25, 0.0, 0.5, 0.25))
    (collect,) = (job for job in by_hand.jobs if isinstance(job, CollectVariantsJob))
    assert made.ordering == collect.ordering
    assert made.sparsities == LEVELS
    assert list(made.variants) == [variant.id for variant in collect.variants]
    assert [type(job) for job in made.jobs] == [OrderBlockJob] * 3 + [CollectVariantsJob]
    assert [job.makes for job in made.jobs] == [
        job.makes for job in by_hand.jobs if isinstance(job, OrderBlockJob | CollectVariantsJob)
    ]


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"sparsity": 0.4, "scope": {"blocks": [1]}},
        {"schedule": {"layers": {"fc1": 0.1}}},
        {"schedule": "owl"},
        {"structure": "matrix", "scope": {"blocks": [1]}},
        {"samples": 2, "scope": {"blocks": [1]}},
        {"score": "ria", "scope": {"blocks": [1]}},
        {"propagation": "sequential", "scope": {"blocks": [1]}},
    ],
)
def test_other_sparsities_and_other_bases_are_not_composed(tiny_inputs: Path, other: dict[str, Any]) -> None:
    made = library(plan_of(tiny_inputs, WANDA))
    assert made.can_compose(scored(plan_of(tiny_inputs, {**WANDA, "scope": {"blocks": [1]}})))
    assert not made.can_compose(scored(plan_of(tiny_inputs, {**WANDA, **other})))


def test_only_pruned_layers_have_a_level(tiny_inputs: Path) -> None:
    schedule = {"block_layers": {"0.fc1": 0.75, "2.fc1": 0.0}, "layers": {"fc1": 0.25}}
    entry = {**WANDA, "schedule": schedule, "scope": {"layers": ["fc1", "fc2"]}}
    levels = composed_levels(scored(plan_of(tiny_inputs, entry)), LEVELS)
    assert levels == ({"fc1": 2, "fc2": 1}, {"fc1": 0, "fc2": 1}, {"fc2": 1})


def test_n_of_m_has_one_level(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, {**WANDA, "structure": "2:4", "scope": {"blocks": [1]}})
    made = library(plan)
    assert made.sparsities == (0.5,)
    assert made.can_compose(scored(plan))


def test_masks_that_cannot_be_composed_have_no_library(tiny_inputs: Path) -> None:
    sequential = {"propagation": "sequential"}
    for entry in ({"structure": "alpha"}, sequential, {"score": "sparsegpt", **sequential}):
        with pytest.raises(RecipeError):
            library(plan_of(tiny_inputs, {**WANDA, **entry}))
    with pytest.raises(RecipeError):
        library(plan_of(tiny_inputs, WANDA), (0.0,))


OF_MASKS = ("masks/", "records/masks/", "records/mask_blocks/", "records/mask_compositions/")


class KilledError(Exception):
    """Stands for the end of the process."""


class KilledStore(Store):
    """A store whose process ends before a certain record is written."""

    n_writes_left = 0

    def write_record(self, record: Record) -> None:
        if self.n_writes_left == 0:
            raise KilledError
        self.n_writes_left -= 1
        super().write_record(record)


def copied(both: Both, tmp_path: Path) -> Store:
    copy_of(both.composed, tmp_path / "store")
    return Store(tmp_path / "store", quarantine=True)


def library_file(store: Store, variant_id: str) -> Path:
    """A mask file that a composed variant reads."""
    assert store.local_root is not None
    return store.local_root / require_masks(store, variant_id).masks[1].path


def test_every_place_is_composed_without_mask_files_of_its_own(both_runs: Both) -> None:
    composed = {job.variant.id for job in both_runs.compositions}
    assert composed == {both_runs.named(f"{base} {place}") for base in BASES for place in PLACES}
    records = [both_runs.composed.require(*job.composition.key) for job in both_runs.compositions]
    assert all(record.artefacts == () for record in records)
    orderings = {require_masks(both_runs.composed, variant_id).record.id for variant_id in composed}
    assert len(orderings) == len(BASES)


def test_records_of_variants_and_all_results_computed_from_them_are_those_of_orderings(both_runs: Both) -> None:
    ordered, composed = (contents(store) for store in (both_runs.ordered, both_runs.composed))
    expected = {path: data for path, data in ordered.items() if not path.startswith(OF_MASKS)}
    assert {path: composed.get(path) for path in expected} == expected
    kinds = {path.split("/")[1] for path in expected if path.startswith("records/")}
    assert {"variants", "evaluations", "comparisons", "mask_overlaps", "neuron_removals"} <= kinds


@pytest.mark.thorough("runs a model for every case")
def test_masks_are_those_of_orderings(both_runs: Both) -> None:
    for variant_id in [job.variant.id for job in both_runs.compositions]:
        first, second = (
            both_runs.run(store).keep_masks(variant_id) for store in (both_runs.ordered, both_runs.composed)
        )
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ["contrast by-both", "magnitude nothing", "union"])
def test_a_composed_variant_is_exported_and_verified_like_an_ordered_one(
    both_runs: Both, tmp_path: Path, name: str
) -> None:
    variant_id, model = both_runs.named(name), Path(both_runs.plan.model.path)
    for folder, store in (("ordered", both_runs.ordered), ("composed", both_runs.composed)):
        export_variant(store, variant_id, model, tmp_path / folder)
        assert verify_variant(store, store.require("variants", variant_id), model).is_equal
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()} for folder in ("ordered", "composed")
    )
    cards = first.pop("README.md").decode(), second.pop("README.md").decode()
    assert first == second
    assert ["mask_compositions" in card for card in cards] == [False, True]


def test_a_kill_before_any_record_changes_nothing_in_the_end(both_runs: Both, tmp_path: Path) -> None:
    job = both_runs.compositions[4]
    library = next(one for one in both_runs.jobs if job.needs[0] in one.makes)
    store = copied(both_runs, tmp_path)
    expected = results(store)
    for n_writes in range(len(job.makes)):
        for key in job.makes:
            store.delete(store.require(*key).path)
        killed = KilledStore(store.uri)
        killed.n_writes_left = n_writes
        with pytest.raises(KilledError):
            job.run(killed, lambda: chain_of(both_runs.plan))
        assert [store.has_record(*key) for key in job.makes] == [n_writes > 0, False]
        assert pending_jobs([library, job], store) == [job]
        run_jobs([library, job], store, model=both_runs.plan.model)
        assert results(store) == expected


def test_a_library_file_of_another_size_is_made_again_and_its_compositions_wait_for_it(
    both_runs: Both, tmp_path: Path
) -> None:
    store = copied(both_runs, tmp_path)
    expected = results(store)
    variant_id = both_runs.named("contrast by-both")
    library_file(store, variant_id).write_bytes(b"short")
    pending = pending_jobs(both_runs.jobs, store)
    composed = {job.variant.id for job in both_runs.compositions if job in pending}
    assert composed == {both_runs.named(f"contrast {place}") for place in PLACES}
    assert [job.step for job in pending] == ["prune"] * (2 + len(PLACES))
    run_jobs(both_runs.jobs, store, model=both_runs.plan.model)
    assert results(store) == expected


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("is_met_by_export", [True, False])
def test_a_library_file_of_other_bytes_is_set_aside_and_the_compositions_survive(
    both_runs: Both, tmp_path: Path, *, is_met_by_export: bool
) -> None:
    store = copied(both_runs, tmp_path)
    expected = results(store)
    variant_id = both_runs.named("row by-both")
    path = library_file(store, variant_id)
    path.write_bytes(path.read_bytes()[::-1])
    if is_met_by_export:
        with pytest.raises(StoreError), quarantine_on_damage(store):
            export_variant(store, variant_id, Path(both_runs.plan.model.path), tmp_path / "out")
    else:
        assert scrub(store, [key for job in both_runs.jobs for key in job.makes]) == 2
    assert sorted({Path(path).name.split("-")[1] for path in store.list("quarantine")}) == ["mask_blocks", "masks"]
    steps = run_jobs(both_runs.jobs, store, model=both_runs.plan.model)
    assert steps == ["prune"] * 2
    assert results(store) == expected


def test_another_library_replaces_the_compositions_and_what_was_computed_from_them(
    both_runs: Both, tmp_path: Path
) -> None:
    store = copied(both_runs, tmp_path)
    library = require_masks(store, both_runs.named("row by-both")).record
    store.quarantine(library)
    ordering = dict(library.rows["orderings"][0])
    store.write_record(replace(library, rows={**library.rows, "orderings": [{**ordering, "n_bytes": 1}]}))
    names = set(store.record_names())
    gone = [job for job in both_runs.compositions if not names & set(job.makes)]
    assert {job.variant.id for job in gone} == {both_runs.named(f"row {place}") for place in PLACES}
    assert ("variants", both_runs.named("union")) not in names
    assert ("variants", both_runs.named("matrix block")) in names


@pytest.mark.thorough("runs a model for every case")
def test_compositions_are_merged_with_their_library_and_keep_its_files(both_runs: Both, tmp_path: Path) -> None:
    target = Store(tmp_path / "store")
    assert merge(both_runs.composed, target).refused == ()
    assert results(target) == results(both_runs.composed)
    assert find_garbage(target, min_age_s=0).files == ()


@pytest.mark.thorough("runs a model for every case")
def test_a_merge_refuses_compositions_of_a_damaged_library(both_runs: Both, tmp_path: Path) -> None:
    source = copied(both_runs, tmp_path)
    library_file(source, both_runs.named("row by-both")).write_bytes(b"short")
    merged = merge(source, Store(tmp_path / "target"))
    refused = {path for path in merged.refused if "mask_compositions" in path}
    expected = [job.composition.id for job in both_runs.compositions if job.variant.id == both_runs.named("row block")]
    assert len(refused) == len(PLACES)
    assert all(f"records/mask_compositions/{one}.json" in refused for one in expected)


def test_a_library_without_a_sparsity_of_the_variant_is_refused(both_runs: Both, tmp_path: Path) -> None:
    job = replace(both_runs.compositions[0], sparsities=(0.1,))
    with pytest.raises(StoreError):
        job.run(both_runs.composed, lambda: chain_of(both_runs.plan))


def test_levels_of_a_composition_are_those_of_its_rows(both_runs: Both) -> None:
    stored = require_masks(both_runs.composed, both_runs.named("row by-both"))
    layers = dict.fromkeys(both_runs.run(both_runs.composed).keep_masks(both_runs.named("row by-both")))
    named: list[dict[str, Any]] = [{layer: 1 for block, layer in layers if block == n} for n in range(3)]
    named[1] = {**dict.fromkeys(named[1], 0), "fc1": 2}
    del named[2]["self_attn.q_proj"]
    assert list(stored.levels) == named
    assert stored.masks == mask_artefacts(stored.record)


def test_a_swap_to_a_trial_that_differs_in_one_block_touches_the_layers_of_this_block_only(
    both_runs: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, chain = both_runs.composed, chain_of(both_runs.plan)
    in_one_block, in_two = (both_runs.named(name) for name in ("row block", "row by-block"))
    read: list[str] = []
    written: list[tuple[int, ...]] = []

    def reading(uri: str, artefact: Artefact, *given: Any, **more: Any) -> Any:
        read.append(artefact.path)
        return read_packed_masks(uri, artefact, *given, **more)

    def writing(target: Tensor, *given: Any, **more: Any) -> None:
        written.append(tuple(target.shape))
        write_masked(target, *given, **more)

    monkeypatch.setattr(mask_files, "read_packed_masks", reading)
    monkeypatch.setattr(masking, "write_masked", writing)
    monkeypatch.setattr(packed_masks, "write_masked", writing)
    masks = require_masks(store, in_two).masks
    for variant_id, blocks, n_layers in ((in_one_block, [1], 6), (in_two, [0], 6), (in_one_block, [], 6)):
        apply_variant(chain, store, variant_id)
        assert read == [masks[block].path for block in blocks]
        assert len(written) == n_layers
        read.clear()
        written.clear()


BLOCK = {**WANDA, "scope": {"blocks": [1]}}


def jobs_of(plan: Plan, levels: tuple[float, ...] = LEVELS) -> list[Job]:
    return trial_jobs(plan.recipe, open_inputs(plan.recipe), plan.variants, levels=levels)


def kinds(jobs: list[Job]) -> list[str]:
    return [type(job).__name__ for job in jobs if not type(job).__name__.startswith("OrderBlock")]


def test_every_variant_is_made_once_and_after_what_it_needs(tiny_inputs: Path) -> None:
    entries = [BLOCK, {**WANDA, "sparsity": [0.25, 0.4]}, {**BLOCK, "structure": "alpha"}]
    entries += [{**WANDA, "propagation": "sequential"}, {**BLOCK, "schedule": "owl"}, {**BLOCK, "samples": 2}]
    named = [{**entry, "name": f"v{number}"} for number, entry in enumerate(entries)]
    plan = plan_of(tiny_inputs, *named, {"name": "both", "combine": "union", "of": ["v0", "v5"]})
    jobs = jobs_of(plan)
    made: set[tuple[str, str]] = set()
    elsewhere = ("statistics", "demonstration_sets")
    for job in jobs:
        assert {key for key in job.needs if key[0] not in elsewhere} <= made
        assert not made & set(job.makes)
        made |= set(job.makes)
    assert {("variants", variant_id) for variant_id in plan.variants} <= made
    assert kinds(jobs).count("ComposeVariantJob") == 2
    assert [type(job) for job in jobs if isinstance(job, SweepJob | DenseVariantJob)] == [DenseVariantJob, SweepJob]


def test_trials_that_differ_in_place_only_share_a_library_whatever_the_batch(tiny_inputs: Path) -> None:
    given = {**WANDA, "schedule": {"blocks": {0: 0.75}}}
    batches = [plan_of(tiny_inputs, entry) for entry in (BLOCK, given)]
    orderings = [{job.ordering_id for job in jobs_of(batch) if isinstance(job, ComposeVariantJob)} for batch in batches]
    assert orderings[0] == orderings[1]
    assert len(orderings[0]) == 1


def test_a_library_is_made_only_if_a_variant_needs_it(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, {**WANDA, "sparsity": 0.4}, {**WANDA, "sparsity": 0.5})
    inputs = open_inputs(plan.recipe)
    other, uniform = list(plan.variants.values())[1:]
    library = library_of(plan.recipe, inputs, other, LEVELS)
    for variant, n_orderings in ((other, 0), (uniform, 1)):
        jobs = composed_jobs(plan.recipe, inputs, {variant.id: variant}, library)
        collected = [job.ordering for job in jobs if isinstance(job, CollectVariantsJob)]
        assert collected.count(library.ordering) == n_orderings
        assert len(collected) == 1
