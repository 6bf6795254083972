"""Jobs: one step on one piece of work, small enough to send to a worker, and what it costs.

Costs follow from sizes alone: the recipe's sets and tasks, and the headers of the weight files. Estimates of memory
are upper bounds. Estimates of tokens and disk space are close.

A job knows the records that it makes and those that it needs. The driver decides when and where it runs.
"""

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, NamedTuple, Self

from mlprune.json_values import JsonObject, JsonValue, as_list, as_str
from mlprune.models.chain import Chain
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.placement.memory_estimate import MAX_STATE_BYTES, STATE_BYTES, Footprint
from mlprune.recipe.models import ComputeConfig
from mlprune.steps.plan_lines import PlanLine, PlannedJobs
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Artefact, Parents, Record, identity
from mlprune.store.store import Store
from mlprune.vocabulary import DeviceName, DtypeName

SMALL_JOB_BYTES = 64 * 2**20
"""Memory that any job may use: tables, tokenizers, Parquet buffers."""
SMALL_JOB_DISK_BYTES = 20_000.0
"""Disk space of a job that writes nothing but a record."""
BATCHES_IN_FLIGHT = 2
"""Batches in memory per batch in computation."""
ChainLoader = Callable[[], Chain]
"""Returns the chain of the base model; the first call loads it."""
RecordKey = tuple[str, str]
"""(kind, id) of a record."""
WHOLE_MODEL, HALF_MODEL, ONE_BLOCK = 0, 1, 2
"""Offload levels after a job ran out of memory: all planned weights, half of them, or one block at a time in memory."""
MIN_BATCH_TOKENS = 16
"""Smallest batch size of a recipe and of a retry."""


class SetSize(NamedTuple):
    """Upper bounds on the size of a demonstration set."""

    n_tokens: int
    """Padding included."""
    n_demonstrations: int


SetSizes = Mapping[str, SetSize]
"""Demonstration set id -> size."""
EMPTY_SET = SetSize(0, 0)


def most_demonstrations(sets: SetSizes) -> int:
    """Return the number of demonstrations of the largest of some sets."""
    return max((size.n_demonstrations for size in sets.values()), default=0)


