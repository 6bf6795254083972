"""Specification of a search: its units, measures and trials, and the recipes derived from them."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isclose, prod
from pathlib import Path
from typing import TypeVar

from mlprune.capabilities.search.keys import ComparatorName, DirectionName
from mlprune.capabilities.search.points import with_keys
from mlprune.capabilities.search.removal import REMOVABLE, Removable
from mlprune.capabilities.search.strategy.method import Budget, SearchMethod, Settings
from mlprune.capabilities.search.strategy.objective import Constraint, Expression, Measure
from mlprune.capabilities.search.strategy.registry import SEARCH_METHODS, build_method
from mlprune.capabilities.search.strategy.space import Point, Space
from mlprune.errors import RecipeError
from mlprune.hashing import without_defaults
from mlprune.json_values import JsonObject, JsonValue
from mlprune.methods import Parameters
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at, weight_name
from mlprune.pruning.spec import Scope
from mlprune.recipe.evaluations import EvaluationConfig
from mlprune.recipe.models import Recipe
from mlprune.recipe.variants import VariantConfig
from mlprune.steps.evaluate.evaluation_plan import plan_evaluations
from mlprune.steps.evaluate.model_evaluation import evaluation_jobs
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Job, ModelRef
from mlprune.steps.prune.composed import trial_jobs
from mlprune.steps.prune.mask_jobs import all_observations
from mlprune.steps.prune.requested_variants import plan_variants
from mlprune.steps.sets import DemonstrationPlan
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.tasks.item_flow import described_items
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.vocabulary import UnitName

REUSES_ITEMS = False
"""Whether a trial at a higher rung scores only the items that it was not scored on at the rung below."""
Key = TypeVar("Key", bound=Hashable)
Layer = tuple[int, str]
"""(block, layer)."""
SPARSITY_DIGITS = 6
"""Decimal places of the sparsity of a trial whose layers differ."""


@dataclass(frozen=True)
class ModelUnits:
    """The units of a model that get a level each."""

    per: UnitName
    layers: tuple[tuple[int, str], ...]
    """(block, layer) of every pruned layer, by block, then in the order in which it runs them."""
    n_weights: tuple[int, ...]
    """Number of weights of each of these layers."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each unit, in the order of its first layer: `3`, `self_attn.q_proj` or `3.self_attn.q_proj`."""
        return tuple(dict.fromkeys(self._unit_of(block, layer) for block, layer in self.layers))

    @property
    def weights_per_unit(self) -> tuple[int, ...]:
        """Number of weights of each unit."""
        counts = dict.fromkeys(self.names, 0)
        for layer, n_weights in zip(self.layers, self.n_weights, strict=True):
            counts[self._unit_of(*layer)] += n_weights
        return tuple(counts.values())

    @property
    def unit_of_layer(self) -> dict[tuple[int, str], str]:
        """(block, layer) -> name of its unit."""
        return {layer: self._unit_of(*layer) for layer in self.layers}

    def _unit_of(self, block: int, layer: str) -> str:
        return {"block": str(block), "layer": layer, "block_layer": f"{block}.{layer}"}[self.per]


def model_units(model: ModelRef, per: UnitName, *, scope: Scope) -> ModelUnits:
    """Return the units of the layers in a scope, with sizes from the headers of the weight files.

    Raises:
        ModelError: the weight files cannot be read.
    """
    architecture = architecture_at(model.path)
    files = WeightFiles(Path(model.path), architecture)
    layers = tuple(
        (block, layer)
        for block in range(model.n_blocks)
        for layer in architecture.block(block).layers
        if scope.includes(block, layer)
    )
    sizes = tuple(prod(files.shape(weight_name(architecture, block, layer))) for block, layer in layers)
    return ModelUnits(per, layers, sizes)


@dataclass(frozen=True)
class ItemCount:
    """Number of items of a task in a language, or pair of languages, on the split of a search."""

    task: str
    language: str
    n_items: int


