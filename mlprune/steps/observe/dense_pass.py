"""Dense pass: run part of a demonstration set through the dense model and accumulate its statistics.

The statistics of a part fit in memory, however large the set is. Batches are formed within a part, longest
demonstrations first.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from mlprune.corpus.calibration import counted_tokens, token_batches
from mlprune.corpus.demonstrations import scope_mask
from mlprune.models.chain import Chain, stream_tagged
from mlprune.models.hooks import ROUTED
from mlprune.models.inference.observation import Observation, StatisticsVisitor
from mlprune.models.inference.visitor import Operation, Result
from mlprune.models.messages import TokenBatch
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.processes.job_parts import job_parts
from mlprune.processes.parallel import parallel_map
from mlprune.recipe.models import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import (
    EMPTY_SET,
    SMALL_JOB_BYTES,
    SMALL_JOB_DISK_BYTES,
    JobCost,
    ModelJob,
    ModelRef,
    RecordJob,
    RecordKey,
    SetSize,
    SetSizes,
    batch_bytes,
    computed_parameters,
    make_identity,
)
from mlprune.steps.observe.expert_tokens import counted, expert_languages, grouped
from mlprune.steps.observe.statistics_files import DemonstrationSums, write_part
from mlprune.steps.sets import PlannedSets, distinct_sets
from mlprune.store.parquet import columns_of
from mlprune.store.records import Artefact
from mlprune.store.store import Store
from mlprune.vocabulary import TokenScope

STATISTICS_BYTES = 3 * 2**25
"""Statistics of one part in memory: as they arrive, joined, and as a file."""
COORDINATING_BYTES = SMALL_JOB_BYTES + STATISTICS_BYTES
"""Memory of a worker whose model runs in other processes."""
PassJob = TypeVar("PassJob", bound="DensePassJob")


def statistics_cost(step: str, sizes: Footprint, size: SetSize, *, batch_tokens: int) -> JobCost:
    """Cost of observing statistics of some demonstrations."""
    n_sums = size.n_demonstrations * sizes.inputs * len(sizes.blocks)
    return replace(
        JobCost.dense_pass(step, sizes, size.n_tokens, thread_bytes=batch_bytes(sizes, batch_tokens)),
        fixed_bytes=max(COORDINATING_BYTES, SMALL_JOB_BYTES + 5 * n_sums),  # float32, and a quarter for open files
        disk_bytes=4.0 * n_sums,
        result_bytes=4.0 * n_sums,
    )


@dataclass(frozen=True)
class SetJob(RecordJob):
    """Base of the jobs that observe a demonstration set or a part of it."""

    step: ClassVar[str] = "observe"
    model: ModelRef
    demonstration_set_id: str

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The set."""
        return (("demonstration_sets", self.demonstration_set_id),)


@dataclass(frozen=True)
class DensePassJob(SetJob, ModelJob):
    """Base of the jobs that run a demonstration set or a part of it through the dense model."""

    @property
    def chain_model(self) -> ModelRef:
        """The model that is observed."""
        return self.model

    @property
    def shares_replicas(self) -> bool:
        """Return True: results of batches are small and are added in the order of the batches."""
        return True

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """One pass over the set, of which only sums are stored."""
        size, thread_bytes = sets.get(self.demonstration_set_id, EMPTY_SET), batch_bytes(sizes, self.batch_tokens)
        usual = JobCost.dense_pass(self.step, sizes, size.n_tokens, thread_bytes=thread_bytes)
        return replace(usual, disk_bytes=self.stored_bytes(sizes))

    def stored_bytes(self, sizes: Footprint) -> float:
        """Disk space of the sums: by default that of a record."""
        return SMALL_JOB_DISK_BYTES


def dense_pass(
    store: Store, model: Chain, operation: Operation[TokenBatch, Result], *, job: DensePassJob
) -> Iterator[Result]:
    """Run an operation on all batches of a job's set, with the model without masks; results are in order of batches."""
    artefact = store.require("demonstration_sets", job.demonstration_set_id).artefacts[0]
    texts = store.read_table(artefact, ["token_ids"])["token_ids"]
    model.everywhere(Shard.set_keep_masks, None)
    with job_parts("text", len(texts)) as done:
        for indices, result in stream_tagged(model, operation, token_batches(texts, batch_tokens=job.batch_tokens)):
            done(len(indices))
            yield result


