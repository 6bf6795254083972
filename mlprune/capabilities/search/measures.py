"""Measures of searches with their tasks and metrics, and what the evaluations need for them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mlprune.capabilities.search.strategy.objective import RANK_CONSISTENCY, Group, Measure
from mlprune.languages import ENGLISH, pair_languages, resource_class_of, script_of
from mlprune.recipe.evaluations import EvaluationConfig, has_metric
from mlprune.recipe.questions import evaluated_languages
from mlprune.strict_model import unknown_name
from mlprune.vocabulary import METRIC_TRAITS, OF_A_RECIPE, TASK_TRAITS, TaskReads, computable_metrics

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


def default_metric(task: str) -> str:
    """Return the metric of a measure that names none."""
    return DEFAULT_METRICS[_reads(task)]


def completed(measure: Measure, task: str, *, key: str) -> Measured:
    """Return a measure with its task and metric.

    Args:
        key: of the search that contains it.
    Raises:
        PydanticCustomError: the metric is unknown, with the key.
    """
    known = [*computable_metrics(task), *([RANK_CONSISTENCY] if _reads(task) == "candidates" else [])]
    metric = measure.metric or default_metric(task)
    if metric not in known:
        raise unknown_name(f"metric of task {task}", metric, known, key=key)
    return Measured(task, metric, measure.group, key)


def check_measured(measure: Measured, evaluations: Evaluations, *, split: str) -> None:
    """Check that the evaluations on a split have what a measure reads.

    Raises:
        ValueError: the group has no evaluated language, or the metric has no value in it.
        PydanticCustomError: a language is unknown, with a key below the search.
    """
    task, metric, group, key = measure
    if not all(has_metric(entry, metric) for entry in evaluations):
        raise ValueError(f"{metric} needs {METRIC_TRAITS[metric].key}: true in the evaluations of task {task}")
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
