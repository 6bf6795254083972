"""Workers on Ray: a pool of replicas that run jobs. If an actor dies, its replica is replaced and its job returned.

A worker that dies, whose device stopped working, or that cannot load the model may pause before it is replaced. After
too many failures in a row it is not used any more. A worker gets jobs as soon as its actor runs. Idle workers share a
job of another one until it has ended or further jobs need them. If the cluster has no room for a worker, because a node
is lost or others use it, that worker waits and the others continue. A run without any worker waits up to an hour.
Workers are added when nodes join; those on a node that is about to leave get no further jobs. A process that does not
answer for a while, because it is stopped, is ended and replaced.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterable

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayError

from mlprune.planning.resources.node_capacity import Pool
from mlprune.processes.job_parts import RunningParts
from mlprune.steps.job import Job, ModelRef
from ray_jobs.workers.cluster import start_on_node
from ray_jobs.workers.cluster_nodes import Scaling
from ray_jobs.workers.heartbeats import Beat, Heartbeats, end_if_stopped, silent_after_s
from ray_jobs.workers.pool_interface import PoolChange
from ray_jobs.workers.ray_failures import FailureClassifier
from ray_jobs.workers.recovery import Failure, WorkerHealth, describe_failure
from ray_jobs.workers.replica_actors import LOG_INTERVAL_S, START_WAIT_S, ReplicaActors, RoomWait
from ray_jobs.workers.required_files import NONE, Requirements
from ray_jobs.workers.shared_jobs import SharedJobs
from ray_jobs.workers.worker import Outcome, lost_outcome

logger = logging.getLogger(__name__)


class RayWorkers:
    """A pool of worker actors.

    Args:
        store_uri: the store; every node must reach it under this name.
        model: the base model; every node must have it at the same path.
        pool: number of actors and their resources.
        needs: each actor checks it; a node that lacks files of a hub model downloads them.
        scaling: adapts the number of actors to the nodes; by default it stays as planned.
    """

    def __init__(
        self, store_uri: str, model: ModelRef, pool: Pool, *, needs: Requirements = NONE, scaling: Scaling | None = None
    ) -> None:
        self._pool = pool
        self._scaling = scaling or Scaling(pool)
        self._arguments = (store_uri, model, pool, needs)
        self._failures = FailureClassifier()
        self._health = WorkerHealth(pool.n_workers)
        self._n_starts: Counter[int] = Counter()
        self._replicas: dict[int, ReplicaActors] = {}
        """Number -> the replica, unless it was ended."""
        self._usable: list[ReplicaActors] = []
        """Replicas that get jobs, the one that waits longest first."""
        self._running: dict[ObjectRef, tuple[ReplicaActors, Job]] = {}
        self._starting: dict[ObjectRef, ReplicaActors] = {}
        self._shared_jobs = SharedJobs()
        self._slow: set[ObjectRef] = set()
        """Starts that a shared job does not wait for again."""
        self._faults: dict[int, Failure] = {}
        """Replica that failed but still runs other jobs -> its failure; counted when they have ended."""
        self._heartbeats: Heartbeats[ObjectRef] = Heartbeats(
            lambda name: self._actors[name].beat.remote(), _beats, silent_after_s=silent_after_s()
        )
        self._actors: dict[str, ActorHandle] = {}
        """Name -> process that has started."""
        for number in range(pool.n_workers):
            self._start(number)

    def _start(self, number: int) -> None:
        self._n_starts[number] += 1
        name = f"worker-{number}, start {self._n_starts[number]}"  # shown in Ray's dashboard
        self._replicas[number] = replica = ReplicaActors(*self._arguments, number=number, name=name)
        self._starting.update(dict.fromkeys(replica.ready(), replica))

    @property
    def problem(self) -> str | None:
        """Why no further job can be run: the last worker failed too often. None while a worker is left."""
        return self._health.problem

    def free(self) -> int:
        """Count the free shards of all replicas. If there is none and no job runs, wait for a replica.

        Raises:
            WorkerLostError: no worker started in time.
        """
        self._restart_failed()
        self._adapt_to_nodes()
        self._collect_started(timeout_s=0.0)
        room = RoomWait(self._pool)
        while not any(one.n_free for one in self._usable) and not self._running and self.problem is None:
            self._restart_failed(wait=not self._starting and not self._shared_jobs.returning)
            pause_s = self._health.seconds_to_next()
            if self._collect_started(timeout_s=min(LOG_INTERVAL_S, pause_s or LOG_INTERVAL_S)) or pause_s is not None:
                continue
            room.check()
            self._adapt_to_nodes()
        return sum(replica.n_free for replica in self._usable)

    def _adapt_to_nodes(self) -> None:
        """Start workers for which nodes have joined, and give no further jobs to those whose node leaves."""
        if (usable := self._scaling.usable_nodes()) is None:
            return
        for replica in list(self._replicas.values()):
            if replica not in self._starting.values() and not replica.node_ids <= usable:
                self._replace(replica)
                self._shared_jobs.recall_replica(replica)
        for number in self._scaling.added():
            self._health.add(number)
            self._start(number)

    def take_changes(self) -> list[PoolChange]:
        """Return the changes of the number of workers since the last call."""
        return self._scaling.take_changes()

    def size(self, job: Job) -> int:
        """Return the number of shards that a job uses."""
        return self._pool.n_shards if job.needs_chain else 1

    def _collect_started(self, *, timeout_s: float) -> bool:
        """Use the actors that have started or returned, and replace those that failed. Returns whether any did."""
        started, _ = ray.wait([*self._starting, *self._shared_jobs.returning], num_returns=1, timeout=timeout_s)
        self._settle(started)
        return bool(started)

    def _settle(self, references: Iterable[ObjectRef]) -> None:
        """Use replicas that have started or returned, and replace those that failed."""
        for reference in references:
            self._slow.discard(reference)
            if reference in self._shared_jobs.watches:
                self._shared_jobs.settle(reference)
            elif reference in self._starting:
                self._settle_start(reference)
            elif reference in self._shared_jobs.returning:
                self._settle_return(reference)

    def _settle_start(self, reference: ObjectRef) -> None:
        """Use a replica once all of its actors have started."""
        replica = self._starting.pop(reference)
        try:
            replica.node_ids.add(self._failures.get(reference, who="a worker", worker=replica.number))
        except Exception as err:  # whatever the error is, another process may start
            self._starting = {other: owner for other, owner in self._starting.items() if owner is not replica}
            self._replace(replica, describe_failure(err, at_load=True, is_replaceable=True))
        else:
            if replica not in self._starting.values():
                self._usable.append(replica)

    def _settle_return(self, reference: ObjectRef) -> None:
        replica = self._shared_jobs.returning.pop(reference)
        replica.finish(reference)
        try:
            failure: Failure | None = self._failures.get(reference, who="a worker", worker=replica.number)
        except Exception as err:  # the actor cannot be used any more, as after any error of Ray
            self._replace(replica, describe_failure(err, is_replaceable=True))
        else:
            self._settle_replica(replica, failure, ran_model=True)

    def _settle_replica(self, replica: ReplicaActors, failure: Failure | None, *, ran_model: bool) -> None:
        """Use a replica for further jobs, unless the failure of its last job means that it has to be replaced."""
        has_fault = failure is not None and failure.worker_fault is not None
        if not has_fault and replica.number not in self._faults:
            self._health.succeeded(replica.number)
        may_lack_shard = self._pool.n_shards > 1 and ran_model and failure is not None and failure.unloads_model
        if has_fault or may_lack_shard or replica not in self._usable:
            self._replace(replica, failure)  # the whole replica waits for resources: its node may be lost
        else:
            self._usable.remove(replica)
            self._usable.append(replica)

    def _restart_failed(self, *, wait: bool = False) -> None:
        """Start the workers whose pause after a failure is over; `wait` for the next one if there is none."""
        if wait:
            time.sleep(self._health.seconds_to_next() or 0.0)
        for number in self._health.due():
            self._start(number)

    def spare(self, n_jobs: int) -> int:
        """Return how many workers are idle besides those for some jobs, after waiting for those that are starting."""
        while expected := [one for one in (*self._starting, *self._shared_jobs.returning) if one not in self._slow]:
            ready, _ = ray.wait([*self._running, *expected], num_returns=1, timeout=START_WAIT_S)
            self._settle(ready)
            if not ready:
                self._slow.update(expected)
            elif ready[0] in self._running:
                break
        return max(0, len(self._idle) - n_jobs)

    @property
    def _idle(self) -> list[ReplicaActors]:
        return [replica for replica in self._usable if not replica.is_busy]

    def submit(self, job: Job, *, n_helpers: int = 0) -> None:
        """Give a job to a replica with a free shard. Jobs that run the model get an idle replica if there is one."""
        candidates = [replica for replica in self._usable if replica.n_free]
        replica = (max if job.needs_chain else min)(candidates, key=lambda replica: replica.n_free)
        helpers = [other for other in self._idle if other is not replica][:n_helpers]
        self._running[self._shared_jobs.start(replica, job, helpers=helpers)] = (replica, job)

    def share(self, jobs: Iterable[Job]) -> None:
        """Let idle replicas share some running jobs."""
        self._shared_jobs.offer_idle(jobs, self._idle)

    def recall(self, n_jobs: int) -> None:
        """Take replicas back from shared jobs, at their next block, for jobs that wait for a worker."""
        self._shared_jobs.recall(n_jobs)

    def wait(self, timeout_s: float | None = None) -> list[tuple[Job, Outcome]]:
        """Wait until a job has ended, a worker has started or the time is over; return the jobs that have ended."""
        self._restart_failed()
        self._end_stopped()
        pauses = (timeout_s, self._health.seconds_to_next(), self._scaling.interval_s, self._heartbeats.interval_s)
        timeout_s = min((seconds for seconds in pauses if seconds is not None), default=None)
        references = [*self._running, *self._starting, *self._shared_jobs.references]
        ready, _ = ray.wait(references, num_returns=1, timeout=timeout_s)
        self._settle(ready)
        return [self._collect(reference) for reference in ready if reference in self._running]

    def _collect(self, reference: ObjectRef) -> tuple[Job, Outcome]:
        replica, job = self._running.pop(reference)
        replica.finish(reference)
        self._shared_jobs.end(reference)
        try:
            outcome: Outcome = self._failures.get(reference, who="a worker", worker=replica.number)
        except Exception as err:  # after any error of Ray, the actor cannot be used any more
            failure = describe_failure(err, is_replaceable=True)
            self._replace(replica, failure)
            self._shared_jobs.returning |= {idle.check(): idle for idle in self._idle}  # their node may be lost, too
            return job, lost_outcome(job, f"worker-{replica.number}", failure)
        self._settle_replica(replica, outcome.failure, ran_model=job.needs_chain)
        return job, outcome

    def _replace(self, replica: ReplicaActors, failure: Failure | None = None) -> None:
        """Give a replica no further jobs. Once it runs none, end it, and start it again if it is needed and healthy."""
        if failure is not None and failure.worker_fault:
            self._faults.setdefault(replica.number, failure)
        if replica in self._usable:
            self._usable.remove(replica)
        if replica.is_busy:
            return
        del self._replicas[replica.number]
        replica.end()
        fault = self._faults.pop(replica.number, None)
        if not self._scaling.keeps(replica.number):
            self._health.remove(replica.number)
        elif fault is not None:
            self._health.failed(replica.number, fault)
            self._restart_failed()
        else:
            self._start(replica.number)

    def _end_stopped(self) -> None:
        """End the processes that have been silent for too long and are stopped; then they are replaced as lost ones."""
        started = [replica for replica in self._replicas.values() if replica not in self._starting.values()]
        self._actors = {
            f"{replica.name}, process {index}": actor
            for replica in started
            for index, actor in enumerate(replica.actors)
        }
        for name, place in self._heartbeats.silent(self._actors).items():
            message = "%s has not answered for %.0f s; if it is stopped, it is replaced"
            logger.warning(message, name, self._heartbeats.silent_after_s)
            start_on_node(end_if_stopped, place.node_id, place.process_id)

    @property
    def running_parts(self) -> RunningParts:
        """See `Workers.running_parts`; as of the last sign of life of each process."""
        running = {job.makes[-1] for _, job in list(self._running.values())}
        return {key: parts for key, parts in self._heartbeats.parts.items() if key in running}

    def close(self) -> None:
        """Kill all workers."""
        for replica in self._replicas.values():
            replica.end()


def _beats(replies: list[ObjectRef]) -> dict[ObjectRef, Beat | None]:
    """Return the replies of actors that have arrived -> their signs of life; a dead actor has none."""
    arrived, _ = ray.wait(replies, num_returns=len(replies), timeout=0.0) if replies else ([], [])
    beats: dict[ObjectRef, Beat | None] = {}
    for reply in arrived:
        try:
            beats[reply] = ray.get(reply)
        except RayError:
            beats[reply] = None
    return beats
