"""What a worker is: a process that runs one job after another and tells how each went. Knows no Ray.

Every piece of work computes with one thread: how sums are split over threads may change their last bits, and results
must not depend on who computed them. More cores are used by more workers, and by pieces side by side in a worker.
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
from mlprune.timestamps import timestamp
from ray_jobs.driver.environment import Environment, this_environment
from ray_jobs.workers.out_of_memory import is_short_of_memory
from ray_jobs.workers.resource_usage import CountingChain, PeakMemory


@dataclass(frozen=True)
class Failure:
    """What went wrong in a job."""

    error: str
    """Name of the exception's type."""
    message: str
    is_transient: bool
    is_damage: bool
    """Whether an artefact of an earlier job is missing or damaged."""
    is_memory: bool = False
    """Whether memory was short: the job may do with less at a time."""


@dataclass(frozen=True)
class Outcome:
    """How a job went."""

    makes: RecordKey
    """The last record the job makes: its name."""
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
    """Whether that was measured from the job's start on; otherwise from the process's."""
    n_tokens: int = 0
    """Tokens that entered the model, padding included."""
    tokens_per_s: float | None = None
    """None where none did."""
    environment: Environment | None = None
    """What the worker computes with; None where that was not heard."""


class Stopwatch:
    """What a piece of work took, from when this is made to when its outcome is asked for."""

    def __init__(self) -> None:
        self._started_at, self._started = datetime.now(UTC), time.monotonic()
        self._peak = PeakMemory()

    def outcome(
        self, makes: RecordKey, *, step: str, worker: str, failure: Failure | None = None, n_tokens: int = 0
    ) -> Outcome:
        """How the work went, here and until now."""
        elapsed_s = time.monotonic() - self._started
        return Outcome(
            makes=makes,
            step=step,
            host=socket.gethostname(),
            worker=worker,
            started_at=timestamp(self._started_at),
            elapsed_s=round(elapsed_s, 4),
            peak_memory_gib=round(self._peak.gib(), 3),
            failure=failure,
            peak_is_of_job=self._peak.is_of_job,
            n_tokens=n_tokens,
            tokens_per_s=round(n_tokens / elapsed_s, 1) if n_tokens and elapsed_s else None,
            environment=this_environment(),
        )


class Worker:
    """Runs jobs against one store, with a chain that is loaded when the first job asks for it.

    Args:
        store_uri: the store.
        load_chain: gives the chain of the base model that a job runs.
        name: what the catalog calls this worker.
        threads: how many pieces of a job it works on at a time.
        load_offloaded: gives a chain that holds half as much in memory, for jobs that memory was short for.
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
        self._store = Store(store_uri)
        self._loaders = {False: load_chain, True: load_offloaded or load_chain}
        self._name = name
        self._chain: Chain | None = None
        self._held: tuple[ModelRef | None, bool] = (None, False)

    def _loaded(self, model: ModelRef | None, *, offloaded: bool) -> Chain:
        """The chain of a model; one at a time is held."""
        if self._chain is None or self._held != (model, offloaded):
            self._let_go()
            self._chain, self._held = self._loaders[offloaded](model), (model, offloaded)
        return self._chain

    def _let_go(self) -> None:
        """Give the memory of the chain back."""
        self._chain = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def run(self, job: Job) -> Outcome:
        """Run a job; whatever it raises comes back as its failure."""
        watch, failure = Stopwatch(), None
        counted: list[CountingChain] = []

        def chain() -> Chain:
            counted.append(CountingChain(self._loaded(job.chain_model, offloaded=job.relief >= OFFLOADED)))
            return counted[-1]

        try:
            job.run(self._store, chain)
        except Exception as err:  # the driver decides what an error means for the run
            failure = described(err)
        n_tokens = sum(one.n_tokens for one in counted)
        counted.clear()
        if failure is not None and failure.is_transient:
            self._let_go()  # a shard may have died with what it held: load anew
        return watch.outcome(job.makes[-1], step=job.step, worker=self._name, failure=failure, n_tokens=n_tokens)


def described(err: Exception) -> Failure:
    """An error as plain values; one that came from another process is what it was there."""
    cause = getattr(err, "cause", None)
    if isinstance(cause, Exception):
        return described(cause)
    if is_short_of_memory(err) and not isinstance(err, OutOfMemoryError):
        err = OutOfMemoryError("memory was short", reason=_in_words(err))
    is_transient = isinstance(err, TransientError | ConnectionError)
    is_damage, is_memory = isinstance(err, DamagedArtefactError), isinstance(err, OutOfMemoryError)
    return Failure(type(err).__name__, _in_words(err), is_transient, is_damage, is_memory)


def _in_words(err: Exception) -> str:
    return str(err) if isinstance(err, MlpruneError) else " ".join(f"{type(err).__name__}: {err}".split())


def worker_name(number: int) -> str:
    """Name of a worker: its number and process."""
    return f"worker-{number} pid {os.getpid()}"
