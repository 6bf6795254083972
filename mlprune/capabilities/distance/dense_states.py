"""The dense model's last hidden states of the scored texts of a task, after its final norm, in the dtype of the run.

One file per batch, in the order of the batches: `states` [m, d], one row for each state of `ScoringBatch.predicting`.
An evaluation with other batches, as after memory ran out, finds its states by text and position.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mlprune.counted import counted
from mlprune.errors import DamagedArtefactError
from mlprune.evaluation.scoring.batches import TextBatch
from mlprune.evaluation.scoring.candidates import PreparedTask
from mlprune.hub import format_size
from mlprune.json_values import JsonObject
from mlprune.models.inference.prefix_scoring import PrefixVisitor
from mlprune.models.messages import ScoringBatch
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.processes.job_parts import finished_parts
from mlprune.steps.job import (
    ChainLoader,
    Identity,
    JobCost,
    ModelJob,
    ModelRef,
    RecordJob,
    RecordKey,
    SetSizes,
    batch_bytes,
    computed_parameters,
    make_identity,
)
from mlprune.steps.plan_lines import PlanLine, PlannedJobs
from mlprune.steps.tasks.evaluation import Intervention, item_contents, prepared_task, shot_contents
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.store.records import Artefact
from mlprune.store.store import Store

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner

KIND = "dense_states"
TENSOR = "states"


@dataclass(frozen=True)
class StatesSource:
    """What determines the states."""

    model: ModelRef
    """The dense model."""
    task: TaskSpec
    """As it runs: without rule, metrics and subset; of generated texts, that of the references."""
    intervention: Intervention
    """Its texts are those of the states; its change of the model is not."""
    batch_tokens: int

    @cached_property
    def identity(self) -> Identity:
        """Identity of the record."""
        parameters = {**self.task.parameters, **computed_parameters(self.model, batch_tokens=self.batch_tokens)}
        read = [record_id for _, record_id in self.intervention.needs]
        parents: JsonObject = {"base_model": self.model.base_model_id, "texts": [*read] or None}
        contents = {**item_contents(self.task), **shot_contents(self.task)}
        return make_identity(KIND, parameters, parents=parents, contents=contents)

    def prepared(self, store: Store) -> PreparedTask:
        """Return the texts in batches."""
        prepared = self.intervention.prepared(store, self.task, self.model, batch_tokens=self.batch_tokens)
        assert isinstance(prepared, PreparedTask), "distances are measured on texts that are scored"
        return prepared


@dataclass
class StatesVisitor(PrefixVisitor[Tensor]):
    """Return the states of a batch, on the CPU."""

    def result(self, runner: "BlockRunner", hidden: Tensor) -> Tensor:
        """Return the [m, d] states."""
        return hidden.cpu()


@dataclass(frozen=True)
class DenseStatesJob(RecordJob, ModelJob):
    """Run the texts of a task through the dense model and store its last hidden states."""

    step: ClassVar[str] = "observe"
    source: StatesSource

    @classmethod
    def of(cls, source: StatesSource) -> "DenseStatesJob":
        """Return the job that makes some states."""
        return cls(source.identity, source, batch_tokens=source.batch_tokens)

    @property
    def chain_model(self) -> ModelRef:
        """The dense model."""
        return self.source.model

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """What determines the texts."""
        return self.source.intervention.needs

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """One pass over the texts, whose states are stored."""
        prepared = prepared_task(self.source.task, self.source.model, self.batch_tokens)
        assert isinstance(prepared, PreparedTask), "distances are measured on texts that are scored"
        batches = [planned.batch for planned in prepared.batches]
        n_states = sum(batch.predicting[0].numel() for batch in batches)
        n_tokens = sum(batch.n_computed for batch in batches)
        cost = JobCost.dense_pass(self.step, sizes, n_tokens, thread_bytes=batch_bytes(sizes, self.batch_tokens))
        return replace(cost, disk_bytes=float(n_states * sizes.hidden * sizes.itemsize))

    @classmethod
    def plan_lines(cls, planned: PlannedJobs[Self, JobCost]) -> Iterable[PlanLine]:
        """The size of the states that are not stored yet."""
        if planned.pending:
            n_bytes = sum(int(cost.disk_bytes) for _, cost in planned.pending)
            tasks = counted(len(planned.pending), "task")
            yield PlanLine("texts", f"distance: last hidden states of the dense model: {tasks}, {format_size(n_bytes)}")

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write a file for each batch, then the record."""
        prepared, model = replace(self.source, batch_tokens=self.batch_tokens).prepared(store), chain()
        model.everywhere(Shard.set_keep_masks, None)
        batches = [planned.batch for planned in prepared.batches]
        results = finished_parts("batch", len(batches), model.stream(StatesVisitor, batches))
        artefacts = []
        for number, states in enumerate(results):
            data = save({TENSOR: states.contiguous()})
            path = _path(self.identity.id, batch_tokens=self.batch_tokens, number=number)
            artefacts.append(store.write_bytes(path, data))
        store.write_record(self.identity.record(artefacts=tuple(artefacts)))


