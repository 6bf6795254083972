"""Jobs of all sensitivity analyses of a recipe, in the order in which they can run."""

from collections.abc import Mapping

from mlprune.recipe import Recipe
from mlprune.steps.evaluate.plan import evaluation_jobs
from mlprune.steps.inputs import Inputs
from mlprune.steps.items.jobs import item_jobs
from mlprune.steps.job import Job
from mlprune.steps.prune.plan import PlannedVariant
from mlprune.steps.prune.plan_jobs import variant_jobs
from mlprune.steps.sensitivity.plan import Evaluations, PlannedSensitivity


def with_probes(evaluations: Evaluations, planned: PlannedSensitivity) -> Evaluations:
    """Return the evaluations of a recipe together with those of its probes, each once."""
    merged = {
        variant: {spec.identity.id: spec for spec in (*evaluations.get(variant, ()), *specs)}
        for variant, specs in planned.evaluations.items()
    }
    return {**evaluations, **{variant: tuple(specs.values()) for variant, specs in merged.items()}}


def sensitivity_jobs(
    recipe: Recipe,
    inputs: Inputs,
    planned: PlannedSensitivity,
    *,
    variants: Mapping[str, PlannedVariant],
    evaluations: Evaluations,
) -> list[Job]:
    """Return the jobs that measure losses: before those of the variants, whose schedules may read them.

    Args:
        variants: of the recipe.
        evaluations: of `with_probes`.
    """
    if not planned.jobs:
        return list(planned.influence_jobs)
    dense = {key: variant for key, variant in variants.items() if variant.is_dense}
    of_probes = {variant: evaluations[variant] for variant in planned.evaluations}
    return [
        *planned.influence_jobs,
        *variant_jobs(recipe, inputs, dense),
        *planned.variant_jobs,
        *item_jobs(spec for specs in of_probes.values() for spec in specs),
        *evaluation_jobs(recipe, {**planned.variants, **dense}, of_probes),
        *planned.jobs,
    ]
