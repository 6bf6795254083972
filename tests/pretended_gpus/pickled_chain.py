"""A chain in this process whose messages, arguments and results are pickled, as they are between Ray actors."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ray import cloudpickle

from mlprune.models.inference.visitor import BlockVisitor, Result, ShardMessage
from mlprune.models.local_chain import LocalChain, local_chain
from mlprune.vocabulary import DtypeName

Sent = TypeVar("Sent")


class PickledChain(LocalChain):
    """Raises where a tensor of a device is in a message, an argument or a result."""

    def _run(self, visitors: Sequence[BlockVisitor[Result]]) -> list[Result]:
        messages = [ShardMessage(visitor) for visitor in visitors]
        for shard in self.shards[:-1]:
            messages = shard.advance(sent(messages))
        return sent(self.shards[-1].finish(sent(messages)))

    def on_block(self, block: int, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """See `Chain.on_block`."""
        return sent(super().on_block(block, method, *sent(args), **kwargs))

    def everywhere(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
        """See `Chain.everywhere`."""
        return sent(super().everywhere(method, *sent(args), **kwargs))


def sent(value: Sent) -> Sent:
    """Return what another process would receive.

    Raises:
        RuntimeError: the value contains a tensor of a pretended GPU.
    """
    received: Sent = cloudpickle.loads(cloudpickle.dumps(value))
    return received


def pickled_chain(path: Path, *, n_shards: int = 1, dtype: DtypeName = "float32") -> PickledChain:
    """Load a model as such a chain."""
    return PickledChain(local_chain(path, n_shards=n_shards, dtype=dtype).shards)
