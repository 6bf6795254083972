"""Items of a pass through the model, divided among replicas."""

from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Generic

from mlprune.models.chain import Chain, Pending
from mlprune.models.inference.visitor import Item, Operation, Result
from mlprune.models.replicas.members import Member, Members

GROUPS_AHEAD = 3
"""Groups of items that another replica computes or has computed before their results are needed."""


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
