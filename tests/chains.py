"""Helpers for tests of shards and chains."""

import pickle
from collections.abc import Sequence
from pathlib import Path

from mlprune.models.inference.visitor import BlockVisitor, Result, ShardMessage
from mlprune.models.placement.budget import MemoryBudget
from mlprune.models.placement.memory_estimate import GROUP_BYTES, PROCESS_BYTES, footprint
from mlprune.models.shard import Shard
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
