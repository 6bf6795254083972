"""Variants with the levels of a search's winner, which are planned once the search has finished.

An entry gets the schedule, the sparsity and, if it has none, the scope of the winner. So its variant has the id of the
same entry with a given schedule.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import isclose

from mlprune.capabilities.search.batches import PlannedSearch
from mlprune.capabilities.search.final import compared
from mlprune.capabilities.search.keys import searched_entries
from mlprune.capabilities.search.spec import (
    SPARSITY_DIGITS,
    SearchInputs,
    SearchSpec,
    plan_part,
    trial_entry,
)
from mlprune.errors import RecipeError
from mlprune.recipe.evaluations import EvaluationConfig
from mlprune.recipe.models import Recipe
from mlprune.recipe.variants import VariantConfig
from mlprune.steps.evaluate.evaluation_plan import plan_evaluations
from mlprune.steps.evaluate.model_evaluation import evaluation_jobs
from mlprune.steps.job import Job
from mlprune.steps.part import Report
from mlprune.steps.prune.mask_jobs import variant_jobs


def without_searched(recipe: Recipe) -> Recipe:
    """Return the recipe without the entries that are planned once their search has finished."""
    late = searched_entries(recipe.variants)
    if not late:
        return recipe
    kept = tuple(entry for entry in recipe.variants if entry not in late)
    baselines = {baseline.name for baseline in recipe.baselines}
    evaluations = tuple(_with_names(recipe.evaluations, {entry.name for entry in kept} | baselines))
    return recipe.model_copy(update={"variants": kept, "evaluations": evaluations})


def plan_searched(common: SearchInputs, search: PlannedSearch, *, is_known: Callable[[str], bool]) -> Report | None:
    """Plan the variants of a recipe that have the levels of a finished search's winner.

    Args:
        is_known: whether a variant is in the store or is made by another job of the plan.
    Returns: None if the recipe has no such entries, or the search has no winner: then they are not made.
    Raises:
        RecipeError: an entry has another sparsity than the winner, or is not a variant with the winner's levels.
    """
    best = search.winner
    waiting = searched_entries(common.given.variants, search.spec.name)
    if best is None or not waiting:
        return None
    winner = trial_entry(search.spec, best.point)
    entries = [with_levels(entry, winner) for entry in waiting]
    against = {against.name for entry in entries for against in entry.against}
    others = [entry for entry in common.recipe.variants if entry.name in against]
    evaluations = evaluations_of_searched(common.given, [*entries, *others])
    part = plan_part(common, search.spec, [*entries, *others], evaluations=evaluations, is_known=is_known)
    variants = part.variants.items()
    named = ((entry.name, key) for key, variant in variants for entry in entries if entry in variant.entries)
    return compared(common, part, ((name, key) for name, key in named if name))


def searched_jobs(common: SearchInputs, spec: SearchSpec) -> list[Job]:
    """Return jobs like those of the entries that wait for a search: as if the last point of its space had won."""
    waiting = searched_entries(common.given.variants, spec.name)
    if not waiting:
        return []
    winner = trial_entry(spec, spec.space.at(spec.space.n_points - 1))
    entries = [with_levels(entry.model_copy(update={"sparsity": None}), winner) for entry in waiting]
    derived, planned = common.derived(entries, evaluations_of_searched(common.given, entries))
    variants = {key: variant for key, variant in planned.items() if not variant.is_dense}
    evaluations = plan_evaluations(derived, common.inputs, variants)
    return [*variant_jobs(derived, common.inputs, variants), *evaluation_jobs(derived, variants, evaluations)]


def with_levels(entry: VariantConfig, winner: VariantConfig) -> VariantConfig:
    """Return an entry with the schedule and sparsity of a winner, and with its scope if it has none.

    Raises:
        RecipeError: the entry has another sparsity, or is not a variant with this schedule.
    """
    assert winner.sparsity is not None, "a winner has a sparsity"
    if entry.sparsity is not None and not isclose(entry.sparsity, winner.sparsity, abs_tol=10.0**-SPARSITY_DIGITS):
        message = "a variant has another sparsity than the winner of the search that is its schedule"
        expected = f"{winner.sparsity}, or no sparsity"
        raise RecipeError(message, search=entry.schedule.source, expected=expected, got=entry.sparsity)
    keys = {key: value for key, value in dict(entry).items() if key in entry.model_fields_set}
    keys |= {"schedule": winner.schedule, "sparsity": winner.sparsity}
    if "scope" not in keys:
        keys["scope"] = winner.scope
    try:
        return VariantConfig.model_validate(keys)
    except ValueError as err:
        reason = " ".join(str(err).split())
        message = "the winner of a search cannot be the schedule of a variant"
        raise RecipeError(message, search=entry.schedule.source, variant=entry.name, reason=reason) from err


def evaluations_of_searched(recipe: Recipe, entries: Sequence[VariantConfig]) -> tuple[EvaluationConfig, ...]:
    """Return the evaluations of some entries and of those that they are compared with."""
    names = {entry.name for entry in entries}
    return tuple(_with_names(recipe.evaluations, names))


def _with_names(evaluations: Iterable[EvaluationConfig], names: set[str | None]) -> Iterator[EvaluationConfig]:
    """Yield the evaluations of all variants, and those of named ones with the names that are left."""
    for evaluation in evaluations:
        left = tuple(name for name in evaluation.variants if name in names)
        if left or not evaluation.variants:
            yield evaluation.model_copy(update={"variants": left})
