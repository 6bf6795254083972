"""Measurement of an evaluation: the distance of a variant from the dense model, at every scored token."""

import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from mlprune.capabilities.distance.dense_states import (
    KIND,
    DenseStatesJob,
    DistanceBatch,
    StatesSource,
    StoredStates,
)
from mlprune.capabilities.distance.divergence import SHARED_BYTES, SharedSides, distances, thread_bytes
from mlprune.evaluation.scoring.candidates import Measures, PreparedTask
from mlprune.json_values import JsonObject
from mlprune.models.inference.prefix_scoring import ScoringVisitor, output_head
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.arrays import Array
from mlprune.numeric.log_probs import TargetScores
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Job, JobCost, RecordKey
from mlprune.steps.tasks.evaluation import as_run, prepared_task
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.store.store import Store

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner


@dataclass
class DistanceVisitor(ScoringVisitor):
    """Score the targets of a batch, and measure the distance from the dense model at each."""

    item: DistanceBatch | None = None

    def result(self, runner: "BlockRunner", hidden: Tensor) -> TargetScores:
        """Read the dense states, and compare both models at each state."""
        assert self.item is not None, "made by `distance_visitor`"
        dense = self.item.dense().to(hidden.device)
        states, targets = self.batch.predicting[1], self.batch.targets
        shared = None
        if runner.kept_states is not None and self.keeps_states:
            sides = runner.kept_states.others.setdefault(SharedSides, SharedSides())
            assert isinstance(sides, SharedSides), "nothing else has this key"
            shared = sides, self.item.key
        heads = output_head(runner), output_head(runner, is_dense=True)
        return distances(hidden, dense, heads, states=states, targets=targets, shared=shared)


def distance_visitor(item: DistanceBatch, *, keeps_states: bool) -> DistanceVisitor:
    """Return the visitor of a batch."""
    return DistanceVisitor(item.batch, keeps_states, item)


@dataclass(frozen=True)
class DistanceMeasurement:
    """Distances from the dense model with some states."""

    source: StatesSource

    @property
    def parents(self) -> JsonObject:
        """The dense states."""
        return {KIND: self.source.identity.id}

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The dense states."""
        return (self.source.identity.key,)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The job of the dense states."""
        return (DenseStatesJob.of(self.source),)

    def added_to(self, cost: JobCost, sizes: Footprint) -> JobCost:
        """Add the second product with the head, and the logits of both models."""
        prepared = prepared_task(self.source.task, self.source.model, self.source.batch_tokens)
        assert isinstance(prepared, PreparedTask), "distances are measured on texts that are scored"
        batches = [planned.batch for planned in prepared.batches]
        n_computed = sum(batch.n_computed for batch in batches)
        n_states = sum(batch.predicting[0].numel() for batch in batches)
        n_bytes = thread_bytes(sizes.vocabulary)
        is_shared = self.source.model.device == "cpu"
        return replace(
            cost,
            fixed_bytes=cost.fixed_bytes + (min(SHARED_BYTES, 4 * n_states * sizes.vocabulary) if is_shared else 0),
            flops=cost.flops + 2.0 * n_computed * sizes.hidden * sizes.vocabulary,
            thread_bytes=cost.thread_bytes + n_bytes,
            device_thread_bytes=cost.device_thread_bytes + n_bytes,
        )

    def measures(self, store: Store) -> Measures:
        """Return what measures the batches of the task."""
        prepared = self.source.prepared(store)
        n_characters = characters(prepared, of_part=self.source.task.chat is not None or self.source.task.is_generated)
        return Measures(distance_visitor, StoredStates(store, self.source).of_batch, {"n_characters": n_characters})


def characters(prepared: PreparedTask, *, of_part: bool) -> Array:
    """Return the characters of each text, or of its candidate part, after normalisation to NFC, [texts]."""
    starts = (start for item in prepared.items for start in item.starts or (0,) * len(item.texts))
    texts = (text for item in prepared.items for text in item.texts)
    parts = (text[start:] if of_part else text for text, start in zip(texts, starts, strict=True))
    return np.array([len(unicodedata.normalize("NFC", part)) for part in parts], dtype=np.float64)


def plan_distance(
    task: TaskSpec, variant: PlannedVariant, inputs: Inputs, batch_tokens: int
) -> DistanceMeasurement | None:
    """Plan the measurement of an evaluation; None for another model than the recipe's, whose tokens may be others."""
    intervention = variant.intervention(task)
    if intervention is None or variant.spec.model.base_model_id != inputs.model.base_model_id:
        return None
    return DistanceMeasurement(StatesSource(inputs.model, as_run(task).scored, intervention, batch_tokens))
