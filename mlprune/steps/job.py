"""What a job is: one step on one piece of work, small enough to hand to a worker as it stands.

A job knows the records it makes and those it needs before it is run; whether it is run here or on a cluster, and when,
is decided elsewhere.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

from mlprune.json_values import JsonValue
from mlprune.models.chain import Chain
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Artefact, Record, identity
from mlprune.store.store import Store
from mlprune.vocabulary import DtypeName

ChainLoader = Callable[[], Chain]
"""Gives the chain of the base model, loading it at the first call."""

RecordKey = tuple[str, str]
"""(kind, id) of a record."""

AS_PLANNED, HALF_BATCHES, OFFLOADED = 0, 1, 2
"""How a job that ran out of memory is tried: each level needs less than the one before it."""
MIN_BATCH_TOKENS = 16
"""Smallest batches that a recipe can ask for; no job is given smaller ones."""


@dataclass(frozen=True)
class ModelRef:
    """The base model as jobs pass it around."""

    base_model_id: str
    path: str
    family: str
    n_blocks: int
    max_positions: int | None
    dtype: DtypeName
    device: str = "cpu"
    """Kind of device that computes: `cpu` or `cuda`."""


def computed_parameters(model: ModelRef, *, batch_tokens: int | None = None) -> dict[str, JsonValue]:
    """Return how the model computes, as resolved parameters of an id; device `cpu` is left out.

    Args:
        batch_tokens: tokens of a batch; None for work that runs no batches.
    """
    parameters: dict[str, JsonValue] = {"dtype": model.dtype}
    if batch_tokens is not None:
        parameters["batch_tokens"] = batch_tokens
        parameters |= {} if model.device == "cpu" else {"device": model.device}
    return parameters


@dataclass(frozen=True)
class Identity:
    """Everything an id is made of; the record repeats it."""

    kind: str
    parameters: Mapping[str, Any]
    parents: Mapping[str, Any]
    contents: Mapping[str, str]

    @cached_property
    def id(self) -> str:
        """The id."""
        return identity(
            self.kind,
            step_version=RECORD_KINDS[self.kind].version,
            parameters=self.parameters,
            parents=self.parents,
            contents=self.contents,
        )

    @property
    def key(self) -> RecordKey:
        """(kind, id)."""
        return self.kind, self.id

    def record(
        self, *, artefacts: tuple[Artefact, ...] = (), rows: Mapping[str, list[dict[str, Any]]] | None = None
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
    parameters: Mapping[str, Any] | None = None,
    *,
    parents: Mapping[str, Any] | None = None,
    contents: Mapping[str, str] | None = None,
) -> Identity:
    """Shorthand that fills in what is empty and leaves out parents that are None."""
    present = {role: parent for role, parent in (parents or {}).items() if parent is not None}
    return Identity(kind, parameters or {}, present, contents or {})


@dataclass(frozen=True)
class Job(ABC):
    """Base of all jobs."""

    step: ClassVar[str]
    """Name of the step, as progress and the catalog's `jobs` show it."""
    needs_chain: ClassVar[bool] = False
    """Whether the job runs the model."""
    memory_level: int = field(default=AS_PLANNED, kw_only=True)
    """How the job saves memory after it ran out of it; never part of an identity."""

    @property
    @abstractmethod
    def makes(self) -> tuple[RecordKey, ...]:
        """The records the job writes, the one that means "done" last."""

    @property
    @abstractmethod
    def needs(self) -> tuple[RecordKey, ...]:
        """The records that have to exist first."""

    @property
    def chain_model(self) -> ModelRef | None:
        """The base model it runs; None if it runs none."""
        return None

    @property
    def shared(self) -> tuple[RecordKey, ...]:
        """Those of `makes` that a job of another recipe makes as well, out of other records: a sound one stays."""
        return ()

    @property
    def holder(self) -> RecordKey | None:
        """The record among `makes` that has the artefacts of all: when it is damaged, all are made again."""
        return None

    @abstractmethod
    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """What the job needs from its worker.

        Args:
            sizes: of the model it runs or, if it runs none, of the recipe's model.
            sets: sizes of all demonstration sets of the plan.
        """

    @abstractmethod
    def run(self, store: Store, chain: ChainLoader) -> None:
        """Do the work; running it again gives the same bytes."""

    def with_less_memory(self) -> "Job | None":
        """Return the same work with half the batch size or, after that, an offloaded model; None if both were tried.

        Log-likelihoods of halved batches agree with the planned ones within 1e-4.
        """
        if self.memory_level < OFFLOADED and self.needs_chain:
            return replace(self, memory_level=OFFLOADED)
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
        """The base model it runs."""

    def with_less_memory(self) -> "Job | None":
        """The same work with batches of half the size; see `Job.with_less_memory`."""
        if self.memory_level < HALF_BATCHES and self.batch_tokens > MIN_BATCH_TOKENS:
            half = max(MIN_BATCH_TOKENS, self.batch_tokens // 2)
            return replace(self, memory_level=HALF_BATCHES, batch_tokens=half)
        return super().with_less_memory()


@dataclass(frozen=True)
class RecordJob(Job):
    """Base of the jobs that make one record."""

    identity: Identity

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """That record."""
        return (self.identity.key,)


def batch_tokens_of(job: Job) -> int | None:
    """Tokens in one batch of a job, None if it runs no batches."""
    return job.batch_tokens if isinstance(job, ModelJob) else None
