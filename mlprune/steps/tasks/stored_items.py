"""Step `items`: store the items of each evaluated task, and describe them in the catalog.

The texts make flipped answers readable, and the clusters make them countable, without the files of the task.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

from mlprune.evaluation.tasks.items import ChoiceItem, TranslationItem, clusters_of
from mlprune.evaluation.tasks.task_files import Item
from mlprune.json_values import JsonValue
from mlprune.steps.job import ChainLoader, Identity, RecordKey, SmallJob, make_identity
from mlprune.steps.tasks.evaluation import EvaluationSpec, task_data
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.store.store import Store

KIND = "task_items"
CONTENTS = ("items", "groups")
"""Contents of an evaluation that are its items."""
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
"""Columns of the items with generated texts, one row per sentence or question; as in `TranslationItem`."""


def items_identity(task: TaskSpec, contents: Mapping[str, str]) -> Identity:
    """Return the identity of the items of an evaluation, whatever part of them a rescoring kept.

    Args:
        contents: of the evaluation.
    """
    items = replace(
        task,
        seed=0 if task.limit is None else task.seed,
        rule="mean",
        metrics=(),
        subset=None,
        shots=0,
        shot_seed=0,
        shot_split="",
        max_new_tokens=0,
        other_shots=False,
        longer="refuse",
        chat=None,
    )
    of_items = {name: contents[name] for name in CONTENTS if name in contents}
    return make_identity(KIND, items.parameters, contents=of_items)


class Guessing(NamedTuple):
    """The number of candidates, and the accuracy of two ways to guess; None where there is nothing to choose."""

    n_candidates: int | None = None
    """Candidates of all items together."""
    least_candidates: int | None = None
    most_candidates: int | None = None
    chance: float | None = None
    """Expected accuracy of a random choice: the mean over the items of 1 / number of candidates."""
    majority_share: float | None = None
    """Accuracy of the most frequent right label; None if the candidates differ between items."""


def task_row(items_id: str, task: TaskSpec, items: Sequence[Item]) -> dict[str, JsonValue]:
    """Return the row of the table `tasks`."""
    return {
        "items_id": items_id,
        "task": task.task,
        "language": task.language,
        "split": task.split,
        "example_limit": task.limit,
        "limit_seed": task.protocol.limit_seed,
        "profile": task.profile,
        "prompts": task.prompts,
        "n": len(items),
        "n_clusters": len(set(clusters_of(items))),
        **guessing(items, has_labels=task.definition.has_labels)._asdict(),
    }


def guessing(items: Sequence[Item], *, has_labels: bool) -> Guessing:
    """Return what guessing achieves on items.

    Args:
        has_labels: whether the candidates are the same labels for all items.
    """
    choices = [item for item in items if isinstance(item, ChoiceItem) and len(item.candidates) > 1]
    if not choices:
        return Guessing()
    sizes = [len(item.candidates) for item in choices]
    (_, n_most), *_ = Counter(item.gold for item in choices).most_common(1)
    return Guessing(
        sum(sizes),
        min(sizes),
        max(sizes),
        sum(1 / size for size in sizes) / len(sizes),
        n_most / len(choices) if has_labels else None,
    )


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
    columns, schema = (
        (_pair_columns(items), PAIR_SCHEMA) if task.is_generated else (_choice_columns(items), CHOICE_SCHEMA)
    )
    artefact = store.write_table(f"items/{identity.id}.parquet", columns, schema)
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
