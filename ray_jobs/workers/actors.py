"""Ray actors: a worker, and a shard of a model that is too large for one process.

The driver imports this module, too. The code of models, which takes seconds to import, is imported by the actors.
"""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Concatenate

import ray
import torch
from ray.actor import ActorClass, ActorHandle
from ray.exceptions import RayError

from mlprune.models.block_ranges import plan_spans
from mlprune.models.chain import Arguments, Chain
from mlprune.models.inference.visitor import Result
from mlprune.parallel import set_worker_threads
from mlprune.plan.pool import Pool
from mlprune.steps.job import Job, ModelRef
from ray_jobs.workers.placement_groups import ReplicaPlacement
from ray_jobs.workers.recovery.failures import Failure
from ray_jobs.workers.resource_usage import PeakMemory
from ray_jobs.workers.sharing.ray_replica import JobReplicas
from ray_jobs.workers.worker import Outcome, Worker, worker_name

if TYPE_CHECKING:
    from mlprune.models.shard import Shard
    from ray_jobs.workers.ray_chain import RayChain


class ShardActor:
    """A process with some blocks of a model."""

    def __init__(self, model: ModelRef, span: range, pool: Pool, *, offload_level: int) -> None:
        from ray_jobs.workers.model_loading import load_shard  # noqa: PLC0415 - see the module's docstring

        torch.set_num_threads(1)
        set_worker_threads(pool.model_threads)
        self._peak = PeakMemory()
        self._shard = load_shard(model, span, pool, offload_level=offload_level)

    def call(
        self,
        method: "Callable[Concatenate[Shard, Arguments], Result]",
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Call a method of the shard."""
        return method(self._shard, *args, **kwargs)

    def measure(self) -> None:
        """Reset the peak memory of this process."""
        self._peak = PeakMemory()

    def peak_gib(self) -> float:
        """Return the peak memory of this process since the last reset."""
        return self._peak.gib()


class WorkerActor:
    """A worker. Its model is in its own process, or in shard actors that it starts and owns."""

    def __init__(
        self, store_uri: str, model: ModelRef, pool: Pool, *, placement: ReplicaPlacement, number: int
    ) -> None:
        from ray_jobs.workers.model_loading import warm_up  # noqa: PLC0415 - see the module's docstring

        self._model = model
        self._pool = pool
        self._placement = placement
        self._chain: Callable[[], RayChain | None] = lambda: None
        self._name = worker_name(number)
        self._n_loads = 0
        self._peak: PeakMemory | None = None
        self._worker = Worker(
            store_uri,
            self._load,
            name=self._name,
            threads=pool.threads,
            model_threads=pool.model_threads,
            is_replaceable=True,
        )
        if pool.n_shards == 1:
            warm_up(model)

    def run(self, job: Job, helpers: Sequence[ActorHandle] = ()) -> Outcome:
        """Run a job; its peak memory is that of the largest process that worked on it.

        Args:
            helpers: idle workers that share the job.
        """
        self._reset_peaks()
        join = JobReplicas(helpers, job, self._pool).join if helpers else None
        outcome = self._worker.run(job, join)
        try:
            peaks = ray.get([helper.peak_gib.remote() for helper in helpers])
            if job.needs_chain:
                peaks += ray.get([shard.peak_gib.remote() for shard in self._shards()])
        except RayError:  # a shard or a helper was lost; the outcome already reports it
            return outcome
        return replace(outcome, peak_memory_gib=round(max([outcome.peak_memory_gib, *peaks]), 3))

    def help(self, model: ModelRef | None, offload_level: int, task: "Callable[[Chain], Result]") -> "Result":
        """Run a task of a job that another worker runs."""
        if self._peak is None:
            self._reset_peaks()
            self._peak = PeakMemory()
        return self._worker.help(model, offload_level, task)

    def peak_gib(self) -> float:
        """Return the peak memory of the largest process of this worker since it began to help."""
        peaks: list[float] = ray.get([shard.peak_gib.remote() for shard in self._shards()])
        return max([self._peak.gib() if self._peak else 0.0, *peaks])

    def stop_helping(self) -> Failure | None:
        """Drop the states of another worker's job; return the failure after which this worker is to be replaced."""
        self._peak = None
        return self._worker.stop_helping()

    def _reset_peaks(self) -> None:
        """Reset the peak memory of the shards.

        This is a method of its own so that `run` keeps no reference to the shards: a referenced shard would not end and
        would keep its resources from the next load.
        """
        for shard in self._shards():
            shard.measure.remote()

    def _load(self, other: ModelRef | None, *, offload_level: int) -> Chain:
        from ray_jobs.workers.model_loading import load_model  # noqa: PLC0415 - see the module's docstring
        from ray_jobs.workers.ray_chain import RayChain  # noqa: PLC0415

        model = other or self._model
        if self._pool.n_shards == 1:
            return load_model(model, self._pool, offload_level=offload_level)
        spans = plan_spans(model.n_blocks, min(self._pool.n_shards, model.n_blocks))
        self._n_loads += 1
        shards = [
            self._start_shard(model, number, span, offload_level=offload_level) for number, span in enumerate(spans)
        ]
        self._placement.wait(shards)
        chain = RayChain(shards, spans, model.n_blocks, threads=self._pool.model_threads)
        self._chain = weakref.ref(chain)  # the shard actors end when the worker drops the chain
        return chain

    def _start_shard(self, model: ModelRef, number: int, span: range, *, offload_level: int) -> ActorHandle:
        name = f"{self._name}, blocks {span.start}-{span.stop - 1}, load {self._n_loads}"  # shown in Ray's dashboard
        options = actor_class(ShardActor).options(name=name, **self._placement.shard_options(number))
        return options.remote(model, span, self._pool, offload_level=offload_level)

    def _shards(self) -> tuple[ActorHandle, ...]:
        """Return the shard actors of the loaded chain."""
        chain = self._chain()
        return chain.shards if chain else ()


def actor_class(plain: type) -> ActorClass:
    """Convert a plain class to a class of Ray actors."""
    return ray.remote(plain)
