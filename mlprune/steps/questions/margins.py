"""Margins of questions against the room that they leave: the distance between the dense model and chance."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from mlprune.json_values import JsonObject, as_float
from mlprune.steps.compare.differences import CompareJob
from mlprune.steps.questions.answers import BINARY
from mlprune.steps.questions.asked import PlannedQuestion, evaluations_of
from mlprune.steps.tasks.evaluation import EvaluationSpec, task_data
from mlprune.steps.tasks.stored_items import guessing
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.store.store import Store

LARGEST_SHARE = 0.5
"""Share of the distance between dense and chance above which a margin is called large."""


def dense_evaluations(comparisons: Iterable[CompareJob], dense: Iterable[str]) -> dict[TaskSpec, EvaluationSpec]:
    """Return task -> evaluation of a dense model, of the comparisons with one."""
    ids = frozenset(dense)
    return {baseline.task: baseline for job in comparisons if job.baseline_id in ids for _, baseline in job.pairs}


def room_of(question: PlannedQuestion, store: Store, dense: Mapping[TaskSpec, EvaluationSpec]) -> float | None:
    """Return the mean distance between dense and chance over the languages of a question; None without chance levels.

    Where dense was not evaluated yet, its accuracy is at most 1.
    """
    tasks = [evaluation.task for evaluation in evaluations_of(question, question.comparisons[0])]
    rooms = [_room(task, store, dense.get(task), metric=question.criterion.metric) for task in tasks]
    known = [room for room in rooms if room is not None]
    return fmean(known) if known and len(known) == len(rooms) else None


def _room(task: TaskSpec, store: Store, dense: EvaluationSpec | None, *, metric: str) -> float | None:
    record = None if dense is None else store.read_record(*dense.identity.key)
    rows: Sequence[JsonObject] = () if record is None else record.rows.get("metrics", ())
    for row in rows:
        if row["metric"] == metric:
            return None if row.get("chance") is None else abs(as_float(row["value"]) - as_float(row["chance"]))
    if metric not in BINARY:
        return None
    chance = guessing(task_data(task).items, has_labels=task.definition.has_labels).chance
    return None if chance is None else 1 - chance


def is_large(margin: float | None, room: float | None) -> bool:
    """Whether a margin is above half of the distance between dense and chance."""
    return margin is not None and room is not None and margin > LARGEST_SHARE * room
