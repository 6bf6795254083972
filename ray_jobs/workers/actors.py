"""Ray actors: a worker, a shard of a model, and replicas that are offered to the job of another worker.

A worker runs its job in one thread. Other threads change the offer and wait for replicas that the job gives back.

The driver imports this module, too. The code of models, which takes seconds to import, is imported by the actors.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Concatenate, Generic, TypeVar

import ray
from ray import ObjectRef
from ray.actor import ActorClass, ActorHandle
from ray.exceptions import RayError

from mlprune.models.chain import Arguments, Chain, Replica
from mlprune.models.inference.visitor import Result
from mlprune.models.replicated_chain import ReplicatedChain, load_only
from mlprune.planning.resources.node_capacity import Pool
from mlprune.steps.job import Job, ModelRef
from ray_jobs.workers.heartbeats import Beat, Place
from ray_jobs.workers.ray_failures import FailureClassifier
from ray_jobs.workers.recovery import Failure
from ray_jobs.workers.required_files import NONE, Requirements, require_here
from ray_jobs.workers.worker import Outcome, PeakMemory, Worker, free_memory, worker_name

Result_co = TypeVar("Result_co", covariant=True)
Method = TypeVar("Method", bound=Callable[..., object])
SHARING = "sharing"
"""Group of the methods that two threads of a worker call while a job runs in another one."""
PULSE = "pulse"
"""Group of the method by which an actor shows that it is alive, in a thread of its own."""
if TYPE_CHECKING:
    from mlprune.models.shard import Shard
Handle = TypeVar("Handle")


class Offers(Generic[Handle]):
    """The offer of the job that runs; jobs are numbered in the order in which they are started."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._number = self._n_ended = 0
        self._early: tuple[int, Mapping[str, Handle]] = (0, {})
        """An offer that arrived before its job began."""
        self._offered: dict[str, Handle] = {}
        self._given_back: list[str] = []

    def begin(self, number: int, offered: Mapping[str, Handle]) -> None:
        """Begin a job.

        Args:
            number: larger than that of earlier jobs, from 1.
            offered: name -> replica.
        """
        with self._changed:
            early_number, early = self._early
            self._number = number
            self._offered = dict(early if early_number == number else offered)
            self._given_back = []

    def offer(self, number: int, offered: Mapping[str, Handle]) -> None:
        """Replace the offer of a job; ignored if the job has ended."""
        with self._changed:
            if number > self._number:
                self._early = (number, offered)
            elif number > self._n_ended:
                self._offered = {name: one for name, one in offered.items() if name not in self._given_back}

    def current(self) -> dict[str, Handle]:
        """Return the replicas that are offered now."""
        with self._changed:
            return dict(self._offered)

    def give_back(self, name: str) -> None:
        """Give back a replica that the job does not use any more."""
        with self._changed:
            self._offered.pop(name, None)
            self._given_back.append(name)
            self._changed.notify_all()

    def end(self) -> None:
        """End the job; it uses no other replica any more."""
        with self._changed:
            self._n_ended = self._number
            self._offered = {}
            self._changed.notify_all()

    def wait_given_back(self, number: int) -> tuple[str, ...]:
        """Wait until a job gives back replicas, and return their names; return none if the job has ended."""
        with self._changed:
            self._changed.wait_for(lambda: number <= self._n_ended or (number == self._number and self._given_back))
            if number <= self._n_ended:
                return ()
            names, self._given_back = tuple(self._given_back), []
            return names


class RayPending(Generic[Result_co]):
    """The result of a task in another worker."""

    def __init__(self, replica: "RayReplica", reference: ObjectRef) -> None:
        self._replica = replica
        self._reference = reference

    def is_done(self) -> bool:
        """See `Pending.is_done`."""
        return bool(ray.wait([self._reference], timeout=0)[0])

    def result(self) -> Result_co:
        """See `Pending.result`."""
        result: Result_co = self._replica.failures.get(self._reference, who="another replica", name=self._replica.name)
        self._replica.has_worked = True
        return result


class RayReplica:
    """The replica of a worker actor that shares a job."""

    def __init__(self, actor: ActorHandle, job: Job, *, name: str) -> None:
        self.name = name
        self.actor = actor
        self.failures = FailureClassifier()
        self.has_worked = False
        """Whether a task has ended, so that the replica has loaded the model."""
        self._arguments = (job.chain_model, job.offload_level)

    def begin(self, task: Callable[[Chain], Result]) -> RayPending[Result]:
        """See `Replica.begin`."""
        return RayPending(self, self.actor.help.remote(*self._arguments, task))


class JobReplicas:
    """The replicas that share a job with this worker; see `ReplicaOffer`.

    Those that are offered when the job begins load the model at the same time as this worker.

    Args:
        offers: name -> worker.
        pool: resources of every worker.
    """

    def __init__(self, offers: Offers[ActorHandle], job: Job, pool: Pool) -> None:
        self._offers = offers
        self._job = job
        self._replicas: dict[str, RayReplica] = {}
        self._group_size = (
            pool.model_threads if pool.n_shards == 1 and not (pool.is_offloaded or job.offload_level) else None
        )
        for replica in self.replicas():
            replica.begin(load_only)

    def join(self, chain: Chain) -> Chain:
        """Make one chain of this worker's chain and those of the others."""
        return ReplicatedChain(chain, self, group_size=self._group_size)

    def replicas(self) -> list[RayReplica]:
        """See `ReplicaOffer.replicas`."""
        offered = self._offers.current()
        for name in offered.keys() - self._replicas.keys():
            self._replicas[name] = RayReplica(offered[name], self._job, name=name)
        return [self._replicas[name] for name in offered]

    def give_back(self, replica: Replica) -> None:
        """See `ReplicaOffer.give_back`."""
        assert isinstance(replica, RayReplica), "only replicas of `replicas` are given back"
        self._offers.give_back(replica.name)

    def peaks(self) -> list[ObjectRef]:
        """Return references to the peak memory of the replicas that share the job and have loaded the model."""
        return [replica.actor.peak_gib.remote() for replica in self.replicas() if replica.has_worked]


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

    _worker: Worker

    @_as_pulse
    def beat(self) -> Beat:
        """Return where the process runs and how far its job is; the answer shows that the process is not stopped."""
        return Beat(Place(self.node_id(), os.getpid()), self._worker.running_parts)

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
        from ray_jobs.workers.in_process import warm_up  # noqa: PLC0415 - see the module's docstring

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
        from ray_jobs.workers.in_process import load_shard  # noqa: PLC0415 - see the module's docstring

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
        from ray_jobs.workers.in_process import warm_up  # noqa: PLC0415 - see the module's docstring

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
        from ray_jobs.workers.in_process import load_model  # noqa: PLC0415 - see the module's docstring
        from ray_jobs.workers.ray_chain import load_chain  # noqa: PLC0415

        model = other or self._model
        if not self._shards:
            return load_model(model, self._pool, offload_level=offload_level)
        return load_chain(self._shards, model, self._pool, offload_level=offload_level)


def _load_nothing(_: ModelRef | None, *, offload_level: int) -> Chain:
    raise AssertionError(f"a job that runs the model does not run on a shard (offload level {offload_level})")


def actor_class(plain: type) -> ActorClass:
    """Convert a plain class to a class of Ray actors. Methods of the group `SHARING` are called while a job runs."""
    return ray.remote(concurrency_groups={SHARING: 2, PULSE: 1})(plain)
