"""Ray actors: a worker, and a shard of a model that is too large for one process.

The driver imports this module, too. The code of models, which takes seconds to import, is imported by the actors.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Concatenate, TypeVar

import ray
from ray.actor import ActorClass, ActorHandle
from ray.exceptions import RayError

from mlprune.models.chain import Arguments, Chain
from mlprune.models.inference.visitor import Result
from mlprune.plan.pool import Pool
from mlprune.steps.job import Job, ModelRef
from ray_jobs.workers.nodes.requirements import NONE, Requirements, require_here
from ray_jobs.workers.recovery.failures import Failure
from ray_jobs.workers.recovery.heartbeats import Place
from ray_jobs.workers.resource_usage import PeakMemory
from ray_jobs.workers.sharing.offers import Offers
from ray_jobs.workers.sharing.ray_replica import JobReplicas
from ray_jobs.workers.worker import Outcome, Worker, free_memory, worker_name

if TYPE_CHECKING:
    from mlprune.models.shard import Shard

Method = TypeVar("Method", bound=Callable[..., object])
SHARING = "sharing"
"""Group of the methods that two threads of a worker call while a job runs in another one."""
PULSE = "pulse"
"""Group of the method by which an actor shows that it is alive, in a thread of its own."""


def _while_a_job_runs(method: Method) -> Method:
    """Let a method of an actor be called while a job runs."""
    in_group: Method = ray.method(concurrency_group=SHARING)(method)
    return in_group


def _as_pulse(method: Method) -> Method:
    """Let a method of an actor be called in a thread of its own."""
    in_group: Method = ray.method(concurrency_group=PULSE)(method)
    return in_group


class NodeActor:
    """A process of Ray that reports where it runs, also while a job runs."""

    @_as_pulse
    def place(self) -> Place:
        """Return the node and the process; the answer shows that the process is not stopped."""
        return Place(self.node_id(), os.getpid())

    def node_id(self) -> str:
        """Return the id of the node."""
        node_id: str = ray.get_runtime_context().get_node_id()
        return node_id


class ShardActor(NodeActor):
    """A process that has some blocks of a model, and runs jobs that do not run the model."""

    def __init__(
        self,
        store_uri: str,
        model: ModelRef,
        pool: Pool,
        *,
        needs: Requirements = NONE,
        number: int,
    ) -> None:
        from ray_jobs.workers.model_loading import warm_up  # noqa: PLC0415 - see the module's docstring

        require_here(needs)
        self._pool = pool
        self._peak = PeakMemory()
        self._shard: Shard | None = None
        self._worker = Worker(
            store_uri,
            _load_nothing,
            name=worker_name(number),
            threads=pool.threads,
            model_threads=pool.model_threads,
            is_replaceable=True,
        )
        warm_up(model)

    def load(self, model: ModelRef, span: range, *, offload_level: int) -> None:
        """Load some blocks of a model in place of those that the process has."""
        from ray_jobs.workers.model_loading import load_shard  # noqa: PLC0415 - see the module's docstring

        self.unload()
        self._shard = load_shard(model, span, self._pool, offload_level=offload_level)

    def unload(self) -> None:
        """Free the memory of the blocks."""
        self._shard = None
        free_memory()

    def call(
        self,
        method: "Callable[Concatenate[Shard, Arguments], Result]",
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Call a method of the loaded shard."""
        assert self._shard is not None, "the worker loads a model before it calls its shards"
        self._worker.set_threads(needs_chain=True)
        return method(self._shard, *args, **kwargs)

    def run(self, job: Job) -> Outcome:
        """Run a job that does not run the model."""
        return self._worker.run(job)

    def measure(self) -> None:
        """Reset the peak memory of this process."""
        self._peak = PeakMemory()

    def peak_gib(self) -> float:
        """Return the peak memory of this process since the last reset."""
        return self._peak.gib()


