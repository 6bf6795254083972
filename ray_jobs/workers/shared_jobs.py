"""Idle replicas (helpers) that share running jobs of other replicas, and return from them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import ray
from ray import ObjectRef
from ray.exceptions import RayError

from mlprune.steps.job import Job
from ray_jobs.workers.replica_actors import ReplicaActors


@dataclass
class SharedJob:
    """A running job that other replicas can share."""

    replica: ReplicaActors
    job: Job
    number: int
    helpers: dict[str, ReplicaActors]
    """Name -> replica that was offered and not given back."""
    recalled: set[str] = field(default_factory=set)
    """Names of the replicas that the job has to give back at the end of a block."""
    watch: ObjectRef | None = None
    """Reference of the names of replicas that the job gives back."""

    def offer(self) -> None:
        """Offer the job the replicas that it may use."""
        self.replica.offer(self.number, [one for name, one in self.helpers.items() if name not in self.recalled])

    def watch_helpers(self) -> None:
        """Wait for replicas that the job gives back, if it has any."""
        if self.watch is None and self.helpers:
            self.watch = self.replica.given_back(self.number)


class SharedJobs:
    """The running jobs that idle replicas share."""

    def __init__(self) -> None:
        self._shared: dict[ObjectRef, SharedJob] = {}
        """Reference of a job's outcome -> the job."""
        self._n_started = 0
        self.returning: dict[ObjectRef, ReplicaActors] = {}
        """Replicas that have been given back and drop the states of the job."""

    @property
    def watches(self) -> list[ObjectRef]:
        """References that are available when a job gives back replicas."""
        return [shared.watch for shared in self._shared.values() if shared.watch is not None]

    @property
    def references(self) -> list[ObjectRef]:
        """References that are available when replicas are given back or return."""
        return [*self.returning, *self.watches]

    def start(self, replica: ReplicaActors, job: Job, *, helpers: Sequence[ReplicaActors] = ()) -> ObjectRef:
        """Start a job, which some idle replicas share from its beginning."""
        if not job.shares_replicas:
            return replica.start(job)
        self._n_started += 1
        shared = SharedJob(replica, job, self._n_started, {helper.name: helper for helper in helpers})
        reference = replica.start(job, helpers, number=shared.number)
        self._shared[reference] = shared
        for helper in helpers:
            helper.help(reference)
        shared.watch_helpers()
        return reference

    def offer_idle(self, jobs: Iterable[Job], idle: Sequence[ReplicaActors]) -> None:
        """Offer idle replicas to some of the running jobs, evenly."""
        jobs = list(jobs)
        running = [(reference, shared) for reference, shared in self._shared.items() if shared.job in jobs]
        for replica in idle if running else ():
            reference, shared = min(running, key=lambda one: len(one[1].helpers))
            shared.helpers[replica.name] = replica
            replica.help(reference)
            shared.offer()
            shared.watch_helpers()

    def recall(self, n_replicas: int) -> None:
        """Ask jobs to give back replicas, first those with the most; already recalled ones count."""
        n_missing = n_replicas - len(self.returning) - sum(len(shared.recalled) for shared in self._shared.values())
        for _ in range(n_missing):
            shared = max(self._shared.values(), key=_n_kept, default=None)
            if shared is None or not _n_kept(shared):
                break
            self._recall(shared, next(name for name in reversed(shared.helpers) if name not in shared.recalled))

    def recall_replica(self, replica: ReplicaActors) -> None:
        """Ask the job that uses a replica to give it back."""
        for shared in self._shared.values():
            if shared.helpers.get(replica.name) is replica and replica.name not in shared.recalled:
                self._recall(shared, replica.name)

    def _recall(self, shared: SharedJob, name: str) -> None:
        shared.recalled.add(name)
        shared.offer()

    def settle(self, watch: ObjectRef) -> None:
        """Take back the replicas that a job gives back."""
        reference, shared = next(one for one in self._shared.items() if one[1].watch == watch)
        shared.watch = None
        try:
            names: Sequence[str] = ray.get(watch)
        except RayError:  # the worker of the job died; the job's outcome says so
            return
        for name in names:
            self._take_back(reference, shared, name=name)
        if names:
            shared.watch_helpers()

    def end(self, reference: ObjectRef) -> None:
        """Take back all replicas of a job that has ended."""
        shared = self._shared.get(reference)
        if shared is not None:
            for name in list(shared.helpers):
                self._take_back(reference, shared, name=name)
            del self._shared[reference]

    def _take_back(self, reference: ObjectRef, shared: SharedJob, *, name: str) -> None:
        shared.recalled.discard(name)
        helper = shared.helpers.pop(name, None)
        if helper is not None:
            self.returning[helper.stop_helping(reference)] = helper


def _n_kept(shared: SharedJob) -> int:
    return len(shared.helpers) - len(shared.recalled)
