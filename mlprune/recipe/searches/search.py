"""Section `searches` of a recipe: what is tried, by which method, and measured."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from mlprune.errors import RecipeError
from mlprune.methods import Parameters
from mlprune.recipe.base import EntryName, RegisteredName, Seed
from mlprune.recipe.options import check_owners, chosen_parameters, with_options
from mlprune.recipe.searches.points import LevelsConfig, check_axes, check_points
from mlprune.recipe.trials import check_base
from mlprune.search.objective import Constraint, Expression
from mlprune.search.objective_parser import parse_constraint, parse_objective
from mlprune.search.registry import SEARCH_METHODS
from mlprune.strict_model import Model, as_tuple, distinct_values, with_context
from mlprune.vocabulary import ComparatorName, DirectionName

_METHOD = RegisteredName("search method", tuple(SEARCH_METHODS))
MethodName = Annotated[str, AfterValidator(_METHOD), Field(title=_METHOD.title)]


class BudgetConfig(Model):
    """When a search ends; one of both keys."""

    variants: Annotated[int, Field(ge=1)] | None = None
    """Most variants that are evaluated."""
    items: Annotated[int, Field(ge=1)] | None = None
    """Most items that are scored, summed over tasks and languages. `mlprune plan` converts it to time."""

    @model_validator(mode="after")
    def _has_one_key(self) -> "BudgetConfig":
        if (self.variants is None) == (self.items is None):
            raise ValueError("a budget is a number of variants or of items, one of both")
        return self


class SearchMethodFields(Model):
    """How trials are chosen. `method: random` is short for `method: {kind: random}`."""

    kind: MethodName = "random"
    """Search method."""

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: object) -> object:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _options_fit_kind(self) -> "SearchMethodFields":
        check_owners(self, "method", SEARCH_METHODS, self.kind)
        return self

    @property
    def parameters(self) -> Parameters:
        """The parameters of the method."""
        return chosen_parameters(self, SEARCH_METHODS[self.kind])


if TYPE_CHECKING:

    class SearchMethodConfig(SearchMethodFields):
        """`SearchMethodFields` with a key for every parameter of a method."""

else:
    SearchMethodConfig = with_options("SearchMethodConfig", SearchMethodFields, method=SEARCH_METHODS)


def _check_objective(text: str) -> str:
    try:
        return str(parse_objective(text))
    except RecipeError as err:
        raise with_context(err) from err


Objective = Annotated[str, AfterValidator(_check_objective), Field(title="objective")]


def _check_constraint(text: str) -> str:
    try:
        return str(parse_constraint(text))
    except RecipeError as err:
        raise with_context(err) from err


ConstraintText = Annotated[str, AfterValidator(_check_constraint), Field(title="constraint")]


class SearchConfig(Model):
    """One search: an objective over a space of variants, a method, a budget and a seed."""

    name: EntryName
    """Name of the search, unique among all entries."""
    base: Annotated[Mapping[str, object], AfterValidator(check_base), Field(title="keys of an entry of `variants`")]
    """What all trials have in common. Lists do not multiply out; the demonstrations are one set."""
    space: Annotated[
        Mapping[str, tuple[object, ...]],
        AfterValidator(check_axes),
        Field(title="mapping of keys of an entry of `variants` to lists of values"),
    ] = {}
    """Keys that the search varies; `schedule.spread` is the key `spread` of `schedule`."""
    levels: LevelsConfig | None = None
    """Sparsities of single blocks or layers that the search varies; needs a base with `propagation: dense` if its score
    reads demonstrations."""
    maximise: Objective | None = None
    """Expression of which the highest value wins, such as `outside_english - 0.1 * kept`; this or `minimise`."""
    minimise: Objective | None = None
    """Expression of which the lowest value wins, such as `perplexity(all)`."""
    where: Annotated[tuple[ConstraintText, ...], BeforeValidator(as_tuple)] = ()
    """Constraints on the values of a trial, such as `english >= dense - 0.01`."""
    task: str | None = None
    """Task of measures that name none (the only task of the evaluations on `split`)."""
    split: Annotated[str, Field(min_length=1)] = "dev"
    """Split of the evaluations on which trials are compared."""
    report_on: Annotated[str, Field(min_length=1)] = "test"
    """Split of the evaluations of the winner; it shares no items with `split`."""
    method: SearchMethodConfig = SearchMethodConfig()
    """How trials are chosen."""
    rungs: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Items per language on which trials are compared before the remaining ones get all items; ascending."""
    batch: Annotated[int, Field(ge=1)] = 8
    """Trials that are chosen at a time, and that run in parallel."""
    budget: BudgetConfig | None = None
    """When the search ends; `exhaustive` can do without."""
    seed: Seed = 0
    """Seed of the method."""
    compare: Annotated[tuple[ComparatorName, ...], BeforeValidator(as_tuple)] = ("uniform", "owl")
    """What the winner is compared with on `report_on`, at its sparsity: `uniform` sparsity, schedules `owl`, `dlp` and
    `alpha_pruning` at their defaults, and the winner of a `random` search of the same budget."""

    @field_validator("compare")
    @classmethod
    def _comparators_are_distinct(cls, value: tuple[ComparatorName, ...]) -> tuple[ComparatorName, ...]:
        return distinct_values(value) if value else value

    @model_validator(mode="after")
    def _has_one_objective(self) -> "SearchConfig":
        if (self.maximise is None) == (self.minimise is None):
            given = "both" if self.maximise else "none"
            raise ValueError(f"a search has maximise or minimise, one of both, got {given}")
        return self

    @model_validator(mode="after")
    def _measures_something(self) -> "SearchConfig":
        if not (self.objective.measures or any(bound.measures for bound in self.constraints)):
            raise ValueError("a search measures a group of languages: add one to the objective or the constraints")
        return self

    @model_validator(mode="after")
    def _splits_differ(self) -> "SearchConfig":
        if self.split == self.report_on:
            raise ValueError(f"report_on is another split than the one of the choice, got {self.split!r} for both")
        return self

    @model_validator(mode="after")
    def _rungs_fit_method(self) -> "SearchConfig":
        if list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError(f"rungs are different and ascend, got {list(self.rungs)}")
        with_rungs = [name for name, method in SEARCH_METHODS.items() if method.uses_rungs]
        if self.rungs and self.method.kind not in with_rungs:
            raise ValueError(f"method {self.method.kind} has no rungs, only {', '.join(with_rungs)}")
        if not self.rungs and SEARCH_METHODS[self.method.kind].asks_whole_rungs:
            raise ValueError(f"method {self.method.kind} needs rungs, such as [64, 256, 1024]")
        return self

    @model_validator(mode="after")
    def _budget_fits_method(self) -> "SearchConfig":
        if self.budget is None and self.method.kind != "exhaustive":
            raise ValueError(f"method {self.method.kind} needs a budget, such as {{variants: 60}}")
        if "random" in self.compare and self.method.kind in ("random", "exhaustive"):
            raise ValueError(f"compare random needs another method than {self.method.kind}, which finds what it finds")
        return self

    @model_validator(mode="after")
    def _space_has_points(self) -> "SearchConfig":
        check_points(self.base, self.space, self.levels)
        return self

    @property
    def direction(self) -> DirectionName:
        """Whether the highest or the lowest value wins."""
        return "minimise" if self.maximise is None else "maximise"

    @property
    def objective(self) -> Expression:
        """The parsed objective."""
        return parse_objective(self.maximise or self.minimise or "")

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The parsed constraints."""
        return tuple(parse_constraint(text) for text in self.where)
