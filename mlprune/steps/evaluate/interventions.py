"""Interventions: what a variant does at run time in one evaluation, to the model or to the examples.

Each kind of intervention is implemented next to the baseline that plans it. Most evaluations have none.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from mlprune.evaluation.scoring.candidates import PreparedTask
from mlprune.evaluation.scoring.translation import PreparedTranslation
from mlprune.json_values import JsonObject
from mlprune.models.chain import Chain
from mlprune.steps.evaluate.prepared_task import prepared_task
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.job import ModelRef, RecordKey
from mlprune.store.store import Store


class Intervention(Protocol):
    """What happens at run time in one evaluation.

    Implementations are hashable: evaluations of equal task and intervention share one run of the model.
    """

    @property
    def parents(self) -> JsonObject:
        """Role -> ids of the records that the intervention reads, as the id of the evaluation contains them."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """Keys of these records."""

    def active(self, chain: Chain, store: Store) -> AbstractContextManager[None]:
        """Apply the intervention to the model of a chain until the context ends."""

    def prepared(
        self, store: Store, task: TaskSpec, model: ModelRef, *, batch_tokens: int
    ) -> PreparedTask | PreparedTranslation:
        """Return the items of the task under the intervention, tokenised and cut into batches.

        Raises:
            TaskFileError: a text does not fit the model's positions.
        """


@dataclass(frozen=True)
class NoIntervention:
    """The model and the examples stay as they are."""

    @property
    def parents(self) -> JsonObject:
        """None."""
        return {}

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """None."""
        return ()

    def active(self, chain: Chain, store: Store) -> AbstractContextManager[None]:
        """Change nothing."""
        return nullcontext()

    def prepared(
        self, store: Store, task: TaskSpec, model: ModelRef, *, batch_tokens: int
    ) -> PreparedTask | PreparedTranslation:
        """Return the items of the task."""
        return prepared_task(task, model, batch_tokens)
