"""Workers run jobs one after another, and report how each went and what it used. Without Ray.

Workers run jobs one after another and report how each went. Does not use Ray.

Each piece of work computes with one thread: splitting sums over threads may change their last bits, and results must
not depend on who computed them. More cores are used by more workers, and by several pieces at a time in each worker.
"""

import gc
import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Concatenate, Protocol

import torch

from mlprune.errors import WorkerLostError
from mlprune.models.chain import Arguments, Chain, ReplicaOffer
from mlprune.models.inference.visitor import Item, Operation, Result
from mlprune.models.messages import TokenBatch
from mlprune.models.shard import Shard
from mlprune.processes.job_parts import PartCounter, RunningParts, counting_parts
from mlprune.processes.parallel import n_threads, set_worker_threads
from mlprune.steps.job import WHOLE_MODEL, Job, ModelRef, RecordKey
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.timestamps import timestamp
from ray_jobs.process.environment import Environment, this_environment
from ray_jobs.workers.recovery import MAX_WORK, Failure, describe_failure, shortened

CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
RESET_PEAK = "5"
"""Value written to `clear_refs` to reset the peak memory of a process (proc(5))."""


class CountingStore(Store):
    """A store that counts the bytes of the artefacts of the records that this process writes."""

    n_bytes = 0

    def write_record(self, record: Record) -> None:
        """See `Store.write_record`."""
        super().write_record(record)
        self.n_bytes += sum(artefact.n_bytes for artefact in record.artefacts)


class CountingChain:
    """A chain that counts the tokens sent into it, padding included."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self.n_tokens = 0

    @property
    def n_blocks(self) -> int:
        """See `Chain.n_blocks`."""
        return self._chain.n_blocks

    @property
    def spans(self) -> tuple[range, ...]:
        """See `Chain.spans`."""
        return self._chain.spans

    def stream(self, operation: Operation[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """See `Chain.stream`."""

        def counted() -> Iterator[Item]:
            for item in items:
                self.n_tokens += item.n_computed
                yield item

        return self._chain.stream(operation, counted())

    def on_block(
        self,
        block: int,
        method: Callable[Concatenate[Shard, Arguments], Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """See `Chain.on_block`; a batch of a sweep enters the model here."""
        self.n_tokens += sum(arg.n_computed for arg in args if isinstance(arg, TokenBatch))
        return self._chain.on_block(block, method, *args, **kwargs)

    def everywhere(
        self, method: Callable[Concatenate[Shard, Arguments], Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> list[Result]:
        """See `Chain.everywhere`."""
        return self._chain.everywhere(method, *args, **kwargs)

    @property
    def others(self) -> ReplicaOffer | None:
        """See `Chain.others`; every batch of a sweep enters the model in this replica."""
        return self._chain.others


class PeakMemory:
    """Peak resident memory of this process since this object was created.

    Linux can reset the peak of a process. On other systems, or if resetting is forbidden, the peak is measured since
    the process started, and `is_of_job` is False.
    """

    def __init__(self, clear_refs: Path = CLEAR_REFS, status: Path = STATUS) -> None:
        self._status = status
        try:
            clear_refs.write_text(RESET_PEAK, encoding="ascii")
            self.is_of_job = self._high_water() is not None
        except OSError:
            self.is_of_job = False

    def gib(self) -> float:
        """Return the peak so far."""
        n_bytes = self._high_water() if self.is_of_job else None
        return (peak_bytes() if n_bytes is None else n_bytes) / 2**30

    def _high_water(self) -> int | None:
        try:
            lines = self._status.read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def peak_bytes() -> int:
    """Peak resident memory of this process since it started."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class LoadChain(Protocol):
    """Loads the model that a job runs."""

    def __call__(self, model: ModelRef | None, /, *, offload_level: int) -> Chain:
        """Load a model; None stands for the base model.

        Args:
            offload_level: how much of it stays in memory; see `Job.offload_level`.
        """


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
    cpu_s: float | None = None
    """CPU seconds of all threads of the worker's process; shards in other processes and helpers are not counted."""
    peak_is_of_job: bool = False
    """Whether the peak was measured from the start of the job; otherwise from the start of the process."""
    n_tokens: int = 0
    """Tokens that entered the model, padding included."""
    n_bytes: int = 0
    """Bytes of the files of the records that the job has written."""
    tokens_per_s: float | None = None
    """None if no token entered the model."""
    environment: Environment | None = None
    """Environment of the worker; None if its process died before it reported."""


def lost_outcome(job: Job, worker: str, failure: Failure) -> Outcome:
    """Return the outcome of a job whose worker did not report one."""
    failure = replace(failure, work=failure.work or shortened(job.work, MAX_WORK))
    return Outcome(job.makes[-1], job.step, "", worker, timestamp(), 0.0, 0.0, failure)


