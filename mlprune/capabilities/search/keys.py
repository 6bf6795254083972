"""The section `searches` of a recipe: what is tried, by which method, and measured, with its checks."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from mlprune.capabilities.search.measures import Evaluations, Measured, check_measured, completed
from mlprune.capabilities.search.points import LevelsConfig, check_axes, check_points
from mlprune.capabilities.search.removal import check_removal
from mlprune.capabilities.search.strategy.objective import Constraint, Expression, Measure
from mlprune.capabilities.search.strategy.objective_parser import parse_constraint, parse_objective
from mlprune.capabilities.search.strategy.registry import SEARCH_METHODS
from mlprune.errors import RecipeError
from mlprune.methods import Parameters
from mlprune.recipe.base import EntryName, RegisteredName, Seed, names_of
from mlprune.recipe.demonstrations import DemonstrationConfig
from mlprune.recipe.evaluations import EvaluationConfig, evaluations_of_task, require_split, require_task
from mlprune.recipe.names import KeysOf
from mlprune.recipe.options import check_owners, chosen_parameters, with_options
from mlprune.recipe.questions import QuestionConfig
from mlprune.recipe.trials import check_base, check_sets, fewer_samples, with_fewer_samples
from mlprune.recipe.variants import VariantConfig
from mlprune.strict_model import Model, as_tuple, distinct_values, unknown_name, with_context
from mlprune.vocabulary import is_higher_better

DirectionName = Literal["maximise", "minimise"]
ComparatorName = Literal["uniform", "owl", "dlp", "alpha_pruning", "random"]
"""What the winner of a search is compared with."""
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


def _checked(parse: Callable[[str], object]) -> AfterValidator:
    """Return a validator that writes what a text is parsed to."""

    def check(text: str) -> str:
        try:
            return str(parse(text))
        except RecipeError as err:
            raise with_context(err) from err

    return AfterValidator(check)


Objective = Annotated[str, _checked(parse_objective), Field(title="objective")]
ConstraintText = Annotated[str, _checked(parse_constraint), Field(title="constraint")]


class SearchConfig(Model):
    """One search: an objective over a space of variants, a method, a budget and a seed."""

    name: EntryName
    """Name of the search, unique among all entries."""
    base: Annotated[
        Mapping[str, object],
        KeysOf(VariantConfig),
        AfterValidator(check_base),
        Field(title="keys of an entry of `variants`"),
    ]
    """What all trials have in common. Lists do not multiply out; the demonstrations are one set."""
    space: Annotated[
        Mapping[str, tuple[object, ...]],
        KeysOf(VariantConfig, lists=True),
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
    """When the search ends; `exhaustive` and `one_by_one` can do without."""
    seed: Seed = 0
    """Seed of the method."""
    compare: Annotated[tuple[ComparatorName, ...], BeforeValidator(as_tuple)] = ("uniform", "owl")
    """What the winner is compared with on `report_on`, at its sparsity: `uniform` sparsity, schedules `owl`, `dlp` and
    `alpha_pruning` at their defaults, and the winner of a `random` search of the same budget."""

    def shrunk(self, n: int) -> "SearchConfig":
        """Return the search with at most `n` demonstrations and variants, or one round, and its rungs below `n`."""
        removes_units = SEARCH_METHODS[self.method.kind].removes_units
        n_variants = min(self.budget.variants or n, n) if self.budget else n
        method = self.method.model_copy(update={"units": 1}) if removes_units else self.method
        space = {key: fewer_samples(values, n) if key == "samples" else values for key, values in self.space.items()}
        return self.model_copy(
            update={
                "base": with_fewer_samples(self.base, n),
                "space": space,
                "method": method,
                "budget": None if removes_units else BudgetConfig(variants=n_variants),
                "rungs": tuple(rung for rung in self.rungs if rung < n),
            }
        )

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
        removes_units = SEARCH_METHODS[self.method.kind].removes_units
        if self.budget is None and self.method.kind != "exhaustive" and not removes_units:
            raise ValueError(f"method {self.method.kind} needs a budget, such as {{variants: 60}}")
        if removes_units and "compare" in self.model_fields_set and self.compare:
            raise ValueError(f"method {self.method.kind} compares the winner with dense alone: leave compare out")
        if "random" in self.compare and self.method.kind in ("random", "exhaustive"):
            raise ValueError(f"compare random needs another method than {self.method.kind}, which finds what it finds")
        return self

    @model_validator(mode="after")
    def _space_has_points(self) -> "SearchConfig":
        if SEARCH_METHODS[self.method.kind].removes_units:
            check_removal(self.base, sets_nothing_else=not self.space and self.levels is None)
        else:
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


def searched_entries(variants: Iterable[VariantConfig], search: str | None = None) -> tuple[VariantConfig, ...]:
    """Return the entries with schedule search, of one search or of all."""
    entries = (entry for entry in variants if entry.schedule.kind == "search")
    return tuple(entry for entry in entries if search in (None, entry.schedule.source))


def check_searched_schedules(
    variants: Sequence[VariantConfig],
    searches: Sequence[SearchConfig],
    questions: Sequence[QuestionConfig],
    *,
    names: Iterable[str],
) -> None:
    """Check the entries with schedule search, and that nothing reads them before the search has finished.

    Args:
        names: of the entries that baselines and analyses read.
    Raises:
        ValueError: the search has no levels or another total, or something else names such an entry.
        PydanticCustomError: there is no such search.
    """
    by_name = {search.name: search for search in searches}
    for index, entry in enumerate(variants):
        source = entry.schedule.source
        if entry.schedule.kind != "search" or source is None:
            continue
        where = f"variants.{index}.schedule"
        if source not in by_name:
            raise unknown_name("search", source, sorted(by_name), key=f"{where}.from")
        levels = by_name[source].levels
        if levels is None:
            raise ValueError(f"{where}: search {source} has no levels that a schedule could have; give it levels")
        if None not in (entry.sparsity, levels.total) and entry.sparsity != levels.total:
            raise ValueError(f"{where}: search {source} has total {levels.total}, got sparsity {entry.sparsity}")
    late = {entry.name for entry in searched_entries(variants) if entry.name}
    asked = (name for question in questions for name in (question.variants, question.against.name))
    read = (name for entry in variants for name in (*entry.of, *names_of(entry.against)))
    for name in (*read, *asked, *names):
        if name in late:
            raise ValueError(f"{name} has the schedule of a search, and only evaluations can name it")


def check_searches(
    searches: Sequence[SearchConfig],
    evaluations: Sequence[EvaluationConfig],
    *,
    sets: Sequence[DemonstrationConfig],
    entries: Collection[str],
) -> None:
    """Check all searches of a recipe.

    Args:
        sets: the demonstration sets.
        entries: names of the other entries that make variants.
    Raises:
        ValueError: a name is taken, or a split lacks something that is measured.
        PydanticCustomError: a name is unknown.
    """
    taken = list(entries)
    for index, search in enumerate(searches):
        where = f"searches.{index}"
        compared = () if SEARCH_METHODS[search.method.kind].removes_units else search.compare
        names = [search.name, *(f"{search.name}-{comparator}" for comparator in compared)]
        for name in names:
            if name in taken:
                raise ValueError(f"{where}: another entry has the name {name!r}, which the search gives to a variant")
        taken += names
        check_sets(search.base, search.space, sets, where=where)
        _check_evaluations(search, evaluations, where=where)


def measured(search: SearchConfig, evaluations: Evaluations) -> tuple[Measured, ...]:
    """Return the measures of the objective and the constraints, with their tasks and metrics.

    Raises:
        ValueError: a measure names no task, and the evaluations on the split have several.
        PydanticCustomError: a task or metric is unknown, with a key below the search.
    """
    in_constraints = [measure for bound in search.constraints for measure in bound.measures]
    keys = dict.fromkeys(in_constraints, "where") | dict.fromkeys(search.objective.measures, search.direction)
    return tuple(_measured(measure, search, evaluations, key=key) for measure, key in keys.items())


def _check_evaluations(search: SearchConfig, evaluations: Sequence[EvaluationConfig], *, where: str) -> None:
    """Check that both splits are evaluated as the objective and the constraints need it."""
    try:
        _check_splits(search, evaluations)
        check_direction(search, evaluations)
    except PydanticCustomError as err:
        what, got, known, key = ((err.context or {})[name] for name in ("what", "got", "known", "key"))
        raise unknown_name(what, got, known, key=f"{where}.{key}") from err
    except ValueError as err:
        raise ValueError(f"{where}: {err}") from err


def _check_splits(search: SearchConfig, evaluations: Sequence[EvaluationConfig]) -> None:
    if search.task is not None:
        require_task(search.task, evaluations, key="task")
    for measure in measured(search, evaluations):
        for key in ("split", "report_on"):
            split = getattr(search, key)
            require_split(split, evaluations, key=key, task=measure.task)
            of_task = evaluations_of_task(evaluations, measure.task, split=split)
            check_measured(measure, of_task, split=split)
            if key == "split":
                _check_rungs(search, of_task)


def _check_rungs(search: SearchConfig, of_task: Iterable[EvaluationConfig]) -> None:
    """Check that every rung has fewer items than the evaluations, which are the last rung."""
    for entry in of_task:
        if entry.limit is not None and search.rungs and search.rungs[-1] >= entry.limit:
            raise ValueError(
                f"rungs are smaller than the limit of the evaluations, which is the last rung: task {entry.task} has "
                f"limit {entry.limit}, got {list(search.rungs)}"
            )


def check_direction(search: SearchConfig, evaluations: Evaluations) -> None:
    """Check that an objective that is a single measure is sought where it is better.

    Raises:
        ValueError: a metric of which lower values are better is maximised, or another one minimised.
    """
    if [str(search.objective)] != [str(measure) for measure in search.objective.measures]:
        return
    metric = measured(search, evaluations)[-1].metric
    better, direction = ("higher", "maximise") if is_higher_better(metric) else ("lower", "minimise")
    if direction != search.direction:
        raise ValueError(f"{better} values of {metric} are better: write {direction}, not {search.direction}")


def _measured(measure: Measure, search: SearchConfig, evaluations: Evaluations, *, key: str) -> Measured:
    task = measure.task or search.task or _only_task(search, evaluations)
    require_task(task, evaluations, key=key if measure.task else "task")
    return completed(measure, task, key=key)


def _only_task(search: SearchConfig, evaluations: Evaluations) -> str:
    require_split(search.split, evaluations, key="split")
    tasks = list(dict.fromkeys(entry.task for entry in evaluations if entry.split == search.split))
    if len(tasks) > 1:
        raise ValueError(f"the evaluations on split {search.split} have several tasks: add task, one of {tasks}")
    return tasks[0]
