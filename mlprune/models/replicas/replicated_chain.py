"""A chain of several replicas of a model, which share the items of one job.

The first replica belongs to the process that runs the job. The other replicas compute tasks that this process sends
them. Every batch is computed by one replica, as planned, and results are in the order of the batches. So the bits of a
result do not depend on the number of replicas, nor on when they join or leave.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Concatenate, cast

from mlprune.models.chain import Arguments, Chain, ReplicaOffer
from mlprune.models.inference.visitor import Item, Operation, Result
from mlprune.models.replicas.members import Members
from mlprune.models.replicas.shared_stream import SharedStream
from mlprune.models.shard import Shard


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
