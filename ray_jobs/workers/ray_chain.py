"""A chain whose shards are Ray actors."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Concatenate

from ray import ObjectRef
from ray.actor import ActorHandle

from mlprune.models.block_ranges import plan_spans, shard_of
from mlprune.models.chain import Arguments, ReplicaOffer
from mlprune.models.inference.visitor import BlockVisitor, Item, Operation, Result, ShardMessage, group_visitors
from mlprune.models.local_chain import chain_limit
from mlprune.models.shard import Shard
from mlprune.planning.resources.node_capacity import GROUPS_IN_FLIGHT, OFFLOADED_GROUPS_IN_FLIGHT, Pool
from mlprune.steps.job import ModelRef
from ray_jobs.workers.ray_failures import FailureClassifier


class RayChain:
    """A chain of shard actors. Shards exchange object references; the number of batches in flight is bounded.

    Batches travel in groups, which a shard computes in parallel. A group has one batch per thread or, if blocks are
    offloaded, as many batches as may wait for the next block together.
    """

    def __init__(
        self, shards: Sequence[ActorHandle], spans: tuple[range, ...], n_blocks: int, *, threads: int = 1
    ) -> None:
        self.shards = tuple(shards)
        self.spans = spans
        self.n_blocks = n_blocks
        self._threads = threads
        self._failures = FailureClassifier()
        self._limit = chain_limit(self.everywhere(Shard.group_limit))

    def stream(self, operation: Operation[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """See `Chain.stream`."""
        in_flight: deque[ObjectRef] = deque()
        for group in self._groups(map(operation, items)):
            messages: list[ShardMessage[Result]] | ObjectRef = [ShardMessage(visitor) for visitor in group]
            for shard in self.shards[:-1]:
                messages = shard.call.remote(Shard.advance, messages)
            in_flight.append(self.shards[-1].call.remote(Shard.finish, messages))
            if len(in_flight) == (GROUPS_IN_FLIGHT if self._limit is None else OFFLOADED_GROUPS_IN_FLIGHT):
                yield from self._get(in_flight.popleft())
        while in_flight:
            yield from self._get(in_flight.popleft())
        if self._limit is not None:
            self.everywhere(Shard.free_offloaded)

    def _groups(self, visitors: Iterable[BlockVisitor[Result]]) -> Iterator[list[BlockVisitor[Result]]]:
        if self._limit is not None:
            yield from group_visitors(visitors, self._limit)
            return
        remaining = iter(visitors)
        while group := list(islice(remaining, self._threads)):
            yield group

    def on_block(
        self,
        block: int,
        method: Callable[Concatenate[Shard, Arguments], Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """See `Chain.on_block`."""
        result: Result = self._get(self.shards[shard_of(self.spans, block)].call.remote(method, *args, **kwargs))
        return result

    def everywhere(
        self, method: Callable[Concatenate[Shard, Arguments], Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> list[Result]:
        """See `Chain.everywhere`."""
        return list(self._get([shard.call.remote(method, *args, **kwargs) for shard in self.shards]))

    @property
    def others(self) -> ReplicaOffer | None:
        """See `Chain.others`: there are none."""
        return None

    def _get(self, references: Any) -> Any:
        return self._failures.get(references, who="a shard")


def load_chain(shards: Sequence[ActorHandle], model: ModelRef, pool: Pool, *, offload_level: int) -> RayChain:
    """Load a model into shard actors; those that it does not need become empty."""
    spans = plan_spans(model.n_blocks, min(len(shards), model.n_blocks))
    used, unused = shards[: len(spans)], shards[len(spans) :]
    loading = [
        shard.load.remote(model, span, offload_level=offload_level) for shard, span in zip(used, spans, strict=True)
    ]
    loading += [shard.unload.remote() for shard in unused]
    FailureClassifier().get(loading, who="a shard")
    return RayChain(used, spans, model.n_blocks, threads=pool.model_threads)
