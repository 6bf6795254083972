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
Result_co = TypeVar("Result_co", covariant=True)


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

    @property
    def others(self) -> "ReplicaOffer | None":
        """The other replicas that may share the job; None if there can be none."""


class Pending(Protocol[Result_co]):
    """The result of a task that another replica computes."""

    def is_done(self) -> bool:
        """Return whether the task has ended."""

    def result(self) -> Result_co:
        """Wait until the task has ended; return its result.

        Raises: the error of the task, or `WorkerLostError` if the replica was lost.
        """


class Replica(Protocol):
    """A replica that computes tasks of a job which runs in another process."""

    def begin(self, task: Callable[[Chain], Result]) -> Pending[Result]:
        """Send a task, a picklable function of the replica's chain. Tasks run one by one, in the order sent."""


class ReplicaOffer(Protocol):
    """The replicas that a job may use besides its own. They change while the job runs."""

    def replicas(self) -> Sequence[Replica]:
        """Return the replicas that are offered at this moment; the job gives back those that are missing."""

    def give_back(self, replica: Replica) -> None:
        """Note that the job does not use a replica any more, because it was lost or is not offered any more."""


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