class Stopwatch:
    """Measures time, CPU time and peak memory, from its creation until an outcome is requested."""

    def __init__(self) -> None:
        self._started_at, self._started = datetime.now(UTC), time.monotonic()
        self._cpu_started = time.process_time()
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
            started_at=timestamp(self._started_at),
            elapsed_s=round(elapsed_s, 4),
            cpu_s=round(time.process_time() - self._cpu_started, 4),
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
        load_chain: loads the model that a job runs.
        name: name of the worker in the catalog.
        threads: pieces of a job that run at the same time.
        model_threads: the same for jobs that run the model; by default as many.
        is_replaceable: whether a new process can take the place of this one, if it cannot load a model.
    """

    def __init__(
        self,
        store_uri: str,
        load_chain: LoadChain,
        *,
        name: str,
        threads: int = 1,
        model_threads: int | None = None,
        is_replaceable: bool = False,
    ) -> None:
        torch.set_num_threads(1)
        set_worker_threads(threads)
        self._threads = {False: threads, True: threads if model_threads is None else model_threads}
        self._store = CountingStore(store_uri, quarantine=True)
        self._load_chain = load_chain
        self._is_replaceable = is_replaceable
        self._name = name
        self._chain: Chain | None = None
        self._loaded_model: tuple[ModelRef | None, int] = (None, WHOLE_MODEL)
        self._is_loading = False
        self._helping_failure: Failure | None = None
        self._counted: tuple[RecordKey, PartCounter] | None = None
        """The running job, by the last record it makes, and the counter of its parts."""

    @property
    def running_parts(self) -> RunningParts:
        """How far the running job is; empty between jobs and before its first loop. Can be read in any thread."""
        if (counted := self._counted) is None or (parts := counted[1].parts) is None:
            return {}
        return {counted[0]: parts}

    def _load(self, model: ModelRef | None, *, offload_level: int) -> Chain:
        """Return the chain of a model; one chain is loaded at a time."""
        if self._chain is None or self._loaded_model != (model, offload_level):
            if self._chain is not None:
                self._unload()
            self._is_loading = True
            self._chain = self._load_chain(model, offload_level=offload_level)
            self._loaded_model, self._is_loading = (model, offload_level), False
        return self._chain

    def _unload(self) -> None:
        """Free the memory of the chain."""
        self._chain = None
        free_memory()

    def run(self, job: Job, join_replicas: Callable[[Chain], Chain] | None = None) -> Outcome:
        """Run a job; an exception is returned as the outcome's failure.

        Args:
            join_replicas: makes one chain of the loaded one and those of the replicas that share the job.
        """
        watch, failure = Stopwatch(), None
        self._store.n_bytes = 0
        self._is_loading = False
        chains: list[CountingChain] = []

        def chain() -> Chain:
            loaded = self._load(job.chain_model, offload_level=job.offload_level)
            chains.append(CountingChain(join_replicas(loaded) if join_replicas else loaded))
            return chains[-1]

        self.set_threads(needs_chain=job.needs_chain)
        counter = PartCounter(job.step)
        self._counted = job.makes[-1], counter
        try:
            with counting_parts(counter):
                job.run(self._store, chain)
        except Exception as err:  # the driver decides what an error means for the run
            failure = describe_failure(err, at_load=self._is_loading, is_replaceable=self._is_replaceable)
            failure = replace(failure, work=failure.work or shortened(job.work, MAX_WORK))
        finally:
            self._counted = None
        n_tokens = sum(counting.n_tokens for counting in chains)
        chains.clear()
        failure = failure and self._recover(failure)
        outcome = watch.outcome(job.makes[-1], step=job.step, worker=self._name, failure=failure, n_tokens=n_tokens)
        return replace(outcome, n_bytes=self._store.n_bytes)

    def _recover(self, failure: Failure) -> Failure:
        """Drop what a failed job left in the model, or the whole model if a shard may have died.

        After a job ran out of memory, the model itself stays loaded: the job is tried again with smaller batches.

        Returns: the failure, which says whether the model is still loaded.
        """
        if failure.is_memory and not failure.at_load and self._chain is not None:
            with suppress(Exception):  # a shard was killed for its memory
                self._chain.everywhere(drop_states)
                return replace(failure, keeps_model=True)
        if failure.is_transient:
            self._unload()
        return failure

    def set_threads(self, *, needs_chain: bool) -> None:
        """Set the number of pieces that run at the same time, for jobs that run the model or that do not."""
        torch.set_num_threads(1)  # the thread of an actor that runs the job may not be the one that started
        if n_threads() != (threads := self._threads[needs_chain]):
            set_worker_threads(threads)

    def help(self, model: ModelRef | None, offload_level: int, task: Callable[[Chain], Result]) -> Result:
        """Run a task of a job that another worker runs.

        Raises:
            WorkerLostError: this worker cannot go on; the other one is not to blame.
        """
        self._is_loading = False
        self.set_threads(needs_chain=True)
        try:
            return task(self._load(model, offload_level=offload_level))
        except Exception as err:
            failure = describe_failure(err, at_load=self._is_loading, is_replaceable=self._is_replaceable)
            if failure.is_transient:
                failure = self._recover(failure)
                self._helping_failure = self._helping_failure or failure
            if failure.worker_fault:
                raise WorkerLostError("another replica failed", worker=self._name, reason=failure.message) from err
            raise

    def stop_helping(self) -> Failure | None:
        """Drop the states of a job of another worker; return the first failure while helping with it, if any."""
        failure, self._helping_failure = self._helping_failure, None
        if self._chain is not None:
            self._chain.everywhere(Shard.drop_states)
        return failure


def drop_states(shard: Shard) -> None:
    """Drop the states that an interrupted job left in a shard, and return their memory."""
    gc.collect()  # ends the generators of the job, whose threads may still run batches
    shard.drop_states()
    free_memory()


def free_memory() -> None:
    """Return the memory of objects that are no longer referenced, on accelerators too."""
    gc.collect()
    if torch.cuda.is_available():
        with suppress(RuntimeError):  # after a device error, every call of CUDA fails
            torch.cuda.empty_cache()


def worker_name(number: int) -> str:
    """Name of a worker: its number and process id."""
    return f"worker-{number} pid {os.getpid()}"