@dataclass(frozen=True)
class JobCost:
    """What one job needs from the worker that runs it."""

    step: str
    flops: float = 0.0
    n_passes: float = 0.0
    """Passes over all weights of the blocks. An offloaded model reads them from disk in each pass."""
    n_runs: int = 1
    """How often each block runs in a pass, to collect the Gram matrices of its experts in groups."""
    fixed_bytes: int = SMALL_JOB_BYTES
    """Memory in addition to the weights, for any number of threads, if the model is in main memory."""
    thread_bytes: int = 0
    """Further memory per thread."""
    device_fixed_bytes: int = 0
    """Part of `fixed_bytes` that is on the accelerator if the model is."""
    device_thread_bytes: int = 0
    """Part of `thread_bytes` that is on the accelerator if the model is."""
    transfer_bytes: int = 0
    """Main memory for what is moved to or from the accelerator if the model is there."""
    disk_bytes: float = SMALL_JOB_DISK_BYTES
    """Disk space in the store, before compression."""
    n_tokens: float = 0.0
    """Tokens whose hidden states pass from shard to shard, if there are several."""
    result_bytes: float = 0.0
    """Results of the blocks that travel with them."""
    runs_model: bool = False
    """Whether the job runs the model and so needs its memory in every process of the chain; otherwise in
    one of them."""
    is_shared: bool = False
    """Whether idle replicas compute a part of the job."""
    is_whole: bool = False
    """Whether the job needs the whole model in the memory of one shard."""

    @classmethod
    def small(cls, step: str, further_bytes: int = 0) -> "JobCost":
        """Cost of a job that runs no model and needs little memory, or some bytes more."""
        return cls(step, fixed_bytes=SMALL_JOB_BYTES + further_bytes)

    @classmethod
    def per_block(
        cls, step: str, sizes: Footprint, weight_bytes: int, *, further_bytes: int = 0, writes_masks: bool = False
    ) -> "JobCost":
        """Cost of a job that runs no model and works on all blocks, one per thread.

        Args:
            weight_bytes: memory per prunable weight of a block.
            further_bytes: further memory per block.
        """
        disk_bytes = n_block_weights(sizes) / 8 if writes_masks else SMALL_JOB_DISK_BYTES
        return cls(step, thread_bytes=weight_bytes * sum(sizes.prunable) + further_bytes, disk_bytes=disk_bytes)

    @classmethod
    def dense_pass(
        cls, step: str, sizes: Footprint, n_tokens: float, *, thread_bytes: int, n_runs: int = 1
    ) -> "JobCost":
        """Cost of a job that passes some tokens through all blocks, and keeps and writes no more than a small job.

        Args:
            thread_bytes: memory of the batches of one thread.
            n_runs: how often a block runs in the pass.
        """
        return cls(
            step,
            flops=n_runs * block_flops(sizes, n_tokens),
            n_passes=1,
            thread_bytes=thread_bytes,
            device_thread_bytes=thread_bytes,
            n_tokens=n_tokens,
            runs_model=True,
        )

    def memory_bytes(self, n_threads: int) -> int:
        """Memory in addition to the process and the weights, if the model is in main memory."""
        return self.fixed_bytes + n_threads * self.thread_bytes

    def host_bytes(self, n_threads: int) -> int:
        """Main memory in addition to the process, if the model is on accelerators."""
        return self.memory_bytes(n_threads) - self.device_bytes(n_threads) + self.transfer_bytes

    def forwarded_bytes(self, sizes: Footprint, n_shards: int) -> float:
        """Bytes that travel between the actors of a replica; every shard adds its part of the results."""
        states = self.n_tokens * sizes.hidden * sizes.itemsize
        return 0.0 if n_shards == 1 else (n_shards - 1) * states + (n_shards + 1) / 2 * self.result_bytes

    def device_bytes(self, n_threads: int) -> int:
        """Memory of each accelerator in addition to the weights, if the model is on accelerators."""
        return self.device_fixed_bytes + n_threads * self.device_thread_bytes


def n_block_weights(sizes: Footprint) -> int:
    """Prunable weights of all blocks, if every block is as large as the largest."""
    return len(sizes.blocks) * sum(sizes.prunable)


def block_flops(sizes: Footprint, n_tokens: float) -> float:
    """Floating-point operations of one pass of some tokens through all blocks, and their chosen experts."""
    return 2.0 * n_tokens * (n_block_weights(sizes) - len(sizes.blocks) * sizes.idle)


def state_bytes(sizes: Footprint, n_tokens: float, *, n_states: int = 1) -> int:
    """Memory of the hidden states of a pass block by block; what is beyond a limit is on the disk.

    Args:
        n_states: states of each token.
    """
    return min(MAX_STATE_BYTES, int(n_states * n_tokens * sizes.hidden * sizes.itemsize))


def batch_bytes(sizes: Footprint, batch_tokens: int) -> int:
    """Memory of the batches that pass through a block."""
    return BATCHES_IN_FLIGHT * batch_tokens * sizes.widest * STATE_BYTES


@dataclass(frozen=True)
class ModelRef:
    """A base model as plain values that jobs pass on."""

    base_model_id: str
    path: str
    family: str
    n_blocks: int
    max_positions: int | None
    dtype: DtypeName
    device: DeviceName = "cpu"
    """Kind of device that computes."""
    tf32: bool = False
    """Whether float32 products on accelerators may round their factors to TF32."""
    n_prunable: int | None = None
    """Prunable weights of all blocks; None if a stored id says the size of batches."""

    def batch_tokens(self, compute: ComputeConfig) -> int:
        """Return the tokens of a batch on the model's device."""
        return compute.planned_batch_tokens(self.device, self.n_prunable)

    @property
    def runs_whole_texts(self) -> bool:
        """Whether texts cannot share prefixes; see `Architecture.runs_whole_texts`."""
        return architecture_at(self.path).runs_whole_texts


