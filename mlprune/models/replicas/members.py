"""The other replicas that share a job: they join, leave and are lost while it runs."""

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from mlprune.errors import WorkerLostError
from mlprune.models.chain import Chain, Pending, Replica, ReplicaOffer
from mlprune.models.inference.visitor import Result

logger = logging.getLogger(__name__)

Task = Callable[[Chain], object]


@dataclass(eq=False)
class Member:
    """Another replica that shares a job."""

    replica: Replica
    unfinished: list[Pending[object]] = field(default_factory=list)
    """Tasks whose results are not needed, which were begun before the next task."""
    keys: list[Hashable] = field(default_factory=list)
    """The batches of a sweep whose states are in the replica."""

    def begin(self, task: Task) -> None:
        """Begin a task without a result; an error is raised by the next `result`."""
        self.unfinished.append(self.replica.begin(task))

    def result(self, pending: Pending[Result]) -> Result:
        """Wait for the tasks that were begun before, then for this one, and return its result."""
        unfinished, self.unfinished = self.unfinished, []
        for earlier in unfinished:
            earlier.result()
        return pending.result()

    @property
    def is_ready(self) -> bool:
        """Whether all tasks that were begun have ended."""
        return all(pending.is_done() for pending in self.unfinished)


class Members:
    """The replicas that share a job at the moment.

    A replica that is offered first loads the model and prepares itself; it joins when it has done so.

    Args:
        offer: the replicas that the job may use; None if it cannot be shared.
        prepare: tasks of a replica before it joins.
    """

    def __init__(self, offer: ReplicaOffer | None, prepare: Iterable[Task] = ()) -> None:
        self._offer = offer
        self._prepare = list(prepare)
        self._preparing: list[Member] = []
        self.joined: list[Member] = []
        """Replicas that compute parts of the job, in the order in which they joined."""

    def update(self, *, wait: bool = False) -> bool:
        """Let replicas that are ready join. Returns whether any joined.

        Args:
            wait: wait until all offered replicas are ready.
        """
        if self._offer is None:
            return False
        offered = list(self._offer.replicas())
        for member in [member for member in self._preparing if member.replica not in offered]:
            self._preparing.remove(member)
            self._offer.give_back(member.replica)
        known = [member.replica for member in (*self.joined, *self._preparing)]
        self._preparing += [self._prepared(replica) for replica in offered if replica not in known]
        ready = [member for member in self._preparing if wait or member.is_ready]
        joined = [self._join(member) for member in ready]
        return any(joined)

    def _prepared(self, replica: Replica) -> Member:
        member = Member(replica)
        for task in (load_only, *self._prepare):
            member.begin(task)
        return member

    def _join(self, member: Member) -> bool:
        self._preparing.remove(member)
        self.joined.append(member)
        return bool(self.try_result(member, member.unfinished.pop()))

    def leaving(self) -> list[Member]:
        """Return the replicas that have joined and are not offered any more."""
        offered = self._offer.replicas() if self._offer is not None else ()
        return [member for member in self.joined if member.replica not in offered]

    def begin_everywhere(self, task: Task) -> None:
        """Begin a task at all replicas, also at those that join later, without waiting for it."""
        self._prepare.append(task)
        for member in (*self.joined, *self._preparing):
            member.begin(task)

    def try_result(self, member: Member, pending: Pending[Result]) -> Sequence[Result]:
        """Return the result of a task as the only element. If the replica was lost, remove it and return nothing."""
        try:
            return [member.result(pending)]
        except WorkerLostError as err:
            logger.warning("a replica that shared a job was lost; the others compute its part: %s", err)
            self.release(member)
            return []

    def release(self, member: Member) -> None:
        """Give back a replica that has joined."""
        assert self._offer is not None, "only an offered replica joins"
        self.joined.remove(member)
        self._offer.give_back(member.replica)


def load_only(chain: Chain) -> None:
    """Do nothing: a replica loads its chain before it computes a task."""
