"""Searches of a recipe as checked specifications."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import cast

import numpy as np

from mlprune.capabilities.search.keys import SearchConfig, measured
from mlprune.capabilities.search.measures import default_metric
from mlprune.capabilities.search.removal import REMOVABLE, REMOVAL_LEVELS
from mlprune.capabilities.search.spec import (
    ItemCount,
    ModelUnits,
    SearchInputs,
    SearchSpec,
    model_units,
    trial_entry,
)
from mlprune.capabilities.search.strategy.level_units import LevelUnits
from mlprune.capabilities.search.strategy.method import Budget, ItemBudget, VariantBudget
from mlprune.capabilities.search.strategy.registry import SEARCH_METHODS
from mlprune.capabilities.search.strategy.space import Axis, Point, Space
from mlprune.errors import RecipeError
from mlprune.evaluation.tasks.items import ChoiceItem, clusters_of
from mlprune.json_values import JsonObject, JsonValue
from mlprune.methods import structure_of
from mlprune.pruning.spec import Scope
from mlprune.recipe.evaluations import evaluations_of_task
from mlprune.recipe.variants import VariantConfig
from mlprune.steps.choices.outcome import SplitItems
from mlprune.steps.evaluate.evaluation_plan import plan_evaluations, task_specs
from mlprune.steps.inputs import Inputs
from mlprune.steps.prune.requested_variants import input_sizes, scope
from mlprune.steps.tasks.evaluation import task_data
from mlprune.steps.tasks.task_spec import TaskSpec

SHOWN_CHARACTERS = 60
"""Characters of a shared text that a message shows."""
MAX_WITHOUT_BUDGET = 10_000
"""Most points of a space that a search without a budget evaluates."""


def refuse_shared_items(search: str, chosen_on: Iterable[TaskSpec], *, reported_on: Iterable[TaskSpec]) -> None:
    """Refuse a search whose splits have items or clusters of a task in common.

    An item is shared if its texts are those of an item of the same language and task on the other split; a cluster, if
    its name occurs on both, in any language. Items that a limit leaves out do not count.

    Raises:
        RecipeError: something is shared; the message has the numbers and one example.
    """
    first, second = _by_task(chosen_on), _by_task(reported_on)
    for task in first:
        if task in second:
            _refuse_shared(search, task, first[task], second[task])


def split_items(spec: TaskSpec) -> SplitItems:
    """Return texts and clusters of the items of a task in one language."""
    items = task_data(spec).items
    texts = {item.example_id: item.texts if isinstance(item, ChoiceItem) else (item.source,) for item in items}
    clusters = dict(zip(texts, clusters_of(items), strict=True))
    return SplitItems(texts, clusters)


def _by_task(specs: Iterable[TaskSpec]) -> dict[str, dict[str, TaskSpec]]:
    tasks: dict[str, dict[str, TaskSpec]] = {}
    for spec in specs:
        tasks.setdefault(spec.task, {}).setdefault(spec.language, spec)
    return tasks


def _refuse_shared(search: str, task: str, first: Mapping[str, TaskSpec], second: Mapping[str, TaskSpec]) -> None:
    chosen_on, reported_on = (
        {language: split_items(spec) for language, spec in specs.items()} for specs in (first, second)
    )
    shared_items = [
        (language, example_id, items.texts[example_id][0])
        for language, items in reported_on.items()
        if language in chosen_on
        for example_id in items.shared_with(chosen_on[language])
    ]
    named = [
        dict.fromkeys(name for items in of_split.values() for name in sorted(items.named_clusters))
        for of_split in (chosen_on, reported_on)
    ]
    shared_clusters = [name for name in named[1] if name in named[0]]
    if not shared_items and not shared_clusters:
        return
    splits = [next(iter(specs.values())).split for specs in (first, second)]
    if shared_items:
        language, example_id, text = shared_items[0]
        example = f"{language} {example_id}: {text[:SHOWN_CHARACTERS]}"
    else:
        example = f"cluster {shared_clusters[0]}"
    message = "a search would report its winner on items on which it was chosen"
    remedy = "other paths or limits" if shared_items else "split_by: clusters (path corpus), or other paths"
    counts = {"n_shared_items": len(shared_items), "n_shared_clusters": len(shared_clusters)}
    expected = f"splits without overlap: {remedy}"
    raise RecipeError(message, search=search, task=task, splits=splits, **counts, example=example, expected=expected)


def search_spec(common: SearchInputs, config: SearchConfig) -> SearchSpec:
    """Return the specification of one search.

    Raises:
        RecipeError: the model has no such blocks or layers, no levels have the total, a rung has too many items, or the
            splits share items.
    """
    recipe, inputs, base = common.recipe, common.inputs, _base(config)
    units = _units(inputs, config, base)
    removes_units = SEARCH_METHODS[config.method.kind].removes_units
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
        compare=() if removes_units else config.compare,
        parents={},
    )
    check_size(spec, config)
    _check_sparsity_constraints(spec, inputs)
    report_specs = (spec for entry in report for spec in task_specs(recipe, inputs, entry))
    refuse_shared_items(config.name, dev_specs, reported_on=report_specs)
    return replace(spec, parents=_parents(common, spec))


def _base(config: SearchConfig) -> JsonObject:
    """Return the keys that all points have in common, with the layers of the levels as their scope."""
    base = cast("Mapping[str, JsonValue]", config.base)
    layers = config.levels.layers if config.levels else ()
    return {**base, "scope": {"layers": list(layers)}} if layers else base


def _units(inputs: Inputs, config: SearchConfig, base: JsonObject) -> ModelUnits | None:
    """Return the units that have levels or are removed; None without any."""
    if config.levels is None and not SEARCH_METHODS[config.method.kind].removes_units:
        return None
    per = config.levels.per if config.levels else REMOVABLE[str(base["structure"])].per
    entry = VariantConfig.model_validate({"score": "magnitude", "sparsity": 0.5, "scope": base.get("scope", {})})
    return model_units(inputs.model, per, scope=scope(entry, inputs))


def _space(config: SearchConfig, units: ModelUnits | None) -> Space:
    """Return the space; an error names the search."""
    axes = tuple(Axis(name, cast("tuple[JsonValue, ...]", values)) for name, values in config.space.items())
    if units is None:
        return Space(axes)
    levels, total = (config.levels.values, config.levels.total) if config.levels else (REMOVAL_LEVELS, None)
    try:
        of_levels = LevelUnits(units.names, units.weights_per_unit, levels, total)
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
    if spec.budget is None and spec.removes is None and spec.space.n_points > MAX_WITHOUT_BUDGET:
        message = "a search of this size needs a budget"
        raise RecipeError(message, search=spec.name, n_points=spec.space.n_points, expected="budget: {variants: 60}")
    try:
        spec.build_method()
    except RecipeError as err:
        raise RecipeError(err.message, search=spec.name, **err.context) from err


def _check_sparsity_constraints(spec: SearchSpec, inputs: Inputs) -> None:
    """Check that each constraint on the sparsity alone can be met: some point has a sparsity that meets it.

    A mask has at most the asked sparsity and at least one weight of a row less. Structures of larger units, and those
    of plug-ins, are not checked.

    Raises:
        RecipeError: no point can.
    """
    on_sparsity = [one for one in spec.constraints if not one.measures]
    entries = [trial_entry(spec, point) for point in _representatives(spec)] if on_sparsity else []
    if not entries or any(entry.structure_source or structure_of(entry.group).of_model for entry in entries):
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


def _parents(common: SearchInputs, spec: SearchSpec) -> JsonObject:
    """Return the ids of what trials are made from."""
    set_ids: dict[str, None] = {}
    for point in _representatives(spec):
        derived, variants = common.derived((trial_entry(spec, point),), spec.evaluations)
        for variant in variants.values():
            contrast = [variant.contrast] if variant.contrast else []
            set_ids |= dict.fromkeys(planned.id for planned in (*variant.sets, *contrast))
    dense = {key: variant for key, variant in variants.items() if variant.is_dense}
    evaluations = plan_evaluations(derived, common.inputs, dense)
    return {
        "base_model": common.inputs.base.id,
        "demonstration_sets": list(set_ids) or None,
        "evaluations": [one.identity.id for of_dense in evaluations.values() for one in of_dense],
    }


def _representatives(spec: SearchSpec) -> Iterator[Point]:
    """Yield one point for every value of every axis; of a search that removes units, the model without the last one."""
    space = spec.space
    first = next(islice(space.points(), 1 if spec.removes else 0, None))
    yield first
    for position, axis in enumerate(space.axes):
        for index in range(1, len(axis.values)):
            yield (*first[:position], index, *first[position + 1 :])
