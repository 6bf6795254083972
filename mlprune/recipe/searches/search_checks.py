"""Checks of searches against the sections whose evaluations they measure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from pydantic_core import PydanticCustomError

from mlprune.languages import ENGLISH, pair_languages, resource_class_of, script_of
from mlprune.recipe.demonstrations import DemonstrationConfig
from mlprune.recipe.evaluations import EvaluationConfig, evaluations_of_task, require_split, require_task
from mlprune.recipe.questions import evaluated_languages
from mlprune.recipe.searches.search import SearchConfig
from mlprune.recipe.trials import check_sets
from mlprune.search.objective import RANK_CONSISTENCY, Group, Measure
from mlprune.strict_model import unknown_name
from mlprune.vocabulary import OF_A_RECIPE, TASK_TRAITS, TaskReads, computable_metrics, is_higher_better

DEFAULT_METRICS: Mapping[TaskReads, str] = {
    "candidates": "accuracy",
    "sentences": "perplexity",
    "pairs": "chrf",
    "questions": "exact_match",
}
"""Metric of a measure that names none, by what its task reads."""
Evaluations = Sequence[EvaluationConfig]


class Measured(NamedTuple):
    """A measure of a search with its task and metric."""

    task: str
    metric: str
    group: Group
    key: str
    """Key of the search that contains it, for messages."""


def measured(search: SearchConfig, evaluations: Evaluations) -> tuple[Measured, ...]:
    """Return the measures of the objective and the constraints, with their tasks and metrics.

    Raises:
        ValueError: a measure names no task, and the evaluations on the split have several.
        PydanticCustomError: a task or metric is unknown, with a key below the search.
    """
    in_constraints = [measure for bound in search.constraints for measure in bound.measures]
    keys = dict.fromkeys(in_constraints, "where") | dict.fromkeys(search.objective.measures, search.direction)
    return tuple(_measured(measure, search, evaluations, key=key) for measure, key in keys.items())


def default_metric(task: str) -> str:
    """Return the metric of a measure that names none."""
    return DEFAULT_METRICS[_reads(task)]


def check_measured(measure: Measured, evaluations: Evaluations, *, split: str) -> None:
    """Check that the evaluations on a split have what a measure reads.

    Raises:
        ValueError: the group has no evaluated language, or the metric has no value in it.
        PydanticCustomError: a language is unknown, with a key below the search.
    """
    task, metric, group, key = measure
    languages = [name for entry in evaluations for name in evaluated_languages(entry)]
    languages = list(dict.fromkeys(languages))
    where = f"task {task} on split {split}"
    if metric == RANK_CONSISTENCY:
        if ENGLISH not in languages:
            raise ValueError(f"{where} has no English, with which {metric} compares the other languages")
        if group.kind == "language" and group.name == ENGLISH:
            raise ValueError(f"{metric} compares other languages with English, and English has no value")
        languages.remove(ENGLISH)
    if group.kind == "language" and group.name not in languages:
        raise unknown_name(f"language of {where}", group.name, languages, key=key)
    if not _languages_in(group, languages, reads=_reads(task)):
        raise ValueError(f"{where} has no language of the group {group}, only {', '.join(languages)}")


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
    known = [*computable_metrics(task), *([RANK_CONSISTENCY] if _reads(task) == "candidates" else [])]
    metric = measure.metric or default_metric(task)
    if metric not in known:
        raise unknown_name(f"metric of task {task}", metric, known, key=key)
    return Measured(task, metric, measure.group, key)


def _only_task(search: SearchConfig, evaluations: Evaluations) -> str:
    require_split(search.split, evaluations, key="split")
    tasks = list(dict.fromkeys(entry.task for entry in evaluations if entry.split == search.split))
    if len(tasks) > 1:
        raise ValueError(f"the evaluations on split {search.split} have several tasks: add task, one of {tasks}")
    return tasks[0]


def _reads(task: str) -> TaskReads:
    return TASK_TRAITS.get(task, OF_A_RECIPE).reads


def _languages_in(group: Group, languages: Sequence[str], *, reads: TaskReads) -> list[str]:
    """Return the languages, or pairs, of a group. English is in no script and no resource class."""
    mains = {name: _other_side(name) if reads == "pairs" else name for name in languages}
    outside = [name for name in languages if mains[name] != ENGLISH]
    if group.kind == "language":
        return [name for name in languages if name == group.name]
    if group.kind == "script":
        return [name for name in outside if script_of(mains[name]) == group.name]
    if group.kind == "resource_class":
        return [name for name in outside if str(resource_class_of(mains[name])) == group.name]
    return outside if group.kind == "outside_english" else list(languages)


def _other_side(pair: str) -> str:
    """Return the language of a pair that places it in a group: the language other than English."""
    source, target = pair_languages(pair)
    return target if source == ENGLISH else source


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
