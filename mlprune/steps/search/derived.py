"""Recipes derived from that of a search: its trials, or its finalists, as variants with evaluations of their own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlprune.errors import DamagedArtefactError
from mlprune.recipe import EvaluationConfig, Recipe, VariantConfig
from mlprune.steps.demonstrate.plan import DemonstrationPlan
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.plan import evaluation_jobs
from mlprune.steps.inputs import Inputs
from mlprune.steps.items.jobs import item_jobs
from mlprune.steps.job import Job, RecordKey
from mlprune.steps.prune.composed.compose_plan import trial_jobs
from mlprune.steps.prune.plan import PlannedVariant
from mlprune.steps.prune.plan_jobs import all_observations
from mlprune.steps.prune.stored_masks import stored_masks
from mlprune.steps.search.spec import SearchSpec
from mlprune.store.store import Store


@dataclass(frozen=True)
class SearchInputs:
    """What the batches of all searches of a recipe are planned from."""

    recipe: Recipe
    """With the resolved device and dtype."""
    inputs: Inputs
    sets: DemonstrationPlan


def missing_jobs(
    derived: Recipe,
    common: SearchInputs,
    variants: Mapping[str, PlannedVariant],
    *,
    evaluations: Mapping[str, tuple[EvaluationSpec, ...]],
    levels: Iterable[float],
    is_known: Callable[[str], bool],
) -> list[Job]:
    """Return the jobs of the variants of a derived recipe that are not known, and of all evaluations.

    Args:
        levels: all sparsities of the layers of the search.
        is_known: whether a variant is in the store or is made by another job of the plan.
    """
    missing = {key: variant for key, variant in variants.items() if variant.is_dense or not is_known(key)}
    observed = all_observations(derived, common.inputs, (), missing)
    return [
        *(job for observation in observed for job in observation.jobs),
        *trial_jobs(derived, common.inputs, missing, levels=levels),
        *item_jobs(evaluation for specs in evaluations.values() for evaluation in specs),
        *evaluation_jobs(derived, variants, evaluations),
    ]


def levels_of(spec: SearchSpec) -> tuple[float, ...]:
    """Return the sparsities that the layers of a search's trials can have, from which its trials are composed."""
    axes = {axis.name: axis.values for axis in spec.space.axes}
    of_trials = axes.get("sparsity", (spec.base.get("sparsity"),))
    levels = {float(level) for level in of_trials if isinstance(level, int | float) and level > 0}
    return tuple(sorted(levels | set(() if spec.space.units is None else spec.space.units.levels)))


def is_made(store: Store, variant_id: str) -> bool:
    """Whether the store has a variant with all files of its masks."""
    record = store.read_record("variants", variant_id)
    if record is None:
        return False
    try:
        stored = stored_masks(store, record)
    except DamagedArtefactError:
        return False
    return stored is None or store.is_complete(stored.record)


def orderings_of(store: Store, variant_ids: Iterable[str]) -> list[RecordKey]:
    """Return the (kind, id) of the orderings whose files contain the masks of variants, as far as they are stored."""
    records = (store.read_record("variants", variant_id) for variant_id in variant_ids)
    made = [record for record in records if record is not None and is_made(store, record.id)]
    masks = [stored_masks(store, record) for record in made]
    return list(dict.fromkeys(("masks", stored.record.id) for stored in masks if stored is not None))


def derive_recipe(recipe: Recipe, variants: Sequence[VariantConfig], evaluations: Sequence[EvaluationConfig]) -> Recipe:
    """Return the recipe with other variants and evaluations, and without everything that reads them."""
    no_more = dict.fromkeys(("baselines", "questions", "searches"), ())
    return recipe.model_copy(
        update={**no_more, "variants": tuple(variants), "evaluations": tuple(evaluations), "n_excluded": 0}
    )
