"""Chain: one replica of a base model, split into shards.

Importing this module does not import transformers.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from mlprune.models.block_ranges import shard_of
from mlprune.models.inference.visitor import Item, Operation, Result
from mlprune.models.shard import Shard

Arguments = ParamSpec("Arguments")
Tag = TypeVar("Tag")


class Chain(Protocol):
    """One replica of a base model, split into shards that may be in other processes.

    Everything that is passed to a chain must be picklable.
    """

    @property
    def n_blocks(self) -> int:
        """Number of blocks of the whole model."""

    @property
    def spans(self) -> tuple[range, ...]:
        """The blocks of each shard, in order."""

    def stream(self, operation: Operation[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """Run items through all blocks.

        Args:
            operation: creates the visitor of an item.
            items: drawn as needed, possibly ahead of the results.
        Returns: results in the order of the items.
        """

    def on_block(
        self,
        block: int,
        method: Callable[Concatenate[Shard, Arguments], Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Call a method of the shard that has a block, such as `Shard.sweep_advance`, with these arguments."""

    def everywhere(
        self, method: Callable[Concatenate[Shard, Arguments], Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> list[Result]:
        """Call a method of every shard with the same arguments; results in the order of the shards."""

    def on_shares(
        self, keys: Sequence[Hashable], task: Callable[["Chain", Sequence[Hashable]], Result]
    ) -> list[Result]:
        """Call a function with each replica and the keys of the sweep's batches that it has.

        A chain is one replica, unless several share a job. Results are in the order of the replicas.
        """

    def on_others(self, task: Callable[["Chain"], Result]) -> list[Result]:
        """Call a function with every replica except the one that `on_block` uses; results in their order."""


def stream_tagged(
    chain: Chain, operation: Operation[Item, Result], items: Iterable[tuple[Tag, Item]]
) -> Iterator[tuple[Tag, Result]]:
    """Run items through a chain and return each result with the tag of its item, in the order of the items."""
    tags: deque[Tag] = deque()

    def untagged() -> Iterator[Item]:
        for tag, item in items:
            tags.append(tag)
            yield item

    for result in chain.stream(operation, untagged()):
        yield tags.popleft(), result
    assert not tags, "a chain returns one result per item"


def advance_to(chain: Chain, block: int, keys: Iterable[Hashable]) -> None:
    """Move the states of a sweep after the previous block to the shard of a block, before the sweep runs it."""
    if block == 0 or shard_of(chain.spans, block - 1) == shard_of(chain.spans, block):
        return
    for key in keys:
        states = chain.on_block(block - 1, Shard.sweep_release, key)
        chain.on_block(block, Shard.sweep_accept, key, states)