@dataclass(frozen=True)
class SearchSpec:
    """Everything that determines a search."""

    name: str
    """Name of the entry in the recipe; not part of an id."""
    base: JsonObject
    """Entry of `variants` without the keys that points set."""
    space: Space
    units: ModelUnits | None
    """The pruned layers and the unit of each, which has a level or is removed; None for a space without units."""
    direction: DirectionName
    objective: Expression
    constraints: tuple[Constraint, ...]
    default_task: str
    """Task of measures that name none; empty if all name one."""
    default_metrics: tuple[tuple[str, str], ...]
    """(task, metric of measures of it that name none) for every measured task, in the order of the evaluations."""
    evaluations: tuple[EvaluationConfig, ...]
    """Evaluations of the trials on the split of the search: the measured tasks, each with one rule, prompt language,
    profile and seed of shots."""
    report_evaluations: tuple[EvaluationConfig, ...]
    """Evaluations of the winner and of what it is compared with; they do not determine the trials."""
    items: tuple[ItemCount, ...]
    """Items of `evaluations`."""
    method: str
    """A key of `SEARCH_METHODS`."""
    method_parameters: Parameters
    rungs: tuple[int | None, ...]
    """Items per language of each rung; the last one is None, for all."""
    batch: int
    budget: Budget | None
    """None for the whole space."""
    seed: int
    compare: tuple[ComparatorName, ...]
    parents: JsonObject
    """Ids of what the trials are made from: base model, demonstration sets, and the dense model's evaluations."""

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """Parameters of the ids of the trials: neither names nor what happens after the last trial."""
        return {
            "base": self.base,
            "space": [[axis.name, list(axis.values)] for axis in self.space.axes],
            "levels": self._levels,
            self.direction: str(self.objective),
            "where": [str(constraint) for constraint in self.constraints],
            "task": self.default_task,
            "method": self.method,
            "method_parameters": without_defaults(self.method_parameters),
            "rungs": list(self.rungs),
            "batch": self.batch,
            "budget": None if self.budget is None else without_defaults(self.budget),
            "seed": self.seed,
        }

    @property
    def _levels(self) -> JsonValue:
        units = self.space.units
        if units is None or self.units is None:
            return None
        return {"per": self.units.per, "units": list(units.names), "values": list(units.levels), "total": units.total}

    @property
    def removes(self) -> Removable | None:
        """The units that it removes; None for other methods."""
        return REMOVABLE[str(self.base["structure"])] if SEARCH_METHODS[self.method].removes_units else None

    @property
    def measures(self) -> dict[Measure, Measure]:
        """Measure of the objective or of a constraint -> the same measure with its task and metric."""
        of_constraints = [measure for bound in self.constraints for measure in bound.measures]
        return {measure: self.complete(measure) for measure in (*self.objective.measures, *of_constraints)}

    def complete(self, measure: Measure) -> Measure:
        """Return a measure with the task and the metric that it leaves out."""
        task = measure.task or self.default_task
        return replace(measure, task=task, metric=measure.metric or dict(self.default_metrics)[task])

    @property
    def n_items(self) -> int:
        """Items per language of the rung with all items; the most of a task and language."""
        return max(count.n_items for count in self.items)

    def n_scored(self, rung: int | None) -> int:
        """Return the items, over all tasks and languages, that a trial scores with some items per language."""
        return sum(count.n_items if rung is None else min(rung, count.n_items) for count in self.items)

    @property
    def settings(self) -> Settings:
        """Settings of the method."""
        return Settings(
            parameters=self.method_parameters,
            seed=self.seed,
            batch=self.batch,
            rung_items=tuple(self.n_scored(rung) for rung in self.rungs),
            budget=self.budget,
            reuses_items=REUSES_ITEMS,
        )

    def build_method(self) -> SearchMethod:
        """Build the method.

        Raises:
            RecipeError: the budget does not allow one trial, or the method lacks a package.
        """
        return build_method(self.method, self.space, self.settings)

    def rung_evaluations(self, rung: int | None) -> Iterator[EvaluationConfig]:
        """Yield the evaluations of the trials of a rung."""
        for entry in self.evaluations:
            yield entry if rung is None else entry.model_copy(update={"limit": rung})

    def random_search(self) -> "SearchSpec":
        """Return the random search of equal space, budget and objective, whose winner the winner is compared with."""
        return replace(
            self,
            name=f"{self.name}-random",
            method="random",
            method_parameters=SEARCH_METHODS["random"].parameters(),
            rungs=(None,),
            compare=(),
        )


