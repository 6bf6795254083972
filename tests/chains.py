"""Helpers for tests of shards and chains."""

import io
import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mlprune.errors import WorkerLostError
from mlprune.models.chain import Chain, ReplicaOffer
from mlprune.models.inference.visitor import BlockVisitor, Item, Operation, Result, ShardMessage
from mlprune.models.local_chain import load_shard, local_chain
from mlprune.models.messages import TokenBatch
from mlprune.models.placement.budget import MemoryBudget
from mlprune.models.placement.memory_estimate import GROUP_BYTES, PROCESS_BYTES, footprint
from mlprune.models.shard import Shard
from mlprune.processes.parallel import set_worker_threads
from mlprune.vocabulary import DtypeName

WORKING_BYTES = GROUP_BYTES + 2**24


def budget_for(path: Path, n_blocks: int, *, dtype: DtypeName = "float32") -> MemoryBudget:
    """Memory with room for this many blocks at once."""
    return MemoryBudget(PROCESS_BYTES + WORKING_BYTES + n_blocks * footprint(path, dtype).block, WORKING_BYTES)


def run_visitor(shards: Sequence[Shard], visitor: BlockVisitor[Result], *, pickled: bool = False) -> Result:
    """Result of one visitor that passes all shards, pickled before each of them if asked."""

    def sent(messages: list[ShardMessage[Result]]) -> list[ShardMessage[Result]]:
        return pickle.loads(pickle.dumps(messages)) if pickled else messages

    messages = [ShardMessage(visitor)]
    for shard in shards[:-1]:
        messages = shard.advance(sent(messages))
    return shards[-1].finish(sent(messages))[0]


class TensorPickler(pickle.Pickler):
    """A pickler that lists the tensors that it writes."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.tensors: list[torch.Tensor] = []

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, torch.Tensor):
            self.tensors.append(value)
        return NotImplemented


class TransportChain:
    """A chain that pickles everything that would leave the process of a shard, and counts it."""

    def __init__(self, inner: Chain) -> None:
        self._inner = inner
        self.n_blocks = inner.n_blocks
        self.spans = inner.spans
        self.result_bytes: Counter[str] = Counter()
        """Name of a method -> bytes of its results."""
        self.tensors: dict[str, list[torch.Tensor]] = {}
        """Name of a method -> tensors in its results."""

    def _sent(self, method: str, result: Any) -> Any:
        file = io.BytesIO()
        pickler = TensorPickler(file)
        pickler.dump(result)
        self.result_bytes[method] += len(file.getvalue())
        if pickler.tensors:
            assert {tensor.device.type for tensor in pickler.tensors} == {"cpu"}, method
            self.tensors.setdefault(method, []).extend(pickler.tensors)
        return pickle.loads(file.getvalue())

    def on_block(self, block: int, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        sent_args, sent_kwargs = pickle.loads(pickle.dumps((args, kwargs)))
        return self._sent(method.__name__, self._inner.on_block(block, method, *sent_args, **sent_kwargs))

    def stream(self, operation: Operation[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        for result in self._inner.stream(operation, items):
            yield self._sent("stream", result)

    def everywhere(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
        return [self._sent(method.__name__, result) for result in self._inner.everywhere(method, *args, **kwargs)]

    @property
    def others(self) -> ReplicaOffer | None:
        return self._inner.others


class WatchedChain:
    """A chain that notes its calls, and raises before, or after, a method runs on a block."""

    def __init__(
        self,
        inner: Chain,
        *,
        stop_at: int | None = None,
        method: Callable[..., Any] = Shard.sweep_prune,
        files_are_written: bool = False,
    ) -> None:
        self._inner, self._stops = inner, (method, stop_at)
        self._files_are_written = files_are_written
        self.n_blocks, self.spans = inner.n_blocks, inner.spans
        self.stream, self.everywhere = inner.stream, inner.everywhere
        self.calls: list[tuple[Callable[..., Any], int]] = []

    def on_block(self, block: int, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if (method, block) == self._stops:
            if self._files_are_written:
                self._inner.on_block(block, method, *args, **kwargs)
            raise WorkerLostError("killed", block=block)
        self.calls.append((method, block))
        return self._inner.on_block(block, method, *args, **kwargs)

    @property
    def others(self) -> ReplicaOffer | None:
        return self._inner.others

    def blocks_of(self, method: Callable[..., Any]) -> list[int]:
        return [block for called, block in self.calls if called == method]


def chain_with_masks(path: Path, *, n_shards: int = 1) -> Chain:
    """A chain of the model of a folder on which masks of an earlier variant were left."""
    chain = local_chain(path, n_shards=n_shards)
    chain.everywhere(Shard.set_keep_masks, {(1, "fc1"): torch.zeros(64, 16, dtype=torch.bool)})
    return chain


@contextmanager
def worker_threads(n: int) -> Iterator[None]:
    """Compute with several threads."""
    set_worker_threads(n)
    try:
        yield
    finally:
        set_worker_threads(1)


LENGTHS = (7, 4, 1, 5)


def text_batch(rows: Sequence[int] = range(len(LENGTHS)), *, pad: int = 0) -> TokenBatch:
    """Texts of several lengths; the first token of a text counts in statistics only if it is the only one."""
    lengths = torch.tensor([LENGTHS[row] for row in rows]).unsqueeze(1)
    longest = int(lengths.max())
    positions = torch.arange(longest).unsqueeze(0)
    mask = positions < lengths
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, 259, (len(LENGTHS), max(LENGTHS)), generator=generator)[list(rows), :longest]
    return TokenBatch(torch.where(mask, tokens, pad), mask, mask & ((positions > 0) | (lengths == 1)))


def whole_batch() -> TokenBatch:
    """Three texts of which every token counts."""
    batch = text_batch(range(3))
    return TokenBatch(batch.token_ids, batch.attention_mask, batch.attention_mask)


def random_masks(path: Path, *, seed: int = 0) -> dict[tuple[int, str], torch.Tensor]:
    """(block, layer) -> mask that removes about half of the weights of a model with three blocks."""
    generator = torch.Generator().manual_seed(seed)
    shard = load_shard(path, range(3), n_blocks=3, dtype="float32")
    return {
        (block, layer): torch.rand(weight.shape, generator=generator) > 0.5
        for block in range(3)
        for layer, weight in shard.masks.dense(block).items()
    }
