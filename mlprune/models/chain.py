"""One replica of a base model as steps speak to it, and what is written once for any of its implementations.

What runs it, in this process (`chain`) or in others, is of no concern here and is not imported.
"""

from collections.abc import Hashable, Iterable, Iterator
from typing import Any, Protocol

from mlprune.models.block_ranges import shard_of


class Chain(Protocol):
    """One replica of a base model, cut into shards."""

    @property
    def n_blocks(self) -> int:
        """Blocks of the whole model."""

    @property
    def spans(self) -> tuple[range, ...]:
        """The blocks of each shard, in order."""

    def stream(self, operation: str, items: Iterable[Any]) -> Iterator[Any]:
        """Send items through a method of every shard in turn, each taking what the one before it returned.

        Args:
            operation: `observe`, `score` or `decode`.
            items: what the first shard takes; may be drawn ahead of the results.
        Returns: what the last shard returns, in the order of the items.
        """

    def on_block(self, block: int, operation: str, *args: Any) -> Any:
        """Call a method of the shard that holds a block, with exactly these arguments, and return its result."""

    def everywhere(self, operation: str, *args: Any) -> list[Any]:
        """Call a method of all shards with the same arguments; their results in order."""


def advance_to(chain: Chain, block: int, keys: Iterable[Hashable]) -> None:
    """Before a sweep enters a block: bring the states behind the block before it to the shard that holds it."""
    if block == 0 or shard_of(chain.spans, block - 1) == shard_of(chain.spans, block):
        return
    for key in keys:
        chain.on_block(block, "sweep_accept", key, chain.on_block(block - 1, "sweep_release", key))
