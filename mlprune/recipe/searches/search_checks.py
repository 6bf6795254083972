"""Checks of searches and sensitivity analyses against the other sections: names, sets, and evaluations of splits."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from pydantic_core import PydanticCustomError

from mlprune.recipe.base import unknown_name
from mlprune.recipe.demonstrations import DemonstrationConfig
from mlprune.recipe.evaluations import EvaluationConfig
from mlprune.recipe.searches.measures import (
    check_direction,
    check_measured,
    evaluations_of_task,
    measured,
    require_split,
    require_task,
)
from mlprune.recipe.searches.search import SearchConfig

SET_KEYS = ("demonstrations", "over", "contrast")
"""Keys of a trial that name demonstration sets."""
Space = Mapping[str, Sequence[object]]
"""Key -> values."""


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
        names = [search.name, *(f"{search.name}-{comparator}" for comparator in search.compare)]
        for name in names:
            if name in taken:
                raise ValueError(f"{where}: another entry has the name {name!r}, which the search gives to a variant")
        taken += names
        check_sets(search.base, search.space, sets, where=where)
        _check_evaluations(search, evaluations, where=where)


def check_sets(base: Mapping[str, object], space: Space, sets: Sequence[DemonstrationConfig], *, where: str) -> None:
    """Check the names of demonstration sets in a base and in the values of a space: every variant reads one set, or one
    group of sets.

    Raises:
        ValueError: a name stands for several sets, or sets that are read together for several groups.
        PydanticCustomError: a name is unknown.
    """
    known = sorted({entry.name for entry in sets})
    for key in SET_KEYS:
        of_base = [(f"base.{key}", base[key])] if base.get(key) is not None else []
        for path, value in (*of_base, *((f"space.{key}", value) for value in space.get(key, ()))):
            names = [str(name) for name in value] if isinstance(value, list | tuple) else [str(value)]
            for name in names:
                if name not in known:
                    raise unknown_name(f"name in {key}", name, known, key=f"{where}.{path}")
            seeds = [entry.seed for entry in sets if entry.name in names]
            n_groups = len(set(seeds)) if key == "over" else len(seeds)
            if n_groups > 1:
                kind = "sets of one seed" if key == "over" else "one set"
                got = f"{' and '.join(names)} with {n_groups} {'seeds' if key == 'over' else 'sets'}"
                raise ValueError(f"{where}.{path}: every trial is one variant, which reads {kind}, got {got}")


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