def level_keys(levels: Mapping[Layer, float], *, sparsity: float) -> dict[str, JsonValue]:
    """Return the keys `sparsity` and `schedule` of the entry in which every pruned layer has its level.

    The form depends on the levels alone, so searches over blocks and over single layers share their trials: uniform if
    all layers agree, otherwise `blocks` if the layers of every block agree, otherwise `layers` if every layer has the
    same level in all its blocks, otherwise `block_layers`. Levels equal to the sparsity are left out.

    Args:
        levels: level of every layer in the scope.
        sparsity: of the variant if its layers differ.
    """
    distinct = set(levels.values())
    if len(distinct) == 1:
        return {"sparsity": distinct.pop()}
    schedule: dict[str, JsonValue] = {}
    by_block = _shared((block, level) for (block, _), level in levels.items())
    by_layer = _shared((layer, level) for (_, layer), level in levels.items())
    if by_block is not None:
        schedule["blocks"] = {str(block): level for block, level in by_block.items() if level != sparsity}
    elif by_layer is not None:
        schedule["layers"] = {layer: level for layer, level in by_layer.items() if level != sparsity}
    else:
        schedule["block_layers"] = {
            f"{block}.{layer}": level for (block, layer), level in levels.items() if level != sparsity
        }
    return {"sparsity": sparsity, "schedule": schedule}


def _shared(pairs: Iterable[tuple[Key, float]]) -> dict[Key, float] | None:
    """Return the level of each key; None if a key has several."""
    shared: dict[Key, float] = {}
    for key, level in pairs:
        if shared.setdefault(key, level) != level:
            return None
    return shared


def trial_entry(spec: SearchSpec, point: Point, *, name: str | None = None) -> VariantConfig:
    """Return the variant entry of a point: the trial has the id of the same entry written by hand.

    Args:
        name: of the entry; None for trials, to which nothing refers.
    Raises:
        RecipeError: no variant has the values of the point.
    """
    return _variant(spec, _entry(spec, point), name=name)


def with_schedule(spec: SearchSpec, point: Point, kind: str, *, name: str | None = None) -> VariantConfig:
    """Return the entry of a point with its sparsity and another schedule at its defaults, such as `owl`.

    Raises:
        RecipeError: the schedule is impossible for the point, such as owl for a score without demonstrations.
    """
    return _variant(spec, {**_entry(spec, point), "schedule": {"kind": kind}}, name=name)


def _entry(spec: SearchSpec, point: Point) -> dict[str, object]:
    entry = with_keys(spec.base, spec.space.values(point))
    of_units = spec.space.unit_levels(point)
    if spec.units is None:
        return entry
    if spec.removes is not None:
        return entry | spec.removes.without(unit for unit, level in of_units.items() if level)
    levels = {layer: of_units[unit] for layer, unit in spec.units.unit_of_layer.items()}
    return entry | level_keys(levels, sparsity=_sparsity(spec, point))


def block_contents(spec: SearchSpec, point: Point) -> dict[int, tuple[float, ...]]:
    """Return what determines the masks of each pruned block, in the order of the blocks; empty without units.

    Equal contents have equal masks; they can be sorted.
    """
    if spec.units is None:
        return {}
    of_units, axes = spec.space.unit_levels(point), point[: len(spec.space.axes)]
    contents: dict[int, tuple[float, ...]] = {}
    for (block, _), unit in sorted(spec.units.unit_of_layer.items()):
        contents[block] = (*contents.get(block, axes), of_units[unit])
    return contents


