"""What a worker is: a process that runs one job after another and tells how each went. Knows no Ray.

Every piece of work computes with one thread: how sums are split over threads may change their last bits, and results
must not depend on who computed them. More cores are used by more workers, and by pieces side by side in a worker.
"""

import os
import resource
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import torch

from mlprune.errors import DamagedArtefactError, MlpruneError, TransientError
from mlprune.models.chain import Chain
from mlprune.steps.jobs import Job, RecordKey
from mlprune.storage import Store
from mlprune.threads import use_threads


@dataclass(frozen=True)
class Failure:
    """What went wrong in a job."""

    error: str
    """Name of the exception's type."""
    message: str
    is_transient: bool
    is_damage: bool
    """Whether an artefact of an earlier job is missing or damaged."""


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
    """Largest resident memory the worker's process has had so far."""
    failure: Failure | None = None


class Worker:
    """Runs jobs against one store, with a chain that is loaded when the first job asks for it.

    Args:
        store_uri: the store.
        load_chain: gives the base model's chain.
        name: what the catalog calls this worker.
        threads: how many pieces of a job it works on at a time.
    """

    def __init__(self, store_uri: str, load_chain: Callable[[], Chain], *, name: str, threads: int = 1) -> None:
        torch.set_num_threads(1)
        use_threads(threads)
        self._store = Store(store_uri)
        self._load_chain = load_chain
        self._name = name
        self._chain: Chain | None = None

    def _loaded(self) -> Chain:
        if self._chain is None:
            self._chain = self._load_chain()
        return self._chain

    def run(self, job: Job) -> Outcome:
        """Run a job; whatever it raises comes back as its failure."""
        started_at, started = datetime.now(UTC), time.monotonic()
        failure = None
        try:
            job.run(self._store, self._loaded)
        except Exception as err:  # the driver decides what an error means for the run
            failure = described(err)
            if failure.is_transient:
                self._chain = None  # a shard may have died with what it held: load anew
        return Outcome(
            makes=job.makes[-1],
            step=job.step,
            host=socket.gethostname(),
            worker=self._name,
            started_at=started_at.isoformat(timespec="milliseconds"),
            elapsed_s=round(time.monotonic() - started, 4),
            peak_memory_gib=round(peak_memory_gib(), 3),
            failure=failure,
        )


def described(err: Exception) -> Failure:
    """An error as plain values."""
    is_transient = isinstance(err, TransientError | MemoryError | ConnectionError)
    message = str(err) if isinstance(err, MlpruneError) else " ".join(f"{type(err).__name__}: {err}".split())
    return Failure(type(err).__name__, message, is_transient, isinstance(err, DamagedArtefactError))


def peak_memory_gib() -> float:
    """Largest resident memory of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def worker_name(number: int) -> str:
    """Name of a worker: its number and process."""
    return f"worker-{number} pid {os.getpid()}"
