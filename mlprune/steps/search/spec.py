"""Specification of a search: everything that determines its trials, its measures, and how its winner is compared."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mlprune.hashing import without_defaults
from mlprune.json_values import JsonObject, JsonValue
from mlprune.methods import Parameters
from mlprune.recipe import EvaluationConfig
from mlprune.search.method import Budget, SearchMethod, Settings
from mlprune.search.objective.expression import Constraint, Expression
from mlprune.search.objective.measure import Measure
from mlprune.search.registry import SEARCH_METHODS, build_method
from mlprune.search.space import Space
from mlprune.steps.search.model_units import ModelUnits
from mlprune.vocabulary import ComparatorName, DirectionName

REUSES_ITEMS = False
"""Whether a trial at a higher rung scores only the items that it was not scored on at the rung below."""


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
    """The pruned layers and the unit of each; None for a space without levels."""
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