def computed_parameters(model: ModelRef, *, batch_tokens: int | None = None) -> dict[str, JsonValue]:
    """Return the settings of the model's computation as parameters of an id.

    The device is included only for work in batches on a device other than `cpu`, and so is TF32 if it is used.

    Args:
        batch_tokens: tokens of a batch; None for work without batches.
    """
    parameters: dict[str, JsonValue] = {"dtype": model.dtype}
    if batch_tokens is not None:
        parameters["batch_tokens"] = batch_tokens
        parameters |= {} if model.device == "cpu" else {"device": model.device}
        parameters |= {"tf32": True} if model.tf32 else {}
    return parameters


@dataclass(frozen=True)
class Identity:
    """Everything that determines an id; the record repeats it."""

    kind: str
    parameters: JsonObject
    parents: Parents
    contents: Mapping[str, str]

    @classmethod
    def of_record(cls, record: Record) -> "Identity":
        """Return the identity of a record's work, in the version of today."""
        return cls(record.kind, record.parameters, record.parents, record.contents)

    @cached_property
    def id(self) -> str:
        """The id."""
        return self.id_in(RECORD_KINDS[self.kind].version)

    def id_in(self, step_version: int) -> str:
        """Return the id that the same work has in a version of its step."""
        return identity(
            self.kind,
            step_version=step_version,
            parameters=self.parameters,
            parents=self.parents,
            contents=self.contents,
        )

    @property
    def key(self) -> RecordKey:
        """(kind, id)."""
        return self.kind, self.id

    def record(
        self, *, artefacts: tuple[Artefact, ...] = (), rows: Mapping[str, Sequence[JsonObject]] | None = None
    ) -> Record:
        """The record of the finished work."""
        return Record(
            kind=self.kind,
            id=self.id,
            step_version=RECORD_KINDS[self.kind].version,
            parameters=self.parameters,
            parents=self.parents,
            contents=self.contents,
            artefacts=artefacts,
            rows=rows or {},
        )


def make_identity(
    kind: str,
    parameters: JsonObject | None = None,
    *,
    parents: JsonObject | None = None,
    contents: Mapping[str, str] | None = None,
) -> Identity:
    """Make an identity; parents that are None are left out.

    Args:
        parents: role -> id, list of ids, or None.
    """
    present = {role: parent for role, parent in (parents or {}).items() if parent is not None}
    return Identity(kind, parameters or {}, {role: _ids(parent) for role, parent in present.items()}, contents or {})


def _ids(parent: JsonValue) -> str | Sequence[str]:
    return parent if isinstance(parent, str) else [as_str(record_id) for record_id in as_list(parent)]


