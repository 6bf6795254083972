"""Step `items`: store the items of each evaluated task, language and split, and describe them in a catalog row.

The texts make flipped answers readable, and the clusters make them countable, without the files of the task.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mlprune.evaluation.tasks.item_groups import clusters_of
from mlprune.evaluation.tasks.items import ChoiceItem, TranslationItem
from mlprune.evaluation.tasks.task_files import Item
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.task_items import task_data
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.items.identity import items_identity
from mlprune.steps.items.task_row import task_row
from mlprune.steps.job import ChainLoader, Identity, RecordKey
from mlprune.steps.small_job import SmallJob
from mlprune.store.store import Store

CHOICE_SCHEMA = {
    "example_id": "string",
    "candidate_index": "int32",
    "candidate": "string",
    "text": "string",
    "is_gold": "bool",
    "cluster": "string",
    "category": "string",
}
"""Columns of the items of a task with candidates, one row per candidate; a sentence is its own only candidate."""
PAIR_SCHEMA = dict.fromkeys(("example_id", "source", "reference", "cluster", "category"), "string")
"""Columns of the items of translation, one row per sentence."""


@dataclass(frozen=True)
class ItemsJob(SmallJob):
    """Store the items of one task, language and split."""

    step: ClassVar[str] = "items"
    task: TaskSpec

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """None."""
        return ()

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the items, then the record."""
        write_items(store, self.identity, self.task)


def write_items(store: Store, identity: Identity, task: TaskSpec) -> None:
    """Store the items of a task."""
    items = task_data(task).items
    columns = _pair_columns(items) if task.sides else _choice_columns(items)
    artefact = store.write_table(f"items/{identity.id}.parquet", columns, PAIR_SCHEMA if task.sides else CHOICE_SCHEMA)
    row = task_row(identity.id, task, items)
    store.write_record(identity.record(artefacts=(artefact,), rows={"tasks": [row]}))


def write_missing_items(store: Store, evaluations: Iterable[EvaluationSpec]) -> None:
    """Store the items of evaluations if they are not stored, so that every evaluation refers to a row of `tasks`.

    Usually step `items` has done so before. Two processes may write the same items: they write the same bytes.
    """
    for job in item_jobs(evaluations):
        if not store.has_record(*job.identity.key):
            write_items(store, job.identity, job.task)


def item_jobs(evaluations: Iterable[EvaluationSpec]) -> list[ItemsJob]:
    """Return one job for each task, language and split that is evaluated."""
    jobs: dict[str, ItemsJob] = {}
    for evaluation in evaluations:
        identity = items_identity(evaluation.task, evaluation.identity.contents)
        jobs.setdefault(identity.id, ItemsJob(identity, evaluation.task))
    return list(jobs.values())


def _choice_columns(items: Sequence[Item]) -> dict[str, list[object]]:
    choices = [item for item in items if isinstance(item, ChoiceItem)]
    rows = [
        (item.example_id, index, candidate, text, index == item.gold, cluster, item.category)
        for item, cluster in zip(choices, clusters_of(choices), strict=True)
        for index, (candidate, text) in enumerate(zip(item.candidates, item.texts, strict=True))
    ]
    return _columns(CHOICE_SCHEMA, rows)


def _pair_columns(items: Sequence[Item]) -> dict[str, list[object]]:
    pairs = [item for item in items if isinstance(item, TranslationItem)]
    rows = [
        (item.example_id, item.source, item.reference, cluster, item.category)
        for item, cluster in zip(pairs, clusters_of(pairs), strict=True)
    ]
    return _columns(PAIR_SCHEMA, rows)


def _columns(schema: Iterable[str], rows: Sequence[Sequence[object]]) -> dict[str, list[object]]:
    return {name: [row[place] for row in rows] for place, name in enumerate(schema)}