@dataclass
class StatisticsAccumulator:
    """The statistics of some consecutive demonstrations, filled batch by batch."""

    demonstrations: range
    sums: dict[tuple[int, str], Tensor] = field(default_factory=dict)
    """(block, input) -> [n, in] float32, in demonstration order."""
    n_tokens: Tensor = field(init=False)
    """[n] int64, counted tokens."""
    magnitudes: Tensor = field(init=False)
    """[n_blocks + 1, d] float64, sums over the demonstrations; a scalar 0 before the first batch."""
    expert_counts: dict[int, Tensor] = field(default_factory=dict)
    """Block with experts -> [experts * groups] int64, counted tokens that reach each expert."""

    def __post_init__(self) -> None:
        self.n_tokens = torch.zeros(len(self.demonstrations), dtype=torch.int64)
        self.magnitudes = torch.zeros((), dtype=torch.float64)

    def add(self, indices: Sequence[int], observation: Observation) -> None:
        """Add the results of a batch.

        Args:
            indices: of the batch's demonstrations, from 0 for the first of these demonstrations.
            observation: one row per index.
        """
        rows = list(indices)
        for key, values in observation.sums.items():
            if key[1] == ROUTED:
                of_batch, before = counted([values]), self.expert_counts.get(key[0])
                self.expert_counts[key[0]] = of_batch if before is None else before + of_batch
                continue
            if key not in self.sums:
                self.sums[key] = values.new_zeros(len(self.demonstrations), values.shape[1])
            self.sums[key][rows] = values
        self.n_tokens[rows] = observation.n_tokens
        self.magnitudes = self.magnitudes + observation.magnitudes.to(torch.float64).sum(dim=1)

    def write(self, store: Store, owner: str) -> list[Artefact]:
        """Write one file per block, several at a time."""
        blocks: dict[int, dict[str, Tensor]] = {}
        for (block, name), values in self.sums.items():
            blocks.setdefault(block, {})[name] = values

        def write(block: int) -> Artefact:
            observed = DemonstrationSums(self.demonstrations, self.n_tokens, blocks[block])
            return write_part(store, owner, block, observed)

        return list(parallel_map(write, blocks))


class StatisticsJob(Protocol):
    """A job that collects activation statistics of a demonstration set."""

    @property
    def model(self) -> ModelRef:
        """The model."""

    @property
    def demonstration_set_id(self) -> str:
        """The set."""

    @property
    def batch_tokens(self) -> int:
        """Most tokens of a batch."""

    @property
    def token_scope(self) -> TokenScope:
        """The tokens that count."""


def observe_set(
    store: Store, model: Chain, job: StatisticsJob, *, demonstrations: range | None = None
) -> StatisticsAccumulator:
    """Run some demonstrations of a job's set through the model without masks.

    Args:
        demonstrations: indices; None for the whole set.
    Raises:
        CorpusError: no token of the whole set counts.
        StatisticsError: a counted activation is not finite.
    """
    artefact = store.require("demonstration_sets", job.demonstration_set_id).artefacts[0]
    token_scope, languages = job.token_scope, expert_languages(store, job.model, job.demonstration_set_id)
    reads_sides = token_scope != "all" or languages is not None
    columns = ["token_ids", "kind", "profile", "sides", "shots"] if reads_sides else ["token_ids"]
    table = columns_of(store.read_bytes(artefact), columns, rows=demonstrations)
    if demonstrations is None or token_scope == "all":
        flags = counted_tokens(table, token_scope)
    else:  # a part without counted tokens is not an error
        rows = zip(table["sides"], table["shots"], strict=True)
        flags = [scope_mask(sides, shots, scope=token_scope).tolist() for sides, shots in rows]
    accumulator = StatisticsAccumulator(demonstrations or range(len(table["token_ids"])))
    batches = token_batches(table["token_ids"], batch_tokens=job.batch_tokens, counted=flags)
    if languages is not None:
        batches = grouped(languages, batches, table["sides"], first=accumulator.demonstrations.start)
    model.everywhere(Shard.set_keep_masks, None)
    with job_parts("text", len(table["token_ids"])) as done:
        for indices, observation in stream_tagged(model, StatisticsVisitor, batches):
            accumulator.add(indices, observation)
            done(len(indices))
    return accumulator


def pass_jobs(
    job_type: type[PassJob], kind: str, recipe: Recipe, inputs: Inputs, sets: PlannedSets, *, names: Iterable[str]
) -> list[PassJob]:
    """Return one job per distinct set with one of the names."""
    batch_tokens = inputs.model.batch_tokens(recipe.compute)
    parameters = computed_parameters(inputs.model, batch_tokens=batch_tokens)
    return [
        job_type(
            make_identity(kind, parameters, parents={"base_model": inputs.base.id, "demonstration_set": planned.id}),
            inputs.model,
            planned.id,
            batch_tokens=batch_tokens,
        )
        for planned in distinct_sets(sets, names)
    ]