@dataclass(frozen=True)
class Job(ABC):
    """Base of all jobs."""

    step: ClassVar[str]
    """Name of the step in progress messages and in the catalog's table `jobs`."""
    needs_chain: ClassVar[bool] = False
    """Whether the job runs the model."""
    planned_cpu_s: ClassVar[float] = 0.02
    """CPU seconds that a job without planned operations is expected to take, relative to those of other classes."""
    extends_plan: ClassVar[bool] = False
    """Whether a part of the plan adds jobs that follow from its result."""
    n_halvings: int = field(default=0, kw_only=True)
    """How often the batch size was halved after the job ran out of memory; never part of an identity."""
    offload_level: int = field(default=WHOLE_MODEL, kw_only=True)
    """How much of the model stays in memory after the job ran out of it; never part of an identity."""

    @property
    @abstractmethod
    def makes(self) -> tuple[RecordKey, ...]:
        """The records that the job writes; the last one means "done"."""

    @property
    @abstractmethod
    def needs(self) -> tuple[RecordKey, ...]:
        """The records that have to exist before the job runs."""

    @property
    def chain_model(self) -> ModelRef | None:
        """The base model that the job runs, or None."""
        return None

    @property
    def reads_block(self) -> int | None:
        """The block whose weights the job reads without running the model, or None."""
        return None

    @property
    def also_made_elsewhere(self) -> tuple[RecordKey, ...]:
        """Records in `makes` that jobs of other recipes make too, from other parents.

        If they are sound, they are kept when this job runs again.
        """
        return ()

    @property
    def artefact_record(self) -> RecordKey | None:
        """The record, made or needed, with the artefacts of all others. If it is damaged, all are made again."""
        return None

    @property
    def intermediates(self) -> tuple[RecordKey, ...]:
        """Further records that the job writes while it runs, from which a killed one resumes.

        They are made again if they are in quarantine, although nothing needs them once the job is done.
        """
        return ()

    @property
    def shares_replicas(self) -> bool:
        """Whether idle replicas of the model may compute some of the job's batches; the bytes stay the same."""
        return False

    @abstractmethod
    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """The resources that the job needs.

        Args:
            sizes: of the model that the job runs or, if it runs none, of the recipe's model.
            sets: sizes of all demonstration sets of the plan.
        """

    @abstractmethod
    def run(self, store: Store, chain: ChainLoader) -> None:
        """Do the work. Running the job again writes the same bytes."""

    @classmethod
    def plan_lines(cls, planned: PlannedJobs[Self, JobCost]) -> Iterable[PlanLine]:
        """What a plan says about its jobs of this class, besides their number."""
        return ()

    @property
    def work(self) -> str:
        """What the job works on, in one line for a person who looks for the cause of a failure."""
        kinds = Counter(kind for kind, _ in self.makes)
        made = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        block = "" if self.reads_block is None else f" of block {self.reads_block}"
        return f"{made}{block}"

    @property
    def saves_memory(self) -> bool:
        """Whether the job was changed after it ran out of memory."""
        return bool(self.n_halvings or self.offload_level)

    def with_less_memory(self) -> "Job | None":
        """Return the same work with half the batch size or, with the smallest batches, a model that is offloaded more.

        None if nothing is left to try. docs/trouble.md says how much halved batches change results.
        """
        return self.with_more_offloaded()

    def with_more_offloaded(self) -> "Job | None":
        """Return the same work with less of the model in memory; None without a model, or at one block at a time."""
        if self.needs_chain and self.offload_level < ONE_BLOCK:
            return replace(self, offload_level=self.offload_level + 1)
        return None


@dataclass(frozen=True)
class ModelJob(Job):
    """Base of the jobs that run a model in batches."""

    needs_chain: ClassVar[bool] = True
    batch_tokens: int = field(kw_only=True)
    """Tokens in one batch, padding included."""

    @property
    @abstractmethod
    def chain_model(self) -> ModelRef:
        """The base model that the job runs."""

    def with_less_memory(self) -> "Job | None":
        """The same work with batches of half the size, down to `MIN_BATCH_TOKENS`; see `Job.with_less_memory`."""
        if self.offload_level == WHOLE_MODEL and self.batch_tokens > MIN_BATCH_TOKENS:
            half = max(MIN_BATCH_TOKENS, self.batch_tokens // 2)
            return replace(self, n_halvings=self.n_halvings + 1, batch_tokens=half)
        return super().with_less_memory()


@dataclass(frozen=True)
class RecordJob(Job):
    """Base of the jobs that make one record."""

    identity: Identity

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The one record."""
        return (self.identity.key,)

    @property
    def work(self) -> str:
        """The parameters and parents of the record."""
        values = {**self.identity.parameters, **self.identity.parents}
        named = (f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items())
        return " ".join((self.identity.kind, *named))


def batch_tokens_of(job: Job) -> int | None:
    """Tokens in one batch of a job; None for a job without batches."""
    return job.batch_tokens if isinstance(job, ModelJob) else None


@dataclass(frozen=True)
class SmallJob(RecordJob):
    """Base of the jobs that make one record, run no model and need little memory."""

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of a small job."""
        return JobCost.small(self.step)