class WorkerActor(NodeActor):
    """A worker. Its model is in its own process, or in the shard actors that it is given."""

    def __init__(
        self,
        store_uri: str,
        model: ModelRef,
        pool: Pool,
        *,
        shards: Sequence[ActorHandle] = (),
        needs: Requirements = NONE,
        number: int,
    ) -> None:
        from ray_jobs.workers.model_loading import warm_up  # noqa: PLC0415 - see the module's docstring

        require_here(needs)
        self._model = model
        self._pool = pool
        self._shards = tuple(shards)
        self._peak: PeakMemory | None = None
        self._offers: Offers[ActorHandle] = Offers()
        self._worker = Worker(
            store_uri,
            self._load,
            name=worker_name(number),
            threads=pool.threads,
            model_threads=pool.model_threads,
            is_replaceable=True,
        )
        if not shards:
            warm_up(model)

    def run(self, job: Job, helpers: Mapping[str, ActorHandle] | None = None, number: int = 0) -> Outcome:
        """Run a job; its peak memory is that of the largest process that worked on it.

        Args:
            helpers: name -> idle worker that shares the job.
            number: of a job that workers can share; see `Offers`.
        """
        self._reset_peaks()
        if not number:
            return self._run(job, None)
        self._offers.begin(number, helpers or {})
        try:
            return self._run(job, JobReplicas(self._offers, job, self._pool))
        finally:
            self._offers.end()

    def _run(self, job: Job, replicas: JobReplicas | None) -> Outcome:
        outcome = self._worker.run(job, replicas.join if replicas else None)
        try:
            peaks: list[float] = ray.get(replicas.peaks()) if replicas else []
            if job.needs_chain:
                peaks += ray.get([shard.peak_gib.remote() for shard in self._shards])
        except RayError:  # a shard, or a worker that shared the job, was lost
            return outcome
        return replace(outcome, peak_memory_gib=round(max([outcome.peak_memory_gib, *peaks]), 3))

    @_while_a_job_runs
    def offer(self, number: int, helpers: Mapping[str, ActorHandle]) -> None:
        """Replace the workers that are offered to a job which may run at this moment."""
        self._offers.offer(number, helpers)

    @_while_a_job_runs
    def given_back(self, number: int) -> tuple[str, ...]:
        """Wait until a job gives back workers, and return their names; return none when it has ended."""
        return self._offers.wait_given_back(number)

    def help(self, model: ModelRef | None, offload_level: int, task: "Callable[[Chain], Result]") -> "Result":
        """Run a task of a job that another worker runs."""
        if self._peak is None:
            self._reset_peaks()
            self._peak = PeakMemory()
        return self._worker.help(model, offload_level, task)

    def peak_gib(self) -> float:
        """Return the peak memory of the largest process of this worker since it began to share a job."""
        peaks: list[float] = ray.get([shard.peak_gib.remote() for shard in self._shards])
        return max([self._peak.gib() if self._peak else 0.0, *peaks])

    def stop_helping(self) -> Failure | None:
        """Drop the states of another worker's job; return the failure after which this worker is to be replaced."""
        self._peak = None
        return self._worker.stop_helping()

    def check(self) -> None:
        """Do nothing if this worker and its shards are alive.

        Raises:
            RayError: a shard was lost.
        """
        ray.get([shard.peak_gib.remote() for shard in self._shards])

    def _reset_peaks(self) -> None:
        """Reset the peak memory of the shards."""
        for shard in self._shards:
            shard.measure.remote()

    def _load(self, other: ModelRef | None, *, offload_level: int) -> Chain:
        from ray_jobs.workers.model_loading import load_model  # noqa: PLC0415 - see the module's docstring
        from ray_jobs.workers.shard_chain import load_chain  # noqa: PLC0415

        model = other or self._model
        if not self._shards:
            return load_model(model, self._pool, offload_level=offload_level)
        return load_chain(self._shards, model, self._pool, offload_level=offload_level)


def _load_nothing(_: ModelRef | None, *, offload_level: int) -> Chain:
    raise AssertionError(f"a job that runs the model does not run on a shard (offload level {offload_level})")


def actor_class(plain: type) -> ActorClass:
    """Convert a plain class to a class of Ray actors. Methods of the group `SHARING` are called while a job runs."""
    return ray.remote(concurrency_groups={SHARING: 2, PULSE: 1})(plain)
