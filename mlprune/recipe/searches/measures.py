"""Evaluations that a search measures: the tasks, metrics and languages of its objective and constraints."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mlprune.languages import ENGLISH, pair_languages, resource_class_of, script_of
from mlprune.recipe.base import unknown_name
from mlprune.recipe.evaluations import EvaluationConfig
from mlprune.recipe.questions.question_checks import evaluated_languages
from mlprune.recipe.searches.search import SearchConfig
from mlprune.search.objective.measure import RANK_CONSISTENCY, Group, Measure
from mlprune.vocabulary import OF_A_RECIPE, TASK_TRAITS, TaskReads, computable_metrics, is_higher_better

DEFAULT_METRICS: Mapping[TaskReads, str] = {"candidates": "accuracy", "sentences": "perplexity", "pairs": "chrf"}
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


def evaluations_of_task(evaluations: Evaluations, task: str, *, split: str) -> tuple[EvaluationConfig, ...]:
    """Return the evaluations of a task on a split that a search measures, each with one rule, prompt language, profile
    and seed of shots, and of all variants.

    As for questions, the first evaluation counts, together with those that differ from it in their languages only.
    """
    on_split = [_narrowed(entry) for entry in evaluations if (entry.task, entry.split) == (task, split)]
    return tuple(entry for entry in on_split if _without_languages(entry) == _without_languages(on_split[0]))


def require_task(task: str, evaluations: Evaluations, *, key: str) -> None:
    """Check that a task is evaluated.

    Raises:
        PydanticCustomError: it is not; with its key.
    """
    tasks = list(dict.fromkeys(entry.task for entry in evaluations))
    if task not in tasks:
        raise unknown_name("task: no evaluation of the recipe has it", task, tasks, key=key)


def require_split(split: str, evaluations: Evaluations, *, key: str, task: str | None = None) -> None:
    """Check that something, or a task, is evaluated on a split.

    Raises:
        PydanticCustomError: nothing is; with the key of the split.
    """
    splits = sorted({entry.split for entry in evaluations if task in (None, entry.task)})
    if split not in splits:
        of = "the recipe" if task is None else f"task {task}"
        raise unknown_name(f"split: no evaluation of {of} has it", split, splits, key=key)


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


def _narrowed(entry: EvaluationConfig) -> EvaluationConfig:
    first = {name: getattr(entry, name)[:1] for name in ("rule", "prompt_language", "profile")}
    shot_seed = None if entry.shot_seed is None else entry.shot_seed[:1]
    return entry.model_copy(update={**first, "shot_seed": shot_seed, "variants": ()})


def _without_languages(entry: EvaluationConfig) -> EvaluationConfig:
    return entry.model_copy(update={"languages": (), "pairs": ()})


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
    """Return the language of a pair that places it in a group: the one that is not English."""
    source, target = pair_languages(pair)
    return target if source == ENGLISH else source
