"""Specification of a search from its entry in a recipe, checked against the model, the sets and the items."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from mlprune.errors import RecipeError
from mlprune.json_values import JsonObject, JsonValue
from mlprune.pruning.spec import Scope
from mlprune.recipe import EvaluationConfig, Recipe, VariantConfig
from mlprune.recipe.searches.measures import default_metric, evaluations_of_task, measured
from mlprune.recipe.searches.search import SearchConfig
from mlprune.search.level_units import LevelUnits
from mlprune.search.method import Budget, ItemBudget, VariantBudget
from mlprune.search.space import Axis, Point, Space
from mlprune.steps.demonstrate.plan import DemonstrationPlan
from mlprune.steps.evaluate.plan import plan_evaluations, task_specs
from mlprune.steps.evaluate.task_items import task_data
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.inputs import Inputs
from mlprune.steps.prune.from_recipe import input_sizes, scope
from mlprune.steps.prune.plan import PlannedVariant, plan_variants
from mlprune.steps.search.model_units import ModelUnits, model_units
from mlprune.steps.search.spec import ItemCount, SearchSpec
from mlprune.steps.search.split_check import refuse_shared_items
from mlprune.steps.search.trial_entries import trial_entry

MAX_WITHOUT_BUDGET = 10_000
"""Most points of a space that a search without a budget evaluates."""


def search_specs(recipe: Recipe, inputs: Inputs, sets: DemonstrationPlan) -> tuple[SearchSpec, ...]:
    """Return the specification of every search of a recipe.

    Raises:
        RecipeError: a search is impossible with the model, the demonstration sets or the items.
    """
    return tuple(search_spec(recipe, inputs, config, sets=sets) for config in recipe.searches)


def search_spec(recipe: Recipe, inputs: Inputs, config: SearchConfig, *, sets: DemonstrationPlan) -> SearchSpec:
    """Return the specification of one search.

    Raises:
        RecipeError: the model has no such blocks or layers, no levels have the total, a rung has too many items, or the
            splits share items.
    """
    base = _base(config)
    units = _units(inputs, config, base)
    measures = measured(config, recipe.evaluations)
    tasks = [entry.task for entry in recipe.evaluations if entry.task in {measure.task for measure in measures}]
    tasks = list(dict.fromkeys(tasks))
    dev = tuple(entry for task in tasks for entry in evaluations_of_task(recipe.evaluations, task, split=config.split))
    report = tuple(
        entry.model_copy(update={"variants": ()}) for entry in recipe.evaluations if entry.split == config.report_on
    )
    dev_specs = [spec for entry in dev for spec in task_specs(recipe, inputs, entry)]
    spec = SearchSpec(
        name=config.name,
        base=base,
        space=_space(config, units),
        units=units,
        direction=config.direction,
        objective=config.objective,
        constraints=config.constraints,
        default_task=config.task or (tasks[0] if len(tasks) == 1 else ""),
        default_metrics=tuple((task, default_metric(task)) for task in tasks),
        evaluations=dev,
        report_evaluations=report,
        items=tuple(ItemCount(task.task, task.language, len(task_data(task).items)) for task in dev_specs),
        method=config.method.kind,
        method_parameters=config.method.parameters,
        rungs=(*config.rungs, None),
        batch=config.batch,
        budget=_budget(config),
        seed=config.seed,
        compare=config.compare,
        parents={},
    )
    check_size(spec, config)
    _check_sparsity_constraints(spec, inputs)
    refuse_shared_items(config.name, dev_specs, reported_on=_specs(recipe, inputs, report))
    return replace(spec, parents=_parents(recipe, inputs, spec, sets=sets))


def _specs(recipe: Recipe, inputs: Inputs, entries: Sequence[EvaluationConfig]) -> Iterator[TaskSpec]:
    for entry in entries:
        yield from task_specs(recipe, inputs, entry)


def _base(config: SearchConfig) -> JsonObject:
    """Return the keys that all points have in common, with the layers of the levels as their scope."""
    base = cast("Mapping[str, JsonValue]", config.base)
    layers = config.levels.layers if config.levels else ()
    return {**base, "scope": {"layers": list(layers)}} if layers else base


def _units(inputs: Inputs, config: SearchConfig, base: JsonObject) -> ModelUnits | None:
    """Return the units of the levels; None without levels."""
    if config.levels is None:
        return None
    entry = VariantConfig.model_validate({"score": "magnitude", "sparsity": 0.5, "scope": base.get("scope", {})})
    return model_units(inputs.model, config.levels.per, scope=scope(entry, inputs))


def _space(config: SearchConfig, units: ModelUnits | None) -> Space:
    """Return the space; an error names the search."""
    axes = tuple(Axis(name, cast("tuple[JsonValue, ...]", values)) for name, values in config.space.items())
    if config.levels is None or units is None:
        return Space(axes)
    try:
        of_levels = LevelUnits(units.names, units.weights_per_unit, config.levels.values, config.levels.total)
    except RecipeError as err:
        raise RecipeError(err.message, search=config.name, **err.context) from err
    return Space(axes, of_levels)


def _budget(config: SearchConfig) -> Budget | None:
    if config.budget is None:
        return None
    if config.budget.variants is not None:
        return VariantBudget(config.budget.variants)
    return ItemBudget(config.budget.items or 0)


def check_size(spec: SearchSpec, config: SearchConfig) -> None:
    """Check the rungs, the budget and the size of the space."""
    too_large = [rung for rung in config.rungs if rung >= spec.n_items]
    if too_large:
        message = "a rung has all items of the split, which are the last rung"
        raise RecipeError(
            message, search=spec.name, split=config.split, expected=f"below {spec.n_items}", got=too_large
        )
    if spec.budget is None and spec.space.n_points > MAX_WITHOUT_BUDGET:
        message = "a search of this size needs a budget"
        raise RecipeError(message, search=spec.name, n_points=spec.space.n_points, expected="budget: {variants: 60}")
    try:
        spec.build_method()
    except RecipeError as err:
        raise RecipeError(err.message, search=spec.name, **err.context) from err


def _check_sparsity_constraints(spec: SearchSpec, inputs: Inputs) -> None:
    """Check that each constraint on the sparsity alone can be met: some point has a sparsity that meets it.

    A mask has at most the asked sparsity and at least one weight of a row less; heads and neurons are not checked.

    Raises:
        RecipeError: no point can.
    """
    on_sparsity = [one for one in spec.constraints if not one.measures]
    entries = [trial_entry(spec, point) for point in _representatives(spec.space)] if on_sparsity else []
    if not entries or any(entry.score == "flap" or entry.structure_source for entry in entries):
        return
    step = 1 / min(input_sizes(inputs).values())
    reached = np.concatenate([np.linspace(max(0.0, s - step), s, 65) for s in _sparsities(spec, entries, inputs)])
    for constraint in on_sparsity:
        missed = constraint.violation(lambda _: 1 - reached, dense=lambda _: np.ones_like(reached))
        if bool((missed > 0).all()):
            raise RecipeError(
                "no point of a search can meet a constraint on its sparsity",
                search=spec.name,
                expected=str(constraint),
                got=f"sparsities from {reached.min():.4g} to {reached.max():.4g}",
            )


def _sparsities(spec: SearchSpec, entries: Sequence[VariantConfig], inputs: Inputs) -> list[float]:
    """Return sparsities of points, as shares of all prunable weights: each sparsity with each scope of the search."""
    sizes, units = model_units(inputs.model, "layer", scope=Scope()), spec.space.units
    total = sum(sizes.n_weights)
    shares, asked = set(), set()
    for entry in entries:
        chosen = scope(entry, inputs)
        n_chosen = sum(n for key, n in zip(sizes.layers, sizes.n_weights, strict=True) if chosen.includes(*key))
        shares.add(n_chosen / total)
        if units is not None and units.total is not None:
            asked.add(units.total)
            continue
        of_schedule = (entry.schedule.blocks, entry.schedule.layers, entry.schedule.block_layers)
        given = [value for pairs in of_schedule for _, value in pairs]
        ends = list(units.levels) if units is not None else [*given, entry.sparsity or 0.0]
        asked.update(np.linspace(min(ends), max(ends), 65).tolist() if len(ends) > 1 else ends)
    return [share * one for share in sorted(shares) for one in sorted(asked)]


def _parents(recipe: Recipe, inputs: Inputs, spec: SearchSpec, *, sets: DemonstrationPlan) -> JsonObject:
    """Return the ids of what trials are made from."""
    derived = recipe.model_copy(update={"evaluations": spec.evaluations})
    set_ids: dict[str, None] = {}
    variants: Mapping[str, PlannedVariant] = {}
    for point in _representatives(spec.space):
        entry = trial_entry(spec, point)
        variants = plan_variants(derived.model_copy(update={"variants": (entry,)}), inputs, sets.by_profile)
        for variant in variants.values():
            contrast = [variant.contrast] if variant.contrast else []
            set_ids |= dict.fromkeys(planned.id for planned in (*variant.sets, *contrast))
    dense = {key: variant for key, variant in variants.items() if variant.is_dense}
    evaluations = plan_evaluations(derived, inputs, dense)
    return {
        "base_model": inputs.base.id,
        "demonstration_sets": list(set_ids) or None,
        "evaluations": [one.identity.id for of_dense in evaluations.values() for one in of_dense],
    }


def _representatives(space: Space) -> Iterator[Point]:
    """Yield one point for every value of every axis."""
    first = next(space.points())
    yield first
    for position, axis in enumerate(space.axes):
        for index in range(1, len(axis.values)):
            yield (*first[:position], index, *first[position + 1 :])
