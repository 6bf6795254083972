"""A chain whose shards are all in this process."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Concatenate

from mlprune.errors import ModelError
from mlprune.models.block_ranges import plan_spans, shard_of
from mlprune.models.chain import Arguments, ReplicaOffer
from mlprune.models.inference.block_batching import group_visitors
from mlprune.models.inference.visitor import BlockVisitor, Item, Operation, Result, ShardMessage
from mlprune.models.placement.budget import GroupLimit, MemoryBudget
from mlprune.models.placement.device_budget import ALL_DEVICES, DeviceBudget
from mlprune.models.placement.memory_estimate import footprint
from mlprune.models.shard import Shard
from mlprune.models.shard_loader import load_shard
from mlprune.processes.parallel import parallel_map
from mlprune.vocabulary import DtypeName


class LocalChain:
    """Shards in this process. As many items run at once as the process has threads.

    If parts of the shards are on disk, items run in groups, block by block, so that weights are read once per group.

    Args:
        shards: in the order of their blocks.
        limit: limit of a group, if parts are on disk; by default the limit of the shards.
    Raises:
        ModelError: the blocks of the shards are not all blocks of the model in order.
    """

    def __init__(self, shards: Sequence[Shard], *, limit: GroupLimit | None = None) -> None:
        self.shards = tuple(shards)
        self.spans = tuple(shard.blocks for shard in self.shards)
        self.n_blocks = self.shards[0].n_blocks if shards else 0
        blocks = [block for span in self.spans for block in span]
        if not shards or blocks != list(range(self.n_blocks)):
            raise ModelError("shards do not follow each other", expected=f"blocks 0 to {self.n_blocks - 1}", got=blocks)
        shard_limit = chain_limit(shard.group_limit() for shard in self.shards)
        self.limit = shard_limit if shard_limit is None or limit is None else limit
        """Limit of a group of items; None if items run one by one."""

    def stream(self, operation: Operation[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """See `Chain.stream`."""
        visitors = map(operation, items)
        if self.limit is not None:
            return self._in_groups(visitors, self.limit)
        return parallel_map(lambda visitor: self._run([visitor])[0], visitors)

    def _in_groups(self, visitors: Iterable[BlockVisitor[Result]], limit: GroupLimit) -> Iterator[Result]:
        for group in group_visitors(visitors, limit):
            yield from self._run(group)
        self.everywhere(Shard.free_offloaded)

    def _run(self, visitors: Sequence[BlockVisitor[Result]]) -> list[Result]:
        """Run visitors through all shards together."""
        messages = [ShardMessage(visitor) for visitor in visitors]
        for shard in self.shards[:-1]:
            messages = shard.advance(messages)
        return self.shards[-1].finish(messages)

    def on_block(
        self,
        block: int,
        method: Callable[Concatenate[Shard, Arguments], Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """See `Chain.on_block`."""
        return method(self.shards[shard_of(self.spans, block)], *args, **kwargs)

    def everywhere(
        self, method: Callable[Concatenate[Shard, Arguments], Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> list[Result]:
        """See `Chain.everywhere`."""
        return [method(shard, *args, **kwargs) for shard in self.shards]

    @property
    def others(self) -> ReplicaOffer | None:
        """See `Chain.others`: there are none."""
        return None


def local_chain(
    path: Path,
    *,
    n_shards: int = 1,
    dtype: DtypeName = "float32",
    budget: MemoryBudget | None = None,
    accelerators: DeviceBudget = ALL_DEVICES,
    limit: GroupLimit | None = None,
) -> LocalChain:
    """Load a model as a chain in this process.

    Args:
        budget: memory budget of each shard, as if it were alone in its process; by default, nothing stays on disk.
        accelerators: what each shard may use of the accelerators; by default all that is free.
        limit: limit of a group of items, if parts of the model are on disk; by default the limit of the shards.
    Raises:
        ModelError: the folder is not a model that can be read, the model has fewer blocks than `n_shards`, or the
            budget has no room for one block.
    """
    n_blocks = len(footprint(path, dtype).blocks)
    load = partial(load_shard, path, n_blocks=n_blocks, dtype=dtype, budget=budget, accelerators=accelerators)
    shards = [load(span) for span in plan_spans(n_blocks, n_shards)]
    return LocalChain(shards, limit=limit)


def chain_limit(limits: Iterable[GroupLimit | None]) -> GroupLimit | None:
    """Return the limit of groups of items, from the limits of the shards; None if items run one by one."""
    return next((limit for limit in limits if limit is not None), None)
