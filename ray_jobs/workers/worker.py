"""Workers run jobs one after another and report how each went. Does not use Ray.

Each piece of work computes with one thread: splitting sums over threads may change their last bits, and results must
not depend on who computed them. More cores are used by more workers, and by several pieces at a time in each worker.
"""

import gc
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import torch

from mlprune.errors import DamagedArtefactError, MlpruneError, OutOfMemoryError, TransientError
from mlprune.models.chain import Chain
from mlprune.parallel import set_worker_threads
from mlprune.steps.job import OFFLOADED, Job, ModelRef, RecordKey
from mlprune.store.store import Store
from ray_jobs.process.environment import Environment, this_environment
from ray_jobs.workers.out_of_memory import is_out_of_memory
from ray_jobs.workers.resource_usage import CountingChain, PeakMemory


@dataclass(frozen=True)
class Failure:
    """Why a job failed."""

    error: str
    """Name of the exception's type."""
    message: str
    is_transient: bool
    is_damage: bool
    """Whether an artefact of an earlier job is missing or damaged."""
    is_memory: bool = False
    """Whether memory ran out: the job may succeed with less at a time."""


@dataclass(frozen=True)
class Outcome:
    """Result of one attempt of a job."""

    makes: RecordKey
    """The last record the job makes; it names the job."""
    step: str
    host: str
    worker: str
    started_at: str
    """UTC, ISO 8601."""
    elapsed_s: float
    peak_memory_gib: float
    """Largest resident memory of the worker's process."""
    failure: Failure | None = None
    peak_is_of_job: bool = False
    """Whether the peak was measured from the start of the job; otherwise from the start of the process."""
    n_tokens: int = 0
    """Tokens that entered the model, padding included."""
    tokens_per_s: float | None = None
    """None if no token entered the model."""
    environment: Environment | None = None
    """Environment of the worker; None if its process died before it reported."""


class Stopwatch:
    """Measures time and peak memory, from its creation until an outcome is requested."""

    def __init__(self) -> None:
        self._started_at, self._started = datetime.now(UTC), time.monotonic()
        self._peak = PeakMemory()

    def outcome(
        self, makes: RecordKey, *, step: str, worker: str, failure: Failure | None = None, n_tokens: int = 0
    ) -> Outcome:
        """Return the outcome of the work, measured until now."""
        elapsed_s = time.monotonic() - self._started
        return Outcome(
            makes=makes,
            step=step,
            host=socket.gethostname(),
            worker=worker,
            started_at=self._started_at.isoformat(timespec="milliseconds"),
            elapsed_s=round(elapsed_s, 4),
            peak_memory_gib=round(self._peak.gib(), 3),
            failure=failure,
            peak_is_of_job=self._peak.is_of_job,
            n_tokens=n_tokens,
            tokens_per_s=round(n_tokens / elapsed_s, 1) if n_tokens and elapsed_s else None,
            environment=this_environment(),
        )


class Worker:
    """Runs jobs against one store. The model is loaded when the first job needs it.

    Args:
        store_uri: the store.
        load_chain: loads the model that a job runs; None stands for the base model.
        name: name of the worker in the catalog.
        threads: pieces of a job that run at the same time.
        load_offloaded: loads a model with half of its weights in memory, for jobs that ran out of memory.
    """

    def __init__(
        self,
        store_uri: str,
        load_chain: Callable[[ModelRef | None], Chain],
        *,
        name: str,
        threads: int = 1,
        load_offloaded: Callable[[ModelRef | None], Chain] | None = None,
    ) -> None:
        torch.set_num_threads(1)
        set_worker_threads(threads)
        self._store = Store(store_uri, quarantine=True)
        self._loaders = {False: load_chain, True: load_offloaded or load_chain}
        self._name = name
        self._chain: Chain | None = None
        self._loaded_model: tuple[ModelRef | None, bool] = (None, False)

    def _load(self, model: ModelRef | None, *, offloaded: bool) -> Chain:
        """Return the chain of a model; one chain is loaded at a time."""
        if self._chain is None or self._loaded_model != (model, offloaded):
            if self._chain is not None:
                self._unload()
            self._chain, self._loaded_model = self._loaders[offloaded](model), (model, offloaded)
        return self._chain

    def _unload(self) -> None:
        """Free the memory of the chain."""
        self._chain = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def run(self, job: Job) -> Outcome:
        """Run a job; an exception is returned as the outcome's failure."""
        watch, failure = Stopwatch(), None
        chains: list[CountingChain] = []

        def chain() -> Chain:
            chains.append(CountingChain(self._load(job.chain_model, offloaded=job.memory_level >= OFFLOADED)))
            return chains[-1]

        try:
            job.run(self._store, chain)
        except Exception as err:  # the driver decides what an error means for the run
            failure = describe_failure(err)
        n_tokens = sum(counting.n_tokens for counting in chains)
        chains.clear()
        if failure is not None and failure.is_transient:
            self._unload()  # a shard may have died: load the model again for the next job
        return watch.outcome(job.makes[-1], step=job.step, worker=self._name, failure=failure, n_tokens=n_tokens)


def describe_failure(err: Exception) -> Failure:
    """Convert an exception to plain values; one that wraps the error of another process becomes that error."""
    cause = getattr(err, "cause", None)
    if isinstance(cause, Exception):
        return describe_failure(cause)
    if is_out_of_memory(err) and not isinstance(err, OutOfMemoryError):
        err = OutOfMemoryError("out of memory", reason=_format_error(err))
    is_transient = isinstance(err, TransientError | ConnectionError)
    is_damage, is_memory = isinstance(err, DamagedArtefactError), isinstance(err, OutOfMemoryError)
    return Failure(type(err).__name__, _format_error(err), is_transient, is_damage, is_memory)


def _format_error(err: Exception) -> str:
    return str(err) if isinstance(err, MlpruneError) else " ".join(f"{type(err).__name__}: {err}".split())


def worker_name(number: int) -> str:
    """Name of a worker: its number and process id."""
    return f"worker-{number} pid {os.getpid()}"
