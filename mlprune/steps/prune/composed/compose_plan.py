"""Plan the masks of trials: compose what a level library contains, and order the other variants as usual."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from mlprune.recipe import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Job
from mlprune.steps.prune.composed.compose import ComposeVariantJob
from mlprune.steps.prune.composed.library import Library, base_key, is_composable, library_of
from mlprune.steps.prune.plan import PlannedVariant
from mlprune.steps.prune.plan_jobs import variant_jobs
from mlprune.steps.prune.stored_masks import composition_identity
from mlprune.steps.prune.variant import ScoredVariant, VariantSpec


def trial_jobs(
    recipe: Recipe, inputs: Inputs, variants: Mapping[str, PlannedVariant], *, levels: Iterable[float]
) -> list[Job]:
    """Return the jobs that make the variants of trials, each once, in the order in which they can run.

    Variants that differ in nothing but sparsity, schedule and scope share one library.

    Args:
        variants: of any kind; the dense one among them gets its job, too.
        levels: all sparsities above 0 that a layer of any trial can have, whatever the variants are. They determine
            the libraries, so they must not depend on the batch of trials.
    Raises:
        RecipeError: there are too many levels.
    """
    sparsities = tuple(levels)
    by_base: dict[str, dict[str, PlannedVariant]] = defaultdict(dict)
    for variant in variants.values():
        by_base[_base_of(variant.spec)][variant.id] = variant
    others = by_base.pop("", {})
    jobs: list[Job] = []
    for group in by_base.values():
        library = library_of(recipe, inputs, next(iter(group.values())), sparsities)
        jobs += composed_jobs(recipe, inputs, group, library)
    return distinct_jobs([*jobs, *variant_jobs(recipe, inputs, others)])


def composed_jobs(
    recipe: Recipe, inputs: Inputs, variants: Mapping[str, PlannedVariant], library: Library
) -> list[Job]:
    """Return the jobs that make variants: those of the library if one needs it, compositions, and other orderings."""
    composed = {key: one for key, one in variants.items() if library.can_compose(one.spec)}
    others = {key: one for key, one in variants.items() if key not in {*composed, *library.variants}}
    needs_library = len(others) < len(variants)
    compositions = [_composition(one.spec, library) for one in composed.values() if isinstance(one.spec, ScoredVariant)]
    return [*(library.jobs if needs_library else ()), *compositions, *variant_jobs(recipe, inputs, others)]


def distinct_jobs(jobs: Iterable[Job]) -> list[Job]:
    """Return each job once: jobs that make the same records are one job."""
    return list({job.makes: job for job in jobs}.values())


def _composition(spec: ScoredVariant, library: Library) -> ComposeVariantJob:
    ordering_id = library.ordering.id
    return ComposeVariantJob(composition_identity(spec.id, ordering_id), spec, ordering_id, library.sparsities)


def _base_of(spec: VariantSpec) -> str:
    """Return what the variants of one library have in common; an empty text for variants that need no library."""
    return base_key(spec) if isinstance(spec, ScoredVariant) and is_composable(spec) else ""