def _path(states_id: str, *, batch_tokens: int, number: int) -> str:
    """Return the path of the file of a batch. It names the tokens of batches: fewer after memory ran out."""
    return f"{KIND}/{states_id}/{batch_tokens}.{number:05d}.safetensors"


@dataclass(frozen=True)
class DistanceBatch:
    """A batch to score, and where its dense states are."""

    batch: ScoringBatch
    uri: str
    """The store."""
    files: tuple[Artefact, ...]
    rows: Tensor
    """[m] int64: row of each state of `ScoringBatch.predicting` in the files together."""

    @property
    def n_computed(self) -> int:
        """Tokens that the model computes, padding included."""
        return self.batch.n_computed

    @property
    def key(self) -> Hashable:
        """What determines the dense states."""
        return self.batch.key, tuple(artefact.sha256 for artefact in self.files), self.rows.numpy().tobytes()

    def dense(self) -> Tensor:
        """Read the [m, d] dense states.

        Raises:
            DamagedArtefactError: a file is missing, differs from its record, or contains something else.
        """
        store, parts = Store(self.uri), []
        for artefact in self.files:
            try:
                parts.append(load(store.read_bytes(artefact))[TENSOR])
            except (SafetensorError, KeyError) as err:
                raise DamagedArtefactError("a file of states cannot be read", path=artefact.path) from err
        return torch.cat(parts)[self.rows]


class StoredStates:
    """The stored states of a task, found by text and position."""

    def __init__(self, store: Store, source: StatesSource) -> None:
        self._uri, self._artefacts = store.uri, store.require(*source.identity.key).artefacts
        batch_tokens = int(self._artefacts[0].path.rpartition("/")[2].partition(".")[0])
        batches = replace(source, batch_tokens=batch_tokens).prepared(store).batches
        self._n_rows = [planned.batch.predicting[0].numel() for planned in batches]
        self._found: Mapping[int, tuple[int, Tensor]] = {
            text: (number, rows)
            for number, planned in enumerate(batches)
            for text, rows in zip(planned.texts, _by_text(planned), strict=True)
        }

    def of_batch(self, planned: TextBatch) -> DistanceBatch:
        """Return a batch of some of the texts, with its states."""
        found = [self._found[text] for text in planned.texts]
        numbers = sorted({number for number, _ in found})
        starts, n_before = {}, 0
        for number in numbers:
            starts[number], n_before = n_before, n_before + self._n_rows[number]
        distinct, places = planned.batch.predicting
        rows = torch.empty_like(distinct)
        rows[places] = torch.cat([starts[number] + rows_of_text for number, rows_of_text in found])
        return DistanceBatch(planned.batch, self._uri, tuple(self._artefacts[number] for number in numbers), rows)


def _by_text(planned: TextBatch) -> tuple[Tensor, ...]:
    """Return the rows of the states of each text of a batch."""
    bounds: NDArray[Any] = planned.starts[1:]
    return planned.batch.predicting[1].tensor_split(bounds.tolist())
