"""Plan the variants with the levels of a search's winner, once the search has finished.

An entry gets the schedule, the sparsity and, if it has none, the scope of the winner. So its variant has the id of the
same entry with a given schedule.
"""

from collections.abc import Callable
from math import isclose

from mlprune.errors import RecipeError
from mlprune.recipe import Recipe, VariantConfig
from mlprune.recipe.searches.searched_schedules import evaluations_of_searched, searched_entries
from mlprune.steps.compare.plan import comparison_jobs
from mlprune.steps.evaluate.plan import evaluation_jobs, plan_evaluations
from mlprune.steps.job import Job
from mlprune.steps.prune.plan import plan_variants
from mlprune.steps.prune.plan_jobs import variant_jobs
from mlprune.steps.questions.jobs import answer_jobs
from mlprune.steps.questions.plan import asked_baselines, plan_questions
from mlprune.steps.search.batches import PlannedSearch
from mlprune.steps.search.derived import SearchInputs, derive_recipe, levels_of, missing_jobs
from mlprune.steps.search.final import PlannedFinal
from mlprune.steps.search.history import feasible_winner
from mlprune.steps.search.spec import SearchSpec
from mlprune.steps.search.trial_entries import SPARSITY_DIGITS, trial_entry


def plan_searched(
    given: Recipe, common: SearchInputs, search: PlannedSearch, *, is_known: Callable[[str], bool]
) -> PlannedFinal | None:
    """Plan the variants of a recipe that have the levels of a finished search's winner.

    Args:
        given: the whole recipe.
        is_known: whether a variant is in the store or is made by another job of the plan.
    Returns: None if the recipe has no such entries, or the search has no winner: then they are not made.
    Raises:
        RecipeError: an entry has another sparsity than the winner, or is not a variant with the winner's levels.
    """
    best = feasible_winner(search.history)
    waiting = searched_entries(given.variants, search.spec.name)
    if best is None or not waiting:
        return None
    winner = trial_entry(search.spec, best.point)
    entries = [with_levels(entry, winner) for entry in waiting]
    against = {name for entry in entries for name in entry.against}
    compared = [entry for entry in common.recipe.variants if entry.name in against]
    evaluations = evaluations_of_searched(given, [*entries, *compared])
    derived = derive_recipe(common.recipe, [*entries, *compared], evaluations)
    variants = plan_variants(derived, common.inputs, common.sets.by_profile)
    specs = plan_evaluations(derived, common.inputs, variants)
    jobs = missing_jobs(derived, common, variants, evaluations=specs, levels=levels_of(search.spec), is_known=is_known)
    jobs += comparison_jobs(common.inputs, (), variants, specs, asked=asked_baselines(derived))
    questions = plan_questions(derived, common.inputs, variants, jobs=jobs)
    named = ((entry.name, key) for key, variant in variants.items() for entry in entries if entry in variant.entries)
    names = tuple((name, key) for name, key in named if name)
    return PlannedFinal((*jobs, *answer_jobs(questions)), questions, names)


def searched_jobs(given: Recipe, common: SearchInputs, spec: SearchSpec) -> list[Job]:
    """Return jobs like those of the entries that wait for a search: as if the last point of its space had won.

    Args:
        given: the whole recipe.
    """
    waiting = searched_entries(given.variants, spec.name)
    if not waiting:
        return []
    winner = trial_entry(spec, spec.space.at(spec.space.n_points - 1))
    entries = [with_levels(entry.model_copy(update={"sparsity": None}), winner) for entry in waiting]
    derived = derive_recipe(common.recipe, entries, evaluations_of_searched(given, entries))
    planned = plan_variants(derived, common.inputs, common.sets.by_profile)
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
