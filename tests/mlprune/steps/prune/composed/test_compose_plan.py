"""Plans of trials: libraries, compositions, and orderings of the variants that cannot be composed."""

from pathlib import Path
from typing import Any

from mlprune.plan import Plan, build_plan
from mlprune.recipe import parse_recipe
from mlprune.steps.inputs import open_inputs
from mlprune.steps.job import Job
from mlprune.steps.prune.composed.compose import ComposeVariantJob
from mlprune.steps.prune.composed.compose_plan import composed_jobs, trial_jobs
from mlprune.steps.prune.composed.library import library_of
from mlprune.steps.prune.ordering import CollectVariantsJob, DenseVariantJob
from mlprune.steps.prune.sweep import SweepJob
from tests.composed_variants import LEVELS, WANDA
from tests.tiny_recipes import method_recipe

BLOCK = {**WANDA, "scope": {"blocks": [1]}}


def plan_of(folder: Path, *variants: dict[str, Any]) -> Plan:
    recipe = {**method_recipe(), "variants": list(variants), "evaluations": []}
    return build_plan(parse_recipe(recipe, folder=folder))


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
