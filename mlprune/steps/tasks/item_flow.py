"""Flow of items: how many of a task, language and split were read, left out for each reason, and kept.

Items that are longer than the model are counted by each evaluation. No item is left out for the demonstrations: these
leave out the evaluated lines, or the plan refuses them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from mlprune.errors import BlankTextError, EqualCandidatesError
from mlprune.evaluation.tasks.task_files import SKIPPED_ROWS, TaskData
from mlprune.hashing import digest
from mlprune.json_values import JsonValue
from mlprune.steps.job import ChainLoader, Job, RecordKey, SmallJob, make_identity
from mlprune.steps.tasks.evaluation import EvaluationSpec, task_data
from mlprune.steps.tasks.stored_items import ItemsJob, item_jobs
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.store.store import Store

KIND = "item_flows"


def item_flow(data: TaskData, *, is_half: bool) -> dict[str, JsonValue]:
    """Return the number of rows or lines that were read, of those left out for each reason, and of the items.

    What was read is the sum of the other numbers.

    Args:
        is_half: whether the items are one half of a corpus, whose other items are in the other half.
    """
    n_skipped = sum(data.skipped.values())
    n_skipped_with_id = sum(map(len, data.skipped_ids.values()))
    n_blank, n_equal = (data.skipped.get(SKIPPED_ROWS[each], 0) for each in (BlankTextError, EqualCandidatesError))
    n_outside = len(data.lines) - n_skipped_with_id - data.n_of_split
    return {
        "n_read": len(data.lines) + n_skipped - n_skipped_with_id,
        "n_blank": n_blank,
        "n_equal_candidates": n_equal,
        "n_unusable": n_skipped - n_blank - n_equal,
        "n_without_item": 0 if is_half else n_outside,
        "n_other_half": n_outside if is_half else 0,
        "n_beyond_limit": data.n_of_split - len(data.items),
        "n_items": len(data.items),
    }


@dataclass(frozen=True)
class ItemFlowJob(SmallJob):
    """Count the items of one task, language and split that were left out."""

    step: ClassVar[str] = "items"
    items: RecordKey
    task: TaskSpec

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The items."""
        return (self.items,)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the numbers."""
        task = self.task
        keys = {"items_id": self.items[1], "task": task.task, "language": task.language, "split": task.split}
        row = {**keys, **item_flow(task_data(task), is_half=task.is_corpus_half)}
        store.write_record(self.identity.record(rows={KIND: [row]}))


def described_items(evaluations: Iterable[EvaluationSpec]) -> list[Job]:
    """Return the jobs that store the items of each task, language and split, and those that count what was left out."""
    jobs = item_jobs(evaluations)
    return [*jobs, *map(_flow_job, jobs)]


def _flow_job(job: ItemsJob) -> ItemFlowJob:
    flow = item_flow(task_data(job.task), is_half=job.task.is_corpus_half)
    identity = make_identity(KIND, parents={"items": job.identity.id}, contents={"flow": digest(flow)})
    return ItemFlowJob(identity, job.identity.key, job.task)
