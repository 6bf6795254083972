"""Variants composed from a level library: equal to the same variants in orderings of their own."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from mlprune.plan import Plan, build_plan
from mlprune.recipe import parse_recipe
from mlprune.steps.inputs import open_inputs
from mlprune.steps.job import Job
from mlprune.steps.prune.composed.compose import ComposeVariantJob
from mlprune.steps.prune.composed.compose_plan import trial_jobs
from mlprune.steps.prune.stored_masks import require_masks
from mlprune.store.store import Store
from tests.tiny_recipes import FinishedRun, copy_of, method_recipe, run_jobs

LEVELS = (0.25, 0.5, 0.75)
WANDA = {"score": "wanda", "demonstrations": "fr-en", "sparsity": 0.5, "propagation": "dense"}
BASES: list[dict[str, Any]] = [
    WANDA,
    {**WANDA, "structure": "matrix"},
    {**WANDA, "score": "contrast", "contrast": "code"},
    {"score": "magnitude", "sparsity": 0.5},
]
PLACES: list[dict[str, Any]] = [
    {"scope": {"blocks": [1]}},
    {"scope": {"layers": ["fc1", "self_attn.q_proj"], "without_blocks": [0]}, "sparsity": 0.75},
    {"schedule": {"blocks": {0: 0.25, 2: 0.0}}},
    {"schedule": {"layers": {"fc2": 0.75, "fc1": 0}}},
    {"schedule": {"block_layers": {"1.fc1": 0.75, "2.self_attn.q_proj": 0.0}, "blocks": {1: 0.25}}},
    {"schedule": {"blocks": {0: 0.0, 1: 0.0, 2: 0.0}}},
]


class Both(NamedTuple):
    """A plan, its jobs with compositions, and a store of each."""

    plan: Plan
    jobs: list[Job]
    ordered: Store
    composed: Store


def plan_of(folder: Path, variants: list[dict[str, Any]]) -> Plan:
    recipe = {**method_recipe(), "variants": variants, "evaluations": []}
    return build_plan(parse_recipe(recipe, folder=folder))


def with_compositions(plan: Plan) -> list[Job]:
    """The jobs of a plan with compositions in place of the orderings of its variants."""
    others = [job for job in plan.jobs if job.step not in ("prune", "compare")]
    return [*others, *trial_jobs(plan.recipe, open_inputs(plan.recipe), plan.variants, levels=LEVELS)]


@pytest.fixture(scope="module")
def both(method_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """The same variants, ordered and composed, in two stores that have their statistics."""
    plan = plan_of(method_run.folder, [{**base, **place} for base in BASES for place in PLACES])
    jobs = with_compositions(plan)
    folder = tmp_path_factory.mktemp("composed")
    ordered, composed = (copy_of(method_run.store, folder / name) for name in ("ordered", "composed"))
    run_jobs(plan.jobs, ordered, model=plan.model)
    run_jobs(jobs, composed, model=plan.model)
    return Both(plan, jobs, ordered, composed)


def test_every_variant_is_composed_and_adds_no_mask_file(both: Both) -> None:
    compositions = [job for job in both.jobs if isinstance(job, ComposeVariantJob)]
    assert {job.variant.id for job in compositions} == set(list(both.plan.variants)[1:])
    assert len(compositions) == len(BASES) * len(PLACES)
    assert all(both.composed.require(*job.composition.key).artefacts == () for job in compositions)
    orderings = {require_masks(both.composed, job.variant.id).record.id for job in compositions}
    assert len(orderings) == len(BASES)


def test_records_and_masks_are_those_of_orderings(both: Both) -> None:
    for variant_id in list(both.plan.variants)[1:]:
        ordered, composed = (store.require("variants", variant_id) for store in (both.ordered, both.composed))
        assert composed.to_json() == ordered.to_json()
        runs = [FinishedRun(Path(), both.plan, store) for store in (both.ordered, both.composed)]
        first, second = (run.keep_masks(variant_id) for run in runs)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
