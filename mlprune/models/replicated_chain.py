"""A chain of several replicas of a model, which share the items of one job.

The first replica belongs to the process that runs the job. The other replicas compute tasks that this process sends
them. Every batch is computed by one replica, as planned, and results are in the order of the batches. So the bits of a
result do not depend on the number of replicas, nor on when they join or leave.
"""

import logging
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Concatenate, Generic, cast

from mlprune.errors import WorkerLostError
from mlprune.models.chain import Arguments, Chain, Pending, Replica, ReplicaOffer
from mlprune.models.inference.visitor import Item, Operation, Result
from mlprune.models.shard import Shard

logger = logging.getLogger(__name__)
Task = Callable[[Chain], object]
GROUPS_AHEAD = 3
"""Groups of items that another replica computes or has computed before their results are needed."""


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


class SharedStream(Generic[Item, Result]):
    """The results of groups of items, each computed by one replica.

    Groups that no replica has begun are divided again when a replica joins, leaves or is lost.

    Args:
        first: the replica of this process.
        members: the other replicas.
        operation: creates the visitor of an item.
        groups: the items.
    """

    def __init__(
        self, first: Chain, members: Members, operation: Operation[Item, Result], *, groups: Sequence[Sequence[Item]]
    ) -> None:
        self._first = first
        self._members = members
        self._operation = operation
        self._groups = groups
        self._n_tokens = [sum(item.n_computed for item in group) for group in groups]
        self._own = deque(range(len(groups)))
        """Groups that this process will compute."""
        self._planned: dict[Member, deque[int]] = {}
        """Groups that will be sent to another replica."""
        self._begun: dict[int, tuple[Member, Pending[list[Result]]]] = {}
        self._results: dict[int, list[Result]] = {}

    def results(self) -> Iterator[Result]:
        """Compute all results, in the order of the items."""
        self._divide()
        for number in range(len(self._groups)):
            while number not in self._results:
                self._update()
                self._send_ahead()
                self._advance(number)
            yield from self._results.pop(number)

    def _update(self) -> None:
        """Let replicas join, and give back those that have to leave and have computed what they began."""
        leaving = self._members.leaving()
        busy = {member for member, _ in self._begun.values()}
        for member in leaving:
            if member not in busy:
                self._members.release(member)
        if self._members.update() or any(self._planned.get(member) for member in leaving):
            self._divide()

    def _divide(self) -> None:
        """Divide the groups that were not begun by their number of tokens; of equal replicas, the first gets one."""
        waiting = sorted([*self._own, *(number for numbers in self._planned.values() for number in numbers)])
        leaving = self._members.leaving()
        members = [member for member in self._members.joined if member not in leaving]
        self._own, self._planned = deque(), {member: deque() for member in members}
        queues = [self._own, *self._planned.values()]
        loads = [0, *(sum(self._n_tokens[number] for number in self._begun_by(member)) for member in members)]
        for number in waiting:
            owner = loads.index(min(loads))
            loads[owner] += self._n_tokens[number]
            queues[owner].append(number)

    def _begun_by(self, member: Member) -> list[int]:
        return [number for number, (owner, _) in self._begun.items() if owner is member]

    def _send_ahead(self) -> None:
        for member, numbers in self._planned.items():
            for _ in range(min(len(numbers), GROUPS_AHEAD - len(self._begun_by(member)))):
                number = numbers.popleft()
                task = partial(_stream_group, operation=self._operation, group=self._groups[number])
                self._begun[number] = (member, member.replica.begin(task))

    def _advance(self, needed: int) -> None:
        """Get the results of the group that is needed next, or compute another one until they are there."""
        member, pending = self._begun.get(needed, (None, None))
        if member is not None and pending is not None and (pending.is_done() or not self._own):
            self._receive(needed, member, pending=pending)
            return
        number = self._own.popleft() if self._own else needed
        for numbers in self._planned.values():
            if number in numbers:
                numbers.remove(number)
        self._results[number] = list(self._first.stream(self._operation, self._groups[number]))

    def _receive(self, number: int, member: Member, *, pending: Pending[list[Result]]) -> None:
        """Get results from a replica; if it was lost, its groups are computed by others."""
        received = self._members.try_result(member, pending)
        if received:
            del self._begun[number]
            self._results[number] = received[0]
            return
        lost = self._begun_by(member)
        self._own.extend(lost)
        self._begun = {number: begun for number, begun in self._begun.items() if number not in lost}
        self._divide()


def _stream_group(chain: Chain, *, operation: Operation[Item, Result], group: Sequence[Item]) -> list[Result]:
    return list(chain.stream(operation, group))


class ReplicatedChain:
    """Several replicas as one chain.

    Args:
        first: the replica of this process.
        others: the other replicas.
        group_size: number of items that a replica streams at a time, at least 1; None for all of its items, if its
            blocks are on disk or in several processes.
    """

    def __init__(self, first: Chain, others: ReplicaOffer, *, group_size: int | None) -> None:
        self._first = first
        self._others = others
        self._group_size = group_size
        self._members = Members(others)
        self.n_blocks = first.n_blocks
        self.spans = first.spans

    @property
    def others(self) -> ReplicaOffer | None:
        """See `Chain.others`."""
        return self._others

    def stream(self, operation: Operation[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """See `Chain.stream`. All items are drawn before the first one runs, to divide them evenly."""
        drawn = list(items)
        self._members.update(wait=True)
        size = self._group_size or max(1, -(-len(drawn) // (1 + len(self._members.joined))))
        groups = [drawn[start : start + size] for start in range(0, len(drawn), size)]
        return SharedStream(self._first, self._members, operation, groups=groups).results()

    def on_block(
        self,
        block: int,
        method: Callable[Concatenate[Shard, Arguments], Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """See `Chain.on_block`; calls the shard of the first replica."""
        return self._first.on_block(block, method, *args, **kwargs)

    def everywhere(
        self, method: Callable[Concatenate[Shard, Arguments], Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> list[Result]:
        """See `Chain.everywhere`. Other replicas repeat the calls before they stream items, without a result."""
        self._members.begin_everywhere(partial(_call_everywhere, method=method, args=args, kwargs=kwargs))
        return self._first.everywhere(method, *args, **kwargs)


def _call_everywhere(
    chain: Chain,
    *,
    method: Callable[Concatenate[Shard, Arguments], object],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> None:
    cast("Callable[..., object]", chain.everywhere)(method, *args, **kwargs)
