"""Replicas of a model in this process, for tests of jobs that several replicas share."""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic

from mlprune.models.chain import Chain, Replica
from mlprune.models.inference.visitor import Result
from mlprune.models.replicated_chain import ReplicatedChain


@dataclass
class LatePending(Generic[Result]):
    """A result that is computed when it, or a later one of the same replica, is needed."""

    replica: "LocalReplica"
    task: Callable[[Chain], Result]
    results: list[Result] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    def is_done(self) -> bool:
        return bool(self.results or self.errors)

    def result(self) -> Result:
        self.replica.run_until(self)
        if self.errors:
            raise self.errors[0]
        return pickle.loads(pickle.dumps(self.results[0]))


@dataclass(eq=False)
class LocalReplica:
    """Runs pickled tasks with its own chain, as late as possible, as a slow replica would.

    Args:
        chain: the replica's own.
        lost_after: number of tasks after which every further task raises the given error.
    """

    chain: Chain
    lost_after: int | None = None
    error: Exception = field(default_factory=RuntimeError)
    waiting: list[LatePending] = field(default_factory=list)
    n_tasks: int = 0

    def begin(self, task: Callable[[Chain], Result]) -> LatePending[Result]:
        pending = LatePending(self, pickle.loads(pickle.dumps(task)))
        self.waiting.append(pending)
        return pending

    def run_until(self, last: LatePending) -> None:
        """Run the tasks up to this one, in the order in which they were sent."""
        while not last.is_done():
            self.run_next()

    def run_next(self) -> None:
        pending = self.waiting.pop(0)
        self.n_tasks += 1
        if self.lost_after is not None and self.n_tasks > self.lost_after:
            pending.errors.append(self.error)
            return
        try:
            pending.results.append(pending.task(self.chain))
        except Exception as err:
            pending.errors.append(err)

    def run_all(self) -> None:
        """Run all tasks that were sent."""
        while self.waiting:
            self.run_next()


class LocalOffer:
    """Replicas that a test offers to a job and withdraws."""

    def __init__(self, replicas: Sequence[LocalReplica] = ()) -> None:
        self.offered: list[LocalReplica] = list(replicas)
        self.given_back: list[Replica] = []

    def replicas(self) -> Sequence[Replica]:
        return tuple(self.offered)

    def give_back(self, replica: Replica) -> None:
        assert replica not in self.given_back
        self.given_back.append(replica)
        self.offered = [other for other in self.offered if other is not replica]


def replicated(chains: Sequence[Chain], *, group_size: int | None = 1) -> ReplicatedChain:
    """Chains of this process as the replicas of one job."""
    return shared(chains[0], [LocalReplica(chain) for chain in chains[1:]], group_size=group_size)


def shared(first: Chain, replicas: Sequence[LocalReplica], *, group_size: int | None = 1) -> ReplicatedChain:
    """A chain of this process and other replicas as one chain."""
    return ReplicatedChain(first, LocalOffer(replicas), group_size=group_size)