def _sparsity(spec: SearchSpec, point: Point) -> float:
    """Return the sparsity of the units, weighted by their weights: the total, or rounded to `SPARSITY_DIGITS`."""
    units, sparsity = spec.space.units, spec.space.sparsity(point)
    assert units is not None
    assert sparsity is not None, "the space has levels"
    if units.total is not None and isclose(sparsity, units.total, rel_tol=0, abs_tol=1e-9):
        return units.total
    return round(sparsity, SPARSITY_DIGITS)


def _variant(spec: SearchSpec, entry: Mapping[str, object], *, name: str | None) -> VariantConfig:
    try:
        return VariantConfig.model_validate(entry if name is None else {**entry, "name": name})
    except ValueError as err:
        reason = " ".join(str(err).split())
        raise RecipeError("a point of a search is not a variant", search=spec.name, got=entry, reason=reason) from err


@dataclass(frozen=True)
class SearchInputs:
    """What the batches of all searches of a recipe are planned from."""

    recipe: Recipe
    """With the resolved device and dtype, and without the entries whose schedule is a winner."""
    inputs: Inputs
    sets: DemonstrationPlan
    given: Recipe
    """The whole recipe."""

    def derived(
        self, entries: Sequence[VariantConfig], evaluations: Iterable[EvaluationConfig]
    ) -> tuple[Recipe, Mapping[str, PlannedVariant]]:
        """Return the recipe with other variants and evaluations, without everything that reads them, and its variants.

        These are planned, and have dense.
        """
        no_more = dict.fromkeys(("baselines", "questions", "searches"), ())
        update = {**no_more, "variants": tuple(entries), "evaluations": tuple(evaluations), "n_excluded": 0}
        recipe = self.recipe.model_copy(update=update)
        return recipe, plan_variants(recipe, self.inputs, self.sets.by_profile)


@dataclass(frozen=True)
class PlannedPart:
    """A derived recipe with what is planned of it."""

    recipe: Recipe
    variants: Mapping[str, PlannedVariant]
    """Id -> variant, with the dense one."""
    evaluations: Mapping[str, tuple[EvaluationSpec, ...]]
    """Variant id -> its evaluations."""
    jobs: tuple[Job, ...]
    """The jobs of the variants that are not known, and of all evaluations."""


def plan_part(
    common: SearchInputs,
    spec: SearchSpec,
    entries: Sequence[VariantConfig],
    *,
    evaluations: Sequence[EvaluationConfig],
    is_known: Callable[[str], bool],
) -> PlannedPart:
    """Plan some entries and evaluations of a search as a recipe of their own.

    Args:
        is_known: whether a variant is in the store or is made by another job of the plan.
    """
    derived, variants = common.derived(entries, evaluations)
    specs = plan_evaluations(derived, common.inputs, variants)
    missing = {key: variant for key, variant in variants.items() if variant.is_dense or not is_known(key)}
    observed = all_observations(derived, common.inputs, (), missing)
    keeps_states = spec.removes is not None and not spec.removes.are_blocks
    jobs = (
        *(job for observation in observed for job in observation.jobs),
        *trial_jobs(derived, common.inputs, missing, levels=levels_of(spec)),
        *described_items(evaluation for of_variant in specs.values() for evaluation in of_variant),
        *evaluation_jobs(derived, variants, specs, share_blocks=keeps_states),
    )
    return PlannedPart(derived, variants, specs, jobs)


def levels_of(spec: SearchSpec) -> tuple[float, ...]:
    """Return the sparsities that the layers of a search's trials can have, from which its trials are composed."""
    if spec.removes is not None:
        return ()
    axes = {axis.name: axis.values for axis in spec.space.axes}
    of_trials = axes.get("sparsity", (spec.base.get("sparsity"),))
    levels = {float(level) for level in of_trials if isinstance(level, int | float) and level > 0}
    return tuple(sorted(levels | set(() if spec.space.units is None else spec.space.units.levels)))
